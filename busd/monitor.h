/* SPDX-License-Identifier: MIT */
/*
 * The filters of those who watch the bus. Pure: it keeps them and says whether the
 * type and the topic of a message fit; sender and receivers are the caller's to
 * compare, because they can be known by several names.
 */
#ifndef BUSD_MONITOR_H
#define BUSD_MONITOR_H

#include <stdbool.h>
#include <stddef.h>

#include "busd/quota.h"
#include "libbus/base/list.h"
#include "libbus/base/span.h"
#include "libbus/wire/envelope.h"

struct monitors {
    struct list watchers; /* struct watcher.link, those with at least one filter */
};

/* Embedded in a peer. */
struct watcher {
    struct quota_user *user;
    struct list link;
    struct list filters;
    size_t count;
};

/* What is empty fits everything. */
struct monitor_filter {
    struct list link;
    struct charge charge;
    enum message_type type;
    struct span from;
    struct span to;
    struct span topic; /* a pattern */
    char text[];
};

void monitors_init(struct monitors *monitors);
/* The user, who is charged, is borrowed. */
void watcher_init(struct watcher *watcher, struct quota_user *user);

/* Copies the spans. 0, WIRE_LIMIT_EXCEEDED beyond `max` filters of this watcher or
 * what the user may have, or -ENOMEM. */
int monitors_add(struct monitors *monitors, struct watcher *watcher, enum message_type type,
                 struct span from, struct span to, struct span topic, size_t max);

/* Drops all of the watcher's. */
void monitors_leave(struct watcher *watcher);

/* `topic` is empty for what is no event. */
bool monitor_filter_matches(const struct monitor_filter *filter, enum message_type type,
                            struct span topic);

#endif
