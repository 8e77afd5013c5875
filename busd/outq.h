/* SPDX-License-Identifier: MIT */
/*
 * What waits to be written to one connection: a list of pieces. Pure: it does not
 * write; it says what to write next and is told how much has been taken.
 *
 * Pieces that lie next to each other in one chunk become one, so that a burst of
 * events is one copy by the kernel. A piece with fds stays by itself at its
 * beginning, for its fds go with its first byte.
 *
 * A piece can be queued with a mark, which is embedded in an object of the caller's. It
 * stays by itself, too, and as long as nothing of it has been written it can be taken
 * out of the queue again, wherever it stands, in O(1). Whoever owns the mark is told when
 * it is too late for that.
 */
#ifndef BUSD_OUTQ_H
#define BUSD_OUTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "busd/chunk.h"
#include "libbus/base/span.h"

struct outq_mark;

struct outq_item {
    struct outq_item *next;
    struct outq_mark *mark; /* NULL for most, and once something of it has been written */
    struct piece piece;
};

/* Why a marked piece cannot be taken out of the queue any more. */
enum outq_end {
    OUTQ_WRITTEN,  /* its first byte at least */
    OUTQ_FILTERED, /* outq_filter(): it is not to be kept, or there was no memory */
    OUTQ_REFUSED,  /* outq_take_first() */
    OUTQ_CLEARED,  /* outq_deinit() */
};

struct outq_mark {
    struct outq_item *item;   /* NULL: it is in no queue */
    struct outq_item *before; /* the one in front of that; NULL at the head */
    /* Called once, when the mark is in no queue any more; it may be freed then, but the
     * queue must be left alone. The piece is borrowed, and NULL if it has been written. */
    void (*ended)(struct outq_mark *mark, enum outq_end end, const struct piece *piece);
};

/* Items that have been used, for use again by any queue. */
struct outq_pool {
    struct outq_item *spare;
    size_t count;
};

struct outq {
    struct outq_item *head;
    struct outq_item *tail;
    struct outq_item *unmoved; /* the first that may still lie in a turn's chunk */
    bool mid_line;             /* the beginning of the first line has been written */
    size_t bytes;
    unsigned fds;
};

void outq_pool_init(struct outq_pool *pool);
void outq_pool_deinit(struct outq_pool *pool);

void outq_init(struct outq *outq);

/* Lets go of all that waits. */
void outq_deinit(struct outq *outq, struct outq_pool *pool);

/* Takes references of its own to the piece's chunk and fds. 0 or -ENOMEM. */
int outq_append(struct outq *outq, struct outq_pool *pool, const struct piece *piece);

/* The same with a mark, which must be in no queue. */
int outq_append_marked(struct outq *outq, struct outq_pool *pool, const struct piece *piece,
                       struct outq_mark *mark);

/* Takes the piece of a mark that is in this queue out of it; its references are the
 * caller's. The mark is not told. */
void outq_take(struct outq *outq, struct outq_pool *pool, struct outq_mark *mark,
               struct piece *ret_piece);

/* The same, and lets go of it. */
void outq_drop(struct outq *outq, struct outq_pool *pool, struct outq_mark *mark);

/* What one sendmsg() should carry: fills at most `max` elements and returns their
 * number; *ret_fds are to be attached (NULL: none). Borrowed. */
size_t outq_gather(const struct outq *outq, struct iovec *iov, size_t max,
                   const struct fds **ret_fds);

/* `size` bytes (more than 0) have been taken by the kernel, and so have the fds of
 * the first piece. */
void outq_consume(struct outq *outq, struct outq_pool *pool, size_t size);

/* Takes the first piece, of which nothing has been sent, out of the queue. Its
 * references are the caller's. */
void outq_take_first(struct outq *outq, struct outq_pool *pool, struct piece *ret_piece);

/* Asks about every line of which nothing has been written, and drops those that are
 * not to be kept, with their fds; keep() must leave the queue alone. 0, or -ENOMEM with
 * an unknown part dropped. */
int outq_filter(struct outq *outq, struct outq_pool *pool,
                bool (*keep)(struct span line, void *userdata), void *userdata);

/* Moves what is left out of the turn's chunks (chunk_move()). */
void outq_settle(struct outq *outq);

static inline bool outq_is_empty(const struct outq *outq)
{
    return !outq->head;
}

#endif
