/* SPDX-License-Identifier: MIT */
/*
 * Pseudo-random numbers that are the same on every machine (SplitMix64), so that
 * a failure can be repeated. Every user seeds its own generator and names the
 * seed when it fails. Or they are the bytes of an input, and zeros behind its end: so a
 * fuzzer can choose what a test chooses by chance.
 */
#ifndef TESTS_SUPPORT_RANDOM_H
#define TESTS_SUPPORT_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state;
    const uint8_t *bytes; /* instead; NULL: there are none */
    size_t size;
};

static inline uint64_t random_next(struct random *random)
{
    if (random->bytes) {
        if (random->size == 0)
            return 0;
        random->size--;
        return *random->bytes++;
    }
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* 0 … bound-1; the bound must not be 0. */
static inline unsigned random_below(struct random *random, unsigned bound)
{
    return (unsigned)(random_next(random) % bound);
}

static inline bool random_one_in(struct random *random, unsigned n)
{
    return random_below(random, n) == 0;
}

#endif
