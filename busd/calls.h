/* SPDX-License-Identifier: MIT */
/*
 * The calls that wait for an answer: (caller, id) → callee. Pure: it knows neither
 * sockets nor JSON nor peers. A `struct call_party` is embedded in a peer, which
 * can be caller of some calls and callee of others.
 *
 * Adding, finding and removing are O(1). Ended calls are kept for reuse, so that
 * steady traffic allocates nothing.
 */
#ifndef BUSD_CALLS_H
#define BUSD_CALLS_H

#include <stdint.h>

#include "busd/deadlines.h"
#include "busd/quota.h"
#include "libbus/base/hash.h"
#include "libbus/base/list.h"
#include "libbus/wire/errors.h"

struct calls {
    struct hash table;
    struct list spare;
    size_t spare_count;
    struct deadlines *deadlines;
};

struct call_party {
    struct quota_user *user;
    struct list made;     /* struct call.by_caller */
    struct list received; /* struct call.by_callee */
    size_t made_count;
    size_t received_count;
};

struct call {
    struct hash_node node;
    struct list by_caller;
    struct list by_callee;
    struct call_party *caller;
    struct call_party *callee;
    uint64_t id;
    struct deadline deadline; /* of the kind DEADLINE_CALL */
    struct charge charge;
};

/* `deadlines` is borrowed and must outlive the calls. */
void calls_init(struct calls *calls, struct deadlines *deadlines);
void calls_deinit(struct calls *calls); /* asserts that no call is left */

/* The user, who is charged for the calls made, is borrowed. */
void call_party_init(struct call_party *party, struct quota_user *user);

/* `at`: the deadline in milliseconds on the wheel's clock, 0 for none. 0,
 * WIRE_INVALID_MESSAGE (the caller has such an id outstanding),
 * WIRE_LIMIT_EXCEEDED beyond `max` calls of the caller or what the user may have, or
 * -ENOMEM. */
int calls_add(struct calls *calls, struct call_party *caller, struct call_party *callee,
              uint64_t id, uint64_t at, size_t max);

/* NULL if there is none. */
struct call *calls_find(const struct calls *calls, const struct call_party *caller, uint64_t id);

void calls_remove(struct calls *calls, struct call *call);

#endif
