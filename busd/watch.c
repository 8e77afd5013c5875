/* SPDX-License-Identifier: MIT */
#include "busd/watch.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "libbus/base/macros.h"

/* What a loop starts with: more than it has handles of its own. */
#define FIRST_COUNT 256

/* What libuv's array of watchers becomes if there is nothing else for it. All of this
 * happens on one thread, within one call. */
static void *aside;
static size_t aside_size;

static void *reallocate(void *old, size_t size)
{
    void *fresh = realloc(old, size);

    if (fresh || !aside || size > aside_size)
        return fresh;
    fresh = TAKE(aside);
    if (old)
        memcpy(fresh, old, MIN(malloc_usable_size(old), size));
    free(old);
    return fresh;
}

/* Puts memory aside for an array of so many watchers. libuv takes a power of two, and
 * has two entries of its own in it. */
static int put_aside(size_t count)
{
    size_t capacity = FIRST_COUNT;

    while (capacity < count + 2)
        capacity *= 2;
    aside = malloc(capacity * sizeof(void *));
    if (!aside)
        return -ENOMEM;
    aside_size = capacity * sizeof(void *);
    return 0;
}

int watch_init(void)
{
    int r = uv_replace_allocator(malloc, reallocate, calloc, free);

    return r < 0 ? r : put_aside(0);
}

void watch_deinit(void)
{
    free(TAKE(aside));
}

int watch_start(uv_poll_t *poll, int events, uv_poll_cb callback)
{
    struct epoll_event event = {0};
    uv_os_fd_t fd;

    int r = uv_fileno((uv_handle_t *)poll, &fd);
    if (r == 0 && (unsigned)fd >= poll->loop->nwatchers) {
        free(TAKE(aside));
        r = put_aside((size_t)fd + 1);
    }
    if (r == 0)
        r = uv_poll_start(poll, events, callback);
    free(TAKE(aside));
    if (r < 0)
        return r;
    event.data.fd = fd;
    if (epoll_ctl(uv_backend_fd(poll->loop), EPOLL_CTL_ADD, fd, &event) < 0 && errno != EEXIST) {
        r = -errno;
        uv_poll_stop(poll);
    }
    return r;
}
