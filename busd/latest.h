/* SPDX-License-Identifier: MIT */
/*
 * The newest unsent event of each topic, for subscribers who want no older ones: (receiver,
 * topic) → the piece in its queue that gives way to the next of that topic. Pure: it knows
 * neither sockets nor peers; a `struct latest_party` is embedded in a connection.
 *
 * An entry lives as long as its piece lies untouched in the queue, and goes by itself when
 * the piece does. There are some only for receivers that have left something unread, and
 * what they take is counted in the party, to be charged with its queue. Finding, adding and
 * taking out are O(1).
 */
#ifndef BUSD_LATEST_H
#define BUSD_LATEST_H

#include <stddef.h>

#include "busd/outq.h"
#include "libbus/base/hash.h"
#include "libbus/base/span.h"

struct latest {
    struct hash table; /* struct latest_event */
};

struct latest_party {
    size_t bytes; /* that its entries take */
};

struct latest_event;

void latest_init(struct latest *latest);
void latest_deinit(struct latest *latest); /* asserts that no entry is left */

/* The party's event of this topic; NULL if there is none. */
struct latest_event *latest_find(const struct latest *latest, const struct latest_party *party,
                                 struct span topic);

/* An entry for an event that is to be queued with latest_event_mark(). NULL: out of memory. */
struct latest_event *latest_add(struct latest *latest, struct latest_party *party,
                                struct span topic);

/* Its event is in no queue: the entry goes. */
void latest_remove(struct latest_event *event);

struct outq_mark *latest_event_mark(struct latest_event *event);

#endif
