/* SPDX-License-Identifier: MIT */
#include "tests/bench/relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_SIZE (256 * 1024)

static char buffer[BUFFER_SIZE];

static void send_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n < 0)
            exit(EXIT_SUCCESS);
        data += n;
        size -= (size_t)n;
    }
}

void relay_run(int a, int b)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event_a = {.events = EPOLLIN, .data.u32 = 0};
    struct epoll_event event_b = {.events = EPOLLIN, .data.u32 = 1};
    int sockets[2] = {a, b};

    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, a, &event_a) < 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, b, &event_b) < 0) {
        perror("relay: epoll");
        exit(EXIT_FAILURE);
    }
    for (;;) {
        struct epoll_event ready[2];
        int n = epoll_wait(epoll, ready, 2, -1);
        for (int i = 0; i < n; i++) {
            unsigned from = ready[i].data.u32;
            ssize_t size = recv(sockets[from], buffer, BUFFER_SIZE, 0);
            if (size <= 0)
                exit(EXIT_SUCCESS);
            send_all(sockets[!from], buffer, (size_t)size);
        }
    }
}

void relay_echo(int fd)
{
    for (;;) {
        ssize_t size = recv(fd, buffer, BUFFER_SIZE, 0);
        if (size <= 0)
            exit(EXIT_SUCCESS);
        send_all(fd, buffer, (size_t)size);
    }
}
