/* SPDX-License-Identifier: MIT */
#include "libbus/address.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "bus/bus.h"
#include "libbus/base/macros.h"
#include "libbus/wire/address.h"

static int set_flags(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    return 0;
}

/* Messages would fall apart on any other kind of socket. */
int address_adopt(int fd)
{
    struct sockaddr_un peer;
    socklen_t size = sizeof(int);
    int domain, type;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
        return -errno;
    size = sizeof(type);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
        return -errno;
    if (domain != AF_UNIX || type != SOCK_STREAM)
        return -EPROTOTYPE;
    size = sizeof(peer);
    if (getpeername(fd, (struct sockaddr *)&peer, &size) < 0)
        return -errno;
    return set_flags(fd);
}

int address_connect(const char *text)
{
    struct address address;
    int r = address_parse(text, &address);

    if (r < 0)
        return r;
    if (address.fd >= 0) {
        r = address_adopt(address.fd);
        return r < 0 ? r : address.fd;
    }

    /* It blocks for connecting, so that a full backlog of the listener is waited
     * for, and only then becomes non-blocking. */
    CLEANUP(cleanup_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    do {
        r = connect(fd, (struct sockaddr *)&address.socket, address.size);
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    r = set_flags(fd);
    if (r < 0)
        return r;
    return TAKE_FD(fd);
}

/* An empty variable counts as none. */
static const char *environment(const char *name)
{
    const char *value = secure_getenv(name);

    return value && *value ? value : NULL;
}

int bus_default_address(bool system, char **ret_address)
{
    const char *address = environment(system ? "BUSD_SYSTEM_ADDRESS" : "BUSD_ADDRESS");
    CLEANUP(cleanup_free) char *result = NULL;
    struct address parsed;
    int r;

    if (address) {
        result = strdup(address);
    } else if (system) {
        result = strdup(ADDRESS_SYSTEM);
    } else {
        const char *directory = environment("XDG_RUNTIME_DIR");
        if (!directory)
            return -ENXIO;
        if (asprintf(&result, "%s/" ADDRESS_USER_PATH, directory) < 0)
            result = NULL;
    }
    if (!result)
        return -ENOMEM;
    r = address_parse(result, &parsed);
    if (r < 0)
        return r;
    *ret_address = TAKE(result);
    return 0;
}
