/* SPDX-License-Identifier: MIT */
/*
 * The topics of which somebody wants to know how many listen to them
 * (bus.subscribers.<topic>). Pure: it does not count who listens; it is told of each
 * pattern that comes or goes, and keeps a list of the watched topics whose number may
 * have changed by that. That costs nothing while nothing is watched, and else what a walk
 * over the watched topics costs (busd/topicset.h).
 */
#ifndef BUSD_PRESENCE_H
#define BUSD_PRESENCE_H

#include "busd/topicset.h"
#include "libbus/base/list.h"
#include "libbus/base/span.h"

#define PRESENCE_PREFIX "bus.subscribers."

struct presence {
    struct topicset topics; /* struct presence_watch.entry */
    struct list changed;    /* struct presence_watch.link */
};

struct presence_watch {
    struct topicset_entry entry; /* the topic that is listened to */
    struct list link;
    size_t watchers;
    size_t told;              /* the number that the watchers know */
    unsigned char topic_size; /* bus.subscribers.<topic>, of which the entry's is the end */
    char topic[];
};

void presence_init(struct presence *presence);
void presence_deinit(struct presence *presence); /* asserts that nothing is watched */

static inline bool presence_is_watched(const struct presence *presence)
{
    return presence->topics.root;
}

/* What stands behind bus.subscribers. in a topic or pattern; empty if it is none of
 * those. */
struct span presence_part(struct span topic);

/* One watcher more or less of a topic bus.subscribers.<topic>. 0 or -ENOMEM. */
int presence_watch(struct presence *presence, struct span topic);
void presence_unwatch(struct presence *presence, struct span topic);

/* NULL if nobody watches it. */
struct presence_watch *presence_find(const struct presence *presence, struct span topic);

/* A subscription to the pattern has come or gone, or gets something else than before.
 * Returns the effort, in the steps of CONNECTION_EFFORT. */
unsigned presence_touch(struct presence *presence, struct span pattern);
void presence_touch_all(struct presence *presence);

static inline struct span presence_topic(const struct presence_watch *watch)
{
    return (struct span){watch->topic, watch->topic_size};
}

#endif
