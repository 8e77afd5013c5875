/* SPDX-License-Identifier: MIT */
/*
 * A growing piece of text, for the lines and bodies that we write ourselves.
 * Running out of memory is remembered, not reported at every step: appending to
 * a failed text does nothing, and the caller asks once, at the end.
 */
#ifndef LIBBUS_BASE_TEXT_H
#define LIBBUS_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libbus/base/span.h"

struct text {
    char *data; /* NUL-terminated once anything has been appended */
    size_t size;
    size_t capacity;
    bool failed;
};

#define TEXT_INIT ((struct text){0})

void text_deinit(struct text *text);
void text_append(struct text *text, const void *data, size_t size);
void text_append_string(struct text *text, const char *string);
void text_append_span(struct text *text, struct span span);
void text_append_unsigned(struct text *text, uint64_t value);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends the bytes as a JSON string with its quotes. Bytes that are not UTF-8
 * become U+FFFD, so that the result is valid JSON whatever comes in. */
void text_append_json_string(struct text *text, struct span span);

static inline struct span text_span(const struct text *text)
{
    return (struct span){text->data, text->size};
}

#endif
