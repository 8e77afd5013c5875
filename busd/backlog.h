/* SPDX-License-Identifier: MIT */
/*
 * Who waits until a receiver has read of what is queued for it. Pure: positions are
 * bytes of the receiver's stream of output, since its beginning, and whoever has the
 * queue says how far it has come.
 *
 * A waiter is embedded in an object of the caller's, waits for one receiver at a time
 * and is called once: when the receiver has come to its position, or when it goes. So
 * whoever waits is not held up by what is queued for the same receiver after it.
 */
#ifndef BUSD_BACKLOG_H
#define BUSD_BACKLOG_H

#include <stdint.h>

#include "libbus/base/list.h"

struct backlog {
    struct list waiters; /* struct backlog_waiter.link, by position */
};

struct backlog_waiter {
    struct list link; /* in no list: it does not wait */
    uint64_t at;
    void (*caught_up)(struct backlog_waiter *waiter); /* it may be freed, or wait again */
};

void backlog_init(struct backlog *backlog);

void backlog_waiter_init(struct backlog_waiter *waiter,
                         void (*caught_up)(struct backlog_waiter *waiter));

/* Waits for the position, which is not before that of any other waiter. */
void backlog_wait(struct backlog *backlog, struct backlog_waiter *waiter, uint64_t at);

/* Does not wait any more, if it did; it is not called. */
void backlog_leave(struct backlog_waiter *waiter);

/* The receiver has come to `position`: calls those that wait for that, `max` at most.
 * Returns how many. */
unsigned backlog_wake(struct backlog *backlog, uint64_t position, unsigned max);

#endif
