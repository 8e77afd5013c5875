/* SPDX-License-Identifier: MIT */
/*
 * The log: one line an event, nothing in it that could forge another, levels, the limit
 * for what clients can cause, and never a wait. Standard error is a pipe meanwhile, or
 * what else a test makes of it.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "libbus/base/log.h"
#include "libbus/base/macros.h"
#include "libbus/base/span.h"
#include "tests/support/unit.h"

static char captured[1 << 18];
static int saved, ends[2];
static struct log tested;

static int set_stderr(int fd)
{
    return dup2(fd, STDERR_FILENO) < 0 ? -1 : 0;
}

static int setup(void **state)
{
    unsetenv("JOURNAL_STREAM");
    signal(SIGPIPE, SIG_IGN);
    saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    if (saved < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    /* The writing end is not non-blocking: that is the log's business. */
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 18);
    set_stderr(ends[1]);
    log_init(&tested, LOG_LEVEL_INFO);
    return 0;
}

static int teardown(void **state)
{
    set_stderr(saved);
    log_deinit(&tested);
    close(saved);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

/* Whatever standard error is now. */
static void restart_log(enum log_level level)
{
    log_deinit(&tested);
    log_init(&tested, level);
}

/* What has been written since the last time, NUL-terminated. */
static const char *capture_from(int fd)
{
    ssize_t size = read(fd, captured, sizeof(captured) - 1);

    captured[size > 0 ? size : 0] = '\0';
    return captured;
}

static const char *capture(void)
{
    return capture_from(ends[0]);
}

static unsigned count(const char *text, const char *needle)
{
    unsigned n = 0;

    while ((text = strstr(text, needle))) {
        text++;
        n++;
    }
    return n;
}

static const struct log_subject alice = {{":42", 3}, 1000, 77};
static const struct log_subject bob = {{":43", 3}, 4294967294, 78};

static void test_line(void **state)
{
    log_write(&tested, LOG_LEVEL_WARNING, "%s went away after %d s", ":42", 7);
    assert_string_equal(capture(), "busd: warning: :42 went away after 7 s\n");
    log_write(&tested, LOG_LEVEL_ERROR, "x");
    assert_string_equal(capture(), "busd: error: x\n");
}

static void test_fields(void **state)
{
    static const struct log_subject nameless = {{NULL, 0}, 65534, 0};
    static const struct log_subject unknown = {{NULL, 0}, (uid_t)-1, 0};

    log_about(&tested, LOG_LEVEL_NOTICE, &alice, "cut", "%d lines", 16);
    assert_string_equal(capture(),
                        "busd: notice: cut: peer=:42 uid=1000 pid=77 reason=\"16 lines\"\n");
    log_about(&tested, LOG_LEVEL_INFO, &bob, "connected", NULL);
    assert_string_equal(capture(), "busd: info: connected: peer=:43 uid=4294967294 pid=78\n");
    log_about(&tested, LOG_LEVEL_NOTICE, &nameless, "turned away", "x");
    assert_string_equal(capture(), "busd: notice: turned away: uid=65534 pid=0 reason=\"x\"\n");
    log_about(&tested, LOG_LEVEL_NOTICE, &unknown, "turned away", "x");
    assert_string_equal(capture(), "busd: notice: turned away: reason=\"x\"\n");
}

static void test_levels(void **state)
{
    for (enum log_level level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        restart_log(level);
        for (enum log_level line = LOG_LEVEL_ERROR; line <= LOG_LEVEL_DEBUG; line++) {
            log_write(&tested, line, "x");
            log_limited(&tested, line, "x");
            log_about(&tested, line, &alice, "x", NULL);
        }
        assert_int_equal(count(capture(), "\n"), 3 * (level - LOG_LEVEL_ERROR + 1));
    }
}

static void test_forging(void **state)
{
    log_write(&tested, LOG_LEVEL_INFO, "name %s", "a\nbusd: error: forged\r\033[2J\x7f\tend%n");
    assert_string_equal(capture(),
                        "busd: info: name a\\x0abusd: error: forged\\x0d\\x1b[2J\\x7f\\x09end%n\n");
    log_write(&tested, LOG_LEVEL_INFO, "%.*s%c%s", 1, "ab", 0, "c");
    assert_string_equal(capture(), "busd: info: a\\x00c\n");

    /* A reason cannot end its quotes, nor an escape be taken for what it stands for. */
    log_about(&tested, LOG_LEVEL_INFO, &alice, "cut", "%s", "x\" uid=0 \\x0a");
    assert_string_equal(
        capture(), "busd: info: cut: peer=:42 uid=1000 pid=77 reason=\"x\\\" uid=0 \\\\x0a\"\n");
}

/* People's languages are left alone, what steers a terminal or a page is not. */
static void test_unicode(void **state)
{
    static const char *const cases[][2] = {
        {"größe", "größe"},
        {"\xe6\x97\xa5\xf0\x9f\x9a\x8c", "\xe6\x97\xa5\xf0\x9f\x9a\x8c"},
        {"\xe2\x82\xac\xc2\xa0", "\xe2\x82\xac\xc2\xa0"},
        {"\xc2\x9b"
         "2J",
         "\\xc2\\x9b2J"}, /* CSI as one character */
        {"\x9b"
         "2J",
         "\\x9b2J"}, /* … and as one byte */
        {"\xe2\x80\xae"
         "cba",
         "\\xe2\\x80\\xaecba"}, /* from right to left */
        {"\xe2\x81\xa6", "\\xe2\\x81\\xa6"},
        {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"}, /* line separator */
        {"\xc0\x8a", "\\xc0\\x8a"},          /* an overlong newline */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
        {"\xff\xfe", "\\xff\\xfe"},
        {"x\xe6\x97", "x\\xe6\\x97"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char expected[64];
        log_write(&tested, LOG_LEVEL_INFO, "%s", cases[i][0]);
        snprintf(expected, sizeof(expected), "busd: info: %s\n", cases[i][1]);
        assert_string_equal(capture(), expected);
    }
}

static void assert_one_line(const char *line, const char *end)
{
    size_t size = strlen(line);

    assert_in_range(size, strlen(end), LOG_LINE_MAX);
    assert_int_equal(count(line, "\n"), 1);
    assert_string_equal(line + size - strlen(end), end);
}

static void test_long_line(void **state)
{
    static char name[65537];

    memset(name, 'n', sizeof(name) - 1);
    log_write(&tested, LOG_LEVEL_INFO, "%s", name);
    assert_one_line(capture(), "nnn...\n");
    assert_in_range(strlen(captured), LOG_LINE_MAX - 2, LOG_LINE_MAX);
    log_about(&tested, LOG_LEVEL_INFO, &alice, "cut", "%s", name);
    assert_one_line(capture(), "nnn...\"\n");
    assert_non_null(strstr(captured, "uid=1000 pid=77"));

    for (int size = LOG_LINE_MAX - 50; size < LOG_LINE_MAX + 10; size++) {
        log_write(&tested, LOG_LEVEL_INFO, "%.*s", size, name);
        assert_one_line(capture(), "\n");
        assert_in_range(strlen(captured), LOG_LINE_MAX - 50, LOG_LINE_MAX);
    }
    /* No escape is cut in two. */
    memset(name, '\n', sizeof(name) - 1);
    for (int size = 0; size < 5; size++) {
        log_write(&tested, LOG_LEVEL_INFO, "%.*s%s", size, "xxxxx", name);
        assert_one_line(capture(), "\\x0a...\n");
    }
}

/* ------------------------------------------------------------- rationing */

static void test_limit(void **state)
{
    for (unsigned i = 0; i < 10000; i++)
        log_limited(&tested, LOG_LEVEL_WARNING, "flood");
    /* A slow machine may have earned a few more. */
    assert_in_range(count(capture(), "flood"), RATION_BURST, RATION_BURST + 10);

    /* What matters is never held back. */
    log_write(&tested, LOG_LEVEL_WARNING, "important");
    assert_int_equal(count(capture(), "important"), 1);

    /* Another line says how many were left out, once there is a token again. */
    struct ration_bucket *bucket = &tested.ration.buckets[0];
    uint64_t refused = bucket->refused;
    char told[64];
    snprintf(told, sizeof(told), "busd: warning: left out: lines=%llu\n",
             (unsigned long long)refused);
    assert_in_range(refused, 9900, 10000 - RATION_BURST);
    bucket->refilled -= 2000;
    log_write(&tested, LOG_LEVEL_WARNING, "other");
    assert_non_null(strstr(capture(), told));
    log_write(&tested, LOG_LEVEL_WARNING, "other");
    assert_null(strstr(capture(), "left out"));
}

/* One user's flood does not cost another his lines. */
static void test_users(void **state)
{
    char told[64];

    for (unsigned i = 0; i < 1000; i++)
        log_about(&tested, LOG_LEVEL_NOTICE, &alice, "cut", "flood");
    assert_in_range(count(capture(), "flood"), RATION_BURST, RATION_BURST + 10);
    log_about(&tested, LOG_LEVEL_NOTICE, &bob, "cut", "news");
    log_limited(&tested, LOG_LEVEL_NOTICE, "news");
    assert_int_equal(count(capture(), "news"), 2);

    snprintf(told, sizeof(told), "left out: uid=1000 lines=%llu\n",
             (unsigned long long)tested.ration.buckets[0].refused);
    /* At the end it is told, too, though nothing was logged since. */
    log_deinit(&tested);
    assert_non_null(strstr(capture(), told));
    log_init(&tested, LOG_LEVEL_INFO);
}

static void test_parse(void **state)
{
    static const char *const names[] = {"error", "warning", "notice", "info", "debug"};
    static const char *const wrong[] = {"", "Error", "errors", "warn", "3", "debug "};
    enum log_level level = LOG_LEVEL_ERROR;

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        assert_true(log_level_parse(names[i], &level));
        assert_int_equal(level, LOG_LEVEL_ERROR + i);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_false(log_level_parse(wrong[i], &level));
    assert_int_equal(level, LOG_LEVEL_DEBUG);
}

/* ------------------------------------------------- who reads, and who not */

/* Standard error is what blocks when it is full: writes go on until it is, and then
 * some; the alarm ends a test that waits. */
static void fill(unsigned lines)
{
    alarm(10);
    for (unsigned i = 0; i < lines; i++)
        log_write(&tested, LOG_LEVEL_INFO, "is anybody there %0200d", (int)i);
    alarm(0);
}

/* Nobody reads and the pipe is full: the daemon goes on, and says later how much is
 * missing. */
static void assert_never_waits(int reader)
{
    fill(20000);
    assert_true(tested.lost > 100 && tested.lost < 20000);
    uint64_t lost = tested.lost;
    unsigned whole = 0;
    while (*capture_from(reader))
        whole += count(captured, "\n");
    assert_int_equal(whole + lost, 20000);

    char told[80];
    snprintf(told, sizeof(told), "busd: warning: lost, because nothing took them: lines=%llu\n",
             (unsigned long long)lost);
    log_write(&tested, LOG_LEVEL_INFO, "back again");
    assert_non_null(strstr(capture_from(reader), told));
    assert_non_null(strstr(captured, "busd: info: back again\n"));
    assert_int_equal(tested.lost, 0);
}

static void test_full_pipe(void **state)
{
    assert_true(tested.sink.owned);
    assert_never_waits(ends[0]);
    /* What we share with others is as it was. */
    assert_false(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK);
}

/* Where no way of our own can be had, as with another user's pipe. */
static void test_full_pipe_polled(void **state)
{
    log_sink_deinit(&tested.sink);
    tested.sink = (struct log_sink){.kind = LOG_SINK_POLLED, .fd = STDERR_FILENO, .socket = -1};
    assert_never_waits(ends[0]);
}

static void test_full_socket(void **state)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    set_stderr(pair[1]);
    restart_log(LOG_LEVEL_INFO);
    assert_int_equal(tested.sink.kind, LOG_SINK_SOCKET);
    assert_never_waits(pair[0]);
    close(pair[0]);
    log_write(&tested, LOG_LEVEL_INFO, "and now it is closed");
    assert_int_equal(tested.lost, 1);
    close(pair[1]);
}

static void test_stopped_terminal(void **state)
{
    int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    char name[64];

    assert_true(terminal >= 0);
    assert_int_equal(grantpt(terminal) + unlockpt(terminal), 0);
    assert_int_equal(ptsname_r(terminal, name, sizeof(name)), 0);
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0);
    set_stderr(slave);
    restart_log(LOG_LEVEL_INFO);
    assert_int_equal(tcflow(slave, TCOOFF), 0);
    fill(5000);
    assert_true(tested.lost > 0);
    assert_int_equal(tcflow(slave, TCOON), 0);
    close(slave);
    close(terminal);
}

static void test_nobody(void **state)
{
    set_stderr(ends[0]);
    restart_log(LOG_LEVEL_INFO);
    log_write(&tested, LOG_LEVEL_INFO, "standard error is not even writable");
    assert_int_equal(tested.lost, 1);
    close(STDERR_FILENO);
    restart_log(LOG_LEVEL_INFO);
    log_write(&tested, LOG_LEVEL_INFO, "it is closed");
    assert_int_equal(tested.lost, 1);
    set_stderr(ends[1]);
}

/* --------------------------------------------------------------- journal */

static void claim_journal(int fd)
{
    struct stat status;
    char stream[64];

    assert_int_equal(fstat(fd, &status), 0);
    snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
}

/* JOURNAL_STREAM is passed on to children, whose standard error may lead elsewhere. */
static void test_journal_stream(void **state)
{
    static const char *const others[] = {"8:1234", "", "x", "8", ":"};

    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        setenv("JOURNAL_STREAM", others[i], 1);
        restart_log(LOG_LEVEL_INFO);
        log_write(&tested, LOG_LEVEL_NOTICE, "x");
        assert_string_equal(capture(), "busd: notice: x\n");
    }
}

static int journal_fd;

/* Plays the journal: a datagram socket. */
static void open_journal(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    claim_journal(STDERR_FILENO);
    restart_log(LOG_LEVEL_INFO);
    if (tested.sink.socket >= 0)
        close(tested.sink.socket);
    unlink(path);
    journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(journal_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_true(log_sink_open_journal(&tested.sink, path));
}

static void test_journal(void **state)
{
    char expected[512];

    open_journal("journal");
    log_about(&tested, LOG_LEVEL_WARNING, &alice, "cut", "a\n%s", "\"PRIORITY=0");
    snprintf(expected, sizeof(expected),
             "MESSAGE=cut: peer=:42 uid=1000 pid=77 reason=\"a\\x0a\\\"PRIORITY=0\"\n"
             "PRIORITY=4\nSYSLOG_IDENTIFIER=busd\nSYSLOG_PID=%d\n"
             "PEER=:42\nUID=1000\nPID=77\nREASON=a\\x0a\"PRIORITY=0\n",
             (int)getpid());
    assert_string_equal(capture_from(journal_fd), expected);
    log_write(&tested, LOG_LEVEL_ERROR, "cannot");
    snprintf(expected, sizeof(expected),
             "MESSAGE=cannot\nPRIORITY=3\nSYSLOG_IDENTIFIER=busd\nSYSLOG_PID=%d\n", (int)getpid());
    assert_string_equal(capture_from(journal_fd), expected);

    /* One datagram a record, whatever its length. */
    static char name[65537];
    memset(name, '"', sizeof(name) - 1);
    log_about(&tested, LOG_LEVEL_WARNING, &alice, "cut", "%s", name);
    assert_in_range(strlen(capture_from(journal_fd)), 1024, 3 * LOG_LINE_MAX);
    assert_int_equal(count(captured, "\n"), 8);
    assert_string_equal(capture_from(journal_fd), "");
    assert_string_equal(capture(), "");
    close(journal_fd);
    unlink("journal");
}

/* It does not read: what it cannot take is counted. It is gone: its other way is used. */
static void test_journal_trouble(void **state)
{
    open_journal("journal");
    fill(2000);
    assert_true(tested.lost > 0 && tested.lost < 2000);
    uint64_t lost = tested.lost;
    unsigned whole = 0;
    while (*capture_from(journal_fd))
        whole++;
    assert_int_equal(whole + lost, 2000);
    log_write(&tested, LOG_LEVEL_INFO, "back again");
    assert_non_null(strstr(capture_from(journal_fd), "MESSAGE=lost, because"));
    assert_non_null(strstr(capture_from(journal_fd), "MESSAGE=back again\n"));

    close(journal_fd);
    log_write(&tested, LOG_LEVEL_NOTICE, "nobody");
    assert_string_equal(capture(), "<5>nobody\n");
    unlink("journal");
    log_write(&tested, LOG_LEVEL_ERROR, "nothing");
    assert_string_equal(capture(), "<3>nothing\n");

    open_journal("journal");
    log_write(&tested, LOG_LEVEL_INFO, "a new one");
    assert_non_null(strstr(capture_from(journal_fd), "MESSAGE=a new one\n"));
    close(journal_fd);
    unlink("journal");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_line),
        TEST(test_fields),
        TEST(test_levels),
        TEST(test_forging),
        TEST(test_unicode),
        TEST(test_long_line),
        TEST(test_limit),
        TEST(test_users),
        TEST(test_parse),
        TEST(test_full_pipe),
        TEST(test_full_pipe_polled),
        TEST(test_full_socket),
        TEST(test_stopped_terminal),
        TEST(test_nobody),
        TEST(test_journal_stream),
        TEST(test_journal),
        TEST(test_journal_trouble),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
