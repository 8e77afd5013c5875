/* SPDX-License-Identifier: MIT */
#include "busd/peer.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/clock.h"
#include "libbus/base/macros.h"

void peers_init(struct peers *peers)
{
    *peers = (struct peers){0};
    hash_init(&peers->by_id);
    list_init(&peers->all);
    list_init(&peers->dirty);
    list_init(&peers->doomed);
}

void peers_deinit(struct peers *peers)
{
    assert(list_is_empty(&peers->all) && peers->closing == 0);
    hash_deinit(&peers->by_id);
}

int peer_new(struct peers *peers, struct connection_shared *shared, int fd,
             struct credentials *credentials, size_t message_bytes, struct peer **ret_peer)
{
    uint64_t id = peers->last_id + 1;
    struct peer *peer = calloc(1, sizeof(*peer));

    if (!peer)
        return -ENOMEM;
    peer->peers = peers;
    peer->id = id;
    peer->prefix_size = (unsigned char)snprintf(peer->prefix, sizeof(peer->prefix),
                                                "{\"sender\":\":%" PRIu64 "\",", id);
    peer->since = clock_seconds(CLOCK_REALTIME);
    list_init(&peer->link);
    list_init(&peer->dirty_link);
    list_init(&peer->doomed_link);
    name_owner_init(&peer->names);
    subscriber_init(&peer->subscriber);
    call_party_init(&peer->calls);
    watcher_init(&peer->watcher);
    if (hash_add(&peers->by_id, &peer->by_id, hash_of(&peers->by_id, &id, sizeof(id))) < 0) {
        free(peer);
        return -ENOMEM;
    }
    int r = connection_init(&peer->connection, shared, fd, message_bytes);
    if (r < 0) {
        hash_remove(&peers->by_id, &peer->by_id);
        free(peer);
        return r;
    }
    peers->last_id = id;
    list_append(&peers->all, &peer->link);
    peer->credentials = *credentials;
    *credentials = (struct credentials){0};
    r = connection_start(&peer->connection);
    if (r < 0)
        peer_doom(peer, "it cannot be read from: %s", strerror(-r));
    *ret_peer = peer;
    return 0;
}

struct peer *peers_find(const struct peers *peers, uint64_t id)
{
    HASH_FOREACH (node, &peers->by_id, hash_of(&peers->by_id, &id, sizeof(id))) {
        struct peer *peer = CONTAINER_OF(node, struct peer, by_id);
        if (peer->id == id)
            return peer->doomed ? NULL : peer;
    }
    return NULL;
}

void peer_doom(struct peer *peer, const char *format, ...)
{
    va_list args;

    if (peer->doomed)
        return;
    peer->doomed = true;
    connection_stop(&peer->connection);
    list_append(&peer->peers->doomed, &peer->doomed_link);
    if (!format)
        return;
    va_start(args, format);
    if (vasprintf(&peer->reason, format, args) < 0)
        peer->reason = NULL;
    va_end(args);
}

void peer_set_dirty(struct peer *peer)
{
    if (list_is_empty(&peer->dirty_link))
        list_append(&peer->peers->dirty, &peer->dirty_link);
}

static void on_closed(uv_handle_t *handle)
{
    struct peer *peer = CONTAINER_OF((uv_poll_t *)handle, struct peer, connection.poll);

    peer->peers->closing--;
    free(peer);
}

void peer_close(struct peer *peer)
{
    list_remove(&peer->link);
    list_remove(&peer->dirty_link);
    list_remove(&peer->doomed_link);
    hash_remove(&peer->peers->by_id, &peer->by_id);
    credentials_deinit(&peer->credentials);
    free(TAKE(peer->reason));
    free(TAKE(peer->overflow));
    peer->peers->closing++;
    connection_close(&peer->connection, on_closed);
}
