/* SPDX-License-Identifier: MIT */
/*
 * What the connections of one user hold together, under a ceiling each, so that no
 * user can use up what the bus has for all. Pure: it counts, and knows nothing of
 * what is counted.
 *
 * A charge is a value embedded in the object that pins a resource: taken at its
 * birth, given back at its end. Bytes and file descriptors, of which each connection
 * has one charge, have a ceiling for all users on top, and both ceilings are shared
 * out: whoever has some already may get more only while what is left then is as much
 * again for each of those who have some. So the first can have half of what there is,
 * and the n-th always finds 1/(n(n+1)) of it for itself, whatever the others do. That
 * holds for the connections of a user as for the users of the bus. The bytes of last
 * values, which outlive connections, are shared out among users only.
 */
#ifndef BUSD_QUOTA_H
#define BUSD_QUOTA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "busd/limits.h"
#include "libbus/base/hash.h"
#include "libbus/base/list.h"
#include "libbus/wire/errors.h"

enum quota_slot {
    QUOTA_BYTES,
    QUOTA_FDS,
    QUOTA_SPLIT_SLOTS, /* the ones before are shared out among the connections of a user … */
    QUOTA_RETAINED_BYTES = QUOTA_SPLIT_SLOTS,
    QUOTA_SHARED_SLOTS, /* … and the ones before among users; the others are only counted */
    QUOTA_CONNECTIONS = QUOTA_SHARED_SLOTS,
    QUOTA_UNPROVEN,
    QUOTA_SUBSCRIPTIONS,
    QUOTA_SEGMENTS,
    QUOTA_WILDCARDS,
    QUOTA_NAMES,
    QUOTA_CALLS,
    QUOTA_MONITORS,
    QUOTA_UNSTORED,
    QUOTA_RETAINED,
    QUOTA_SLOTS
};

struct lane;

struct quotas {
    const struct limits *limits;
    struct hash users; /* struct quota_user by uid */
    uint64_t used[QUOTA_SHARED_SLOTS];
    uint64_t holders[QUOTA_SHARED_SLOTS]; /* users that have some */
};

/* Lives as long as somebody refers to it. */
struct quota_user {
    struct hash_node node;
    struct quotas *quotas;
    unsigned refs;
    uid_t uid;
    uint64_t turn;   /* for whoever charges it: in which turn of the loop something was … */
    uint64_t effort; /* … done for it last, and how much of late */
    uint64_t used[QUOTA_SLOTS];
    uint64_t holders[QUOTA_SHARED_SLOTS]; /* charges that are not 0 */
    struct list members;                  /* for the same: those who are this user … */
    uint64_t checked;                     /* … and when they were looked over last */
    struct lane *lane;                    /* for the same: where its sockets are closed */
};

/* All zero: nothing is charged. */
struct charge {
    struct quota_user *user;
    uint64_t amount;
    enum quota_slot slot;
};

/* The limits are borrowed and may change. */
void quotas_init(struct quotas *quotas, const struct limits *limits);
void quotas_deinit(struct quotas *quotas); /* asserts that no user is left */

/* A reference to the user, made when there is none yet. NULL: out of memory. */
struct quota_user *quotas_get_user(struct quotas *quotas, uid_t uid);
struct quota_user *quota_user_unref(struct quota_user *user); /* NULL; asserts that
                                                                 the last owes nothing */

/* The user with the most connections and file descriptors, taken together; NULL if there is
 * none. It looks at all users. */
const struct quota_user *quotas_find_largest(const struct quotas *quotas);

/* A charge of nothing yet. */
void charge_init(struct charge *charge, struct quota_user *user, enum quota_slot slot);

/* Starts a charge of a slot that is counted. 0, or WIRE_LIMIT_EXCEEDED with nothing charged. */
int charge_some(struct charge *charge, struct quota_user *user, enum quota_slot slot,
                uint64_t amount);

static inline int charge_one(struct charge *charge, struct quota_user *user, enum quota_slot slot)
{
    return charge_some(charge, user, slot, 1);
}

/* Whether the charge could become so much larger. */
bool charge_can_grow(const struct charge *charge, uint64_t more);

/* Whether it could become that large. */
static inline bool charge_fits(const struct charge *charge, uint64_t amount)
{
    return amount <= charge->amount || charge_can_grow(charge, amount - charge->amount);
}

/* Makes it that large, whatever the ceilings say: for what is there already. */
void charge_set(struct charge *charge, uint64_t amount);

/* Idempotent. */
void charge_give_back(struct charge *charge);

/* The user's ceiling for this slot: its name in the table of limits, and value. */
const char *quota_limit(const struct quota_user *user, enum quota_slot slot, uint64_t *ret_value);

/* The same of the ceiling that keeps the charge from becoming so much larger: the user's,
 * or that for all. */
const char *charge_limit(const struct charge *charge, uint64_t more, uint64_t *ret_value);

#endif
