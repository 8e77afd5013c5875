/* SPDX-License-Identifier: MIT */
/*
 * File descriptors on their way: `struct fds` is a shared set that belongs to
 * one message; `struct fdqueue` keeps apart the batches that have arrived on a
 * stream until the lines they belong to are read.
 *
 * The rule (protocol section 3): a line with `fds: n` takes exactly one batch,
 * which holds exactly n. A read may return older lines together with the line
 * whose batch came with it, and it stops after the piece that bears the batch;
 * so each batch is kept with the stream offset at which its read ended, and a
 * batch can only belong to a line that begins before that offset.
 */
#ifndef LIBBUS_WIRE_FDQUEUE_H
#define LIBBUS_WIRE_FDQUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "libbus/base/list.h"
#include "libbus/wire/lines.h"

/* SCM_MAX_FD of the kernel, unix(7). */
#define FDS_MAX 253

struct fds {
    struct list link; /* for whoever holds the set; the queue, then a closer */
    unsigned refs;
    unsigned count;
    bool truncated; /* MSG_CTRUNC: the kernel gave fewer than were sent */
    uint64_t end;   /* stream offset at which the read that brought it ended */
    /* Called by the last fds_unref() instead of closing at once; takes the set.
     * NULL: close(2) each and free. */
    void (*release)(struct fds *fds, void *userdata);
    void *userdata;
    int fd[];
};

/* NULL when out of memory; the fds are not touched in that case. Otherwise the
 * set owns them. */
struct fds *fds_new(const int *fd, unsigned count);
/* An empty set with room for FDS_MAX. NULL when out of memory. */
struct fds *fds_new_room(void);

struct fds *fds_ref(struct fds *fds);
struct fds *fds_unref(struct fds *fds); /* NULL */

/* Closes and frees at once, whatever `release` says. */
void fds_destroy(struct fds *fds);

struct fdqueue {
    struct list batches; /* struct fds, oldest first */
};

void fdqueue_init(struct fdqueue *queue);
void fdqueue_deinit(struct fdqueue *queue);

/* Takes the set. */
void fdqueue_push(struct fdqueue *queue, struct fds *fds);

enum fdqueue_result {
    FDQUEUE_OK,        /* *ret_fds is the line's set, NULL if it has none */
    FDQUEUE_TRUNCATED, /* the batch was there but cut short; it is closed, all is in step */
    FDQUEUE_MISMATCH,  /* out of step for good: end the connection */
};

/* The batch of a line that declares `count` fds (0: none). */
enum fdqueue_result fdqueue_take(struct fdqueue *queue, const struct line *line, unsigned count,
                                 struct fds **ret_fds);

/* How many fds are in the queue. */
unsigned fdqueue_count(const struct fdqueue *queue);

/* Closes them all; the lines they belong to will find their batches cut short. */
void fdqueue_truncate(struct fdqueue *queue);

/* For a line that could not be read: drops the batches that can belong to no
 * later line. */
void fdqueue_skip(struct fdqueue *queue, const struct line *line);

#endif
