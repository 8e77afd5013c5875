/* SPDX-License-Identifier: MIT */
/*
 * Out of file descriptors, for real: with a limit set from outside, those that are
 * connected are served as before, those that wait are told to go and cost no processor
 * time, and when there are some again, everybody is let in. The log says who has them.
 * A configuration that cannot be read then stays as it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "libbus/wire/sockio.h"
#include "tests/support/policy.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"

#define CROWD     200
#define OTHER_UID 4242
/* A twentieth of the time: five per cent of a processor. */
#define WATCHED_MS 1000
#define CPU_NS_MAX (WATCHED_MS * UINT64_C(1000000) / 20)

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

static void close_all(int *fd, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fd[i] >= 0)
            close(fd[i]);
}

/* What busd has said to it so far. */
static size_t read_text(int fd, char *text, size_t size)
{
    ssize_t n = recv(fd, text, size - 1, MSG_DONTWAIT);

    text[MAX(n, 0)] = '\0';
    return (size_t)MAX(n, 0);
}

/* Whether one of them was told why it is not served. */
static bool is_one_told(const int *fd, size_t count)
{
    char text[1024];

    for (size_t i = 0; i < count; i++)
        if (fd[i] >= 0 && read_text(fd[i], text, sizeof(text)) > 0 &&
            strstr(text, "bus.LimitExceeded") && strstr(text, "file descriptors"))
            return true;
    return false;
}

static void assert_calm(const struct session *session)
{
    uint64_t before = process_cpu_ns(session->busd.pid);

    usleep(WATCHED_MS * 1000);
    assert_in_range(process_cpu_ns(session->busd.pid) - before, 0, CPU_NS_MAX);
}

/* Fds both ways, and one of the bus's own. */
static void exchange_fds(struct client *a, struct client *b)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int got[4];

    for (unsigned i = 0; i < 4; i++)
        got[i] = fd;
    client_send_fds(a, got, 4, "{'type':'event','topic':'t','fds':4}");
    client_expect_fds(b, got, 4, "{'sender':'$A','type':'event','topic':'t'}");
    close(fd);
    close_all(got, 4);
    client_send(b, "{'type':'call','id':1,'to':'bus','method':'GetCredentials',"
                   "'body':{'name':'$A'}}");
    client_expect_fds(b, got, 1,
                      "{'sender':'bus','type':'reply','id':1,'body':{'name':'$A','pid':'*',"
                      "'uid':'*','gid':'*','gids':'*'}}");
    close(got[0]);
}

static void assert_let_in(struct session *session, struct client *a)
{
    uint64_t start = process_now();

    session_wait_for_connections(session, a, 2);
    struct client *c = session_connect(session, "C");
    client_ask(c, "Ping", "{}", "{}");
    assert_in_range(process_now() - start, 0, 2000);
}

/* A crowd takes what there is. What is spared is enough for those that were there. */
static void test_crowd(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    int fd[CROWD];

    client_ask(b, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
    assert_true(process_limit_fds(session->busd.pid, 60));
    for (size_t i = 0; i < CROWD; i++)
        fd[i] = connect_to(session->busd.path);
    for (unsigned i = 0; i < 20; i++)
        client_ask(a, "Ping", "{}", "{}");
    exchange_fds(a, b);
    assert_calm(session);
    exchange_fds(a, b);
    assert_true(is_one_told(fd, CROWD));
    assert_true(busd_has_logged(&session->busd, "cannot accept a connection"));
    close_all(fd, CROWD);
    assert_let_in(session, a);
    assert_true(process_limit_fds(session->busd.pid, SIZE_MAX));
}

/* Not one file descriptor left. */
static void test_full_table(struct session *session)
{
    if (!sockio_can_keep_fds_out()) {
        puts("skipped: on this kernel the sockets of those who are turned away are closed later");
        return;
    }
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    int fd[CROWD];

    client_ask(b, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
    /* What is still to be closed would leave room. */
    session_expect_fds(session, 2);
    assert_true(process_limit_fds(session->busd.pid, 0));
    for (size_t i = 0; i < CROWD; i++)
        fd[i] = connect_to(session->busd.path);
    client_ask(a, "GetCredentials", "{'name':'$B'}",
               "{'name':'$B','pid':'*','uid':'*','gid':'*','gids':'*'}");
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    client_send_fds(a, &null, 1, "{'type':'event','topic':'t','fds':1}");
    close(null);
    client_expect_complaint(a, "bus.FdMismatch", "{'type':'event','topic':'t'}");
    assert_calm(session);
    assert_true(is_one_told(fd, CROWD));
    client_send(a, "{'type':'event','topic':'t'}");
    client_expect(b, "{'sender':'$A','type':'event','topic':'t'}");
    close_all(fd, CROWD);
    assert_true(process_limit_fds(session->busd.pid, SIZE_MAX));
    assert_let_in(session, a);
    exchange_fds(a, b);
}

/* Not even the one in reserve is of use: whoever waits has to wait on, without busd
 * looking all the time. */
static void test_no_reserve(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct rlimit before, none;
    int fd[CROWD];

    assert_int_equal(prlimit(session->busd.pid, RLIMIT_NOFILE, NULL, &before), 0);
    none = (struct rlimit){0, before.rlim_max};
    assert_int_equal(prlimit(session->busd.pid, RLIMIT_NOFILE, &none, NULL), 0);
    for (size_t i = 0; i < CROWD; i++)
        fd[i] = connect_to(session->busd.path);
    client_ask(a, "Ping", "{}", "{}");
    assert_calm(session);
    client_ask(a, "Ping", "{}", "{}");
    assert_int_equal(prlimit(session->busd.pid, RLIMIT_NOFILE, &before, NULL), 0);
    session_wait_for_connections(session, a, CROWD + 1);
    close_all(fd, CROWD);
    session_wait_for_connections(session, a, 1);
    session_connect(session, "B");
}

static _Noreturn void storm(const char *path)
{
    int fd[16];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        for (size_t i = 0; i < ARRAY_SIZE(fd); i++)
            fd[i] = connect_to(path);
        close_all(fd, ARRAY_SIZE(fd));
    }
}

/* Connecting over and over, with hardly a file descriptor to be had. */
static void test_storm(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    uint64_t longest = 0;
    int status;

    client_ask(b, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
    assert_true(process_limit_fds(session->busd.pid, 24));
    pid_t pid = fork();
    if (pid == 0)
        storm(session->busd.path);
    for (uint64_t end = process_now() + 1000; process_now() < end;) {
        uint64_t start = process_now();
        client_ask(a, "Ping", "{}", "{}");
        client_send(a, "{'type':'event','topic':'t'}");
        client_expect(b, "{'sender':'$A','type':'event','topic':'t'}");
        longest = MAX(longest, process_now() - start);
    }
    kill(pid, SIGKILL);
    assert_true(process_wait(pid, 5000, &status));
    assert_in_range(longest, 0, 1000);
    assert_true(process_limit_fds(session->busd.pid, SIZE_MAX));
    assert_let_in(session, a);
    exchange_fds(a, b);
}

static void expect_logged_soon(const struct session *session, const char *text)
{
    uint64_t end = process_now() + 10000;

    while (!busd_has_logged(&session->busd, text)) {
        CHECK(process_now() < end, "the log does not say: %s", text);
        usleep(1000);
    }
}

/* The log names the user who has the most of what has run out. */
static void test_culprit(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    int fd[CROWD];

    if (geteuid() != 0) {
        print_message("not root: there is no other user to be\n");
        return;
    }
    client_ask(b, "Ping", "{}", "{}");
    assert_int_equal(chmod(session->busd.directory, 0711), 0);
    assert_int_equal(chmod(session->busd.path, 0666), 0);
    assert_true(process_limit_fds(session->busd.pid, 60));
    assert_int_equal(seteuid(OTHER_UID), 0);
    for (size_t i = 0; i < CROWD; i++)
        fd[i] = connect_to(session->busd.path);
    assert_int_equal(seteuid(0), 0);
    expect_logged_soon(session, "cannot accept a connection: Too many open files; "
                                "pausing 10 ms; uid 4242 has the most: ");
    close_all(fd, CROWD);
    assert_let_in(session, a);
    assert_true(process_limit_fds(session->busd.pid, SIZE_MAX));
}

/* ------------------------------------------- a configuration read anew */

#define OPEN   POLICY("{'allow':'*'}")
#define CLOSED POLICY("{'deny':'own'},{'allow':'*'}")

static bool may_own(struct client *client)
{
    json_t *answer = client_ask_json(client, "Explain", "{'verb':'own','name':'org.example.A'}");
    bool allow = json_is_true(json_object_get(answer, "allow"));

    json_decref(answer);
    return allow;
}

/* By a signal that nobody answers: the log says it. */
static void test_reload(struct session *session)
{
    struct client *a = session_connect(session, "A");
    CLEANUP(cleanup_free)
    char *failed = policy_text(session, "DIR/config.json: Too many open files: the configuration "
                                        "stays as it was");

    assert_int_equal(busd_configure(&session->busd, CLOSED), 0);
    session_expect_fds(session, 1);
    assert_true(process_limit_fds(session->busd.pid, 0));
    kill(session->busd.pid, SIGHUP);
    expect_logged_soon(session, failed);
    assert_true(may_own(a));
    client_ask(a, "RequestName", "{'name':'org.example.A'}", "{'state':'owner'}");
    policy_reload_fails(a, CLOSED, "DIR/config.json: Too many open files");
    assert_true(may_own(a));

    assert_true(process_limit_fds(session->busd.pid, SIZE_MAX));
    kill(session->busd.pid, SIGHUP);
    expect_logged_soon(session, "the configuration has been read anew");
    assert_false(may_own(a));
    client_ask_error(a, "RequestName", "{'name':'org.example.B'}", "bus.AccessDenied");
}

#define WITH_ANOTHER                                                                               \
    "{'listeners':[" POLICY_LISTENERS                                                              \
    "," LISTENER("another") "],"                                                                   \
                            "'policy':[{'deny':'own'},{'allow':'*'}]}"

/* Reload is answered. Whether it was with success; else nothing has changed. */
static bool try_reload(struct client *client)
{
    client_send(client, "{'type':'call','id':9,'to':'bus','method':'Reload'}");
    struct message *message = client_next(client);
    const char *error = json_string_value(json_object_get(message->json, "error"));
    const char *reason = json_string_value(json_object_get(message->json, "message"));

    CHECK(!error || (reason && strstr(reason, "Too many open files")), "%s", message->line);
    bool right = !error;
    message_free(message);
    assert_int_equal(may_own(client), !right);
    return right;
}

/* With one file descriptor more each time it comes further, with a listener to be opened
 * on the way, until it has all that it needs. */
static void test_reload_in_part(struct session *session)
{
    struct client *a = session_connect(session, "A");
    CLEANUP(cleanup_free) char *path = policy_text(session, "DIR/another");
    CLEANUP(cleanup_free) char *lock = policy_text(session, "DIR/another.lock");
    unsigned failures = 0;

    assert_int_equal(busd_configure(&session->busd, WITH_ANOTHER), 0);
    for (size_t room = 0;; room++) {
        assert_true(process_limit_fds(session->busd.pid, room));
        if (try_reload(a))
            break;
        failures++;
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(access(lock, F_OK), -1);
        session_expect_fds(session, 1);
    }
    assert_in_range(failures, 2, 10);
    assert_true(process_limit_fds(session->busd.pid, SIZE_MAX));
    session_connect_as(session, "B", "another", NULL);
    policy_reload(a, OPEN);
    assert_true(may_own(a));
}

/* Whatever soft limit it is started with, it takes as many as it may have. */
static void test_limit_raised(struct session *session)
{
    struct rlimit before, low, raised;
    struct busd busd;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = (struct rlimit){MIN(before.rlim_max / 2, (rlim_t)256), before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    int r = busd_start(&busd, NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(r, 0);
    assert_int_equal(prlimit(busd.pid, RLIMIT_NOFILE, NULL, &raised), 0);
    assert_int_equal(raised.rlim_cur, raised.rlim_max);
    assert_int_equal(busd_stop(&busd), 0);
}

#define CONFIGURED_PLAIN(function)                                                                 \
    {                                                                                              \
        .name = #function, .run = function, .config = OPEN, .plain_only = true                     \
    }

static const struct transcript transcripts[] = {
    TRANSCRIPT_PLAIN(test_limit_raised), TRANSCRIPT_PLAIN(test_crowd),
    TRANSCRIPT_PLAIN(test_full_table),   TRANSCRIPT_PLAIN(test_no_reserve),
    TRANSCRIPT_PLAIN(test_storm),        TRANSCRIPT_PLAIN(test_culprit),
    CONFIGURED_PLAIN(test_reload),       CONFIGURED_PLAIN(test_reload_in_part),
};

int main(void)
{
    return TRANSCRIPTS_RUN("exhaustion", transcripts);
}
