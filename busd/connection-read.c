/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "busd/connection.h"
#include "libbus/base/macros.h"
#include "libbus/wire/scan.h"
#include "libbus/wire/sockio.h"

/* Nothing is unfinished: only a small buffer is kept, so that idle is cheap. */
static void drop_partial(struct connection *connection)
{
    connection->partial_size = 0;
    if (connection->partial_capacity > CONNECTION_PARTIAL_KEEP) {
        free(TAKE(connection->partial));
        connection->partial_capacity = 0;
    }
}

/* Keeps the beginning of an unfinished line in memory of the connection's own. */
static int keep_partial(struct connection *connection, const char *data, size_t size)
{
    if (size > connection->partial_capacity) {
        size_t capacity = MAX(size, (size_t)CONNECTION_PARTIAL_KEEP);
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
    else if (connection_count_fds(connection) > connection->fds.amount &&
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
        r = connection_set_events(connection, connection->events | UV_READABLE);
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

void connection_on_poll(uv_poll_t *poll, int status, int events)
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
        connection_set_events(connection, connection->events & UV_WRITABLE);
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
