/* SPDX-License-Identifier: MIT */
#include "busd/snapshot.h"

#include <inttypes.h>
#include <string.h>

#include "libbus/base/macros.h"

#define NAME_TOPIC "bus.name."
#define PEER_TOPIC "bus.peer."

/* What it costs to look at a topic of the bus's own, in the steps of CONNECTION_EFFORT. */
#define VISIT_EFFORT 3

/* ----------------------------------------------- the bus's own topics */

/* Their values are written anew each time: when they are counted, and when they are sent. */
static void visit_text(struct snapshot *snapshot, struct span topic, const struct text *body)
{
    struct policy_verdict verdict;

    snapshot->hub->shared.effort += VISIT_EFFORT;
    if (!grammar_matches(snapshot->pattern, topic) ||
        !access_subscribe(snapshot->subscriber, topic, &verdict))
        return;
    if (body->failed) {
        snapshot->failed = true;
    } else if (snapshot->sending) {
        announce_to(snapshot->hub, snapshot->subscriber, topic, text_span(body), true);
    } else {
        snapshot->count++;
        snapshot->bytes += announce_size(topic, text_span(body));
    }
}

static void visit_name(struct snapshot *snapshot, const struct name *name)
{
    CLEANUP(text_deinit) struct text topic = TEXT_INIT;
    CLEANUP(text_deinit) struct text body = TEXT_INIT;

    text_append_string(&topic, NAME_TOPIC);
    text_append_span(&topic, name_span(name));
    announce_name_body(&body, name, (struct span){0});
    if (topic.failed)
        snapshot->failed = true;
    else
        visit_text(snapshot, text_span(&topic), &body);
}

static void visit_peer(struct snapshot *snapshot, const struct peer *peer)
{
    CLEANUP(text_deinit) struct text topic = TEXT_INIT;
    CLEANUP(text_deinit) struct text body = TEXT_INIT;

    text_printf(&topic, PEER_TOPIC "%" PRIu64, peer->id);
    announce_peer_body(&body, peer);
    if (topic.failed)
        snapshot->failed = true;
    else
        visit_text(snapshot, text_span(&topic), &body);
}

static void visit_audience(struct snapshot *snapshot, struct span topic, size_t count)
{
    CLEANUP(text_deinit) struct text body = TEXT_INIT;

    audience_write(&body, count);
    visit_text(snapshot, topic, &body);
}

static void visit_all(struct snapshot *snapshot)
{
    struct hub *hub = snapshot->hub;

    for (struct hash_node *node = hash_walk(&hub->names.table, NULL); node;
         node = hash_walk(&hub->names.table, node))
        visit_name(snapshot, CONTAINER_OF(node, struct name, node));
    LIST_FOREACH (node, &hub->peers.all) {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        if (peer->welcome)
            visit_peer(snapshot, peer);
    }
    LIST_FOREACH (node, &hub->presence.topics.order) {
        struct presence_watch *watch = LIST_ENTRY(node, struct presence_watch, entry.order);
        visit_audience(snapshot, presence_topic(watch), watch->told);
    }
}

static struct span behind(struct span text, size_t prefix)
{
    return (struct span){text.data + prefix, text.size - prefix};
}

/* An exact topic is looked up; only a pattern is compared with all there are. */
static void visit_broker(struct snapshot *snapshot)
{
    struct hub *hub = snapshot->hub;
    struct span pattern = snapshot->pattern;

    if (grammar_has_wildcard(pattern)) {
        visit_all(snapshot);
    } else if (span_starts_with(pattern, SPAN(NAME_TOPIC))) {
        struct name *name = names_find(&hub->names, behind(pattern, sizeof(NAME_TOPIC) - 1));
        if (name)
            visit_name(snapshot, name);
    } else if (presence_part(pattern).size > 0) {
        size_t count;
        if (audience_ask(hub, pattern, &count) < 0)
            snapshot->failed = true;
        else
            visit_audience(snapshot, pattern, count);
    } else if (span_starts_with(pattern, SPAN(PEER_TOPIC))) {
        char unique[GRAMMAR_NAME_MAX + 1] = ":";
        struct span number = behind(pattern, sizeof(PEER_TOPIC) - 1);
        memcpy(unique + 1, number.data, number.size);
        struct peer *peer = hub_find_peer(hub, (struct span){unique, number.size + 1});
        if (peer && peer->welcome)
            visit_peer(snapshot, peer);
    }
}

/* --------------------------------------------------- values of clients */

static bool is_from(struct hub *hub, const struct retained_value *value, struct span sender)
{
    const struct peer *publisher = peer_of_holder(value->holder);

    return sender.size == 0 || span_equal(retained_sender(value), sender) ||
           (publisher && hub_is_named(hub, publisher, sender));
}

static void find_values(struct snapshot *snapshot)
{
    struct hub *hub = snapshot->hub;
    struct retained_value *value;
    struct topicset_walk walk;

    topicset_walk_init(&walk, &hub->retained.topics, snapshot->pattern);
    while ((value = retained_walk_next(&walk))) {
        if (!is_from(hub, value, snapshot->sender) ||
            !retain_is_seen(hub, snapshot->subscriber, value))
            continue;
        list_append(&snapshot->found, &value->found);
        snapshot->count++;
        snapshot->bytes += value->size;
    }
    hub->shared.effort += walk.effort;
}

static void send_values(struct snapshot *snapshot)
{
    LIST_FOREACH_SAFE (node, &snapshot->found) {
        struct retained_value *value = LIST_ENTRY(node, struct retained_value, found);
        struct piece piece = retained_piece(value);
        list_remove(node);
        deliver_value(snapshot->hub, peer_of_holder(value->holder), snapshot->subscriber,
                      retained_topic(value), &piece);
    }
}

/* ----------------------------------------------------------- the whole */

static bool is_of_the_bus(const struct snapshot *snapshot)
{
    return grammar_is_reserved(snapshot->pattern) &&
           (snapshot->sender.size == 0 || span_equal(snapshot->sender, SPAN("bus")));
}

void snapshot_init(struct snapshot *snapshot, struct hub *hub, struct peer *subscriber,
                   struct span pattern, struct span sender)
{
    *snapshot = (struct snapshot){
        .hub = hub, .subscriber = subscriber, .pattern = pattern, .sender = sender};
    list_init(&snapshot->found);
}

void snapshot_take(struct snapshot *snapshot)
{
    if (is_of_the_bus(snapshot))
        visit_broker(snapshot);
    else
        find_values(snapshot);
}

void snapshot_send(struct snapshot *snapshot)
{
    snapshot->sending = true;
    if (is_of_the_bus(snapshot))
        visit_broker(snapshot);
    else
        send_values(snapshot);
    /* Their number has been told. */
    if (snapshot->failed)
        peer_doom(snapshot->subscriber, "out of memory for its notices");
}

void snapshot_drop(struct snapshot *snapshot)
{
    LIST_FOREACH_SAFE (node, &snapshot->found)
        list_remove(node);
}
