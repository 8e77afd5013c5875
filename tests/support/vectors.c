/* SPDX-License-Identifier: MIT */
#include "tests/support/vectors.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "tests/support/unit.h"

/* The longest decoded case: deep nesting, a million brackets and their ends. */
#define DECODED_MAX (4u << 20)

struct decoder {
    const char *where;
    const char *in;
    char *out;
    size_t size;
    size_t mark[2];
    unsigned marks;
};

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static void decoder_put(struct decoder *decoder, char byte)
{
    if (decoder->size >= DECODED_MAX)
        fail_msg("%s: the decoded text is too long", decoder->where);
    decoder->out[decoder->size++] = byte;
}

/* At "%hh" or a plain byte. */
static void decode_byte(struct decoder *decoder)
{
    if (*decoder->in != '%') {
        decoder_put(decoder, *decoder->in++);
        return;
    }

    int high = digit(decoder->in[1]);
    int low = high < 0 ? -1 : digit(decoder->in[2]);
    if (low < 0)
        fail_msg("%s: '%%' without two hexadecimal digits (lower case) after it", decoder->where);
    decoder_put(decoder, (char)(high << 4 | low));
    decoder->in += 3;
}

/* After "%<". */
static void decode_repetition(struct decoder *decoder)
{
    char *end;
    unsigned long times = strtoul(decoder->in, &end, 10);

    if (end == decoder->in || *end != '*')
        fail_msg("%s: '%%<' without a number and '*' after it", decoder->where);
    decoder->in = end + 1;

    size_t start = decoder->size;
    while (*decoder->in && *decoder->in != '>')
        decode_byte(decoder);
    if (*decoder->in++ != '>')
        fail_msg("%s: '%%<' without its '>'", decoder->where);

    size_t size = decoder->size - start;
    decoder->size = start + (times ? size : 0);
    for (unsigned long i = 1; i < times; i++)
        for (size_t j = 0; j < size; j++)
            decoder_put(decoder, decoder->out[start + j]);
}

static void decode(struct decoder *decoder)
{
    while (*decoder->in) {
        if (decoder->in[0] == '%' && decoder->in[1] == '<') {
            decoder->in += 2;
            decode_repetition(decoder);
        } else if (decoder->in[0] == '%' && decoder->in[1] == '-') {
            decoder->in += 2;
        } else if (decoder->in[0] == '^') {
            CHECK(decoder->marks < 2, "%s: more than two '^'", decoder->where);
            decoder->mark[decoder->marks++] = decoder->size;
            decoder->in++;
        } else {
            decode_byte(decoder);
        }
    }
    if (decoder->marks < 2)
        decoder->mark[1] = decoder->marks ? decoder->mark[0] : SIZE_MAX;
}

size_t vectors_each(const char *file, unsigned fields,
                    void (*check)(const struct vector *vector, void *userdata), void *userdata)
{
    char path[4096], where[256];
    CLEANUP(cleanup_free) char *line = NULL;
    CLEANUP(cleanup_free) char *decoded = malloc(DECODED_MAX);
    size_t capacity = 0, count = 0;
    ssize_t length;

    assert_non_null(decoded);
    assert_true(fields <= VECTOR_FIELDS_MAX);
    snprintf(path, sizeof(path), "%s/%s", VECTORS_DIR, file);
    FILE *stream = fopen(path, "re");
    if (!stream)
        fail_msg("cannot open %s", path);

    for (unsigned number = 1; (length = getline(&line, &capacity, stream)) > 0; number++) {
        struct vector vector = {.text = decoded, .where = where};
        char *rest = line;

        snprintf(where, sizeof(where), "%s:%u", file, number);
        CHECK(strlen(line) == (size_t)length, "%s: a NUL; write %%00", where);
        if (line[length - 1] == '\n')
            line[--length] = '\0';
        if (length == 0 || line[0] == '#')
            continue;
        CHECK(!isspace((unsigned char)line[length - 1]),
              "%s: spaces at the end; show where they end with %%-", where);
        for (unsigned i = 0; i < fields; i++) {
            vector.field[i] = rest;
            rest = strchr(rest, ' ');
            CHECK(rest, "%s: expected %u fields and a text", where, fields);
            *rest++ = '\0';
        }

        struct decoder decoder = {.where = where, .in = rest, .out = decoded};
        decode(&decoder);
        vector.size = decoder.size;
        memcpy(vector.mark, decoder.mark, sizeof(vector.mark));
        check(&vector, userdata);
        count++;
    }
    fclose(stream);
    CHECK(count > 0, "%s: no case in it", file);
    return count;
}

void vector_check_offset(const struct vector *vector, size_t offset, const char *reason)
{
    CHECK(offset >= vector->mark[0] && offset <= vector->mark[1],
          "%s: the fault is at %zu (%s) instead of %zu", vector->where, offset, reason,
          vector->mark[0]);
}
