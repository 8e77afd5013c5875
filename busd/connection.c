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
    shared->closes_at_once = sockio_can_keep_fds_out();
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

static int set_events(struct connection *connection, int events)
{
    if (connection->events == events)
        return 0;
    int r =
        events ? watch_start(&connection->poll, events, on_poll) : uv_poll_stop(&connection->poll);
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
    return set_events(connection, UV_READABLE);
}

void connection_stop(struct connection *connection)
{
    connection->stopped = true;
    connection->full = false;
    connection->has_backlog = false;
    list_remove(&connection->waiting);
    set_events(connection, connection->events & UV_WRITABLE);
}

/* ------------------------------------------------------------ charging */

uint64_t connection_bytes(const struct connection *connection)
{
    size_t capacity = connection->partial_capacity;

    return connection->outq.bytes + (capacity > PARTIAL_KEEP ? capacity : 0);
}

static unsigned count_fds(const struct connection *connection)
{
    return connection->outq.fds + connection->fds_unread + fdqueue_count(&connection->fdqueue);
}

void connection_charge(struct connection *connection)
{
    uint64_t bytes = connection_bytes(connection);
    unsigned fds = count_fds(connection);

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

/* ------------------------------------------------------------- reading */

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

/* How much has been done for the user in this turn; what it had too much of before is
 * counted again. */
static uint64_t user_effort(struct connection *connection)
{
    struct quota_user *user = connection->bytes.user;
    uint64_t turns = connection->shared->turn - user->turn;

    if (turns > 0) {
        uint64_t forgiven = MIN(turns, user->effort) * CONNECTION_USER_EFFORT;
        user->effort -= MIN(forgiven, user->effort);
        user->turn = connection->shared->turn;
    }
    return user->effort;
}

static bool has_had_its_turn(struct connection *connection)
{
    return user_effort(connection) >= CONNECTION_USER_EFFORT;
}

/* Nothing is read while so much that the user has passed is still to be closed. Lines that
 * have been read are none of that. */
static bool must_pause(const struct connection *connection)
{
    return connection->lane->full && !connection->has_backlog;
}

/* Hands out the lines in data[0..size) as far as this turn goes; what is left is
 * kept. */
static int take_lines(struct connection *connection, char *data, size_t size)
{
    struct connection_shared *shared = connection->shared;
    const struct connection_handler *handler = shared->handler;
    size_t taken = 0;

    shared->effort = CONNECTION_CALL_EFFORT;
    connection->has_backlog = false;
    while (!connection->stopped) {
        struct line line;
        size_t consumed;
        enum lines_result result =
            lines_next(&connection->lines, data + taken, size - taken, &consumed, &line);
        taken += consumed;
        if (result == LINES_MORE)
            break;
        handler->line(connection, result, &line);
        shared->effort += CONNECTION_LINE_EFFORT;
        if (shared->effort >= CONNECTION_EFFORT && taken < size && !connection->stopped) {
            connection->has_backlog = true;
            list_append(&shared->backlog, &connection->waiting);
            break;
        }
    }
    connection->bytes.user->effort += shared->effort;
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

/* Fds that came with an unfinished line are kept if they can be its own, and if the
 * user may hold so many. 0 or -EBADMSG. */
static int check_fds(struct connection *connection)
{
    struct fdqueue *queue = &connection->fdqueue;
    struct list *first = list_first(&queue->batches);

    if (!first)
        return 0;
    if (connection->lines.skipping)
        fdqueue_skip(queue, &(struct line){.end = connection->lines.position});
    else if (first->next != &queue->batches)
        return -EBADMSG;
    else if (count_fds(connection) > connection->fds.amount &&
             !connection->shared->handler->fds_fit(connection, fdqueue_count(queue)))
        fdqueue_truncate(queue);
    return 0;
}

/* Lines have been taken: sees to what is left. */
static int check_rest(struct connection *connection)
{
    if (connection->stopped)
        return 0;
    if (!connection->has_backlog) {
        bool unfinished = connection->partial_size > 0 || connection->lines.skipping ||
                          list_first(&connection->fdqueue.batches);
        int r = check_fds(connection);
        if (r < 0)
            return r;
        if (unfinished != connection->unfinished) {
            connection->unfinished = unfinished;
            connection->shared->handler->unfinished(connection);
        }
    }
    bool fits = charge_fits(&connection->bytes, connection_bytes(connection));
    connection_charge(connection);
    if (!fits)
        connection->shared->handler->too_much(connection);
    return 0;
}

int connection_read(struct connection *connection)
{
    struct connection_shared *shared = connection->shared;
    struct fds *fds = NULL;
    size_t space;

    if (must_pause(connection))
        return 0;
    char *data = prepare_read(connection, &space);
    /* What arrives must have a place, whatever comes: closing it here could block. */
    if (!shared->room)
        shared->room = fds_new_room();
    if (!data || !shared->room)
        return -ENOMEM;
    size_t size = connection->partial_size;
    ssize_t n = sockio_recv_with(connection->fd, data + size, space, &shared->room, &fds);
    if (n < 0)
        return n == -EAGAIN ? 0 : (int)n;
    if (fds) {
        fds->end = connection->lines.position + size + (uint64_t)n;
        lane_adopt(connection->lane, fds);
        fdqueue_push(&connection->fdqueue, fds);
    }
    if (n == 0) {
        connection->ended = true;
        shared->handler->end(connection, 0);
        return 0;
    }
    connection->read_at = uv_now(shared->loop);
    int r = take_lines(connection, data, size + (size_t)n);
    if (r == 0)
        r = check_rest(connection);
    return r < 0 ? r : 1;
}

/* A client may send, and leave without having read everything: then the socket is in
 * error (libuv has stopped polling it), but what it sent is still to be taken. */
static int read_to_end(struct connection *connection)
{
    int r = connection_read(connection);

    if (r > 0 && !connection->stopped && !connection->has_backlog)
        list_append(&connection->shared->fresh, &connection->waiting);
    return r == 0 && !connection->stopped ? -ECONNRESET : r;
}

/* Does what there is to do for the connection: 0 or -errno. */
static int serve(struct connection *connection)
{
    int r;

    list_remove(&connection->waiting);
    if (connection->has_backlog) {
        r = take_lines(connection, connection->partial, connection->partial_size);
        if (r == 0)
            r = check_rest(connection);
        if (r == 0 && connection->failed && !connection->has_backlog && !connection->stopped)
            list_append(&connection->shared->fresh, &connection->waiting);
    } else {
        r = connection->failed ? read_to_end(connection) : connection_read(connection);
    }
    if (r >= 0 && !connection->stopped && !connection->failed &&
        list_is_empty(&connection->waiting))
        r = set_events(connection, connection->events | UV_READABLE);
    return MIN(r, 0);
}

/* Those who have waited, in their order, if their users have something left of the
 * turn. */
static void serve_all(struct connection_shared *shared, struct list *list)
{
    struct list waiting;
    struct list *node;

    if (list_is_empty(list))
        return;
    list_init(&waiting);
    list_splice(&waiting, list);
    while ((node = list_first(&waiting))) {
        struct connection *connection = LIST_ENTRY(node, struct connection, waiting);
        int r = 0;
        if (has_had_its_turn(connection)) {
            list_remove(node);
            list_append(list, node);
        } else if (must_pause(connection)) {
            list_remove(node);
            list_append(&connection->lane->paused, node);
        } else {
            r = serve(connection);
        }
        if (r < 0)
            shared->handler->end(connection, r);
    }
}

void connections_begin_turn(struct connection_shared *shared)
{
    shared->turn++;
    serve_all(shared, &shared->fresh);
    serve_all(shared, &shared->backlog);
}

void connection_finish(struct connection *connection)
{
    int r = 0;

    while (r == 0 && !list_is_empty(&connection->waiting) && !must_pause(connection))
        r = serve(connection);
    if (r < 0)
        connection->shared->handler->end(connection, r);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct connection *connection = CONTAINER_OF(poll, struct connection, poll);
    const struct connection_handler *handler = connection->shared->handler;
    int r = 0;

    if (events & UV_WRITABLE) {
        connection->full = false;
        handler->writable(connection);
    }
    if (status < 0) {
        connection->events = 0;
        connection->failed = true;
    } else if (!(events & UV_READABLE)) {
        return;
    }
    if (connection->stopped)
        return;
    if (!list_is_empty(&connection->waiting)) {
        /* We know: it need not be said again in every turn. */
        set_events(connection, connection->events & UV_WRITABLE);
        return;
    }
    if (must_pause(connection))
        list_append(&connection->lane->paused, &connection->waiting);
    else if (has_had_its_turn(connection))
        list_append(&connection->shared->fresh, &connection->waiting);
    else
        r = serve(connection);
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
            connection->fds_unread += fds ? fds->count : 0;
            connection->wrote_at = uv_now(connection->shared->loop);
            connection->bytes_sent += (uint64_t)n;
            outq_consume(outq, &connection->shared->pool, (size_t)n);
        }
        if ((size_t)n < size) {
            connection->full = true;
            outq_settle(outq);
            return set_events(connection, connection->events | UV_WRITABLE);
        }
    }
    return set_events(connection, connection->events & ~UV_WRITABLE);
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
    struct fds *socket = TAKE(connection->socket);

    if (connection->ended && connection->shared->closes_at_once)
        fds_destroy(socket);
    else
        lane_put_connection(connection->lane, socket);
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
