/* SPDX-License-Identifier: MIT */
#include "busd/broker.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "busd/dispatch.h"
#include "busd/driver.h"
#include "busd/fatal.h"
#include "busd/watch.h"
#include "libbus/base/macros.h"
#include "libbus/wire/sockio.h"

/* ---------------------------------------------------------- connections */

static void on_line(struct connection *connection, enum lines_result result,
                    const struct line *line)
{
    dispatch_line(peer_of_connection(connection), result, line);
}

/* Ends the peer because of an error, with the reason if it has not just left. */
static void doom_by_error(struct peer *peer, const char *what, int error)
{
    fatal_check(hub_of(peer)->log, what, error);
    if (error == 0 || error == -ECONNRESET || error == -EPIPE)
        peer_doom(peer, NULL);
    else
        peer_doom(peer, "%s: %s", what, strerror(-error));
}

static void on_end(struct connection *connection, int error)
{
    doom_by_error(peer_of_connection(connection), "reading from it failed", error);
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

static const struct connection_handler handler = {
    .line = on_line,
    .end = on_end,
    .writable = on_writable,
    .refused = on_refused,
};

/* A client that cannot be let in is told why, if its socket takes it. */
static void turn_away(struct broker *broker, int fd, const char *reason)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;

    text_printf(&text,
                "{\"sender\":\"bus\",\"type\":\"error\",\"error\":\"%s\",\"message\":\"%s\"}\n",
                wire_error_name(WIRE_LIMIT_EXCEEDED), reason);
    struct iovec iov = {text.data, text.size};
    if (!text.failed && sockio_send(fd, &iov, 1, NULL) < 0)
        log_limited(broker->log, LOG_LEVEL_DEBUG, "a client left before it could be turned away");
    log_limited(broker->log, LOG_LEVEL_WARNING, "turned a client away: %s", reason);
    closer_take_fd(&broker->hub.shared.closer, fd);
}

static void on_accept(struct listener *listener, int fd, void *userdata)
{
    struct broker *broker = userdata;
    struct hub *hub = &broker->hub;
    struct credentials credentials;
    struct peer *peer;

    if (hub->peers.by_id.count >= hub->limits.connections) {
        turn_away(broker, fd, "the bus has all the connections it may have (connections)");
        return;
    }
    int r = credentials_read(&credentials, fd);
    if (r == 0) {
        r = peer_new(&hub->peers, &hub->shared, fd, &credentials, hub->limits.message_bytes, &peer);
        credentials_deinit(&credentials);
    }
    if (r < 0) {
        turn_away(broker, fd, strerror(-r));
        return;
    }
    log_write(broker->log, LOG_LEVEL_DEBUG, "%.*s connected: uid %" PRIu32 ", pid %d",
              SPAN_ARGS(peer_name(peer)), (uint32_t)peer->credentials.uid,
              (int)peer->credentials.pid);
    if (!peer->doomed)
        driver_welcome(hub, peer);
}

/* --------------------------------------------------------- once a turn */

static void bury(struct broker *broker, struct peer *peer)
{
    struct hub *hub = &broker->hub;

    list_remove(&peer->doomed_link);
    if (peer->reason) {
        log_limited(broker->log, LOG_LEVEL_NOTICE, "%.*s (uid %" PRIu32 ", pid %d) is cut: %s",
                    SPAN_ARGS(peer_name(peer)), (uint32_t)peer->credentials.uid,
                    (int)peer->credentials.pid, peer->reason);
        answer_goodbye(hub, peer, peer->reason);
    } else {
        log_write(broker->log, LOG_LEVEL_DEBUG, "%.*s has gone", SPAN_ARGS(peer_name(peer)));
    }
    dispatch_goodbye(hub, peer);
    /* What it can still take it shall have; nobody waits for more. */
    connection_flush(&peer->connection);
    hub->bytes_sent += peer->connection.bytes_sent;
    peer_close(peer);
}

static void flush(struct hub *hub, struct peer *peer)
{
    list_remove(&peer->dirty_link);
    if (peer->doomed)
        return;
    int r = connection_flush(&peer->connection);
    if (r < 0)
        doom_by_error(peer, "writing to it failed", r);
    else if (peer->overflow)
        announce_overflow(hub, peer);
}

/* Writing can doom a peer, and burying one makes more to write: until all is
 * quiet, so that nobody doomed sleeps through the wait. */
static void settle(struct broker *broker)
{
    struct peers *peers = &broker->hub.peers;
    struct list *node;

    while (!list_is_empty(&peers->doomed) || !list_is_empty(&peers->dirty)) {
        while ((node = list_first(&peers->doomed)))
            bury(broker, LIST_ENTRY(node, struct peer, doomed_link));
        while ((node = list_first(&peers->dirty)))
            flush(&broker->hub, LIST_ENTRY(node, struct peer, dirty_link));
    }
    chunk_arena_reset(&broker->hub.arena);
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
    settle(broker);
    if (list_is_empty(&broker->hub.peers.all))
        uv_stop(&broker->loop);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct broker *broker = CONTAINER_OF(prepare, struct broker, prepare);

    dispatch_deadlines(&broker->hub, hub_now(&broker->hub));
    settle(broker);
    if (broker->draining)
        finish_draining(broker);
    arm_deadline_timer(broker);
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
        if (!peer->doomed && connection_read(&peer->connection) < 0)
            peer_doom(peer, NULL);
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
    int r = watch_init();
    if (r == 0)
        r = uv_loop_init(&broker->loop);
    if (r == 0) {
        r = hub_init(&broker->hub, log, &broker->loop, &handler, &config->limits);
        if (r < 0)
            uv_loop_close(&broker->loop);
    }
    if (r < 0) {
        log_write(log, LOG_LEVEL_ERROR, "cannot start: %s", strerror(-r));
        watch_deinit();
        return r;
    }
    uv_timer_init(&broker->loop, &broker->deadline_timer);
    uv_timer_init(&broker->loop, &broker->drain_timer);
    uv_prepare_init(&broker->loop, &broker->prepare);
    uv_prepare_start(&broker->prepare, on_prepare);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        broker->signals[i].data = broker;
        r = uv_signal_init(&broker->loop, &broker->signals[i]);
        if (r == 0)
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
    settle(broker);
    connection_shared_close(&broker->hub.shared);
    uv_close((uv_handle_t *)&broker->prepare, NULL);
    uv_close((uv_handle_t *)&broker->deadline_timer, NULL);
    uv_close((uv_handle_t *)&broker->drain_timer, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(broker->signals); i++)
        if (broker->signals[i].loop)
            uv_close((uv_handle_t *)&broker->signals[i], NULL);
    /* The handles' close callbacks. */
    uv_run(&broker->loop, UV_RUN_DEFAULT);
    hub_deinit(&broker->hub);
    int r = uv_loop_close(&broker->loop);
    assert(r == 0);
    (void)r;
    watch_deinit();
}
