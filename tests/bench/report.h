/* SPDX-License-Identifier: MIT */
/*
 * The table on the terminal, row by row as results come in, and the record of the
 * machine and the versions.
 */
#ifndef TESTS_BENCH_REPORT_H
#define TESTS_BENCH_REPORT_H

#include <stdio.h>

#include "tests/bench/workload.h"

/* The peers that are measured, in this order, and why others are not. */
void report_head(const struct peer *const *measured, size_t count, size_t rounds);

/* The rows of a workload: medians; below, their spread and how many times better busd
 * is. */
void report_workload(const struct peer *const *measured, size_t count,
                     const struct workload *workload);

/* The first JSON line. */
void report_write_run(FILE *file, const struct peer *const *measured, size_t count, size_t rounds);

#endif
