/* SPDX-License-Identifier: MIT */
/*
 * A listening socket and its place in the file system, before there is a loop to serve
 * it. Opened so that nobody is ever served by two daemons or by none, and nobody can
 * make us act on a file that is not ours: the folder must be a folder (not a link to
 * one) of ours or of root's in which nobody else can exchange files; a lock file beside
 * the socket is held for as long as the endpoint lives; a socket that is left from a
 * daemon that died is replaced; whatever else is in the way is left alone, and an error.
 *
 * The socket has its mode and its owner before it listens. At the end it is removed, if
 * it is still the same one; a daemon that may not do so any more (privileges_drop())
 * leaves it for the next one to find stale.
 */
#ifndef BUSD_ENDPOINT_H
#define BUSD_ENDPOINT_H

#include <sys/types.h>

#include "libbus/base/log.h"

struct endpoint_options {
    const char *address; /* as on the command line */
    mode_t mode;         /* of the socket file, which also gets … */
    uid_t owner;         /* … this owner and … */
    gid_t group;         /* … this group; (uid_t)-1 and (gid_t)-1: ours */
    uid_t user;          /* whom we are going to be; (uid_t)-1: who we are */
};

struct endpoint {
    int fd;        /* -1: it is none */
    int folder_fd; /* -1: an abstract or inherited socket */
    int lock_fd;
    char *path; /* as given, NULL for an abstract or inherited socket */
    char *name; /* within the folder, and … */
    char *lock_name;
    dev_t device; /* … the file that bind(2) made */
    ino_t inode;
};

#define ENDPOINT_NONE ((struct endpoint){.fd = -1, .folder_fd = -1, .lock_fd = -1})

/* 0 or -errno; the log says what was wrong and what would be right. Nothing is left
 * then. */
int endpoint_open(struct endpoint *ret_endpoint, const struct endpoint_options *options,
                  struct log *log);

/* Gives the socket file another mode, owner and group ((uid_t)-1 and (gid_t)-1: ours);
 * without a file there is nothing to be done. 0 or -errno. */
int endpoint_set_access(const struct endpoint *endpoint, mode_t mode, uid_t owner, gid_t group);

/* Stops listening, removes the socket and the lock. Idempotent. */
void endpoint_close(struct endpoint *endpoint);

#endif
