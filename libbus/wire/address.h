/* SPDX-License-Identifier: MIT */
/*
 * Where a bus is: "unix:/path" or a bare path, "unix:@abstract", "fd:N".
 */
#ifndef LIBBUS_WIRE_ADDRESS_H
#define LIBBUS_WIRE_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ADDRESS_SYSTEM    "/run/busd/bus"
#define ADDRESS_USER_PATH "busd/bus" /* below $XDG_RUNTIME_DIR */

struct address {
    int fd; /* of "fd:N", else -1 and the rest is set */
    struct sockaddr_un socket;
    socklen_t size;
    const char *path; /* within the text that was parsed; NULL for an abstract one */
};

/* Touches nothing of what the text names. 0, -EINVAL (not an address) or
 * -ENAMETOOLONG (the path does not fit a socket; it is never cut). */
int address_parse(const char *text, struct address *ret_address);

/* Whether two right addresses are the same one, however they are written. */
bool address_is_same(const char *a, const char *b);

#endif
