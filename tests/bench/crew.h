/* SPDX-License-Identifier: MIT */
/*
 * The crew of one measurement: processes that the harness starts, where they run,
 * and the board, a piece of shared memory by which they agree on when to begin and
 * tell what they found. A crew lives from crew_begin() to crew_end(). Members die with
 * the harness.
 */
#ifndef TESTS_BENCH_CREW_H
#define TESTS_BENCH_CREW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SEATS_MAX    1024
#define PUBLISHERS   64 /* at most: bits of a seat's `warm` */
#define RESULTS_MAX  4
#define CREW_STALLED 3 /* seconds without progress after which a measurement is given up */

/* What one receiver of events has got. A cache line each. */
struct seat {
    _Atomic uint64_t received; /* a multiple of the burst while it goes on */
    _Atomic uint64_t warm;     /* the publishers it has heard of */
    double last;               /* when the last event came */
    char padding[40];
};

struct board {
    _Atomic uint32_t ready;      /* members that have finished the current phase */
    _Atomic uint32_t phase;      /* how far they may go */
    _Atomic uint32_t progress;   /* changes when a receiver has got on … */
    _Atomic uint32_t waiting;    /* … and a publisher waits for that */
    _Atomic uint32_t publishing; /* publishers that have not finished */
    _Atomic uint64_t tickets;    /* events published, or about to be */
    double deadline;             /* no publisher or caller starts anything after it */
    double result[RESULTS_MAX];
    char failure[256];
    struct seat seat[SEATS_MAX];
};

extern struct board *board;

/* Once. */
void crew_init(void);

/* `pinned`: the members, and the broker with all its threads (0: none), run on one
 * core; else on all that we may use. */
void crew_begin(bool pinned, pid_t broker);
void crew_end(void);

/* Returns 0 in the new member, which must end in _exit(). */
pid_t crew_fork(void);

/* For members: reports ready and waits until the harness allows the phase. */
void crew_meet(unsigned phase);

/* For the harness: waits until `count` members are ready; then crew_go() allows the
 * phase. False when one failed or time is up. */
bool crew_await_ready(unsigned count, double seconds);
void crew_go(unsigned phase);

/* Waits until these members have ended well. */
bool crew_await_end(const pid_t *pids, size_t count, double seconds);

/* For members: the sentence is told by the harness. Does not return. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Futexes, across processes. */
void futex_wait(_Atomic uint32_t *word, uint32_t value, int timeout_ms);
void futex_wake(_Atomic uint32_t *word);

#endif
