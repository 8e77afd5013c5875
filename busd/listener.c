/* SPDX-License-Identifier: MIT */
#include "busd/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "busd/fatal.h"
#include "busd/watch.h"
#include "libbus/base/macros.h"

#define ACCEPTS_A_WAKE   2
#define PAUSE_FIRST_MS   10
#define PAUSE_LONGEST_MS 1000
/* File descriptors that no connection gets, for what those there are send each other:
 * so many, but no more than this part of the limit. */
#define SPARED_FDS  32
#define SPARED_PART 8

static void on_readable(uv_poll_t *poll, int status, int events);
static void pause_accepting(struct listener *listener, int error);

/* ----------------------------------------------------------- accepting */

/* A file descriptor that needs no file: the sandbox lets none be opened. */
static int open_reserve(void)
{
    return eventfd(0, EFD_CLOEXEC);
}

static void on_pause_over(uv_timer_t *timer)
{
    struct listener *listener = CONTAINER_OF(timer, struct listener, pause);

    if (listener->reserve_fd < 0)
        listener->reserve_fd = open_reserve();
    int r = watch_start(&listener->poll, UV_READABLE, on_readable);
    if (r < 0)
        pause_accepting(listener, -r);
}

/* Whether the file descriptor is among those to be spared. */
static bool is_spared(int fd)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return false;
    return (rlim_t)fd >= limit.rlim_cur - MIN(limit.rlim_cur / SPARED_PART, (rlim_t)SPARED_FDS);
}

/* Hands it on to whoever takes clients, in the set that has been kept for it. */
static void hand_on(struct listener *listener, int fd, bool shed)
{
    struct fds *socket = TAKE(listener->next);

    socket->fd[0] = fd;
    listener->accept(listener, socket, shed, listener->userdata);
}

/* Lets one that waits know why it cannot be served, rather than hang. */
static void shed_with_reserve(struct listener *listener)
{
    if (listener->reserve_fd < 0)
        return;
    close(TAKE_FD(listener->reserve_fd));
    int fd = accept4(listener->endpoint.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        hand_on(listener, fd, true);
    listener->reserve_fd = open_reserve();
}

/* Accepting goes on later, so that it does not spin meanwhile. */
static void pause_accepting(struct listener *listener, int error)
{
    listener->pause_ms =
        MIN(MAX(listener->pause_ms * 2, (unsigned)PAUSE_FIRST_MS), (unsigned)PAUSE_LONGEST_MS);
    log_limited(listener->log, LOG_LEVEL_WARNING, "cannot accept a connection: %s; pausing %u ms",
                strerror(error), listener->pause_ms);
    uv_poll_stop(&listener->poll);
    uv_timer_start(&listener->pause, on_pause_over, listener->pause_ms, 0);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = CONTAINER_OF(poll, struct listener, poll);

    for (int i = 0; i < ACCEPTS_A_WAKE; i++) {
        if (!listener->next && !(listener->next = fds_new(&(int){-1}, 1))) {
            pause_accepting(listener, ENOMEM);
            return;
        }
        int fd = accept4(listener->endpoint.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        int error = fd < 0 ? errno : 0;
        if (error == EINTR || error == ECONNABORTED)
            continue;
        if (error == EAGAIN)
            return;
        fatal_check(listener->log, "accepting a connection", error);
        if (error == EMFILE || error == ENFILE)
            shed_with_reserve(listener);
        if (fd >= 0 && is_spared(fd)) {
            hand_on(listener, fd, true);
            error = EMFILE;
        }
        if (error != 0) {
            pause_accepting(listener, error);
            return;
        }
        listener->pause_ms = 0;
        hand_on(listener, fd, false);
    }
}

/* ------------------------------------------------------------ lifetime */

static void listener_free(struct listener *listener)
{
    endpoint_close(&listener->endpoint);
    if (listener->reserve_fd >= 0)
        close(listener->reserve_fd);
    fds_unref(listener->next);
    fds_unref(listener->socket);
    free(listener->address);
    free(listener->label);
    free(listener->next_label);
    free(listener);
}

static void on_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;

    if (--listener->open_handles == 0)
        listener_free(listener);
}

static int fail(struct log *log, int error)
{
    log_write(log, LOG_LEVEL_ERROR, "cannot serve a socket: %s", uv_strerror(error));
    return error;
}

int listener_new(uv_loop_t *loop, struct endpoint *endpoint, const struct listener_options *options,
                 struct listener **ret_listener)
{
    struct listener *listener = malloc(sizeof(*listener));
    if (!listener) {
        endpoint_close(endpoint);
        return fail(options->log, -ENOMEM);
    }
    *listener = (struct listener){.endpoint = *endpoint,
                                  .reserve_fd = open_reserve(),
                                  .lanes = options->lanes,
                                  .log = options->log,
                                  .accept = options->accept,
                                  .userdata = options->userdata};
    list_init(&listener->link);
    listener->address = strdup(options->address);
    listener->label = strdup(options->label);
    listener->socket = fds_new(&(int){-1}, 1);
    *endpoint = ENDPOINT_NONE;
    int r = listener->address && listener->label && listener->socket ? 0 : -ENOMEM;
    if (r == 0)
        r = uv_poll_init(loop, &listener->poll, listener->endpoint.fd);
    if (r < 0) {
        listener_free(listener);
        return fail(options->log, r);
    }
    uv_timer_init(loop, &listener->pause);
    listener->poll.data = listener;
    listener->pause.data = listener;
    listener->open_handles = 2;
    r = watch_start(&listener->poll, UV_READABLE, on_readable);
    if (r < 0) {
        listener_close(listener);
        return fail(options->log, r);
    }
    *ret_listener = listener;
    return 0;
}

int listener_prepare_label(struct listener *listener, const char *label)
{
    free(TAKE(listener->next_label));
    if (strcmp(listener->label, label) == 0)
        return 0;
    listener->next_label = strdup(label);
    return listener->next_label ? 0 : -ENOMEM;
}

void listener_set_label(struct listener *listener, const char *label)
{
    char *next = TAKE(listener->next_label);

    if (next && strcmp(next, label) == 0) {
        free(listener->label);
        listener->label = TAKE(next);
    }
    free(next);
}

int listener_set_access(struct listener *listener, mode_t mode, uid_t owner, gid_t group)
{
    int r = endpoint_set_access(&listener->endpoint, mode, owner, group);

    if (r < 0)
        log_write(listener->log, LOG_LEVEL_ERROR, "cannot change who may connect to %s: %s",
                  listener->address, strerror(-r));
    return r;
}

void listener_close(struct listener *listener)
{
    list_remove(&listener->link);
    uv_close((uv_handle_t *)&listener->poll, on_closed);
    uv_close((uv_handle_t *)&listener->pause, on_closed);
    listener->socket->fd[0] = TAKE_FD(listener->endpoint.fd);
    endpoint_close(&listener->endpoint);
    lane_put(listener->lanes->stray, CLOSER_SOCKETS, TAKE(listener->socket));
}
