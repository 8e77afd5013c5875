/* SPDX-License-Identifier: MIT */
/*
 * A socket that clients connect to. Binds it so that nobody is ever served by two
 * daemons or by none: a lock file beside the socket is held for as long as the
 * listener lives, a socket that is left from a daemon that died is replaced, a
 * live one never touched. The mode is set before anybody can connect.
 *
 * When file descriptors or memory run out, accepting pauses for 10 ms to 1 s. The
 * last file descriptors are not for connections: with one of them a waiting client is
 * told to go rather than hang, the others are for what the clients that are there send
 * each other.
 */
#ifndef BUSD_LISTENER_H
#define BUSD_LISTENER_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "libbus/base/list.h"
#include "libbus/base/log.h"

struct listener;

/* A client has connected; takes the socket. */
typedef void (*listener_accept)(struct listener *listener, int fd, void *userdata);

struct listener {
    struct list link; /* for the owner */
    uv_poll_t poll;
    uv_timer_t pause;
    unsigned pause_ms;
    unsigned open_handles;
    int fd;
    int lock_fd;
    int reserve_fd;
    char *path; /* of the socket file, NULL for an abstract or inherited one */
    char *lock_path;
    struct log *log;
    listener_accept accept;
    void *userdata;
};

struct listener_options {
    const char *address; /* as on the command line */
    mode_t mode;         /* of the socket file, which also gets … */
    uid_t owner;         /* … this owner and … */
    gid_t group;         /* … this group; (uid_t)-1 and (gid_t)-1: ours */
};

/* Heap object; the options are borrowed for the call. 0 or -errno; the log says what
 * was wrong and what would be right. */
int listener_new(uv_loop_t *loop, struct log *log, const struct listener_options *options,
                 listener_accept accept, void *userdata, struct listener **ret_listener);

/* Accepts no more and removes the socket file; frees itself when libuv has done
 * with it. */
void listener_close(struct listener *listener);

#endif
