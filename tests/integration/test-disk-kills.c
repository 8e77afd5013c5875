/* SPDX-License-Identifier: MIT */
/*
 * busd is killed at random moments while it writes, and started again: whatever has been
 * acknowledged is there, or something newer, and never anything older.
 * $BUSD_TEST_KILLS is for more of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "tests/support/busd.h"
#include "tests/support/process.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

#define KILLS      "15"
#define TOPICS     20
#define UNANSWERED 200
/* It is killed so long after the first receipt, at most. */
#define MOMENT_US 60000

/* What is known of the topics; a value is its number, 0 for none. */
struct ledger {
    uint64_t sent[TOPICS];
    uint64_t acknowledged[TOPICS];
    uint64_t number;                 /* of the last event, which is its id as well … */
    unsigned topics[UNANSWERED + 1]; /* … and the topics of the last ones */
    uint64_t answered;               /* the last id that has been */
    uint64_t receipts;
    struct random random;
};

static int connect_to(const struct busd *busd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", busd->path);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "connect: %s",
          strerror(errno));
    return fd;
}

/* ----------------------------------------------------------- publishing */

/* Some hundreds of bytes mostly, some pages at times; a number in front. */
static size_t write_event(struct ledger *ledger, char *line, size_t size)
{
    unsigned topic = random_below(&ledger->random, TOPICS);
    int padding =
        random_one_in(&ledger->random, 20) ? 20000 : (int)random_below(&ledger->random, 400);
    uint64_t number = ++ledger->number;

    ledger->sent[topic] = number;
    ledger->topics[number % ARRAY_SIZE(ledger->topics)] = topic;
    return (size_t)snprintf(line, size,
                            "{\"type\":\"event\",\"topic\":\"t.%u\",\"retain\":\"disk\","
                            "\"id\":%" PRIu64 ",\"body\":[%" PRIu64 ",\"%*s\"]}\n",
                            topic, number, number, padding, "");
}

/* Receipts need not come in order: the disk answers topic by topic. */
static void take_answer(struct ledger *ledger, const char *line)
{
    const char *id = strstr(line, "\"id\":");

    CHECK(strstr(line, "\"type\":\"reply\"") && id, "an answer that is none: %s", line);
    uint64_t number = strtoull(id + 5, NULL, 10);
    assert_true(number <= ledger->number && ledger->number - number <= UNANSWERED);
    unsigned topic = ledger->topics[number % ARRAY_SIZE(ledger->topics)];
    ledger->acknowledged[topic] = MAX(ledger->acknowledged[topic], number);
    ledger->answered++;
    ledger->receipts++;
}

struct reader {
    char data[65536];
    size_t size;
};

/* What there is to read; false at the end. */
static bool take_answers(struct ledger *ledger, struct reader *reader, int fd)
{
    char *newline;
    ssize_t n = recv(fd, reader->data + reader->size, sizeof(reader->data) - 1 - reader->size,
                     MSG_DONTWAIT);

    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    reader->size += (size_t)n;
    reader->data[reader->size] = '\0';
    while ((newline = memchr(reader->data, '\n', reader->size))) {
        *newline = '\0';
        if (!strstr(reader->data, "bus.welcome"))
            take_answer(ledger, reader->data);
        size_t used = (size_t)(newline + 1 - reader->data);
        memmove(reader->data, newline + 1, reader->size - used);
        reader->size -= used;
    }
    return true;
}

/* Publishes for as long as busd lives, with some receipts outstanding, and kills it. */
static void publish_until_killed(struct ledger *ledger, const struct busd *busd)
{
    static struct reader reader;
    static char line[32768];
    uint64_t moment = 0, wait_us = random_below(&ledger->random, MOMENT_US);
    uint64_t first = ledger->receipts, before = ledger->number;
    size_t size = 0, sent = 0;
    int fd = connect_to(busd);

    reader.size = 0;
    ledger->answered = before;
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (size == sent && ledger->number - ledger->answered < UNANSWERED) {
            size = write_event(ledger, line, sizeof(line));
            sent = 0;
        }
        if (sent < size)
            wait.events |= POLLOUT;
        assert_true(poll(&wait, 1, 20000) >= 0);
        if ((wait.revents & POLLIN) && !take_answers(ledger, &reader, fd))
            break;
        if (wait.revents & (POLLERR | POLLHUP))
            break;
        if (wait.revents & POLLOUT) {
            ssize_t n = send(fd, line + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n < 0 && errno != EAGAIN)
                break;
            sent += (size_t)MAX(n, 0);
        }
        if (moment == 0 && ledger->receipts > first)
            moment = process_now() * 1000 + wait_us;
        if (moment > 0 && process_now() * 1000 >= moment) {
            kill(busd->pid, SIGKILL);
            moment = UINT64_MAX;
        }
    }
    /* What it had said before it died counts. */
    while (take_answers(ledger, &reader, fd))
        continue;
    close(fd);
}

/* ---------------------------------------------------------------- after */

/* Reads one line; false at the end. */
static bool next_line(FILE *file, char **line, size_t *capacity)
{
    return getline(line, capacity, file) > 0;
}

/* What is there, as a subscriber sees it. */
static void read_values(const struct busd *busd, uint64_t values[TOPICS])
{
    static const char subscribe[] = "{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":"
                                    "\"Subscribe\",\"body\":{\"topic\":\"t.*\",\"retained\":"
                                    "\"only\"}}\n";
    CLEANUP(cleanup_free) char *line = NULL;
    size_t capacity = 0;
    int fd = connect_to(busd);

    assert_int_equal(send(fd, subscribe, sizeof(subscribe) - 1, MSG_NOSIGNAL),
                     sizeof(subscribe) - 1);
    FILE *file = fdopen(fd, "r");
    assert_non_null(file);
    assert_true(next_line(file, &line, &capacity)); /* the greeting */
    assert_true(next_line(file, &line, &capacity));
    const char *count = strstr(line, "\"retained\":");
    CHECK(count, "no answer to Subscribe: %s", line);
    for (unsigned long left = strtoul(count + 11, NULL, 10); left > 0; left--) {
        assert_true(next_line(file, &line, &capacity));
        const char *topic = strstr(line, "\"topic\":\"t.");
        const char *body = strstr(line, "\"body\":[");
        CHECK(topic && body, "no value: %s", line);
        unsigned long n = strtoul(topic + 11, NULL, 10);
        assert_true(n < TOPICS);
        values[n] = strtoull(body + 8, NULL, 10);
    }
    fclose(file);
}

static unsigned check_values(const struct busd *busd, struct ledger *ledger)
{
    uint64_t values[TOPICS] = {0};
    unsigned newer = 0;

    read_values(busd, values);
    for (size_t i = 0; i < TOPICS; i++) {
        CHECK(values[i] >= ledger->acknowledged[i] && values[i] <= ledger->sent[i],
              "topic %zu: %" PRIu64 " is there, %" PRIu64 " was acknowledged and %" PRIu64 " sent",
              i, values[i], ledger->acknowledged[i], ledger->sent[i]);
        newer += values[i] > ledger->acknowledged[i];
        /* What has been seen is not taken back either. */
        ledger->acknowledged[i] = values[i];
    }
    return newer;
}

static void test_kills(void **state)
{
    static const char config[] = "{'state':'DIR/state','listeners':[{'address':'unix:DIR/bus'}]}";
    const char *more = getenv("BUSD_TEST_KILLS");
    const char *seed = getenv("BUSD_TEST_SEED");
    unsigned kills = (unsigned)strtoul(more ? more : KILLS, NULL, 10);
    struct ledger ledger = {.random.state = seed ? strtoull(seed, NULL, 10) : 1};
    unsigned newer = 0;
    struct busd busd;

    assert_int_equal(busd_start_configured(&busd, config, NULL), 0);
    for (unsigned i = 0; i < kills; i++) {
        publish_until_killed(&ledger, &busd);
        assert_int_equal(busd_restart(&busd, SIGKILL), 0);
        newer += check_values(&busd, &ledger);
    }
    assert_true(ledger.receipts >= kills);
    assert_false(busd_has_logged(&busd, "damaged"));
    assert_int_equal(busd_stop(&busd), 0);
    print_message("%u kills, %" PRIu64 " events, %" PRIu64 " receipts; %u values were newer than "
                  "acknowledged\n",
                  kills, ledger.number, ledger.receipts, newer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kills)};

    return cmocka_run_group_tests_name("disk-kills", tests, NULL, NULL);
}
