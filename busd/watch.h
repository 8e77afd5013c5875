/* SPDX-License-Identifier: MIT */
/*
 * Watching a file descriptor with libuv, without the two places in which libuv
 * aborts when something has run out: here they are errors that the caller can
 * answer.
 *
 *   - The first use of a high file descriptor makes libuv enlarge an array. The memory
 *     for that is put aside before.
 *   - When the loop is about to wait, libuv adds the file descriptor to its epoll set,
 *     for which the kernel may have no room (ENOMEM, ENOSPC). It is added here
 *     before; for one that is there already libuv only sets the events, which needs
 *     no room.
 */
#ifndef BUSD_WATCH_H
#define BUSD_WATCH_H

#include <uv.h>

/* To be called before anything else of libuv's. 0 or -ENOMEM. */
int watch_init(void);
void watch_deinit(void);

/* Like uv_poll_start(), but 0 or -errno; the handle does not watch on failure. */
int watch_start(uv_poll_t *poll, int events, uv_poll_cb callback);

#endif
