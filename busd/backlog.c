/* SPDX-License-Identifier: MIT */
#include "busd/backlog.h"

void backlog_init(struct backlog *backlog)
{
    list_init(&backlog->waiters);
}

void backlog_waiter_init(struct backlog_waiter *waiter,
                         void (*caught_up)(struct backlog_waiter *waiter))
{
    *waiter = (struct backlog_waiter){.caught_up = caught_up};
    list_init(&waiter->link);
}

void backlog_wait(struct backlog *backlog, struct backlog_waiter *waiter, uint64_t at)
{
    waiter->at = at;
    list_append(&backlog->waiters, &waiter->link);
}

void backlog_leave(struct backlog_waiter *waiter)
{
    list_remove(&waiter->link);
}

unsigned backlog_wake(struct backlog *backlog, uint64_t position, unsigned max)
{
    unsigned count = 0;
    struct list *node;

    while (count < max && (node = list_first(&backlog->waiters))) {
        struct backlog_waiter *waiter = LIST_ENTRY(node, struct backlog_waiter, link);
        if (waiter->at > position)
            break;
        list_remove(node);
        waiter->caught_up(waiter);
        count++;
    }
    return count;
}
