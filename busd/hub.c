/* SPDX-License-Identifier: MIT */
#include "busd/hub.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "libbus/base/clock.h"
#include "libbus/base/macros.h"
#include "libbus/wire/grammar.h"

static int make_id(char id[HUB_ID_SIZE + 1])
{
    unsigned char bytes[HUB_ID_SIZE / 2];

    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        return -errno;
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(id + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

int hub_init(struct hub *hub, struct log *log, uv_loop_t *loop,
             const struct connection_handler *handler, const struct limits *limits)
{
    *hub = (struct hub){
        .log = log, .loop = loop, .limits = *limits, .started = clock_seconds(CLOCK_REALTIME)};

    int r = make_id(hub->id);
    if (r < 0)
        return r;
    r = connection_shared_init(&hub->shared, loop, log, handler);
    if (r < 0)
        return r;
    list_init(&hub->reloads);
    quotas_init(&hub->quotas, &hub->limits);
    peers_init(&hub->peers);
    names_init(&hub->names);
    topics_init(&hub->topics);
    shares_init(&hub->shares, &hub->topics.groups);
    deadlines_init(&hub->deadlines, hub_now(hub));
    calls_init(&hub->calls, &hub->deadlines);
    receipts_init(&hub->receipts);
    latest_init(&hub->latest);
    retained_init(&hub->retained, &hub->deadlines);
    presence_init(&hub->presence);
    monitors_init(&hub->monitors);
    chunk_arena_init(&hub->arena);
    return 0;
}

void hub_deinit(struct hub *hub)
{
    LIST_FOREACH_SAFE (node, &hub->reloads)
        free(LIST_ENTRY(node, struct hub_reload, link));
    presence_deinit(&hub->presence);
    retained_deinit(&hub->retained);
    latest_deinit(&hub->latest);
    receipts_deinit(&hub->receipts);
    calls_deinit(&hub->calls);
    shares_deinit(&hub->shares);
    topics_deinit(&hub->topics);
    names_deinit(&hub->names);
    peers_deinit(&hub->peers);
    connection_shared_deinit(&hub->shared);
    quotas_deinit(&hub->quotas);
    chunk_arena_deinit(&hub->arena);
    text_deinit(&hub->text);
}

struct hub *hub_of(struct peer *peer)
{
    return CONTAINER_OF(peer->peers, struct hub, peers);
}

struct peer *hub_find_peer(struct hub *hub, struct span name)
{
    uint64_t id = grammar_unique_name(name);

    if (id > 0)
        return peers_find(&hub->peers, id);
    struct name *owned = names_find(&hub->names, name);
    if (!owned)
        return NULL;
    LIST_FOREACH (node, &owned->owners) {
        struct peer *peer = peer_of_owner(LIST_ENTRY(node, struct name_claim, by_name)->owner);
        if (!peer->doomed)
            return peer;
    }
    return NULL;
}

bool hub_is_named(const struct hub *hub, const struct peer *peer, struct span name)
{
    uint64_t id = grammar_unique_name(name);

    if (!peer || span_equal(name, SPAN("bus")))
        return !peer && span_equal(name, SPAN("bus"));
    if (id > 0)
        return peer->id == id;
    struct name *owned = names_find(&hub->names, name);
    return owned && names_owns(&hub->names, owned, &peer->names);
}

uint64_t hub_sender_bits(struct hub *hub, struct peer *peer)
{
    const struct topics *topics = &hub->topics;

    if (!peer)
        return UINT64_C(1) << topics_sender_bit(topics, SPAN("bus"));
    if (peer->name_bits == 0 || peer->name_bits_generation != hub->names.generation) {
        peer->name_bits = UINT64_C(1) << topics_sender_bit(topics, peer_name(peer));
        LIST_FOREACH (node, &peer->names.claims) {
            const struct name *name = LIST_ENTRY(node, struct name_claim, by_owner)->name;
            peer->name_bits |= UINT64_C(1) << topics_sender_bit(topics, name_span(name));
        }
        peer->name_bits_generation = hub->names.generation;
    }
    return peer->name_bits;
}

struct text *hub_text(struct hub *hub)
{
    hub->text.size = 0;
    hub->text.failed = false;
    return &hub->text;
}

int hub_ask_reload(struct hub *hub, uint64_t caller, uint64_t id)
{
    struct hub_reload *request = id > 0 ? malloc(sizeof(*request)) : NULL;

    if (id > 0 && !request)
        return -ENOMEM;
    if (request) {
        *request = (struct hub_reload){.caller = caller, .id = id};
        list_append(&hub->reloads, &request->link);
    }
    hub->reload = true;
    return 0;
}

uint64_t hub_now(const struct hub *hub)
{
    return uv_now(hub->loop);
}

void hub_log_limit(struct hub *hub, const struct peer *peer, const char *limit, uint64_t value)
{
    log_limited(hub->log, LOG_LEVEL_NOTICE,
                "%.*s (uid %" PRIu32 ", pid %d) has all that it may have: %s is %" PRIu64,
                SPAN_ARGS(peer_name(peer)), (uint32_t)peer->credentials.uid,
                (int)peer->credentials.pid, limit, value);
}

struct peer *peer_of_owner(struct name_owner *owner)
{
    return CONTAINER_OF(owner, struct peer, names);
}

struct peer *peer_of_subscriber(struct subscriber *subscriber)
{
    return CONTAINER_OF(subscriber, struct peer, subscriber);
}

struct peer *peer_of_party(struct call_party *party)
{
    return CONTAINER_OF(party, struct peer, calls);
}

struct peer *peer_of_publisher(struct receipt_party *party)
{
    return CONTAINER_OF(party, struct peer, receipts);
}

struct peer *peer_of_holder(struct retained_holder *holder)
{
    return holder ? CONTAINER_OF(holder, struct peer, values) : NULL;
}

struct peer *peer_of_watcher(struct watcher *watcher)
{
    return CONTAINER_OF(watcher, struct peer, watcher);
}

struct peer *peer_of_connection(struct connection *connection)
{
    return CONTAINER_OF(connection, struct peer, connection);
}
