/* SPDX-License-Identifier: MIT */
/*
 * A workload: one row of the table, or one curve. Each kind is one file with a
 * function that measures it once for one broker; the numbers that tell rows of a kind
 * apart stand in the table of workloads.c.
 */
#ifndef TESTS_BENCH_WORKLOAD_H
#define TESTS_BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bench/peer.h"

#define POINTS_MAX 8

enum metric {
    METRIC_VALUE, /* in the workload's unit */
    METRIC_P99,   /* the same, of the slowest hundredth */
    METRIC_CPU,   /* microseconds of the broker a message */
    METRICS
};

/* One measurement; what was not measured is NaN. */
struct sample {
    double metric[METRICS];
    uint64_t messages;
    uint64_t lost;
};

enum body { BODY_STRING, BODY_JSON };

/* A body goes and comes back, or is handed over in memory and looked at. */
enum body_use { BODY_ECHOED, BODY_LOOKED_AT, BODY_READ };

/* Names the numbers a kind of workload needs. */
struct load {
    bool pinned;
    enum body body;
    size_t size;
    unsigned in_flight;   /* calls */
    unsigned publishers;  /* events … */
    unsigned subscribers; /* … processes … */
    unsigned connections; /* … and subscribing connections in each */
    size_t topics;        /* published in turn, subscribed to by a pattern; 0: just one */
    size_t names;         /* called in turn */
    enum body_use use;    /* of a body that is handed over */
    bool direct;          /* past the broker */
    unsigned window;      /* events under way at most, */
    unsigned burst;       /* and published between two looks at that */
    const char *patterns; /* what others have subscribed to, see workload-curves.c */
};

struct workload {
    const char *name;
    const char *title;
    const char *unit;
    bool more_is_better;
    const char *axis;          /* a curve: what grows */
    size_t points[POINTS_MAX]; /* its values, up to a 0 */
    bool fresh;                /* wants a broker of its own that starts with it */
    bool steady;               /* hardly varies: a short run measures it once */
    bool (*possible)(const struct workload *workload, const struct peer *peer);

    /* False: the board says why. `point` is 0 when it is no curve. With `fresh`, the
     * broker has been started just now; for those that start it themselves it is NULL. */
    bool (*run)(const struct workload *workload, struct broker *broker, size_t point,
                struct sample *ret_sample);
    struct load load;
};

extern const struct workload workloads[];
extern const size_t workloads_count;

/* How long one measurement takes, in seconds. */
extern double workload_seconds;

/* What takes long is left out, or measured once. */
extern bool workload_quick;

/* A NUL-terminated body of `size` bytes; the caller's to free(). */
char *body_new(enum body kind, size_t size);

void sample_init(struct sample *sample);

/* The kinds. */
bool run_calls(const struct workload *workload, struct broker *broker, size_t point,
               struct sample *ret_sample);
bool run_events(const struct workload *workload, struct broker *broker, size_t point,
                struct sample *ret_sample);
bool run_connecting(const struct workload *workload, struct broker *broker, size_t point,
                    struct sample *ret_sample);
bool run_memory_idle(const struct workload *workload, struct broker *broker, size_t point,
                     struct sample *ret_sample);
bool run_memory_connections(const struct workload *workload, struct broker *broker, size_t point,
                            struct sample *ret_sample);
bool run_wakeups(const struct workload *workload, struct broker *broker, size_t point,
                 struct sample *ret_sample);
bool run_curve_subscriptions(const struct workload *workload, struct broker *broker, size_t point,
                             struct sample *ret_sample);
bool run_curve_topics(const struct workload *workload, struct broker *broker, size_t point,
                      struct sample *ret_sample);
bool run_curve_receivers(const struct workload *workload, struct broker *broker, size_t point,
                         struct sample *ret_sample);
bool run_curve_connections(const struct workload *workload, struct broker *broker, size_t point,
                           struct sample *ret_sample);
bool run_curve_bodies(const struct workload *workload, struct broker *broker, size_t point,
                      struct sample *ret_sample);
bool run_curve_names(const struct workload *workload, struct broker *broker, size_t point,
                     struct sample *ret_sample);

/* What curves are made of: measures within a crew that has begun, where others have taken
 * their places and wait in phase 1. */
bool measure_calls(const struct load *load, struct broker *broker, struct sample *ret_sample);
bool measure_events(const struct load *load, struct broker *broker, struct sample *ret_sample);

/* Members that connect `count` times in all and keep that up, each connection subscribed
 * to `pattern` unless it is NULL. Returns when they stand. */
bool hold_connections(struct broker *broker, size_t count, const char *pattern);

#endif
