/* SPDX-License-Identifier: MIT */
/*
 * The last values that a subscription begins with: those that clients have left, and those
 * of the bus's own topics. First it is found out which there are, then they are sent, and
 * nothing else may happen in between; so neither can be a value twice nor one be missing.
 */
#ifndef BUSD_SNAPSHOT_H
#define BUSD_SNAPSHOT_H

#include "busd/audience.h"
#include "busd/retain.h"

struct snapshot {
    struct hub *hub;
    struct peer *subscriber;
    struct span pattern;
    struct span sender; /* empty: whoever it is from */
    size_t count;
    uint64_t bytes;
    bool failed; /* there was no memory for a value */
    bool sending;
    struct list found; /* struct retained_value.found */
};

/* One with nothing in it. Pattern and sender are borrowed. */
void snapshot_init(struct snapshot *snapshot, struct hub *hub, struct peer *subscriber,
                   struct span pattern, struct span sender);

/* Finds out which values match. */
void snapshot_take(struct snapshot *snapshot);

/* Sends them. */
void snapshot_send(struct snapshot *snapshot);

/* Lets go of them, if they have not been sent. */
void snapshot_drop(struct snapshot *snapshot);

#endif
