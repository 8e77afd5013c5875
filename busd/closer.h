/* SPDX-License-Identifier: MIT */
/*
 * Closes file descriptors off the loop, on a thread of its own, because close(2) can
 * block for as long as a FUSE or NFS server, or a lingering socket, likes. Used for
 * whatever clients have passed, and for their sockets, which may hold more of it.
 *
 * The thread begins with the first file descriptor. If it cannot (libuv's pool would
 * abort then), that one is closed on the spot, and the next one tries again.
 */
#ifndef BUSD_CLOSER_H
#define BUSD_CLOSER_H

#include <pthread.h>
#include <stdbool.h>

#include "libbus/base/list.h"
#include "libbus/wire/fdqueue.h"

struct closer {
    pthread_t thread;
    bool running; /* there is a thread */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct list waiting; /* struct fds; with the mutex, like … */
    bool ready;          /* … whether the thread has begun … */
    bool leaving;        /* … and whether it is to end */
};

void closer_init(struct closer *closer);

/* Starts the thread, which otherwise begins with the first file descriptor, and waits
 * until it runs. 0 or -errno. */
int closer_start(struct closer *closer);

/* Waits until everything is closed. */
void closer_deinit(struct closer *closer);

/* Takes the set: whatever its references, it is closed. */
void closer_take(struct closer *closer, struct fds *fds);

/* Takes one file descriptor. */
void closer_take_fd(struct closer *closer, int fd);

/* A `release` for struct fds, with the closer as userdata. */
void closer_release(struct fds *fds, void *userdata);

#endif
