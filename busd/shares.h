/* SPDX-License-Identifier: MIT */
/*
 * What members of queue groups have been given and have not been written to them yet.
 * Pure: it knows neither sockets nor peers; a member's queue is the caller's.
 *
 * A share is one event in one queue. It ends when its first byte has been written: then
 * it is the member's own. Until then it can be taken back, to be given to another member
 * of its group; and what is let go of by the queue itself, because the member does not
 * read any more or may not have it any more, is kept to be taken, too, in the same order.
 */
#ifndef BUSD_SHARES_H
#define BUSD_SHARES_H

#include <stdbool.h>
#include <stdint.h>

#include "busd/groups.h"
#include "busd/outq.h"
#include "libbus/base/list.h"

struct shares {
    struct groups *groups;
    struct list strewn; /* struct share_holder.link: holders of what no queue has any more */
    struct list spare;  /* struct share.link */
    size_t spare_count;
};

/* Embedded in a connection. */
struct share_holder {
    struct shares *shares;
    size_t bytes; /* that keeping track of what is in the queue takes, to be charged with it */
    struct list link;
    struct list queued; /* struct share.link, the oldest first */
    struct list strewn; /* the same, of what was in the queue and is not any more */
};

struct share {
    struct outq_mark mark;
    struct list link;
    struct share_holder *holder;
    struct group *group; /* a reference */
    uint64_t filter;     /* by what the member had filtered the sender, hashed; 0: by nothing */
    struct piece piece;  /* once it is in no queue; references */
};

/* The groups are borrowed. */
void shares_init(struct shares *shares, struct groups *groups);
void shares_deinit(struct shares *shares);

void share_holder_init(struct share_holder *holder, struct shares *shares);

/* Puts an event of the group into the holder's queue. 0 or -ENOMEM. */
int share_append(struct share_holder *holder, struct outq *outq, struct outq_pool *pool,
                 const struct piece *piece, struct group *group, uint64_t filter);

/* Takes the oldest share back, out of the queue if it is there. NULL: there is none, or
 * with `strewn` none that the queue itself has let go of. The caller's to share_free(). */
struct share *share_take(struct share_holder *holder, struct outq *outq, struct outq_pool *pool,
                         bool strewn);

/* Lets go of one that has been taken. */
void share_free(struct shares *shares, struct share *share);

#endif
