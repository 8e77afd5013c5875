/* SPDX-License-Identifier: MIT */
/*
 * Connecting to an address, whose forms are those of libbus/wire/address.h.
 */
#ifndef LIBBUS_ADDRESS_H
#define LIBBUS_ADDRESS_H

/* A connected, non-blocking, close-on-exec stream socket, or -errno. With "fd:N" it
 * is N itself; on failure N is left alone. */
int address_connect(const char *text);

/* Whether the fd is a connected stream socket of the same kind; makes it non-blocking and
 * close-on-exec. 0 or -errno. */
int address_adopt(int fd);

#endif
