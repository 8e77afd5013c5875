/* SPDX-License-Identifier: MIT */
/*
 * What the daemon may do: taken away at start, once the sockets are there and before
 * the loop is, so that nothing that was set up with the old credentials (a thread, an
 * io_uring) lives on with them.
 */
#ifndef BUSD_PRIVILEGES_H
#define BUSD_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

#include "libbus/base/log.h"

struct privileges_user {
    const char *name; /* as it was given, borrowed; NULL: nobody else than we are */
    uid_t uid;
    gid_t gid;
};

/* Looks up a user by name or number. 0; -ENOENT: there is none; -EINVAL: it is root;
 * -EPERM: we are not root, and so cannot become another one; else -errno. */
int privileges_find_user(const char *name, struct privileges_user *ret_user);

/* Opens /dev/null for whichever of the file descriptors 0 to 2 is closed, so that
 * nothing written to standard error ends up in a client's socket. 0 or -errno. */
int privileges_fill_standard_fds(void);

/* Becomes this user for good: no other uid or gid in any place, no supplementary groups,
 * no capabilities now or ever; each looked up afterwards. Nothing for a user without a
 * name. 0 or -errno; the log says what could not be done. */
int privileges_drop(const struct privileges_user *user, struct log *log);

/* No privileges by execve(2) either, no core dumps, and no tracing by others of the
 * same user. 0 or -errno; the log says why. */
int privileges_seal(struct log *log);

/* As many open files as the hard limit allows: a client costs one or two, and so does
 * what passes. */
void privileges_raise_file_limit(struct log *log);

#endif
