/* SPDX-License-Identifier: MIT */
/*
 * Who subscribes to what: a trie of patterns, and a cache from exact topics to
 * the subscribers they go to. Pure: it knows neither sockets nor JSON nor peers.
 * A subscriber is a `struct subscriber` that a peer embeds.
 *
 * What is subscribed to as a member of a queue group (busd/groups.h) goes to one member
 * of it: the route has them by group, and the caller chooses.
 *
 * A route is valid until a subscription comes or goes whose pattern fits its topic;
 * so in steady state an event costs one hash lookup, however many subscriptions
 * there are. Patterns without a wildcard spoil the one route that they name; the last
 * TOPICS_CHANGES others are remembered, and a route that is older than some of them is
 * compared with those.
 *
 * What making a route costs is counted in `steps`, for the caller to reset: the trie's,
 * one for each subscription found, and one for each pattern compared. They are bounded
 * whatever is subscribed to: the trie's by what users may have of QUOTA_WILDCARDS (see
 * busd/trie.h), and the subscriptions found because one that a subscriber has several
 * times is found once. The cache is bounded in bytes and drops the routes built longest
 * ago.
 */
#ifndef BUSD_TOPICS_H
#define BUSD_TOPICS_H

#include <stdbool.h>
#include <stdint.h>

#include "busd/groups.h"
#include "busd/overflow.h"
#include "busd/quota.h"
#include "busd/trie.h"
#include "libbus/base/hash.h"
#include "libbus/base/list.h"
#include "libbus/base/span.h"
#include "libbus/wire/errors.h"
#include "libbus/wire/grammar.h"

#define TOPICS_CACHE_BYTES (16u << 20)
#define TOPICS_CHANGES     64

/* A pattern that has come or gone. */
struct topics_change {
    unsigned char size;
    char pattern[GRAMMAR_NAME_MAX];
};

struct topics {
    struct trie patterns; /* the items of a node: struct subscription.by_node */
    struct hash ids;      /* struct subscription by subscriber and id */
    struct hash kinds;    /* one of each kind, by subscriber, pattern, sender and so on */
    struct hash routes;   /* struct route by topic */
    struct list ages;     /* struct route, the one built longest ago first */
    struct groups groups;
    size_t cache_bytes;
    size_t count;        /* subscriptions */
    size_t count_broker; /* … to topics of the broker's own */
    uint64_t generation;
    uint64_t mark;
    size_t steps; /* made since the caller has reset it */
    struct topics_change
        changes[TOPICS_CHANGES]; /* that of generation g at g modulo their number */
};

struct subscriber {
    struct quota_user *user;
    struct list subscriptions; /* struct subscription.by_subscriber */
    size_t count;
    uint64_t next_id;
    uint64_t mark; /* of the last walk that met it */
    uint64_t walk; /* the last that has built a route to it, by subscriptions … */
    enum overflow_policy strongest; /* … of which this is the strongest promise */
};

struct subscription {
    struct hash_node by_id;
    struct hash_node by_kind; /* those of one subscriber that ask for the same … */
    struct list twins;        /* … are twins, of which only one … */
    struct list by_node;      /* … is in these two */
    struct list by_subscriber;
    struct charge charge;
    struct charge segments;
    struct charge wildcards;
    struct subscriber *subscriber;
    struct trie_node *node;
    uint64_t id; /* unique for this subscriber, from 1 */
    struct span pattern;
    struct span sender;  /* the filter; empty: none */
    struct group *group; /* NULL: none; else a reference */
    enum overflow_policy overflow;
    unsigned char sender_bit;
    char text[];
};

/* One receiver: without a filter the event is its; with one, only if the sender
 * fits it. A subscriber stands among the filtered ones once for each filter, and
 * not at all if it stands among the others. */
struct route_entry {
    struct subscriber *subscriber;
    const struct subscription *filter;
    unsigned char sender_bit; /* of the filter's */
    /* enum overflow_policy: of all the subscriber's that match, filtered or not */
    unsigned char overflow;
    bool ask; /* the caller's: whether it may have this event is to be found out */
};

/* The same for a member of a queue group. */
struct route_member {
    struct group *group;
    struct subscriber *subscriber;
    const struct subscription *filter;
    unsigned char sender_bit; /* as above … */
    bool ask;                 /* … and this, too */
};

/* Some of the members of a route: those who share an event as this group. */
struct route_group {
    struct group *group;
    size_t first;
    size_t count;
};

struct route_groups {
    struct route_group *groups;
    struct route_member *members;
    size_t count;
    size_t capacity;
    size_t member_count;
    size_t member_capacity;
};

struct route {
    struct hash_node node;
    struct list age;
    uint64_t generation; /* up to which it is right; 0: it is not */
    size_t bytes;
    /* What the caller has found out about the topic: whether its prefixes are
     * names that are owned, as of this generation of the names. */
    uint64_t guard_generation;
    const void *guard;
    bool guard_shared;
    /* … whether those who may not have it have been dropped from the entries, and
     * what the policy said to the last publisher (0: to nobody yet). */
    bool filtered;
    bool publish_allow;
    uint64_t publish_serial;
    const void *publish_rule;
    size_t count;
    size_t capacity;
    struct route_entry *entries;
    struct route_groups groups;
    size_t topic_size;
    char topic[];
};

void topics_init(struct topics *topics);
void topics_deinit(struct topics *topics); /* asserts that no subscription is left */

/* The user, who is charged, is borrowed. */
void subscriber_init(struct subscriber *subscriber, struct quota_user *user);

/* What is to be subscribed to. Pattern, sender and group must be valid. */
struct topics_request {
    struct span pattern;
    struct span sender; /* empty: anybody */
    struct span group;  /* the name of a group of the user's; empty: none */
    enum overflow_policy overflow;
};

/* 0 with *ret_subscription; WIRE_LIMIT_EXCEEDED beyond `max` or what the user may
 * have; -ENOMEM. */
int topics_subscribe(struct topics *topics, struct subscriber *subscriber,
                     const struct topics_request *request, size_t max,
                     struct subscription **ret_subscription);

/* NULL if the subscriber has none with this id. */
struct subscription *topics_find(const struct topics *topics, const struct subscriber *subscriber,
                                 uint64_t id);

/* 0 or WIRE_NO_SUCH_SUBSCRIPTION. */
int topics_unsubscribe(struct topics *topics, struct subscriber *subscriber, uint64_t id);

/* Drops all of the subscriber's. */
void topics_leave(struct topics *topics, struct subscriber *subscriber);

/* The receivers of a topic, valid until the next call of any function here; NULL
 * when out of memory. */
struct route *topics_route(struct topics *topics, struct span topic);

/* A number for the sender that a subscription filters by, by which the same filter is
 * known again; never 0. */
uint64_t topics_filter(const struct topics *topics, const struct subscription *subscription);

/* Makes every route be built anew. */
void topics_invalidate(struct topics *topics);

/* One of 64 that a sender's name falls on, so that of many filters those for others can be
 * passed over quickly. */
static inline unsigned char topics_sender_bit(const struct topics *topics, struct span name)
{
    return hash_of(&topics->kinds, name.data, name.size) & 63;
}

/* A number that no subscriber bears as its mark yet: to visit each one once. */
uint64_t topics_new_mark(struct topics *topics);

#endif
