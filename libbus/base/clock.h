/* SPDX-License-Identifier: MIT */
/*
 * The time: real time for people, monotonic time for everything that waits.
 */
#ifndef LIBBUS_BASE_CLOCK_H
#define LIBBUS_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline struct timespec clock_now(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return now;
}

/* Milliseconds of CLOCK_MONOTONIC. */
static inline uint64_t clock_monotonic_ms(void)
{
    struct timespec now = clock_now(CLOCK_MONOTONIC);

    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Seconds. */
static inline double clock_seconds(clockid_t clock)
{
    struct timespec now = clock_now(clock);

    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

#endif
