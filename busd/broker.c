/* SPDX-License-Identifier: MIT */
#include "busd/broker.h"

#include <assert.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "busd/audience.h"
#include "busd/dispatch.h"
#include "busd/fatal.h"
#include "busd/patience.h"
#include "busd/persist.h"
#include "busd/stream.h"
#include "busd/watch.h"
#include "libbus/base/macros.h"

#define DRAIN_TICK_MS 250

/* ---------------------------------------------------------- connections */

static void on_line(struct connection *connection, enum lines_result result,
                    const struct line *line)
{
    dispatch_line(peer_of_connection(connection), result, line);
}

/* Ends a client whose socket does not work any more. That the other side is closed is
 * its own doing, and needs no words. */
static void lose(struct peer *peer, const char *what, int error)
{
    fatal_check(hub_of(peer)->log, what, error);
    if (error == 0 || error == -ECONNRESET || error == -EPIPE)
        peer_doom(peer, NULL);
    else
        peer_doom(peer, "%s: %s", what, strerror(-error));
}

static void on_end(struct connection *connection, int error)
{
    if (error == -EBADMSG)
        peer_doom(peer_of_connection(connection),
                  "its file descriptors are out of step with its lines");
    else
        lose(peer_of_connection(connection), "reading from it failed", error);
}

static void on_writable(struct connection *connection)
{
    peer_set_dirty(peer_of_connection(connection));
}

static void on_refused(struct connection *connection, const struct piece *piece)
{
    struct peer *peer = peer_of_connection(connection);

    if (!stream_refused(hub_of(peer), peer, piece))
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

/* --------------------------------------------------------- once a turn */

/* The first thing at a peer's end: says why. */
static void begin_end(struct broker *broker, struct peer *peer)
{
    struct log_subject subject = peer_subject(peer);

    peer->leaving = true;
    if (peer->reason) {
        log_about(broker->log, LOG_LEVEL_NOTICE, &subject, "cut", "%s", peer->reason);
        answer_goodbye(&broker->hub, peer, peer->reason);
    } else {
        log_about(broker->log, LOG_LEVEL_DEBUG, &subject, "gone", "%s",
                  broker->draining ? "the bus is shutting down" : "it has closed its end");
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

/* Those who have waited for it go on; if they are many, some of them later. */
static unsigned wake(struct hub *hub, struct peer *peer)
{
    if (peer->doomed ||
        (list_is_empty(&peer->backlog.waiters) && list_is_empty(&peer->streams.waiters)))
        return 0;
    unsigned woken = peer_wake(peer, BROKER_WAKE_MAX);
    woken += stream_wake(peer, BROKER_WAKE_MAX - woken);
    if (woken == BROKER_WAKE_MAX)
        peer_set_dirty(peer);
    answer_receipts(hub);
    return woken;
}

/* How much effort it has been. */
static unsigned flush(struct hub *hub, struct peer *peer)
{
    uint64_t before = peer->connection.bytes_sent;

    list_remove(&peer->dirty_link);
    if (peer->doomed)
        return 0;
    int r = connection_flush(&peer->connection);
    if (r < 0)
        lose(peer, "writing to it failed", r);
    else if (peer->overflow)
        announce_overflow(hub, peer);
    unsigned woken = wake(hub, peer);
    patience_await_reading(hub, peer);
    uint64_t sent = peer->connection.bytes_sent - before;
    return woken * BROKER_WAKE_EFFORT +
           (sent > 0 ? BROKER_WRITE_EFFORT_QUEUE + (unsigned)(sent / BROKER_WRITE_EFFORT_BYTES)
                     : 1);
}

/* What somebody does not read any more, or may not have any more, goes to others. */
static unsigned hand_over(struct hub *hub, struct list *node)
{
    struct share_holder *holder = LIST_ENTRY(node, struct share_holder, link);

    deliver_again(hub, CONTAINER_OF(holder, struct peer, connection.shares), true);
    return BROKER_SHARE_EFFORT;
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
        else if (effort < BROKER_WRITE_EFFORT && (node = list_first(&broker->hub.shares.strewn)))
            effort += hand_over(&broker->hub, node);
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
        list_is_empty(&hub->shares.strewn) && list_is_empty(&hub->presence.changed) &&
        !connections_wait(&hub->shared) && !broker->untold)
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

/* While stopping: clients are let go when the disk has taken what is for it, so that they
 * get their receipts. */
static void drain_if_stored(struct broker *broker)
{
    if (store_is_busy(&broker->hub.store) && hub_now(&broker->hub) < broker->stop_end)
        return;
    LIST_FOREACH (node, &broker->hub.peers.all)
        answer_goodbye(&broker->hub, LIST_ENTRY(node, struct peer, link),
                       "the bus is shutting down");
    broker->draining = true;
    broker->drain_moved = hub_now(&broker->hub);
    broker->drain_end = broker->drain_moved + BROKER_DRAIN_MS;
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct broker *broker = CONTAINER_OF(prepare, struct broker, prepare);

    connections_begin_turn(&broker->hub.shared);
    broker_reload_if_asked(broker);
    dispatch_deadlines(&broker->hub, hub_now(&broker->hub));
    broker->untold = persist_turn(&broker->hub);
    audience_announce(&broker->hub);
    settle(broker, BROKER_TRACES);
    if (broker->stopping && !broker->draining)
        drain_if_stored(broker);
    if (broker->draining)
        finish_draining(broker);
    arm_deadline_timer(broker);
    arm_again(broker);
}

/* ---------------------------------------------------------------- drain */

/* Goes on while somebody reads, up to the end of the time there is. */
static void on_drain_tick(uv_timer_t *timer)
{
    struct broker *broker = CONTAINER_OF(timer, struct broker, drain_timer);
    uint64_t sent = broker->hub.bytes_sent;
    uint64_t now = hub_now(&broker->hub);

    LIST_FOREACH (node, &broker->hub.peers.all)
        sent += LIST_ENTRY(node, struct peer, link)->connection.bytes_sent;
    if (sent != broker->drain_sent) {
        broker->drain_sent = sent;
        broker->drain_moved = now;
    }
    if (!broker->draining ||
        (now < broker->drain_end && now - broker->drain_moved < BROKER_DRAIN_STILL_MS))
        return;

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

    if (number == SIGHUP)
        broker->hub.reload = true;
    if (number == SIGHUP || broker->stopping)
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
    LIST_FOREACH (node, &broker->hub.peers.all)
        connection_stop(&LIST_ENTRY(node, struct peer, link)->connection);
    broker->stopping = true;
    broker->stop_end = hub_now(&broker->hub) + BROKER_STORE_MS;
    drain_if_stored(broker);
    uv_timer_start(&broker->drain_timer, on_drain_tick, DRAIN_TICK_MS, DRAIN_TICK_MS);
}

/* -------------------------------------------------------------- lifetime */

/* On the store's thread. */
static void on_stored(void *userdata)
{
    uv_async_send(userdata);
}

/* Only wakes the loop: on_prepare() sees to the store. */
static void on_woken(uv_async_t *async)
{
}

int broker_init(struct broker *broker, struct log *log, const struct config_source *source,
                struct config *config)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};

    *broker = (struct broker){.log = log, .armed = UINT64_MAX, .source = source, .config = *config};
    *config = (struct config){0};
    list_init(&broker->listeners);
    int r = watch_init();
    if (r == 0)
        r = uv_loop_init(&broker->loop);
    if (r == 0) {
        r = hub_init(&broker->hub, log, &broker->loop, &handler, &broker->config.limits);
        if (r < 0)
            uv_loop_close(&broker->loop);
    }
    if (r < 0) {
        log_write(log, LOG_LEVEL_ERROR, "cannot start: %s", strerror(-r));
        watch_deinit();
        config_deinit(&broker->config);
        return r;
    }
    persist_init(&broker->hub, on_stored, &broker->stored);
    uv_timer_init(&broker->loop, &broker->deadline_timer);
    uv_timer_init(&broker->loop, &broker->drain_timer);
    uv_idle_init(&broker->loop, &broker->again);
    uv_prepare_init(&broker->loop, &broker->prepare);
    uv_prepare_start(&broker->prepare, on_prepare);
    r = uv_async_init(&broker->loop, &broker->stored, on_woken);
    if (r < 0) {
        log_write(log, LOG_LEVEL_ERROR, "cannot start: %s", uv_strerror(r));
        broker_deinit(broker);
        return r;
    }
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

int broker_listen(struct broker *broker, const struct config_listener *wanted,
                  struct endpoint *endpoint)
{
    struct listener *listener;

    int r = broker_make_listener(broker, wanted, endpoint, &listener);
    if (r == 0)
        list_append(&broker->listeners, &listener->link);
    return r;
}

int broker_open_store(struct broker *broker, struct statedir *dir, bool sealed)
{
    return persist_open(&broker->hub, dir, sealed);
}

int broker_start_threads(struct broker *broker)
{
    int r = closer_start(broker->hub.shared.lanes.closer);

    if (r < 0)
        log_write(broker->log, LOG_LEVEL_ERROR, "cannot start threads: %s", strerror(-r));
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
    persist_deinit(&broker->hub, BROKER_STORE_MS);
    connection_shared_close(&broker->hub.shared);
    if (broker->stored.loop)
        uv_close((uv_handle_t *)&broker->stored, NULL);
    uv_close((uv_handle_t *)&broker->again, NULL);
    uv_close((uv_handle_t *)&broker->prepare, NULL);
    uv_close((uv_handle_t *)&broker->deadline_timer, NULL);
    uv_close((uv_handle_t *)&broker->drain_timer, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(broker->signals); i++)
        if (broker->signals[i].loop)
            uv_close((uv_handle_t *)&broker->signals[i], NULL);
    /* The handles' close callbacks. */
    uv_run(&broker->loop, UV_RUN_DEFAULT);
    hub_deinit(&broker->hub);
    config_deinit(&broker->config);
    int r = uv_loop_close(&broker->loop);
    assert(r == 0);
    (void)r;
    watch_deinit();
}
