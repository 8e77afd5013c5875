/* SPDX-License-Identifier: MIT */
/*
 * Closes file descriptors off the loop, on a thread of libuv's pool, because
 * close(2) can block for as long as a FUSE or NFS server, or a lingering socket,
 * likes. Used for whatever clients have passed, and for their sockets, which may
 * hold more of it.
 */
#ifndef BUSD_CLOSER_H
#define BUSD_CLOSER_H

#include <stdbool.h>
#include <uv.h>

#include "libbus/base/list.h"
#include "libbus/wire/fdqueue.h"

struct closer {
    uv_loop_t *loop;
    uv_work_t work;
    struct list waiting; /* struct fds to be closed next … */
    struct list closing; /* … and those in the thread's hands */
    bool busy;
};

void closer_init(struct closer *closer, uv_loop_t *loop);

/* Closes on the spot what the thread has not been given yet. Not while busy. */
void closer_deinit(struct closer *closer);

/* Takes the set: whatever its references, it is closed. */
void closer_take(struct closer *closer, struct fds *fds);

/* Takes one file descriptor. */
void closer_take_fd(struct closer *closer, int fd);

/* A `release` for struct fds, with the closer as userdata. */
void closer_release(struct fds *fds, void *userdata);

#endif
