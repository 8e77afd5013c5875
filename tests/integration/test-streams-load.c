/* SPDX-License-Identifier: MIT */
/*
 * Streams through the client library: a million items to a caller that reads slower than
 * the service sends, with nobody's memory growing and others unharmed; and either side's
 * death at any moment, of which the other hears just once.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/bus.h"
#include "tests/support/bystander.h"
#include "tests/support/process.h"

#define NAME "org.example.Counter"

/* Sanitized programs are some times slower. */
#ifdef __SANITIZE_ADDRESS__
#define ITEMS  100000u
#define DEATHS 40
#else
#define ITEMS  1000000u
#define DEATHS 150
#endif

#define SEED 7007

/* What may lie in queues and in buffers, in kilobytes: for the bus queue_soft_bytes (4 MiB)
 * and what is under way, for the others what they keep for reading and writing. */
#define BUS_GROWTH_KB    12288
#define CLIENT_GROWTH_KB 4096

/* Longer than a call beside it should take, on a busy machine. */
#define LONGEST_MS 1000

/* ------------------------------------------------------------ the service */

struct counter {
    unsigned next;
    unsigned end;
};

static void send_items(struct bus_message *call, void *userdata)
{
    struct counter *counter = userdata;
    char text[128];
    int r = 0;

    while (counter->next < counter->end && r == 0) {
        snprintf(text, sizeof(text), "{\"n\":%u,\"x\":\"%050d\"}", counter->next, 0);
        r = bus_reply_more_text(call, text, BUS_NUL_TERMINATED);
        if (r == 0)
            counter->next++;
    }
    if (r == -EAGAIN)
        return;
    if (r == 0)
        bus_reply_text(call, "null", 4);
    free(counter);
    bus_message_unref(call);
}

static int method_count(struct bus_message *call, void *userdata)
{
    struct counter *counter = calloc(1, sizeof(*counter));

    if (!counter)
        return -ENOMEM;
    counter->end = (unsigned)json_integer_value(bus_message_body(call));
    bus_message_set_ready_handler(bus_message_ref(call), send_items, counter);
    send_items(call, counter);
    return 0;
}

static const struct bus_method methods[] = {
    {"Count", method_count, BUS_METHOD_MORE, NULL},
    BUS_METHOD_END,
};

static _Noreturn void serve(const char *path)
{
    struct bus *bus;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(0);
    if (bus_connect(&bus, path) < 0 || bus_serve(bus, NAME, methods, NULL, NULL, NULL) < 0)
        _exit(1);
    bus_run(bus);
    _exit(0);
}

static pid_t start_service(struct session *session)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        serve(session->busd.path);
    return pid;
}

static void end_process(pid_t pid)
{
    int status;

    kill(pid, SIGKILL);
    assert_true(process_wait(pid, 5000, &status));
}

/* ------------------------------------------------------------- the caller */

static struct bus *connect_caller(struct session *session)
{
    struct bus *bus;

    assert_int_equal(bus_connect(&bus, session->busd.path), 0);
    return bus;
}

/* Waits until the service has its name. */
static void await_service(struct bus *bus)
{
    uint64_t end = process_now() + 10000;
    int r;

    do {
        r = bus_call_text(bus, NAME, "Ping", NULL, 0, BUS_TIMEOUT_DEFAULT, NULL, NULL);
        CHECK(r == 0 || process_now() < end, "the service does not come");
        if (r < 0)
            usleep(500);
    } while (r < 0);
}

static struct bus_stream *count(struct bus *bus, unsigned end)
{
    struct bus_message *call;
    struct bus_stream *stream;
    struct bus_error error;

    assert_int_equal(bus_message_new_call(bus, NAME, "Count", &call), 0);
    assert_int_equal(bus_message_take_body(call, json_integer(end)), 0);
    assert_int_equal(bus_message_set_more(call, true), 0);
    int r = bus_stream_open(call, &stream, &error);
    CHECK(r == 0, "%s", error.message);
    bus_message_unref(call);
    return stream;
}

/* The next item, which must be this one; or what bus_stream_next() says. */
static int expect_next(struct bus_stream *stream, unsigned number, struct bus_error *error)
{
    struct bus_message *item = NULL;
    char expected[32];
    size_t size;

    int r = bus_stream_next(stream, &item, error);
    if (r > 0) {
        size_t length = (size_t)snprintf(expected, sizeof(expected), "{\"n\":%u,", number);
        const char *text = bus_message_body_text(item, &size);
        CHECK(size > length && memcmp(text, expected, length) == 0, "%.*s instead of %u", (int)size,
              text, number);
    }
    bus_message_unref(item);
    return r;
}

static void check_growth(const char *who, uint64_t before, uint64_t after, uint64_t most)
{
    printf("%-8s %6lld KB more\n", who, (long long)(after - before));
#ifndef __SANITIZE_ADDRESS__
    CHECK(after <= before + most, "%s has grown by %lld KB", who, (long long)(after - before));
#endif
}

/* A pause now and then, and a long one. */
static void dawdle(unsigned number)
{
    if (number % (ITEMS / 1000) == 0)
        usleep(1000);
    if (number == ITEMS / 2)
        usleep(500000);
}

static void test_slow_reader(struct session *session)
{
    struct bystander bystander;

    bystander_start(&bystander, session);
    pid_t service = start_service(session);
    struct bus *bus = connect_caller(session);
    await_service(bus);
    uint64_t busd_before = process_resident(session->busd.pid);
    uint64_t service_before = process_resident(service);
    uint64_t before = process_resident(getpid());
    uint64_t busd_most = 0, service_most = 0, most = 0, start = process_now();

    struct bus_stream *stream = count(bus, ITEMS);
    bystander_longest(&bystander);
    for (unsigned i = 0; i < ITEMS; i++) {
        assert_int_equal(expect_next(stream, i, NULL), 1);
        dawdle(i);
        if (i % (ITEMS / 50) != 0)
            continue;
        busd_most = MAX(busd_most, process_resident(session->busd.pid));
        service_most = MAX(service_most, process_resident(service));
        most = MAX(most, process_resident(getpid()));
    }
    assert_int_equal(expect_next(stream, 0, NULL), 0);
    bus_stream_close(stream);
    printf("%u items in %llu ms; the longest call beside it took %llu ms\n", ITEMS,
           (unsigned long long)(process_now() - start),
           (unsigned long long)bystander_longest(&bystander));
    check_growth("busd", busd_before, busd_most, BUS_GROWTH_KB);
    check_growth("service", service_before, service_most, CLIENT_GROWTH_KB);
    check_growth("caller", before, most, CLIENT_GROWTH_KB);
    bus_close(bus);
    end_process(service);
    CHECK(bystander_longest(&bystander) < LONGEST_MS, "others had to wait");
    bystander_stop(&bystander, session, 0);
}

/* ------------------------------------------------------------------ deaths */

/* What was sent comes, without a gap, and then that there will be no more. */
static void test_service_dies(struct session *session)
{
    struct random random = {.state = SEED};

    for (unsigned round = 0; round < DEATHS; round++) {
        struct bus_error error = BUS_ERROR_INIT;
        pid_t service = start_service(session);
        struct bus *bus = connect_caller(session);
        unsigned got = 0;
        int r;

        await_service(bus);
        struct bus_stream *stream = count(bus, UINT32_MAX);
        for (unsigned some = random_below(&random, 2000); got < some; got++)
            assert_int_equal(expect_next(stream, got, NULL), 1);
        usleep(random_below(&random, 2000));
        end_process(service);
        while ((r = expect_next(stream, got, &error)) > 0)
            got++;
        CHECK(r == -ENOMSG, "%s", error.message);
        assert_string_equal(error.name, BUS_ERROR_NO_REPLY);
        assert_int_equal(expect_next(stream, 0, NULL), -ENOMSG);
        bus_stream_close(stream);
        /* Nothing is left of it. */
        assert_int_equal(
            bus_call_text(bus, "bus", "Ping", NULL, 0, BUS_TIMEOUT_DEFAULT, NULL, NULL), 0);
        assert_int_equal(bus_process(bus), 0);
        bus_close(bus);
    }
}

static struct bus_message *kept;
static unsigned cancels;

static void on_cancel(struct bus_message *call, void *userdata)
{
    cancels++;
    assert_true(bus_message_is_cancelled(call));
    assert_int_equal(bus_reply_more_text(call, "1", 1), -ECANCELED);
}

static void send_for_ever(struct bus_message *call, void *userdata)
{
    unsigned *next = userdata;
    char text[32];
    int r;

    do {
        snprintf(text, sizeof(text), "{\"n\":%u,\"x\":1}", *next);
        r = bus_reply_more_text(call, text, BUS_NUL_TERMINATED);
        *next += r == 0;
    } while (r == 0);
    assert_true(r == -EAGAIN || r == -ECANCELED);
}

static int method_for_ever(struct bus_message *call, void *userdata)
{
    assert_null(kept);
    kept = bus_message_ref(call);
    bus_message_set_cancel_handler(call, on_cancel, NULL);
    bus_message_set_ready_handler(call, send_for_ever, userdata);
    *(unsigned *)userdata = 0;
    send_for_ever(call, userdata);
    return 0;
}

static _Noreturn void call_for_ever(const char *path)
{
    struct bus *bus;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(0);
    if (bus_connect(&bus, path) < 0)
        _exit(1);
    struct bus_stream *stream = count(bus, 0);
    for (unsigned i = 0;; i++)
        if (expect_next(stream, i, NULL) != 1)
            _exit(1);
}

/* The service hears of it once, whatever it was about to send. */
static void test_caller_dies(struct session *session)
{
    static const struct bus_method for_ever[] = {{"Count", method_for_ever, BUS_METHOD_MORE, NULL},
                                                 BUS_METHOD_END};
    struct random random = {.state = SEED};
    struct bus *bus = connect_caller(session);
    unsigned next;

    assert_int_equal(bus_serve(bus, NAME, for_ever, &next, NULL, NULL), 0);
    for (unsigned round = 0; round < DEATHS; round++) {
        pid_t caller = fork();
        assert_true(caller >= 0);
        if (caller == 0)
            call_for_ever(session->busd.path);
        uint64_t end = process_now() + 10000;
        while (!kept && process_now() < end) {
            bus_wait(bus, 10);
            bus_process(bus);
        }
        assert_non_null(kept);
        for (unsigned turns = random_below(&random, 30); turns > 0; turns--) {
            bus_wait(bus, 1);
            bus_process(bus);
        }
        assert_int_equal(cancels, 0);
        end_process(caller);
        while (cancels == 0 && process_now() < end)
            if (bus_wait(bus, 10) > 0)
                bus_process(bus);
        assert_int_equal(
            bus_call_text(bus, "bus", "Ping", NULL, 0, BUS_TIMEOUT_DEFAULT, NULL, NULL), 0);
        while (bus_process(bus) > 0)
            ;
        assert_int_equal(cancels, 1);
        cancels = 0;
        kept = bus_message_unref(kept);
    }
    bus_close(bus);
}

static const struct transcript transcripts[] = {
    TRANSCRIPT_PLAIN(test_slow_reader),
    TRANSCRIPT_PLAIN(test_service_dies),
    TRANSCRIPT_PLAIN(test_caller_dies),
};

int main(void)
{
    return TRANSCRIPTS_RUN("streams under load", transcripts);
}
