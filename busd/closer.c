/* SPDX-License-Identifier: MIT */
#include "busd/closer.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "libbus/base/macros.h"

/* It closes and frees, and needs next to no stack for that. */
#define STACK_SIZE (256u * 1024)
/* A thread is kept for the next lane that has to wait. */
#define IDLE_MAX 1
/* How rarely it is tried to get a thread, if there is none to be had. */
#define TICK_LONGEST_MS 1000

struct worker {
    struct list link;
    struct closer *closer;
    pthread_t thread;
    bool running;
    struct closer_lane *lane; /* that it serves */
    uint64_t turn;            /* how many it has begun with */
    uint64_t seen_turn;       /* as of the last tick, like … */
    uint64_t seen_closed;     /* … what had been closed in its lane */
    bool held;                /* up by its lane: others are to serve the rest */
};

static void on_tick(uv_timer_t *tick);
static void on_wake(uv_async_t *wake);

/* ------------------------------------------------------------- threads */

/* A lane that waits, once there is one. NULL: it is time to go. */
static struct closer_lane *next_lane(struct closer *closer)
{
    for (;;) {
        struct list *node = list_first(&closer->ready);
        if (node) {
            list_remove(node);
            return LIST_ENTRY(node, struct closer_lane, link);
        }
        if (closer->leaving || closer->idle >= IDLE_MAX)
            return NULL;
        closer->idle++;
        while (closer->calls == 0 && !closer->leaving)
            pthread_cond_wait(&closer->called, &closer->mutex);
        /* Whoever calls counts it as idle no more. */
        if (closer->calls > 0)
            closer->calls--;
        else
            closer->idle--;
    }
}

/* Threads that serve lanes in turn, or are about to. */
static unsigned available(const struct closer *closer)
{
    return closer->threads - closer->idle - closer->held;
}

static void say_closed(struct closer *closer, struct closer_lane *lane, enum closer_kind kind)
{
    uint64_t closed = atomic_fetch_add(&lane->closed[kind], 1) + 1;

    if (LIKELY(closed < atomic_load(&lane->wake_at)))
        return;
    pthread_mutex_lock(&closer->mutex);
    if (closer->open)
        uv_async_send(&closer->wake);
    pthread_mutex_unlock(&closer->mutex);
}

static void close_all(struct closer *closer, struct closer_lane *lane, enum closer_kind kind,
                      struct list *sets)
{
    LIST_FOREACH_SAFE (node, sets) {
        struct fds *fds = LIST_ENTRY(node, struct fds, link);
        list_remove(node);
        for (unsigned i = 0; i < fds->count; i++) {
            close(fds->fd[i]);
            say_closed(closer, lane, kind);
        }
        fds->count = 0;
        fds_destroy(fds);
    }
}

/* Closes what the lane has by now. With the mutex, which it lets go of meanwhile. */
static void serve(struct worker *worker, struct closer_lane *lane)
{
    struct closer *closer = worker->closer;
    struct list sets[CLOSER_KINDS];

    worker->turn++;
    worker->lane = lane;
    lane->served = true;
    /* One that is slow has this thread for itself until it is empty. */
    worker->held = lane->slow;
    if (worker->held)
        closer->held++;
    for (unsigned kind = 0; kind < CLOSER_KINDS; kind++) {
        list_init(&sets[kind]);
        list_splice(&sets[kind], &lane->waiting[kind]);
    }
    pthread_mutex_unlock(&closer->mutex);
    for (unsigned kind = 0; kind < CLOSER_KINDS; kind++)
        close_all(closer, lane, kind, &sets[kind]);
    pthread_mutex_lock(&closer->mutex);
    worker->lane = NULL;
    lane->served = false;
    if (worker->held)
        closer->held--;
    worker->held = false;
    for (unsigned kind = 0; kind < CLOSER_KINDS; kind++)
        if (!list_is_empty(&lane->waiting[kind]) && list_is_empty(&lane->link))
            list_append(&closer->ready, &lane->link);
}

static void *run(void *userdata)
{
    struct worker *worker = userdata;
    struct closer *closer = worker->closer;
    struct closer_lane *lane;

    pthread_mutex_lock(&closer->mutex);
    worker->running = true;
    pthread_cond_broadcast(&closer->ended);
    while ((lane = next_lane(closer)))
        serve(worker, lane);
    closer->threads--;
    list_remove(&worker->link);
    list_append(&closer->gone, &worker->link);
    pthread_cond_broadcast(&closer->ended);
    pthread_mutex_unlock(&closer->mutex);
    return NULL;
}

/* Signals are the loop's. */
static int start_thread(struct worker *worker)
{
    pthread_attr_t attributes;
    sigset_t all, before;

    int r = pthread_attr_init(&attributes);
    if (r != 0)
        return -r;
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&worker->thread, &attributes, run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return -r;
}

/* What is left of threads that have ended, or are about to. Without the mutex, which one
 * may still hold. */
static void reap(struct closer *closer)
{
    struct list gone;

    list_init(&gone);
    pthread_mutex_lock(&closer->mutex);
    list_splice(&gone, &closer->gone);
    pthread_mutex_unlock(&closer->mutex);
    LIST_FOREACH_SAFE (node, &gone) {
        struct worker *worker = LIST_ENTRY(node, struct worker, link);
        pthread_join(worker->thread, NULL);
        free(worker);
    }
}

/* With the mutex. 0 or -errno. */
static int hire(struct closer *closer, struct worker **ret_worker)
{
    struct worker *worker;

    if (closer->threads >= CLOSER_THREADS)
        return -EAGAIN;
    worker = calloc(1, sizeof(*worker));
    if (!worker)
        return -ENOMEM;
    worker->closer = closer;
    int r = start_thread(worker);
    if (r < 0) {
        free(worker);
        return r;
    }
    list_append(&closer->workers, &worker->link);
    closer->threads++;
    *ret_worker = worker;
    return 0;
}

/* Sees that the lanes that wait have `wanted` threads, as far as there are so many lanes
 * and so many threads to be had. With the mutex. */
static void provide(struct closer *closer, unsigned wanted)
{
    struct worker *worker;

    LIST_FOREACH (node, &closer->ready) {
        if (available(closer) >= wanted)
            break;
        if (closer->idle > 0) {
            closer->idle--;
            closer->calls++;
            pthread_cond_signal(&closer->called);
        } else if (hire(closer, &worker) < 0) {
            break;
        }
    }
}

int closer_start(struct closer *closer)
{
    struct worker *worker = NULL;
    int r = 0;

    pthread_mutex_lock(&closer->mutex);
    if (closer->threads == 0)
        r = hire(closer, &worker);
    while (worker && !worker->running)
        pthread_cond_wait(&closer->ended, &closer->mutex);
    pthread_mutex_unlock(&closer->mutex);
    return r;
}

/* ------------------------------------------------------------ the loop */

static void start_ticking(struct closer *closer)
{
    if (closer->ticking || !closer->open)
        return;
    closer->ticking = true;
    uv_timer_start(&closer->tick, on_tick, closer->tick_ms, 0);
}

static void set_slow(struct closer *closer, struct closer_lane *lane)
{
    lane->slow = true;
    closer_watch(closer, lane, 0);
}

/* Lanes are slow for which there is nobody. With the mutex. */
static void find_forsaken(struct closer *closer)
{
    if (available(closer) > 0)
        return;
    LIST_FOREACH (node, &closer->ready)
        set_slow(closer, LIST_ENTRY(node, struct closer_lane, link));
}

/* Finds the threads that have been at the same lane since the last tick, and the lanes in
 * which nothing has been closed since. False if there is nothing more to find. With the
 * mutex. */
static bool find_held(struct closer *closer)
{
    bool more = false;

    LIST_FOREACH (node, &closer->workers) {
        struct worker *worker = LIST_ENTRY(node, struct worker, link);
        struct closer_lane *lane = worker->lane;
        if (!lane)
            continue;
        uint64_t closed = lane->closed[CLOSER_SOCKETS] + lane->closed[CLOSER_FDS];
        if (worker->turn == worker->seen_turn) {
            if (!worker->held)
                closer->held++;
            worker->held = true;
            if (closed == worker->seen_closed && !lane->slow)
                set_slow(closer, lane);
        }
        worker->seen_turn = worker->turn;
        worker->seen_closed = closed;
        more = more || !lane->slow;
    }
    return more;
}

static void tell_watched(struct closer *closer)
{
    LIST_FOREACH_SAFE (node, &closer->watched)
        closer->changed(LIST_ENTRY(node, struct closer_lane, watch_link));
}

/* Each time twice as many threads take over, so that many slow lanes, too, keep the
 * others waiting for no more than some ticks. */
static void on_tick(uv_timer_t *tick)
{
    struct closer *closer = CONTAINER_OF(tick, struct closer, tick);

    closer->ticking = false;
    reap(closer);
    pthread_mutex_lock(&closer->mutex);
    unsigned held = closer->held;
    bool more = find_held(closer);
    provide(closer, closer->held > held ? closer->held : 1);
    find_forsaken(closer);
    bool busy = available(closer) > 0;
    bool forsaken = !busy && !list_is_empty(&closer->ready);
    bool full = closer->threads >= CLOSER_THREADS;
    pthread_mutex_unlock(&closer->mutex);
    closer->tick_ms =
        forsaken ? MIN(closer->tick_ms * 2, (unsigned)TICK_LONGEST_MS) : CLOSER_TICK_MS;
    /* A thread that is held up looks for other lanes by itself when it is free again. */
    if (more || busy || (forsaken && !full))
        start_ticking(closer);
    tell_watched(closer);
}

static void on_wake(uv_async_t *wake)
{
    tell_watched(CONTAINER_OF(wake, struct closer, wake));
}

void closer_lane_init(struct closer_lane *lane)
{
    *lane = (struct closer_lane){.wake_at = UINT64_MAX};
    list_init(&lane->link);
    list_init(&lane->watch_link);
    for (unsigned kind = 0; kind < CLOSER_KINDS; kind++)
        list_init(&lane->waiting[kind]);
}

void closer_put(struct closer *closer, struct closer_lane *lane, enum closer_kind kind,
                struct fds *fds)
{
    list_remove(&fds->link);
    lane->taken[kind] += fds->count;
    pthread_mutex_lock(&closer->mutex);
    list_append(&lane->waiting[kind], &fds->link);
    if (!lane->served && list_is_empty(&lane->link))
        list_append(&closer->ready, &lane->link);
    provide(closer, 1);
    if (UNLIKELY(available(closer) == 0))
        find_forsaken(closer);
    pthread_mutex_unlock(&closer->mutex);
    start_ticking(closer);
}

void closer_watch(struct closer *closer, struct closer_lane *lane, uint64_t closed)
{
    if (list_is_empty(&lane->watch_link))
        list_append(&closer->watched, &lane->watch_link);
    atomic_store(&lane->wake_at, lane->slow ? 0 : closed);
}

void closer_unwatch(struct closer *closer, struct closer_lane *lane)
{
    if (list_is_empty(&lane->watch_link))
        return;
    pthread_mutex_lock(&closer->mutex);
    lane->slow = false;
    pthread_mutex_unlock(&closer->mutex);
    list_remove(&lane->watch_link);
    atomic_store(&lane->wake_at, UINT64_MAX);
}

bool closer_lane_is_empty(struct closer *closer, const struct closer_lane *lane)
{
    pthread_mutex_lock(&closer->mutex);
    bool empty = !lane->served && list_is_empty(&lane->link);
    pthread_mutex_unlock(&closer->mutex);
    return empty;
}

/* ------------------------------------------------------------ lifetime */

static void init_conditions(struct closer *closer)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&closer->called, NULL);
    pthread_cond_init(&closer->ended, &attributes);
    pthread_condattr_destroy(&attributes);
}

int closer_new(uv_loop_t *loop, void (*changed)(struct closer_lane *lane),
               struct closer **ret_closer)
{
    struct closer *closer = calloc(1, sizeof(*closer));

    if (!closer)
        return -ENOMEM;
    int r = uv_async_init(loop, &closer->wake, on_wake);
    if (r < 0) {
        free(closer);
        return r;
    }
    uv_timer_init(loop, &closer->tick);
    closer->tick_ms = CLOSER_TICK_MS;
    closer->changed = changed;
    closer->open = true;
    pthread_mutex_init(&closer->mutex, NULL);
    init_conditions(closer);
    list_init(&closer->watched);
    list_init(&closer->ready);
    list_init(&closer->workers);
    list_init(&closer->gone);
    *ret_closer = closer;
    return 0;
}

void closer_close(struct closer *closer)
{
    pthread_mutex_lock(&closer->mutex);
    closer->open = false;
    pthread_mutex_unlock(&closer->mutex);
    uv_close((uv_handle_t *)&closer->tick, NULL);
    uv_close((uv_handle_t *)&closer->wake, NULL);
}

static struct timespec end_of_patience(void)
{
    struct timespec end;

    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += CLOSER_END_MS / 1000;
    end.tv_nsec += CLOSER_END_MS % 1000 * 1000000L;
    if (end.tv_nsec >= 1000000000L) {
        end.tv_nsec -= 1000000000L;
        end.tv_sec++;
    }
    return end;
}

/* What no thread could ever be had for, the end of the process closes. */
static void forget_waiting(struct closer *closer)
{
    LIST_FOREACH_SAFE (node, &closer->ready) {
        struct closer_lane *lane = LIST_ENTRY(node, struct closer_lane, link);
        list_remove(node);
        for (unsigned kind = 0; kind < CLOSER_KINDS; kind++) {
            LIST_FOREACH_SAFE (waiting, &lane->waiting[kind]) {
                list_remove(waiting);
                free(LIST_ENTRY(waiting, struct fds, link));
            }
        }
    }
}

bool closer_end(struct closer *closer)
{
    struct timespec end = end_of_patience();
    int r = 0;

    pthread_mutex_lock(&closer->mutex);
    closer->leaving = true;
    pthread_cond_broadcast(&closer->called);
    while (closer->threads > 0 && r == 0)
        r = pthread_cond_timedwait(&closer->ended, &closer->mutex, &end);
    bool all = closer->threads == 0;
    if (all)
        forget_waiting(closer);
    pthread_mutex_unlock(&closer->mutex);
    reap(closer);
    return all;
}

void closer_free(struct closer *closer)
{
    if (!closer || closer->threads > 0)
        return;
    pthread_cond_destroy(&closer->ended);
    pthread_cond_destroy(&closer->called);
    pthread_mutex_destroy(&closer->mutex);
    free(closer);
}
