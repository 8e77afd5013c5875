/* SPDX-License-Identifier: MIT */
/*
 * busd as a process: its command line, its socket and lock, its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/process.h"
#include "tests/support/transcript.h"

/* What a run of busd that ends by itself has said. */
struct outcome {
    int status; /* exit status; -1: it had to be killed */
    char out[8192];
    char error[8192];
};

static void read_file(int fd, char *text, size_t size)
{
    ssize_t n = pread(fd, text, size - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    close(fd);
}

/* Runs busd with these arguments and waits for its end, at most `ms`. */
static struct outcome run_for(uint64_t ms, const char *const *args)
{
    struct outcome outcome = {.status = -1};
    int out = memfd_create("out", MFD_CLOEXEC), error = memfd_create("error", MFD_CLOEXEC);
    const char *argv[16] = {busd_binary()};
    int status;

    for (size_t i = 0; args[i]; i++)
        argv[i + 1] = args[i];
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(out, STDOUT_FILENO);
        dup2(error, STDERR_FILENO);
        execv(argv[0], (char **)(uintptr_t)argv);
        _exit(127);
    }
    assert_true(pid > 0);
    if (!process_wait(pid, ms, &status)) {
        kill(pid, SIGTERM);
        process_wait(pid, 10000, &status);
    } else {
        outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    read_file(out, outcome.out, sizeof(outcome.out));
    read_file(error, outcome.error, sizeof(outcome.error));
    return outcome;
}

static struct outcome run(const char *const *args)
{
    return run_for(10000, args);
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

/* It ended with this status, and said this (on standard error) and nothing else. */
static void assert_refused(struct outcome outcome, int status, const char *said, const char *also)
{
    CHECK(outcome.status == status, "status %d: %s", outcome.status, outcome.error);
    CHECK(strstr(outcome.error, said) && strstr(outcome.error, also), "it said: %s", outcome.error);
    assert_string_equal(outcome.out, "");
}

/* ------------------------------------------------------ command line */

static void test_help_and_version(struct session *session)
{
    static const char *const options[] = {"--user",          "--system",       "--address",
                                          "--config",        "--check-config", "--limit",
                                          "--print-address", "--log-level",    "--version"};
    struct outcome outcome = RUN("--version");

    assert_int_equal(outcome.status, 0);
    assert_string_equal(outcome.out, "busd " BUSD_VERSION "\n");
    assert_string_equal(outcome.error, "");
    outcome = RUN("--help");
    assert_int_equal(outcome.status, 0);
    assert_string_equal(outcome.error, "");
    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        CHECK(strstr(outcome.out, options[i]), "%s is not told", options[i]);
}

static void test_bad_options(struct session *session)
{
    static const struct {
        const char *option;
        const char *said;
        const char *also;
    } cases[] = {
        {"--nonsense", "--nonsense", "--help"},
        {"nonsense", "nonsense", "--help"},
        {"--limit=nonsense=1", "nonsense", "message_bytes"},
        {"--limit=nonsense", "nonsense", "NAME=NUMBER"},
        {"--limit=names", "names", "NAME=NUMBER"},
        {"--limit=names=", "names", "NAME=NUMBER"},
        {"--limit=names=x", "names=x", "NAME=NUMBER"},
        {"--limit=names=5x", "names=5x", "NAME=NUMBER"},
        {"--limit=names=-5", "names=-5", "NAME=NUMBER"},
        {"--limit=names= 5", "names= 5", "NAME=NUMBER"},
        {"--limit=names=99999999999999999999999", "names", "NUMBER"},
        {"--limit=names=0", "names", "from 1 to"},
        {"--limit=message_bytes=255", "message_bytes", "from 256 to"},
        {"--limit=fds_per_message=254", "fds_per_message", "to 253"},
        {"--limit=queue_bytes=1", "queue_bytes", "from"},
        {"--log-level=loud", "loud", "debug"},
        {"--log-level=", "''", "debug"},
        {"--print-address=x", "x", "file descriptor"},
        {"--print-address=-1", "-1", "file descriptor"},
        {"--limit", "limit", "--help"},
        {"--address", "address", "--help"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_refused(RUN(cases[i].option), 2, cases[i].said, cases[i].also);
}

static void test_bad_addresses(struct session *session)
{
    char path[128], long_path[300], bad_folder[128];

    assert_refused(RUN("--address", "tcp:localhost:1"), 1, "tcp:localhost:1", "unix:/path");
    assert_refused(RUN("--address", ""), 1, "address", "unix:/path");
    assert_refused(RUN("--address", "unix:"), 1, "unix:", "unix:/path");
    assert_refused(RUN("--address", "relative/path"), 1, "relative/path", "unix:/path");
    assert_refused(RUN("--address", "fd:99"), 1, "fd:99", "");
    assert_refused(RUN("--address", "fd:0"), 1, "fd:0", "socket");
    assert_refused(RUN("--address", "fd:x"), 1, "fd:x", "");

    snprintf(long_path, sizeof(long_path), "%s/%0200d", session->busd.directory, 7);
    assert_refused(RUN("--address", long_path), 1, "long", "107");
    snprintf(bad_folder, sizeof(bad_folder), "%s/missing/bus", session->busd.directory);
    assert_refused(RUN("--address", bad_folder), 1, bad_folder, "folder");
    assert_int_equal(access(bad_folder, F_OK), -1);

    /* A file that is not ours to remove stays as it is. */
    snprintf(path, sizeof(path), "%s/file", session->busd.directory);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "precious", 8), 8);
    close(fd);
    assert_refused(RUN("--address", path), 1, path, "not a socket");
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, 8);
    unlink(path);
}

/* A second address that cannot be had is an error, too, and takes the first back. */
static void test_half_of_the_addresses(struct session *session)
{
    char good[128];

    snprintf(good, sizeof(good), "%s/good", session->busd.directory);
    assert_refused(RUN("--address", good, "--address", session->busd.path), 1, session->busd.path,
                   "another busd");
    assert_int_equal(access(good, F_OK), -1);
}

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_config(struct session *session)
{
    static const struct {
        const char *text;
        const char *said;
        const char *also;
    } bad[] = {
        {"{\"limits\":{\"names\":5},\n  \"limits\":{}}", ":2:", "uplicate"},
        {"{\"limits\":{\"names\":}}", ":1:", "token"},
        {"", ":1:", ""},
        {"[]", "object", ""},
        {"{\"limts\":{}}", "limts", "limits"},
        {"{\"limits\":[]}", "limits", "object"},
        {"{\"limits\":{\"nmes\":5}}", "nmes", "names"},
        {"{\"limits\":{\"names\":0}}", "names", "from 1 to"},
        {"{\"limits\":{\"names\":\"5\"}}", "names", "integer"},
        {"{\"limits\":{\"names\":-1}}", "names", "integer"},
    };
    char path[128];

    snprintf(path, sizeof(path), "%s/config", session->busd.directory);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        write_text(path, bad[i].text);
        struct outcome outcome = RUN("--config", path, "--check-config");
        assert_refused(outcome, 1, bad[i].said, bad[i].also);
        assert_non_null(strstr(outcome.error, path));
    }
    write_text(path, "{\"limits\":{\"names\":5,\"message_bytes\":4096}}");
    struct outcome outcome = RUN("--config", path, "--check-config");
    assert_int_equal(outcome.status, 0);
    assert_string_equal(outcome.error, "");
    unlink(path);
    assert_refused(RUN("--config", path, "--check-config"), 1, path, "");
}

/* --------------------------------------------------- socket and lock */

static void test_live_socket(struct session *session)
{
    struct client *a = session_connect(session, "A");
    const char *path = session->busd.path;

    for (unsigned i = 0; i < 3; i++)
        assert_refused(RUN("--address", path), 1, path, "another busd");
    client_ask(a, "Ping", "{}", "{}");
    session_connect(session, "B");
}

/* Somebody else's live socket, with no lock beside it. */
static void test_foreign_socket(struct session *session)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/foreign", session->busd.directory);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_refused(RUN("--address", address.sun_path), 1, address.sun_path, "some program");
    assert_int_equal(access(address.sun_path, F_OK), 0);
    close(fd);
    unlink(address.sun_path);
    char lock[128];
    snprintf(lock, sizeof(lock), "%s.lock", address.sun_path);
    assert_int_equal(access(lock, F_OK), -1);
}

static struct busd start_at(const char *path, const char *option)
{
    struct busd busd;

    assert_int_equal(busd_start(&busd, BUSD_ARGS("--address", path, option)), 0);
    return busd;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    socklen_t size = sizeof(address);
    if (path[0] == '@') {
        address.sun_path[0] = '\0';
        size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    }
    if (connect(fd, (struct sockaddr *)&address, size) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Whether there is a bus: it greets. */
static bool is_served(const char *path)
{
    char text[32] = "";
    int fd = connect_to(path);

    if (fd < 0)
        return false;
    ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_WAITALL);
    close(fd);
    return n > 0 && strncmp(text, "{\"sender\":\"bus\"", 15) == 0;
}

/* What a daemon that was killed has left is replaced, and said. */
static void test_stale_socket(struct session *session)
{
    char path[128], lock[140];

    snprintf(path, sizeof(path), "%s/stale", session->busd.directory);
    snprintf(lock, sizeof(lock), "%s.lock", path);
    for (unsigned i = 0; i < 3; i++) {
        struct busd busd = start_at(path, "--log-level=notice");
        assert_true(is_served(path));
        if (i > 0)
            assert_true(busd_has_logged(&busd, "stale"));
        kill(busd.pid, SIGKILL);
        int status;
        process_wait(busd.pid, 10000, &status);
        assert_int_equal(access(path, F_OK), 0);
        assert_false(is_served(path));
        busd_kill(&busd);
    }
    struct busd busd = start_at(path, "--log-level=notice");
    assert_true(is_served(path));
    assert_int_equal(busd_stop(&busd), 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(lock, F_OK), -1);
}

static void test_several_addresses(struct session *session)
{
    char path[128], abstract[64];

    snprintf(path, sizeof(path), "unix:%s/other", session->busd.directory);
    snprintf(abstract, sizeof(abstract), "unix:@busd-test-%d", (int)getpid());
    struct busd busd;
    assert_int_equal(busd_start(&busd, BUSD_ARGS("--address", path, "--address", abstract)), 0);
    assert_true(is_served(busd.path));
    assert_true(is_served(path + 5));
    assert_true(is_served(abstract + 5));
    assert_int_equal(busd_stop(&busd), 0);
    assert_int_equal(access(path + 5, F_OK), -1);
    assert_false(is_served(abstract + 5));
}

static void test_printed_address(struct session *session)
{
    CLEANUP(cleanup_free) char *expected = client_expand(session, "unix:%s", session->busd.path);

    assert_string_equal(session->busd.address, expected);
}

/* Its owner and nobody else may connect. */
static void test_socket_mode(struct session *session)
{
    struct stat status;

    assert_int_equal(stat(session->busd.path, &status), 0);
    assert_true(S_ISSOCK(status.st_mode));
    assert_int_equal(status.st_mode & 0077, 0);
}

/* The user bus's usual place, whose folder is made. */
static void test_default_address(struct session *session)
{
    char path[128], folder[100];
    const char *before = getenv("XDG_RUNTIME_DIR");
    CLEANUP(cleanup_free) char *saved = before ? strdup(before) : NULL;

    setenv("XDG_RUNTIME_DIR", session->busd.directory, 1);
    snprintf(folder, sizeof(folder), "%s/busd", session->busd.directory);
    snprintf(path, sizeof(path), "%s/bus", folder);
    struct outcome outcome = run_for(500, (const char *const[]){"--print-address", NULL});
    assert_int_equal(outcome.status, -1);
    CLEANUP(cleanup_free) char *expected = client_expand(session, "unix:%s\n", path);
    assert_string_equal(outcome.out, expected);
    assert_string_equal(outcome.error, "");
    assert_int_equal(access(path, F_OK), -1);
    struct stat status;
    assert_int_equal(stat(folder, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    rmdir(folder);

    unsetenv("XDG_RUNTIME_DIR");
    assert_refused(RUN("--print-address"), 1, "XDG_RUNTIME_DIR", "--address");
    if (saved)
        setenv("XDG_RUNTIME_DIR", saved, 1);
}

/* -------------------------------------------------------------- the end */

static void test_signal(struct session *session, int number)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    int status;

    client_ask(b, "Subscribe", "{'topic':'t.#'}", "{'subscription':1,'retained':0}");
    /* More than fits into B's socket, so that something is left to be drained. */
    char filler[2001];
    memset(filler, 'x', 2000);
    filler[2000] = '\0';
    for (unsigned n = 0; n < 500; n++)
        client_send(a, "{'type':'event','topic':'t.%u','body':'%s'}", n, filler);
    kill(session->busd.pid, number);
    for (unsigned n = 0; n < 500; n++)
        client_expect(b, "{'sender':'$A','type':'event','topic':'t.%u','body':'*'}", n);
    client_expect_goodbye(b, "shutting down");
    client_expect_goodbye(a, "shutting down");
    assert_true(process_wait(session->busd.pid, 5000, &status));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(access(session->busd.path, F_OK), -1);
    session->busd.pid = 0;
}

static void test_sigterm(struct session *session)
{
    test_signal(session, SIGTERM);
}

static void test_sigint(struct session *session)
{
    test_signal(session, SIGINT);
}

/* One who never reads cannot keep it alive for long. */
static void test_sigterm_with_stopped_reader(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    char filler[2001];
    int status;

    memset(filler, 'x', 2000);
    filler[2000] = '\0';
    client_ask(b, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
    for (unsigned n = 0; n < 500; n++)
        client_send(a, "{'type':'event','topic':'t','body':'%s'}", filler);
    client_ask(a, "Ping", "{}", "{}");
    kill(session->busd.pid, SIGTERM);
    assert_true(process_wait(session->busd.pid, 15000, &status));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    session->busd.pid = 0;
    client_close(a);
    client_close(b);
}

/* A second signal is no accident either. */
static void test_sigterm_twice(struct session *session)
{
    struct client *a = session_connect(session, "A");
    int status;

    client_ask(a, "Ping", "{}", "{}");
    kill(session->busd.pid, SIGTERM);
    kill(session->busd.pid, SIGTERM);
    client_expect_goodbye(a, "shutting down");
    assert_true(process_wait(session->busd.pid, 5000, &status));
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    session->busd.pid = 0;
}

/* Who writes to a client that has just gone gets no deadly signal. */
static void test_sigpipe(struct session *session)
{
    struct client *a = session_connect(session, "A");

    for (unsigned i = 0; i < 200; i++) {
        struct client *b = session_connect(session, "B");
        client_ask(b, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
        client_send(a, "{'type':'event','topic':'t'}");
        client_free(b);
        client_send(a, "{'type':'event','topic':'t'}");
    }
    client_ask(a, "Ping", "{}", "{}");
}

/* ------------------------------------------------- out of descriptors */

/* With no descriptor left, clients are shed, those there are served, and when some
 * are free again all is as before. */
static void test_no_descriptors(struct session *session)
{
    struct client *a = session_connect(session, "A");
    int fd[64];

    assert_true(process_limit_fds(session->busd.pid, 10));
    for (size_t i = 0; i < ARRAY_SIZE(fd); i++)
        fd[i] = connect_to(session->busd.path);
    for (unsigned i = 0; i < 20; i++)
        client_ask(a, "Ping", "{}", "{}");
    uint64_t before = process_context_switches(session->busd.pid);
    usleep(300000);
    /* Shedding goes on, but it does not spin. */
    assert_in_range(process_context_switches(session->busd.pid) - before, 0, 300);
    for (size_t i = 0; i < ARRAY_SIZE(fd); i++)
        if (fd[i] >= 0)
            close(fd[i]);
    session_wait_for_connections(session, a, 1);
    assert_true(process_limit_fds(session->busd.pid, SIZE_MAX));
    struct client *b = session_connect(session, "B");
    client_ask(b, "Ping", "{}", "{}");
}

static const struct transcript transcripts[] = {
    TRANSCRIPT_PLAIN(test_help_and_version),
    TRANSCRIPT_PLAIN(test_bad_options),
    TRANSCRIPT_PLAIN(test_bad_addresses),
    TRANSCRIPT_PLAIN(test_half_of_the_addresses),
    TRANSCRIPT_PLAIN(test_config),
    TRANSCRIPT_PLAIN(test_live_socket),
    TRANSCRIPT_PLAIN(test_foreign_socket),
    TRANSCRIPT_PLAIN(test_stale_socket),
    TRANSCRIPT_PLAIN(test_several_addresses),
    TRANSCRIPT_PLAIN(test_printed_address),
    TRANSCRIPT_PLAIN(test_socket_mode),
    TRANSCRIPT_PLAIN(test_default_address),
    TRANSCRIPT_PLAIN(test_sigterm),
    TRANSCRIPT_PLAIN(test_sigint),
    TRANSCRIPT_PLAIN(test_sigterm_with_stopped_reader),
    TRANSCRIPT_PLAIN(test_sigterm_twice),
    TRANSCRIPT_PLAIN(test_sigpipe),
    TRANSCRIPT_PLAIN(test_no_descriptors),
};

int main(void)
{
    return TRANSCRIPTS_RUN("process", transcripts);
}
