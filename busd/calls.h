/* SPDX-License-Identifier: MIT */
/*
 * The calls that wait for an answer: (caller, id) → callee. Pure: it knows neither
 * sockets nor JSON nor peers. A `struct call_party` is embedded in a peer, which
 * can be caller of some calls and callee of others.
 *
 * Adding, finding and removing are O(1). Ended calls are kept for reuse, so that
 * steady traffic allocates nothing.
 *
 * The deadline of a call with several replies is counted from the last of them. It stays
 * where it is in the wheel while they come: when it passes, `progress` says whether it has
 * been meant.
 */
#ifndef BUSD_CALLS_H
#define BUSD_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "busd/backlog.h"
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
    uint64_t timeout;         /* milliseconds from one reply to the next; 0: none */
    uint64_t progress;        /* when it was made, or when the last reply came */
    bool more;                /* several replies are welcome … */
    bool paused;              /* … but the caller is behind: the deadline stands still */
    bool broken;              /* one of them has been lost: the call ends when it expires */
    struct backlog_waiter waiter;
    struct charge charge;
};

/* What the caller wants. */
struct call_terms {
    uint64_t id;
    uint64_t now;     /* milliseconds on the wheel's clock */
    uint64_t timeout; /* milliseconds; 0: none */
    bool more;
};

/* `deadlines` is borrowed and must outlive the calls. */
void calls_init(struct calls *calls, struct deadlines *deadlines);
void calls_deinit(struct calls *calls); /* asserts that no call is left */

/* The user, who is charged for the calls made, is borrowed. */
void call_party_init(struct call_party *party, struct quota_user *user);

/* 0, WIRE_INVALID_MESSAGE (the caller has such an id outstanding),
 * WIRE_LIMIT_EXCEEDED beyond `max` calls of the caller or what the user may have, or
 * -ENOMEM. */
int calls_add(struct calls *calls, struct call_party *caller, struct call_party *callee,
              const struct call_terms *terms, size_t max);

/* NULL if there is none. */
struct call *calls_find(const struct calls *calls, const struct call_party *caller, uint64_t id);

/* The call's deadline has passed and is out of the wheel. False if replies have come since
 * it was set: then it is in the wheel again. */
bool calls_expire(struct calls *calls, struct call *call, uint64_t now);

/* Takes the deadline out of the wheel, and begins it anew. */
void calls_pause(struct calls *calls, struct call *call);
void calls_resume(struct calls *calls, struct call *call, uint64_t now);

/* The call is broken: its deadline passes next. */
void calls_break(struct calls *calls, struct call *call, uint64_t now);

void calls_remove(struct calls *calls, struct call *call);

#endif
