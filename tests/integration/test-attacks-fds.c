/* SPDX-License-Identifier: MIT */
/*
 * Attacks with file descriptors, by one user while another one's calls go on unharmed:
 * what has been sent is gone within a second, or within the deadline that it violates.
 * See tests/integration/test-fds.c for who gets which.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/bystander.h"
#include "tests/support/files.h"
#include "tests/support/process.h"

#define MALLORY 12001
#define TROY    12002

/* Within five seconds; what busd keeps for itself is busd_fds_are_back()'s to know. */
static bool busd_comes_down_to(struct session *session, unsigned more)
{
    uint64_t end = process_now() + 5000;

    while (process_open_fds(session->busd.pid) > session->busd.fds + more && process_now() < end)
        usleep(10000);
    return busd_fds_are_back(&session->busd, more);
}

/* ------------------------------------------------- connections in messages */

/* Half a line with the connection that it is sent on: nobody else has it any more, so
 * nobody can ever close it. */
static void test_own_socket_in_half_a_line(struct session *session)
{
    static const char half[] = "{\"type\":\"event\",\"fds\":1,";
    struct bystander bystander;

    bystander_start(&bystander, session);
    for (unsigned i = 0; i < 10; i++) {
        struct client *m = session_connect_as_user(session, "M", MALLORY);
        client_send_at_once(m, half, sizeof(half) - 1, &m->fd, 1);
        client_free(m);
    }
    assert_true(process_open_fds(session->busd.pid) > session->busd.fds + BYSTANDER_CONNECTIONS);
    assert_true(busd_comes_down_to(session, BYSTANDER_CONNECTIONS));
    assert_true(busd_has_logged(&session->busd, "(line_timeout)"));
    bystander_stop(&bystander, session, 0);
}

static void send_socket(struct client *from, const struct client *socket, const struct client *to)
{
    client_send_fds(from, &socket->fd, 1, "{'type':'event','topic':'t','to':'$%s','fds':1}",
                    to->name);
}

/* busd has read all that the client has sent. */
static void wait_until_taken(const struct client *client)
{
    uint64_t end = process_now() + 5000;
    int unread;

    while (ioctl(client->fd, SIOCOUTQ, &unread) == 0 && unread > 1)
        CHECK(process_now() < end, "busd does not read");
}

/* Connections on their way to clients that never read: the first of each is in the
 * client's socket, where the kernel finds it, the others in busd, which so holds what
 * it waits for the end of. */
static void test_own_sockets_unread(struct session *session)
{
    struct bystander bystander;

    bystander_start(&bystander, session);
    for (unsigned i = 0; i < 5; i++) {
        struct client *m = session_connect_as_user(session, "M", MALLORY);
        struct client *t = session_connect_as_user(session, "T", TROY);
        for (unsigned n = 0; n < 3; n++) {
            send_socket(m, m, i % 2 ? m : t);
            send_socket(t, t, i % 2 ? t : m);
        }
        wait_until_taken(m);
        wait_until_taken(t);
        client_free(m);
        client_free(t);
    }
    assert_true(process_open_fds(session->busd.pid) > session->busd.fds + BYSTANDER_CONNECTIONS);
    assert_true(busd_comes_down_to(session, BYSTANDER_CONNECTIONS));
    assert_true(busd_has_logged(&session->busd, "(stall_timeout)"));
    bystander_stop(&bystander, session, 0);
}

/* Whoever leaves a few file descriptors unread for long, but reads in the end, is not
 * concerned: only what waits in busd behind them is not waited for for ever. */
static void test_unread_in_the_socket(struct session *session)
{
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    struct client *t = session_connect_as_user(session, "T", TROY);
    int fd[2];

    files_open(fd, 2, 7);
    client_send_fds(m, fd, 2, "{'type':'event','topic':'t','to':'$T','fds':2}");
    client_send(m, "{'type':'event','topic':'t','to':'$T'}");
    files_close(fd, 2);
    usleep(1200000);
    client_expect_fds(t, fd, 2, "{'sender':'$M','type':'event','topic':'t','to':'$T'}");
    files_expect(fd, 2, 7);
    client_expect(t, "{'sender':'$M','type':'event','topic':'t','to':'$T'}");
}

/* ------------------------------------------------------------- too many */

static void read_to_the_end(struct client *client)
{
    struct message *message;

    while ((message = client_next(client)))
        message_free(message);
    client_free(client);
}

/* Over the limit of a message, over the kernel's own as far as it goes, declared or
 * not, again and again. */
static void test_over_the_limit(struct session *session)
{
    static const unsigned counts[] = {17, 64, 253};
    struct bystander bystander;
    int fd[CLIENT_FDS_MAX];

    bystander_start(&bystander, session);
    files_open(fd, CLIENT_FDS_MAX, 0);
    for (unsigned i = 0; i < 400; i++) {
        unsigned count = counts[i % ARRAY_SIZE(counts)];
        struct client *m = session_connect_as_user(session, "M", MALLORY);
        client_send_fds(m, fd, count, "{'type':'event','topic':'t','fds':%u}",
                        i % 2 ? count : count % 16);
        if (i % 5 == 0) {
            client_free(m);
            continue;
        }
        shutdown(m->fd, SHUT_WR);
        read_to_the_end(m);
    }
    files_close(fd, CLIENT_FDS_MAX);
    bystander_stop(&bystander, session, 0);
}

/* ------------------------------------------------- control messages */

struct control {
    size_t size;
    union {
        struct cmsghdr header;
        char bytes[1024];
    } data;
};

/* One more control message with so many bytes of data. */
static void add_control(struct control *control, int type, const void *data, size_t size)
{
    struct cmsghdr *header = (void *)(control->data.bytes + control->size);

    memset(header, 0, CMSG_SPACE(size));
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = type;
    header->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(header), data, size);
    control->size += CMSG_SPACE(size);
}

/* Sends the line with it. Returns 0 or -errno. */
static int send_with(struct client *client, struct control *control, const char *line)
{
    CLEANUP(cleanup_free) char *text = client_expand(client->session, "%s\n", line);
    struct iovec iov = {text, strlen(text)};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control->data.bytes,
                             .msg_controllen = control->size};
    ssize_t n = sendmsg(client->fd, &message, MSG_NOSIGNAL);

    assert_true(n < 0 || (size_t)n == strlen(text));
    return n < 0 ? -errno : 0;
}

/* Lengths that are no whole number of file descriptors, as the kernel lets them pass. */
static void test_odd_control_lengths(struct session *session)
{
    struct bystander bystander;
    int fd[8];

    bystander_start(&bystander, session);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    struct client *t = session_connect_as_user(session, "T", TROY);
    files_open(fd, 8, 40);
    for (size_t size = 0; size < 8 * sizeof(int); size++) {
        struct control control = {0};
        unsigned count = (unsigned)(size / sizeof(int));
        char line[128];
        int received[8];
        add_control(&control, SCM_RIGHTS, fd, size);
        snprintf(line, sizeof(line), "{'type':'event','topic':'t','to':'$T','body':%zu", size);
        if (count > 0)
            snprintf(line + strlen(line), sizeof(line) - strlen(line), ",'fds':%u", count);
        strcat(line, "}");
        assert_int_equal(send_with(m, &control, line), 0);
        if (count == 0) {
            client_expect(t, "{'sender':'$M','type':'event','topic':'t','to':'$T','body':%zu}",
                          size);
            continue;
        }
        client_expect_fds(t, received, count,
                          "{'sender':'$M','type':'event','topic':'t','to':'$T','body':%zu}", size);
        files_expect(received, count, 40);
    }
    files_close(fd, 8);
    bystander_stop(&bystander, session, 2);
}

/* Two sets in one sendmsg() are one batch; credentials beside them are nobody's affair,
 * whatever they claim. */
static void test_several_control_messages(struct session *session)
{
    struct ucred ids = {.pid = getpid(), .uid = geteuid(), .gid = getegid()};
    struct bystander bystander;
    int fd[5], received[5];

    bystander_start(&bystander, session);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    struct client *t = session_connect_as_user(session, "T", TROY);
    files_open(fd, 5, 60);
    for (unsigned round = 0; round < 4; round++) {
        struct control control = {0};
        if (round & 1)
            add_control(&control, SCM_CREDENTIALS, &ids, sizeof(ids));
        add_control(&control, SCM_RIGHTS, fd, 2 * sizeof(int));
        if (round & 2)
            add_control(&control, SCM_CREDENTIALS, &ids, sizeof(ids));
        add_control(&control, SCM_RIGHTS, fd + 2, 3 * sizeof(int));
        int r = send_with(m, &control, "{'type':'event','topic':'t','to':'$T','fds':5}");
        assert_int_equal(r, 0);
        client_expect_fds(t, received, 5, "{'sender':'$M','type':'event','topic':'t','to':'$T'}");
        files_expect(received, 5, 60);
    }
    files_close(fd, 5);
    bystander_stop(&bystander, session, 2);
}

#define ATTACK(function, ...)                                                                      \
    {                                                                                              \
        .name = #function, .run = function, .args = BUSD_ARGS(__VA_ARGS__), .plain_only = true     \
    }

static const struct transcript transcripts[] = {
    ATTACK(test_own_socket_in_half_a_line, "--limit", "line_timeout=600"),
    ATTACK(test_own_sockets_unread, "--limit", "stall_timeout=600"),
    ATTACK(test_unread_in_the_socket, "--limit", "stall_timeout=300"),
    ATTACK(test_over_the_limit, "--limit", "fds_per_message=16"),
    TRANSCRIPT_PLAIN(test_odd_control_lengths),
    TRANSCRIPT_PLAIN(test_several_control_messages),
};

int main(void)
{
    if (geteuid() != 0) {
        puts("skipped: it takes root to connect as several users");
        return 0;
    }
    return TRANSCRIPTS_RUN("attacks with file descriptors", transcripts);
}
