/* SPDX-License-Identifier: MIT */
/*
 * Who is at the other end of a socket, by the kernel's word at the time of its
 * connect(2): never by what the client says, and never looked up by pid.
 */
#ifndef BUSD_CREDENTIALS_H
#define BUSD_CREDENTIALS_H

#include <stddef.h>
#include <sys/types.h>

struct credentials {
    pid_t pid; /* 0: in a pid namespace that we cannot see */
    uid_t uid;
    gid_t gid;
    gid_t *gids; /* supplementary groups, owned */
    size_t gid_count;
};

/* SO_PEERCRED and SO_PEERGROUPS, unix(7) and socket(7). 0, or -errno with nothing
 * to be freed: whoever cannot be identified gets no connection. */
int credentials_read(struct credentials *ret_credentials, int fd);

/* The first two of them, for one who will get no connection. Untouched if they cannot
 * be had. */
void credentials_peek(int fd, uid_t *ret_uid, pid_t *ret_pid);

void credentials_deinit(struct credentials *credentials);

/* A pidfd of the process that connected (SO_PEERPIDFD, Linux 6.5): it cannot mean
 * another process that got the same pid later. The caller owns it. -errno when the
 * kernel has none to give. */
int credentials_pidfd(int fd);

#endif
