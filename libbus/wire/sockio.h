/* SPDX-License-Identifier: MIT */
/*
 * The only recvmsg(2) and sendmsg(2) of the project, and so the only control
 * messages. Never MSG_PEEK, never MSG_OOB; never blocks; what arrives is
 * close-on-exec; EINTR is retried here.
 */
#ifndef LIBBUS_WIRE_SOCKIO_H
#define LIBBUS_WIRE_SOCKIO_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct fds;

/* Reads once. Returns the number of bytes, 0 at the end of the stream, or
 * -errno (-EAGAIN: nothing there). When file descriptors came with the bytes,
 * *ret_fds is a new set of them, truncated if the kernel could not hand over
 * all; else NULL. When there is no memory for the set, they are closed and
 * -ENOMEM is returned: the stream is out of step then. */
ssize_t sockio_recv(int fd, void *buffer, size_t size, struct fds **ret_fds);

/* Writes once, with the file descriptors (may be NULL) attached to the first
 * byte. Returns the number of bytes taken, which may be fewer than given; even
 * then the file descriptors are on their way and must not be sent again. Or
 * -errno with nothing sent (-EAGAIN: no room). */
ssize_t sockio_send(int fd, const struct iovec *iov, size_t count, const struct fds *fds);

/* How much of what was sent the other side has not read, in the kernel's own measure
 * (SIOCOUTQ, tcp(7)): it gets less only when something is read. -errno. */
int sockio_unread(int fd);

/* Whether the other side has read everything sent so far. */
int sockio_is_drained(int fd);

#endif
