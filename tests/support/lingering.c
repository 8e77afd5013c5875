/* SPDX-License-Identifier: MIT */
#include "tests/support/lingering.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/unit.h"

/* Little is enough, and many can be had. */
#define BUFFER_SIZE 4096

static void set(int fd, int option, int value)
{
    assert_int_equal(setsockopt(fd, SOL_SOCKET, option, &value, sizeof(value)), 0);
}

/* Sends until nothing moves any more, and something is left to be sent. */
static void fill(int fd)
{
    static char block[1 << 16];
    int before, unsent = 0;

    do {
        while (send(fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
            continue;
        before = unsent;
        usleep(1000);
        assert_int_equal(ioctl(fd, SIOCOUTQ, &unsent), 0);
    } while (unsent == 0 || unsent != before);
}

int lingering_open(int seconds, int *ret_other)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger linger = {1, seconds};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    set(listener, SO_RCVBUF, BUFFER_SIZE);
    set(fd, SO_SNDBUF, BUFFER_SIZE);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    *ret_other = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(*ret_other >= 0);
    close(listener);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    fill(fd);
    return fd;
}

void lingering_release(int other)
{
    struct linger linger = {1, 0};

    /* It is not closed but broken off, so that nothing is waited for. */
    setsockopt(other, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(other);
}
