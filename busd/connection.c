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
/* An own buffer of this size is kept while no line is unfinished. */
#define PARTIAL_KEEP 512

/* How long a write is put off when the kernel has no memory for it: at first, and at
 * most. */
#define RETRY_FIRST_MS   10
#define RETRY_LONGEST_MS 1000

static void on_poll(uv_poll_t *poll, int status, int events);
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

int connection_shared_init(struct connection_shared *shared, uv_loop_t *loop,
                           const struct connection_handler *handler)
{
    *shared = (struct connection_shared){.loop = loop, .handler = handler, .drain_fd = -1};
    shared->buffer = calloc(1, CONNECTION_BUFFER_SIZE + SCAN_PADDING);
    if (!shared->buffer)
        return -ENOMEM;
    outq_pool_init(&shared->pool);
    closer_init(&shared->closer);
    list_init(&shared->retries);
    uv_timer_init(loop, &shared->retry);
    int r = start_drain(shared);
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
    if (shared->drain_fd < 0)
        return;
    uv_close((uv_handle_t *)&shared->drain, NULL);
    close(TAKE_FD(shared->drain_fd));
}

void connection_shared_deinit(struct connection_shared *shared)
{
    outq_pool_deinit(&shared->pool);
    closer_deinit(&shared->closer);
    free(shared->buffer);
}

static int set_events(struct connection *connection, int events)
{
    if (connection->events == events)
        return 0;
    int r =
        events ? watch_start(&connection->poll, events, on_poll) : uv_poll_stop(&connection->poll);
    connection->events = r == 0 ? events : 0;
    return r;
}

int connection_init(struct connection *connection, struct connection_shared *shared, int fd,
                    size_t message_bytes)
{
    *connection = (struct connection){.shared = shared, .fd = fd};
    list_init(&connection->retry_link);
    int r = uv_poll_init(shared->loop, &connection->poll, fd);
    if (r < 0)
        return r;
    lines_init(&connection->lines, message_bytes);
    fdqueue_init(&connection->fdqueue);
    outq_init(&connection->outq);
    return 0;
}

int connection_start(struct connection *connection)
{
    return set_events(connection, UV_READABLE);
}

void connection_stop(struct connection *connection)
{
    connection->stopped = true;
    set_events(connection, connection->events & UV_WRITABLE);
}

/* Nothing is unfinished: only a small buffer is kept, so that idle is cheap. */
static void drop_partial(struct connection *connection)
{
    connection->partial_size = 0;
    if (connection->partial_capacity > PARTIAL_KEEP) {
        free(TAKE(connection->partial));
        connection->partial_capacity = 0;
    }
}

/* Keeps the beginning of an unfinished line in memory of the connection's own. */
static int keep_partial(struct connection *connection, const char *data, size_t size)
{
    if (size > connection->partial_capacity) {
        size_t capacity = MAX(size, (size_t)PARTIAL_KEEP);
        char *partial = malloc(capacity + SCAN_PADDING);
        if (!partial)
            return -ENOMEM;
        free(connection->partial);
        connection->partial = partial;
        connection->partial_capacity = capacity;
    }
    memmove(connection->partial, data, size);
    connection->partial_size = size;
    return 0;
}

/* Where to read to: behind the unfinished line, which is either copied to the front
 * of the shared buffer or, when it is long, stays where it is. */
static char *prepare_read(struct connection *connection, size_t *ret_space)
{
    size_t size = connection->partial_size;

    if (size < CONNECTION_PARTIAL_DIRECT) {
        if (size > 0)
            memcpy(connection->shared->buffer, connection->partial, size);
        *ret_space = CONNECTION_READ_SIZE;
        return connection->shared->buffer;
    }
    if (connection->partial_capacity - size < CONNECTION_READ_SIZE) {
        size_t capacity = MAX(connection->partial_capacity * 2, size + CONNECTION_READ_SIZE);
        char *partial = realloc(connection->partial, capacity + SCAN_PADDING);
        if (!partial)
            return NULL;
        connection->partial = partial;
        connection->partial_capacity = capacity;
    }
    *ret_space = connection->partial_capacity - size;
    return connection->partial;
}

/* Hands out the lines in data[0..size); what is left is kept. */
static int take_lines(struct connection *connection, char *data, size_t size)
{
    const struct connection_handler *handler = connection->shared->handler;
    size_t taken = 0;

    while (!connection->stopped) {
        struct line line;
        size_t consumed;
        enum lines_result result =
            lines_next(&connection->lines, data + taken, size - taken, &consumed, &line);
        taken += consumed;
        if (result == LINES_MORE)
            break;
        handler->line(connection, result, &line);
    }
    if (connection->stopped || taken == size) {
        drop_partial(connection);
        return 0;
    }
    if (taken == 0 && data == connection->partial) {
        connection->partial_size = size;
        return 0;
    }
    return keep_partial(connection, data + taken, size - taken);
}

int connection_read(struct connection *connection)
{
    struct fds *fds = NULL;
    size_t space;
    char *data = prepare_read(connection, &space);

    if (!data)
        return -ENOMEM;
    size_t size = connection->partial_size;
    ssize_t n = sockio_recv(connection->fd, data + size, space, &fds);
    if (n < 0)
        return n == -EAGAIN ? 0 : (int)n;
    if (fds) {
        fds->end = connection->lines.position + size + (uint64_t)n;
        fds->release = closer_release;
        fds->userdata = &connection->shared->closer;
        fdqueue_push(&connection->fdqueue, fds);
    }
    if (n == 0) {
        connection->shared->handler->end(connection, 0);
        return 0;
    }
    int r = take_lines(connection, data, size + (size_t)n);
    return r < 0 ? r : 1;
}

/* A client may send, and leave without having read everything: then the socket is in
 * error (libuv has stopped polling it), but what it sent is still to be taken. */
static int read_to_end(struct connection *connection)
{
    int r;

    connection->events = 0;
    do {
        r = connection_read(connection);
    } while (r > 0 && !connection->stopped);
    return r == 0 && !connection->stopped ? -ECONNRESET : r;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct connection *connection = CONTAINER_OF(poll, struct connection, poll);
    const struct connection_handler *handler = connection->shared->handler;
    int r = 0;

    if (events & UV_WRITABLE)
        handler->writable(connection);
    if (connection->stopped)
        return;
    if (status < 0)
        r = read_to_end(connection);
    else if (events & UV_READABLE)
        r = connection_read(connection);
    if (r < 0)
        handler->end(connection, r);
}

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
        connection->fds_unread = false;
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
        connection->fds_unread = false;
    return connection->fds_unread;
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
    return set_events(connection, connection->events & ~UV_WRITABLE);
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

int connection_flush(struct connection *connection)
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
            return set_events(connection, connection->events & ~UV_WRITABLE);
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
            outq_deinit(outq, &connection->shared->pool);
            return set_events(connection, connection->events & ~UV_WRITABLE);
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
            connection->fds_unread |= fds != NULL;
            connection->bytes_sent += (uint64_t)n;
            outq_consume(outq, &connection->shared->pool, (size_t)n);
        }
        if ((size_t)n < size) {
            outq_settle(outq);
            return set_events(connection, connection->events | UV_WRITABLE);
        }
    }
    return set_events(connection, connection->events & ~UV_WRITABLE);
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
    uv_close((uv_handle_t *)&connection->poll, closed);
    closer_take_fd(&shared->closer, TAKE_FD(connection->fd));
}
