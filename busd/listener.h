/* SPDX-License-Identifier: MIT */
/*
 * A socket that clients connect to, on the loop. It takes an endpoint, whose socket and
 * files it has from then on, and hands out whoever connects.
 *
 * When file descriptors or memory run out, accepting pauses for 10 ms to 1 s; a
 * file descriptor held in reserve lets the waiting client be told to go rather than
 * hang.
 */
#ifndef BUSD_LISTENER_H
#define BUSD_LISTENER_H

#include <uv.h>

#include "busd/endpoint.h"
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
    int reserve_fd;
    struct endpoint endpoint;
    struct log *log;
    listener_accept accept;
    void *userdata;
};

/* Heap object. Takes the endpoint, whatever comes of it. 0 or -errno; the log says why. */
int listener_new(uv_loop_t *loop, struct log *log, struct endpoint *endpoint,
                 listener_accept accept, void *userdata, struct listener **ret_listener);

/* Accepts no more and removes the socket file; frees itself when libuv has done
 * with it. */
void listener_close(struct listener *listener);

#endif
