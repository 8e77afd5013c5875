/* SPDX-License-Identifier: MIT */
/*
 * A first measurement: the round trip of a call with a 128-byte body between two
 * libbus programs through busd, beside the round trip of as many bytes through a
 * bare relay, and events from one publisher to one subscriber. Broker and clients
 * are processes of their own, all pinned to one core, the two sides measured in
 * turn. Prints each round, and the medians with their ratio.
 *
 *     bench BUSD [ROUNDS [CALLS]]
 */
#include <bus/bus.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libbus/base/clock.h"
#include "libbus/base/macros.h"
#include "tests/bench/relay.h"

#define BODY_SIZE   128
#define EVENTS      400000
#define ROUNDS_MAX  100
#define ECHO_NAME   "org.busd.bench.Echo"
#define EVENT_TOPIC "bench.event"

static char body[BODY_SIZE + 1]; /* a JSON string of 128 bytes with its quotes */

static void check(int r, const char *what)
{
    if (r >= 0)
        return;
    fprintf(stderr, "bench: %s: %s\n", what, strerror(-r));
    exit(EXIT_FAILURE);
}

static pid_t start(void)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    check(pid, "fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(EXIT_FAILURE);
    }
    return pid;
}

static void stop(pid_t pid)
{
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

static void pin(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(0, &set);
    check(sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare);
    return values[count / 2];
}

/* ------------------------------------------------------------- relay */

/* Median microseconds of a round trip of `size` bytes. */
static double measure_relay(size_t size, size_t calls)
{
    CLEANUP(cleanup_free) double *times = calloc(calls, sizeof(*times));
    CLEANUP(cleanup_free) char *message = calloc(1, size);
    int near[2], far[2];

    if (!times || !message || socketpair(AF_UNIX, SOCK_STREAM, 0, near) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM, 0, far) < 0)
        check(-1, "relay");
    pid_t relay = start();
    if (relay == 0) {
        close(near[0]);
        close(far[0]);
        relay_run(near[1], far[1]);
    }
    pid_t echo = start();
    if (echo == 0) {
        close(near[0]);
        close(near[1]);
        close(far[1]);
        relay_echo(far[0]);
    }
    for (size_t i = 0; i < calls; i++) {
        double begin = clock_seconds(CLOCK_MONOTONIC);
        if (send(near[0], message, size, MSG_NOSIGNAL) != (ssize_t)size)
            check(-1, "send");
        for (size_t got = 0; got < size;) {
            ssize_t n = recv(near[0], message, size, 0);
            if (n <= 0)
                check(-1, "recv");
            got += (size_t)n;
        }
        times[i] = (clock_seconds(CLOCK_MONOTONIC) - begin) * 1e6;
    }
    stop(relay);
    stop(echo);
    for (int i = 0; i < 2; i++) {
        close(near[i]);
        close(far[i]);
    }
    return median(times, calls);
}

/* -------------------------------------------------------------- busd */

static int on_echo(struct bus_message *call, void *userdata)
{
    size_t size;
    const char *text = bus_message_body_text(call, &size);

    return bus_reply_text(call, text, size);
}

static void serve_echo(void)
{
    static const struct bus_method methods[] = {
        {"Echo", on_echo, 0, "Answers with what it was given"}, BUS_METHOD_END};
    struct bus *bus;

    check(bus_connect(&bus, NULL), "connect");
    check(bus_serve(bus, ECHO_NAME, methods, NULL, NULL, NULL), "serve");
    bus_run(bus);
    exit(EXIT_SUCCESS);
}

static double measure_calls(size_t calls)
{
    CLEANUP(cleanup_free) double *times = calloc(calls, sizeof(*times));
    struct bus_error error = BUS_ERROR_INIT;
    struct bus *bus;

    pid_t echo = start();
    if (echo == 0)
        serve_echo();
    check(bus_connect(&bus, NULL), "connect");
    for (size_t i = 0; i < 1000; i++) {
        if (bus_call_text(bus, ECHO_NAME, "Echo", body, BODY_SIZE, 1000, &error, NULL) == 0)
            break;
        usleep(1000);
    }
    for (size_t i = 0; i < calls; i++) {
        double begin = clock_seconds(CLOCK_MONOTONIC);
        struct bus_message *reply;
        int r = bus_call_text(bus, ECHO_NAME, "Echo", body, BODY_SIZE, BUS_TIMEOUT_DEFAULT, &error,
                              &reply);
        check(r, error.message);
        bus_message_unref(reply);
        times[i] = (clock_seconds(CLOCK_MONOTONIC) - begin) * 1e6;
    }
    stop(echo);
    bus_close(bus);
    return median(times, calls);
}

static void on_event(struct bus_message *message, void *userdata)
{
    size_t *left = userdata;

    if (--*left == 0)
        bus_stop(bus_message_bus(message));
}

static void publish_all(void)
{
    struct bus *bus;

    check(bus_connect(&bus, NULL), "connect");
    for (size_t i = 0; i < EVENTS; i++) {
        int r;
        while ((r = bus_publish_text(bus, EVENT_TOPIC, body, BODY_SIZE)) == -EAGAIN)
            check(bus_flush(bus, BUS_TIMEOUT_DEFAULT), "flush");
        check(r, "publish");
    }
    check(bus_flush(bus, BUS_TIMEOUT_DEFAULT), "flush");
    bus_close(bus);
    exit(EXIT_SUCCESS);
}

static void on_lost(struct bus_message *message, void *userdata)
{
    size_t size;
    const char *text = bus_message_body_text(message, &size);

    fprintf(stderr, "bench: events were lost: %.*s\n", (int)size, text);
    exit(EXIT_FAILURE);
}

/* Events a second. */
static double measure_events(void)
{
    size_t left = EVENTS;
    struct bus *bus;

    check(bus_connect(&bus, NULL), "connect");
    check(bus_subscribe(bus, "bus.overflow", NULL, on_lost, NULL, NULL, NULL), "subscribe");
    check(bus_subscribe(bus, EVENT_TOPIC, NULL, on_event, &left, NULL, NULL), "subscribe");
    double begin = clock_seconds(CLOCK_MONOTONIC);
    pid_t publisher = start();
    if (publisher == 0)
        publish_all();
    check(bus_run(bus), "run");
    double seconds = clock_seconds(CLOCK_MONOTONIC) - begin;
    waitpid(publisher, NULL, 0);
    bus_close(bus);
    return EVENTS / seconds;
}

static pid_t start_busd(const char *program, char *folder)
{
    char address[64];
    int ready[2];

    if (!mkdtemp(folder) || pipe(ready) < 0)
        check(-1, "temporary folder");
    snprintf(address, sizeof(address), "unix:%s/bus", folder);
    pid_t pid = start();
    if (pid == 0) {
        dup2(ready[1], STDOUT_FILENO);
        close(ready[0]);
        execl(program, program, "--address", address, "--print-address", (char *)NULL);
        perror(program);
        _exit(EXIT_FAILURE);
    }
    close(ready[1]);
    char c;
    if (read(ready[0], &c, 1) != 1)
        check(-1, "busd did not start");
    close(ready[0]);
    setenv("BUSD_ADDRESS", address, 1);
    return pid;
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/busd-bench-XXXXXX";
    double relay[ROUNDS_MAX], calls[ROUNDS_MAX], events[ROUNDS_MAX];
    size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 5;
    size_t count = argc > 3 ? strtoul(argv[3], NULL, 10) : 20000;

    if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX || count < 1) {
        fputs("Usage: bench BUSD [ROUNDS [CALLS]]\n", stderr);
        return 2;
    }
    memset(body, 'x', BODY_SIZE);
    body[0] = body[BODY_SIZE - 1] = '"';
    pin();
    pid_t busd = start_busd(argv[1], folder);

    /* What the relay carries is as long as the call's line. */
    size_t size = BODY_SIZE + strlen("{\"type\":\"call\",\"id\":10000,\"to\":\"" ECHO_NAME
                                     "\",\"method\":\"Echo\",\"body\":}\n");
    for (size_t i = 0; i < rounds; i++) {
        relay[i] = measure_relay(size, count);
        calls[i] = measure_calls(count);
        events[i] = measure_events();
        printf("round %zu: relay %.2f us, call %.2f us (%.2f x), events %.0f/s\n", i + 1, relay[i],
               calls[i], calls[i] / relay[i], events[i]);
        fflush(stdout);
    }
    stop(busd);
    rmdir(folder);
    double relay_median = median(relay, rounds);
    double call_median = median(calls, rounds);
    printf("{\"relay_us\":%.2f,\"call_us\":%.2f,\"ratio\":%.3f,\"events_per_second\":%.0f}\n",
           relay_median, call_median, call_median / relay_median, median(events, rounds));
    return 0;
}
