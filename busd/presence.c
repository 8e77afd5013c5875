/* SPDX-License-Identifier: MIT */
#include "busd/presence.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "libbus/base/macros.h"

void presence_init(struct presence *presence)
{
    topicset_init(&presence->topics);
    list_init(&presence->changed);
}

void presence_deinit(struct presence *presence)
{
    assert(list_is_empty(&presence->changed));
    topicset_deinit(&presence->topics);
}

struct span presence_part(struct span topic)
{
    const struct span prefix = SPAN(PRESENCE_PREFIX);

    if (!span_starts_with(topic, prefix))
        return (struct span){0};
    return (struct span){topic.data + prefix.size, topic.size - prefix.size};
}

static struct presence_watch *of_entry(struct topicset_entry *entry)
{
    return entry ? CONTAINER_OF(entry, struct presence_watch, entry) : NULL;
}

struct presence_watch *presence_find(const struct presence *presence, struct span topic)
{
    return of_entry(topicset_find(&presence->topics, presence_part(topic)));
}

static void touch(struct presence *presence, struct presence_watch *watch)
{
    if (list_is_empty(&watch->link))
        list_append(&presence->changed, &watch->link);
}

int presence_watch(struct presence *presence, struct span topic)
{
    struct presence_watch *watch = presence_find(presence, topic);

    if (watch) {
        watch->watchers++;
        return 0;
    }
    watch = malloc(sizeof(*watch) + topic.size);
    if (!watch)
        return -ENOMEM;
    *watch = (struct presence_watch){.watchers = 1, .topic_size = (unsigned char)topic.size};
    memcpy(watch->topic, topic.data, topic.size);
    watch->entry.topic = presence_part(presence_topic(watch));
    list_init(&watch->link);
    int r = topicset_add(&presence->topics, &watch->entry);
    if (r < 0) {
        free(watch);
        return r;
    }
    return 0;
}

void presence_unwatch(struct presence *presence, struct span topic)
{
    struct presence_watch *watch = presence_find(presence, topic);

    if (--watch->watchers > 0)
        return;
    topicset_remove(&presence->topics, &watch->entry);
    list_remove(&watch->link);
    free(watch);
}

unsigned presence_touch(struct presence *presence, struct span pattern)
{
    struct topicset_entry *entry;
    struct topicset_walk walk;

    if (!presence_is_watched(presence))
        return 0;
    topicset_walk_init(&walk, &presence->topics, pattern);
    while ((entry = topicset_walk_next(&walk)))
        touch(presence, of_entry(entry));
    return walk.effort;
}

void presence_touch_all(struct presence *presence)
{
    LIST_FOREACH (node, &presence->topics.order)
        touch(presence, of_entry(LIST_ENTRY(node, struct topicset_entry, order)));
}
