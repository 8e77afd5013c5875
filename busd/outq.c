/* SPDX-License-Identifier: MIT */
#include "busd/outq.h"

#include <errno.h>
#include <stdlib.h>

#include "libbus/base/macros.h"

/* Beyond this many, used items are freed. */
#define SPARE_MAX 4096

void outq_pool_init(struct outq_pool *pool)
{
    *pool = (struct outq_pool){0};
}

void outq_pool_deinit(struct outq_pool *pool)
{
    while (pool->spare) {
        struct outq_item *item = pool->spare;
        pool->spare = item->next;
        free(item);
    }
    pool->count = 0;
}

static struct outq_item *item_new(struct outq_pool *pool)
{
    struct outq_item *item = pool->spare;

    if (!item)
        return malloc(sizeof(*item));
    pool->spare = item->next;
    pool->count--;
    return item;
}

static void item_free(struct outq_pool *pool, struct outq_item *item)
{
    if (pool->count >= SPARE_MAX) {
        free(item);
        return;
    }
    item->next = pool->spare;
    pool->spare = item;
    pool->count++;
}

void outq_init(struct outq *outq)
{
    *outq = (struct outq){0};
}

/* Unlinks the first item and hands its references over. */
static struct piece pop(struct outq *outq, struct outq_pool *pool)
{
    struct outq_item *item = outq->head;
    struct piece piece = item->piece;

    if (outq->unmoved == item)
        outq->unmoved = item->next;
    outq->head = item->next;
    if (!outq->head)
        outq->tail = NULL;
    outq->bytes -= piece.size;
    if (piece.fds)
        outq->fds -= piece.fds->count;
    item_free(pool, item);
    return piece;
}

void outq_deinit(struct outq *outq, struct outq_pool *pool)
{
    while (outq->head) {
        struct piece piece = pop(outq, pool);
        chunk_unref(piece.chunk);
        fds_unref(piece.fds);
    }
}

int outq_append(struct outq *outq, struct outq_pool *pool, const struct piece *piece)
{
    struct outq_item *tail = outq->tail;

    if (tail && !piece->fds && !tail->piece.fds && tail->piece.chunk == piece->chunk &&
        tail->piece.offset + tail->piece.size == piece->offset) {
        tail->piece.size += piece->size;
        outq->bytes += piece->size;
        return 0;
    }

    struct outq_item *item = item_new(pool);
    if (!item)
        return -ENOMEM;
    *item = (struct outq_item){.piece = *piece};
    chunk_ref(piece->chunk);
    fds_ref(piece->fds);
    if (tail)
        tail->next = item;
    else
        outq->head = item;
    outq->tail = item;
    if (!outq->unmoved)
        outq->unmoved = item;
    outq->bytes += piece->size;
    if (piece->fds)
        outq->fds += piece->fds->count;
    return 0;
}

size_t outq_gather(const struct outq *outq, struct iovec *iov, size_t max,
                   const struct fds **ret_fds)
{
    size_t count = 0;

    *ret_fds = outq->head ? outq->head->piece.fds : NULL;
    for (struct outq_item *item = outq->head; item && count < max; item = item->next) {
        if (item->piece.fds && item != outq->head)
            break;
        iov[count++] =
            (struct iovec){item->piece.chunk->data + item->piece.offset, item->piece.size};
    }
    return count;
}

void outq_consume(struct outq *outq, struct outq_pool *pool, size_t size)
{
    while (size > 0) {
        struct piece *first = &outq->head->piece;
        if (first->fds) {
            outq->fds -= first->fds->count;
            first->fds = fds_unref(first->fds);
        }
        if (size < first->size) {
            first->offset += (uint32_t)size;
            first->size -= (uint32_t)size;
            outq->bytes -= size;
            return;
        }
        size -= first->size;
        chunk_unref(pop(outq, pool).chunk);
    }
}

void outq_take_first(struct outq *outq, struct outq_pool *pool, struct piece *ret_piece)
{
    *ret_piece = pop(outq, pool);
}

void outq_settle(struct outq *outq)
{
    for (struct outq_item *item = outq->unmoved; item; item = item->next)
        chunk_move(&item->piece);
    outq->unmoved = NULL;
}
