/* SPDX-License-Identifier: MIT */
/*
 * Reads the files of tests/vectors. One case a line; blank lines and lines that
 * begin with '#' are comments. A case is a fixed number of fields without spaces,
 * each ended by one space, and then the text, which reaches to the end of the
 * line. What the fields of a file mean is written on top of it.
 *
 * In the text stand:
 *     ^         nothing; marks the place of a fault, the byte that follows. Two of
 *               them mark the first and the last byte of a range
 *     %hh       the byte with this hexadecimal value (%25 is '%', %5e is '^')
 *     %<n*...>  what stands in between, n times; it may hold %hh ("%3e" for '>')
 *     %-        nothing; shows the end of a text that ends with spaces, or is empty
 * Everything else is itself, byte for byte.
 */
#ifndef TESTS_SUPPORT_VECTORS_H
#define TESTS_SUPPORT_VECTORS_H

#include <stddef.h>

#define VECTOR_FIELDS_MAX 4

struct vector {
    const char *field[VECTOR_FIELDS_MAX];
    const char *text; /* decoded; no NUL behind it, and there may be some in it */
    size_t size;
    size_t mark[2];    /* the range of offsets that the '^' allow */
    const char *where; /* "scan/y_values.txt:12", for messages */
};

/* Calls `check` for every case of the file, which is named relative to
 * tests/vectors. Returns how many there were. A file that is missing, empty or
 * malformed fails the test. */
size_t vectors_each(const char *file, unsigned fields,
                    void (*check)(const struct vector *vector, void *userdata), void *userdata);

/* Fails unless `offset` is where the marks of the case say; without marks all are
 * right. `reason` is for the message. */
void vector_check_offset(const struct vector *vector, size_t offset, const char *reason);

#endif
