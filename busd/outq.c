/* SPDX-License-Identifier: MIT */
#include "busd/outq.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* The queue is without the piece of an item that has been unlinked: hands the piece's
 * references over. */
static struct piece release(struct outq *outq, struct outq_pool *pool, struct outq_item *item)
{
    struct piece piece = item->piece;

    if (outq->unmoved == item)
        outq->unmoved = item->next;
    outq->bytes -= piece.size;
    if (piece.fds)
        outq->fds -= piece.fds->count;
    item_free(pool, item);
    return piece;
}

/* Unlinks the first item and hands its references over; *ret_mark is its mark, which is in
 * no queue any more and has not been told. */
static struct piece pop(struct outq *outq, struct outq_pool *pool, struct outq_mark **ret_mark)
{
    struct outq_item *item = outq->head;

    *ret_mark = item->mark;
    if (item->mark)
        item->mark->item = NULL;
    outq->head = item->next;
    if (!outq->head)
        outq->tail = NULL;
    else if (outq->head->mark)
        outq->head->mark->before = NULL;
    return release(outq, pool, item);
}

void outq_deinit(struct outq *outq, struct outq_pool *pool)
{
    while (outq->head) {
        struct outq_mark *mark;
        struct piece piece = pop(outq, pool, &mark);
        if (mark)
            mark->ended(mark, OUTQ_CLEARED, &piece);
        chunk_unref(piece.chunk);
        fds_unref(piece.fds);
    }
}

/* Puts the piece into an item of its own. */
static int append_item(struct outq *outq, struct outq_pool *pool, const struct piece *piece,
                       struct outq_mark *mark)
{
    struct outq_item *tail = outq->tail;
    struct outq_item *item = item_new(pool);

    if (!item)
        return -ENOMEM;
    *item = (struct outq_item){.piece = *piece, .mark = mark};
    if (mark) {
        mark->item = item;
        mark->before = tail;
    }
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

int outq_append(struct outq *outq, struct outq_pool *pool, const struct piece *piece)
{
    struct outq_item *tail = outq->tail;

    if (tail && !tail->mark && !piece->fds && !tail->piece.fds &&
        tail->piece.chunk == piece->chunk &&
        tail->piece.offset + tail->piece.size == piece->offset) {
        tail->piece.size += piece->size;
        outq->bytes += piece->size;
        return 0;
    }
    return append_item(outq, pool, piece, NULL);
}

int outq_append_marked(struct outq *outq, struct outq_pool *pool, const struct piece *piece,
                       struct outq_mark *mark)
{
    return append_item(outq, pool, piece, mark);
}

void outq_take(struct outq *outq, struct outq_pool *pool, struct outq_mark *mark,
               struct piece *ret_piece)
{
    struct outq_item *item = mark->item;
    struct outq_item *before = mark->before;
    struct outq_item *after = item->next;

    if (before)
        before->next = after;
    else
        outq->head = after;
    if (!after)
        outq->tail = before;
    else if (after->mark)
        after->mark->before = before;
    mark->item = NULL;
    *ret_piece = release(outq, pool, item);
}

void outq_drop(struct outq *outq, struct outq_pool *pool, struct outq_mark *mark)
{
    struct piece piece;

    outq_take(outq, pool, mark, &piece);
    chunk_unref(piece.chunk);
    fds_unref(piece.fds);
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
        struct outq_mark *mark = outq->head->mark;
        if (mark) {
            outq->head->mark = NULL;
            mark->item = NULL;
            mark->ended(mark, OUTQ_WRITTEN, NULL);
        }
        if (first->fds) {
            outq->fds -= first->fds->count;
            first->fds = fds_unref(first->fds);
        }
        if (size < first->size) {
            outq->mid_line = first->chunk->data[first->offset + size - 1] != '\n';
            first->offset += (uint32_t)size;
            first->size -= (uint32_t)size;
            outq->bytes -= size;
            return;
        }
        size -= first->size;
        outq->mid_line = false;
        chunk_unref(pop(outq, pool, &mark).chunk);
    }
}

void outq_take_first(struct outq *outq, struct outq_pool *pool, struct piece *ret_piece)
{
    struct outq_mark *mark;
    struct piece piece = pop(outq, pool, &mark);

    if (mark)
        mark->ended(mark, OUTQ_REFUSED, &piece);
    *ret_piece = piece;
}

/* Appends what is to be kept of the piece to another queue; a mark stands for a whole
 * line. */
static int filter_piece(struct outq *kept, struct outq_pool *pool, const struct piece *piece,
                        struct outq_mark *mark, bool mid_line,
                        bool (*keep)(struct span line, void *userdata), void *userdata)
{
    const char *data = piece->chunk->data;
    uint32_t end = piece->offset + piece->size;

    for (uint32_t at = piece->offset; at < end;) {
        const char *newline = memchr(data + at, '\n', end - at);
        uint32_t next = newline ? (uint32_t)(newline - data) + 1 : end;
        struct span line = {data + at, next - at - 1};
        bool first = at == piece->offset;
        if ((first && mid_line) || keep(line, userdata)) {
            struct piece part = {piece->chunk, at, next - at, first ? piece->fds : NULL};
            int r =
                mark ? outq_append_marked(kept, pool, &part, mark) : outq_append(kept, pool, &part);
            if (r < 0)
                return r;
        }
        at = next;
    }
    return 0;
}

int outq_filter(struct outq *outq, struct outq_pool *pool,
                bool (*keep)(struct span line, void *userdata), void *userdata)
{
    bool mid_line = outq->mid_line;
    struct outq kept;
    int r = 0;

    outq_init(&kept);
    kept.mid_line = mid_line;
    while (outq->head) {
        struct outq_mark *mark;
        struct piece piece = pop(outq, pool, &mark);
        if (r == 0)
            r = filter_piece(&kept, pool, &piece, mark, mid_line, keep, userdata);
        if (mark && !mark->item)
            mark->ended(mark, OUTQ_FILTERED, &piece);
        mid_line = false;
        chunk_unref(piece.chunk);
        fds_unref(piece.fds);
    }
    *outq = kept;
    return r;
}

void outq_settle(struct outq *outq)
{
    for (struct outq_item *item = outq->unmoved; item; item = item->next)
        chunk_move(&item->piece);
    outq->unmoved = NULL;
}
