/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/suggest.h"

#include <stdint.h>
#include <string.h>

#define WORD_MAX 31

static size_t least(size_t a, size_t b, size_t c)
{
    size_t least_two = a < b ? a : b;

    return least_two < c ? least_two : c;
}

/* How many letters must be put in, left out, changed or swapped with their
 * neighbour (optimal string alignment). */
static size_t distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t rows[3][WORD_MAX + 1];
    size_t *before = rows[0];
    size_t *above = rows[1];
    size_t *row = rows[2];

    for (size_t j = 0; j <= b_size; j++)
        above[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t *free_row = before;

        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            row[j] = least(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1, SIZE_MAX);
        }
        before = above;
        above = row;
        row = free_row;
    }
    return above[b_size];
}

void suggestion_init(struct suggestion *suggestion, const char *typed, size_t size)
{
    *suggestion = (struct suggestion){typed, size, NULL, SIZE_MAX};
}

void suggestion_consider(struct suggestion *suggestion, const char *candidate)
{
    size_t size = strlen(candidate);
    size_t allowed = suggestion->typed_size / 3 > 1 ? suggestion->typed_size / 3 : 1;
    size_t found;

    if (suggestion->typed_size == 0 || suggestion->typed_size > WORD_MAX || size > WORD_MAX)
        return;
    found = distance(suggestion->typed, suggestion->typed_size, candidate, size);
    /* The beginning of a word is as good as a slip of one letter. */
    if (suggestion->typed_size > 1 && suggestion->typed_size < size &&
        memcmp(suggestion->typed, candidate, suggestion->typed_size) == 0)
        found = 1;
    if (found > allowed || found >= suggestion->distance)
        return;
    suggestion->best = candidate;
    suggestion->distance = found;
}
