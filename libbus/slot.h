/* SPDX-License-Identifier: MIT */
/*
 * A registration: what a subscription, a pending call, a service and a name watch
 * have in common. Each embeds a `struct bus_slot` as its first member.
 *
 * A slot is live while slot->bus is set. The connection holds one reference for
 * that time, the program one until bus_slot_free() if it asked for the slot;
 * whoever keeps a pointer across a callback holds another. Ending a slot takes the
 * registration out of all tables; its memory goes with the last reference, so
 * it may outlive the connection.
 */
#ifndef LIBBUS_SLOT_H
#define LIBBUS_SLOT_H

#include <stdbool.h>

#include "bus/bus.h"
#include "libbus/base/list.h"

struct slot_kind {
    /* Takes the registration out of the tables. `tell`: the other side is to know
     * (Unsubscribe, cancel, ReleaseName). May send, never runs a callback. */
    void (*end)(struct bus_slot *slot, struct bus *bus, bool tell);
    void (*destroy)(struct bus_slot *slot);
};

struct bus_slot {
    const struct slot_kind *kind;
    struct bus *bus; /* NULL once it has ended */
    struct list link;
    unsigned refs;
    void *userdata;
};

/* A live slot with the connection's reference. */
void slot_init(struct bus_slot *slot, const struct slot_kind *kind, struct bus *bus,
               void *userdata);

struct bus_slot *slot_ref(struct bus_slot *slot);
struct bus_slot *slot_unref(struct bus_slot *slot); /* NULL */

/* Hands the slot to the program, if it wants it. */
void slot_give(struct bus_slot *slot, struct bus_slot **ret_slot);

/* Drops the connection's reference. Does nothing to a slot that has ended. */
void slot_end(struct bus_slot *slot, bool tell);

#endif
