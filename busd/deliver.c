/* SPDX-License-Identifier: MIT */
#include "busd/deliver.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "libbus/base/clock.h"
#include "libbus/base/macros.h"

/* What a monitor is told of one message. */
struct sighting {
    enum message_type type;
    struct span topic; /* empty for what is no event */
    struct peer *from; /* NULL: the broker */
    struct peer *const *to;
    size_t to_count;
    const struct piece *piece;
};

static void show_monitors(struct hub *hub, const struct sighting *sighting);

/* ------------------------------------------------------------ queueing */

int deliver_layout(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                   struct fds *fds, struct piece *ret_piece)
{
    struct span prefix = peer_prefix(sender);
    size_t size = prefix.size + envelope->rest.size + 1;

    int r = chunk_arena_alloc(&hub->arena, size, ret_piece);
    if (r < 0)
        return r;
    char *out = ret_piece->chunk->data + ret_piece->offset;
    memcpy(out, prefix.data, prefix.size);
    memcpy(out + prefix.size, envelope->rest.data, envelope->rest.size);
    out[size - 1] = '\n';
    ret_piece->fds = fds;
    return 0;
}

static int layout_text(struct hub *hub, struct span line, struct fds *fds, struct piece *ret_piece)
{
    int r = chunk_arena_alloc(&hub->arena, line.size, ret_piece);
    if (r < 0)
        return r;
    memcpy(ret_piece->chunk->data + ret_piece->offset, line.data, line.size);
    ret_piece->fds = fds;
    return 0;
}

static void count_lost(struct hub *hub, struct peer *receiver, struct span topic)
{
    struct overflow *overflow = receiver->overflow;

    receiver->counters.dropped++;
    hub->counters.dropped++;
    if (!overflow) {
        overflow = receiver->overflow = calloc(1, sizeof(*overflow));
        if (!overflow) {
            /* Nothing may be lost without notice. */
            peer_doom(receiver, "out of memory for what it has not read");
            return;
        }
        overflow->since = clock_seconds(CLOCK_REALTIME);
        overflow->first_size = (unsigned char)topic.size;
        memcpy(overflow->first, topic.data, topic.size);
    }
    overflow->lost++;
    overflow->last_size = (unsigned char)topic.size;
    memcpy(overflow->last, topic.data, topic.size);
}

/* Whether the queue has room. An empty queue takes a message of any size. */
static bool has_room(const struct hub *hub, const struct peer *receiver, const struct piece *piece,
                     enum delivery delivery)
{
    const struct outq *outq = &receiver->connection.outq;
    uint64_t limit = hub->limits.queue_bytes * (delivery == DELIVER_ANSWER ? 2 : 1);

    if (piece->fds && outq->fds + piece->fds->count > hub->limits.fds_queued)
        return false;
    return outq->bytes == 0 || outq->bytes + piece->size <= limit;
}

int deliver_to(struct hub *hub, struct peer *receiver, const struct piece *piece,
               enum delivery delivery, struct span topic)
{
    if (receiver->doomed)
        return WIRE_LIMIT_EXCEEDED;
    /* What has been lost must be told before anything newer of its kind. */
    if (delivery == DELIVER_EVENT && receiver->overflow) {
        count_lost(hub, receiver, topic);
        return WIRE_LIMIT_EXCEEDED;
    }
    if (!has_room(hub, receiver, piece, delivery)) {
        if (delivery == DELIVER_EVENT)
            count_lost(hub, receiver, topic);
        else if (delivery == DELIVER_ANSWER && !piece->fds)
            peer_doom(receiver,
                      "it does not read its answers: more than twice queue_bytes "
                      "(%" PRIu64 ") wait for it",
                      hub->limits.queue_bytes);
        return WIRE_LIMIT_EXCEEDED;
    }
    if (outq_append(&receiver->connection.outq, &hub->shared.pool, piece) < 0) {
        peer_doom(receiver, "out of memory for what it has not read");
        return WIRE_LIMIT_EXCEEDED;
    }
    receiver->counters.delivered++;
    hub->counters.delivered++;
    peer_set_dirty(receiver);
    return 0;
}

/* ------------------------------------------------- messages of clients */

int deliver_message(struct hub *hub, struct peer *sender, struct peer *receiver,
                    const struct envelope *envelope, struct fds *fds, enum delivery delivery)
{
    struct piece piece;

    int r = deliver_layout(hub, sender, envelope, fds, &piece);
    if (r < 0)
        return r;
    r = deliver_to(hub, receiver, &piece, delivery, envelope->topic);
    if (r == 0 && !list_is_empty(&hub->monitors.watchers))
        show_monitors(
            hub, &(struct sighting){envelope->type, envelope->topic, sender, &receiver, 1, &piece});
    return r;
}

/* Whether a filter's name means this peer; NULL is the broker. */
static bool name_fits(struct hub *hub, struct span name, struct peer *peer)
{
    if (span_equal(name, SPAN("bus")))
        return !peer;
    return peer && hub_find_peer(hub, name) == peer;
}

/* Queues the event for every receiver; with `to` (room for all entries) also says
 * for whom. Returns their number. */
static size_t fan_out(struct hub *hub, struct peer *sender, struct route *route,
                      const struct envelope *envelope, const struct piece *piece, struct peer **to)
{
    uint64_t mark = 0;
    size_t count = 0;

    for (size_t i = 0; i < route->count; i++) {
        struct route_entry *entry = &route->entries[i];
        if (entry->filter) {
            if (mark == 0)
                mark = topics_new_mark(&hub->topics);
            if (entry->subscriber->mark == mark || !name_fits(hub, entry->filter->sender, sender))
                continue;
            entry->subscriber->mark = mark;
        }
        struct peer *receiver = peer_of_subscriber(entry->subscriber);
        if (deliver_to(hub, receiver, piece, DELIVER_EVENT, envelope->topic) == 0 && to)
            to[count++] = receiver;
    }
    return count;
}

void deliver_event(struct hub *hub, struct peer *sender, struct route *route,
                   const struct envelope *envelope, struct fds *fds)
{
    bool watched = !list_is_empty(&hub->monitors.watchers);
    struct piece piece;

    if (route->count == 0 && !watched)
        return;
    if (deliver_layout(hub, sender, envelope, fds, &piece) < 0) {
        peer_doom(sender, "out of memory for its events");
        return;
    }
    if (!watched) {
        fan_out(hub, sender, route, envelope, &piece, NULL);
        return;
    }

    CLEANUP(cleanup_free) struct peer **to = malloc((route->count + 1) * sizeof(*to));
    size_t count = fan_out(hub, sender, route, envelope, &piece, to);
    show_monitors(hub, &(struct sighting){MESSAGE_EVENT, envelope->topic, sender, to,
                                          to ? count : 0, &piece});
}

void deliver_to_broker(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                       struct fds *fds)
{
    struct peer *broker = NULL;
    struct piece piece;

    if (list_is_empty(&hub->monitors.watchers) ||
        deliver_layout(hub, sender, envelope, fds, &piece) < 0)
        return;
    show_monitors(hub,
                  &(struct sighting){envelope->type, envelope->topic, sender, &broker, 1, &piece});
}

/* ---------------------------------------------- messages of the broker */

/* An empty text to be written to; only one is in use at a time. */
static struct text *begin(struct hub *hub)
{
    hub->scratch.size = 0;
    hub->scratch.failed = false;
    return &hub->scratch;
}

/* Sends the line in the scratch text to one receiver, and shows it to monitors. */
static int send_scratch(struct hub *hub, struct peer *receiver, enum message_type type,
                        struct span topic, struct fds *fds)
{
    struct piece piece;

    if (hub->scratch.failed || layout_text(hub, text_span(&hub->scratch), fds, &piece) < 0) {
        peer_doom(receiver, "out of memory for its answers");
        return -ENOMEM;
    }
    int r = deliver_to(hub, receiver, &piece, DELIVER_ANSWER, topic);
    if (r == 0 && !list_is_empty(&hub->monitors.watchers))
        show_monitors(hub, &(struct sighting){type, topic, NULL, &receiver, 1, &piece});
    return r;
}

static void write_event(struct text *text, struct span topic, struct span body, bool retained)
{
    text_append_string(text, "{\"sender\":\"bus\",\"type\":\"event\",\"topic\":\"");
    text_append_span(text, topic);
    text_append_string(text, retained ? "\",\"retained\":true,\"body\":" : "\",\"body\":");
    text_append_span(text, body);
    text_append_string(text, "}\n");
}

void deliver_notice(struct hub *hub, struct peer *receiver, struct span topic, struct span body,
                    bool retained)
{
    write_event(begin(hub), topic, body, retained);
    send_scratch(hub, receiver, MESSAGE_EVENT, topic, NULL);
}

void deliver_broker_event(struct hub *hub, struct span topic, struct span body)
{
    struct piece piece;

    if (hub->topics.count_broker == 0 && list_is_empty(&hub->monitors.watchers))
        return;
    struct route *route = topics_route(&hub->topics, topic);
    write_event(begin(hub), topic, body, false);
    if (!route || hub->scratch.failed ||
        layout_text(hub, text_span(&hub->scratch), NULL, &piece) < 0) {
        log_limited(hub->log, LOG_LEVEL_ERROR, "out of memory: nobody is told about %.*s",
                    SPAN_ARGS(topic));
        return;
    }
    CLEANUP(cleanup_free) struct peer **to = malloc((route->count + 1) * sizeof(*to));
    size_t count = fan_out(hub, NULL, route, &(struct envelope){.topic = topic}, &piece, to);
    if (!list_is_empty(&hub->monitors.watchers))
        show_monitors(hub,
                      &(struct sighting){MESSAGE_EVENT, topic, NULL, to, to ? count : 0, &piece});
}

void deliver_reply(struct hub *hub, struct peer *caller, uint64_t id, struct span body,
                   struct fds *fds)
{
    struct text *text = begin(hub);

    text_printf(text, "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":%" PRIu64, id);
    if (fds)
        text_printf(text, ",\"fds\":%u", fds->count);
    text_append_string(text, ",\"body\":");
    text_append_span(text, body);
    text_append_string(text, "}\n");
    if (send_scratch(hub, caller, MESSAGE_REPLY, (struct span){0}, fds) == WIRE_LIMIT_EXCEEDED)
        deliver_call_error(hub, caller, id, WIRE_LIMIT_EXCEEDED,
                           "%" PRIu64 " unread file descriptors wait for you already",
                           (uint64_t)caller->connection.outq.fds);
}

static void write_error_head(struct text *text, enum wire_error error)
{
    text_append_string(text, "{\"sender\":\"bus\",\"type\":\"error\"");
    text_append_string(text, ",\"error\":\"");
    text_append_string(text, wire_error_name(error));
    text_append_string(text, "\"");
}

static void write_error_message(struct text *text, enum wire_error error, const char *format,
                                va_list args)
{
    char *message = NULL;

    if (format && vasprintf(&message, format, args) < 0)
        message = NULL;
    text_append_string(text, ",\"message\":");
    text_append_json_string(text, span_from(message ? message : wire_error_sentence(error)));
    free(message);
}

static void send_call_error(struct hub *hub, struct peer *caller, uint64_t id,
                            enum wire_error error, const char *format, va_list args)
{
    struct text *text = begin(hub);

    write_error_head(text, error);
    text_printf(text, ",\"id\":%" PRIu64, id);
    write_error_message(text, error, format, args);
    text_append_string(text, "}\n");
    send_scratch(hub, caller, MESSAGE_ERROR, (struct span){0}, NULL);
}

void deliver_call_error(struct hub *hub, struct peer *caller, uint64_t id, enum wire_error error,
                        const char *format, ...)
{
    va_list args;

    va_start(args, format);
    send_call_error(hub, caller, id, error, format, args);
    va_end(args);
}

static void write_about_text(struct text *text, const char *key, struct span value)
{
    if (value.size == 0)
        return;
    text_append_string(text, text->data[text->size - 1] == '{' ? "\"" : ",\"");
    text_append_string(text, key);
    text_append_string(text, "\":\"");
    text_append_span(text, value);
    text_append_string(text, "\"");
}

/* What could be read of the message. The texts have no escapes, by their grammar. */
static void write_about(struct text *text, const struct envelope *envelope)
{
    text_append_string(text, ",\"about\":{");
    if (envelope && !text->failed) {
        if (envelope->type)
            write_about_text(text, "type", span_from(message_type_name(envelope->type)));
        write_about_text(text, "to", envelope->to);
        write_about_text(text, "topic", envelope->topic);
        if (envelope->id > 0)
            text_printf(text, "%s\"id\":%" PRIu64, text->data[text->size - 1] == '{' ? "" : ",",
                        envelope->id);
    }
    text_append_string(text, "}");
}

static void send_complaint(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                           const size_t *offset, enum wire_error error, const char *format,
                           va_list args)
{
    struct text *text = begin(hub);

    write_error_head(text, error);
    write_error_message(text, error, format, args);
    if (offset)
        text_printf(text, ",\"offset\":%zu", *offset);
    write_about(text, envelope);
    text_append_string(text, "}\n");
    send_scratch(hub, sender, MESSAGE_ERROR, (struct span){0}, NULL);
}

void deliver_complaint(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                       const size_t *offset, enum wire_error error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    send_complaint(hub, sender, envelope, offset, error, format, args);
    va_end(args);
}

void deliver_error(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                   enum wire_error error, const char *format, ...)
{
    bool waits = envelope->type == MESSAGE_CALL || envelope->type == MESSAGE_EVENT;
    va_list args;

    if (envelope->no_reply)
        return;
    va_start(args, format);
    if (waits && envelope->id > 0)
        send_call_error(hub, sender, envelope->id, error, format, args);
    else
        send_complaint(hub, sender, envelope, NULL, error, format, args);
    va_end(args);
}

void deliver_goodbye(struct hub *hub, struct peer *peer, const char *reason)
{
    struct text *text = begin(hub);
    struct piece piece;

    write_error_head(text, WIRE_DISCONNECTED);
    text_append_string(text, ",\"message\":");
    text_append_json_string(text, span_from(reason));
    text_append_string(text, "}\n");
    /* Past every limit: there is nothing after it. */
    if (!text->failed && layout_text(hub, text_span(text), NULL, &piece) == 0 &&
        outq_append(&peer->connection.outq, &hub->shared.pool, &piece) == 0)
        peer_set_dirty(peer);
}

void deliver_cancel(struct hub *hub, struct peer *caller, struct peer *callee, uint64_t id,
                    const char *reason)
{
    struct text *text = begin(hub);

    text_append_span(text, peer_prefix(caller));
    text_printf(text, "\"type\":\"cancel\",\"id\":%" PRIu64 ",\"reason\":\"%s\"}\n", id, reason);
    send_scratch(hub, callee, MESSAGE_CANCEL, (struct span){0}, NULL);
}

/* --------------------------------------------- the broker's own topics */

void deliver_name_body(struct text *text, struct span owner, struct span old)
{
    if (owner.size == 0) {
        text_append_string(text, "null");
        return;
    }
    text_append_string(text, "{\"owner\":\"");
    text_append_span(text, owner);
    text_append_string(text, "\"");
    if (old.size > 0) {
        text_append_string(text, ",\"old\":\"");
        text_append_span(text, old);
        text_append_string(text, "\"");
    }
    text_append_string(text, "}");
}

void deliver_peer_body(struct text *text, const struct peer *peer)
{
    text_printf(text, "{\"uid\":%" PRIu32 ",\"pid\":%d}", (uint32_t)peer->credentials.uid,
                (int)peer->credentials.pid);
}

static struct span owner_name(struct name_owner *owner)
{
    return owner ? peer_name(peer_of_owner(owner)) : (struct span){0};
}

void deliver_name_change(struct hub *hub, const struct name_change *change)
{
    CLEANUP(text_deinit) struct text topic = TEXT_INIT;
    CLEANUP(text_deinit) struct text body = TEXT_INIT;

    if (change->before == change->after)
        return;
    text_append_string(&topic, "bus.name.");
    text_append(&topic, change->text, change->size);
    deliver_name_body(&body, owner_name(change->after), owner_name(change->before));
    deliver_broker_event(hub, text_span(&topic), text_span(&body));
}

void deliver_peer_change(struct hub *hub, const struct peer *peer, bool gone)
{
    CLEANUP(text_deinit) struct text topic = TEXT_INIT;
    CLEANUP(text_deinit) struct text body = TEXT_INIT;

    text_printf(&topic, "bus.peer.%" PRIu64, peer->id);
    if (gone)
        text_append_string(&body, "null");
    else
        deliver_peer_body(&body, peer);
    deliver_broker_event(hub, text_span(&topic), text_span(&body));
}

void deliver_overflow(struct hub *hub, struct peer *receiver)
{
    CLEANUP(text_deinit) struct text body = TEXT_INIT;
    struct overflow *overflow = receiver->overflow;

    if (!overflow || receiver->doomed ||
        receiver->connection.outq.bytes > hub->limits.queue_bytes / 2)
        return;
    text_printf(&body, "{\"lost\":%" PRIu64 ",\"first\":\"%.*s\",\"last\":\"%.*s\",\"since\":%.3f}",
                overflow->lost, overflow->first_size, overflow->first, overflow->last_size,
                overflow->last, overflow->since);
    receiver->overflow = NULL;
    free(overflow);
    deliver_notice(hub, receiver, SPAN("bus.overflow"), text_span(&body), false);
}

void deliver_refused(struct hub *hub, struct peer *receiver, const struct piece *piece)
{
    static const char reason[] = "the kernel takes no more file descriptors in flight";
    struct envelope envelope;
    struct envelope_fault fault;

    if (envelope_parse(&envelope, piece->chunk->data + piece->offset, piece->size - 1,
                       ENVELOPE_FROM_BROKER, &fault) != 0)
        return;
    struct peer *sender = hub_find_peer(hub, envelope.sender);
    switch (envelope.type) {
    case MESSAGE_EVENT:
        count_lost(hub, receiver, envelope.topic);
        break;
    case MESSAGE_CALL: {
        struct call *call = sender ? calls_find(&hub->calls, &sender->calls, envelope.id) : NULL;
        if (call && call->callee == &receiver->calls) {
            calls_remove(&hub->calls, call);
            deliver_call_error(hub, sender, envelope.id, WIRE_LIMIT_EXCEEDED, reason);
        }
        break;
    }
    default:
        deliver_call_error(hub, receiver, envelope.id, WIRE_LIMIT_EXCEEDED, reason);
        break;
    }
}

/* ------------------------------------------------------------ monitors */

static bool filter_sees(struct hub *hub, const struct monitor_filter *filter,
                        const struct sighting *sighting)
{
    if (!monitor_filter_matches(filter, sighting->type, sighting->topic))
        return false;
    if (filter->from.size > 0 && !name_fits(hub, filter->from, sighting->from))
        return false;
    if (filter->to.size == 0)
        return true;
    for (size_t i = 0; i < sighting->to_count; i++)
        if (name_fits(hub, filter->to, sighting->to[i]))
            return true;
    return false;
}

/* A watcher does not see its own traffic. */
static bool is_own(const struct peer *watcher, const struct sighting *sighting)
{
    if (sighting->from == watcher)
        return true;
    return sighting->to_count == 1 && sighting->to[0] == watcher;
}

static void write_sighting(struct text *text, const struct sighting *sighting)
{
    const struct piece *piece = sighting->piece;

    text_append_string(text, "{\"sender\":\"bus\",\"type\":\"event\",\"topic\":\"bus.monitor\","
                             "\"body\":{");
    text_printf(text, "\"time\":%.6f,\"monotonic\":%.6f,\"from\":\"%.*s\",\"to\":[",
                clock_seconds(CLOCK_REALTIME), clock_seconds(CLOCK_MONOTONIC),
                SPAN_ARGS(sighting->from ? peer_name(sighting->from) : SPAN("bus")));
    for (size_t i = 0; i < sighting->to_count; i++) {
        text_append_string(text, i > 0 ? ",\"" : "\"");
        text_append_span(text, sighting->to[i] ? peer_name(sighting->to[i]) : SPAN("bus"));
        text_append_string(text, "\"");
    }
    text_printf(text, "],\"fds\":%u,\"message\":", piece->fds ? piece->fds->count : 0);
    text_append(text, piece->chunk->data + piece->offset, piece->size - 1);
    text_append_string(text, "}}\n");
}

static void show_monitors(struct hub *hub, const struct sighting *sighting)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;
    struct piece copy = {0};
    /* Laying the copy out may take the arena's reference to the original away. */
    struct chunk *pinned = chunk_ref(sighting->piece->chunk);

    LIST_FOREACH (node, &hub->monitors.watchers) {
        struct watcher *watcher = LIST_ENTRY(node, struct watcher, link);
        struct peer *peer = peer_of_watcher(watcher);
        bool sees = false;
        LIST_FOREACH (filter, &watcher->filters)
            sees =
                sees || filter_sees(hub, LIST_ENTRY(filter, struct monitor_filter, link), sighting);
        if (!sees || is_own(peer, sighting))
            continue;
        if (text.size == 0) {
            write_sighting(&text, sighting);
            if (text.failed || layout_text(hub, text_span(&text), NULL, &copy) < 0) {
                log_limited(hub->log, LOG_LEVEL_ERROR, "out of memory: monitors miss a message");
                break;
            }
        }
        deliver_to(hub, peer, &copy, DELIVER_EVENT, SPAN("bus.monitor"));
    }
    chunk_unref(pinned);
}
