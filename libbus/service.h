/* SPDX-License-Identifier: MIT */
/*
 * The receiving side of calls: which service a call is for, its methods, and the
 * duty to answer each call exactly once.
 *
 * Calls that have been given to a service and wait for their answer are in a table
 * by sender and id, where a cancel finds them. The table holds no references: a
 * call that goes without having been answered leaves it and is answered with
 * bus.NoReply.
 */
#ifndef LIBBUS_SERVICE_H
#define LIBBUS_SERVICE_H

#include "bus/bus.h"
#include "libbus/base/hash.h"
#include "libbus/output.h"
#include "libbus/property.h"
#include "libbus/slot.h"

struct method_row {
    struct hash_node node;
    const struct bus_method *method;
};

struct service {
    struct bus_slot slot;
    struct hash_node node; /* bus->services; not for the one without a name */
    char *name;            /* NULL: for our unique name, and all names without a service */
    const struct bus_method *methods;
    struct hash rows; /* struct method_row by name */
    struct method_row *row;
    const char *description;
    unsigned channels_max; /* direct channels that it takes; 0: none */
    unsigned channel_count;
    unsigned channels_opening;
    bus_handler channel_opened;
    struct properties properties;
};

/* The service of a slot; NULL if it is of something else. */
struct service *service_of(struct bus_slot *slot);

/* Gives a call to its service. */
void service_dispatch(struct bus *bus, struct bus_message *call);

/* What every service answers; `service` may be NULL. */
int service_answer_standard(struct service *service, struct bus_message *call);

/* Whether anybody waits for the answer of this call. */
bool call_is_wanted(const struct bus_message *call);

/* NULL if it is not in the table. */
struct bus_message *call_find(const struct bus *bus, struct span sender, uint64_t id);

/* Puts a call into the table, takes it out. Both may be done twice. */
void call_track(struct bus_message *call);
void call_untrack(struct bus_message *call);

/* Sends an answer: fills `to` and `id` of `answer`. As bus_reply(). */
int call_answer(struct bus_message *call, struct outgoing *answer, struct bus_error *error);

/* Sends one of several replies that is not the last. As bus_reply_more(). */
int call_send_item(struct bus_message *call, struct outgoing *item, struct bus_error *error);

/* What the bus says about the caller of one of our calls, bus.flow; at reading. */
void items_take_flow(struct bus *bus, struct bus_message *event);

/* Whether calls whose items were refused may go on, and telling them. True: somebody has
 * been told. */
bool items_may_go_on(const struct bus *bus);
bool items_go_on(struct bus *bus);

/* For a call whose last reference is about to go. */
void call_abandon(struct bus_message *call);

/* The caller, that of all calls of the connection, has gone. */
void calls_cancel_all(struct bus *bus);

/* A cancel that has come in. */
void call_cancel(struct bus *bus, const struct bus_message *cancel);

#endif
