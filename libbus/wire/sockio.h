/* SPDX-License-Identifier: MIT */
/*
 * The only recvmsg(2) and sendmsg(2) of the project, and so the only control
 * messages. Never MSG_PEEK, never MSG_OOB; never blocks; what arrives is
 * close-on-exec; EINTR is retried here.
 */
#ifndef LIBBUS_WIRE_SOCKIO_H
#define LIBBUS_WIRE_SOCKIO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Linux 6.16, socket(7). */
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

struct fds;

/* Reads once. Returns the number of bytes, 0 at the end of the stream, or
 * -errno (-EAGAIN: nothing there). When file descriptors came with the bytes,
 * *ret_fds is a new set of them, truncated if the kernel could not hand over
 * all; else NULL. When there is no memory for the set, they are closed and
 * -ENOMEM is returned: the stream is out of step then. */
ssize_t sockio_recv(int fd, void *buffer, size_t size, struct fds **ret_fds);

/* The same for one who must not close what arrives: *room is a set with room for any
 * number (fds_new_room()), and is used, and NULL then, when there is no memory for
 * another. */
ssize_t sockio_recv_with(int fd, void *buffer, size_t size, struct fds **room,
                         struct fds **ret_fds);

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

/* Has what the other side sends as urgent (MSG_OOB) read like the rest. Else the kernel
 * skips it in recvmsg(2), and closes file descriptors that came with it there, which may
 * block. 0 or -errno. */
int sockio_take_urgent(int fd);

/* Whether the other side may send file descriptors (SO_PASSRIGHTS, Linux 6.16); it gets
 * EPERM if not. Sockets accepted have it as it was with the listening one when their other
 * side connected. 0 or -errno; -ENOPROTOOPT: this kernel always lets it. */
int sockio_let_fds_in(int fd, bool allow);

/* Whether the kernel knows the difference. */
bool sockio_can_keep_fds_out(void);

/* Whether it may as far as is known; if not, and never before, there are none in the
 * socket. */
bool sockio_lets_fds_in(int fd);

#endif
