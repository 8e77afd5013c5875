/* SPDX-License-Identifier: MIT */
/*
 * The log: one line an event, nothing in it that could forge another, levels, and
 * the limit for what clients can cause. Standard error is a pipe meanwhile.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libbus/base/log.h"
#include "libbus/base/macros.h"
#include "libbus/base/span.h"
#include "tests/support/unit.h"

static char captured[1 << 18];
static int saved, ends[2];

static int setup(void **state)
{
    unsetenv("JOURNAL_STREAM");
    saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    if (saved < 0 || pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 18);
    return dup2(ends[1], STDERR_FILENO) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

/* What has been written since the last time, NUL-terminated. */
static const char *capture(void)
{
    ssize_t size = read(ends[0], captured, sizeof(captured) - 1);

    captured[size > 0 ? size : 0] = '\0';
    return captured;
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

static void test_line(void **state)
{
    struct log log;

    log_init(&log, LOG_LEVEL_INFO);
    log_write(&log, LOG_LEVEL_WARNING, "%s went away after %d s", ":42", 7);
    assert_string_equal(capture(), "busd: warning: :42 went away after 7 s\n");
    log_write(&log, LOG_LEVEL_ERROR, "x");
    assert_string_equal(capture(), "busd: error: x\n");
}

static void test_journal(void **state)
{
    struct log log;

    setenv("JOURNAL_STREAM", "8:1234", 1);
    log_init(&log, LOG_LEVEL_INFO);
    log_write(&log, LOG_LEVEL_NOTICE, "x");
    assert_string_equal(capture(), "<5>x\n");
    unsetenv("JOURNAL_STREAM");
}

static void test_levels(void **state)
{
    for (enum log_level level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        struct log log;
        log_init(&log, level);
        for (enum log_level line = LOG_LEVEL_ERROR; line <= LOG_LEVEL_DEBUG; line++) {
            log_write(&log, line, "x");
            log_limited(&log, line, "x");
        }
        assert_int_equal(count(capture(), "\n"), 2 * (level - LOG_LEVEL_ERROR + 1));
    }
}

static void test_forging(void **state)
{
    struct log log;

    log_init(&log, LOG_LEVEL_INFO);
    log_write(&log, LOG_LEVEL_INFO, "name %s", "a\nbusd: error: forged\r\033[2J\x7f\tend");
    assert_string_equal(capture(), "busd: info: name a?busd: error: forged??[2J??end\n");
    log_write(&log, LOG_LEVEL_INFO, "%.*s", 3, "a\0b");
    assert_int_equal(count(capture(), "\n"), 1);
}

static void test_long_line(void **state)
{
    static char name[5000];
    struct log log;

    log_init(&log, LOG_LEVEL_INFO);
    memset(name, 'n', sizeof(name) - 1);
    log_write(&log, LOG_LEVEL_INFO, "%s", name);
    const char *line = capture();
    assert_in_range(strlen(line), LOG_LINE_MAX - 1, LOG_LINE_MAX);
    assert_int_equal(line[strlen(line) - 1], '\n');
    assert_int_equal(count(line, "\n"), 1);

    for (int size = LOG_LINE_MAX - 30; size < LOG_LINE_MAX + 10; size++) {
        log_write(&log, LOG_LEVEL_INFO, "%.*s", size, name);
        line = capture();
        assert_int_equal(count(line, "\n"), 1);
        assert_int_equal(line[strlen(line) - 1], '\n');
        assert_in_range(strlen(line), 1, LOG_LINE_MAX);
    }
}

static void test_limit(void **state)
{
    struct log log;

    log_init(&log, LOG_LEVEL_INFO);
    for (unsigned i = 0; i < 10000; i++)
        log_limited(&log, LOG_LEVEL_WARNING, "flood");
    /* A slow machine may have earned a few more. */
    assert_in_range(count(capture(), "flood"), LOG_BURST, LOG_BURST + 10);

    /* What matters is never held back. */
    log_write(&log, LOG_LEVEL_WARNING, "important");
    assert_int_equal(count(capture(), "important"), 1);

    /* Two seconds later, without waiting for them. */
    uint64_t suppressed = log.suppressed;
    assert_in_range(suppressed, 9900, 10000 - LOG_BURST);
    log.refilled -= 2000;
    for (unsigned i = 0; i < 100; i++)
        log_limited(&log, LOG_LEVEL_WARNING, "again");
    const char *lines = capture();
    char told[64];
    snprintf(told, sizeof(told), "%llu lines", (unsigned long long)suppressed);
    assert_non_null(strstr(lines, told));
    assert_in_range(count(lines, "again"), 2 * LOG_RATE, 2 * LOG_RATE + 2);

    /* However long the silence, the burst is all that is saved up. */
    log.refilled -= 3600000;
    for (unsigned i = 0; i < 1000; i++)
        log_limited(&log, LOG_LEVEL_WARNING, "later");
    assert_in_range(count(capture(), "later"), LOG_BURST, LOG_BURST + 2);
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

/* Nobody reads and the pipe is full, or there is nobody at all: the daemon goes on. */
static void test_nobody_reads(void **state)
{
    struct log log;

    log_init(&log, LOG_LEVEL_INFO);
    for (unsigned i = 0; i < 50000; i++)
        log_write(&log, LOG_LEVEL_INFO, "is anybody there");
    capture();
    dup2(ends[0], STDERR_FILENO);
    log_write(&log, LOG_LEVEL_INFO, "standard error is not even writable");
    dup2(ends[1], STDERR_FILENO);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_line),      TEST(test_journal), TEST(test_levels), TEST(test_forging),
        TEST(test_long_line), TEST(test_limit),   TEST(test_parse),  TEST(test_nobody_reads),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
