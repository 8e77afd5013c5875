/* SPDX-License-Identifier: MIT */
/*
 * Connections: how fast they come, what they cost while they do nothing, and whether the
 * broker sleeps meanwhile.
 */
#include <stdlib.h>
#include <unistd.h>

#include "libbus/base/clock.h"
#include "libbus/base/macros.h"
#include "tests/bench/broker.h"
#include "tests/bench/crew.h"
#include "tests/bench/process.h"
#include "tests/bench/workload.h"

#define HELD          5000
#define HELD_IDLE     100
#define HELD_EACH     500 /* connections a process: some libraries start threads for each */
#define SETTLE_US     300000
#define MEMORY_SETTLE 100000

static void ignore_event(struct client *client, const char *topic, size_t size)
{
}

static void hold(struct broker *broker, size_t count, const char *pattern)
{
    for (size_t i = 0; i < count; i++) {
        struct client *client = broker_connect(broker);
        client->on_event = ignore_event;
        if (pattern)
            broker->peer->subscribe(client, pattern);
        if (pattern || broker->peer->fd == NULL)
            broker->peer->ping(client);
    }
    crew_meet(1);
    for (;;)
        pause();
}

bool hold_connections(struct broker *broker, size_t count, const char *pattern)
{
    /* One after the other: a queue of waiting connections is not what we measure. */
    for (size_t held = 0; held < count; held += HELD_EACH) {
        if (crew_fork() == 0)
            hold(broker, MIN(count - held, HELD_EACH), pattern);
        if (!crew_await_ready((unsigned)(held / HELD_EACH) + 1, 30))
            return false;
    }
    board->ready = 0;
    return true;
}

/* Connects until it has been served, disconnects, and so on. */
static void connect_often(struct broker *broker)
{
    size_t count = 0;

    crew_meet(1);
    double begin = clock_seconds(CLOCK_MONOTONIC), now;
    do {
        broker->peer->close(broker_connect(broker));
        count++;
        now = clock_seconds(CLOCK_MONOTONIC);
    } while (now < board->deadline);
    board->result[0] = (double)count / (now - begin);
    board->result[1] = (double)count;
    _exit(EXIT_SUCCESS);
}

static bool measure_connecting(struct broker *broker, struct sample *ret_sample)
{
    pid_t pid = crew_fork();

    if (pid == 0)
        connect_often(broker);
    if (!crew_await_ready(1, 5))
        return false;
    double cpu = process_cpu(broker->pid);
    board->deadline = clock_seconds(CLOCK_MONOTONIC) + workload_seconds;
    crew_go(1);
    if (!crew_await_end(&pid, 1, workload_seconds + CREW_STALLED))
        return false;
    ret_sample->metric[METRIC_VALUE] = board->result[0];
    ret_sample->metric[METRIC_CPU] = (process_cpu(broker->pid) - cpu) / board->result[1];
    ret_sample->messages = (uint64_t)board->result[1];
    return true;
}

bool run_connecting(const struct workload *workload, struct broker *broker, size_t point,
                    struct sample *ret_sample)
{
    crew_begin(workload->load.pinned, broker->pid);
    bool well = measure_connecting(broker, ret_sample);
    crew_end();
    return well;
}

bool run_memory_idle(const struct workload *workload, struct broker *broker, size_t point,
                     struct sample *ret_sample)
{
    usleep(MEMORY_SETTLE);
    ret_sample->metric[METRIC_VALUE] = process_resident(broker->pid);
    return true;
}

bool run_memory_connections(const struct workload *workload, struct broker *broker, size_t point,
                            struct sample *ret_sample)
{
    crew_begin(false, broker->pid);
    usleep(MEMORY_SETTLE);
    double before = process_resident(broker->pid);
    bool well = hold_connections(broker, HELD, NULL);
    usleep(MEMORY_SETTLE);
    ret_sample->metric[METRIC_VALUE] = (process_resident(broker->pid) - before) / HELD;
    crew_end();
    return well;
}

bool run_wakeups(const struct workload *workload, struct broker *broker, size_t point,
                 struct sample *ret_sample)
{
    double seconds = workload_quick ? 1 : 5;

    crew_begin(false, broker->pid);
    bool well = hold_connections(broker, HELD_IDLE, "idle.events");
    usleep(SETTLE_US);
    double cpu = process_cpu(broker->pid);
    uint64_t switches = process_switches(broker->pid);
    usleep((useconds_t)(seconds * 1e6));
    ret_sample->metric[METRIC_VALUE] = (double)(process_switches(broker->pid) - switches) / seconds;
    ret_sample->metric[METRIC_CPU] = (process_cpu(broker->pid) - cpu) / seconds;
    crew_end();
    return well;
}
