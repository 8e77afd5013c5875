/* SPDX-License-Identifier: MIT */
#include "busd/audience.h"

#include "libbus/base/macros.h"

/* What it costs to count once more, in the steps of CONNECTION_EFFORT. */
#define COUNT_EFFORT 8

const char *audience_check(struct span pattern)
{
    if (presence_part(pattern).size > 0 && grammar_has_wildcard(pattern))
        return "how many subscribe can be asked of one topic at a time: bus.subscribers.<topic>, "
               "without wildcards";
    return NULL;
}

/* How many queue groups of the route have somebody who may have it: each is one receiver. */
static size_t count_groups(struct hub *hub, const struct route *route)
{
    struct span topic = {route->topic, route->topic_size};
    struct policy_verdict verdict;
    size_t found = 0;

    for (size_t g = 0; g < route->groups.count; g++) {
        const struct route_group *group = &route->groups.groups[g];
        bool some = false;
        for (size_t i = 0; i < group->count && !some; i++) {
            const struct route_member *member = &route->groups.members[group->first + i];
            struct peer *peer = peer_of_subscriber(member->subscriber);
            hub->shared.effort++;
            some = !peer->doomed && (!member->ask || access_subscribe(peer, topic, &verdict));
        }
        found += some;
    }
    return found;
}

/* How many connections would get an event of the topic. 0 or -ENOMEM. */
static int count(struct hub *hub, struct span topic, size_t *ret_count)
{
    struct route *route = deliver_route(hub, topic);
    uint64_t mark = topics_new_mark(&hub->topics);
    struct policy_verdict verdict;
    size_t found = 0;

    if (!route)
        return -ENOMEM;
    hub->shared.effort += COUNT_EFFORT + (unsigned)route->count;
    for (size_t i = 0; i < route->count; i++) {
        const struct route_entry *entry = &route->entries[i];
        struct peer *peer = peer_of_subscriber(entry->subscriber);
        /* One with several filters is there several times. */
        if (peer->doomed || entry->subscriber->mark == mark ||
            (entry->ask && !access_subscribe(peer, topic, &verdict)))
            continue;
        entry->subscriber->mark = mark;
        found++;
    }
    *ret_count = found + count_groups(hub, route);
    return 0;
}

void audience_write(struct text *text, size_t count)
{
    text_printf(text, "{\"count\":%zu}", count);
}

static void tell(struct hub *hub, struct presence_watch *watch)
{
    CLEANUP(text_deinit) struct text body = TEXT_INIT;
    size_t now;

    list_remove(&watch->link);
    int r = count(hub, watch->entry.topic, &now);
    if (r == 0 && now == watch->told)
        return;
    if (r == 0)
        audience_write(&body, now);
    if (r < 0 || body.failed) {
        announce_lost(hub, presence_topic(watch));
        return;
    }
    watch->told = now;
    announce(hub, presence_topic(watch), text_span(&body));
}

static bool is_watch(struct span pattern)
{
    return presence_part(pattern).size > 0;
}

int audience_ask(struct hub *hub, struct span topic, size_t *ret_count)
{
    struct presence_watch *watch = presence_find(&hub->presence, topic);

    if (!watch)
        return count(hub, presence_part(topic), ret_count);
    if (!list_is_empty(&watch->link))
        tell(hub, watch);
    *ret_count = watch->told;
    return 0;
}

/* One who watches a topic more. Those before hear of what has changed until now, so that
 * this one is not told twice what it finds. */
static int begin_watch(struct hub *hub, struct span pattern)
{
    size_t now;

    int r = audience_ask(hub, pattern, &now);
    if (r == 0)
        r = presence_watch(&hub->presence, pattern);
    if (r == 0)
        presence_find(&hub->presence, pattern)->told = now;
    return r;
}

int audience_join(struct hub *hub, struct peer *peer, const struct topics_request *request,
                  struct subscription **ret_subscription)
{
    struct subscription *subscription;
    struct span pattern = request->pattern;

    int r = is_watch(pattern) ? begin_watch(hub, pattern) : 0;
    if (r < 0)
        return r;
    r = topics_subscribe(&hub->topics, &peer->subscriber, request, peer->limits->subscriptions,
                         &subscription);
    if (r != 0) {
        if (is_watch(pattern))
            presence_unwatch(&hub->presence, pattern);
        return r;
    }
    hub->shared.effort += presence_touch(&hub->presence, pattern);
    *ret_subscription = subscription;
    return 0;
}

void audience_leave(struct hub *hub, struct subscription *subscription)
{
    hub->shared.effort += presence_touch(&hub->presence, subscription->pattern);
    if (is_watch(subscription->pattern))
        presence_unwatch(&hub->presence, subscription->pattern);
    topics_unsubscribe(&hub->topics, subscription->subscriber, subscription->id);
}

static void touch_peer(struct hub *hub, struct name_owner *owner)
{
    const struct peer *peer = owner ? peer_of_owner(owner) : NULL;

    if (!peer || !(peer->view->dynamic & 1u << POLICY_SUBSCRIBE))
        return;
    LIST_FOREACH (node, &peer->subscriber.subscriptions)
        hub->shared.effort += presence_touch(
            &hub->presence, LIST_ENTRY(node, struct subscription, by_subscriber)->pattern);
}

void audience_name_changed(struct hub *hub, const struct name_change *change)
{
    if (!change->changed || !presence_is_watched(&hub->presence))
        return;
    touch_peer(hub, change->before);
    touch_peer(hub, change->after);
    touch_peer(hub, change->by);
    const struct name *name =
        change->opened ? names_find(&hub->names, (struct span){change->text, change->size}) : NULL;
    if (!name)
        return;
    LIST_FOREACH (node, &name->owners)
        touch_peer(hub, LIST_ENTRY(node, struct name_claim, by_name)->owner);
}

void audience_announce(struct hub *hub)
{
    struct list *node;

    if (LIKELY(list_is_empty(&hub->presence.changed)))
        return;
    hub->shared.effort = 0;
    while (hub->shared.effort < CONNECTION_EFFORT && (node = list_first(&hub->presence.changed)))
        tell(hub, LIST_ENTRY(node, struct presence_watch, link));
}
