/* SPDX-License-Identifier: MIT */
#include "libbus/wire/sockio.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "libbus/base/macros.h"
#include "libbus/wire/fdqueue.h"

/* Big enough for the kernel's maximum, so that MSG_CTRUNC can only mean that our
 * own table is full or that a security module refused. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
};

/* The fds of all SCM_RIGHTS messages, at most FDS_MAX; returns their number. */
static unsigned collect(struct msghdr *message, int *fd)
{
    unsigned count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        /* Whole fds only: the length may include padding. */
        unsigned n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fd + count, CMSG_DATA(c), n * sizeof(int));
        count += n;
    }
    return count;
}

/* The set goes into `room` if there is no memory for one of its own size. */
static struct fds *make_set(const int *fd, unsigned count, struct fds **room)
{
    struct fds *fds = fds_new(fd, count);

    if (fds || !room)
        return fds;
    fds = TAKE(*room);
    fds->count = count;
    memcpy(fds->fd, fd, count * sizeof(*fd));
    return fds;
}

ssize_t sockio_recv_with(int fd, void *buffer, size_t size, struct fds **room, struct fds **ret_fds)
{
    union control control;
    struct iovec iov = {buffer, size};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    ssize_t n;

    do {
        n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;

    bool truncated = message.msg_flags & MSG_CTRUNC;
    if (message.msg_controllen == 0 && !truncated) {
        *ret_fds = NULL;
        return n;
    }

    int received[FDS_MAX];
    unsigned count = collect(&message, received);
    struct fds *fds = NULL;
    if (count > 0 || truncated) {
        fds = make_set(received, count, room);
        if (!fds) {
            for (unsigned i = 0; i < count; i++)
                close(received[i]);
            return -ENOMEM;
        }
        fds->truncated = truncated;
    }
    *ret_fds = fds;
    return n;
}

ssize_t sockio_recv(int fd, void *buffer, size_t size, struct fds **ret_fds)
{
    return sockio_recv_with(fd, buffer, size, NULL, ret_fds);
}

ssize_t sockio_send(int fd, const struct iovec *iov, size_t count, const struct fds *fds)
{
    union control control;
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = count};
    ssize_t n;

    if (fds) {
        size_t size = fds->count * sizeof(int);
        memset(&control, 0, CMSG_SPACE(size));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(&control.header), fds->fd, size);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(size);
    }
    do {
        n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int sockio_unread(int fd)
{
    int unread;

    return ioctl(fd, SIOCOUTQ, &unread) < 0 ? -errno : unread;
}

int sockio_is_drained(int fd)
{
    int unread = sockio_unread(fd);

    if (unread < 0)
        return unread;
    /* The kernel gives an skb's last unit back only after it has woken us, so 1
     * may be left of what has been read (sock_wfree() in net/core/sock.c). */
    return unread <= 1;
}

static int set(int fd, int option, int value)
{
    return setsockopt(fd, SOL_SOCKET, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

int sockio_take_urgent(int fd)
{
    return set(fd, SO_OOBINLINE, true);
}

int sockio_let_fds_in(int fd, bool allow)
{
    return set(fd, SO_PASSRIGHTS, allow);
}

bool sockio_lets_fds_in(int fd)
{
    int value;
    socklen_t size = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &value, &size) < 0 || value;
}

bool sockio_can_keep_fds_out(void)
{
    CLEANUP(cleanup_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd >= 0 && sockio_let_fds_in(fd, false) == 0;
}
