/* SPDX-License-Identifier: MIT */
/*
 * What a user has still to be closed: the file descriptors that its connections have
 * passed, whoever got them, and the sockets of those that have left. It is closed by
 * busd/closer.h, and no user waits for what another one's takes.
 *
 * What is closed at once costs its user nothing. When it takes long, all that waits in
 * the lane is charged until close(2) has returned: sockets like connections, and file
 * descriptors like those that are left unread, as far as that is the user's fair share.
 * And while more than `fds_per_user` wait, taking long or not, nothing more is read from
 * any of the user's connections: they are `paused`, and go on when half of that is left.
 */
#ifndef BUSD_LANE_H
#define BUSD_LANE_H

#include "busd/closer.h"
#include "busd/quota.h"
#include "libbus/base/log.h"

struct lanes {
    struct closer *closer;
    struct log *log;
    struct list *resumed; /* where those go on that have been paused */
    struct list all;      /* struct lane.link */
    struct list leaving;  /* struct lane.leaving: those that nobody refers to */
    struct lane *stray;   /* of sockets that are no user's */
};

struct lane {
    struct closer_lane closing;
    struct lanes *lanes;
    struct quota_user *user; /* NULL for strays */
    unsigned refs;           /* connections, and sets that are not to be closed yet */
    struct list link;
    struct list leaving;
    struct charge charges[CLOSER_KINDS];
    bool full;
    bool told;          /* that it is */
    struct list paused; /* for whoever reads */
};

/* 0 or -errno. Log and list are borrowed. */
int lanes_init(struct lanes *lanes, uv_loop_t *loop, struct log *log, struct list *resumed);

/* Before the loop is closed; its own handles are closed by running the loop. */
void lanes_close(struct lanes *lanes);

/* Waits for what is still to be closed, as long as closer_end() does. What is left over
 * then keeps its memory until the process ends. */
void lanes_deinit(struct lanes *lanes);

/* A reference to the user's lane, made when there is none yet. NULL: out of memory. */
struct lane *lane_get(struct lanes *lanes, struct quota_user *user);
struct lane *lane_unref(struct lane *lane); /* NULL */

/* The set is closed here once it is not needed any more. */
void lane_adopt(struct lane *lane, struct fds *fds);

/* Closes the set now, whatever its references. */
void lane_put(struct lane *lane, enum closer_kind kind, struct fds *fds);

/* The same of the one connection in the set, which whoever is at its other end sees closed
 * at once. If closing it cannot take long, it does not wait behind what can. */
void lane_put_connection(struct lane *lane, struct fds *socket, bool is_quick);

/* Whether the user may have another connection, as far as it depends on how many sockets
 * are to be closed, and are not charged because it has not taken long yet. */
bool lane_has_room(const struct lane *lane);

#endif
