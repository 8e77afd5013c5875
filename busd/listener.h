/* SPDX-License-Identifier: MIT */
/*
 * A socket that clients connect to, on the loop. It takes an endpoint, whose socket and
 * files it has from then on, and hands out whoever connects.
 *
 * When file descriptors or memory run out, accepting pauses for 10 ms to 1 s. The
 * last file descriptors are not for connections: with one of them a waiting client is
 * told to go rather than hang, the others are for what the clients that are there send
 * each other.
 */
#ifndef BUSD_LISTENER_H
#define BUSD_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "busd/endpoint.h"
#include "busd/lane.h"
#include "libbus/base/list.h"
#include "libbus/base/log.h"
#include "libbus/wire/fdqueue.h"

struct listener;

/* A client has connected; takes the set, in which its socket is the only one. It is to
 * be shed if no file descriptors are left for it. */
typedef void (*listener_accept)(struct listener *listener, struct fds *socket, bool shed,
                                void *userdata);

struct listener {
    struct list link; /* for the owner, as is … */
    uint64_t id;      /* … what its clients remember it by */
    uv_poll_t poll;
    uv_timer_t pause;
    unsigned pause_ms;
    unsigned open_handles;
    int reserve_fd;
    struct fds *next; /* for the socket of the next one: whatever is accepted can be closed */
    char *address;
    char *label;
    char *next_label; /* prepared; NULL: none */
    struct endpoint endpoint;
    struct fds *socket; /* what its socket is closed by, with those who still wait in it */
    struct lanes *lanes;
    struct log *log;
    listener_accept accept;
    void *userdata;
};

struct listener_options {
    struct lanes *lanes; /* borrowed */
    struct log *log;     /* borrowed */
    const char *address;
    const char *label; /* may be empty */
    listener_accept accept;
    void *userdata;
};

/* Heap object. Takes the endpoint, whatever comes of it; the texts are copied. 0 or
 * -errno; the log says why. */
int listener_new(uv_loop_t *loop, struct endpoint *endpoint, const struct listener_options *options,
                 struct listener **ret_listener);

/* Makes ready to set another label, which cannot fail then. 0 or -ENOMEM. */
int listener_prepare_label(struct listener *listener, const char *label);

/* Sets the label that was prepared, or lets go of it when it is another one. */
void listener_set_label(struct listener *listener, const char *label);

/* Gives the socket file another mode, owner and group; without a file there is nothing
 * to be done. 0 or -errno; the log says why. */
int listener_set_access(struct listener *listener, mode_t mode, uid_t owner, gid_t group);

/* Accepts no more and removes the socket file; frees itself when libuv has done
 * with it. */
void listener_close(struct listener *listener);

#endif
