/* SPDX-License-Identifier: MIT */
/*
 * The bytes that come in: reads them into blocks and cuts them into lines.
 *
 * A block is a reference-counted buffer that is only ever appended to while
 * somebody but the input holds it, so that a message can point into it for as
 * long as it lives. When all of a block's lines are done with and nobody else
 * holds it, it is filled again from its start; else a new one is taken and the
 * unfinished line moves there. Blocks grow from 16 to 64 KiB with the traffic; a
 * line that does not fit gets one of its own size, up to INPUT_LINE_MAX.
 *
 * Behind the bytes of a block there are always SCAN_PADDING readable ones, and a
 * line's LF stays in place, as the scanner needs it.
 */
#ifndef LIBBUS_INPUT_H
#define LIBBUS_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "libbus/wire/envelope.h"
#include "libbus/wire/fdqueue.h"
#include "libbus/wire/lines.h"

#define INPUT_BLOCK_MIN (16u * 1024)
#define INPUT_BLOCK_MAX (64u * 1024)

/* The bus allows 1 MiB unless it is told otherwise; beyond this it is no bus. */
#define INPUT_LINE_MAX (64u * 1024 * 1024)

struct block {
    unsigned refs;
    size_t capacity;
    size_t used;
    char data[];
};

/* NULL: out of memory. Its bytes are zero. */
struct block *block_new(size_t capacity);
struct block *block_ref(struct block *block);
struct block *block_unref(struct block *block); /* NULL */

struct input {
    struct block *block; /* NULL before the first read */
    size_t consumed;     /* bytes of the block that are done with */
    size_t block_size;   /* of the next ordinary block */
    uint64_t received;   /* bytes of the stream */
    bool filled;         /* the last read took all the room: there may be more */
    struct lines lines;
    struct envelope_head head; /* of the events that come in */
    struct fdqueue fds;
};

void input_init(struct input *input);
void input_deinit(struct input *input);

/* Reads once. The number of bytes, 0 at the end of the stream, or -errno (-EAGAIN:
 * nothing there). All whole lines must have been taken out before. */
ssize_t input_read(struct input *input, int fd);

/* The next whole line; it lives as long as input->block is held. */
enum lines_result input_next(struct input *input, struct line *ret_line);

#endif
