/* SPDX-License-Identifier: MIT */
#include "libbus/wire/address.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static int parse_fd(const char *digits, int *ret_fd)
{
    char *end;

    errno = 0;
    long fd = strtol(digits, &end, 10);
    if (digits[0] < '0' || digits[0] > '9' || *end || errno || fd > 0xfffff)
        return -EINVAL;
    *ret_fd = (int)fd;
    return 0;
}

/* The path of an address, "@…" for an abstract one; NULL: it is not one with a
 * path. */
static const char *path_of(const char *text)
{
    if (strncmp(text, "unix:", 5) == 0)
        return text + 5;
    /* A relative path must look like one, so that "tcp:…" is not taken for it. */
    if (text[0] == '/' || strncmp(text, "./", 2) == 0 || strncmp(text, "../", 3) == 0)
        return text;
    return NULL;
}

int address_parse(const char *text, struct address *ret_address)
{
    struct address address = {.fd = -1, .socket.sun_family = AF_UNIX};

    if (strncmp(text, "fd:", 3) == 0) {
        int r = parse_fd(text + 3, &address.fd);
        if (r == 0)
            *ret_address = address;
        return r;
    }

    const char *path = path_of(text);
    bool abstract = path && path[0] == '@';
    size_t size = path ? strlen(path) : 0;
    if (size < (abstract ? 2u : 1u))
        return -EINVAL;
    /* A file's path needs its NUL; an abstract name has none, and begins with one. */
    if (size + !abstract > sizeof(address.socket.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.socket.sun_path, path, size);
    if (abstract)
        address.socket.sun_path[0] = '\0';
    else
        address.path = path;
    address.size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + !abstract);
    *ret_address = address;
    return 0;
}

bool address_is_same(const char *a, const char *b)
{
    const char *path_a = path_of(a);
    const char *path_b = path_of(b);

    if (path_a && path_b)
        return strcmp(path_a, path_b) == 0;
    return strcmp(a, b) == 0;
}
