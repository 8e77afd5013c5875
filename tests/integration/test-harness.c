/* SPDX-License-Identifier: MIT */
/*
 * The harness itself: transcripts that must fail, each for one reason, and the
 * harness's word for it. Every one of them runs in a process of its own, for which
 * this program starts itself again.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/files.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"

#define PING "{'type':'call','id':1,'to':'bus','method':'Ping'}"
#define PONG "{'sender':'bus','type':'reply','id':1,'body':{}}"

static void passes(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_send(a, PING);
    client_expect(a, PONG);
}

static void leaks_an_fd(struct session *session)
{
    assert_true(open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0);
}

/* A process that nobody waits for keeps a connection open. */
static void leaves_a_connection(struct session *session)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", session->busd.path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    session_connect(session, "A");
    session_connect(session, "B");
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    close(fd);
}

static void hangs(struct session *session)
{
    for (;;)
        pause();
}

static void sees_nothing(struct session *session)
{
    client_expect(session_connect(session, "A"), PONG);
}

static void sees_too_much(struct session *session)
{
    client_send(session_connect(session, "A"), PING);
}

static void sees_too_much_late(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_ask(b, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
    client_send(a, "{'type':'event','topic':'t'}");
}

static void expects_nothing_wrongly(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_send(b, "{'type':'event','topic':'t','to':'$A'}");
    client_expect_nothing(a);
}

static void sees_another_value(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_send(a, PING);
    client_expect(a, "{'sender':'bus','type':'reply','id':2,'body':{}}");
}

static void sees_another_key(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_send(a, PING);
    client_expect(a, "{'sender':'bus','type':'reply','id':1}");
}

static void misses_a_key(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_send(a, PING);
    client_expect(a, "{'sender':'bus','type':'reply','id':1,'body':{},'fds':3}");
}

static void sees_other_bytes(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_send(a, PING);
    client_expect_line(a, "{'type':'reply','sender':'bus','id':1,'body':{}}");
}

static void expects_the_end_wrongly(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_send(a, PING);
    client_expect_end(a);
}

static void is_cut(struct session *session)
{
    struct client *a = session_connect(session, "A");

    for (unsigned i = 0; i < 16; i++) {
        client_send(a, "x");
        client_expect_complaint(a, "bus.ParseError", "{}");
    }
    message_free(client_next(a));
    client_read_available(a);
    usleep(200000);
    client_read_available(a);
}

static void sees_too_few_fds(struct session *session)
{
    struct client *a = session_connect(session, "A");
    int fd[3];

    files_open(fd, 2, 0);
    client_send_fds(a, fd, 2, "{'type':'event','topic':'t','to':'$A','fds':2}");
    files_close(fd, 2);
    client_expect_fds(a, fd, 3, "{'sender':'$A','type':'event','topic':'t','to':'$A'}");
}

static void sees_other_fds(struct session *session)
{
    struct client *a = session_connect(session, "A");
    int fd[2];

    files_open(fd, 2, 7);
    client_send_fds(a, fd, 2, "{'type':'event','topic':'t','to':'$A','fds':2}");
    files_close(fd, 2);
    client_expect_fds(a, fd, 2, "{'sender':'$A','type':'event','topic':'t','to':'$A'}");
    files_expect(fd, 2, 8);
}

static void kills_busd(struct session *session)
{
    kill(session->busd.pid, SIGKILL);
    usleep(100000);
}

static void leaves_a_file(struct session *session)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/litter", session->busd.directory);
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

struct fault {
    struct transcript transcript;
    const char *said; /* NULL: it passes */
};

#define FAULT(function, said)                                                                      \
    {                                                                                              \
        {.name = #function, .run = function, .plain_only = true}, said                             \
    }

static const struct fault faults[] = {
    FAULT(passes, NULL),
    FAULT(leaks_an_fd, "file descriptors open instead of"),
    FAULT(leaves_a_connection, "busd has"),
    {{.name = "hangs", .run = hangs, .plain_only = true, .seconds = 1}, "took longer than its"},
    FAULT(sees_nothing, "A waits in vain for"),
    FAULT(sees_too_much, "A got what was not expected"),
    FAULT(sees_too_much_late, "B got what was not expected"),
    FAULT(expects_nothing_wrongly, "A got what was not expected"),
    FAULT(sees_another_value, "id: is 1"),
    FAULT(sees_another_key, "a key 'body' that was not expected"),
    FAULT(misses_a_key, "fds: is missing"),
    FAULT(sees_other_bytes, "not the same bytes"),
    FAULT(expects_the_end_wrongly, "A expected the end"),
    FAULT(is_cut, "was disconnected"),
    FAULT(sees_too_few_fds, "fds: is 2"),
    FAULT(sees_other_fds, "is number 7 instead of 8"),
    FAULT(kills_busd, "ended by itself"),
    FAULT(leaves_a_file, "left litter behind"),
};

/* A busd that cannot even be started. */
static const struct transcript missing = {.name = "missing", .run = passes, .plain_only = true};

static void run_apart(const struct transcript *transcript, const char *said)
{
    int output = memfd_create("output", MFD_CLOEXEC), status;
    char text[65536];
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(output, STDOUT_FILENO);
        dup2(output, STDERR_FILENO);
        setenv("BUSD_TEST_PATIENCE_MS", "500", 1);
        if (transcript == &missing)
            setenv("BUSD_BINARY", "/nonexistent/busd", 1);
        execl("/proc/self/exe", "test-harness", transcript->name, NULL);
        _exit(127);
    }
    assert_true(process_wait(pid, 60000, &status));
    ssize_t size = pread(output, text, sizeof(text) - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    close(output);
    assert_true(WIFEXITED(status));
    CHECK((WEXITSTATUS(status) == 0) == !said, "%s: status %d: %s", transcript->name,
          WEXITSTATUS(status), text);
    CHECK(!said || strstr(text, said), "%s: '%s' is not in: %s", transcript->name, said, text);
}

static void test_faults(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
        run_apart(&faults[i].transcript, faults[i].said);
}

static void test_missing_busd(void **state)
{
    run_apart(&missing, "cannot run /nonexistent/busd");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_missing_busd),
    };

    if (argc < 2)
        return cmocka_run_group_tests_name("harness", tests, NULL, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
        if (strcmp(argv[1], faults[i].transcript.name) == 0)
            return transcripts_run(argv[1], &faults[i].transcript, 1);
    return transcripts_run(argv[1], &missing, 1);
}
