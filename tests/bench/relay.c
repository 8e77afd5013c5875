/* SPDX-License-Identifier: MIT */
#include "tests/bench/relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_SIZE (256 * 1024)
#define FDS_MAX     65536

static char buffer[BUFFER_SIZE];
static int mate_of[FDS_MAX]; /* 0: none */
static int single;           /* waits for a mate; 0: nobody */
static int epoll;

static void watch(int operation, int fd, unsigned events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};

    if (epoll_ctl(epoll, operation, fd, &event) < 0)
        perror("relay: epoll_ctl");
}

static void on_connection(int listener)
{
    int fd = accept(listener, NULL, NULL);

    if (fd < 0 || fd >= FDS_MAX)
        return;
    if (single == 0) {
        /* Nothing is read before there is somebody to take it; but we see it leave. */
        single = fd;
        watch(EPOLL_CTL_ADD, fd, 0);
        return;
    }
    mate_of[fd] = single;
    mate_of[single] = fd;
    watch(EPOLL_CTL_MOD, single, EPOLLIN);
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    single = 0;
}

static void on_end(int fd)
{
    int mate = mate_of[fd];

    if (fd == single)
        single = 0;
    mate_of[fd] = 0;
    close(fd);
    if (mate) {
        mate_of[mate] = 0;
        close(mate);
    }
}

static void on_data(int fd)
{
    int mate = mate_of[fd];
    ssize_t size = mate ? recv(fd, buffer, BUFFER_SIZE, MSG_DONTWAIT) : 0;
    const char *data = buffer;

    while (size > 0) {
        ssize_t n = send(mate, data, (size_t)size, MSG_NOSIGNAL);
        if (n < 0) {
            on_end(fd);
            return;
        }
        data += n;
        size -= n;
        if (size == 0)
            return;
    }
    on_end(fd);
}

void relay_run(int listener)
{
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) {
        perror("relay: epoll");
        _exit(EXIT_FAILURE);
    }
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    for (;;) {
        struct epoll_event ready;
        if (epoll_wait(epoll, &ready, 1, -1) < 1)
            continue;
        if (ready.data.fd == listener)
            on_connection(listener);
        else
            on_data(ready.data.fd);
    }
}
