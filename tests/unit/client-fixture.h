/* SPDX-License-Identifier: MIT */
/*
 * A connection of libbus whose other end is the test itself: a scripted bus over a
 * socketpair. What the bus is to say is written before the client reads it, so that
 * even blocking functions find their answers; what the client wrote is compared
 * line by line, byte by byte.
 *
 * fixture_end() checks that as many file descriptors are open as before.
 */
#ifndef TESTS_UNIT_CLIENT_FIXTURE_H
#define TESTS_UNIT_CLIENT_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "bus/bus.h"
#include "tests/support/unit.h"

#define FIXTURE_PATIENCE_MS 5000
#define FIXTURE_FDS_MAX     16

#define FIXTURE_GREETING                                                                           \
    "{\"sender\":\"bus\",\"type\":\"event\",\"topic\":\"bus.welcome\",\"body\":{\"name\":\":42\"," \
    "\"bus\":\"0123456789abcdef0123456789abcdef\",\"protocol\":1,\"version\":\"0.1.0\","           \
    "\"limits\":{\"message_bytes\":1048576,\"fds_per_message\":16}}}"

struct fixture {
    struct bus *bus;
    int broker; /* the bus's end */
    int fds_before;
    char *input;
    size_t input_size;
    int fd[FIXTURE_FDS_MAX]; /* received, not taken yet */
    unsigned fd_count;
};

static inline int fixture_count_fds(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    assert_non_null(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static inline void fixture_begin_quietly(struct fixture *fixture)
{
    int pair[2];
    char address[32];

    *fixture = (struct fixture){.fds_before = fixture_count_fds()};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    snprintf(address, sizeof(address), "fd:%d", pair[0]);
    assert_int_equal(bus_connect(&fixture->bus, address), 0);
    fixture->broker = pair[1];
}

static inline void fixture_say_bytes(struct fixture *fixture, const void *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fixture->broker, data, size, MSG_NOSIGNAL);
        assert_true(n > 0);
        data = (const char *)data + n;
        size -= (size_t)n;
    }
}

/* One line of the bus. */
static inline void fixture_say(struct fixture *fixture, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void fixture_say(struct fixture *fixture, const char *format, ...)
{
    char line[4096];
    va_list args;

    va_start(args, format);
    int size = vsnprintf(line, sizeof(line) - 1, format, args);
    va_end(args);
    assert_in_range(size, 1, sizeof(line) - 2);
    line[size++] = '\n';
    fixture_say_bytes(fixture, line, (size_t)size);
}

/* One line with fds; they stay the caller's. */
static inline void fixture_say_fds(struct fixture *fixture, const char *line, const int *fd,
                                   unsigned count)
{
    char control[CMSG_SPACE(FIXTURE_FDS_MAX * sizeof(int))] = {0};
    struct iovec iov[2] = {{(void *)(uintptr_t)line, strlen(line)}, {(char[]){'\n'}, 1}};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};

    if (count > 0) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fd, count * sizeof(int));
    }
    assert_int_equal(sendmsg(fixture->broker, &message, MSG_NOSIGNAL), strlen(line) + 1);
}

static inline void fixture_begin(struct fixture *fixture)
{
    fixture_begin_quietly(fixture);
    fixture_say(fixture, FIXTURE_GREETING);
    assert_string_equal(bus_unique_name(fixture->bus), ":42");
}

/* Lets the client do all there is to do. */
static inline int fixture_pump(struct fixture *fixture)
{
    int r = 0;

    while (r >= 0 && bus_wait(fixture->bus, 0) > 0)
        r = bus_process(fixture->bus);
    return r < 0 ? r : 0;
}

/* Reads what the client wrote; false at the end of the stream. */
static inline bool fixture_read(struct fixture *fixture)
{
    char control[CMSG_SPACE(FIXTURE_FDS_MAX * sizeof(int))];
    char data[65536];
    struct iovec iov = {data, sizeof(data)};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n = recvmsg(fixture->broker, &message, MSG_CMSG_CLOEXEC);

    if (n <= 0)
        return false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        unsigned count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        assert_in_range(fixture->fd_count + count, 0, FIXTURE_FDS_MAX);
        memcpy(fixture->fd + fixture->fd_count, CMSG_DATA(c), count * sizeof(int));
        fixture->fd_count += count;
    }
    fixture->input = realloc(fixture->input, fixture->input_size + (size_t)n + 1);
    assert_non_null(fixture->input);
    memcpy(fixture->input + fixture->input_size, data, (size_t)n);
    fixture->input_size += (size_t)n;
    fixture->input[fixture->input_size] = '\0';
    return true;
}

static inline bool fixture_is_readable(struct fixture *fixture, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = fixture->broker, .events = POLLIN};

    return poll(&poll_fd, 1, timeout_ms) > 0;
}

/* The next line that the client wrote, without its LF; the caller frees it. */
static inline char *fixture_hear(struct fixture *fixture)
{
    for (;;) {
        char *end = fixture->input_size ? memchr(fixture->input, '\n', fixture->input_size) : NULL;
        if (end) {
            size_t size = (size_t)(end - fixture->input);
            char *line = strndup(fixture->input, size);
            fixture->input_size -= size + 1;
            memmove(fixture->input, end + 1, fixture->input_size + 1);
            return line;
        }
        CHECK(fixture_is_readable(fixture, FIXTURE_PATIENCE_MS), "the client writes nothing");
        CHECK(fixture_read(fixture), "the client has closed");
    }
}

#define fixture_expect(fixture, expected)                                                          \
    do {                                                                                           \
        char *heard_ = fixture_hear(fixture);                                                      \
        assert_string_equal(heard_, expected);                                                     \
        free(heard_);                                                                              \
    } while (0)

#define fixture_expect_nothing(fixture)                                                            \
    do {                                                                                           \
        while (fixture_is_readable(fixture, 0) && fixture_read(fixture))                           \
            ;                                                                                      \
        CHECK((fixture)->input_size == 0, "unexpected: %s", (fixture)->input);                     \
    } while (0)

/* The oldest fd received; the caller closes it. */
static inline int fixture_take_fd(struct fixture *fixture)
{
    assert_true(fixture->fd_count > 0);
    int fd = fixture->fd[0];
    fixture->fd_count--;
    memmove(fixture->fd, fixture->fd + 1, fixture->fd_count * sizeof(int));
    return fd;
}

/* The bus goes away. */
static inline void fixture_hang_up(struct fixture *fixture)
{
    close(fixture->broker);
    fixture->broker = -1;
}

static inline void fixture_end(struct fixture *fixture)
{
    if (fixture->broker >= 0)
        close(fixture->broker);
    for (unsigned i = 0; i < fixture->fd_count; i++)
        close(fixture->fd[i]);
    bus_close(fixture->bus);
    free(fixture->input);
    int left = fixture_count_fds() - fixture->fds_before;
    CHECK(left == 0, "%d file descriptors are left", left);
}

/* Whether a fd is readable just now. */
static inline bool fd_is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return poll(&poll_fd, 1, 0) > 0;
}

static inline uint64_t fixture_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A record of callbacks, as one line of text each, in order. */
struct diary {
    char text[8192];
    size_t size;
};

static inline void diary_note(struct diary *diary, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void diary_note(struct diary *diary, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int n = vsnprintf(diary->text + diary->size, sizeof(diary->text) - diary->size, format, args);
    va_end(args);
    assert_in_range(n, 0, sizeof(diary->text) - diary->size - 2);
    diary->size += (size_t)n;
    diary->text[diary->size++] = '\n';
    diary->text[diary->size] = '\0';
}

#define diary_expect(diary, expected)                                                              \
    do {                                                                                           \
        assert_string_equal((diary)->text, expected);                                              \
        (diary)->size = 0;                                                                         \
        (diary)->text[0] = '\0';                                                                   \
    } while (0)

/* As a handler: notes the message's topic or error, its body and a mark for a last
 * value. */
static inline void diary_message(struct bus_message *message, void *userdata)
{
    struct diary *diary = userdata;
    size_t size;
    const char *body = bus_message_body_text(message, &size);

    if (bus_message_type(message) == BUS_MESSAGE_ERROR)
        diary_note(diary, "error %s", bus_message_error_name(message));
    else if (bus_message_type(message) == BUS_MESSAGE_REPLY)
        diary_note(diary, "reply %.*s", (int)size, body);
    else
        diary_note(diary, "%s %.*s%s", bus_message_topic(message), (int)size, body,
                   bus_message_is_retained(message) ? " retained" : "");
}

#endif
