/* SPDX-License-Identifier: MIT */
/*
 * Who is at the other end of a socket, or that it cannot be said: never somebody else,
 * and never root by mistake.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "busd/credentials.h"
#include "tests/support/unit.h"

static void test_peer(void **state)
{
    struct credentials credentials;
    gid_t groups[1024];
    uid_t uid;
    pid_t pid;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(credentials_read(&credentials, pair[0]), 0);
    assert_int_equal(credentials.pid, getpid());
    assert_int_equal(credentials.uid, geteuid());
    assert_int_equal(credentials.gid, getegid());
    assert_int_equal(credentials.gid_count, getgroups(1024, groups));
    for (size_t i = 0; i < credentials.gid_count; i++)
        assert_int_equal(credentials.gids[i], groups[i]);
    credentials_deinit(&credentials);
    credentials_peek(pair[0], &uid, &pid);
    assert_int_equal(uid, geteuid());
    assert_int_equal(pid, getpid());

    /* They stay what they were when the other side is closed. */
    close(pair[1]);
    assert_int_equal(credentials_read(&credentials, pair[0]), 0);
    assert_int_equal(credentials.uid, geteuid());
    credentials_deinit(&credentials);
    close(pair[0]);
}

static void assert_nobody(int fd)
{
    struct credentials credentials = {.pid = 5, .uid = 6, .gid = 7};
    uid_t uid = 6;
    pid_t pid = 5;

    assert_true(credentials_read(&credentials, fd) < 0);
    assert_int_equal(credentials.pid, 5);
    assert_int_equal(credentials.uid, 6);
    assert_int_equal(credentials.gid, 7);
    assert_null(credentials.gids);
    credentials_peek(fd, &uid, &pid);
    assert_int_equal(uid, 6);
    assert_int_equal(pid, 5);
    assert_true(credentials_pidfd(fd) < 0);
}

/* The kernel answers for a socket without a peer, too: no pid, and no uid that is one. */
static void test_no_peer(void **state)
{
    int ends[2];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_nobody(fd);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0) {
        assert_nobody(fd);
        close(fd);
    }
    assert_int_equal(pipe(ends), 0);
    assert_nobody(ends[0]);
    close(ends[0]);
    close(ends[1]);
    assert_nobody(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peer),
        cmocka_unit_test(test_no_peer),
    };

    return cmocka_run_group_tests_name("credentials", tests, NULL, NULL);
}
