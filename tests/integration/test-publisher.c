/* SPDX-License-Identifier: MIT */
/*
 * Publishing in bulk to a subscriber that is slower, through libbus: with receipts nothing
 * is lost and nothing grows, without them both would happen.
 */
#include <bus/bus.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/process.h"
#include "tests/support/transcript.h"

#define BODY_SIZE 100

/* What a reader, a process of its own, has seen. */
struct notes {
    unsigned long events;
    unsigned long lost;
    unsigned long disorder;
};

struct reader {
    struct notes notes;
    unsigned long next;
    unsigned long count;
    unsigned pause; /* microseconds after each 1 000 events */
};

static void on_event(struct bus_message *event, void *userdata)
{
    struct reader *reader = userdata;
    size_t size;
    unsigned long number = strtoul(bus_message_body_text(event, &size) + 1, NULL, 10);

    reader->notes.disorder += number < reader->next;
    reader->next = number + 1;
    if (++reader->notes.events % 1000 == 0 && reader->pause > 0)
        usleep(reader->pause);
    if (number + 1 == reader->count)
        bus_stop(bus_message_bus(event));
}

static void on_overflow(struct bus_message *event, void *userdata)
{
    struct reader *reader = userdata;
    json_int_t lost = 0;
    const char *last = NULL;

    if (bus_message_unpack(event, NULL, "{s:I, s:s}", "lost", &lost, "last", &last) < 0)
        _exit(1);
    reader->notes.lost += (unsigned long)lost;
    if (reader->notes.events + reader->notes.lost == reader->count)
        bus_stop(bus_message_bus(event));
}

/* Starts a reader of so many events and waits until it has subscribed; what it has seen
 * can be read from *ret_fd in the end. */
static pid_t start_reader(struct session *session, unsigned long count, unsigned pause, int *ret_fd)
{
    struct reader reader = {.count = count, .pause = pause};
    int fd[2];
    char byte;

    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct bus *bus;
        if (bus_connect(&bus, session->busd.path) < 0 ||
            bus_subscribe(bus, "t", NULL, on_event, &reader, NULL, NULL) < 0 ||
            bus_subscribe(bus, "bus.overflow", NULL, on_overflow, &reader, NULL, NULL) < 0 ||
            write(fd[1], "r", 1) != 1 || bus_run(bus) < 0 ||
            write(fd[1], &reader.notes, sizeof(reader.notes)) != sizeof(reader.notes))
            _exit(1);
        _exit(0);
    }
    close(fd[1]);
    assert_int_equal(read(fd[0], &byte, 1), 1);
    *ret_fd = fd[0];
    return pid;
}

static struct notes finish_reader(pid_t pid, int fd)
{
    struct notes notes;
    int status;

    assert_int_equal(read(fd, &notes, sizeof(notes)), sizeof(notes));
    close(fd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    return notes;
}

static const char *numbered(unsigned long number)
{
    static char body[BODY_SIZE + 1];

    memset(body, 'x', BODY_SIZE);
    memcpy(body + BODY_SIZE - 1, "\"", 2);
    body[0] = '"';
    int n = snprintf(body + 1, 24, "%lu", number);
    body[n + 1] = ' ';
    return body;
}

static void publish_all(struct bus_publisher *publisher, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        int r;
        while ((r = bus_publisher_send_text(publisher, "t", numbered(i), BODY_SIZE)) == -EAGAIN)
            assert_int_equal(bus_publisher_wait(publisher, 20000), 0);
        assert_int_equal(r, 0);
    }
    assert_int_equal(bus_publisher_finish(publisher, 20000, NULL), 0);
}

static void check_paced(struct session *session, unsigned long count, unsigned flags)
{
    struct bus_publisher *publisher;
    struct bus_receipt receipt;
    struct bus *bus;
    int fd;

    pid_t pid = start_reader(session, count, 2000, &fd);
    uint64_t before = process_resident(session->busd.pid);
    assert_int_equal(bus_connect(&bus, session->busd.path), 0);
    assert_int_equal(bus_publisher_new(bus, 0, flags, &publisher), 0);
    publish_all(publisher, count);
#ifndef __SANITIZE_ADDRESS__
    assert_in_range(process_resident(session->busd.pid), 0, before + 8192);
#else
    (void)before;
#endif
    struct notes notes = finish_reader(pid, fd);
    assert_int_equal(notes.events, count);
    assert_int_equal(notes.lost, 0);
    assert_int_equal(notes.disorder, 0);
    bus_publisher_get_receipt(publisher, &receipt);
    assert_int_equal(receipt.dropped, 0);
    assert_int_equal(receipt.queued, receipt.matched);
    if (flags & BUS_PUBLISHER_EXACT)
        assert_int_equal(receipt.matched, count);
    else
        assert_in_range(receipt.matched, count / 512, count / 128);
    bus_publisher_free(publisher);
    bus_close(bus);
}

static void test_paced(struct session *session)
{
#ifdef __SANITIZE_ADDRESS__
    check_paced(session, 100000, 0);
#else
    check_paced(session, 1000000, 0);
#endif
}

static void test_paced_exactly(struct session *session)
{
    check_paced(session, 50000, BUS_PUBLISHER_EXACT);
}

/* The same without receipts, for which the queue is too short. */
static void test_unpaced(struct session *session)
{
    unsigned long count = 100000;
    struct bus *bus;
    int fd;

    pid_t pid = start_reader(session, count, 5000, &fd);
    assert_int_equal(bus_connect(&bus, session->busd.path), 0);
    for (unsigned long i = 0; i < count; i++) {
        int r;
        while ((r = bus_publish_text(bus, "t", numbered(i), BODY_SIZE)) == -EAGAIN)
            assert_int_equal(bus_flush(bus, UINT64_MAX), 0);
        assert_int_equal(r, 0);
    }
    assert_int_equal(bus_flush(bus, UINT64_MAX), 0);
    struct notes notes = finish_reader(pid, fd);
    assert_true(notes.lost > 1000);
    assert_int_equal(notes.events + notes.lost, count);
    assert_int_equal(notes.disorder, 0);
    bus_close(bus);
}

/* One of several readers is stopped: it is waited for, and goes on where it was. */
static void test_stopped_reader(struct session *session)
{
    unsigned long count = 30000;
    struct bus_publisher *publisher;
    struct bus *bus;
    int fd[2];

    pid_t fast = start_reader(session, count, 0, &fd[0]);
    pid_t slow = start_reader(session, count, 0, &fd[1]);
    assert_int_equal(kill(slow, SIGSTOP), 0);
    assert_int_equal(bus_connect(&bus, session->busd.path), 0);
    assert_int_equal(bus_publisher_new(bus, 0, 0, &publisher), 0);
    unsigned long sent = 0;
    int r = 0;
    while (r == 0) {
        r = bus_publisher_send_text(publisher, "t", numbered(sent), BODY_SIZE);
        if (r == 0)
            sent++;
        else if (r == -EAGAIN)
            r = bus_publisher_wait(publisher, 300);
    }
    assert_int_equal(r, -ETIMEDOUT);
    assert_in_range(sent, 1000, count - 5000);
    assert_int_equal(kill(slow, SIGCONT), 0);
    assert_int_equal(bus_publisher_wait(publisher, 20000), 0);
    for (; sent < count; sent++) {
        while ((r = bus_publisher_send_text(publisher, "t", numbered(sent), BODY_SIZE)) == -EAGAIN)
            assert_int_equal(bus_publisher_wait(publisher, 20000), 0);
        assert_int_equal(r, 0);
    }
    assert_int_equal(bus_publisher_finish(publisher, 20000, NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct notes notes = finish_reader(i ? slow : fast, fd[i]);
        assert_int_equal(notes.events, count);
        assert_int_equal(notes.lost + notes.disorder, 0);
    }
    bus_publisher_free(publisher);
    bus_close(bus);
}

/* One event at a time, and what the bus has to say about it. */
static void test_receipt(struct session *session)
{
    struct client *b = session_connect(session, "B");
    struct bus_error error = BUS_ERROR_INIT;
    struct bus_receipt receipt;
    struct bus_message *event;
    struct bus *bus;

    client_ask(b, "Subscribe", "{'topic':'t'}", "'*'");
    assert_int_equal(bus_connect(&bus, session->busd.path), 0);
    assert_int_equal(bus_message_new_event(bus, "t", &event), 0);
    assert_int_equal(bus_publish_message(event, BUS_TIMEOUT_DEFAULT, &error, &receipt), 0);
    assert_int_equal(receipt.matched, 1);
    assert_int_equal(receipt.queued, 1);
    assert_int_equal(receipt.dropped, 0);
    bus_message_unref(event);
    client_expect(b, "{'sender':'%s','type':'event','topic':'t','id':'*'}", bus_unique_name(bus));
    assert_int_equal(bus_message_new_event(bus, "bus.t", &event), 0);
    assert_int_equal(bus_publish_message(event, BUS_TIMEOUT_DEFAULT, &error, &receipt), -EACCES);
    assert_string_equal(error.name, BUS_ERROR_ACCESS_DENIED);
    bus_message_unref(event);
    bus_close(bus);
}

/* ------------------------------------------------------------ the latest only */

/* The events of one subscription: in a row, and then perhaps one more. */
struct latest {
    unsigned long count;
    unsigned long last;
};

static void on_value(struct bus_message *event, void *userdata)
{
    struct latest *latest = userdata;
    size_t size;

    latest->last = strtoul(bus_message_body_text(event, &size) + 1, NULL, 10);
    latest->count++;
}

static void test_latest(struct session *session)
{
    struct bus_subscription_options options = {.overflow = BUS_OVERFLOW_LATEST};
    unsigned long count = 50000;
    struct latest latest = {0}, every = {0};
    struct bus *bus, *other, *from;

    assert_int_equal(bus_connect(&bus, session->busd.path), 0);
    assert_int_equal(bus_connect(&other, session->busd.path), 0);
    assert_int_equal(bus_connect(&from, session->busd.path), 0);
    assert_int_equal(bus_subscribe_with(bus, "t", &options, on_value, &latest, NULL, NULL), 0);
    assert_int_equal(bus_subscribe(other, "t", NULL, on_value, &every, NULL, NULL), 0);
    for (unsigned long i = 0; i < count; i++) {
        int r;
        while ((r = bus_publish_text(from, "t", numbered(i), BODY_SIZE)) == -EAGAIN)
            assert_int_equal(bus_flush(from, UINT64_MAX), 0);
        assert_int_equal(r, 0);
        if (i % 100 == 99)
            assert_int_equal(
                bus_call_text(from, "bus", "Ping", NULL, 0, BUS_TIMEOUT_DEFAULT, NULL, NULL), 0);
        while (bus_wait(other, 0) > 0)
            bus_process(other);
    }
    while (every.count < count && bus_wait(other, 20000) > 0)
        bus_process(other);
    assert_int_equal(every.count, count);
    while (bus_wait(bus, 200) > 0)
        bus_process(bus);
    assert_int_equal(latest.last, count - 1);
    assert_in_range(latest.count, 100, count / 5);
    bus_close(from);
    bus_close(other);
    bus_close(bus);
}

#define L "--limit"
#define LIMITED(function)                                                                          \
    {                                                                                              \
        .name = #function, .run = function, .plain_only = true, .seconds = 60,                     \
        .args = BUSD_ARGS(L, "queue_soft_bytes=131072", L, "queue_bytes=1048576")                  \
    }

static const struct transcript transcripts[] = {
    TRANSCRIPT_PLAIN(test_latest), TRANSCRIPT_PLAIN(test_receipt), LIMITED(test_paced),
    LIMITED(test_paced_exactly),   LIMITED(test_unpaced),          LIMITED(test_stopped_reader),
};

int main(void)
{
    return TRANSCRIPTS_RUN("publisher", transcripts);
}
