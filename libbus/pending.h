/* SPDX-License-Identifier: MIT */
/*
 * A call that waits for its one answer. Embedded in whatever waits: a blocking
 * function's frame, the slot of an asynchronous call, a subscription that asks to
 * be taken in.
 *
 * An answer passes two points. `intake` sees it when its line is read, in the
 * order of the stream, even during a blocking call; it runs no code of the
 * program. What it does not take waits its turn, and `answered` gets it when
 * messages are dispatched, after the call has been taken out of the table.
 */
#ifndef LIBBUS_PENDING_H
#define LIBBUS_PENDING_H

#include <stdbool.h>
#include <stdint.h>

#include "libbus/base/hash.h"
#include "libbus/base/list.h"
#include "libbus/timers.h"

struct bus;
struct bus_message;

struct pending {
    struct hash_node node;
    struct list link; /* bus->pending, in the order of the calls; must be initialised */
    struct timer timer;
    uint64_t id;
    /* True: done with; the call is out of the table, the message may have been
     * kept with a reference. NULL: nothing to do at this point. */
    bool (*intake)(struct pending *pending, struct bus_message *answer);
    /* NULL instead of an answer: there will be none, and no memory to say so, or the
     * connection is being torn down. */
    void (*answered)(struct pending *pending, struct bus_message *answer);
};

/* Puts it into the table under a new id. `deadline` (milliseconds on the monotonic
 * clock; 0: none) is when we make an answer ourselves. 0 or -ENOMEM. */
int pending_add(struct bus *bus, struct pending *pending, uint64_t deadline);

/* Does nothing to one that is not in the table. */
void pending_remove(struct bus *bus, struct pending *pending);

/* NULL: nobody waits for this. */
struct pending *pending_find(struct bus *bus, uint64_t id);

/* Takes it out and hands it an answer. */
void pending_answer(struct bus *bus, struct pending *pending, struct bus_message *answer);

/* The same with an error made here. */
void pending_fail(struct bus *bus, struct pending *pending, const char *name, const char *message);

/* When the client gives up: the bus answers at `timeout` (as the functions of
 * bus.h have it), and has a second for that. 0: never. */
uint64_t pending_deadline(uint64_t timeout);

#endif
