/* SPDX-License-Identifier: MIT */
#include "busd/deliver.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "busd/patience.h"
#include "libbus/base/clock.h"
#include "libbus/base/macros.h"

/* So many steps of a search for receivers, or filters passed over, take as long as one of
 * CONNECTION_EFFORT. */
#define STEPS_EFFORT   4
#define FILTERS_EFFORT 32

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

/* How an event is to be delivered, and what its subscription has asked for, is the same. */
static_assert((int)DELIVER_LATEST == (int)OVERFLOW_LATEST &&
                  (int)DELIVER_EVENT == (int)OVERFLOW_DROP &&
                  (int)DELIVER_DISCONNECT == (int)OVERFLOW_DISCONNECT,
              "the kinds of events are numbered alike");

static bool is_event(enum delivery delivery)
{
    return delivery <= DELIVER_DISCONNECT;
}

/* ------------------------------------------------------------ queueing */

int deliver_layout(struct hub *hub, struct peer *sender, struct span key,
                   const struct envelope *envelope, struct fds *fds, struct piece *ret_piece)
{
    struct span prefix = peer_prefix(sender);
    size_t size = prefix.size + key.size + envelope->rest.size + 1;

    int r = chunk_arena_alloc(&hub->arena, size, ret_piece);
    if (r < 0)
        return r;
    char *out = ret_piece->chunk->data + ret_piece->offset;
    memcpy(out, prefix.data, prefix.size);
    if (key.size > 0)
        memcpy(out + prefix.size, key.data, key.size);
    memcpy(out + prefix.size + key.size, envelope->rest.data, envelope->rest.size);
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

void deliver_lost(struct hub *hub, struct peer *receiver, struct span topic)
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
        /* It is told when its queue moves; if it does not, because it is the fds that
         * do not fit, when those in its socket have been read, or at once. */
        if (!connection_is_blocked(&receiver->connection) &&
            !connection_await_fds(&receiver->connection))
            peer_set_dirty(receiver);
        patience_await_reading(hub, receiver);
    }
    overflow->lost++;
    overflow->last_size = (unsigned char)topic.size;
    memcpy(overflow->last, topic.data, topic.size);
}

/* The same, or what its subscription asks for. */
static void lose(struct hub *hub, struct peer *receiver, enum delivery delivery, struct span topic)
{
    if (delivery != DELIVER_DISCONNECT)
        deliver_lost(hub, receiver, topic);
    else
        peer_doom(receiver,
                  "it does not read its events: %zu bytes wait for it, and it asks to be "
                  "disconnected rather than lose '%.*s'",
                  receiver->connection.outq.bytes, SPAN_ARGS(topic));
}

void deliver_refused(struct hub *hub, struct peer *receiver, struct span topic)
{
    struct route *route = deliver_route(hub, topic);
    enum delivery delivery = DELIVER_EVENT;

    for (size_t i = 0; route && i < route->count; i++)
        if (route->entries[i].subscriber == &receiver->subscriber)
            delivery = (enum delivery)route->entries[i].overflow;
    lose(hub, receiver, delivery, topic);
}

static bool has_room_for_fds(struct hub *hub, struct peer *receiver, unsigned count)
{
    struct connection *connection = &receiver->connection;

    return connection->outq.fds + count <= receiver->limits->fds_queued &&
           peer_may_hold_fds(receiver, count, hub_now(hub));
}

/* Whether the connection's own queue has room for the bytes. */
static bool has_own_room(const struct hub *hub, const struct peer *receiver,
                         const struct piece *piece, enum delivery delivery)
{
    uint64_t limit = receiver->limits->queue_bytes * (delivery == DELIVER_ANSWER ? 2 : 1);

    return receiver->connection.outq.bytes + piece->size <= limit;
}

/* Whether the queue has room. An empty queue takes a message of any size; and what
 * little comes together in one turn for a receiver that reads is written before it is
 * charged to its user. */
static bool has_room(struct hub *hub, struct peer *receiver, const struct piece *piece,
                     enum delivery delivery)
{
    const struct connection *connection = &receiver->connection;

    if (piece->fds && !has_room_for_fds(hub, receiver, piece->fds->count))
        return false;
    if (connection->outq.bytes == 0)
        return true;
    if (!has_own_room(hub, receiver, piece, delivery))
        return false;
    if (connection->outq.bytes + piece->size <= CONNECTION_READ_SIZE &&
        !connection_is_blocked(connection))
        return true;
    return charge_fits(&connection->bytes, connection_bytes(connection) + piece->size);
}

/* Only who does not read loses something: what has come together in this turn alone
 * is written before the turn ends. */
static bool make_room(struct hub *hub, struct peer *receiver, const struct piece *piece,
                      enum delivery delivery)
{
    /* Writing may lay out something new, in the place of the piece. */
    struct chunk *pinned = chunk_ref(piece->chunk);
    bool written = !connection_is_blocked(&receiver->connection) &&
                   connection_flush(&receiver->connection) == 0;

    chunk_unref(pinned);
    return written && has_room(hub, receiver, piece, delivery);
}

/* There is no room: 0 if the piece is to be queued nevertheless. */
static int refuse(struct hub *hub, struct peer *receiver, const struct piece *piece,
                  enum delivery delivery, struct span topic)
{
    if (is_event(delivery)) {
        lose(hub, receiver, delivery, topic);
    } else if (delivery == DELIVER_ANSWER && !piece->fds) {
        if (has_own_room(hub, receiver, piece, delivery)) {
            peer_cut_largest(receiver->user);
            return receiver->doomed ? WIRE_LIMIT_EXCEEDED : 0;
        }
        peer_doom(receiver,
                  "it does not read its answers: more than twice queue_bytes "
                  "(%" PRIu64 ") wait for it",
                  receiver->limits->queue_bytes);
    }
    return WIRE_LIMIT_EXCEEDED;
}

/* The piece is in the receiver's queue. */
static void queued(struct hub *hub, struct peer *receiver, const struct piece *piece)
{
    receiver->counters.delivered++;
    hub->counters.delivered++;
    if (piece->fds || connection_is_blocked(&receiver->connection))
        connection_charge(&receiver->connection);
}

static int append(struct hub *hub, struct peer *receiver, const struct piece *piece,
                  enum delivery delivery, struct span topic)
{
    /* What has been lost must be told before anything newer of its kind. */
    if (is_event(delivery) && receiver->overflow) {
        lose(hub, receiver, delivery, topic);
        return WIRE_LIMIT_EXCEEDED;
    }
    if (!has_room(hub, receiver, piece, delivery) && !make_room(hub, receiver, piece, delivery) &&
        refuse(hub, receiver, piece, delivery, topic) != 0)
        return WIRE_LIMIT_EXCEEDED;
    return outq_append(&receiver->connection.outq, &hub->shared.pool, piece);
}

/* The same for an event of which the receiver wants the latest only, while something is left
 * unsent: the one before it of the same topic goes, also when others have been lost. */
static int append_latest(struct hub *hub, struct peer *receiver, const struct piece *piece,
                         struct span topic)
{
    struct connection *connection = &receiver->connection;
    struct latest_event *event = latest_find(&hub->latest, &connection->latest, topic);
    bool told = event || !receiver->overflow;
    int r = 0;

    hub->shared.effort++;
    if (event) {
        outq_drop(&connection->outq, &hub->shared.pool, latest_event_mark(event));
        receiver->counters.conflated++;
        hub->counters.conflated++;
    }
    if (!told || !has_room(hub, receiver, piece, DELIVER_LATEST)) {
        deliver_lost(hub, receiver, topic);
        r = WIRE_LIMIT_EXCEEDED;
    } else if (!event && !(event = latest_add(&hub->latest, &connection->latest, topic))) {
        r = -ENOMEM;
    } else {
        r = outq_append_marked(&connection->outq, &hub->shared.pool, piece,
                               latest_event_mark(event));
    }
    if (r != 0 && event)
        latest_remove(event);
    return r;
}

int deliver_to(struct hub *hub, struct peer *receiver, const struct piece *piece,
               enum delivery delivery, struct span topic)
{
    hub->shared.effort++;
    if (receiver->doomed)
        return WIRE_LIMIT_EXCEEDED;
    int r = delivery == DELIVER_LATEST && connection_is_blocked(&receiver->connection)
                ? append_latest(hub, receiver, piece, topic)
                : append(hub, receiver, piece, delivery, topic);
    if (r < 0)
        peer_doom(receiver, "out of memory for what it has not read");
    if (r != 0)
        return WIRE_LIMIT_EXCEEDED;
    queued(hub, receiver, piece);
    if (is_event(delivery) || delivery == DELIVER_ITEM)
        peer_set_dirty(receiver);
    else
        peer_set_urgent(receiver);
    return 0;
}

int deliver_share(struct hub *hub, struct peer *receiver, const struct piece *piece,
                  struct group *group, uint64_t filter)
{
    hub->shared.effort++;
    if (receiver->doomed || receiver->connection.deaf || receiver->overflow ||
        (!has_room(hub, receiver, piece, DELIVER_EVENT) &&
         !make_room(hub, receiver, piece, DELIVER_EVENT)))
        return WIRE_LIMIT_EXCEEDED;
    if (share_append(&receiver->connection.shares, &receiver->connection.outq, &hub->shared.pool,
                     piece, group, filter) < 0) {
        peer_doom(receiver, "out of memory for what it has not read");
        return WIRE_LIMIT_EXCEEDED;
    }
    queued(hub, receiver, piece);
    peer_set_dirty(receiver);
    return 0;
}

/* ------------------------------------------------- messages of clients */

int deliver_message(struct hub *hub, struct peer *sender, struct peer *receiver,
                    const struct envelope *envelope, struct fds *fds, enum delivery delivery)
{
    struct piece piece;

    int r = deliver_layout(hub, sender, (struct span){0}, envelope, fds, &piece);
    if (r < 0)
        return r;
    r = deliver_to(hub, receiver, &piece, delivery, envelope->topic);
    if (r == 0 && !list_is_empty(&hub->monitors.watchers))
        show_monitors(
            hub, &(struct sighting){envelope->type, envelope->topic, sender, &receiver, 1, &piece});
    return r;
}

void deliver_note(struct receipt *receipt, struct peer *receiver, bool queued)
{
    receipt->matched++;
    if (!queued) {
        receipt->dropped++;
        return;
    }
    receipt->queued++;
    if (!peer_is_behind(receiver))
        return;
    struct backlog_waiter *waiter = receipt_await(receipt);
    if (waiter)
        peer_await(receiver, waiter);
    else
        peer_doom(peer_of_publisher(receipt->publisher), "out of memory for its receipts");
}

/* Queues the event for every receiver; with `to` (room for all entries) also says
 * for whom. Returns their number. */
static size_t fan_out(struct hub *hub, struct peer *sender, struct route *route,
                      const struct envelope *envelope, const struct piece *piece,
                      struct receipt *receipt, struct peer **to)
{
    uint64_t mark = 0, bits = 0;
    size_t count = 0, filters = 0;

    for (size_t i = 0; i < route->count; i++) {
        struct route_entry *entry = &route->entries[i];
        if (entry->filter) {
            if (filters++ == 0) {
                mark = topics_new_mark(&hub->topics);
                bits = hub_sender_bits(hub, sender);
            }
            if (!(bits >> entry->sender_bit & 1) || entry->subscriber->mark == mark ||
                !hub_is_named(hub, sender, entry->filter->sender))
                continue;
            entry->subscriber->mark = mark;
        }
        struct peer *receiver = peer_of_subscriber(entry->subscriber);
        struct policy_verdict verdict;
        if (entry->ask && !access_subscribe(receiver, envelope->topic, &verdict))
            continue;
        bool leaves = receiver->doomed;
        bool is_queued =
            deliver_to(hub, receiver, piece, (enum delivery)entry->overflow, envelope->topic) == 0;
        if (receipt && !leaves)
            deliver_note(receipt, receiver, is_queued);
        if (is_queued && to)
            to[count++] = receiver;
    }
    hub->shared.effort += (unsigned)(filters / FILTERS_EFFORT);
    return count;
}

struct route *deliver_route(struct hub *hub, struct span topic)
{
    struct route *route = topics_route(&hub->topics, topic);

    if (UNLIKELY(hub->topics.steps > 0)) {
        hub->shared.effort += (unsigned)(hub->topics.steps / STEPS_EFFORT);
        hub->topics.steps = 0;
    }
    if (route)
        access_filter_route(hub, route);
    return route;
}

/* Room for the receivers, for those who want to know who they were. */
static struct peer **new_receivers(const struct route *route)
{
    return malloc((route->count + route->groups.count + 1) * sizeof(struct peer *));
}

/* The same with queue groups among those whom the route names. */
static void deliver_shared(struct hub *hub, struct peer *sender, struct route *route,
                           const struct envelope *envelope, struct fds *fds,
                           struct receipt *receipt)
{
    bool watched = !list_is_empty(&hub->monitors.watchers);
    struct piece piece = {0};
    size_t count = 0;

    CLEANUP(cleanup_free) struct peer **to = watched ? new_receivers(route) : NULL;
    if ((watched && !to) ||
        ((watched || route->count > 0) &&
         deliver_layout(hub, sender, (struct span){0}, envelope, fds, &piece) < 0)) {
        peer_doom(sender, "out of memory for its events");
        return;
    }
    if (route->count > 0)
        count = fan_out(hub, sender, route, envelope, &piece, receipt, to);
    /* It is laid out anew for groups, and the arena may let go of what was before. */
    struct chunk *pinned = piece.chunk ? chunk_ref(piece.chunk) : NULL;
    count += deliver_to_groups(hub, sender, route, envelope, fds, receipt, to ? to + count : NULL);
    if (watched)
        show_monitors(
            hub, &(struct sighting){MESSAGE_EVENT, envelope->topic, sender, to, count, &piece});
    chunk_unref(pinned);
}

void deliver_event(struct hub *hub, struct peer *sender, struct route *route,
                   const struct envelope *envelope, struct fds *fds, struct receipt *receipt)
{
    bool watched = !list_is_empty(&hub->monitors.watchers);
    struct piece piece;

    if (UNLIKELY(route->groups.count > 0)) {
        deliver_shared(hub, sender, route, envelope, fds, receipt);
        return;
    }
    if (route->count == 0 && !watched)
        return;
    CLEANUP(cleanup_free) struct peer **to = watched ? new_receivers(route) : NULL;
    if ((watched && !to) ||
        deliver_layout(hub, sender, (struct span){0}, envelope, fds, &piece) < 0) {
        peer_doom(sender, "out of memory for its events");
        return;
    }
    size_t count = fan_out(hub, sender, route, envelope, &piece, receipt, to);
    if (watched)
        show_monitors(
            hub, &(struct sighting){MESSAGE_EVENT, envelope->topic, sender, to, count, &piece});
}

int deliver_event_to(struct hub *hub, struct peer *sender, struct peer *receiver,
                     const struct envelope *envelope, struct fds *fds, struct receipt *receipt)
{
    int r = deliver_message(hub, sender, receiver, envelope, fds, DELIVER_EVENT);

    if (r < 0)
        return r;
    if (receipt)
        deliver_note(receipt, receiver, r == 0);
    return 0;
}

void deliver_nowhere(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                     struct fds *fds, bool to_broker)
{
    struct peer *broker = NULL;
    struct piece piece;

    if (list_is_empty(&hub->monitors.watchers) ||
        deliver_layout(hub, sender, (struct span){0}, envelope, fds, &piece) < 0)
        return;
    show_monitors(hub, &(struct sighting){envelope->type, envelope->topic, sender, &broker,
                                          to_broker ? 1 : 0, &piece});
}

/* ---------------------------------------------- messages of the broker */

int deliver_text(struct hub *hub, struct peer *receiver, enum message_type type, struct span topic,
                 struct span line, struct fds *fds)
{
    struct piece piece;

    if (layout_text(hub, line, fds, &piece) < 0) {
        peer_doom(receiver, "out of memory for its answers");
        return -ENOMEM;
    }
    int r = deliver_to(hub, receiver, &piece, DELIVER_ANSWER, topic);
    if (r == 0 && !list_is_empty(&hub->monitors.watchers))
        show_monitors(hub, &(struct sighting){type, topic, NULL, &receiver, 1, &piece});
    return r;
}

void deliver_last(struct hub *hub, struct peer *receiver, struct span line)
{
    struct piece piece;

    if (layout_text(hub, line, NULL, &piece) == 0 &&
        outq_append(&receiver->connection.outq, &hub->shared.pool, &piece) == 0)
        peer_set_urgent(receiver);
}

int deliver_text_event(struct hub *hub, struct peer *sender, struct span topic, struct span line)
{
    struct route *route = deliver_route(hub, topic);
    bool watched = !list_is_empty(&hub->monitors.watchers);
    struct piece piece;

    if (!route)
        return -ENOMEM;
    CLEANUP(cleanup_free) struct peer **to = watched ? new_receivers(route) : NULL;
    if ((watched && !to) || layout_text(hub, line, NULL, &piece) < 0)
        return -ENOMEM;
    size_t count =
        fan_out(hub, sender, route, &(struct envelope){.topic = topic}, &piece, NULL, to);
    if (watched)
        show_monitors(hub, &(struct sighting){MESSAGE_EVENT, topic, sender, to, count, &piece});
    return 0;
}

bool deliver_fits(const struct hub *hub, const struct peer *receiver, uint64_t bytes)
{
    const struct connection *connection = &receiver->connection;
    uint64_t all = connection->outq.bytes + bytes;

    if (all > 2 * receiver->limits->queue_bytes)
        return false;
    return (all <= CONNECTION_READ_SIZE && !connection_is_blocked(connection)) ||
           charge_fits(&connection->bytes, connection_bytes(connection) + bytes);
}

int deliver_value(struct hub *hub, struct peer *sender, struct peer *receiver, struct span topic,
                  const struct piece *piece)
{
    int r = deliver_to(hub, receiver, piece, DELIVER_ANSWER, topic);

    if (r == 0 && !list_is_empty(&hub->monitors.watchers))
        show_monitors(hub, &(struct sighting){MESSAGE_EVENT, topic, sender, &receiver, 1, piece});
    return r;
}

/* ------------------------------------------------------------ monitors */

static bool filter_sees(struct hub *hub, const struct monitor_filter *filter,
                        const struct sighting *sighting)
{
    if (!monitor_filter_matches(filter, sighting->type, sighting->topic))
        return false;
    if (filter->from.size > 0 && !hub_is_named(hub, sighting->from, filter->from))
        return false;
    if (filter->to.size == 0)
        return true;
    for (size_t i = 0; i < sighting->to_count; i++)
        if (hub_is_named(hub, sighting->to[i], filter->to))
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

/* Watching shows calls and answers of all, but no topic that it may not have. */
static bool may_see(const struct peer *watcher, const struct sighting *sighting)
{
    struct policy_verdict verdict;

    return sighting->topic.size == 0 || access_subscribe(watcher, sighting->topic, &verdict);
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
        if (!sees || is_own(peer, sighting) || !may_see(peer, sighting))
            continue;
        if (!copy.chunk && !text.failed) {
            write_sighting(&text, sighting);
            if (!text.failed && layout_text(hub, text_span(&text), NULL, &copy) < 0)
                text.failed = true;
        }
        if (text.failed)
            deliver_lost(hub, peer, SPAN("bus.monitor"));
        else
            deliver_to(hub, peer, &copy, DELIVER_EVENT, SPAN("bus.monitor"));
    }
    chunk_unref(pinned);
}
