/* SPDX-License-Identifier: MIT */
/*
 * How much each user may cause: a token bucket per user, in a fixed amount of memory
 * however many users there are. A bucket holds RATION_BURST and gains RATION_RATE a
 * second. A user whose bucket is full needs none, so its place goes to the next one;
 * when all places are taken by users who are busy, the others share one.
 *
 * Pure: the caller says what time it is.
 */
#ifndef LIBBUS_BASE_RATION_H
#define LIBBUS_BASE_RATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RATION_BURST 50
#define RATION_RATE  5
#define RATION_USERS 64

/* Keys beside the uids, of which any 32 bits may be one: what nobody in particular
 * causes, and those who share a bucket. */
#define RATION_NOBODY UINT64_MAX
#define RATION_SHARED (UINT64_MAX - 1)

struct ration_bucket {
    uint64_t user; /* a uid, or one of the above */
    bool used;
    unsigned tokens;
    uint64_t refilled; /* milliseconds */
    uint64_t refused;  /* since ration_collect() */
};

/* All zero is the initial state. */
struct ration {
    struct ration_bucket buckets[RATION_USERS + 1]; /* the last one is shared */
    size_t refusing;                                /* buckets with refused > 0 */
};

/* Takes one token of this user's, if it has one; counts the refusal if not. */
bool ration_take(struct ration *ration, uint64_t user, uint64_t now);

/* A user (or RATION_SHARED) who has been refused and has a token again, or any one with
 * `all`: says how often and forgets it. False if there is none. */
bool ration_collect(struct ration *ration, uint64_t now, bool all, uint64_t *ret_user,
                    uint64_t *ret_refused);

#endif
