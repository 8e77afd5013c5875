/* SPDX-License-Identifier: MIT */
/*
 * Addresses: any text, up to its first NUL. What is accepted says the same as the
 * text, and nothing is cut.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "libbus/base/macros.h"
#include "libbus/wire/address.h"
#include "tests/fuzz/fuzz.h"

static void check_fd(const char *digits, const struct address *address)
{
    char text[16];

    while (digits[0] == '0' && digits[1])
        digits++;
    snprintf(text, sizeof(text), "%d", address->fd);
    FUZZ_CHECK(strcmp(text, digits) == 0, "fd %d of 'fd:%s'", address->fd, digits);
}

static void check_path(const char *path, const struct address *address)
{
    const struct sockaddr_un *socket = &address->socket;
    size_t name = address->size - offsetof(struct sockaddr_un, sun_path);

    FUZZ_CHECK(address->fd == -1 && socket->sun_family == AF_UNIX, "no address of a socket");
    if (path[0] == '@') {
        FUZZ_CHECK(!address->path && name == strlen(path) && socket->sun_path[0] == '\0' &&
                       memcmp(socket->sun_path + 1, path + 1, name - 1) == 0,
                   "another abstract address than '%s'", path);
        return;
    }
    FUZZ_CHECK(address->path == path && name == strlen(path) + 1 &&
                   strcmp(socket->sun_path, path) == 0,
               "another path than '%s'", path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(cleanup_free) char *text = strndup(size > 0 ? (const char *)data : "", size);
    const char *path = strncmp(text, "unix:", 5) == 0 ? text + 5 : text;
    bool is_fd = strncmp(text, "fd:", 3) == 0;
    struct address address;

    memset(&address, 0xa5, sizeof(address));
    struct address before = address;
    int r = address_parse(text, &address);
    FUZZ_CHECK(r == 0 || r == -EINVAL || r == -ENAMETOOLONG, "an undocumented result: %d", r);
    if (r < 0)
        FUZZ_CHECK(memcmp(&before, &address, sizeof(address)) == 0, "a result of a failure");
    else if (is_fd)
        check_fd(text + 3, &address);
    else
        check_path(path, &address);
    if (!is_fd)
        FUZZ_CHECK((r == -ENAMETOOLONG) == (r != -EINVAL && strlen(path) > 107 + (path[0] == '@')),
                   "%d for a path of %zu bytes", r, strlen(path));
    return 0;
}
