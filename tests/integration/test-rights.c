/* SPDX-License-Identifier: MIT */
/*
 * Who can send file descriptors at all: nobody before being let in, and nobody whose
 * limits allow none. Others get EPERM from the kernel, and what they have sent instead
 * never reaches busd.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libbus/wire/sockio.h"
#include "tests/support/files.h"
#include "tests/support/policy.h"
#include "tests/support/transcript.h"

#define LIMITED(number)                                                                            \
    "{'listeners': [{'address': 'unix:DIR/bus', 'mode': '0666'}],\n"                               \
    " 'limits': {'fds_per_message': " number "},\n"                                                \
    " 'policy': [{'deny': 'connect', 'uid': 12007}, {'allow': '*'}]}"

/* 0 or -errno. */
static int try_to_send(struct client *client)
{
    static const char line[] = "{\"type\":\"event\",\"topic\":\"t\",\"fds\":1}\n";
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    long n = client_send_at_once(client, line, sizeof(line) - 1, &fd, 1);
    close(fd);
    return n < 0 ? (int)n : 0;
}

static void test_before_the_greeting(struct session *session)
{
    static const char ping[] = "{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"Ping\"}\n";
    siginfo_t info;

    kill(session->busd.pid, SIGSTOP);
    assert_int_equal(waitid(P_PID, (id_t)session->busd.pid, &info, WSTOPPED), 0);
    struct client *a = session_connect_silently(session, "A");
    assert_int_equal(try_to_send(a), -EPERM);
    /* Anything else may be sent. */
    assert_int_equal(client_send_at_once(a, ping, sizeof(ping) - 1, NULL, 0), sizeof(ping) - 1);
    kill(session->busd.pid, SIGCONT);
    message_free(client_next(a));
    client_expect(a, "{'sender':'bus','type':'reply','id':1,'body':{}}");
    assert_int_equal(try_to_send(a), 0);
    client_ask(a, "Ping", "{}", "{}");
}

static void test_not_let_in(struct session *session)
{
    struct client *a =
        session_connect_silently_as(session, "A", "bus", &(struct identity){12007, 12007, 12007});

    int r = -EPERM;
    while (r == -EPERM)
        r = try_to_send(a);
    assert_int_equal(r, -EPIPE);
    client_expect(a, "{'sender':'bus','type':'error','error':'bus.AccessDenied','message':'*'}");
    client_expect_end(a);
}

/* By the limit at the time, whenever that was set. */
static void test_limit(struct session *session)
{
    struct client *a = session_connect(session, "A");

    assert_int_equal(try_to_send(a), -EPERM);
    policy_reload(a, LIMITED("1"));
    assert_int_equal(try_to_send(a), 0);
    struct client *b = session_connect(session, "B");
    assert_int_equal(try_to_send(b), 0);
    policy_reload(a, LIMITED("0"));
    assert_int_equal(try_to_send(a), -EPERM);
    assert_int_equal(try_to_send(b), -EPERM);
    client_ask(a, "Ping", "{}", "{}");
    client_ask(b, "Ping", "{}", "{}");
}

static const struct transcript transcripts[] = {
    {.name = "test_before_the_greeting", .run = test_before_the_greeting, .plain_only = true},
    {.name = "test_not_let_in", .run = test_not_let_in, .config = LIMITED("1"), .plain_only = true},
    {.name = "test_limit", .run = test_limit, .config = LIMITED("0"), .plain_only = true},
};

int main(void)
{
    if (geteuid() != 0 || !sockio_can_keep_fds_out()) {
        puts("skipped: it takes root and a kernel with SO_PASSRIGHTS");
        return 77;
    }
    return TRANSCRIPTS_RUN("the right to send file descriptors", transcripts);
}
