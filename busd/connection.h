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
 * What may be done for one connection and for one user in one turn is bounded. Lines
 * beyond CONNECTION_EFFORT wait in the connection's buffer for a later turn, and nothing
 * more is read from it until they are done with; connections of a user beyond
 * CONNECTION_USER_EFFORT wait to be read from. What is held for a client, its
 * unfinished line and its queue, is charged to its user. While what that user has passed
 * is still to be closed, and is too much (busd/lane.h), nothing is read at all.
 *
 * At most one fd-bearing message is in the receiver's socket at a time, because
 * the kernel charges fds in flight to our user until they are read: the next one
 * waits until the epoll set `drain` sees the socket empty.
 */
#ifndef BUSD_CONNECTION_H
#define BUSD_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "busd/lane.h"
#include "busd/latest.h"
#include "busd/outq.h"
#include "busd/quota.h"
#include "busd/shares.h"
#include "libbus/wire/fdqueue.h"
#include "libbus/wire/lines.h"

/* What one readiness event may read, so that one client cannot starve the rest. */
#define CONNECTION_READ_SIZE (64u * 1024)
/* An unfinished line longer than this is read on in place. */
#define CONNECTION_PARTIAL_DIRECT (32u * 1024)
/* An own buffer of this size is kept while no line is unfinished. */
#define CONNECTION_PARTIAL_KEEP 512
#define CONNECTION_BUFFER_SIZE  (CONNECTION_READ_SIZE + CONNECTION_PARTIAL_DIRECT)
/* What may be done in one turn for one connection, and for all of one user, in steps of
 * about 100 ns: a line counts as two, each receiver that it goes to as one, and what is
 * slower, like a system call, as more. So one turn takes some 100 us for each user. */
#define CONNECTION_EFFORT      1100
#define CONNECTION_USER_EFFORT 1100
#define CONNECTION_LINE_EFFORT 2
#define CONNECTION_CALL_EFFORT 16

struct connection;

struct connection_handler {
    /* A line, or that one was too long. The bytes live until it returns. */
    void (*line)(struct connection *connection, enum lines_result result, const struct line *line);
    /* The peer has gone (0), the socket failed (-errno), or fds came that can belong to
     * no line (-EBADMSG). */
    void (*end)(struct connection *connection, int error);
    /* There is room to write, or the fds before have been read: flush it. */
    void (*writable)(struct connection *connection);
    /* The kernel would not take the fds of this message (ETOOMANYREFS); it has left
     * the queue. The piece is borrowed. */
    void (*refused)(struct connection *connection, const struct piece *piece);
    /* A line has begun and waits for its rest, or does not any more. */
    void (*unfinished)(struct connection *connection);
    /* Its unfinished line is more than its user may have. */
    void (*too_much)(struct connection *connection);
    /* Whether so many more fds may be held for it. */
    bool (*fds_fit)(struct connection *connection, unsigned more);
};

/* What all connections share. */
struct connection_shared {
    uv_loop_t *loop;
    const struct connection_handler *handler;
    struct outq_pool pool;
    struct lanes lanes;
    char *buffer;         /* CONNECTION_BUFFER_SIZE and padding */
    bool is_kernel_quick; /* to close a socket that has been read to its end */
    struct fds *room;     /* for what arrives when there is no memory for it */
    uv_poll_t drain;      /* of an epoll set, edge-triggered: sockets whose fds are unread */
    int drain_fd;
    uv_timer_t retry; /* of the writes that the kernel had no memory for */
    struct list retries;
    unsigned retry_ms;
    uint64_t turn;
    unsigned effort;     /* for the connection whose lines are taken */
    struct list fresh;   /* struct connection.waiting: to be read from … */
    struct list backlog; /* … and with lines that have been read */
};

struct connection {
    uv_poll_t poll;
    struct connection_shared *shared;
    struct fds *socket; /* what it is closed by … */
    int fd;             /* … and the one in it */
    struct lane *lane;
    int events;          /* what poll asks for */
    bool stopped;        /* no more lines are taken */
    bool draining;       /* fds in the queue wait for those in the socket */
    bool full;           /* the socket has taken no more, and has not said that it would */
    bool unfinished;     /* the beginning of a line has been read, or fds for one */
    bool ended;          /* the socket has been read to its end */
    bool failed;         /* the socket is in error; what it holds is still read */
    bool deaf;           /* nobody reads there any more: what is queued is let go of */
    unsigned fds_unread; /* how many are in the socket, not known to be read */
    bool has_backlog;    /* whole lines wait */
    struct list waiting; /* for a turn: in one of the lists of what is shared, or paused */
    uint64_t read_at;    /* milliseconds on the loop's clock: bytes came last … */
    uint64_t wrote_at;   /* … and went last */
    struct list retry_link;
    struct charge bytes;
    struct charge fds;
    struct lines lines;
    char *partial;
    size_t partial_size;
    size_t partial_capacity;
    struct fdqueue fdqueue;
    struct outq outq;
    struct latest_party latest; /* of what is in there … */
    struct share_holder shares; /* … and this, too */
    uint64_t bytes_sent;
};

/* 0 or -errno. `loop`, `log` and `handler` are borrowed. */
int connection_shared_init(struct connection_shared *shared, uv_loop_t *loop, struct log *log,
                           const struct connection_handler *handler);
/* Before the loop is closed; its own handle is closed by running the loop. */
void connection_shared_close(struct connection_shared *shared);
void connection_shared_deinit(struct connection_shared *shared);

/* Takes the socket, the only one of its set, on success only; a reference of its own to
 * the lane. 0 or -errno. */
int connection_init(struct connection *connection, struct connection_shared *shared,
                    struct fds *socket, struct lane *lane, size_t message_bytes);

/* Begins to read. 0 or -errno. */
int connection_start(struct connection *connection);

/* What it is to be told about its socket. 0 or -errno. */
int connection_set_events(struct connection *connection, int events);

/* In connection-read.c, like the four that follow: it is told. */
void connection_on_poll(uv_poll_t *poll, int status, int events);

/* Reads once and hands the lines out. 1 if there was something, 0 if not or at the
 * end, -errno when the connection is dead. */
int connection_read(struct connection *connection);

/* Begins a turn: serves those that have waited for it, as far as it goes. */
void connections_begin_turn(struct connection_shared *shared);

/* Whether it is not read from because of what its user has still to be closed. */
static inline bool connection_is_paused(const struct connection *connection)
{
    return connection->lane->full;
}

/* Whether somebody waits for the next turn. */
static inline bool connections_wait(const struct connection_shared *shared)
{
    return !list_is_empty(&shared->fresh) || !list_is_empty(&shared->backlog);
}

/* The same of one connection, to the last one. */
void connection_finish(struct connection *connection);

/* Takes no more lines from now on; what is queued can still be flushed. */
void connection_stop(struct connection *connection);

/* Writes what the socket takes, if it may take something; lets go of it all if the peer has closed.
 * 0, or -errno when the connection is dead. */
int connection_flush(struct connection *connection);

/* Whether the last flush has left something, because the peer does not read or the
 * kernel has no memory. */
static inline bool connection_is_blocked(const struct connection *connection)
{
    return connection->draining || connection->events & UV_WRITABLE ||
           !list_is_empty(&connection->retry_link);
}

/* The bytes held for it: what waits to be written, and a long unfinished line. */
uint64_t connection_bytes(const struct connection *connection);

/* Charges what is held by now. */
void connection_charge(struct connection *connection);

/* The fds held for it: those that wait to be written or to be read by it, and those of an
 * unfinished line. */
unsigned connection_count_fds(const struct connection *connection);

/* Finds out whether the fds in the socket have been read. */
void connection_look_for_fds(struct connection *connection);

/* Has it flushed once they have been read. False if there are none. */
bool connection_await_fds(struct connection *connection);

/* Closes everything; `closed` is called once the memory may be freed. */
void connection_close(struct connection *connection, uv_close_cb closed);

#endif
