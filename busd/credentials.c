/* SPDX-License-Identifier: MIT */
#include "busd/credentials.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "libbus/base/macros.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

static int read_groups(struct credentials *credentials, int fd)
{
    socklen_t size = 0;

    /* ERANGE comes with the size that is needed; 0 groups succeed at once. */
    while (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, credentials->gids, &size) < 0) {
        if (errno == ENOPROTOOPT || errno == ENODATA) {
            size = 0;
            break;
        }
        if (errno != ERANGE)
            return -errno;
        gid_t *gids = realloc(credentials->gids, size);
        if (!gids)
            return -ENOMEM;
        credentials->gids = gids;
    }
    credentials->gid_count = size / sizeof(gid_t);
    return 0;
}

/* A socket without a peer has a pid of 0 and no uid, as (uid_t)-1 says; whatever else
 * comes of it, it must never look like somebody. */
static int read_peer(int fd, struct ucred *ret_peer)
{
    struct ucred peer = {0, (uid_t)-1, (gid_t)-1};
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return -errno;
    if (size != sizeof(peer) || peer.uid == (uid_t)-1 || peer.gid == (gid_t)-1)
        return -ENODATA;
    *ret_peer = peer;
    return 0;
}

void credentials_peek(int fd, uid_t *ret_uid, pid_t *ret_pid)
{
    struct ucred peer;

    if (read_peer(fd, &peer) < 0)
        return;
    *ret_uid = peer.uid;
    *ret_pid = peer.pid;
}

int credentials_read(struct credentials *ret_credentials, int fd)
{
    struct credentials credentials = {0};
    struct ucred peer;

    int r = read_peer(fd, &peer);
    if (r < 0)
        return r;
    credentials.pid = peer.pid;
    credentials.uid = peer.uid;
    credentials.gid = peer.gid;
    r = read_groups(&credentials, fd);
    if (r < 0) {
        credentials_deinit(&credentials);
        return r;
    }
    *ret_credentials = credentials;
    return 0;
}

void credentials_deinit(struct credentials *credentials)
{
    free(TAKE(credentials->gids));
    credentials->gid_count = 0;
}

int credentials_pidfd(int fd)
{
    int pidfd;
    socklen_t size = sizeof(pidfd);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0)
        return -errno;
    return pidfd;
}
