/* SPDX-License-Identifier: MIT */
/*
 * Draws the results with gnuplot, as PNG and SVG: bars for the rows of the table, a
 * plot for each curve. The data and the script stay beside the pictures.
 */
#ifndef TESTS_BENCH_PLOT_H
#define TESTS_BENCH_PLOT_H

#include <stddef.h>

#include "tests/bench/peer.h"

/* 0; -1 when gnuplot is missing or complains. */
int plot_results(const char *folder, const struct peer *const *measured, size_t count);

#endif
