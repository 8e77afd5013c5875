/* SPDX-License-Identifier: MIT */
#include "libbus/base/ration.h"

static void refill(struct ration_bucket *bucket, uint64_t now)
{
    uint64_t gained = (now - bucket->refilled) * RATION_RATE / 1000;

    if (gained >= RATION_BURST - bucket->tokens) {
        bucket->tokens = RATION_BURST;
        bucket->refilled = now;
    } else {
        bucket->tokens += (unsigned)gained;
        /* What is left over of the time counts for the next token. */
        bucket->refilled += gained * 1000 / RATION_RATE;
    }
}

/* The user's bucket, or one that nobody needs, or the shared one. */
static struct ration_bucket *find_bucket(struct ration *ration, uint64_t user, uint64_t now)
{
    struct ration_bucket *idle = NULL;

    for (size_t i = 0; i < RATION_USERS; i++) {
        struct ration_bucket *bucket = &ration->buckets[i];
        if (bucket->used && bucket->user == user) {
            refill(bucket, now);
            return bucket;
        }
        if (bucket->used)
            refill(bucket, now);
        if (!idle && (!bucket->used || (bucket->tokens == RATION_BURST && bucket->refused == 0)))
            idle = bucket;
    }
    if (idle) {
        *idle = (struct ration_bucket){user, true, RATION_BURST, now, 0};
        return idle;
    }
    struct ration_bucket *shared = &ration->buckets[RATION_USERS];
    if (!shared->used)
        *shared = (struct ration_bucket){RATION_SHARED, true, RATION_BURST, now, 0};
    refill(shared, now);
    return shared;
}

bool ration_take(struct ration *ration, uint64_t user, uint64_t now)
{
    struct ration_bucket *bucket = find_bucket(ration, user, now);

    if (bucket->tokens == 0) {
        ration->refusing += bucket->refused == 0;
        bucket->refused++;
        return false;
    }
    bucket->tokens--;
    return true;
}

bool ration_collect(struct ration *ration, uint64_t now, bool all, uint64_t *ret_user,
                    uint64_t *ret_refused)
{
    for (size_t i = 0; ration->refusing > 0 && i <= RATION_USERS; i++) {
        struct ration_bucket *bucket = &ration->buckets[i];
        if (bucket->refused == 0)
            continue;
        refill(bucket, now);
        if (bucket->tokens == 0 && !all)
            continue;
        *ret_user = bucket->user;
        *ret_refused = bucket->refused;
        bucket->refused = 0;
        ration->refusing--;
        return true;
    }
    return false;
}
