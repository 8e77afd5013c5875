/* SPDX-License-Identifier: MIT */
/*
 * What was measured: for each workload, point and peer a series of rounds, in the
 * order in which they were first asked for. The table, the JSON lines and the plots
 * are made of it.
 */
#ifndef TESTS_BENCH_RESULTS_H
#define TESTS_BENCH_RESULTS_H

#include <jansson.h>
#include <stdio.h>

#include "tests/bench/workload.h"

#define ROUNDS_MAX 32

struct series {
    const struct workload *workload;
    const struct peer *peer;
    size_t point; /* 0: the workload is no curve */
    double rounds[METRICS][ROUNDS_MAX];
    size_t count;
    uint64_t messages;
    uint64_t lost;
    char failure[256]; /* why a round is missing */
};

/* Finds it, or makes an empty one. Lives until the end. */
struct series *results_series(const struct workload *workload, const struct peer *peer,
                              size_t point);

/* The same without making one; NULL. */
const struct series *results_find(const struct workload *workload, const struct peer *peer,
                                  size_t point);

void series_add(struct series *series, const struct sample *sample);

/* NaN when there is nothing. The spread is half of the range, as a part of the median. */
double series_median(const struct series *series, enum metric metric);
double series_spread(const struct series *series, enum metric metric);

/* Whether anything went wrong or was lost. */
bool results_failed(void);

/* One line each. */
void results_write_json(FILE *file);

#endif
