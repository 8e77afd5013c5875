/* SPDX-License-Identifier: MIT */
/*
 * Framing: cuts a stream of bytes into lines ended by LF. Pure: it neither
 * reads nor keeps the bytes; the caller has them in a buffer of its own and
 * asks for one line after the other.
 *
 * A line longer than `max` (LF included) is skipped up to its LF without being
 * kept, and reported once. Blank lines (spaces, tabs and CRs only) are passed
 * over in silence.
 */
#ifndef LIBBUS_WIRE_LINES_H
#define LIBBUS_WIRE_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libbus/base/span.h"

struct lines {
    size_t max;        /* bytes of a line, LF included */
    size_t searched;   /* bytes of the unfinished line known to hold no LF */
    uint64_t position; /* offset in the stream of the first byte not consumed */
    uint64_t skip_start;
    bool skipping;
};

enum lines_result {
    LINES_MORE,     /* no whole line left: get more bytes */
    LINES_LINE,     /* *ret_line is a line, without LF */
    LINES_TOO_LONG, /* a line over the limit has ended and was skipped; *ret_line is empty */
};

struct line {
    struct span text;
    uint64_t start; /* offset in the stream of the line's first byte … */
    uint64_t end;   /* … and of the byte after its LF */
};

void lines_init(struct lines *lines, size_t max);

/* `data` begins with the first byte not consumed so far. *ret_consumed is how
 * many bytes of it are done with: the next call starts after them. LINES_MORE
 * consumes too (what is being skipped). */
enum lines_result lines_next(struct lines *lines, const char *data, size_t size,
                             size_t *ret_consumed, struct line *ret_line);

#endif
