/* SPDX-License-Identifier: MIT */
/*
 * A call that waits for its one answer, or for the last of several. Embedded in whatever waits: a
 * blocking function's frame, the slot of an asynchronous call, a subscription that asks to be taken
 * in.
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
    struct bus *bus;  /* the connection that it is in the table of */
    struct timer timer;
    uint64_t id;
    uint64_t patience; /* milliseconds from one reply to the next; 0: for ever … */
    uint64_t progress; /* … and when there was one, if `item` is set */
    /* True: done with; the call is out of the table, the message may have been
     * kept with a reference. NULL: nothing to do at this point. */
    bool (*intake)(struct pending *pending, struct bus_message *answer);
    /* Several replies are welcome: `answered` for one that is not the last. The call stays
     * in the table, unless this takes it out. */
    void (*item)(struct pending *pending, struct bus_message *item);
    /* NULL instead of an answer: there will be none, and no memory to say so, or the
     * connection is being torn down. */
    void (*answered)(struct pending *pending, struct bus_message *answer);
};

/* Puts it into the table under a new id. `patience` (milliseconds; 0: none) is after how
 * long we make an answer ourselves. 0 or -ENOMEM. */
int pending_add(struct bus *bus, struct pending *pending, uint64_t patience);

/* Does nothing to one that is not in the table. */
void pending_remove(struct bus *bus, struct pending *pending);

/* NULL: nobody waits for this. */
struct pending *pending_find(struct bus *bus, uint64_t id);

/* Hands it an item. */
void pending_take_item(struct pending *pending, struct bus_message *item);

/* Its time is up, by the timer. True if there has been an item since: then it has time
 * again. */
bool pending_put_off(struct pending *pending, uint64_t now);

/* Takes it out and hands it an answer. */
void pending_answer(struct bus *bus, struct pending *pending, struct bus_message *answer);

/* The same with an error made here. */
void pending_fail(struct bus *bus, struct pending *pending, const char *name, const char *message);

/* After how long the client gives up: the bus answers after `timeout` (as the functions
 * of bus.h have it), and has a second for that; on a channel nobody else does. 0: never. */
uint64_t pending_patience(const struct bus *bus, uint64_t timeout);

/* The same as a time on the monotonic clock. UINT64_MAX: never. */
uint64_t pending_deadline(const struct bus *bus, uint64_t timeout);

#endif
