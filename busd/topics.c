/* SPDX-License-Identifier: MIT */
#include "busd/topics.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "libbus/wire/grammar.h"

/* One segment of the patterns below its parent. Literal children are found by the
 * hash of the whole trie, wildcards by pointer. */
struct topic_node {
    struct hash_node node;
    struct topic_node *parent;
    struct topic_node *star;
    struct topic_node *rest; /* '#' */
    struct list subscriptions;
    size_t children;
    size_t size;
    char segment[];
};

static struct topic_node *node_new(struct topic_node *parent, struct span segment)
{
    struct topic_node *node = malloc(sizeof(*node) + segment.size);

    if (!node)
        return NULL;
    *node = (struct topic_node){.parent = parent, .size = segment.size};
    if (segment.size > 0)
        memcpy(node->segment, segment.data, segment.size);
    list_init(&node->subscriptions);
    return node;
}

static uint64_t child_hash(const struct topics *topics, const struct topic_node *parent,
                           struct span segment)
{
    char key[sizeof(parent) + GRAMMAR_NAME_MAX];

    memcpy(key, &parent, sizeof(parent));
    memcpy(key + sizeof(parent), segment.data, segment.size);
    return hash_of(&topics->nodes, key, sizeof(parent) + segment.size);
}

static struct topic_node *find_child(const struct topics *topics, const struct topic_node *parent,
                                     struct span segment)
{
    HASH_FOREACH (node, &topics->nodes, child_hash(topics, parent, segment)) {
        struct topic_node *child = CONTAINER_OF(node, struct topic_node, node);
        if (child->parent == parent &&
            span_equal((struct span){child->segment, child->size}, segment))
            return child;
    }
    return NULL;
}

static struct topic_node **wildcard_link(struct topic_node *parent, struct span segment)
{
    if (span_equal(segment, SPAN("*")))
        return &parent->star;
    return span_equal(segment, SPAN("#")) ? &parent->rest : NULL;
}

static struct topic_node *get_child(struct topics *topics, struct topic_node *parent,
                                    struct span segment)
{
    struct topic_node **link = wildcard_link(parent, segment);
    struct topic_node *child = link ? *link : find_child(topics, parent, segment);

    if (child)
        return child;
    child = node_new(parent, segment);
    if (!child)
        return NULL;
    if (link) {
        *link = child;
    } else if (hash_add(&topics->nodes, &child->node, child_hash(topics, parent, segment)) < 0) {
        free(child);
        return NULL;
    }
    parent->children++;
    return child;
}

/* Frees the node and those above it that nothing hangs on any more. */
static void prune(struct topics *topics, struct topic_node *node)
{
    while (node->parent && node->children == 0 && list_is_empty(&node->subscriptions)) {
        struct topic_node *parent = node->parent;
        if (parent->star == node)
            parent->star = NULL;
        else if (parent->rest == node)
            parent->rest = NULL;
        else
            hash_remove(&topics->nodes, &node->node);
        parent->children--;
        free(node);
        node = parent;
    }
}

/* Cuts the first segment off. */
static struct span next_segment(struct span *text)
{
    const char *dot = memchr(text->data, '.', text->size);
    struct span segment = {text->data, dot ? (size_t)(dot - text->data) : text->size};
    size_t cut = segment.size + (dot ? 1 : 0);

    text->data += cut;
    text->size -= cut;
    return segment;
}

void topics_init(struct topics *topics)
{
    *topics = (struct topics){.generation = 1};
    hash_init(&topics->nodes);
    hash_init(&topics->ids);
    hash_init(&topics->routes);
    list_init(&topics->ages);
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
    free(route->entries);
    free(route);
}

void topics_deinit(struct topics *topics)
{
    assert(topics->count == 0);
    LIST_FOREACH_SAFE (node, &topics->ages)
        route_free(topics, LIST_ENTRY(node, struct route, age));
    hash_deinit(&topics->routes);
    hash_deinit(&topics->ids);
    hash_deinit(&topics->nodes);
    free(topics->root);
}

void subscriber_init(struct subscriber *subscriber, struct quota_user *user)
{
    *subscriber = (struct subscriber){.user = user, .next_id = 1};
    list_init(&subscriber->subscriptions);
}

static uint64_t id_hash(const struct topics *topics, const struct subscriber *subscriber,
                        uint64_t id)
{
    uint64_t key[2] = {(uintptr_t)subscriber, id};

    return hash_of(&topics->ids, key, sizeof(key));
}

static struct subscription *subscription_new(struct subscriber *subscriber, struct span pattern,
                                             struct span sender)
{
    struct subscription *subscription = malloc(sizeof(*subscription) + pattern.size + sender.size);

    if (!subscription)
        return NULL;
    *subscription = (struct subscription){
        .subscriber = subscriber, .id = subscriber->next_id, .overflow = OVERFLOW_DROP};
    memcpy(subscription->text, pattern.data, pattern.size);
    if (sender.size > 0)
        memcpy(subscription->text + pattern.size, sender.data, sender.size);
    subscription->pattern = (struct span){subscription->text, pattern.size};
    subscription->sender = (struct span){subscription->text + pattern.size, sender.size};
    return subscription;
}

/* The node of the pattern, made if there is none; NULL when out of memory. */
static struct topic_node *grow(struct topics *topics, struct span pattern)
{
    if (!topics->root && !(topics->root = node_new(NULL, (struct span){0})))
        return NULL;
    struct topic_node *node = topics->root;
    for (struct span rest = pattern; rest.size > 0;) {
        struct topic_node *child = get_child(topics, node, next_segment(&rest));
        if (!child) {
            prune(topics, node);
            return NULL;
        }
        node = child;
    }
    return node;
}

/* Routes that the coming or going of the pattern changes are made anew: without a
 * wildcard it is one at most. */
static void invalidate(struct topics *topics, struct span pattern)
{
    if (grammar_has_wildcard(pattern)) {
        topics->generation++;
        return;
    }
    struct route *route =
        find_route(topics, pattern, hash_of(&topics->routes, pattern.data, pattern.size));
    if (route)
        route->generation = 0;
}

int topics_subscribe(struct topics *topics, struct subscriber *subscriber, struct span pattern,
                     struct span sender, size_t max, struct subscription **ret_subscription)
{
    struct charge charge;

    if (subscriber->count >= max || charge_one(&charge, subscriber->user, QUOTA_SUBSCRIPTIONS) != 0)
        return WIRE_LIMIT_EXCEEDED;
    struct subscription *subscription = subscription_new(subscriber, pattern, sender);
    struct topic_node *node = subscription ? grow(topics, pattern) : NULL;
    if (!node || hash_add(&topics->ids, &subscription->by_id,
                          id_hash(topics, subscriber, subscription->id)) < 0) {
        if (node)
            prune(topics, node);
        free(subscription);
        charge_give_back(&charge);
        return -ENOMEM;
    }
    subscription->charge = charge;
    subscription->node = node;
    list_append(&node->subscriptions, &subscription->by_node);
    list_append(&subscriber->subscriptions, &subscription->by_subscriber);
    subscriber->next_id++;
    subscriber->count++;
    topics->count++;
    topics->count_broker += grammar_is_reserved(pattern);
    invalidate(topics, pattern);
    *ret_subscription = subscription;
    return 0;
}

static void subscription_free(struct topics *topics, struct subscription *subscription)
{
    hash_remove(&topics->ids, &subscription->by_id);
    list_remove(&subscription->by_node);
    list_remove(&subscription->by_subscriber);
    charge_give_back(&subscription->charge);
    prune(topics, subscription->node);
    subscription->subscriber->count--;
    topics->count--;
    topics->count_broker -= grammar_is_reserved(subscription->pattern);
    invalidate(topics, subscription->pattern);
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

/* A growing array of the entries found on a walk. */
struct walk {
    struct topics *topics;
    uint64_t mark;
    struct route_entry *entries;
    size_t count;
    size_t capacity;
    bool failed;
};

static void walk_add(struct walk *walk, struct subscriber *subscriber,
                     const struct subscription *filter)
{
    if (walk->count == walk->capacity) {
        size_t capacity = walk->capacity ? walk->capacity * 2 : 4;
        struct route_entry *entries = realloc(walk->entries, capacity * sizeof(*entries));
        if (!entries) {
            walk->failed = true;
            return;
        }
        walk->entries = entries;
        walk->capacity = capacity;
    }
    walk->entries[walk->count++] = (struct route_entry){.subscriber = subscriber, .filter = filter};
}

static void note_overflow(const struct walk *walk, const struct subscription *subscription)
{
    struct subscriber *subscriber = subscription->subscriber;

    if (subscriber->walk != walk->mark || subscriber->strongest < subscription->overflow)
        subscriber->strongest = subscription->overflow;
    subscriber->walk = walk->mark;
}

static void collect(struct walk *walk, const struct topic_node *at, bool filtered)
{
    LIST_FOREACH (node, &at->subscriptions) {
        struct subscription *subscription = LIST_ENTRY(node, struct subscription, by_node);
        struct subscriber *subscriber = subscription->subscriber;
        if ((subscription->sender.size > 0) != filtered)
            continue;
        note_overflow(walk, subscription);
        if (subscriber->mark == walk->mark)
            continue;
        if (!filtered)
            subscriber->mark = walk->mark;
        walk_add(walk, subscriber, filtered ? subscription : NULL);
    }
}

/* Every node whose pattern fits the topic. As deep as the topic has segments, 128
 * at most. */
static void visit(struct walk *walk, const struct topic_node *at, struct span topic, bool filtered)
{
    bool broker_topic = !at->parent && grammar_is_reserved(topic);

    if (at->rest && !broker_topic)
        collect(walk, at->rest, filtered);
    if (topic.size == 0) {
        collect(walk, at, filtered);
        return;
    }
    struct span rest = topic;
    struct span segment = next_segment(&rest);
    struct topic_node *child = find_child(walk->topics, at, segment);
    if (child)
        visit(walk, child, rest, filtered);
    if (at->star && !broker_topic)
        visit(walk, at->star, rest, filtered);
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

/* Walks the trie anew: first for the subscriptions without a filter, then for
 * those with one whose subscriber the first walk has not met. */
static bool route_build(struct topics *topics, struct route *route)
{
    struct span topic = {route->topic, route->topic_size};
    struct walk walk = {
        .topics = topics, .mark = topics_new_mark(topics), .entries = TAKE(route->entries)};

    walk.capacity = route->count;
    topics->cache_bytes -= route->bytes;
    route->bytes = 0;
    if (topics->root) {
        visit(&walk, topics->root, topic, false);
        visit(&walk, topics->root, topic, true);
    }
    for (size_t i = 0; i < walk.count; i++)
        walk.entries[i].overflow = (unsigned char)walk.entries[i].subscriber->strongest;
    route->entries = walk.entries;
    route->count = walk.count;
    route->bytes = sizeof(*route) + route->topic_size + walk.capacity * sizeof(*walk.entries);
    topics->cache_bytes += route->bytes;
    route->generation = topics->generation;
    route->filtered = false;
    list_remove(&route->age);
    list_append(&topics->ages, &route->age);
    return !walk.failed;
}

void topics_invalidate(struct topics *topics)
{
    topics->generation++;
}

struct route *topics_route(struct topics *topics, struct span topic)
{
    uint64_t hash = hash_of(&topics->routes, topic.data, topic.size);
    struct route *route = find_route(topics, topic, hash);

    if (route && route->generation == topics->generation)
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
