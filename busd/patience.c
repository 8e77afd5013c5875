/* SPDX-License-Identifier: MIT */
#include "busd/patience.h"

#include <inttypes.h>

#include "libbus/wire/sockio.h"

/* Deadlines are not moved with every byte: when one passes, the last progress says
 * whether it has been meant. */
static void start(struct hub *hub, struct deadline *deadline, uint64_t timeout)
{
    if (timeout > 0 && !deadline_is_set(deadline))
        deadlines_add(&hub->deadlines, deadline, hub_now(hub) + timeout);
}

/* Whether there has been progress within the timeout; then the deadline is put off. */
static bool put_off(struct hub *hub, struct deadline *deadline, uint64_t progress, uint64_t timeout)
{
    if (progress + timeout <= hub_now(hub))
        return false;
    deadlines_add(&hub->deadlines, deadline, progress + timeout);
    return true;
}

void patience_await_message(struct hub *hub, struct peer *peer)
{
    start(hub, &peer->unproven, peer->limits->unproven_timeout);
}

void patience_prove(struct hub *hub, struct peer *peer)
{
    peer->proven = true;
    charge_give_back(&peer->unproven_charge);
    deadlines_remove(&hub->deadlines, &peer->unproven);
}

void patience_await_line(struct hub *hub, struct peer *peer)
{
    if (peer->connection.unfinished)
        start(hub, &peer->line, peer->limits->line_timeout);
    else
        deadlines_remove(&hub->deadlines, &peer->line);
}

/* File descriptors are waited for as long as bytes beyond the limit: they may be the very
 * connections that they wait for, handed on by clients that have left, and then nobody
 * would ever close them. */
static bool is_stalled(const struct peer *peer)
{
    const struct outq *outq = &peer->connection.outq;

    return connection_is_blocked(&peer->connection) &&
           (peer->overflow || outq->bytes > peer->limits->queue_bytes || outq->fds > 0 ||
            !list_is_empty(&peer->backlog.waiters));
}

void patience_await_reading(struct hub *hub, struct peer *peer)
{
    bool stalled = is_stalled(peer);

    if (stalled == peer->stalled)
        return;
    peer->stalled = stalled;
    if (stalled) {
        peer->unread = sockio_unread(peer->connection.fd);
        start(hub, &peer->stall, peer->limits->stall_timeout);
    } else {
        deadlines_remove(&hub->deadlines, &peer->stall);
    }
}

/* Whether the peer has read something within the timeout. A socket may take more only
 * when most of it has been read; what it holds says it earlier. */
static bool has_read(struct hub *hub, struct peer *peer)
{
    int before = peer->unread;

    peer->unread = sockio_unread(peer->connection.fd);
    if (put_off(hub, &peer->stall, peer->connection.wrote_at, peer->limits->stall_timeout))
        return true;
    return peer->unread < before &&
           put_off(hub, &peer->stall, hub_now(hub), peer->limits->stall_timeout);
}

/* One that is not read from cannot be blamed for what does not come. */
static bool is_paused(struct hub *hub, struct deadline *deadline, const struct peer *peer,
                      uint64_t timeout)
{
    return connection_is_paused(&peer->connection) && put_off(hub, deadline, hub_now(hub), timeout);
}

void patience_expire(struct hub *hub, struct deadline *deadline)
{
    struct peer *peer;

    switch (deadline->kind) {
    case DEADLINE_UNPROVEN:
        peer = CONTAINER_OF(deadline, struct peer, unproven);
        if (is_paused(hub, deadline, peer, peer->limits->unproven_timeout))
            break;
        peer_doom(peer, "no valid message has come within %" PRIu64 " ms (unproven_timeout)",
                  peer->limits->unproven_timeout);
        break;
    case DEADLINE_LINE:
        peer = CONTAINER_OF(deadline, struct peer, line);
        if (!is_paused(hub, deadline, peer, peer->limits->line_timeout) &&
            !put_off(hub, deadline, peer->connection.read_at, peer->limits->line_timeout))
            peer_doom(peer, "the rest of a line has not come within %" PRIu64 " ms (line_timeout)",
                      peer->limits->line_timeout);
        break;
    case DEADLINE_STALL:
        peer = CONTAINER_OF(deadline, struct peer, stall);
        if (!has_read(hub, peer))
            peer_doom(peer,
                      "it has read nothing for %" PRIu64 " ms (stall_timeout), and %zu bytes "
                      "with %u file descriptors wait for it",
                      peer->limits->stall_timeout, peer->connection.outq.bytes,
                      peer->connection.outq.fds);
        break;
    }
}

void patience_leave(struct hub *hub, struct peer *peer)
{
    deadlines_remove(&hub->deadlines, &peer->unproven);
    deadlines_remove(&hub->deadlines, &peer->line);
    deadlines_remove(&hub->deadlines, &peer->stall);
}
