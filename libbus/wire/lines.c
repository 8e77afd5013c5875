/* SPDX-License-Identifier: MIT */
#include "libbus/wire/lines.h"

#include <string.h>

void lines_init(struct lines *lines, size_t max)
{
    *lines = (struct lines){.max = max};
}

static bool is_blank(struct span text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] != ' ' && text.data[i] != '\t' && text.data[i] != '\r')
            return false;
    return true;
}

enum lines_result lines_next(struct lines *lines, const char *data, size_t size,
                             size_t *ret_consumed, struct line *ret_line)
{
    size_t consumed = 0;

    for (;;) {
        const char *start = data + consumed;
        size_t left = size - consumed;
        const char *end = left > lines->searched
                              ? memchr(start + lines->searched, '\n', left - lines->searched)
                              : NULL;
        size_t length = end ? (size_t)(end - start) + 1 : left;

        if (!lines->skipping && length > lines->max) {
            lines->skipping = true;
            lines->skip_start = lines->position;
        }
        if (!end && !lines->skipping) {
            lines->searched = left;
            *ret_consumed = consumed;
            return LINES_MORE;
        }

        consumed += length;
        lines->position += length;
        lines->searched = 0;
        *ret_consumed = consumed;
        if (!end)
            return LINES_MORE;
        if (lines->skipping) {
            lines->skipping = false;
            *ret_line = (struct line){{start, 0}, lines->skip_start, lines->position};
            return LINES_TOO_LONG;
        }
        *ret_line = (struct line){{start, length - 1}, lines->position - length, lines->position};
        if (length > 1 && !is_blank(ret_line->text))
            return LINES_LINE;
    }
}
