/* SPDX-License-Identifier: MIT */
#include "busd/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "busd/fatal.h"
#include "busd/watch.h"
#include "libbus/base/macros.h"
#include "libbus/wire/address.h"
#include "libbus/wire/errors.h"
#include "libbus/wire/sockio.h"

#define BACKLOG          1024
#define ACCEPTS_A_WAKE   16
#define PAUSE_FIRST_MS   10
#define PAUSE_LONGEST_MS 1000
/* File descriptors that no connection gets, for what those there are send each other:
 * so many, but no more than this part of the limit. */
#define SPARED_FDS  32
#define SPARED_PART 8

static void on_readable(uv_poll_t *poll, int status, int events);
static void pause_accepting(struct listener *listener, int error);

static int fail(struct log *log, int error, const char *address, const char *why)
{
    log_write(log, LOG_LEVEL_ERROR, "cannot listen on %s: %s", address, why);
    return error;
}

/* ------------------------------------------------------------- binding */

/* Takes the lock that says whose the socket is. The file must still be the one in
 * the folder once it is locked: a daemon that was just leaving removes it. */
static int take_lock(struct listener *listener, const char *address)
{
    for (;;) {
        struct stat here, there;
        CLEANUP(cleanup_close)
        int fd = open(listener->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) {
            int error = -errno;
            return fail(listener->log, error, address,
                        error == -ENOENT ? "its folder does not exist: create it first"
                                         : strerror(-error));
        }
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
            return fail(listener->log, -EADDRINUSE, address,
                        "another busd serves this address: stop it, or choose another one");
        if (fstat(fd, &here) == 0 && stat(listener->lock_path, &there) == 0 &&
            here.st_ino == there.st_ino && here.st_dev == there.st_dev) {
            listener->lock_fd = TAKE_FD(fd);
            return 0;
        }
    }
}

/* Removes what a daemon that died has left; never a live socket, nor anything that
 * is not a socket of ours. */
static int remove_stale(struct listener *listener, const struct address *address, const char *text)
{
    struct stat status;

    if (lstat(listener->path, &status) < 0)
        return errno == ENOENT ? 0 : fail(listener->log, -errno, text, strerror(errno));
    if (!S_ISSOCK(status.st_mode))
        return fail(listener->log, -EADDRINUSE, text, "there is a file that is not a socket");
    if (status.st_uid != geteuid())
        return fail(listener->log, -EADDRINUSE, text, "there is a socket of another user");

    CLEANUP(cleanup_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(listener->log, -errno, text, strerror(errno));
    if (connect(fd, (const struct sockaddr *)&address->socket, address->size) == 0 ||
        errno != ECONNREFUSED)
        return fail(listener->log, -EADDRINUSE, text, "some program serves this address");
    if (unlink(listener->path) < 0)
        return fail(listener->log, -errno, text, strerror(errno));
    log_write(listener->log, LOG_LEVEL_NOTICE, "replaced the stale socket %s", listener->path);
    return 0;
}

static int bind_address(struct listener *listener, const struct address *address,
                        const struct listener_options *options)
{
    const char *text = options->address;

    CLEANUP(cleanup_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(listener->log, -errno, text, strerror(errno));

    if (address->path) {
        listener->path = strdup(address->path);
        if (!listener->path || asprintf(&listener->lock_path, "%s.lock", address->path) < 0)
            return fail(listener->log, -ENOMEM, text, strerror(ENOMEM));
        int r = take_lock(listener, text);
        if (r == 0)
            r = remove_stale(listener, address, text);
        if (r < 0)
            return r;
    }
    /* Nobody can connect before listen(), so the mode is in force in time. */
    mode_t mask = umask(0777 & ~options->mode);
    int r = bind(fd, (const struct sockaddr *)&address->socket, address->size);
    umask(mask);
    if (r < 0)
        return fail(listener->log, -errno, text,
                    errno == EADDRINUSE ? "some program serves this address" : strerror(errno));
    if (listener->path && lchown(listener->path, options->owner, options->group) < 0)
        return fail(listener->log, -errno, text, strerror(errno));
    if (listen(fd, BACKLOG) < 0)
        return fail(listener->log, -errno, text, strerror(errno));
    listener->fd = TAKE_FD(fd);
    return 0;
}

/* A listening socket that we were started with. */
static int adopt(struct listener *listener, int fd, const char *text)
{
    int domain, listening;
    socklen_t size = sizeof(domain);
    socklen_t listening_size = sizeof(listening);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_UNIX ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_size) < 0 || !listening)
        return fail(listener->log, -ENOTSOCK, text, "it is not a listening AF_UNIX socket");
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return fail(listener->log, -errno, text, strerror(errno));
    listener->fd = fd;
    return 0;
}

/* ----------------------------------------------------------- accepting */

static int open_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
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

/* Lets one that waits know why it cannot be served, rather than hang. */
static void shed(int fd)
{
    char line[160];
    int size = snprintf(line, sizeof(line),
                        "{\"sender\":\"bus\",\"type\":\"error\",\"error\":\"%s\",\"message\":"
                        "\"the bus has no file descriptors left\"}\n",
                        wire_error_name(WIRE_LIMIT_EXCEEDED));
    struct iovec iov = {line, (size_t)size};

    /* One that has left already needs no reason. */
    sockio_send(fd, &iov, 1, NULL);
    close(fd);
}

static void shed_with_reserve(struct listener *listener)
{
    if (listener->reserve_fd < 0)
        return;
    close(TAKE_FD(listener->reserve_fd));
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        shed(fd);
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
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        int error = fd < 0 ? errno : 0;
        if (error == EINTR || error == ECONNABORTED)
            continue;
        if (error == EAGAIN)
            return;
        fatal_check(listener->log, "accepting a connection", error);
        if (error == EMFILE || error == ENFILE)
            shed_with_reserve(listener);
        if (fd >= 0 && is_spared(fd)) {
            shed(fd);
            error = EMFILE;
        }
        if (error != 0) {
            pause_accepting(listener, error);
            return;
        }
        listener->pause_ms = 0;
        listener->accept(listener, fd, listener->userdata);
    }
}

/* ------------------------------------------------------------ lifetime */

static void release(struct listener *listener)
{
    if (listener->path && listener->lock_fd >= 0 && listener->fd >= 0)
        unlink(listener->path);
    if (listener->fd >= 0)
        close(TAKE_FD(listener->fd));
    if (listener->reserve_fd >= 0)
        close(TAKE_FD(listener->reserve_fd));
    if (listener->lock_fd >= 0) {
        unlink(listener->lock_path);
        close(TAKE_FD(listener->lock_fd));
    }
}

static void listener_free(struct listener *listener)
{
    release(listener);
    free(listener->path);
    free(listener->lock_path);
    free(listener);
}

static void on_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;

    if (--listener->open_handles == 0)
        listener_free(listener);
}

int listener_new(uv_loop_t *loop, struct log *log, const struct listener_options *options,
                 listener_accept accept, void *userdata, struct listener **ret_listener)
{
    const char *text = options->address;
    struct address address;

    int r = address_parse(text, &address);
    if (r == -ENAMETOOLONG)
        return fail(log, r, text, "the path is longer than the 107 bytes a socket can have");
    if (r < 0)
        return fail(log, r, text, "an address is unix:/path, a path, unix:@abstract or fd:N");

    struct listener *listener = malloc(sizeof(*listener));
    if (!listener)
        return fail(log, -ENOMEM, text, strerror(ENOMEM));
    *listener = (struct listener){.fd = -1,
                                  .lock_fd = -1,
                                  .reserve_fd = open_reserve(),
                                  .log = log,
                                  .accept = accept,
                                  .userdata = userdata};
    list_init(&listener->link);
    r = address.fd >= 0 ? adopt(listener, address.fd, text)
                        : bind_address(listener, &address, options);
    if (r < 0) {
        listener_free(listener);
        return r;
    }
    r = uv_poll_init(loop, &listener->poll, listener->fd);
    if (r < 0) {
        listener_free(listener);
        return fail(log, r, text, uv_strerror(r));
    }
    uv_timer_init(loop, &listener->pause);
    listener->poll.data = listener;
    listener->pause.data = listener;
    listener->open_handles = 2;
    r = watch_start(&listener->poll, UV_READABLE, on_readable);
    if (r < 0) {
        listener_close(listener);
        return fail(log, r, text, uv_strerror(r));
    }
    *ret_listener = listener;
    return 0;
}

void listener_close(struct listener *listener)
{
    list_remove(&listener->link);
    uv_close((uv_handle_t *)&listener->poll, on_closed);
    uv_close((uv_handle_t *)&listener->pause, on_closed);
    release(listener);
}
