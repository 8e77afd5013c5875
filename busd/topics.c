/* SPDX-License-Identifier: MIT */
#include "busd/topics.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "busd/topics-groups.h"
#include "libbus/wire/grammar.h"

void topics_init(struct topics *topics)
{
    *topics = (struct topics){.generation = 1};
    trie_init(&topics->patterns);
    hash_init(&topics->ids);
    hash_init(&topics->kinds);
    hash_init(&topics->routes);
    list_init(&topics->ages);
    groups_init(&topics->groups);
}

static struct route *find_route(const struct topics *topics, struct span topic, uint64_t hash)
{
    HASH_FOREACH (node, &topics->routes, hash) {
        struct route *route = CONTAINER_OF(node, struct route, node);
        if (span_equal((struct span){route->topic, route->topic_size}, topic))
            return route;
    }
    return NULL;
}

static void route_free(struct topics *topics, struct route *route)
{
    hash_remove(&topics->routes, &route->node);
    list_remove(&route->age);
    topics->cache_bytes -= route->bytes;
    route_groups_deinit(&route->groups);
    free(route->entries);
    free(route);
}

void topics_deinit(struct topics *topics)
{
    assert(topics->count == 0);
    LIST_FOREACH_SAFE (node, &topics->ages)
        route_free(topics, LIST_ENTRY(node, struct route, age));
    groups_deinit(&topics->groups);
    hash_deinit(&topics->routes);
    hash_deinit(&topics->kinds);
    hash_deinit(&topics->ids);
    trie_deinit(&topics->patterns);
}

void subscriber_init(struct subscriber *subscriber, struct quota_user *user)
{
    *subscriber = (struct subscriber){.user = user, .next_id = 1};
    list_init(&subscriber->subscriptions);
}

/* ------------------------------------------------------- subscriptions */

static uint64_t id_hash(const struct topics *topics, const struct subscriber *subscriber,
                        uint64_t id)
{
    uint64_t key[2] = {(uintptr_t)subscriber, id};

    return hash_of(&topics->ids, key, sizeof(key));
}

/* Of what makes subscriptions twins. */
static uint64_t kind_hash(const struct topics *topics, const struct subscription *subscription)
{
    char key[4 * sizeof(uintptr_t) + GRAMMAR_NAME_MAX];
    uintptr_t who[4] = {(uintptr_t)subscription->subscriber, (uintptr_t)subscription->node,
                        (uintptr_t)subscription->group, subscription->overflow};

    memcpy(key, who, sizeof(who));
    memcpy(key + sizeof(who), subscription->sender.data, subscription->sender.size);
    return hash_of(&topics->kinds, key, sizeof(who) + subscription->sender.size);
}

static struct subscription *find_twin(const struct topics *topics,
                                      const struct subscription *subscription)
{
    HASH_FOREACH (node, &topics->kinds, kind_hash(topics, subscription)) {
        struct subscription *other = CONTAINER_OF(node, struct subscription, by_kind);
        if (other->subscriber == subscription->subscriber && other->node == subscription->node &&
            other->group == subscription->group && other->overflow == subscription->overflow &&
            span_equal(other->sender, subscription->sender))
            return other;
    }
    return NULL;
}

static struct subscription *subscription_new(struct subscriber *subscriber, struct span pattern,
                                             struct span sender)
{
    struct subscription *subscription = malloc(sizeof(*subscription) + pattern.size + sender.size);

    if (!subscription)
        return NULL;
    *subscription = (struct subscription){.subscriber = subscriber, .id = subscriber->next_id};
    memcpy(subscription->text, pattern.data, pattern.size);
    if (sender.size > 0)
        memcpy(subscription->text + pattern.size, sender.data, sender.size);
    subscription->pattern = (struct span){subscription->text, pattern.size};
    subscription->sender = (struct span){subscription->text + pattern.size, sender.size};
    list_init(&subscription->by_subscriber);
    list_init(&subscription->by_node);
    list_init(&subscription->twins);
    return subscription;
}

static void give_back(struct subscription *subscription)
{
    charge_give_back(&subscription->wildcards);
    charge_give_back(&subscription->segments);
    charge_give_back(&subscription->charge);
}

static int charge_subscription(struct subscription *subscription)
{
    struct quota_user *user = subscription->subscriber->user;

    int r = charge_one(&subscription->charge, user, QUOTA_SUBSCRIPTIONS);
    if (r == 0)
        r = charge_some(&subscription->segments, user, QUOTA_SEGMENTS,
                        trie_size(subscription->pattern));
    if (r == 0)
        r = charge_some(&subscription->wildcards, user, QUOTA_WILDCARDS,
                        trie_weight(subscription->pattern));
    return r;
}

/* 0 or -ENOMEM, with nothing done. */
static int enter(struct topics *topics, struct subscription *subscription)
{
    uint64_t hash = id_hash(topics, subscription->subscriber, subscription->id);
    struct trie_node *node = subscription->node =
        trie_add(&topics->patterns, subscription->pattern);

    if (!node)
        return -ENOMEM;
    if (hash_add(&topics->ids, &subscription->by_id, hash) < 0) {
        trie_prune(&topics->patterns, node);
        return -ENOMEM;
    }
    subscription->sender_bit = topics_sender_bit(topics, subscription->sender);
    struct subscription *twin = find_twin(topics, subscription);
    if (twin) {
        list_append(&twin->twins, &subscription->twins);
        return 0;
    }
    if (hash_add(&topics->kinds, &subscription->by_kind, kind_hash(topics, subscription)) < 0) {
        hash_remove(&topics->ids, &subscription->by_id);
        trie_prune(&topics->patterns, node);
        return -ENOMEM;
    }
    list_append(&node->items, &subscription->by_node);
    return 0;
}

/* The subscription no longer stands for its twins; one of them does. */
static void hand_over(struct topics *topics, struct subscription *subscription)
{
    struct list *next = list_first(&subscription->twins);

    hash_remove(&topics->kinds, &subscription->by_kind);
    if (next) {
        struct subscription *heir = LIST_ENTRY(next, struct subscription, twins);
        /* There is room: one has just been removed. */
        hash_add(&topics->kinds, &heir->by_kind, kind_hash(topics, heir));
        list_insert_before(&subscription->by_node, &heir->by_node);
    }
    list_remove(&subscription->by_node);
}

/* Routes that the coming or going of the pattern changes are made anew. Without a
 * wildcard it is one at most; else it will be found out when they are asked for. */
static void note_change(struct topics *topics, struct span pattern)
{
    if (grammar_has_wildcard(pattern)) {
        struct topics_change *change = &topics->changes[++topics->generation % TOPICS_CHANGES];
        change->size = (unsigned char)pattern.size;
        memcpy(change->pattern, pattern.data, pattern.size);
        return;
    }
    struct route *route =
        find_route(topics, pattern, hash_of(&topics->routes, pattern.data, pattern.size));
    if (route)
        route->generation = 0;
}

/* Makes it a subscription of the group, if one is named. 0 or -ENOMEM. */
static int set_group(struct topics *topics, struct subscription *subscription, struct span name)
{
    if (name.size == 0)
        return 0;
    subscription->group = groups_get(&topics->groups, subscription->subscriber->user->uid, name);
    return subscription->group ? 0 : -ENOMEM;
}

int topics_subscribe(struct topics *topics, struct subscriber *subscriber,
                     const struct topics_request *request, size_t max,
                     struct subscription **ret_subscription)
{
    if (subscriber->count >= max)
        return WIRE_LIMIT_EXCEEDED;
    struct subscription *subscription =
        subscription_new(subscriber, request->pattern, request->sender);
    if (!subscription)
        return -ENOMEM;
    subscription->overflow = request->overflow;
    int r = charge_subscription(subscription);
    if (r == 0)
        r = set_group(topics, subscription, request->group);
    if (r == 0)
        r = enter(topics, subscription);
    if (r != 0) {
        groups_put(&topics->groups, subscription->group);
        give_back(subscription);
        free(subscription);
        return r;
    }
    list_append(&subscriber->subscriptions, &subscription->by_subscriber);
    subscriber->next_id++;
    subscriber->count++;
    topics->count++;
    topics->count_broker += grammar_is_reserved(request->pattern);
    if (!list_is_empty(&subscription->by_node))
        note_change(topics, request->pattern);
    *ret_subscription = subscription;
    return 0;
}

static void subscription_free(struct topics *topics, struct subscription *subscription)
{
    /* A route has the one that stands for all: as the filter, or else only its subscriber. */
    bool routed = !list_is_empty(&subscription->by_node) &&
                  (list_is_empty(&subscription->twins) || subscription->sender.size > 0);

    if (!list_is_empty(&subscription->by_node))
        hand_over(topics, subscription);
    hash_remove(&topics->ids, &subscription->by_id);
    list_remove(&subscription->twins);
    list_remove(&subscription->by_subscriber);
    give_back(subscription);
    trie_prune(&topics->patterns, subscription->node);
    subscription->subscriber->count--;
    topics->count--;
    topics->count_broker -= grammar_is_reserved(subscription->pattern);
    if (routed)
        note_change(topics, subscription->pattern);
    groups_put(&topics->groups, subscription->group);
    free(subscription);
}

struct subscription *topics_find(const struct topics *topics, const struct subscriber *subscriber,
                                 uint64_t id)
{
    HASH_FOREACH (node, &topics->ids, id_hash(topics, subscriber, id)) {
        struct subscription *subscription = CONTAINER_OF(node, struct subscription, by_id);
        if (subscription->subscriber == subscriber && subscription->id == id)
            return subscription;
    }
    return NULL;
}

int topics_unsubscribe(struct topics *topics, struct subscriber *subscriber, uint64_t id)
{
    struct subscription *subscription = topics_find(topics, subscriber, id);

    if (!subscription)
        return WIRE_NO_SUCH_SUBSCRIPTION;
    subscription_free(topics, subscription);
    return 0;
}

void topics_leave(struct topics *topics, struct subscriber *subscriber)
{
    LIST_FOREACH_SAFE (node, &subscriber->subscriptions)
        subscription_free(topics, LIST_ENTRY(node, struct subscription, by_subscriber));
}

uint64_t topics_new_mark(struct topics *topics)
{
    return ++topics->mark;
}

/* -------------------------------------------------------------- routes */

/* What has been found on a walk. */
struct finds {
    struct route_groups *groups;
    uint64_t mark;
    struct route_entry *entries;
    size_t count;
    size_t capacity;
    size_t steps;
    bool failed;
};

static void add_find(struct finds *finds, struct subscriber *subscriber,
                     const struct subscription *filter)
{
    if (finds->count == finds->capacity) {
        size_t capacity = finds->capacity ? finds->capacity * 2 : 4;
        struct route_entry *entries = realloc(finds->entries, capacity * sizeof(*entries));
        if (!entries) {
            finds->failed = true;
            return;
        }
        finds->entries = entries;
        finds->capacity = capacity;
    }
    finds->entries[finds->count++] = (struct route_entry){
        .subscriber = subscriber, .filter = filter, .sender_bit = filter ? filter->sender_bit : 0};
}

static void note_overflow(const struct finds *finds, const struct subscription *subscription)
{
    struct subscriber *subscriber = subscription->subscriber;

    if (subscriber->walk != finds->mark || subscriber->strongest < subscription->overflow)
        subscriber->strongest = subscription->overflow;
    subscriber->walk = finds->mark;
}

static void collect(struct trie_node *at, void *userdata)
{
    struct finds *finds = userdata;

    LIST_FOREACH (node, &at->items) {
        struct subscription *subscription = LIST_ENTRY(node, struct subscription, by_node);
        struct subscriber *subscriber = subscription->subscriber;
        finds->steps++;
        if (subscription->group) {
            if (!route_groups_add(finds->groups, subscription))
                finds->failed = true;
            continue;
        }
        note_overflow(finds, subscription);
        if (subscriber->mark == finds->mark)
            continue;
        if (subscription->sender.size > 0) {
            add_find(finds, subscriber, subscription);
        } else {
            subscriber->mark = finds->mark;
            add_find(finds, subscriber, NULL);
        }
    }
}

/* Drops the filters that were found before a subscription without one. */
static void drop_needless_filters(struct finds *finds)
{
    size_t kept = 0;

    for (size_t i = 0; i < finds->count; i++) {
        struct route_entry entry = finds->entries[i];
        if (!entry.filter || entry.subscriber->mark != finds->mark)
            finds->entries[kept++] = entry;
    }
    finds->count = kept;
}

static struct route *route_new(struct topics *topics, struct span topic, uint64_t hash)
{
    struct route *route = malloc(sizeof(*route) + topic.size);

    if (!route)
        return NULL;
    *route = (struct route){.topic_size = topic.size};
    memcpy(route->topic, topic.data, topic.size);
    if (hash_add(&topics->routes, &route->node, hash) < 0) {
        free(route);
        return NULL;
    }
    list_init(&route->age);
    return route;
}

static bool route_build(struct topics *topics, struct route *route)
{
    struct span topic = {route->topic, route->topic_size};
    struct finds finds = {
        .groups = &route->groups, .mark = topics_new_mark(topics), .entries = TAKE(route->entries)};

    finds.capacity = route->capacity;
    topics->cache_bytes -= route->bytes;
    route_groups_begin(&route->groups);
    topics->steps += trie_walk(&topics->patterns, topic, collect, &finds);
    topics->steps += finds.steps;
    drop_needless_filters(&finds);
    for (size_t i = 0; i < finds.count; i++)
        finds.entries[i].overflow = (unsigned char)finds.entries[i].subscriber->strongest;
    if (!route_groups_arrange(topics, &route->groups))
        finds.failed = true;
    route->entries = finds.entries;
    route->count = finds.count;
    route->capacity = finds.capacity;
    route->bytes = sizeof(*route) + route->topic_size + finds.capacity * sizeof(*finds.entries) +
                   route_groups_bytes(&route->groups);
    topics->cache_bytes += route->bytes;
    route->generation = topics->generation;
    route->filtered = false;
    list_remove(&route->age);
    list_append(&topics->ages, &route->age);
    return !finds.failed;
}

void topics_invalidate(struct topics *topics)
{
    /* Further back than the changes that are known. */
    topics->generation += TOPICS_CHANGES + 1;
}

/* Whether none of the patterns that have come and gone since the route was made fits
 * its topic. */
static bool is_still_right(struct topics *topics, struct route *route)
{
    struct span topic = {route->topic, route->topic_size};

    if (route->generation == 0 || topics->generation - route->generation > TOPICS_CHANGES)
        return false;
    while (route->generation < topics->generation) {
        const struct topics_change *change =
            &topics->changes[(route->generation + 1) % TOPICS_CHANGES];
        topics->steps++;
        if (grammar_matches((struct span){change->pattern, change->size}, topic))
            return false;
        route->generation++;
    }
    return true;
}

struct route *topics_route(struct topics *topics, struct span topic)
{
    uint64_t hash = hash_of(&topics->routes, topic.data, topic.size);
    struct route *route = find_route(topics, topic, hash);

    if (route && (route->generation == topics->generation || is_still_right(topics, route)))
        return route;
    if (!route && !(route = route_new(topics, topic, hash)))
        return NULL;
    if (!route_build(topics, route)) {
        route_free(topics, route);
        return NULL;
    }
    while (topics->cache_bytes > TOPICS_CACHE_BYTES) {
        struct route *oldest = LIST_ENTRY(list_first(&topics->ages), struct route, age);
        if (oldest == route)
            break;
        route_free(topics, oldest);
    }
    return route;
}
