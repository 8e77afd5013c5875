/* SPDX-License-Identifier: MIT */
/*
 * Ten times as many calls, names, subscriptions, places in a queue or connections
 * cost busd at most FACTOR times as much processor time: nothing is searched from one
 * end to the other. The least of several measurements counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/process.h"
#include "tests/support/transcript.h"

#define FACTOR     12
#define ROUNDS     4
#define ROUNDS_MAX 20
#define MANY       16000
#define FEW        (MANY / 10)
#define CROWD      1000

/* Seconds of processor time that busd has used. */
static double busd_time(struct session *session)
{
    clockid_t clock;
    struct timespec time;

    assert_int_equal(clock_getcpuclockid(session->busd.pid, &clock), 0);
    assert_int_equal(clock_gettime(clock, &time), 0);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* `count` calls, each with a number between the two parts of its body. */
static void call_many(struct client *client, const char *to, const char *method, const char *head,
                      const char *tail, unsigned first, unsigned count)
{
    CLEANUP(cleanup_free) char *lines = malloc(200 * (size_t)count);
    size_t size = 0;

    for (unsigned i = first; i < first + count; i++) {
        size += (size_t)snprintf(lines + size, 200,
                                 "{\"type\":\"call\",\"id\":%u,\"to\":\"%s\",\"method\":\"%s\","
                                 "\"body\":%s%u%s}\n",
                                 i + 1, to, method, head, i, tail);
    }
    client_pour(client, lines, size);
}

/* Reads until the bus has answered this Ping; nothing before it matters. */
static void wait_for_all(struct client *client)
{
    static const char ping[] =
        "{\"type\":\"call\",\"id\":123456789,\"to\":\"bus\",\"method\":\"Ping\"}\n";
    static const char pong[] = "\"id\":123456789,\"body\":{}}\n";
    static char buffer[1 << 18];
    size_t kept = 0;

    client_pour(client, ping, sizeof(ping) - 1);
    for (;;) {
        ssize_t n = recv(client->fd, buffer + kept, sizeof(buffer) - kept, 0);
        assert_true(n > 0);
        size_t size = kept + (size_t)n;
        if (size >= sizeof(pong) - 1 &&
            memcmp(buffer + size - (sizeof(pong) - 1), pong, sizeof(pong) - 1) == 0)
            return;
        kept = size < 64 ? size : 64;
        memmove(buffer, buffer + size - kept, kept);
    }
}

/* ------------------------------------------------------------- the loads */

static void subscriptions(struct session *session, unsigned count)
{
    struct client *a = session_connect(session, "A");

    call_many(a, "bus", "Subscribe", "{\"topic\":\"some.*.n", "\"}", 0, count);
    /* The last ones first: those that a search from the front finds last. */
    for (unsigned i = count; i > 0; i--) {
        char line[128];
        int size = snprintf(line, sizeof(line),
                            "{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"Unsubscribe\","
                            "\"body\":{\"subscription\":%u}}\n",
                            i);
        client_pour(a, line, (size_t)size);
    }
    wait_for_all(a);
    client_free(a);
}

static void subscriptions_of_one_topic(struct session *session, unsigned count)
{
    struct client *a = session_connect(session, "A");

    call_many(a, "bus", "Subscribe", "{\"topic\":\"some.topic\",\"sender\":\"org.n", "\"}", 0,
              count);
    wait_for_all(a);
    client_free(a);
}

static void names(struct session *session, unsigned count)
{
    struct client *a = session_connect(session, "A");

    call_many(a, "bus", "RequestName", "{\"name\":\"org.example.n", "\"}", 0, count);
    call_many(a, "bus", "ReleaseName", "{\"name\":\"org.example.n", "\"}", 0, count);
    wait_for_all(a);
    client_free(a);
}

/* Asked for in order and given back in order, to a service that does not answer. */
static void calls(struct session *session, unsigned count)
{
    struct client *s = session_connect(session, "S");
    struct client *a = session_connect(session, "A");
    CLEANUP(cleanup_free) char *lines = malloc(100 * (size_t)count);
    size_t size = 0;

    for (unsigned done = 0; done < count; done += 100) {
        call_many(a, s->unique, "M", "", "", done, 100);
        wait_for_all(a);
        wait_for_all(s);
    }
    for (unsigned i = count; i > 0; i--)
        size += (size_t)snprintf(lines + size, 100,
                                 "{\"type\":\"reply\",\"to\":\"%s\",\"id\":%u}\n", a->unique, i);
    for (size_t sent = 0; sent < size;) {
        size_t piece = MIN(size - sent, (size_t)10000);
        client_pour(s, lines + sent, piece);
        sent += piece;
        char ignored[65536];
        while (recv(a->fd, ignored, sizeof(ignored), MSG_DONTWAIT) > 0)
            continue;
    }
    wait_for_all(s);
    wait_for_all(a);
    client_free(a);
    client_free(s);
}

/* Connections that all wait for one name, and leave their places. */
static void connections(struct session *session, unsigned count)
{
    static const char request[] =
        "{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"RequestName\",\"body\":"
        "{\"name\":\"org.example\",\"queue\":true}}\n";
    static const char release[] =
        "{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"ReleaseName\",\"body\":"
        "{\"name\":\"org.example\"}}\n";
    struct client **clients = calloc(count, sizeof(struct client *));

    for (unsigned i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "C%u", i);
        clients[i] = session_connect(session, name);
        client_pour(clients[i], request, sizeof(request) - 1);
    }
    for (unsigned i = count; i > 0; i--) {
        client_pour(clients[i - 1], release, sizeof(release) - 1);
        wait_for_all(clients[i - 1]);
    }
    for (unsigned i = 0; i < count; i++)
        client_free(clients[i]);
    free(clients);
}

static void measure(struct session *session, const char *what,
                    void (*load)(struct session *session, unsigned count), unsigned few)
{
    struct client *z = session_connect(session, "Z");
    double least[2] = {1e9, 1e9};

    for (unsigned i = 0; i < 2 * ROUNDS || (i < 2 * ROUNDS_MAX && least[1] > FACTOR * least[0]);
         i++) {
        double begin = busd_time(session);
        load(session, i % 2 ? 10 * few : few);
        session_wait_for_connections(session, z, 1);
        double time = busd_time(session) - begin;
        if (time < least[i % 2])
            least[i % 2] = time;
    }
    printf("%-28s %6u: %7.2f ms, %6u: %7.2f ms, %.1f x\n", what, few, least[0] * 1e3, 10 * few,
           least[1] * 1e3, least[1] / least[0]);
    CHECK(least[1] <= FACTOR * least[0], "%s: ten times as many take %.1f times as long", what,
          least[1] / least[0]);
    client_free(z);
}

static void test_scale(struct session *session)
{
    measure(session, "subscriptions", subscriptions, FEW);
    measure(session, "subscriptions to one topic", subscriptions_of_one_topic, FEW);
    measure(session, "names", names, FEW / 2);
    measure(session, "calls", calls, FEW);
    measure(session, "connections", connections, CROWD / 10);
}

static const struct transcript transcripts[] = {
    {.name = "test_scale",
     .run = test_scale,
     .args = BUSD_ARGS("--limit", "names=100000", "--limit", "names_per_user=100000", "--limit",
                       "connections_per_user=4096", "--limit", "unproven_per_user=4096"),
     .plain_only = true},
};

int main(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return TRANSCRIPTS_RUN("scale", transcripts);
}
