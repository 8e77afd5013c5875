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

int credentials_read(struct credentials *ret_credentials, int fd)
{
    struct credentials credentials = {0};
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return -errno;
    credentials.pid = peer.pid;
    credentials.uid = peer.uid;
    credentials.gid = peer.gid;
    int r = read_groups(&credentials, fd);
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
