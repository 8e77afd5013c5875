/* SPDX-License-Identifier: MIT */
/*
 * The last values of topics: what was published with `retain`. Pure: it knows neither
 * sockets nor JSON nor peers. Who publishes values has a `struct retained_holder`, which
 * a peer embeds.
 *
 * A topic has one value at most. The next one takes its place, whoever it is from and
 * whatever its level, and is charged to who it is from. A value holds the line as it
 * will be delivered, in a chunk of its own that all receivers' queues share:
 *
 *     {"sender":":42","retained":true,<the client's own bytes>
 *
 * Values of the level `connection` end with their holder; the others outlive it, and
 * then have none any more, but are still charged to its user. Values of the level `disk`
 * outlive the bus, too, if there is a keeper: it is told of each before it is there, and
 * of its end. If it cannot take that, nothing changes.
 *
 * Setting, finding and removing are O(log n); the values that match a pattern are found
 * by a walk over the topics (busd/topicset.h).
 */
#ifndef BUSD_RETAINED_H
#define BUSD_RETAINED_H

#include <stdbool.h>
#include <stdint.h>

#include "busd/chunk.h"
#include "busd/deadlines.h"
#include "busd/quota.h"
#include "busd/topicset.h"
#include "libbus/base/list.h"
#include "libbus/base/span.h"
#include "libbus/wire/errors.h"

/* Longest sender: ":" and the largest number. */
#define RETAINED_SENDER_MAX 24

enum retained_level {
    RETAINED_CONNECTION,
    RETAINED_BUS,
    RETAINED_DISK,
};

/* What is to be there for longer than the bus lives. */
struct retained_record {
    struct span topic;
    /* The client's line from behind its opening brace on, closing brace included and
     * without the newline. */
    struct span rest;
    struct chunk *chunk; /* that `rest` lies in, to be kept with chunk_ref(); its bytes do
                            not change while somebody else refers to it. NULL: in none */
    uid_t uid;           /* to whom it is charged */
    uint64_t expires;    /* milliseconds of the real-time clock; 0: never */
    bool guarded;        /* as in struct retained_value */
};

/* Who keeps values of the level `disk`; embedded in what it is. Both return 0, or -errno
 * with nothing changed. */
struct retained_keeper {
    /* This is the topic's value from now on. */
    int (*put)(struct retained_keeper *keeper, const struct retained_record *record);
    /* The topic has none of the level `disk` any more: it was cleared, has expired, or
     * one of another level has taken its place. */
    int (*clear)(struct retained_keeper *keeper, struct span topic);
};

struct retained {
    struct topicset topics; /* struct retained_value.entry */
    struct deadlines *deadlines;
    struct retained_keeper *keeper; /* NULL: `disk` is as good as `bus` */
    uint64_t bytes;                 /* charged for all values */
};

struct retained_holder {
    struct quota_user *user;
    struct list values; /* struct retained_value.by_holder */
    size_t count;
    uint64_t bytes;
};

struct retained_value {
    struct topicset_entry entry;
    struct list by_holder;
    struct retained_holder *holder; /* NULL: it has gone */
    struct charge topic_charge;
    struct charge bytes_charge;
    struct deadline deadline; /* of the kind DEADLINE_RETAINED */
    uint64_t expires;         /* milliseconds of the real-time clock; 0: never */
    enum retained_level level;
    /* Whether the topic began with a well-known name of the publisher's: then it is as good
     * as one of whoever owns that later. */
    bool guarded;
    struct list found;   /* for whoever walks over values, to keep what it has found */
    struct chunk *chunk; /* the line is at its beginning … */
    uint32_t size;       /* … and has so many bytes, newline included */
    unsigned char sender_size;
    char text[]; /* the topic */
};

/* What is to become a topic's value. */
struct retained_update {
    struct span topic;
    enum retained_level level;
    struct span sender; /* a unique name, or "bus" */
    struct span rest;   /* as in struct retained_record */
    uint64_t at;        /* its end on the clock of the deadlines; 0: none … */
    uint64_t expires;   /* … and on the real-time clock */
    bool guarded;
};

/* What a connection may have. */
struct retained_limits {
    uint64_t topics;
    uint64_t bytes;
};

/* Which limit has been reached: its name and its value. */
struct retained_excess {
    const char *limit;
    uint64_t value;
    bool own; /* the connection's, not the user's */
};

/* `deadlines` is borrowed and must outlive the values. */
void retained_init(struct retained *retained, struct deadlines *deadlines);
void retained_deinit(struct retained *retained); /* drops what is left; the keeper is not told */

/* The user, who is charged, is borrowed. */
void retained_holder_init(struct retained_holder *holder, struct quota_user *user);

/* Makes this the topic's value. On failure nothing has changed: WIRE_LIMIT_EXCEEDED with
 * *ret_excess, -ENOMEM, or what the keeper said. */
int retained_set(struct retained *retained, struct retained_holder *holder,
                 const struct retained_update *update, const struct retained_limits *limits,
                 struct retained_excess *ret_excess);

/* The same for a value that had been kept for longer than the bus lived, of the level
 * `disk` and from "bus": without a holder, whatever the limits, and the keeper is not
 * told. `at` is its end on the clock of the deadlines. 0 or -ENOMEM. */
int retained_load(struct retained *retained, struct quota_user *user,
                  const struct retained_record *record, uint64_t at);

/* NULL if the topic has none. */
struct retained_value *retained_find(const struct retained *retained, struct span topic);

/* Ends a value. 0, or what the keeper said, with nothing changed. */
int retained_clear(struct retained *retained, struct retained_value *value);

/* The same, whatever the keeper says. */
void retained_drop(struct retained *retained, struct retained_value *value);

/* The holder has gone: a value of its that outlives it has none any more. */
void retained_release(struct retained_value *value);

/* As topicset_walk_next(). */
struct retained_value *retained_walk_next(struct topicset_walk *walk);

static inline struct span retained_topic(const struct retained_value *value)
{
    return value->entry.topic;
}

/* Who it is from, as its line says. */
struct span retained_sender(const struct retained_value *value);

/* The line as it is delivered; borrowed from the value. */
static inline struct piece retained_piece(const struct retained_value *value)
{
    return (struct piece){value->chunk, 0, value->size, NULL};
}

/* "connection", "bus" or "disk". */
const char *retained_level_name(enum retained_level level);

/* The text must be one of these. */
enum retained_level retained_level_from_name(struct span name);

#endif
