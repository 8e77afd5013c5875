/* SPDX-License-Identifier: MIT */
#include "busd/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "busd/watch.h"
#include "libbus/base/macros.h"
#include "libbus/wire/scan.h"
#include "libbus/wire/sockio.h"

#define IOV_COUNT    64
#define DRAIN_EVENTS 16

/* How long a write is put off when the kernel has no memory for it: at first, and at
 * most. */
#define RETRY_FIRST_MS   10
#define RETRY_LONGEST_MS 1000

static void on_drain(uv_poll_t *poll, int status, int events);

/* The epoll set is there from the beginning, so that no client's message depends on
 * whether it can be made. */
static int start_drain(struct connection_shared *shared)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = uv_poll_init(shared->loop, &shared->drain, fd);
    if (r < 0) {
        close(fd);
        return r;
    }
    shared->drain_fd = fd;
    return watch_start(&shared->drain, UV_READABLE, on_drain);
}

int connection_shared_init(struct connection_shared *shared, uv_loop_t *loop, struct log *log,
                           const struct connection_handler *handler)
{
    *shared = (struct connection_shared){.loop = loop, .handler = handler, .drain_fd = -1};
    shared->buffer = calloc(1, CONNECTION_BUFFER_SIZE + SCAN_PADDING);
    if (!shared->buffer)
        return -ENOMEM;
    list_init(&shared->fresh);
    list_init(&shared->backlog);
    outq_pool_init(&shared->pool);
    shared->is_kernel_quick = sockio_can_keep_fds_out();
    list_init(&shared->retries);
    uv_timer_init(loop, &shared->retry);
    int r = lanes_init(&shared->lanes, loop, log, &shared->fresh);
    if (r == 0)
        r = start_drain(shared);
    if (r < 0) {
        connection_shared_close(shared);
        uv_run(loop, UV_RUN_DEFAULT);
        connection_shared_deinit(shared);
    }
    return r;
}

void connection_shared_close(struct connection_shared *shared)
{
    uv_close((uv_handle_t *)&shared->retry, NULL);
    lanes_close(&shared->lanes);
    if (shared->drain_fd < 0)
        return;
    uv_close((uv_handle_t *)&shared->drain, NULL);
    close(TAKE_FD(shared->drain_fd));
}

void connection_shared_deinit(struct connection_shared *shared)
{
    outq_pool_deinit(&shared->pool);
    lanes_deinit(&shared->lanes);
    free(shared->room);
    free(shared->buffer);
}

int connection_set_events(struct connection *connection, int events)
{
    if (connection->events == events)
        return 0;
    int r = events ? watch_start(&connection->poll, events, connection_on_poll)
                   : uv_poll_stop(&connection->poll);
    connection->events = r == 0 ? events : 0;
    return r;
}

int connection_init(struct connection *connection, struct connection_shared *shared,
                    struct fds *socket, struct lane *lane, size_t message_bytes)
{
    struct quota_user *user = lane->user;

    *connection = (struct connection){.shared = shared, .fd = socket->fd[0]};
    list_init(&connection->waiting);
    charge_init(&connection->bytes, user, QUOTA_BYTES);
    charge_init(&connection->fds, user, QUOTA_FDS);
    list_init(&connection->retry_link);
    int r = sockio_take_urgent(connection->fd);
    if (r == 0)
        r = uv_poll_init(shared->loop, &connection->poll, connection->fd);
    if (r < 0)
        return r;
    connection->socket = socket;
    connection->lane = lane;
    lane->refs++;
    lines_init(&connection->lines, message_bytes);
    fdqueue_init(&connection->fdqueue);
    outq_init(&connection->outq);
    return 0;
}

int connection_start(struct connection *connection)
{
    return connection_set_events(connection, UV_READABLE);
}

void connection_stop(struct connection *connection)
{
    connection->stopped = true;
    connection->full = false;
    connection->has_backlog = false;
    list_remove(&connection->waiting);
    connection_set_events(connection, connection->events & UV_WRITABLE);
}

/* ------------------------------------------------------------ charging */

uint64_t connection_bytes(const struct connection *connection)
{
    size_t capacity = connection->partial_capacity;

    return connection->outq.bytes + connection->latest.bytes + connection->shares.bytes +
           (capacity > CONNECTION_PARTIAL_KEEP ? capacity : 0);
}

unsigned connection_count_fds(const struct connection *connection)
{
    return connection->outq.fds + connection->fds_unread + fdqueue_count(&connection->fdqueue);
}

void connection_charge(struct connection *connection)
{
    uint64_t bytes = connection_bytes(connection);
    unsigned fds = connection_count_fds(connection);

    if (bytes != connection->bytes.amount)
        charge_set(&connection->bytes, bytes);
    if (fds != connection->fds.amount)
        charge_set(&connection->fds, fds);
}

void connection_look_for_fds(struct connection *connection)
{
    if (connection->fds_unread == 0 || sockio_is_drained(connection->fd) <= 0)
        return;
    connection->fds_unread = 0;
    connection_charge(connection);
}

/* ------------------------------------------------------------- writing */

/* The receiver has read something: sockets that are empty now may get their next
 * fds. */
static void on_drain(uv_poll_t *poll, int status, int events)
{
    struct connection_shared *shared = CONTAINER_OF(poll, struct connection_shared, drain);
    struct epoll_event ready[DRAIN_EVENTS];
    int n = epoll_wait(shared->drain_fd, ready, DRAIN_EVENTS, 0);

    for (int i = 0; i < n; i++) {
        struct connection *connection = ready[i].data.ptr;
        /* An error is found out about by the flush. */
        if (sockio_is_drained(connection->fd) == 0 && !(ready[i].events & (EPOLLERR | EPOLLHUP)))
            continue;
        epoll_ctl(shared->drain_fd, EPOLL_CTL_DEL, connection->fd, NULL);
        connection->draining = false;
        connection->fds_unread = 0;
        shared->handler->writable(connection);
    }
}

/* Waits until the receiver has read the fds in its socket. Edge-triggered, because
 * a writable socket would be reported for ever: each read of the receiver is an
 * edge. */
static int wait_for_drain(struct connection *connection)
{
    struct connection_shared *shared = connection->shared;
    struct epoll_event event = {.events = EPOLLOUT | EPOLLET, .data.ptr = connection};

    if (connection->draining)
        return 0;
    if (epoll_ctl(shared->drain_fd, EPOLL_CTL_ADD, connection->fd, &event) < 0)
        return -errno;
    connection->draining = true;
    return 0;
}

/* Whether the fds at the head of the queue have to wait for those before them. */
static bool must_drain(struct connection *connection)
{
    if (connection->fds_unread && sockio_is_drained(connection->fd) > 0)
        connection->fds_unread = 0;
    return connection->fds_unread > 0;
}

bool connection_await_fds(struct connection *connection)
{
    return connection->fds_unread > 0 && wait_for_drain(connection) == 0;
}

static void on_retry(uv_timer_t *timer)
{
    struct connection_shared *shared = CONTAINER_OF(timer, struct connection_shared, retry);

    LIST_FOREACH_SAFE (node, &shared->retries) {
        list_remove(node);
        shared->handler->writable(LIST_ENTRY(node, struct connection, retry_link));
    }
}

/* Flushes again later: the socket would be writable all the while, and the loop would
 * spin. */
static int put_off(struct connection *connection)
{
    struct connection_shared *shared = connection->shared;

    if (!uv_is_active((uv_handle_t *)&shared->retry)) {
        shared->retry_ms =
            MIN(MAX(shared->retry_ms * 2, (unsigned)RETRY_FIRST_MS), (unsigned)RETRY_LONGEST_MS);
        uv_timer_start(&shared->retry, on_retry, shared->retry_ms, 0);
    }
    if (list_is_empty(&connection->retry_link))
        list_append(&shared->retries, &connection->retry_link);
    outq_settle(&connection->outq);
    return connection_set_events(connection, connection->events & ~UV_WRITABLE);
}

/* The kernel has no room for fds in flight (ETOOMANYREFS), or will not pass these on
 * (EPERM): that is this message's end, and nobody else's. */
static bool is_refusal(ssize_t error)
{
    return error == -ETOOMANYREFS || error == -EPERM;
}

static void refuse_first(struct connection *connection)
{
    struct piece piece;

    outq_take_first(&connection->outq, &connection->shared->pool, &piece);
    connection->shared->handler->refused(connection, &piece);
    chunk_unref(piece.chunk);
    fds_unref(piece.fds);
}

static int write_queue(struct connection *connection)
{
    struct outq *outq = &connection->outq;

    while (!outq_is_empty(outq)) {
        struct iovec iov[IOV_COUNT];
        const struct fds *fds;
        size_t count = outq_gather(outq, iov, IOV_COUNT, &fds);
        size_t size = 0;

        if (fds && must_drain(connection)) {
            if (wait_for_drain(connection) < 0) {
                refuse_first(connection);
                continue;
            }
            outq_settle(outq);
            return connection_set_events(connection, connection->events & ~UV_WRITABLE);
        }
        for (size_t i = 0; i < count; i++)
            size += iov[i].iov_len;
        ssize_t n = sockio_send(connection->fd, iov, count, fds);
        if (fds && is_refusal(n)) {
            refuse_first(connection);
            continue;
        }
        if (n == -EPIPE || n == -ECONNRESET) {
            /* It does not read any more; what it has sent is still read to the end. */
            connection->deaf = true;
            outq_deinit(outq, &connection->shared->pool);
            return connection_set_events(connection, connection->events & ~UV_WRITABLE);
        }
        if (n == -ENOBUFS || n == -ENOMEM)
            return put_off(connection);
        if (n == -EAGAIN)
            n = 0;
        if (n < 0)
            return (int)n;
        if (n > 0) {
            list_remove(&connection->retry_link);
            connection->shared->retry_ms = 0;
            connection->fds_unread += fds ? fds->count : 0;
            connection->wrote_at = uv_now(connection->shared->loop);
            connection->bytes_sent += (uint64_t)n;
            outq_consume(outq, &connection->shared->pool, (size_t)n);
        }
        if ((size_t)n < size) {
            connection->full = true;
            outq_settle(outq);
            return connection_set_events(connection, connection->events | UV_WRITABLE);
        }
    }
    return connection_set_events(connection, connection->events & ~UV_WRITABLE);
}

int connection_flush(struct connection *connection)
{
    int r = 0;

    if (connection->full)
        outq_settle(&connection->outq);
    else
        r = write_queue(connection);
    if (!outq_is_empty(&connection->outq) || connection->bytes.amount > 0 ||
        connection->fds_unread > 0 || connection->fds.amount > 0)
        connection_charge(connection);
    return r;
}

/* A socket that has been read to its end holds nothing that could take long. Before
 * SO_PASSRIGHTS was there, the kernel also saw to other sockets' garbage in close(2). */
static void close_socket(struct connection *connection)
{
    bool is_quick = connection->ended && connection->shared->is_kernel_quick;

    lane_put_connection(connection->lane, TAKE(connection->socket), is_quick);
    connection->lane = lane_unref(connection->lane);
    connection->fd = -1;
}

void connection_close(struct connection *connection, uv_close_cb closed)
{
    struct connection_shared *shared = connection->shared;

    connection->stopped = true;
    list_remove(&connection->retry_link);
    if (connection->draining)
        epoll_ctl(shared->drain_fd, EPOLL_CTL_DEL, connection->fd, NULL);
    outq_deinit(&connection->outq, &shared->pool);
    fdqueue_deinit(&connection->fdqueue);
    free(TAKE(connection->partial));
    list_remove(&connection->waiting);
    charge_give_back(&connection->bytes);
    charge_give_back(&connection->fds);
    uv_close((uv_handle_t *)&connection->poll, closed);
    close_socket(connection);
}
