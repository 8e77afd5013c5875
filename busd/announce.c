/* SPDX-License-Identifier: MIT */
#include "busd/announce.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "libbus/base/macros.h"

/* So many owners of a name are told of in a step of CONNECTION_EFFORT. */
#define OWNERS_EFFORT 4

static const struct span own_prefix = SPAN("{\"sender\":\"bus\",");

static void write_event(struct text *text, struct span prefix, struct span topic, struct span body,
                        bool retained)
{
    text_append_span(text, prefix);
    text_append_string(text, "\"type\":\"event\",\"topic\":\"");
    text_append_span(text, topic);
    text_append_string(text, retained ? "\",\"retained\":true,\"body\":" : "\",\"body\":");
    text_append_span(text, body);
    text_append_string(text, "}\n");
}

void announce_to(struct hub *hub, struct peer *receiver, struct span topic, struct span body,
                 bool retained)
{
    struct text *text = hub_text(hub);

    write_event(text, own_prefix, topic, body, retained);
    if (text->failed)
        peer_doom(receiver, "out of memory for its notices");
    else
        deliver_text(hub, receiver, MESSAGE_EVENT, topic, text_span(text), NULL);
}

size_t announce_size(struct span topic, struct span body)
{
    static const char rest[] = "\"type\":\"event\",\"topic\":\"\",\"retained\":true,\"body\":}\n";

    return own_prefix.size + sizeof(rest) - 1 + topic.size + body.size;
}

/* Writes the event and hands it out. */
static void publish(struct hub *hub, struct peer *sender, struct span topic, struct span body)
{
    struct text *text = hub_text(hub);

    write_event(text, sender ? peer_prefix(sender) : own_prefix, topic, body, false);
    if (text->failed || deliver_text_event(hub, sender, topic, text_span(text)) < 0)
        announce_lost(hub, topic);
}

/* Whether anybody wants to know. */
static bool is_heard(const struct hub *hub)
{
    return hub->topics.count_broker > 0 || !list_is_empty(&hub->monitors.watchers);
}

static bool has_subscription(const struct peer *peer, struct span topic)
{
    LIST_FOREACH (node, &peer->subscriber.subscriptions)
        if (grammar_matches(LIST_ENTRY(node, struct subscription, by_subscriber)->pattern, topic))
            return true;
    return false;
}

void announce_lost(struct hub *hub, struct span topic)
{
    LIST_FOREACH (node, &hub->peers.all) {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        if (!peer->doomed && has_subscription(peer, topic))
            deliver_lost(hub, peer, topic);
    }
}

void announce(struct hub *hub, struct span topic, struct span body)
{
    if (is_heard(hub))
        publish(hub, NULL, topic, body);
}

void announce_cleared(struct hub *hub, struct peer *sender, struct span topic)
{
    if (hub->topics.count > 0 || !list_is_empty(&hub->monitors.watchers))
        publish(hub, sender, topic, SPAN("null"));
}

static struct span owner_name(struct name_owner *owner)
{
    return owner ? peer_name(peer_of_owner(owner)) : (struct span){0};
}

void announce_name_owners(struct text *text, const struct name *name)
{
    const char *separator = "";

    text_append_string(text, "\"owner\":\"");
    text_append_span(text, owner_name(name_get_owner(name)));
    text_append_string(text, "\"");
    if (!name_is_shared(name))
        return;
    text_append_string(text, ",\"owners\":[");
    LIST_FOREACH (node, &name->owners) {
        text_append_string(text, separator);
        text_append_string(text, "\"");
        text_append_span(text, owner_name(LIST_ENTRY(node, struct name_claim, by_name)->owner));
        text_append_string(text, "\"");
        separator = ",";
    }
    text_append_string(text, "]");
}

void announce_name_body(struct text *text, const struct name *name, struct span old)
{
    if (!name) {
        text_append_string(text, "null");
        return;
    }
    text_append_string(text, "{");
    announce_name_owners(text, name);
    if (old.size > 0) {
        text_append_string(text, ",\"old\":\"");
        text_append_span(text, old);
        text_append_string(text, "\"");
    }
    text_append_string(text, "}");
}

void announce_peer_body(struct text *text, const struct peer *peer)
{
    text_printf(text, "{\"uid\":%" PRIu32 ",\"pid\":%d}", (uint32_t)peer->credentials.uid,
                (int)peer->credentials.pid);
}

/* Announces what is in the text, unless there was no memory for it. */
static void announce_text(struct hub *hub, struct span topic, const struct text *body)
{
    if (body->failed)
        announce_lost(hub, topic);
    else
        announce(hub, topic, text_span(body));
}

void announce_name_change(struct hub *hub, const struct name_change *change)
{
    CLEANUP(text_deinit) struct text body = TEXT_INIT;
    char topic[GRAMMAR_NAME_MAX + 1];

    if (!change->changed || !is_heard(hub))
        return;
    size_t size =
        (size_t)snprintf(topic, sizeof(topic), "bus.name.%.*s", (int)change->size, change->text);
    const struct name *name =
        change->after ? names_find(&hub->names, (struct span){change->text, change->size}) : NULL;
    announce_name_body(&body, name,
                       owner_name(change->before != change->after ? change->before : NULL));
    /* Who share a name can be many. */
    hub->shared.effort += (unsigned)(name ? name->owner_count : 0) / OWNERS_EFFORT;
    announce_text(hub, (struct span){topic, size}, &body);
}

void announce_peer_change(struct hub *hub, const struct peer *peer, bool gone)
{
    CLEANUP(text_deinit) struct text body = TEXT_INIT;
    char topic[GRAMMAR_NAME_MAX + 1];

    if (!is_heard(hub))
        return;
    size_t size = (size_t)snprintf(topic, sizeof(topic), "bus.peer.%" PRIu64, peer->id);
    if (gone)
        text_append_string(&body, "null");
    else
        announce_peer_body(&body, peer);
    announce_text(hub, (struct span){topic, size}, &body);
}

void announce_overflow(struct hub *hub, struct peer *receiver)
{
    CLEANUP(text_deinit) struct text body = TEXT_INIT;
    struct overflow *overflow = receiver->overflow;

    if (!overflow || receiver->doomed ||
        receiver->connection.outq.bytes > receiver->limits->queue_bytes / 2)
        return;
    text_printf(&body, "{\"lost\":%" PRIu64 ",\"first\":\"%.*s\",\"last\":\"%.*s\",\"since\":%.3f}",
                overflow->lost, overflow->first_size, overflow->first, overflow->last_size,
                overflow->last, overflow->since);
    if (body.failed) {
        peer_doom(receiver, "out of memory for its notices");
        return;
    }
    receiver->overflow = NULL;
    free(overflow);
    announce_to(hub, receiver, SPAN("bus.overflow"), text_span(&body), false);
}
