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
    deadlines_init(&hub->deadlines, hub_now(hub));
    calls_init(&hub->calls, &hub->deadlines);
    monitors_init(&hub->monitors);
    chunk_arena_init(&hub->arena);
    return 0;
}

void hub_deinit(struct hub *hub)
{
    LIST_FOREACH_SAFE (node, &hub->reloads)
        free(LIST_ENTRY(node, struct hub_reload, link));
    calls_deinit(&hub->calls);
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
    struct peer *peer = owned ? peer_of_owner(name_get_owner(owned)) : NULL;
    return peer && !peer->doomed ? peer : NULL;
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

struct peer *peer_of_watcher(struct watcher *watcher)
{
    return CONTAINER_OF(watcher, struct peer, watcher);
}

struct peer *peer_of_connection(struct connection *connection)
{
    return CONTAINER_OF(connection, struct peer, connection);
}
