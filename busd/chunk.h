/* SPDX-License-Identifier: MIT */
/*
 * Outgoing bytes. A chunk is a reference-counted buffer in which the lines of one
 * turn are laid out one after the other; a piece is one line in it, shared by all
 * its receivers without being copied. The arena hands out the room: it keeps one
 * chunk and uses it again as soon as nobody refers to it, so that steady traffic
 * allocates nothing.
 */
#ifndef BUSD_CHUNK_H
#define BUSD_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libbus/wire/fdqueue.h"

#define CHUNK_SIZE (256u * 1024)

struct chunk {
    unsigned refs;
    uint32_t size;
    uint32_t used;
    bool turn; /* made by the arena for the lines of a turn */
    /* Where what a slow receiver could not take has been moved to, for the next
     * receiver that waits for the same bytes. Owned; only in a turn's chunk. */
    struct chunk *moved;
    uint32_t moved_begin;
    char data[];
};

/* One line. `fds` belong to it (NULL: none). Borrowed from whoever handed it out. */
struct piece {
    struct chunk *chunk;
    uint32_t offset;
    uint32_t size;
    struct fds *fds;
};

/* SCAN_PADDING bytes behind the size are readable. NULL: out of memory. */
struct chunk *chunk_new(size_t size);
struct chunk *chunk_ref(struct chunk *chunk);
struct chunk *chunk_unref(struct chunk *chunk); /* NULL */

/* Moves a piece out of its turn's chunk into one of about its own size, shared with
 * others who had the same bytes moved, and hands the reference over. Nothing
 * happens if the piece is most of its chunk, or if there is no memory: then the
 * whole chunk stays. */
void chunk_move(struct piece *piece);

struct chunk_arena {
    struct chunk *current;
};

void chunk_arena_init(struct chunk_arena *arena);
void chunk_arena_deinit(struct chunk_arena *arena);

/* Room for `size` bytes: *ret_piece holds a borrowed reference that is good until
 * the next call. 0 or -ENOMEM. */
int chunk_arena_alloc(struct chunk_arena *arena, size_t size, struct piece *ret_piece);

/* Once a turn: what nobody refers to any more can be used again. */
void chunk_arena_reset(struct chunk_arena *arena);

#endif
