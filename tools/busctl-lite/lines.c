/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE 65536

void lines_init(struct lines *lines)
{
    *lines = (struct lines){.number = 1};
}

void lines_deinit(struct lines *lines)
{
    free(lines->data);
}

static int make_room(struct lines *lines)
{
    size_t held = lines->end - lines->start;
    size_t capacity;
    char *data;

    if (held > 0 && lines->start > 0)
        memmove(lines->data, lines->data + lines->start, held);
    lines->start = 0;
    lines->end = held;
    if (lines->capacity - held >= READ_SIZE)
        return 0;
    if (held > LINE_SIZE_MAX)
        return -EFBIG;
    capacity = lines->capacity * 2 + READ_SIZE;
    data = realloc(lines->data, capacity);
    if (!data)
        return -ENOMEM;
    lines->data = data;
    lines->capacity = capacity;
    return 0;
}

int lines_read(struct lines *lines, int fd)
{
    ssize_t n;
    int r;

    r = make_room(lines);
    if (r < 0)
        return r;
    n = read(fd, lines->data + lines->end, READ_SIZE);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -errno;
    lines->end += (size_t)n;
    lines->ended = n == 0;
    return 0;
}

bool lines_first(const struct lines *lines, const char **ret_line, size_t *ret_size)
{
    const char *line = lines->data + lines->start;
    size_t held = lines->end - lines->start;
    const char *newline = held > 0 ? memchr(line, '\n', held) : NULL;

    if (!newline && (!lines->ended || held == 0))
        return false;
    *ret_line = line;
    *ret_size = newline ? (size_t)(newline - line) : held;
    return true;
}

void lines_drop(struct lines *lines, size_t size)
{
    bool newline = lines->start + size < lines->end;

    lines->start += size + newline;
    lines->number++;
}
