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
#include "libbus/wire/sockio.h"

void peers_init(struct peers *peers)
{
    *peers = (struct peers){0};
    hash_init(&peers->by_id);
    list_init(&peers->all);
    list_init(&peers->urgent);
    list_init(&peers->dirty);
    list_init(&peers->doomed);
}

void peers_deinit(struct peers *peers)
{
    assert(list_is_empty(&peers->all) && peers->closing == 0);
    hash_deinit(&peers->by_id);
}

static void init_handles(struct peer *peer, struct quota_user *user)
{
    list_init(&peer->link);
    list_init(&peer->user_link);
    list_init(&peer->dirty_link);
    list_init(&peer->doomed_link);
    deadline_init(&peer->unproven, DEADLINE_UNPROVEN);
    deadline_init(&peer->line, DEADLINE_LINE);
    deadline_init(&peer->stall, DEADLINE_STALL);
    name_owner_init(&peer->names, user);
    subscriber_init(&peer->subscriber, user);
    call_party_init(&peer->calls, user);
    receipt_party_init(&peer->receipts, user);
    retained_holder_init(&peer->values, user);
    watcher_init(&peer->watcher, user);
    backlog_init(&peer->backlog);
    backlog_init(&peer->streams);
}

/* Charges the connection as such. */
static int charge(struct peer *peer, const struct lane *lane, enum quota_slot *ret_slot)
{
    struct quota_user *user = lane->user;

    *ret_slot = QUOTA_CONNECTIONS;
    if (!lane_has_room(lane))
        return WIRE_LIMIT_EXCEEDED;
    int r = charge_one(&peer->connection_charge, user, QUOTA_CONNECTIONS);
    if (r != 0)
        return r;
    *ret_slot = QUOTA_UNPROVEN;
    r = charge_one(&peer->unproven_charge, user, QUOTA_UNPROVEN);
    if (r != 0)
        charge_give_back(&peer->connection_charge);
    return r;
}

static struct peer *allocate(struct peers *peers, const struct peer_options *options)
{
    struct peer *peer = calloc(1, sizeof(*peer));

    if (!peer || !(peer->label = strdup(options->label))) {
        free(peer);
        return NULL;
    }
    peer->peers = peers;
    peer->id = peers->last_id + 1;
    peer->prefix_size = (unsigned char)snprintf(peer->prefix, sizeof(peer->prefix),
                                                "{\"sender\":\":%" PRIu64 "\",", peer->id);
    peer->since = clock_seconds(CLOCK_REALTIME);
    init_handles(peer, options->user);
    return peer;
}

/* Charges it, makes it known by its id, and gives it the socket. */
static int set_up(struct peer *peer, struct connection_shared *shared, struct fds *socket,
                  struct lane *lane, const struct peer_options *options, enum quota_slot *ret_slot)
{
    struct hash *by_id = &peer->peers->by_id;

    int r = charge(peer, lane, ret_slot);
    if (r != 0)
        return r;
    r = hash_add(by_id, &peer->by_id, hash_of(by_id, &peer->id, sizeof(peer->id)));
    if (r == 0) {
        r = connection_init(&peer->connection, shared, socket, lane,
                            options->limits->message_bytes);
        share_holder_init(&peer->connection.shares, options->shares);
        if (r < 0)
            hash_remove(by_id, &peer->by_id);
    }
    if (r < 0) {
        charge_give_back(&peer->unproven_charge);
        charge_give_back(&peer->connection_charge);
    }
    return r;
}

int peer_new(struct peers *peers, struct connection_shared *shared, struct fds *socket,
             const struct peer_options *options, enum quota_slot *ret_slot, struct peer **ret_peer)
{
    struct quota_user *user = options->user;
    struct peer *peer = allocate(peers, options);
    struct lane *lane = peer ? lane_get(&shared->lanes, user) : NULL;

    int r = lane ? set_up(peer, shared, socket, lane, options, ret_slot) : -ENOMEM;
    lane_unref(lane);
    if (r != 0) {
        if (peer)
            free(peer->label);
        free(peer);
        return r;
    }
    peer->user = user;
    user->refs++;
    peers->last_id = peer->id;
    list_append(&peers->all, &peer->link);
    peer->view = options->view;
    peer->limits = options->limits;
    list_append(&user->members, &peer->user_link);
    peer->credentials = *options->credentials;
    *options->credentials = (struct credentials){0};
    r = connection_start(&peer->connection);
    if (r < 0)
        peer_doom(peer, "it cannot be read from: %s", strerror(-r));
    *ret_peer = peer;
    return 0;
}

void peer_let_fds_in(struct peer *peer)
{
    bool allow = peer->limits->fds_per_message > 0;

    if (allow == peer->lets_fds_in)
        return;
    int r = sockio_let_fds_in(peer->connection.fd, allow);
    if (r < 0 && r != -ENOPROTOOPT)
        peer_doom(peer, "it cannot be said whether it may send file descriptors: %s", strerror(-r));
    peer->lets_fds_in = allow;
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
    if (list_is_empty(&peer->dirty_link)) {
        peer->urgent = false;
        peer->connection.shared->effort += CONNECTION_CALL_EFFORT;
        list_append(&peer->peers->dirty, &peer->dirty_link);
    }
}

void peer_set_urgent(struct peer *peer)
{
    if (!list_is_empty(&peer->dirty_link)) {
        if (peer->urgent)
            return;
        list_remove(&peer->dirty_link);
    }
    peer->connection.shared->effort += CONNECTION_CALL_EFFORT;
    peer->urgent = true;
    list_append(&peer->peers->urgent, &peer->dirty_link);
}

void peer_await(struct peer *peer, struct backlog_waiter *waiter)
{
    const struct connection *connection = &peer->connection;

    backlog_wait(&peer->backlog, waiter, connection->bytes_sent + connection->outq.bytes);
}

unsigned peer_wake(struct peer *peer, unsigned max)
{
    uint64_t position = peer->connection.bytes_sent + peer->limits->queue_soft_bytes;

    return backlog_wake(&peer->backlog, peer_is_behind(peer) ? position : UINT64_MAX, max);
}

void peer_cut_largest(struct quota_user *user)
{
    struct peer *largest = NULL;
    uint64_t max;

    LIST_FOREACH (node, &user->members) {
        struct peer *peer = LIST_ENTRY(node, struct peer, user_link);
        if (!peer->doomed &&
            (!largest || peer->connection.bytes.amount > largest->connection.bytes.amount))
            largest = peer;
    }
    if (!largest)
        return;
    const char *limit = quota_limit(user, QUOTA_BYTES, &max);
    peer_doom(largest,
              "the connections of user %" PRIu32 " leave more unread or unfinished than they may "
              "(%s, %" PRIu64 "), and this one the most: %" PRIu64 " bytes",
              (uint32_t)user->uid, limit, max, largest->connection.bytes.amount);
    /* It will be gone when the turn ends: nobody else shall be cut for its sake. */
    charge_give_back(&largest->connection.bytes);
}

bool peer_may_hold_fds(struct peer *peer, unsigned more, uint64_t now)
{
    struct quota_user *user = peer->user;
    struct charge *charge = &peer->connection.fds;

    if (charge_fits(charge, charge->amount + more))
        return true;
    connection_look_for_fds(&peer->connection);
    if (charge_fits(charge, charge->amount + more))
        return true;
    /* Looking takes a system call for each: not more than once in a millisecond. */
    if (user->checked == now)
        return false;
    user->checked = now;
    LIST_FOREACH (node, &user->members)
        connection_look_for_fds(&LIST_ENTRY(node, struct peer, user_link)->connection);
    return charge_fits(charge, charge->amount + more);
}

static void on_closed(uv_handle_t *handle)
{
    struct peer *peer = CONTAINER_OF((uv_poll_t *)handle, struct peer, connection.poll);

    peer->peers->closing--;
    free(peer);
}

void peer_close(struct peer *peer)
{
    assert(list_is_empty(&peer->backlog.waiters) && list_is_empty(&peer->streams.waiters));
    list_remove(&peer->link);
    list_remove(&peer->user_link);
    list_remove(&peer->dirty_link);
    list_remove(&peer->doomed_link);
    hash_remove(&peer->peers->by_id, &peer->by_id);
    credentials_deinit(&peer->credentials);
    peer->view = policy_view_unref(peer->view);
    free(TAKE(peer->label));
    free(TAKE(peer->reason));
    free(TAKE(peer->overflow));
    peer->peers->closing++;
    connection_close(&peer->connection, on_closed);
    charge_give_back(&peer->unproven_charge);
    charge_give_back(&peer->connection_charge);
    peer->user = quota_user_unref(peer->user);
}
