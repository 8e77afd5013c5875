/* SPDX-License-Identifier: MIT */
#include "libbus/base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "libbus/base/macros.h"
#include "libbus/base/utf8.h"

#define TEXT_SIZE_MIN 256

void text_deinit(struct text *text)
{
    free(text->data);
    *text = TEXT_INIT;
}

/* Room for `size` more bytes and a NUL. */
static bool text_reserve(struct text *text, size_t size)
{
    if (text->failed)
        return false;
    if (text->capacity - text->size > size)
        return true;

    size_t capacity = MAX(text->capacity * 2, text->size + size + 1);
    capacity = MAX(capacity, (size_t)TEXT_SIZE_MIN);
    char *data = realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void text_append(struct text *text, const void *data, size_t size)
{
    if (!text_reserve(text, size))
        return;
    if (size > 0)
        memcpy(text->data + text->size, data, size);
    text->size += size;
    text->data[text->size] = '\0';
}

void text_append_string(struct text *text, const char *string)
{
    text_append(text, string, strlen(string));
}

void text_append_span(struct text *text, struct span span)
{
    text_append(text, span.data, span.size);
}

void text_append_unsigned(struct text *text, uint64_t value)
{
    char digits[20];
    size_t i = sizeof(digits);

    do {
        digits[--i] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    text_append(text, digits + i, sizeof(digits) - i);
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0) {
        text->failed = true;
        return;
    }
    if (!text_reserve(text, (size_t)size))
        return;
    va_start(args, format);
    vsnprintf(text->data + text->size, (size_t)size + 1, format, args);
    va_end(args);
    text->size += (size_t)size;
}

void text_append_json_string(struct text *text, struct span span)
{
    const char *p = span.data;
    size_t left = span.size;

    text_append(text, "\"", 1);
    while (left > 0) {
        size_t size = utf8_sequence(p, left);
        if (size == 0) {
            text_append_string(text, "\xef\xbf\xbd");
            size = 1;
        } else if (*p == '"' || *p == '\\') {
            char escape[2] = {'\\', *p};
            text_append(text, escape, 2);
        } else if ((unsigned char)*p < 0x20) {
            text_printf(text, "\\u%04x", (unsigned)*p);
        } else {
            text_append(text, p, size);
        }
        p += size;
        left -= size;
    }
    text_append(text, "\"", 1);
}
