/* SPDX-License-Identifier: MIT */
/*
 * A borrowed piece of text: not NUL-terminated, never owned. Whoever hands one
 * out says how long the bytes behind it live.
 */
#ifndef LIBBUS_BASE_SPAN_H
#define LIBBUS_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
    const char *data;
    size_t size;
};

/* A string literal as a span. */
#define SPAN(literal) ((struct span){(literal), sizeof(literal) - 1})

/* For "%.*s" in format strings. */
#define SPAN_ARGS(span) (int)(span).size, (span).data

static inline struct span span_from(const char *string)
{
    return (struct span){string, string ? strlen(string) : 0};
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool span_is(struct span a, const char *string)
{
    return span_equal(a, span_from(string));
}

static inline bool span_starts_with(struct span a, struct span prefix)
{
    return a.size >= prefix.size && memcmp(a.data, prefix.data, prefix.size) == 0;
}

#endif
