/* SPDX-License-Identifier: MIT */
#include "busd/broker.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "busd/dispatch.h"
#include "busd/driver.h"
#include "libbus/base/macros.h"
#include "libbus/wire/sockio.h"

/* ---------------------------------------------------------- connections */

static void on_line(struct connection *connection, enum lines_result result,
                    const struct line *line)
{
    dispatch_line(peer_of_connection(connection), result, line);
}

/* Ends a client whose socket does not work any more. That the other side is closed is
 * its own doing, and needs no words. */
static void lose(struct peer *peer, int error)
{
    if (error == 0 || error == -ECONNRESET || error == -EPIPE)
        peer_doom(peer, NULL);
    else
        peer_doom(peer, "its socket failed: %s", strerror(-error));
}

static void on_end(struct connection *connection, int error)
{
    lose(peer_of_connection(connection), error);
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
    struct log_subject subject = {.uid = (uid_t)-1};
    CLEANUP(text_deinit) struct text text = TEXT_INIT;

    text_printf(&text,
                "{\"sender\":\"bus\",\"type\":\"error\",\"error\":\"%s\",\"message\":\"%s\"}\n",
                wire_error_name(WIRE_LIMIT_EXCEEDED), reason);
    struct iovec iov = {text.data, text.size};
    bool told = !text.failed && sockio_send(fd, &iov, 1, NULL) >= 0;
    credentials_peek(fd, &subject.uid, &subject.pid);
    log_about(broker->log, LOG_LEVEL_WARNING, &subject, "turned away", "%s%s", reason,
              told ? "" : " (and was not told)");
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
    struct log_subject subject = peer_subject(peer);
    log_about(broker->log, LOG_LEVEL_DEBUG, &subject, "connected", NULL);
    driver_welcome(hub, peer);
}

/* --------------------------------------------------------- once a turn */

static void bury(struct broker *broker, struct peer *peer)
{
    struct hub *hub = &broker->hub;

    list_remove(&peer->doomed_link);
    struct log_subject subject = peer_subject(peer);
    if (peer->reason) {
        log_about(broker->log, LOG_LEVEL_NOTICE, &subject, "cut", "%s", peer->reason);
        answer_goodbye(hub, peer, peer->reason);
    } else {
        log_about(broker->log, LOG_LEVEL_DEBUG, &subject, "gone", "%s",
                  broker->draining ? "the bus is shutting down" : "it has closed its end");
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
        lose(peer, r);
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

    LIST_FOREACH (node, &broker->hub.peers.all) {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        struct log_subject subject = peer_subject(peer);
        log_about(broker->log, LOG_LEVEL_NOTICE, &subject, "left behind",
                  "it has not read all that was for it when the bus had to end");
        peer_doom(peer, NULL);
    }
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

int broker_listen(struct broker *broker, struct endpoint *endpoint)
{
    struct listener *listener;

    int r = listener_new(&broker->loop, broker->log, endpoint, on_accept, broker, &listener);
    if (r == 0)
        list_append(&broker->listeners, &listener->link);
    return r;
}

struct errand {
    uv_work_t work;
    bool done;
};

static void do_nothing(uv_work_t *work)
{
}

static void on_errand_done(uv_work_t *work, int status)
{
    CONTAINER_OF(work, struct errand, work)->done = true;
}

/* The first piece of work makes libuv start its threads, and wait until they run. */
int broker_start_threads(struct broker *broker)
{
    struct errand errand = {.done = false};

    int r = uv_queue_work(&broker->loop, &errand.work, do_nothing, on_errand_done);
    if (r < 0) {
        log_write(broker->log, LOG_LEVEL_ERROR, "cannot start threads: %s", uv_strerror(r));
        return r;
    }
    while (!errand.done)
        uv_run(&broker->loop, UV_RUN_ONCE);
    return 0;
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
    /* The handles' close callbacks, and what the closer still has in hand. */
    uv_run(&broker->loop, UV_RUN_DEFAULT);
    hub_deinit(&broker->hub);
    int r = uv_loop_close(&broker->loop);
    assert(r == 0);
    (void)r;
}
