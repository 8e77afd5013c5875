/* SPDX-License-Identifier: MIT */
/*
 * The bytes of one client: reads them, cuts them into lines, pairs lines with the
 * fds that came along, and writes out its queue. It knows nothing of what the lines
 * mean; they are given to the one handler, which is set in one place.
 *
 * Reading: one recvmsg() a readiness event, into one large buffer that all
 * connections share; only the beginning of an unfinished line is copied to a
 * buffer of the connection's own. Writing: one sendmsg() a turn for all that
 * waits, as far as the socket takes it.
 *
 * At most one fd-bearing message is in the receiver's socket at a time, because
 * the kernel charges fds in flight to our user until they are read: the next one
 * waits until `struct drain` sees the socket empty.
 */
#ifndef BUSD_CONNECTION_H
#define BUSD_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "busd/closer.h"
#include "busd/outq.h"
#include "libbus/wire/fdqueue.h"
#include "libbus/wire/lines.h"

/* What one readiness event may read, so that one client cannot starve the rest. */
#define CONNECTION_READ_SIZE (64u * 1024)
/* An unfinished line longer than this is read on in place. */
#define CONNECTION_PARTIAL_DIRECT (32u * 1024)
#define CONNECTION_BUFFER_SIZE    (CONNECTION_READ_SIZE + CONNECTION_PARTIAL_DIRECT)

struct connection;

struct connection_handler {
    /* A line, or that one was too long. The bytes live until it returns. */
    void (*line)(struct connection *connection, enum lines_result result, const struct line *line);
    /* The peer has gone (0) or the socket failed (-errno). */
    void (*end)(struct connection *connection, int error);
    /* There is room to write, or the fds before have been read: flush it. */
    void (*writable)(struct connection *connection);
    /* The kernel would not take the fds of this message (ETOOMANYREFS); it has left
     * the queue. The piece is borrowed. */
    void (*refused)(struct connection *connection, const struct piece *piece);
};

/* What all connections share. */
struct connection_shared {
    uv_loop_t *loop;
    const struct connection_handler *handler;
    struct outq_pool pool;
    struct closer closer;
    char *buffer;    /* CONNECTION_BUFFER_SIZE and padding */
    uv_poll_t drain; /* of an epoll set, edge-triggered: sockets whose fds are unread */
    int drain_fd;
    uv_timer_t retry; /* of the writes that the kernel had no memory for */
    struct list retries;
    unsigned retry_ms;
};

struct connection {
    uv_poll_t poll;
    struct connection_shared *shared;
    int fd;
    int events;      /* what poll asks for */
    bool stopped;    /* no more lines are taken */
    bool fds_unread; /* fds are in the socket, not known to be read */
    bool draining;   /* … and others wait for them in the queue */
    struct list retry_link;
    struct lines lines;
    char *partial;
    size_t partial_size;
    size_t partial_capacity;
    struct fdqueue fdqueue;
    struct outq outq;
    uint64_t bytes_sent;
};

/* 0 or -errno. `loop` and `handler` are borrowed. */
int connection_shared_init(struct connection_shared *shared, uv_loop_t *loop,
                           const struct connection_handler *handler);
/* Before the loop is closed; its own handle is closed by running the loop. */
void connection_shared_close(struct connection_shared *shared);
void connection_shared_deinit(struct connection_shared *shared);

/* Takes the socket, on success only. 0 or -errno. */
int connection_init(struct connection *connection, struct connection_shared *shared, int fd,
                    size_t message_bytes);

/* Begins to read. 0 or -errno. */
int connection_start(struct connection *connection);

/* Reads once and hands the lines out. 1 if there was something, 0 if not or at the
 * end, -errno when the connection is dead. */
int connection_read(struct connection *connection);

/* Takes no more lines from now on; what is queued can still be flushed. */
void connection_stop(struct connection *connection);

/* Writes what the socket takes; lets go of it all if the peer has closed. 0, or
 * -errno when the connection is dead. */
int connection_flush(struct connection *connection);

/* Whether the last flush has left something, because the peer does not read or the
 * kernel has no memory. */
static inline bool connection_is_blocked(const struct connection *connection)
{
    return connection->draining || connection->events & UV_WRITABLE ||
           !list_is_empty(&connection->retry_link);
}

/* Closes everything; `closed` is called once the memory may be freed. */
void connection_close(struct connection *connection, uv_close_cb closed);

#endif
