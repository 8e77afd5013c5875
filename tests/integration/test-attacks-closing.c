/* SPDX-License-Identifier: MIT */
/*
 * Attacks with file descriptors whose close(2) takes long, by some users while others go
 * on unharmed: with their calls, and with file descriptors of their own, which are closed
 * as if nothing were.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "busd/closer.h"
#include "tests/support/bystander.h"
#include "tests/support/files.h"
#include "tests/support/lingering.h"
#include "tests/support/process.h"

#define MALLORY 12001
#define BOB     12002
#define OTHERS  13000

/* How long busd may take for a call of the bystander. */
#define RESPONSIVE_MS 250
/* As good as for ever: nothing here waits for it. */
#define LINGER 600

/* How many file descriptors of busd's are none of its own. */
static unsigned count_fds(const struct session *session)
{
    return process_open_fds(session->busd.pid) - session->busd.fds;
}

static void check_longest(struct bystander *bystander)
{
    bystander_check(bystander);
    uint64_t longest = bystander_longest(bystander);
    CHECK(longest <= RESPONSIVE_MS, "a call took %llu ms", (unsigned long long)longest);
}

/* Until it goes on, busd does not get what it is sent. */
static void stop_busd(const struct session *session)
{
    siginfo_t info;

    assert_int_equal(kill(session->busd.pid, SIGSTOP), 0);
    assert_int_equal(waitid(P_PID, (id_t)session->busd.pid, &info, WSTOPPED), 0);
}

/* What has been waited for meanwhile does not count. */
static void continue_busd(const struct session *session, struct bystander *bystander)
{
    assert_int_equal(kill(session->busd.pid, SIGCONT), 0);
    bystander_check(bystander);
    bystander_longest(bystander);
}

/* A socket that lingers, with this line; busd, which is stopped, is to be the
 * last one that has it. Stopping it any later would end what it waits for. */
static void hand_over(struct client *client, int fd, const char *line)
{
    client_send_fds(client, &fd, 1, "%s", line);
    close(fd);
}

static const char for_nobody[] = "{'type':'event','topic':'t','fds':1}";

static void open_all(int *fd, int *other, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fd[i] = lingering_open(LINGER, &other[i]);
}

static void hand_all_over(struct session *session, struct bystander *bystander,
                          struct client *client, int *other, size_t count, const char *line)
{
    int fd[64];

    assert_true(count <= ARRAY_SIZE(fd));
    open_all(fd, other, count);
    stop_busd(session);
    for (size_t i = 0; i < count; i++)
        hand_over(client, fd[i], line);
    continue_busd(session, bystander);
}

/* Sends files to itself, over and over, as fast as they come back. How many there were
 * in `ms` milliseconds. */
static unsigned pass_files(struct client *client, unsigned ms)
{
    uint64_t end = process_now() + ms;
    unsigned count = 0;
    int fd[8];

    while (process_now() < end) {
        files_open(fd, 8, 1);
        client_send_fds(client, fd, 8, "{'type':'event','topic':'t','to':'$%s','fds':8}",
                        client->name);
        files_close(fd, 8);
        client_expect_fds(client, fd, 8, "{'sender':'$%s','type':'event','topic':'t','to':'$%s'}",
                          client->name, client->name);
        files_expect(fd, 8, 1);
        count++;
    }
    return count;
}

/* ----------------------------------------------------- whoever passes them */

/* One user's, far more than it may: it is not read from any more, and holds no more than
 * it may and one message beyond. What another user passes meanwhile is closed at once. */
static void test_one_user(struct session *session)
{
    struct bystander bystander;
    int other[40];

    bystander_start(&bystander, session);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    struct client *n = session_connect_as_user(session, "N", MALLORY);
    struct client *b = session_connect_as_user(session, "B", BOB);
    unsigned connections = BYSTANDER_CONNECTIONS + 3;
    hand_all_over(session, &bystander, m, other, ARRAY_SIZE(other), for_nobody);
    unsigned passed = pass_files(b, 1500);
    CHECK(passed > 100, "only %u messages have come back", passed);
    session_expect_fds(session, connections + 16);
    /* It does block: otherwise there would be nothing to see here. One is being closed, and
     * is not counted any more. */
    assert_int_equal(count_fds(session), connections + 16);
    check_longest(&bystander);
    assert_true(busd_has_logged(&session->busd, "paused: uid=12001 "));
    client_send(n, "{'type':'call','id':1,'to':'bus','method':'Ping'}");
    pass_files(b, 300);
    client_read_available(n);
    assert_null(client_peek(n));

    for (size_t i = 0; i < ARRAY_SIZE(other); i++)
        lingering_release(other[i]);
    client_expect(n, "{'sender':'bus','type':'reply','id':1,'body':{}}");
    client_ask(m, "Ping", "{}", "{}");
    session_expect_fds(session, connections);
    check_longest(&bystander);
    bystander_stop(&bystander, session, 3);
}

/* What was on its way to somebody else goes to the expense of whoever has passed it. */
static void test_by_way_of_another(struct session *session)
{
    struct bystander bystander;
    int other[3];

    bystander_start(&bystander, session);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    struct client *b = session_connect_as_user(session, "B", BOB);
    hand_all_over(session, &bystander, m, other, ARRAY_SIZE(other),
                  "{'type':'event','topic':'t','to':'$B','fds':1}");
    client_ask(m, "Ping", "{}", "{}");
    /* The first is in the socket, and so its receiver's to close. */
    lingering_release(other[0]);
    client_free(b);
    check_longest(&bystander);
    b = session_connect_as_user(session, "B", BOB);
    assert_true(pass_files(b, 300) > 20);
    session_expect_fds(session, BYSTANDER_CONNECTIONS + 2 + 1);
    assert_int_equal(count_fds(session), BYSTANDER_CONNECTIONS + 2 + 1);
    check_longest(&bystander);
    for (size_t i = 1; i < ARRAY_SIZE(other); i++)
        lingering_release(other[i]);
    bystander_stop(&bystander, session, 2);
}

/* Many users, each with one: as many threads are busy, up to a limit. Up to that, nobody
 * waits. */
static void pass_as_many(struct session *session, struct bystander *bystander, unsigned count,
                         int *other)
{
    struct client *m[CLOSER_THREADS * 2];
    int fd[CLOSER_THREADS * 2];

    assert_true(count <= ARRAY_SIZE(m));
    for (unsigned i = 0; i < count; i++) {
        char name[8];
        snprintf(name, sizeof(name), "M%u", i);
        m[i] = session_connect_as_user(session, name, OTHERS + i);
    }
    open_all(fd, other, count);
    stop_busd(session);
    for (unsigned i = 0; i < count; i++)
        hand_over(m[i], fd[i], for_nobody);
    continue_busd(session, bystander);
}

static void test_many_users(struct session *session)
{
    struct bystander bystander;
    int other[20];

    bystander_start(&bystander, session);
    struct client *b = session_connect_as_user(session, "B", BOB);
    pass_as_many(session, &bystander, ARRAY_SIZE(other), other);
    assert_true(pass_files(b, 1000) > 100);
    unsigned held = BYSTANDER_CONNECTIONS + 1 + ARRAY_SIZE(other);
    session_expect_fds(session, held);
    assert_int_equal(count_fds(session), held);
    check_longest(&bystander);
    assert_in_range(process_threads(session->busd.pid), ARRAY_SIZE(other) + 1,
                    ARRAY_SIZE(other) + 3);
    for (size_t i = 0; i < ARRAY_SIZE(other); i++)
        lingering_release(other[i]);
    bystander_stop(&bystander, session, 1 + ARRAY_SIZE(other));
    assert_in_range(process_threads(session->busd.pid), 2, 3);
}

/* Beyond the limit closing waits for others, but nothing else does. */
static void test_too_many_users(struct session *session)
{
    struct bystander bystander;
    int other[CLOSER_THREADS + 6];

    bystander_start(&bystander, session);
    struct client *b = session_connect_as_user(session, "B", BOB);
    pass_as_many(session, &bystander, ARRAY_SIZE(other), other);
    usleep(500000);
    pass_files(b, 1);
    client_ask(b, "Ping", "{}", "{}");
    check_longest(&bystander);
    assert_in_range(process_threads(session->busd.pid), 2, CLOSER_THREADS + 1);
    for (size_t i = 0; i < ARRAY_SIZE(other); i++)
        lingering_release(other[i]);
    bystander_stop(&bystander, session, 1 + ARRAY_SIZE(other));
}

/* --------------------------------------------------- what the kernel holds */

/* File descriptors in the socket of a client that is cut, which closing that socket
 * closes, too: it counts as a connection until then. */
static void test_unread_in_the_socket(struct session *session)
{
    struct bystander bystander;
    struct client *m[2];
    int fd[2], other[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    bystander_start(&bystander, session);
    for (size_t i = 0; i < ARRAY_SIZE(other); i++)
        m[i] = session_connect_as_user(session, i ? "N" : "M", MALLORY);
    open_all(fd, other, ARRAY_SIZE(other));
    stop_busd(session);
    for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
        /* Two reads, and after the first one it is cut. */
        client_send_fds(m[i], &null, 1, "{'type':'event','topic':'t','fds':2}");
        hand_over(m[i], fd[i], for_nobody);
    }
    continue_busd(session, &bystander);
    for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
        message_free(client_next(m[i]));
        client_expect_goodbye(m[i], "out of step");
        client_free(m[i]);
    }
    close(null);
    /* Once it has been noticed that it takes long. */
    usleep(200000);
    check_longest(&bystander);
    assert_true(count_fds(session) > BYSTANDER_CONNECTIONS);
    struct client *third =
        session_connect_silently_as(session, "T", "bus", &(struct identity){MALLORY, MALLORY, 0});
    client_expect(third,
                  "{'sender':'bus','type':'error','error':'bus.LimitExceeded','message':'*'}");
    client_expect_end(third);
    for (size_t i = 0; i < ARRAY_SIZE(other); i++)
        lingering_release(other[i]);
    session_expect_fds(session, BYSTANDER_CONNECTIONS);
    client_free(session_connect_as_user(session, "M", MALLORY));
    bystander_stop(&bystander, session, 0);
}

/* What is sent as urgent may have file descriptors, too. */
static void test_urgent(struct session *session)
{
    struct bystander bystander;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct iovec iov = {"\n", 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    int other;

    bystander_start(&bystander, session);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    int fd = lingering_open(LINGER, &other);
    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    stop_busd(session);
    if (sendmsg(m->fd, &message, MSG_NOSIGNAL | MSG_OOB) != 1) {
        assert_int_equal(errno, EOPNOTSUPP);
        print_message("this kernel has no urgent data for such sockets\n");
    }
    close(fd);
    client_send_at_once(m, "\n", 1, NULL, 0);
    continue_busd(session, &bystander);
    check_longest(&bystander);
    check_longest(&bystander);
    lingering_release(other);
    client_free(m);
    bystander_stop(&bystander, session, 0);
}

/* ------------------------------------------------------------- the end */

/* It does not last longer than it must, and the kernel closes the rest. */
static void test_end(struct session *session)
{
    struct bystander bystander;
    int other[10];
    int status;

    bystander_start(&bystander, session);
    pass_as_many(session, &bystander, ARRAY_SIZE(other), other);
    check_longest(&bystander);
    bystander_stop(&bystander, session, ARRAY_SIZE(other));
    uint64_t begun = process_now();
    kill(session->busd.pid, SIGTERM);
    assert_true(process_wait(session->busd.pid, 10000, &status));
    uint64_t took = process_now() - begun;
    assert_int_equal(status, 0);
    session->busd.pid = 0;
    CHECK(took < CLOSER_END_MS + 2000, "it took %llu ms", (unsigned long long)took);
    for (size_t i = 0; i < ARRAY_SIZE(other); i++)
        lingering_release(other[i]);
}

#define ATTACK(function, ...)                                                                      \
    {                                                                                              \
        .name = #function, .run = function, .args = BUSD_ARGS(__VA_ARGS__), .plain_only = true     \
    }

static const struct transcript transcripts[] = {
    ATTACK(test_one_user, "--limit", "fds_per_user=16"),
    TRANSCRIPT_PLAIN(test_by_way_of_another),
    TRANSCRIPT_PLAIN(test_many_users),
    TRANSCRIPT_PLAIN(test_too_many_users),
    ATTACK(test_unread_in_the_socket, "--limit", "connections_per_user=2"),
    TRANSCRIPT_PLAIN(test_urgent),
    TRANSCRIPT_PLAIN(test_end),
};

int main(void)
{
    if (geteuid() != 0) {
        puts("skipped: it takes root to connect as several users");
        return 0;
    }
    return TRANSCRIPTS_RUN("attacks with what closes slowly", transcripts);
}
