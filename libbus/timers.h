/* SPDX-License-Identifier: MIT */
/*
 * Deadlines of the client's pending calls: a binary heap of pointers to `struct
 * timer` that are embedded in what they belong to. Pure: it knows no clock and
 * runs nothing; times are milliseconds of whatever clock the caller uses.
 *
 * The heap owns only its array, which grows and never shrinks. Adding and
 * removing cost O(log n), looking at the earliest costs nothing.
 */
#ifndef LIBBUS_TIMERS_H
#define LIBBUS_TIMERS_H

#include <stddef.h>
#include <stdint.h>

struct timer {
    uint64_t at;
    size_t place; /* in the heap, from 1; 0: in no heap */
};

struct timers {
    struct timer **heap; /* heap[0] is not used */
    size_t count;
    size_t capacity;
};

void timers_init(struct timers *timers);

/* No timer may be left in it. */
void timers_deinit(struct timers *timers);

/* 0, or -ENOMEM with nothing changed. The timer must be in no heap. */
int timers_add(struct timers *timers, struct timer *timer, uint64_t at);

/* Does nothing to a timer that is in no heap. */
void timers_remove(struct timers *timers, struct timer *timer);

/* The earliest one, which stays in the heap; NULL: there is none. */
static inline struct timer *timers_first(const struct timers *timers)
{
    return timers->count ? timers->heap[1] : NULL;
}

#endif
