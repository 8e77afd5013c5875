/* SPDX-License-Identifier: MIT */
/*
 * Closes file descriptors off the loop, because close(2) can block for as long as a
 * FUSE or NFS server, or a lingering socket, likes. What comes from one user is in one
 * lane, which one thread at a time serves, in the order in which it came.
 *
 * One thread serves all lanes in turn, as long as none holds it up. If it has been at
 * one for CLOSER_TICK_MS to twice that, it is left to that lane, and another takes the
 * rest over. So there is a thread more than there are lanes that take long, and
 * CLOSER_THREADS at most. A lane is slow when nothing has been closed in it for that
 * time, or when it waits and no thread can be had: until one is free again or can be
 * made, which is tried again and again.
 *
 * The loop is woken by a timer while something is to be closed, and for each close in a
 * slow lane; what goes well costs it nothing more. All is called on the loop's thread, and
 * so is `changed`.
 */
#ifndef BUSD_CLOSER_H
#define BUSD_CLOSER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "libbus/base/list.h"
#include "libbus/wire/fdqueue.h"

#define CLOSER_TICK_MS 25
#define CLOSER_THREADS 64
/* How long the end waits for what is still to be closed. */
#define CLOSER_END_MS 1000

/* What a lane closes, counted apart. */
enum closer_kind { CLOSER_SOCKETS, CLOSER_FDS, CLOSER_KINDS };

/* Embedded in an object of the owner's, which outlives it, see closer_lane_is_empty(). */
struct closer_lane {
    struct list link; /* in those that wait for a thread; with the mutex, like … */
    struct list waiting[CLOSER_KINDS]; /* … struct fds, and … */
    bool served;                       /* … whether a thread is at it … */
    bool slow;                         /* … which is set by the loop alone */
    struct list watch_link;
    uint64_t taken[CLOSER_KINDS]; /* file descriptors so far … */
    atomic_uint_fast64_t closed[CLOSER_KINDS];
    atomic_uint_fast64_t wake_at; /* the loop, once so many of a kind are closed */
};

struct closer {
    uv_timer_t tick;
    uv_async_t wake;
    bool ticking;
    unsigned tick_ms;
    struct list watched; /* struct closer_lane.watch_link */
    void (*changed)(struct closer_lane *lane);
    pthread_mutex_t mutex;
    pthread_cond_t called; /* for threads that are idle */
    pthread_cond_t ended;
    struct list ready;   /* struct closer_lane.link; with the mutex, like all that follows */
    struct list workers; /* struct worker, of closer.c … */
    struct list gone;    /* … and those whose threads end */
    unsigned threads;
    unsigned idle;
    unsigned held;  /* up by one lane */
    unsigned calls; /* threads called that are not counted as idle any more */
    bool leaving;
    bool open; /* the handles are */
};

/* Heap object. `changed` is called when a lane is watched, as one that has become slow
 * is, and something in it may have been closed. 0 or -errno. */
int closer_new(uv_loop_t *loop, void (*changed)(struct closer_lane *lane),
               struct closer **ret_closer);

/* Starts the first thread, which otherwise begins with the first file descriptor, and
 * waits until it runs. 0 or -errno. */
int closer_start(struct closer *closer);

/* Closes the handles; the loop has to run before it is freed. */
void closer_close(struct closer *closer);

/* Waits until everything is closed, CLOSER_END_MS at most. False if something is not:
 * then its thread is left behind, and so is the memory of that lane and the closer's. */
bool closer_end(struct closer *closer);

/* After that. NULL is let pass. */
void closer_free(struct closer *closer);

void closer_lane_init(struct closer_lane *lane);

/* Takes the set: whatever its references, it is closed. */
void closer_put(struct closer *closer, struct closer_lane *lane, enum closer_kind kind,
                struct fds *fds);

/* Has `changed` called once so many of a kind have been closed in all, or for each that
 * is closed if the lane is slow. Not to miss what has been closed meanwhile, look at
 * closer_pending() after it. */
void closer_watch(struct closer *closer, struct closer_lane *lane, uint64_t closed);

/* The lane is not slow any more, either. Idempotent. */
void closer_unwatch(struct closer *closer, struct closer_lane *lane);

/* How many file descriptors have not been closed yet. */
static inline uint64_t closer_pending(const struct closer_lane *lane, enum closer_kind kind)
{
    return lane->taken[kind] - atomic_load(&lane->closed[kind]);
}

/* Whether it is done with, so that its memory may go. Always true after a closer_end()
 * that has returned true. */
bool closer_lane_is_empty(struct closer *closer, const struct closer_lane *lane);

#endif
