/* SPDX-License-Identifier: MIT */
/*
 * Calls: a service that answers with what it was given, and a caller; either one call
 * at a time, of which the median time counts, or a number of them under way, of which the
 * rate counts.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "libbus/base/clock.h"
#include "libbus/base/macros.h"
#include "tests/bench/broker.h"
#include "tests/bench/crew.h"
#include "tests/bench/process.h"
#include "tests/bench/workload.h"

#define TIMES_MAX    (1 << 20)
#define WARM_CALLS   200
#define WARM_SECONDS 0.05
#define NAME_SIZE    64

static void make_name(char *ret_name, size_t index)
{
    snprintf(ret_name, NAME_SIZE, "org.busd.bench.Echo%zu", index);
}

static void serve(const struct load *load, struct broker *broker)
{
    const struct peer *peer = broker->peer;
    struct client *client = broker_connect(broker);
    char name[NAME_SIZE];

    for (size_t i = 0; i < load->names; i++) {
        make_name(name, i);
        peer->serve(client, name);
    }
    peer->ping(client);
    crew_meet(1);
    for (;;)
        peer->wait(client, -1);
}

/* The names in an order in which neighbours do not follow each other. */
static char (*make_names(size_t count))[NAME_SIZE]
{
    char(*names)[NAME_SIZE] = calloc(count, NAME_SIZE);

    if (!names)
        fail("out of memory");
    for (size_t i = 0; i < count; i++)
        make_name(names[i], (i * 7919) % count);
    return names;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static void call(const struct load *load, struct client *client, const char *name, const char *body)
{
    if (load->use == BODY_ECHOED)
        client->peer->call(client, name, body, load->size);
    else
        client->peer->hand_over(client, name, load->size, load->use == BODY_READ);
}

static void warm_up(const struct load *load, struct client *client, const char *body)
{
    double limit = clock_seconds(CLOCK_MONOTONIC) + WARM_SECONDS;
    char name[NAME_SIZE];

    make_name(name, 0);
    for (int i = 0; i < WARM_CALLS && clock_seconds(CLOCK_MONOTONIC) < limit; i++)
        call(load, client, name, body);
}

static void call_one_by_one(const struct load *load, struct broker *broker)
{
    struct client *client = broker_connect(broker);
    CLEANUP(cleanup_free)
    char *body = load->use == BODY_ECHOED ? body_new(load->body, load->size) : NULL;
    CLEANUP(cleanup_free) double *times = calloc(TIMES_MAX, sizeof(*times));
    char(*names)[NAME_SIZE] = make_names(load->names);
    size_t count = 0, turn = 0;
    double now;

    if (!times)
        fail("out of memory");
    if (load->direct)
        client->peer->go_direct(client, names[0]);
    /* A body in memory is made by the first call. */
    call(load, client, names[0], body);
    warm_up(load, client, body);
    crew_meet(2);
    now = clock_seconds(CLOCK_MONOTONIC);
    do {
        double begin = now;
        call(load, client, names[turn], body);
        now = clock_seconds(CLOCK_MONOTONIC);
        times[count++] = (now - begin) * 1e6;
        if (++turn == load->names)
            turn = 0;
    } while (now < board->deadline && count < TIMES_MAX);
    qsort(times, count, sizeof(*times), compare);
    board->result[0] = times[count / 2];
    board->result[1] = times[count * 99 / 100];
    board->result[2] = (double)count;
    free(names);
    _exit(EXIT_SUCCESS);
}

static size_t answer_size; /* of the calls under way */
static _Atomic size_t answered;

static void on_answer(struct client *client, size_t size)
{
    if (size != answer_size)
        fail("%s: an answer of %zu bytes where %zu were due", client->peer->name, size,
             answer_size);
    answered++;
}

static void call_in_flight(const struct load *load, struct broker *broker)
{
    struct client *client = broker_connect(broker);
    CLEANUP(cleanup_free) char *body = body_new(load->body, load->size);
    size_t begun = 0;
    char name[NAME_SIZE];

    make_name(name, 0);
    client->on_answer = on_answer;
    answer_size = load->size;
    warm_up(load, client, body);
    crew_meet(2);
    double begin = clock_seconds(CLOCK_MONOTONIC);
    double now = begin;
    while (now < board->deadline || answered < begun) {
        while (now < board->deadline && begun - answered < load->in_flight) {
            client->peer->call_start(client, name, body, load->size);
            begun++;
        }
        client->peer->flush(client);
        if (answered < begun)
            client->peer->wait(client, 100);
        now = clock_seconds(CLOCK_MONOTONIC);
        if (now > board->deadline + CREW_STALLED)
            fail("%zu of %zu calls were not answered", begun - answered, begun);
    }
    board->result[0] = (double)begun / (now - begin);
    board->result[1] = NAN;
    board->result[2] = (double)begun;
    _exit(EXIT_SUCCESS);
}

bool measure_calls(const struct load *load, struct broker *broker, struct sample *ret_sample)
{
    if (crew_fork() == 0)
        serve(load, broker);
    if (!crew_await_ready(1, 30))
        return false;
    crew_go(1);
    pid_t caller = crew_fork();
    if (caller == 0) {
        if (load->in_flight > 1)
            call_in_flight(load, broker);
        else
            call_one_by_one(load, broker);
    }
    if (!crew_await_ready(1, 30))
        return false;
    double cpu = process_cpu(broker->pid);
    board->deadline = clock_seconds(CLOCK_MONOTONIC) + workload_seconds;
    crew_go(2);
    if (!crew_await_end(&caller, 1, workload_seconds + 2 * CREW_STALLED))
        return false;
    ret_sample->metric[METRIC_VALUE] = board->result[0];
    ret_sample->metric[METRIC_P99] = board->result[1];
    ret_sample->metric[METRIC_CPU] = (process_cpu(broker->pid) - cpu) / board->result[2];
    ret_sample->messages = (uint64_t)board->result[2];
    return true;
}

bool run_calls(const struct workload *workload, struct broker *broker, size_t point,
               struct sample *ret_sample)
{
    crew_begin(workload->load.pinned, broker->pid);
    bool well = measure_calls(&workload->load, broker, ret_sample);
    crew_end();
    return well;
}
