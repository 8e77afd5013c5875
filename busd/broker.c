/* SPDX-License-Identifier: MIT */
#include "busd/broker.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "busd/dispatch.h"
#include "busd/driver.h"
#include "busd/patience.h"
#include "libbus/base/macros.h"
#include "libbus/wire/sockio.h"

#define REASON_SIZE 160

/* ---------------------------------------------------------- connections */

static void on_line(struct connection *connection, enum lines_result result,
                    const struct line *line)
{
    dispatch_line(peer_of_connection(connection), result, line);
}

static void on_end(struct connection *connection, int error)
{
    struct peer *peer = peer_of_connection(connection);

    if (error == -EBADMSG)
        peer_doom(peer, "its file descriptors are out of step with its lines");
    else
        peer_doom(peer, NULL);
}

static void on_writable(struct connection *connection)
{
    peer_set_dirty(peer_of_connection(connection));
}

static void on_refused(struct connection *connection, const struct piece *piece)
{
    struct peer *peer = peer_of_connection(connection);

    answer_refused(hub_of(peer), peer, piece);
}

static void on_unfinished(struct connection *connection)
{
    struct peer *peer = peer_of_connection(connection);

    patience_await_line(hub_of(peer), peer);
}

static void on_too_much(struct connection *connection)
{
    peer_cut_largest(peer_of_connection(connection)->user);
}

static bool on_fds_fit(struct connection *connection, unsigned more)
{
    struct peer *peer = peer_of_connection(connection);

    return peer_may_hold_fds(peer, more, hub_now(hub_of(peer)));
}

static const struct connection_handler handler = {
    .line = on_line,
    .end = on_end,
    .writable = on_writable,
    .refused = on_refused,
    .unfinished = on_unfinished,
    .too_much = on_too_much,
    .fds_fit = on_fds_fit,
};

/* A client that cannot be let in is told why, if its socket takes it. */
static void turn_away(struct broker *broker, int fd, const char *reason)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;

    text_printf(&text,
                "{\"sender\":\"bus\",\"type\":\"error\",\"error\":\"%s\",\"message\":\"%s\"}\n",
                wire_error_name(WIRE_LIMIT_EXCEEDED), reason);
    log_limited(broker->log, LOG_LEVEL_WARNING, "turned a client away: %s", reason);
    struct iovec iov = {text.data, text.size};
    if (!text.failed && sockio_send(fd, &iov, 1, NULL) < 0)
        log_limited(broker->log, LOG_LEVEL_DEBUG, "a client left before it could be turned away");
    closer_take_fd(&broker->hub.shared.closer, fd);
}

/* 0 with the peer; else why not. */
static int make_peer(struct hub *hub, int fd, char reason[REASON_SIZE], struct peer **ret_peer)
{
    struct credentials credentials;
    enum quota_slot slot;
    uint64_t max = hub->limits.connections;

    if (hub->peers.by_id.count >= max) {
        snprintf(reason, REASON_SIZE,
                 "the bus has all the %" PRIu64 " connections it may have (connections)", max);
        return WIRE_LIMIT_EXCEEDED;
    }
    int r = credentials_read(&credentials, fd);
    if (r < 0) {
        snprintf(reason, REASON_SIZE, "%s", strerror(-r));
        return r;
    }
    struct quota_user *user = quotas_get_user(&hub->quotas, credentials.uid);
    r = user ? peer_new(&hub->peers, &hub->shared, fd, user, &credentials,
                        hub->limits.message_bytes, &slot, ret_peer)
             : -ENOMEM;
    if (r > 0) {
        const char *limit = quota_limit(user, slot, &max);
        snprintf(reason, REASON_SIZE,
                 "user %" PRIu32 " (pid %d) has all the %" PRIu64 " connections it may have%s (%s)",
                 (uint32_t)credentials.uid, (int)credentials.pid, max,
                 slot == QUOTA_UNPROVEN ? " that have not sent a valid message" : "", limit);
    } else if (r < 0) {
        snprintf(reason, REASON_SIZE, "%s", strerror(-r));
    }
    quota_user_unref(user);
    credentials_deinit(&credentials);
    return r;
}

static void on_accept(struct listener *listener, int fd, void *userdata)
{
    struct broker *broker = userdata;
    struct hub *hub = &broker->hub;
    char reason[REASON_SIZE];
    struct peer *peer;

    if (make_peer(hub, fd, reason, &peer) != 0) {
        turn_away(broker, fd, reason);
        return;
    }
    log_write(broker->log, LOG_LEVEL_DEBUG, "%.*s connected: uid %" PRIu32 ", pid %d",
              SPAN_ARGS(peer_name(peer)), (uint32_t)peer->credentials.uid,
              (int)peer->credentials.pid);
    patience_await_message(hub, peer);
    driver_welcome(hub, peer);
}

/* --------------------------------------------------------- once a turn */

/* The first thing at a peer's end: says why. */
static void begin_end(struct broker *broker, struct peer *peer)
{
    peer->leaving = true;
    if (peer->reason) {
        log_limited(broker->log, LOG_LEVEL_NOTICE, "%.*s (uid %" PRIu32 ", pid %d) is cut: %s",
                    SPAN_ARGS(peer_name(peer)), (uint32_t)peer->credentials.uid,
                    (int)peer->credentials.pid, peer->reason);
        answer_goodbye(&broker->hub, peer, peer->reason);
    } else {
        log_write(broker->log, LOG_LEVEL_DEBUG, "%.*s has gone", SPAN_ARGS(peer_name(peer)));
    }
}

/* Removes as many traces of a doomed peer as there are to be removed in this turn; it
 * ends with the last one. */
static void bury(struct broker *broker, struct peer *peer, unsigned *traces)
{
    struct hub *hub = &broker->hub;

    if (!peer->leaving)
        begin_end(broker, peer);
    if (!dispatch_goodbye(hub, peer, traces))
        return;
    patience_leave(hub, peer);
    /* What it can still take it shall have; nobody waits for more. */
    connection_flush(&peer->connection);
    hub->bytes_sent += peer->connection.bytes_sent;
    peer_close(peer);
}

/* How much effort it has been. */
static unsigned flush(struct hub *hub, struct peer *peer)
{
    uint64_t before = peer->connection.bytes_sent;

    list_remove(&peer->dirty_link);
    if (peer->doomed)
        return 0;
    if (connection_flush(&peer->connection) < 0)
        peer_doom(peer, NULL);
    else if (peer->overflow)
        announce_overflow(hub, peer);
    patience_await_reading(hub, peer);
    uint64_t sent = peer->connection.bytes_sent - before;
    return sent > 0 ? BROKER_WRITE_EFFORT_QUEUE + (unsigned)(sent / BROKER_WRITE_EFFORT_BYTES) : 1;
}

/* Writing can doom a peer, and burying one makes more to write: until all is quiet, or
 * until what one turn may do of it is done. Calls and answers are always written. */
static void settle(struct broker *broker, unsigned traces)
{
    struct peers *peers = &broker->hub.peers;
    unsigned effort = 0;
    struct list *node;

    for (;;) {
        if (traces > 0 && (node = list_first(&peers->doomed)))
            bury(broker, LIST_ENTRY(node, struct peer, doomed_link), &traces);
        else if ((node = list_first(&peers->urgent)))
            flush(&broker->hub, LIST_ENTRY(node, struct peer, dirty_link));
        else if (effort < BROKER_WRITE_EFFORT && (node = list_first(&peers->dirty)))
            effort += flush(&broker->hub, LIST_ENTRY(node, struct peer, dirty_link));
        else
            break;
    }
    if (list_is_empty(&peers->dirty))
        chunk_arena_reset(&broker->hub.arena);
}

static void on_again(uv_idle_t *again)
{
}

/* The loop does not wait while there is something left to do. */
static void arm_again(struct broker *broker)
{
    const struct hub *hub = &broker->hub;

    if (list_is_empty(&hub->peers.dirty) && list_is_empty(&hub->peers.doomed) &&
        !connections_wait(&hub->shared))
        uv_idle_stop(&broker->again);
    else
        uv_idle_start(&broker->again, on_again);
}

/* Only wakes the loop: on_prepare() sees to the deadlines. */
static void on_deadline(uv_timer_t *timer)
{
    CONTAINER_OF(timer, struct broker, deadline_timer)->armed = UINT64_MAX;
}

static void arm_deadline_timer(struct broker *broker)
{
    uint64_t next = deadlines_next(&broker->hub.deadlines);
    uint64_t now = hub_now(&broker->hub);

    if (next == broker->armed)
        return;
    broker->armed = next;
    if (next == UINT64_MAX)
        uv_timer_stop(&broker->deadline_timer);
    else
        uv_timer_start(&broker->deadline_timer, on_deadline, next > now ? next - now : 0, 0);
}

/* While draining: whoever has read everything is let go, and the loop ends with the
 * last one. */
static void finish_draining(struct broker *broker)
{
    LIST_FOREACH (node, &broker->hub.peers.all) {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        if (outq_is_empty(&peer->connection.outq))
            peer_doom(peer, NULL);
    }
    settle(broker, UINT_MAX);
    if (list_is_empty(&broker->hub.peers.all))
        uv_stop(&broker->loop);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct broker *broker = CONTAINER_OF(prepare, struct broker, prepare);

    connections_begin_turn(&broker->hub.shared);
    dispatch_deadlines(&broker->hub, hub_now(&broker->hub));
    settle(broker, BROKER_TRACES);
    if (broker->draining)
        finish_draining(broker);
    arm_deadline_timer(broker);
    arm_again(broker);
}

/* ---------------------------------------------------------------- drain */

static void on_drain_over(uv_timer_t *timer)
{
    struct broker *broker = CONTAINER_OF(timer, struct broker, drain_timer);

    LIST_FOREACH (node, &broker->hub.peers.all)
        peer_doom(LIST_ENTRY(node, struct peer, link), NULL);
}

static void close_listeners(struct broker *broker)
{
    LIST_FOREACH_SAFE (node, &broker->listeners)
        listener_close(LIST_ENTRY(node, struct listener, link));
}

/* Routes what has been received already, takes nothing more, tells everybody, and
 * writes what is queued for at most BROKER_DRAIN_MS. */
static void on_signal(uv_signal_t *signal, int number)
{
    struct broker *broker = signal->data;

    if (broker->draining)
        return;
    log_write(broker->log, LOG_LEVEL_INFO, "stopping: %s", strsignal(number));
    close_listeners(broker);
    LIST_FOREACH (node, &broker->hub.peers.all) {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        connection_finish(&peer->connection);
        if (!peer->doomed && connection_read(&peer->connection) < 0)
            peer_doom(peer, NULL);
        connection_finish(&peer->connection);
    }
    LIST_FOREACH (node, &broker->hub.peers.all) {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        connection_stop(&peer->connection);
        answer_goodbye(&broker->hub, peer, "the bus is shutting down");
    }
    broker->draining = true;
    uv_timer_start(&broker->drain_timer, on_drain_over, BROKER_DRAIN_MS, 0);
}

/* -------------------------------------------------------------- lifetime */

int broker_init(struct broker *broker, struct log *log, const struct config *config)
{
    static const int numbers[] = {SIGTERM, SIGINT};

    *broker = (struct broker){.log = log, .armed = UINT64_MAX};
    list_init(&broker->listeners);
    int r = uv_loop_init(&broker->loop);
    if (r == 0) {
        r = hub_init(&broker->hub, log, &broker->loop, &handler, &config->limits);
        if (r < 0)
            uv_loop_close(&broker->loop);
    }
    if (r < 0) {
        log_write(log, LOG_LEVEL_ERROR, "cannot start: %s", strerror(-r));
        return r;
    }
    uv_timer_init(&broker->loop, &broker->deadline_timer);
    uv_timer_init(&broker->loop, &broker->drain_timer);
    uv_idle_init(&broker->loop, &broker->again);
    uv_prepare_init(&broker->loop, &broker->prepare);
    uv_prepare_start(&broker->prepare, on_prepare);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uv_signal_init(&broker->loop, &broker->signals[i]);
        broker->signals[i].data = broker;
        r = uv_signal_start(&broker->signals[i], on_signal, numbers[i]);
        if (r < 0) {
            log_write(log, LOG_LEVEL_ERROR, "cannot watch for signals: %s", uv_strerror(r));
            broker_deinit(broker);
            return r;
        }
    }
    return 0;
}

int broker_listen(struct broker *broker, const struct listener_options *options)
{
    struct listener *listener;

    int r = listener_new(&broker->loop, broker->log, options, on_accept, broker, &listener);
    if (r == 0)
        list_append(&broker->listeners, &listener->link);
    return r;
}

void broker_run(struct broker *broker)
{
    uv_run(&broker->loop, UV_RUN_DEFAULT);
}

void broker_deinit(struct broker *broker)
{
    close_listeners(broker);
    LIST_FOREACH (node, &broker->hub.peers.all)
        peer_doom(LIST_ENTRY(node, struct peer, link), NULL);
    settle(broker, UINT_MAX);
    connection_shared_close(&broker->hub.shared);
    uv_close((uv_handle_t *)&broker->again, NULL);
    uv_close((uv_handle_t *)&broker->prepare, NULL);
    uv_close((uv_handle_t *)&broker->deadline_timer, NULL);
    uv_close((uv_handle_t *)&broker->drain_timer, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(broker->signals); i++)
        if (broker->signals[i].loop)
            uv_close((uv_handle_t *)&broker->signals[i], NULL);
    /* The handles' close callbacks, and what the closer still has in hand. */
    uv_run(&broker->loop, UV_RUN_DEFAULT);
    hub_deinit(&broker->hub);
    int r = uv_loop_close(&broker->loop);
    assert(r == 0);
    (void)r;
}
