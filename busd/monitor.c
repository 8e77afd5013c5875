/* SPDX-License-Identifier: MIT */
#include "busd/monitor.h"

#include <errno.h>
#include <stdlib.h>

#include "libbus/wire/errors.h"
#include "libbus/wire/grammar.h"

void monitors_init(struct monitors *monitors)
{
    list_init(&monitors->watchers);
}

void watcher_init(struct watcher *watcher, struct quota_user *user)
{
    *watcher = (struct watcher){.user = user};
    list_init(&watcher->link);
    list_init(&watcher->filters);
}

static struct span keep(char **end, struct span span)
{
    struct span kept = {*end, span.size};

    if (span.size > 0)
        memcpy(*end, span.data, span.size);
    *end += span.size;
    return kept;
}

int monitors_add(struct monitors *monitors, struct watcher *watcher, enum message_type type,
                 struct span from, struct span to, struct span topic, size_t max)
{
    struct charge charge;

    if (watcher->count >= max || charge_one(&charge, watcher->user, QUOTA_MONITORS) != 0)
        return WIRE_LIMIT_EXCEEDED;

    struct monitor_filter *filter = malloc(sizeof(*filter) + from.size + to.size + topic.size);
    if (!filter) {
        charge_give_back(&charge);
        return -ENOMEM;
    }
    filter->charge = charge;
    char *end = filter->text;
    filter->type = type;
    filter->from = keep(&end, from);
    filter->to = keep(&end, to);
    filter->topic = keep(&end, topic);
    list_append(&watcher->filters, &filter->link);
    if (watcher->count++ == 0)
        list_append(&monitors->watchers, &watcher->link);
    return 0;
}

void monitors_leave(struct watcher *watcher)
{
    LIST_FOREACH_SAFE (node, &watcher->filters) {
        struct monitor_filter *filter = LIST_ENTRY(node, struct monitor_filter, link);
        list_remove(node);
        charge_give_back(&filter->charge);
        free(filter);
    }
    watcher->count = 0;
    list_remove(&watcher->link);
}

bool monitor_filter_matches(const struct monitor_filter *filter, enum message_type type,
                            struct span topic)
{
    if (filter->type && filter->type != type)
        return false;
    if (filter->topic.size == 0)
        return true;
    return topic.size > 0 && grammar_matches(filter->topic, topic);
}
