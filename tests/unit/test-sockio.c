/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing with file descriptors over real socket pairs: what arrives,
 * close-on-exec, short writes, full tables, and framing and fdqueue on top of it
 * as broker and library use them.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "libbus/wire/fdqueue.h"
#include "libbus/wire/lines.h"
#include "libbus/wire/sockio.h"
#include "tests/support/process.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

struct pair {
    int a;
    int b;
    unsigned open_before;
};

static int setup(void **state)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    int fd[2];

    pair->open_before = process_open_fds(getpid());
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0)
        return -1;
    pair->a = fd[0];
    pair->b = fd[1];
    *state = pair;
    return 0;
}

static int teardown(void **state)
{
    struct pair *pair = *state;
    unsigned before = pair->open_before;

    cleanup_close(&pair->a);
    cleanup_close(&pair->b);
    free(pair);
    if (process_open_fds(getpid()) == before)
        return 0;
    print_error("%u file descriptors are open instead of %u\n", process_open_fds(getpid()), before);
    return -1;
}

/* Files told apart by their inode. */
static struct fds *make_files(unsigned count)
{
    int fd[FDS_MAX];

    for (unsigned i = 0; i < count; i++) {
        FILE *file = tmpfile();
        assert_non_null(file);
        fd[i] = fcntl(fileno(file), F_DUPFD_CLOEXEC, 0);
        assert_true(fd[i] >= 0);
        fclose(file);
    }
    struct fds *fds = fds_new(fd, count);
    assert_non_null(fds);
    return fds;
}

static void assert_same_file(int a, int b)
{
    struct stat x, y;

    assert_int_equal(fstat(a, &x), 0);
    assert_int_equal(fstat(b, &y), 0);
    assert_int_equal(x.st_ino, y.st_ino);
    assert_int_equal(x.st_dev, y.st_dev);
}

static ssize_t send_text(int fd, const char *text, const struct fds *fds)
{
    struct iovec iov = {(char *)(uintptr_t)text, strlen(text)};

    return sockio_send(fd, &iov, 1, fds);
}

static void test_bytes(void **state)
{
    struct pair *pair = *state;
    struct iovec iov[3] = {{(char[]){"ab"}, 2}, {(char[]){""}, 0}, {(char[]){"cde"}, 3}};
    struct fds *fds = (struct fds *)(uintptr_t)1;
    char buffer[16];

    assert_int_equal(sockio_send(pair->a, iov, 3, NULL), 5);
    assert_int_equal(sockio_recv(pair->b, buffer, sizeof(buffer), &fds), 5);
    assert_memory_equal(buffer, "abcde", 5);
    assert_null(fds);
    assert_int_equal(sockio_recv(pair->b, buffer, sizeof(buffer), &fds), -EAGAIN);
}

static void test_end(void **state)
{
    struct pair *pair = *state;
    struct fds *fds;
    char buffer[4];

    close(TAKE_FD(pair->a));
    assert_int_equal(sockio_recv(pair->b, buffer, sizeof(buffer), &fds), 0);
    /* And no SIGPIPE. */
    assert_int_equal(send_text(pair->b, "x", NULL), -EPIPE);
}

static void test_counts(void **state)
{
    struct pair *pair = *state;
    static const unsigned counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 64, 252, 253};

    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        struct fds *sent = make_files(counts[i]), *received = NULL;
        char buffer[16];

        assert_int_equal(send_text(pair->a, "line\n", sent), 5);
        assert_int_equal(sockio_recv(pair->b, buffer, sizeof(buffer), &received), 5);
        assert_non_null(received);
        assert_int_equal(received->count, counts[i]);
        assert_int_equal(received->refs, 1);
        assert_false(received->truncated);
        for (unsigned n = 0; n < counts[i]; n++) {
            assert_same_file(received->fd[n], sent->fd[n]);
            assert_int_not_equal(received->fd[n], sent->fd[n]);
            assert_int_equal(fcntl(received->fd[n], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        }
        fds_unref(received);
        fds_unref(sent);
    }
}

/* The same fd many times over is as good as any. */
static void test_duplicates(void **state)
{
    struct pair *pair = *state;
    int fd[3] = {pair->a, pair->a, pair->b};
    struct fds *sent = fds_new(fd, 3), *received;
    char byte;

    assert_int_equal(send_text(pair->a, "x", sent), 1);
    assert_int_equal(sockio_recv(pair->b, &byte, 1, &received), 1);
    assert_int_equal(received->count, 3);
    fds_unref(received);
    sent->count = 0;
    fds_unref(sent);
}

static void test_too_many(void **state)
{
    struct pair *pair = *state;
    struct fds *sent = make_files(2);
    char buffer[4];
    struct fds *received;

    /* A descriptor that is none: nothing at all is sent. */
    int kept = sent->fd[1];
    sent->fd[1] = -1;
    assert_int_equal(send_text(pair->a, "x", sent), -EBADF);
    sent->fd[1] = kept;
    fds_unref(sent);
    assert_int_equal(sockio_recv(pair->b, buffer, sizeof(buffer), &received), -EAGAIN);
}

/* A read stops after a piece that bears fds; older bytes come along with it. */
static void test_boundaries(void **state)
{
    struct pair *pair = *state;
    struct fds *one = make_files(1), *two = make_files(2), *received;
    char buffer[32];

    send_text(pair->a, "a\n", NULL);
    send_text(pair->a, "b\n", one);
    send_text(pair->a, "c\n", two);
    send_text(pair->a, "d\n", NULL);
    assert_int_equal(sockio_recv(pair->b, buffer, sizeof(buffer), &received), 4);
    assert_int_equal(received->count, 1);
    fds_unref(received);
    assert_int_equal(sockio_recv(pair->b, buffer, sizeof(buffer), &received), 2);
    assert_int_equal(received->count, 2);
    fds_unref(received);
    assert_int_equal(sockio_recv(pair->b, buffer, sizeof(buffer), &received), 2);
    assert_null(received);
    fds_unref(one);
    fds_unref(two);
}

static void shrink_buffers(const struct pair *pair)
{
    int size = 4096;

    assert_int_equal(setsockopt(pair->a, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
}

/* A short write has taken its fds along: sending the rest without them gives the
 * whole text and the fds exactly once. */
static void test_short_write(void **state)
{
    struct pair *pair = *state;
    size_t size = 1u << 20, sent = 0, got = 0;
    CLEANUP(cleanup_free) char *out = malloc(size);
    CLEANUP(cleanup_free) char *in = malloc(size);
    struct fds *fds = make_files(3), *received = NULL;
    unsigned batches = 0, short_writes = 0;

    shrink_buffers(pair);
    for (size_t i = 0; i < size; i++)
        out[i] = (char)(i * 7 + i / 251);
    while (got < size) {
        if (sent < size) {
            struct iovec iov = {out + sent, size - sent};
            ssize_t n = sockio_send(pair->a, &iov, 1, sent == 0 ? fds : NULL);
            if (n < 0)
                assert_int_equal(n, -EAGAIN);
            short_writes += n > 0 && (size_t)n < size - sent;
            sent += n > 0 ? (size_t)n : 0;
        }
        ssize_t n = sockio_recv(pair->b, in + got, size - got, &received);
        assert_true(n > 0);
        got += (size_t)n;
        if (received) {
            batches++;
            assert_int_equal(received->count, 3);
            fds_unref(received);
        }
    }
    assert_memory_equal(in, out, size);
    assert_int_equal(batches, 1);
    assert_true(short_writes > 0);
    fds_unref(fds);
}

/* When there is no room at all, nothing has gone, the fds neither. */
static void test_no_room(void **state)
{
    struct pair *pair = *state;
    static char block[65536];
    struct iovec iov = {block, sizeof(block)};
    struct fds *fds = make_files(1), *received;
    unsigned batches = 0;
    ssize_t n;

    shrink_buffers(pair);
    while ((n = sockio_send(pair->a, &iov, 1, NULL)) > 0)
        continue;
    assert_int_equal(n, -EAGAIN);
    assert_int_equal(send_text(pair->a, "x", fds), -EAGAIN);
    while ((n = sockio_recv(pair->b, block, sizeof(block), &received)) > 0)
        batches += received != NULL;
    assert_int_equal(n, -EAGAIN);
    assert_int_equal(batches, 0);
    fds_unref(fds);
}

static void test_drained(void **state)
{
    struct pair *pair = *state;
    struct fds *fds;
    char buffer[4];

    assert_int_equal(sockio_is_drained(pair->a), 1);
    send_text(pair->a, "abcd", NULL);
    assert_int_equal(sockio_is_drained(pair->a), 0);
    assert_int_equal(sockio_recv(pair->b, buffer, 2, &fds), 2);
    assert_int_equal(sockio_is_drained(pair->a), 0);
    assert_int_equal(sockio_recv(pair->b, buffer, 2, &fds), 2);
    assert_int_equal(sockio_is_drained(pair->a), 1);
    assert_int_equal(sockio_is_drained(-1), -EBADF);
}

/* The limit at which just `room` more descriptors fit. */
static rlim_t limit_for(int fd, unsigned room)
{
    int taken[8];
    rlim_t limit = 0;

    assert_in_range(room, 0, ARRAY_SIZE(taken) - 1);
    for (unsigned i = 0; i <= room; i++)
        taken[i] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    limit = (rlim_t)taken[room];
    for (unsigned i = 0; i <= room; i++)
        close(taken[i]);
    return limit;
}

static ssize_t recv_with_room(int fd, unsigned room, char *buffer, size_t size,
                              struct fds **ret_fds)
{
    struct rlimit before, limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = limit_for(fd, room);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ssize_t n = sockio_recv(fd, buffer, size, ret_fds);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    return n;
}

/* A full table: the bytes arrive whole, the set says that it was cut short, and the
 * next message is in step. */
static void test_truncation(void **state)
{
    struct pair *pair = *state;

    for (unsigned room = 0; room < 4; room++) {
        struct fds *sent = make_files(4), *received = NULL;
        char buffer[16];

        send_text(pair->a, "first\n", sent);
        send_text(pair->a, "next\n", sent);
        assert_int_equal(recv_with_room(pair->b, room, buffer, sizeof(buffer), &received), 6);
        assert_memory_equal(buffer, "first\n", 6);
        assert_non_null(received);
        assert_true(received->truncated);
        assert_int_equal(received->count, room);
        fds_unref(received);
        assert_int_equal(sockio_recv(pair->b, buffer, sizeof(buffer), &received), 5);
        assert_memory_equal(buffer, "next\n", 5);
        assert_false(received->truncated);
        assert_int_equal(received->count, 4);
        fds_unref(received);
        fds_unref(sent);
    }
}

static volatile sig_atomic_t alarms;

static void count_alarm(int signal)
{
    alarms++;
}

/* EINTR is never the caller's business. Non-blocking calls are hard to interrupt;
 * a storm of signals over many of them at least must not show. */
static void test_signals(void **state)
{
    struct pair *pair = *state;
    struct sigaction action = {.sa_handler = count_alarm}, before;
    struct itimerval storm = {{0, 50}, {0, 50}}, calm = {{0, 0}, {0, 0}};
    struct fds *fds;
    char byte;

    alarms = 0;
    sigaction(SIGVTALRM, &action, &before);
    setitimer(ITIMER_VIRTUAL, &storm, NULL);
    for (unsigned i = 0; i < 20000 || (alarms == 0 && i < 2000000); i++) {
        ssize_t n = send_text(pair->a, "x", NULL);
        ssize_t m = sockio_recv(pair->b, &byte, 1, &fds);
        if (n != 1 || m != 1)
            fail_msg("send gave %zd, recv gave %zd", n, m);
    }
    setitimer(ITIMER_VIRTUAL, &calm, NULL);
    sigaction(SIGVTALRM, &before, NULL);
    assert_true(alarms > 0);
}

/* ------------------------- together with framing and the fd queue */

struct receiver {
    int fd;
    struct lines lines;
    struct fdqueue queue;
    char buffer[4096];
    size_t size;
    uint64_t read;
    unsigned messages;
};

static void receiver_line(struct receiver *receiver, const struct line *line)
{
    unsigned number, count;
    struct fds *fds;

    assert_int_equal(sscanf(line->text.data, "%u %u", &number, &count), 2);
    assert_int_equal(number, receiver->messages++);
    assert_int_equal(fdqueue_take(&receiver->queue, line, count, &fds), FDQUEUE_OK);
    assert_int_equal(fds ? fds->count : 0, count);
    fds_unref(fds);
}

static void receiver_read(struct receiver *receiver, size_t at_most)
{
    struct fds *fds;
    struct line line;
    size_t consumed, position = 0;
    ssize_t n = sockio_recv(receiver->fd, receiver->buffer + receiver->size, at_most, &fds);

    if (n == -EAGAIN)
        return;
    assert_true(n > 0);
    receiver->size += (size_t)n;
    receiver->read += (uint64_t)n;
    if (fds) {
        fds->end = receiver->read;
        fdqueue_push(&receiver->queue, fds);
    }
    while (lines_next(&receiver->lines, receiver->buffer + position, receiver->size - position,
                      &consumed, &line) == LINES_LINE) {
        receiver_line(receiver, &line);
        position += consumed;
    }
    position += consumed;
    receiver->size -= position;
    memmove(receiver->buffer, receiver->buffer + position, receiver->size);
}

/* Messages with and without fds, written in random pieces, read in random pieces:
 * every batch meets its line. */
static void test_stream(void **state)
{
    struct pair *pair = *state;
    struct random random = {.state = 777};
    struct receiver receiver = {.fd = pair->b};

    lines_init(&receiver.lines, 1024);
    fdqueue_init(&receiver.queue);
    for (unsigned i = 0; i < 5000; i++) {
        unsigned count = random_one_in(&random, 3) ? 1 + random_below(&random, 4) : 0;
        struct fds *fds = count ? make_files(count) : NULL;
        char line[32];
        size_t size = (size_t)sprintf(line, "%u %u\n", i, count), at = 0;

        while (at < size) {
            size_t piece = random_one_in(&random, 2) ? size - at : 1 + random_below(&random, 3);
            struct iovec iov = {line + at, MIN(piece, size - at)};
            assert_int_equal(sockio_send(pair->a, &iov, 1, at == 0 ? fds : NULL), iov.iov_len);
            at += iov.iov_len;
            if (random_one_in(&random, 4))
                receiver_read(&receiver, 1 + random_below(&random, 100));
        }
        fds_unref(fds);
        if (random_one_in(&random, 10))
            while (receiver.messages <= i)
                receiver_read(&receiver, 1 + random_below(&random, 20));
    }
    while (receiver.messages < 5000)
        receiver_read(&receiver, 64);
    assert_true(list_is_empty(&receiver.queue.batches));
    fdqueue_deinit(&receiver.queue);
}
static void expect_files(struct fds *received, const struct fds *sent)
{
    assert_non_null(received);
    assert_int_equal(received->count, sent->count);
    for (unsigned i = 0; i < sent->count; i++)
        assert_same_file(received->fd[i], sent->fd[i]);
    fds_unref(received);
}

static bool no_memory;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
    return no_memory ? NULL : __real_malloc(size);
}

/* Without memory what arrives is closed, or in the room that there is for it. */
static void test_no_memory(void **state)
{
    struct pair *pair = *state;
    struct fds *sent = make_files(2), *received = NULL;
    struct fds *room = fds_new_room(), *wanted = room;
    char byte;

    assert_int_equal(send_text(pair->a, "x", sent), 1);
    assert_int_equal(sockio_recv_with(pair->b, &byte, 1, &room, &received), 1);
    assert_ptr_not_equal(received, wanted);
    assert_ptr_equal(room, wanted);
    expect_files(received, sent);

    assert_int_equal(send_text(pair->a, "x", sent), 1);
    no_memory = true;
    assert_int_equal(sockio_recv_with(pair->b, &byte, 1, &room, &received), 1);
    no_memory = false;
    assert_ptr_equal(received, wanted);
    assert_null(room);
    expect_files(received, sent);

    assert_int_equal(send_text(pair->a, "x", sent), 1);
    no_memory = true;
    assert_int_equal(sockio_recv(pair->b, &byte, 1, &received), -ENOMEM);
    no_memory = false;
    fds_unref(sent);
}

/* Urgent data, which may have file descriptors, is not skipped. */
static void test_urgent(void **state)
{
    struct pair *pair = *state;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct iovec iov = {"u", 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    struct fds *sent = make_files(1), *received;
    char byte;

    assert_int_equal(sockio_take_urgent(pair->b), 0);
    memcpy(CMSG_DATA(&control.header), sent->fd, sizeof(int));
    if (sendmsg(pair->a, &message, MSG_OOB) != 1) {
        /* Not every kernel has it for such sockets. */
        assert_int_equal(errno, EOPNOTSUPP);
        fds_unref(sent);
        skip();
    }
    assert_int_equal(send_text(pair->a, "x", NULL), 1);
    assert_int_equal(sockio_recv(pair->b, &byte, 1, &received), 1);
    assert_int_equal(byte, 'u');
    expect_files(received, sent);
    assert_int_equal(sockio_recv(pair->b, &byte, 1, &received), 1);
    assert_int_equal(byte, 'x');
    assert_null(received);
    fds_unref(sent);
}

static void test_rights(void **state)
{
    struct pair *pair = *state;
    struct fds *sent = make_files(1), *received;
    char byte;

    if (!sockio_can_keep_fds_out()) {
        assert_int_equal(sockio_let_fds_in(pair->b, false), -ENOPROTOOPT);
        fds_unref(sent);
        skip();
    }
    assert_true(sockio_lets_fds_in(pair->b));
    assert_int_equal(sockio_let_fds_in(pair->b, false), 0);
    assert_false(sockio_lets_fds_in(pair->b));
    assert_int_equal(send_text(pair->a, "x", sent), -EPERM);
    assert_int_equal(send_text(pair->b, "x", sent), 1);
    assert_int_equal(sockio_let_fds_in(pair->b, true), 0);
    assert_int_equal(send_text(pair->a, "x", sent), 1);
    assert_int_equal(sockio_recv(pair->b, &byte, 1, &received), 1);
    expect_files(received, sent);
    fds_unref(sent);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bytes),     TEST(test_end),        TEST(test_counts),      TEST(test_duplicates),
        TEST(test_too_many),  TEST(test_boundaries), TEST(test_short_write), TEST(test_no_room),
        TEST(test_drained),   TEST(test_truncation), TEST(test_signals),     TEST(test_stream),
        TEST(test_no_memory), TEST(test_urgent),     TEST(test_rights),
    };

    return cmocka_run_group_tests_name("sockio", tests, NULL, NULL);
}
