/* SPDX-License-Identifier: MIT */
/*
 * Subscriptions and who gets which event.
 *
 * Each subscription is one of the bus's own: it sends Subscribe, and Unsubscribe
 * when it ends. The bus sends an event once, however many subscriptions match; so
 * matching is done again here: patterns without wildcards by hash, the others one
 * by one, and each event goes to the matching ones in the order in which they were
 * made. A subscription gets no event that was sent before its own reply. The last
 * values that follow a reply belong to that subscription alone; they are assigned
 * when they are read.
 *
 * A `sender` that is a well-known name is resolved here as the bus does it: a
 * `struct name_owner`, shared by all that filter by the same name, subscribes to the
 * name's changes first, and the bus sends a change before anything that the new
 * owner sends.
 *
 * While an event is handed out, subscriptions that end stay linked and are swept
 * afterwards, so that callbacks may free what they like.
 */
#ifndef LIBBUS_SUBSCRIBE_H
#define LIBBUS_SUBSCRIBE_H

#include "bus/bus.h"
#include "libbus/base/hash.h"
#include "libbus/base/list.h"
#include "libbus/base/span.h"
#include "libbus/pending.h"
#include "libbus/slot.h"

#define UNIQUE_NAME_SIZE 24

#define NAME_TOPIC_PREFIX "bus.name."

struct name_owner;
struct route;

struct subscription {
    struct bus_slot slot;
    struct pending pending;
    char *pattern;
    struct list link; /* its route or the wildcards, in order; a reference */
    struct route *route;
    struct list swept;    /* subscriptions->ended while an event is handed out */
    struct list snapshot; /* subscriptions->snapshots; a reference */
    uint64_t snapshot_left;
    struct name_owner *owner;      /* filters by it */
    struct list dependent;         /* of that owner */
    char sender[UNIQUE_NAME_SIZE]; /* filters by it; empty: by none */
    bus_message_handler handler;
    uint64_t order;
    uint64_t since; /* stream offset from which on events are for it */
    uint64_t id;    /* at the bus; 0: none yet */
    bool settled;   /* the bus has answered */
    bool waited;    /* a blocking function waits for the answer */
    bool eager;     /* when there is no last value, make a null event */
    enum bus_retained retained;
    char *group;          /* NULL: none */
    uint64_t values_left; /* last values whose handler has not been called yet */
    struct bus_message *refusal;
    /* For whoever waits for its last values: takes one as it is read. NULL: they go to the
     * handler. */
    void (*claim)(struct subscription *subscription, struct bus_message *value);
};

/* Who owns a name, as far as dispatched messages say. */
struct name_owner {
    struct subscription names;
    struct hash_node node;
    bool listed;
    unsigned users;
    struct list dependents; /* struct subscription */
    uint64_t *owners;       /* the numbers of their unique names, sorted */
    size_t owner_count;
};

struct subscriptions {
    struct hash routes;    /* by topic */
    struct list wildcards; /* struct subscription */
    struct list snapshots; /* whose last values are to come, in order */
    struct list ended;
    struct hash owners; /* by name */
    uint64_t last_order;
    unsigned handing_out; /* events being handed out just now */
};

void subscriptions_init(struct subscriptions *subscriptions);

/* All slots must have ended. */
void subscriptions_deinit(struct subscriptions *subscriptions);

/* Makes `subscription` (zeroed, malloc'ed, the first member of its object) live and
 * asks the bus for it. `options` may be NULL. On failure it has been freed. */
int subscription_start(struct bus *bus, struct subscription *subscription, const char *pattern,
                       const struct bus_subscription_options *options, bus_message_handler handler,
                       void *userdata, struct bus_error *error);

/* Waits for the bus's answer. On failure the subscription has ended. */
int subscription_wait(struct bus *bus, struct subscription *subscription, struct bus_error *error);

/* As bus_get_retained(), of that sender alone (NULL: of anybody). */
int retained_get(struct bus *bus, const char *topic, const char *sender, struct bus_error *error,
                 struct bus_message **ret_value);

/* Ends it and tells its handler why. */
void subscription_refuse(struct subscription *subscription, struct bus_message *why);

/* At reading: gives a last value to the subscription whose turn it is. True if that has
 * taken it. */
bool subscriptions_claim(struct bus *bus, struct bus_message *event);

/* Whether any is for it. */
bool subscriptions_want(struct bus *bus, const struct bus_message *event);

/* At dispatch: runs the handlers. */
void subscriptions_deliver(struct bus *bus, struct bus_message *event);

/* The shared record for a well-known name, made if there is none. */
int name_owner_get(struct bus *bus, const char *name, struct name_owner **ret_owner,
                   struct bus_error *error);
void name_owner_put(struct bus *bus, struct name_owner *owner, bool tell);

/* Whether a unique name is one of the name's owners. */
bool name_owner_is(const struct name_owner *owner, struct span unique);

#endif
