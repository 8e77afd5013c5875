/* SPDX-License-Identifier: MIT */
/*
 * What has been read from stdin and not been dealt with yet, line by line. A last
 * line without newline counts once the input has ended.
 */
#ifndef BUSCTL_LINES_H
#define BUSCTL_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE_SIZE_MAX ((size_t)16 << 20)

struct lines {
    char *data;
    size_t start; /* what is held lies from here … */
    size_t end;   /* … to here */
    size_t capacity;
    uint64_t number; /* of the line at the start, from 1 */
    bool ended;
};

void lines_init(struct lines *lines);
void lines_deinit(struct lines *lines);

/* Reads once. 0 or -errno; -EFBIG: the line is longer than LINE_SIZE_MAX. */
int lines_read(struct lines *lines, int fd);

/* The first line, without its newline; false if there is no whole one. */
bool lines_first(const struct lines *lines, const char **ret_line, size_t *ret_size);

/* Done with that line of `size` bytes. */
void lines_drop(struct lines *lines, size_t size);

#endif
