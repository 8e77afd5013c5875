/* SPDX-License-Identifier: MIT */
/*
 * Members of a queue group that are killed while events come at full speed. Each member is
 * a process that does nothing but read its socket into memory that it shares with us; so
 * when it has been killed everything that it has read is known, and what was written to
 * its socket and it had not read yet we read in its place. Then every event must have come
 * to exactly one of them, in the order of publishing for each.
 *
 * With libbus: that the members of a group share all there is, evenly.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/bus.h"
#include "tests/support/group.h"
#include "tests/support/process.h"

#define MEMBERS 3
#define ROOM    (64u << 20)
#define EVENTS  20000u
#define BATCH   50u

struct member {
    struct client *client;
    char *memory; /* what it has read, one line after the other; zero behind that */
    pid_t pid;
    bool dead;
    size_t checked; /* up to here in the memory */
    unsigned count;
};

/* ------------------------------------------------------------- members */

/* The kernel puts the bytes where we find them, whenever it is killed. */
static void read_for_ever(const struct member *member)
{
    size_t size = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    fcntl(member->client->fd, F_SETFL, 0);
    for (;;) {
        ssize_t n = read(member->client->fd, member->memory + size, MIN(ROOM - size, 16384u));
        if (n <= 0)
            _exit(0);
        size += (size_t)n;
    }
}

static void member_start(struct member *member, struct session *session, const char *name)
{
    *member = (struct member){.client = session_connect(session, name)};
    member->memory =
        mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(member->memory != MAP_FAILED);
    group_join(member->client, "job", "g", 1);
    member->pid = fork();
    assert_true(member->pid >= 0);
    if (member->pid == 0)
        read_for_ever(member);
}

/* SIGKILL; for the bus it has closed its socket. What was written by then is its own. */
static void member_kill(struct member *member)
{
    size_t size;
    ssize_t n;

    kill(member->pid, SIGKILL);
    assert_int_equal(waitpid(member->pid, NULL, 0), member->pid);
    assert_int_equal(shutdown(member->client->fd, SHUT_RDWR), 0);
    size = strlen(member->memory);
    while ((n = read(member->client->fd, member->memory + size, ROOM - size)) > 0)
        size += (size_t)n;
    client_close(member->client);
    member->dead = true;
}

/* Notes the events that it has got and we have not seen yet. */
static void member_check(struct member *member, unsigned char *got)
{
    static const char mark[] = "\"n\":";
    char *line = member->memory + member->checked;
    char *end;

    while ((end = strchr(line, '\n'))) {
        const char *number = memmem(line, (size_t)(end - line), mark, sizeof(mark) - 1);
        if (number) {
            unsigned n = (unsigned)strtoul(number + sizeof(mark) - 1, NULL, 10);
            assert_in_range(n, 0, EVENTS - 1);
            CHECK(!got[n], "%s has got event %u that was %u's", member->client->name, n, got[n]);
            got[n] = (unsigned char)member->client->name[0];
            member->count++;
        }
        line = end + 1;
    }
    member->checked = (size_t)(line - member->memory);
}

static void member_end(struct member *member)
{
    if (!member->dead)
        member_kill(member);
    munmap(member->memory, ROOM);
}

/* ---------------------------------------------------------------- race */

static void publish_batch(struct client *publisher, unsigned first, const char *filling)
{
    static char text[BATCH * 600];
    size_t size = 0;

    for (unsigned i = first; i < first + BATCH; i++)
        size += (size_t)snprintf(
            text + size, sizeof(text) - size,
            "{\"type\":\"event\",\"topic\":\"job\",\"n\":%u,\"body\":\"%s\"}\n", i, filling);
    client_send_bytes(publisher, text, size, NULL, 0);
}

static void wait_for_all(struct member *members, unsigned char *got)
{
    uint64_t end = process_now() + 20000;
    unsigned count;

    do {
        count = 0;
        for (unsigned i = 0; i < MEMBERS; i++) {
            member_check(&members[i], got);
            count += members[i].count;
        }
        if (process_now() >= end)
            for (unsigned i = 0; i < EVENTS; i++)
                CHECK(got[i], "event %u has been lost; %u of %u have come", i, count, EVENTS);
        usleep(1000);
    } while (count < EVENTS);
}

/* One of three is killed somewhere on the way, and then another one. */
static void run_race(struct session *session, struct random *random)
{
    struct client *p = session_find(session, "P", 1);
    unsigned char *got = calloc(1, EVENTS);
    struct member members[MEMBERS];
    unsigned kills[MEMBERS - 1], killed = 0;
    char filling[401];

    memset(filling, 'x', sizeof(filling) - 1);
    filling[random_below(random, sizeof(filling))] = '\0';
    filling[sizeof(filling) - 1] = '\0';
    for (unsigned i = 0; i < MEMBERS; i++)
        member_start(&members[i], session, (const char *[]){"A", "B", "C"}[i]);
    for (unsigned i = 0; i < MEMBERS - 1; i++)
        kills[i] = random_below(random, EVENTS);
    for (unsigned i = 0; i < EVENTS; i += BATCH) {
        publish_batch(p, i, filling);
        for (unsigned k = killed; k < MEMBERS - 1; k++) {
            if (kills[k] >= i && kills[k] < i + BATCH) {
                /* Some that are killed have stopped reading before. */
                if (random_one_in(random, 2))
                    kill(members[killed].pid, SIGSTOP);
                else
                    member_kill(&members[killed++]);
            }
        }
    }
    while (killed < MEMBERS - 1)
        member_kill(&members[killed++]);
    wait_for_all(members, got);
    for (unsigned i = 0; i < MEMBERS; i++)
        member_end(&members[i]);
    for (unsigned i = 0; i < MEMBERS; i++)
        client_free(members[i].client);
    free(got);
}

static void test_killed_at_full_speed(struct session *session)
{
    struct client *p = session_connect(session, "P");
    struct random random = session->random;

#ifdef __SANITIZE_ADDRESS__
    const unsigned rounds = 4;
#else
    const unsigned rounds = 12;
#endif
    for (unsigned i = 0; i < rounds; i++) {
        run_race(session, &random);
        session_wait_for_connections(session, p, 1);
    }
    json_t *stats = client_ask_json(p, "Stats", "{}");
    json_t *groups = json_object_get(stats, "groups");
    assert_true(json_integer_value(json_object_get(groups, "handed_over")) > 0);
    assert_int_equal(json_integer_value(json_object_get(groups, "dropped")), 0);
    assert_int_equal(json_integer_value(json_object_get(groups, "count")), 0);
    json_decref(stats);
}

/* -------------------------------------------------------------- libbus */

struct worker {
    struct bus *bus;
    unsigned shared;
    unsigned plain;
};

static void on_shared(struct bus_message *event, void *userdata)
{
    struct worker *worker = userdata;

    assert_string_equal(bus_message_group(event), "g");
    worker->shared++;
}

static void on_plain(struct bus_message *event, void *userdata)
{
    struct worker *worker = userdata;

    assert_null(bus_message_group(event));
    worker->plain++;
}

static void worker_start(struct worker *worker, const struct session *session)
{
    const struct bus_subscription_options options = {.group = "g"};
    struct bus_error error = BUS_ERROR_INIT;

    *worker = (struct worker){0};
    assert_int_equal(bus_connect(&worker->bus, session->busd.address), 0);
    int r = bus_subscribe_with(worker->bus, "job.*", &options, on_shared, worker, NULL, &error);
    CHECK(r == 0, "%s", error.message);
}

static void worker_pump(struct worker *worker)
{
    while (bus_wait(worker->bus, 50) > 0)
        assert_true(bus_process(worker->bus) >= 0);
}

/* Evenly, and to nobody twice: not to a plain subscription of the same connection either. */
static void test_library(struct session *session)
{
    struct worker workers[MEMBERS];
    struct bus_error error = BUS_ERROR_INIT;
    struct bus *publisher;
    char topic[16];

    for (unsigned i = 0; i < MEMBERS; i++)
        worker_start(&workers[i], session);
    assert_int_equal(bus_subscribe(workers[0].bus, "#", NULL, on_plain, &workers[0], NULL, &error),
                     0);
    assert_int_equal(bus_connect(&publisher, session->busd.address), 0);
    for (unsigned i = 0; i < 300; i++) {
        snprintf(topic, sizeof(topic), "job.%u", i % 7);
        assert_int_equal(bus_publish_text(publisher, topic, "1", 1), 0);
    }
    bus_close(publisher);
    for (unsigned i = 0; i < MEMBERS; i++)
        worker_pump(&workers[i]);
    for (unsigned i = 0; i < MEMBERS; i++) {
        assert_int_equal(workers[i].shared, 100);
        assert_int_equal(workers[i].plain, i == 0 ? 300 : 0);
    }
    /* What is wrong is said before the bus is asked. */
    assert_int_equal(bus_subscribe_with(workers[0].bus, "t",
                                        &(struct bus_subscription_options){.group = "a.b"},
                                        on_shared, NULL, NULL, &error),
                     -EINVAL);
    assert_non_null(strstr(error.message, "'a.b' is no name of a group"));
    for (unsigned i = 0; i < MEMBERS; i++)
        bus_close(workers[i].bus);
}

/* The owners of a name, through the library: each gets its part of the calls. */
static int on_call(struct bus_message *call, void *userdata)
{
    ((struct worker *)userdata)->shared++;
    return bus_reply_text(call, "1", 1);
}

static void test_library_names(struct session *session)
{
    static const struct bus_method methods[] = {{"Do", on_call, 0, NULL}, BUS_METHOD_END};
    const struct bus_service_options options = {.name_flags = BUS_NAME_SHARED};
    struct worker workers[MEMBERS] = {0};
    struct bus_error error = BUS_ERROR_INIT;
    struct bus_message *reply;
    struct bus *caller;

    for (unsigned i = 0; i < MEMBERS; i++) {
        assert_int_equal(bus_connect(&workers[i].bus, session->busd.address), 0);
        int r = bus_serve_with(workers[i].bus, "org.example.Work", &options, methods, &workers[i],
                               NULL, &error);
        CHECK(r == 0, "%s", error.message);
    }
    assert_int_equal(bus_connect(&caller, session->busd.address), 0);
    assert_int_equal(bus_request_name(caller, "org.example.Work", 0, &error), -EEXIST);
    for (unsigned i = 0; i < 30; i++) {
        struct bus_slot *slot;
        assert_int_equal(bus_call_text_async(caller, "org.example.Work", "Do", NULL, 0, 5000,
                                             on_plain, &workers[0], &slot),
                         0);
        assert_int_equal(bus_flush(caller, 5000), 0);
        for (unsigned w = 0; w < MEMBERS; w++)
            while (bus_process(workers[w].bus) > 0)
                continue;
        while (bus_wait(caller, 1) > 0)
            bus_process(caller);
        bus_slot_free(slot);
    }
    for (unsigned i = 0; i < MEMBERS; i++) {
        worker_pump(&workers[i]);
        assert_int_equal(workers[i].shared, 10);
        bus_close(workers[i].bus);
    }
    assert_int_equal(bus_call_text(caller, "org.example.Work", "Do", NULL, 0, 5000, &error, &reply),
                     -ENXIO);
    bus_close(caller);
}

static const struct transcript transcripts[] = {
    {.name = "test_killed_at_full_speed",
     .run = test_killed_at_full_speed,
     .args = BUSD_ARGS("--limit", "queue_soft_bytes=262144"),
     .seconds = 90,
     .plain_only = true},
    TRANSCRIPT_PLAIN(test_library),
    TRANSCRIPT_PLAIN(test_library_names),
};

int main(void)
{
    return TRANSCRIPTS_RUN("groups-race", transcripts);
}
