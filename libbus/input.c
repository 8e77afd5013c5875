/* SPDX-License-Identifier: MIT */
#include "libbus/input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/wire/scan.h"
#include "libbus/wire/sockio.h"

/* With less room than this a read is not worth its system call. */
#define INPUT_ROOM_MIN 4096

struct block *block_new(size_t capacity)
{
    struct block *block = calloc(1, sizeof(*block) + capacity + SCAN_PADDING);

    if (!block)
        return NULL;
    block->refs = 1;
    block->capacity = capacity;
    return block;
}

struct block *block_ref(struct block *block)
{
    if (block)
        block->refs++;
    return block;
}

struct block *block_unref(struct block *block)
{
    if (block && --block->refs == 0)
        free(block);
    return NULL;
}

void input_init(struct input *input)
{
    *input = (struct input){.block_size = INPUT_BLOCK_MIN};
    lines_init(&input->lines, INPUT_LINE_MAX);
    fdqueue_init(&input->fds);
}

void input_deinit(struct input *input)
{
    input->block = block_unref(input->block);
    input->consumed = 0;
    fdqueue_deinit(&input->fds);
}

/* Whether the block, all of whose lines are done with, is still of the right
 * size: no smaller than what reads have been filling, and one that grew for a
 * long line only as long as there are such lines. */
static bool is_fitting(const struct input *input)
{
    const struct block *block = input->block;

    return block->capacity >= input->block_size &&
           (block->capacity <= INPUT_BLOCK_MAX || block->used >= block->capacity / 4);
}

static int input_make_room(struct input *input)
{
    struct block *block = input->block;
    size_t left = block ? block->used - input->consumed : 0;
    bool alone = block && block->refs == 1;

    if (alone && left == 0 && is_fitting(input)) {
        block->used = 0;
        input->consumed = 0;
        return 0;
    }
    if (block && (left > 0 || !alone) && block->capacity - block->used >= INPUT_ROOM_MIN)
        return 0;
    if (alone && left > 0 && left <= block->capacity / 2) {
        memmove(block->data, block->data + input->consumed, left);
        block->used = left;
        input->consumed = 0;
        return 0;
    }

    struct block *next = block_new(MAX(input->block_size, left * 2));
    if (!next)
        return -ENOMEM;
    if (left > 0)
        memcpy(next->data, block->data + input->consumed, left);
    next->used = left;
    block_unref(block);
    input->block = next;
    input->consumed = 0;
    return 0;
}

ssize_t input_read(struct input *input, int fd)
{
    struct fds *fds;
    int r = input_make_room(input);

    if (r < 0)
        return r;
    struct block *block = input->block;
    size_t room = block->capacity - block->used;
    ssize_t n = sockio_recv(fd, block->data + block->used, room, &fds);
    input->filled = n == (ssize_t)room;
    if (n < 0)
        return n;
    block->used += (size_t)n;
    input->received += (size_t)n;
    if (input->filled)
        input->block_size = MIN(input->block_size * 2, INPUT_BLOCK_MAX);
    if (fds) {
        fds->end = input->received;
        fdqueue_push(&input->fds, fds);
    }
    return n;
}

enum lines_result input_next(struct input *input, struct line *ret_line)
{
    struct block *block = input->block;
    size_t consumed;

    if (!block)
        return LINES_MORE;
    enum lines_result result = lines_next(&input->lines, block->data + input->consumed,
                                          block->used - input->consumed, &consumed, ret_line);
    input->consumed += consumed;
    return result;
}
