/* SPDX-License-Identifier: MIT */
#include "libbus/timers.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define TIMERS_MIN 16

void timers_init(struct timers *timers)
{
    *timers = (struct timers){0};
}

void timers_deinit(struct timers *timers)
{
    assert(timers->count == 0);
    free(timers->heap);
    *timers = (struct timers){0};
}

static void place(struct timers *timers, size_t at, struct timer *timer)
{
    timers->heap[at] = timer;
    timer->place = at;
}

/* Finds the place for a timer when `hole` is free: up while it is earlier than
 * its parent, else down while a child is earlier than it. */
static void settle(struct timers *timers, size_t hole, struct timer *timer)
{
    while (hole > 1 && timer->at < timers->heap[hole / 2]->at) {
        place(timers, hole, timers->heap[hole / 2]);
        hole /= 2;
    }
    for (;;) {
        size_t child = hole * 2;
        if (child < timers->count && timers->heap[child + 1]->at < timers->heap[child]->at)
            child++;
        if (child > timers->count || timer->at <= timers->heap[child]->at)
            break;
        place(timers, hole, timers->heap[child]);
        hole = child;
    }
    place(timers, hole, timer);
}

int timers_add(struct timers *timers, struct timer *timer, uint64_t at)
{
    if (timers->count + 1 >= timers->capacity) {
        size_t capacity = timers->capacity ? timers->capacity * 2 : TIMERS_MIN;
        struct timer **heap = realloc(timers->heap, capacity * sizeof(struct timer *));
        if (!heap)
            return -ENOMEM;
        timers->heap = heap;
        timers->capacity = capacity;
    }
    timer->at = at;
    timers->count++;
    timers->heap[timers->count] = timer;
    settle(timers, timers->count, timer);
    return 0;
}

void timers_remove(struct timers *timers, struct timer *timer)
{
    size_t hole = timer->place;

    if (hole == 0)
        return;
    struct timer *last = timers->heap[timers->count--];
    timer->place = 0;
    if (last != timer)
        settle(timers, hole, last);
}
