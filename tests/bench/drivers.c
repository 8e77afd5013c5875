/* SPDX-License-Identifier: MIT */
#include "tests/bench/drivers.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "tests/bench/crew.h"

#define TOPIC_MAX 256

void *client_new(size_t size)
{
    void *client = calloc(1, size);

    if (!client)
        fail("out of memory");
    return client;
}

void check_answer(struct client *client, size_t got, size_t wanted)
{
    if (got != wanted)
        fail("%s: an answer of %zu bytes where %zu were due", client->peer->name, got, wanted);
}

void pending_answer(struct pending *pending, struct client *client, size_t size)
{
    pending->size = size;
    if (pending->waiting > 0)
        pending->waiting--;
    else
        client->on_answer(client, size);
}

char *frame_make(const char *answer_topic, const char *body, size_t size, size_t *ret_size)
{
    static char *frame;
    static size_t capacity;

    if (FRAME_TOPIC + size > capacity) {
        capacity = FRAME_TOPIC + size;
        free(frame);
        frame = client_new(capacity);
    }
    memset(frame, 0, FRAME_TOPIC);
    memcpy(frame, answer_topic, strnlen(answer_topic, FRAME_TOPIC - 1));
    memcpy(frame + FRAME_TOPIC, body, size);
    *ret_size = FRAME_TOPIC + size;
    return frame;
}

void frame_topic(char *ret_topic)
{
    static unsigned count;

    snprintf(ret_topic, FRAME_TOPIC, "inbox.c%d.n%u", (int)getpid(), ++count);
}

/* Room for a topic in its other form. */
static char *translation(void)
{
    static char buffers[2][TOPIC_MAX];
    static unsigned turn;

    return buffers[turn++ % 2];
}

const char *translate_back(const char *topic, char separator)
{
    char *to = translation();
    size_t i;

    for (i = 0; topic[i] && i < TOPIC_MAX - 1; i++)
        to[i] = topic[i] == separator ? '.' : topic[i];
    to[i] = '\0';
    return to;
}

const char *translate(const char *topic, char separator, char one, char rest)
{
    char *to = translation();
    size_t i;

    for (i = 0; topic[i] && i < TOPIC_MAX - 1; i++)
        to[i] = topic[i] == '.'   ? separator
                : topic[i] == '*' ? one
                : topic[i] == '#' ? rest
                                  : topic[i];
    to[i] = '\0';
    return to;
}

void write_config(const struct broker *broker, char *ret_path, size_t size, const char *format, ...)
{
    va_list args;

    snprintf(ret_path, size, "%s/config", broker->folder);
    FILE *file = fopen(ret_path, "we");
    if (!file) {
        perror(ret_path);
        exit(EXIT_FAILURE);
    }
    va_start(args, format);
    vfprintf(file, format, args);
    va_end(args);
    fclose(file);
}

static int open_unix(const char *path, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret_address->sun_path, path, strnlen(path, sizeof(ret_address->sun_path) - 1));
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

int listen_at(const char *path)
{
    struct sockaddr_un address;
    CLEANUP(cleanup_close) int fd = open_unix(path, &address);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, SOMAXCONN) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return -1;
    return TAKE_FD(fd);
}

int connect_to(const char *path)
{
    struct sockaddr_un address;
    CLEANUP(cleanup_close) int fd = open_unix(path, &address);

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -1;
    return TAKE_FD(fd);
}

int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    CLEANUP(cleanup_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return -1;
    return ntohs(address.sin_port);
}

bool wait_readable(int fd, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return poll(&poll_fd, 1, timeout_ms) > 0;
}
