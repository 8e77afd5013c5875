/* SPDX-License-Identifier: MIT */
/*
 * Well-formed UTF-8 (Unicode 15, table 3-7): no overlong forms, no surrogates,
 * nothing above U+10FFFF.
 */
#ifndef LIBBUS_BASE_UTF8_H
#define LIBBUS_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

static inline bool utf8_is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* The length of the well-formed sequence at `p`, of which `left` bytes may be
 * looked at; 0 if there is none. */
static inline size_t utf8_sequence(const char *p, size_t left)
{
    unsigned char first = (unsigned char)p[0];
    size_t size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

    if (first > 0xf4 || size > left)
        return 0;
    for (size_t i = 1; i < size; i++)
        if (!utf8_is_continuation(p[i]))
            return 0;

    unsigned char second = size > 2 ? (unsigned char)p[1] : 0;
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
        (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
        return 0;
    return size;
}

#endif
