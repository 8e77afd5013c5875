/* SPDX-License-Identifier: MIT */
/*
 * What clients bring about in the log of a real daemon: lines that are what they seem,
 * that say why somebody was cut, and not more of them than a user may cause.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libbus/base/log.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"

static char contents[1 << 20];

/* All that is in the log by now, NUL-terminated. */
static void read_log(const struct session *session)
{
    char path[96];
    size_t size = 0;
    ssize_t n;

    snprintf(path, sizeof(path), "%s/log", session->busd.directory);
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    while ((n = read(fd, contents + size, sizeof(contents) - 1 - size)) > 0)
        size += (size_t)n;
    contents[size] = '\0';
    assert_int_equal(strlen(contents), size);
}

static unsigned count(const char *needle)
{
    unsigned n = 0;

    for (const char *p = contents; (p = strstr(p, needle)); p++)
        n++;
    return n;
}

/* Every line begins as ours do, ends in time, and holds nothing that is not plain text. */
static void assert_well_formed(void)
{
    static const char *const beginnings[] = {
        "busd: error: ", "busd: warning: ", "busd: notice: ", "busd: info: ", "busd: debug: "};

    for (const char *line = contents; *line;) {
        size_t size = strcspn(line, "\n");
        bool begins = false;
        for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
            begins |= strncmp(line, beginnings[i], strlen(beginnings[i])) == 0;
        CHECK(begins && line[size] == '\n' && size < LOG_LINE_MAX, "a line: %.*s", (int)size, line);
        for (size_t i = 0; i < size; i++)
            CHECK(line[i] >= 0x20 && line[i] < 0x7f, "a byte %02x in: %.*s", line[i], (int)size,
                  line);
        line += size + 1;
    }
}

/* Whatever lines clients send, as names, topics, methods, ids or nothing of that. */
static void test_hostile_lines(struct session *session)
{
    static const char *const poisons[] = {
        "x\\nbusd: error: forged",
        "x\nbusd: error: forged",
        "\033[2J",
        "%n%n%s%s",
        "\x9b"
        "2J",
        "\"} reason=\\\"",
        "\x7f\x01",
        "busd: error: forged",
        "x;uid=0;",
        "\\u0000",
        "\xff\xfe",
    };
    static const char *const shapes[] = {
        "{\"type\":\"event\",\"topic\":\"%s\",\"body\":\"SECRET\"}\n",
        "{\"type\":\"call\",\"id\":1,\"to\":\"%s\",\"method\":\"SECRET\"}\n",
        "{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"%s\",\"body\":\"SECRET\"}\n",
        "{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"RequestName\",\"body\":{\"name\":"
        "\"%s\"}}\n",
        "{\"type\":\"%s\"}\n",
        "{\"%s\":1}\n",
        "%s SECRET\n",
    };
    static const char garbage[] = "S\nE\nC\nR\nE\nT\nS\nE\nC\nR\nE\nT\nS\nE\nC\nR\n";
    static char big[65537], line[sizeof(big) + 256];
    unsigned cut = 0;

    memset(big, 'B', sizeof(big) - 1);
    for (size_t i = 0; i <= ARRAY_SIZE(poisons); i++) {
        const char *poison = i < ARRAY_SIZE(poisons) ? poisons[i] : big;
        struct client *a = session_connect(session, "A");
        for (size_t j = 0; j < ARRAY_SIZE(shapes); j++) {
            /* A shape is no format to the compiler. */
            const char *shape = shapes[j];
            const char *gap = strstr(shape, "%s");
            int size = snprintf(line, sizeof(line), "%.*s%s%s", (int)(gap - shape), shape, poison,
                                gap + 2);
            client_send_bytes(a, line, (size_t)size, NULL, 0);
        }
        /* Some of these are valid; in the end it is cut, whatever they were. */
        client_send_bytes(a, garbage, strlen(garbage), NULL, 0);
        for (struct message *message; (message = client_next(a)); message_free(message))
            cut += strstr(message->line, "bus.Disconnected") != NULL;
        client_free(a);
    }
    assert_int_equal(cut, ARRAY_SIZE(poisons) + 1);
    read_log(session);
    assert_well_formed();
    assert_int_equal(count("reason=\"16 invalid lines in a row\""), ARRAY_SIZE(poisons) + 1);
    assert_int_equal(count("SECRET"), 0);
    assert_int_equal(count("forged"), 0);
    assert_int_equal(count("BBBB"), 0);
    assert_int_equal(count("uid=0;"), 0);
}

/* What the client hears is what the log says. */
static void assert_same_reason(struct session *session, struct client *client, const char *reason)
{
    char logged[256];

    client_expect_goodbye(client, reason);
    snprintf(logged, sizeof(logged), "busd: notice: cut: peer=%s uid=%u pid=%d reason=\"%s\"\n",
             client->unique, (unsigned)geteuid(), (int)getpid(), reason);
    CHECK(busd_has_logged(&session->busd, logged), "the log lacks: %s", logged);
}

static void test_reasons(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    char logged[128];
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    for (unsigned i = 0; i < 16; i++)
        client_send_at_once(a, "x\n", 2, NULL, 0);
    for (unsigned i = 0; i < 16; i++)
        message_free(client_next(a));
    assert_same_reason(session, a, "16 invalid lines in a row");

    client_send_at_once(b, "{\"type\":\"event\",\"topic\":\"t\"}\n", 29, &fd, 1);
    close(fd);
    message_free(client_next(b));
    assert_same_reason(session, b, "its file descriptors are out of step with its lines");

    /* One that leaves by itself is no news; who looks closely is told all the same. */
    client_close(c);
    struct client *d = session_connect(session, "D");
    session_wait_for_connections(session, d, 1);
    snprintf(logged, sizeof(logged),
             "busd: debug: gone: peer=%s uid=%u pid=%d reason=\"it has closed its end\"\n",
             c->unique, (unsigned)geteuid(), (int)getpid());
    assert_true(busd_has_logged(&session->busd, logged));
}

static void be_cut(struct session *session)
{
    struct client *a = session_connect(session, "A");
    char lines[32];

    for (size_t i = 0; i < sizeof(lines); i++)
        lines[i] = i % 2 ? '\n' : 'x';
    client_send_at_once(a, lines, sizeof(lines), NULL, 0);
    for (struct message *message; (message = client_next(a));)
        message_free(message);
    client_free(a);
}

/* All that was left out, as far as the log tells. */
static unsigned long sum_left_out(void)
{
    static const char words[] = "busd: warning: left out: uid=";
    unsigned long sum = 0;

    for (const char *p = contents; (p = strstr(p, words)); p++)
        sum += strtoul(strstr(p, "lines=") + 6, NULL, 10);
    return sum;
}

/* A user who is cut over and over fills nobody's disk, and hides nobody else's line. */
static void test_flood(struct session *session)
{
    char other[64];

    for (unsigned i = 0; i < 500; i++)
        be_cut(session);
    read_log(session);
    assert_well_formed();
    assert_in_range(count("busd: notice: cut:"), RATION_BURST, RATION_BURST + 100);
    if (geteuid() == 0) {
        assert_int_equal(chmod(session->busd.directory, 0755), 0);
        assert_int_equal(chmod(session->busd.path, 0666), 0);
        assert_int_equal(setresuid((uid_t)-1, 4242, 0), 0);
        struct client *b = session_connect_silently(session, "B");
        assert_int_equal(setresuid((uid_t)-1, 0, 0), 0);
        for (unsigned i = 0; i < 16; i++)
            client_send_at_once(b, "x\n", 2, NULL, 0);
        for (struct message *message; (message = client_next(b));)
            message_free(message);
        snprintf(other, sizeof(other), "uid=4242 pid=%d reason=", (int)getpid());
        assert_true(busd_has_logged(&session->busd, other));
        client_free(b);
    }

    /* At the end nothing is missing: a line for each, or counted. */
    int status;
    kill(session->busd.pid, SIGTERM);
    assert_true(process_wait(session->busd.pid, 10000, &status));
    assert_int_equal(status, 0);
    session->busd.pid = 0;
    read_log(session);
    assert_int_equal(count("busd: notice: cut:") + sum_left_out(), 500 + (geteuid() == 0));
}

int main(void)
{
    const struct transcript transcripts[] = {
        {.name = "test_hostile_lines",
         .run = test_hostile_lines,
         .args = BUSD_ARGS("--log-level=debug"),
         .plain_only = true},
        {.name = "test_reasons",
         .run = test_reasons,
         .args = BUSD_ARGS("--log-level=debug"),
         .plain_only = true},
        TRANSCRIPT_PLAIN(test_flood),
    };

    return TRANSCRIPTS_RUN("logging", transcripts);
}
