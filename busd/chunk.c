/* SPDX-License-Identifier: MIT */
#include "busd/chunk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/wire/scan.h"

struct chunk *chunk_new(size_t size)
{
    struct chunk *chunk = malloc(sizeof(*chunk) + size + SCAN_PADDING);

    if (!chunk)
        return NULL;
    *chunk = (struct chunk){.refs = 1, .size = (uint32_t)size};
    /* The scanner may look at the padding, whatever it holds. */
    memset(chunk->data + size, 0, SCAN_PADDING);
    return chunk;
}

struct chunk *chunk_ref(struct chunk *chunk)
{
    chunk->refs++;
    return chunk;
}

struct chunk *chunk_unref(struct chunk *chunk)
{
    if (!chunk || --chunk->refs > 0)
        return NULL;
    chunk_unref(chunk->moved);
    free(chunk);
    return NULL;
}

void chunk_move(struct piece *piece)
{
    struct chunk *from = piece->chunk;
    struct chunk *to = from->moved;

    if (!from->turn || piece->size > from->size / 2)
        return;
    if (!to || piece->offset < from->moved_begin ||
        piece->offset + piece->size > from->moved_begin + to->size) {
        to = chunk_new(piece->size);
        if (!to)
            return;
        memcpy(to->data, from->data + piece->offset, piece->size);
        chunk_unref(from->moved);
        from->moved = to;
        from->moved_begin = piece->offset;
    }
    piece->chunk = chunk_ref(to);
    piece->offset -= from->moved_begin;
    chunk_unref(from);
}

void chunk_arena_init(struct chunk_arena *arena)
{
    arena->current = NULL;
}

void chunk_arena_deinit(struct chunk_arena *arena)
{
    arena->current = chunk_unref(arena->current);
}

int chunk_arena_alloc(struct chunk_arena *arena, size_t size, struct piece *ret_piece)
{
    struct chunk *chunk = arena->current;

    if (!chunk || chunk->size - chunk->used < size) {
        struct chunk *fresh = chunk_new(MAX(size, (size_t)CHUNK_SIZE));
        if (!fresh)
            return -ENOMEM;
        fresh->turn = true;
        chunk_unref(chunk);
        arena->current = chunk = fresh;
    }
    *ret_piece = (struct piece){chunk, chunk->used, (uint32_t)size, NULL};
    chunk->used += (uint32_t)size;
    return 0;
}

void chunk_arena_reset(struct chunk_arena *arena)
{
    struct chunk *chunk = arena->current;

    if (!chunk)
        return;
    chunk->moved = chunk_unref(chunk->moved);
    if (chunk->refs == 1 && chunk->size == CHUNK_SIZE)
        chunk->used = 0;
    else
        arena->current = chunk_unref(chunk);
}
