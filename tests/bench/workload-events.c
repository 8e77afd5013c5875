/* SPDX-License-Identifier: MIT */
/*
 * Events from publishers to subscribers. It counts what has arrived: time runs from the
 * first event published until the last subscriber has got, and looked at, the last one.
 *
 * No more than a window of events is under way, counted at the slowest subscriber, so
 * that nobody has a reason to drop any: a publisher takes tickets for a burst, waits
 * until they are inside the window, and publishes. Who loses events is found out, since
 * every subscriber must have got as many as were published.
 *
 * Before that publishers send warm-up events until every subscriber has heard of each:
 * their bodies are shorter, and as long as the publisher's number.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "libbus/base/clock.h"
#include "libbus/base/macros.h"
#include "tests/bench/broker.h"
#include "tests/bench/crew.h"
#include "tests/bench/process.h"
#include "tests/bench/workload.h"

#define TOPIC         "events.one"
#define TOPIC_OF_MANY "events.many.t" /* and a number */
#define PATTERN       "events.many.#"
#define TOPIC_SIZE    48
#define IDLE_MS       20 /* between two looks at whether it is over */

/* ---------------------------------------------------------- subscriber */

static const struct load *expected;

static void on_event(struct client *client, const char *topic, size_t size)
{
    struct seat *seat = client->userdata;

    if (expected->topics > 0 ? strncmp(topic, TOPIC_OF_MANY, strlen(TOPIC_OF_MANY)) != 0
                             : strcmp(topic, TOPIC) != 0)
        fail("%s: an event of topic %s", client->peer->name, topic);
    if (size <= PUBLISHERS) {
        seat->warm |= UINT64_C(1) << (size - 1);
        return;
    }
    if (size != expected->size)
        fail("%s: an event of %zu bytes where %zu were due", client->peer->name, size,
             expected->size);
    uint64_t received = atomic_load_explicit(&seat->received, memory_order_relaxed) + 1;
    atomic_store_explicit(&seat->received, received, memory_order_relaxed);
    if (received % expected->burst != 0)
        return;
    atomic_thread_fence(memory_order_seq_cst);
    if (board->waiting) {
        board->waiting = 0;
        board->progress++;
        futex_wake(&board->progress);
    }
}

/* Whether all has come that will. `*since` is when the last event came. */
static bool is_over(const struct seat *seats, size_t count, uint64_t *sum, double *since)
{
    uint64_t received = 0;
    bool complete = board->publishing == 0;
    double now = clock_seconds(CLOCK_MONOTONIC);

    for (size_t i = 0; i < count; i++) {
        received += seats[i].received;
        complete = complete && seats[i].received >= board->tickets;
    }
    if (received != *sum) {
        *sum = received;
        *since = now;
    }
    return complete || (board->publishing == 0 && now - *since > CREW_STALLED);
}

static void receive_one(struct client *client, struct seat *seat)
{
    uint64_t sum = 0;
    double since = clock_seconds(CLOCK_MONOTONIC);

    while (!is_over(seat, 1, &sum, &since))
        client->peer->wait(client, IDLE_MS);
    seat->last = since;
}

static void receive_many(struct client **clients, struct seat *seats, size_t count)
{
    const struct peer *peer = clients[0]->peer;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ready[SEATS_MAX];
    uint64_t sum = 0;
    double since = clock_seconds(CLOCK_MONOTONIC);

    for (size_t i = 0; peer->fd && i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = clients[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, peer->fd(clients[i]), &event) < 0)
            fail("epoll_ctl failed");
        peer->process(clients[i]);
    }
    while (!is_over(seats, count, &sum, &since)) {
        int n = epoll_wait(epoll, ready, ARRAY_SIZE(ready), peer->fd ? IDLE_MS : 1);
        for (int i = 0; i < n; i++)
            peer->process(ready[i].data.ptr);
    }
    for (size_t i = 0; i < count; i++)
        seats[i].last = since;
}

static void subscribe(const struct load *load, struct broker *broker, struct seat *seats)
{
    const struct peer *peer = broker->peer;
    struct client *clients[SEATS_MAX];

    expected = load;
    for (size_t i = 0; i < load->connections; i++) {
        clients[i] = broker_connect(broker);
        clients[i]->on_event = on_event;
        clients[i]->userdata = &seats[i];
        peer->subscribe(clients[i], load->topics > 0 ? PATTERN : TOPIC);
        peer->ping(clients[i]);
    }
    crew_meet(1);
    if (load->connections == 1)
        receive_one(clients[0], seats);
    else
        receive_many(clients, seats, load->connections);
    _exit(EXIT_SUCCESS);
}

/* ----------------------------------------------------------- publisher */

static size_t seats_of(const struct load *load)
{
    return (size_t)load->subscribers * load->connections;
}

static uint64_t slowest(const struct load *load)
{
    uint64_t least = UINT64_MAX;

    for (size_t i = 0; i < seats_of(load); i++)
        least = MIN(least, atomic_load_explicit(&board->seat[i].received, memory_order_relaxed));
    return least;
}

/* Waits until a burst that ends at this ticket is inside the window; who has to wait,
 * waits until half of it is free. False: nothing moves any more. */
static bool enter_window(const struct load *load, uint64_t end)
{
    double limit = clock_seconds(CLOCK_MONOTONIC) + CREW_STALLED;

    if (end <= slowest(load) + load->window)
        return true;
    for (;;) {
        uint32_t progress = board->progress;
        board->waiting = 1;
        if (end <= slowest(load) + load->window / 2)
            return true;
        if (clock_seconds(CLOCK_MONOTONIC) > limit)
            return false;
        futex_wait(&board->progress, progress, 100);
    }
}

static void warm_up(const struct load *load, struct client *client, unsigned index,
                    const char *topic)
{
    static const char digits[] = "1111111111111111111111111111111111111111111111111111111111111111";
    double limit = clock_seconds(CLOCK_MONOTONIC) + CREW_STALLED;
    char body[PUBLISHERS + 1];

    snprintf(body, sizeof(body), "%.*s", (int)index + 1, digits);
    for (size_t i = 0; i < seats_of(load); i++) {
        while (!(board->seat[i].warm & (UINT64_C(1) << index))) {
            client->peer->publish(client, topic, body, index + 1);
            client->peer->flush(client);
            usleep(1000);
            if (clock_seconds(CLOCK_MONOTONIC) > limit)
                fail("%s: no event arrives", client->peer->name);
        }
    }
}

static char (*make_topics(const struct load *load))[TOPIC_SIZE]
{
    char(*topics)[TOPIC_SIZE] = calloc(MAX(load->topics, 1), TOPIC_SIZE);

    if (!topics)
        fail("out of memory");
    snprintf(topics[0], TOPIC_SIZE, TOPIC);
    for (size_t i = 0; i < load->topics; i++)
        snprintf(topics[i], TOPIC_SIZE, TOPIC_OF_MANY "%zu", (i * 7919) % load->topics);
    return topics;
}

static void publish(const struct load *load, struct broker *broker, unsigned index)
{
    struct client *client = broker_connect(broker);
    CLEANUP(cleanup_free) char *body = body_new(load->body, load->size);
    char(*topics)[TOPIC_SIZE] = make_topics(load);
    size_t turn = 0;

    warm_up(load, client, index, topics[0]);
    crew_meet(2);
    while (clock_seconds(CLOCK_MONOTONIC) < board->deadline) {
        uint64_t first = atomic_fetch_add(&board->tickets, load->burst);
        if (!enter_window(load, first + load->burst)) {
            board->tickets -= load->burst;
            break;
        }
        for (unsigned i = 0; i < load->burst; i++) {
            client->peer->publish(client, topics[turn], body, load->size);
            if (++turn >= load->topics)
                turn = 0;
        }
        client->peer->flush(client);
    }
    free(topics);
    board->publishing--;
    /* The library may still be writing. */
    for (;;)
        pause();
}

/* ------------------------------------------------------------- harness */

static void evaluate(const struct load *load, double begin, double cpu, struct sample *ret_sample)
{
    uint64_t deliveries = 0;
    double end = begin;

    for (size_t i = 0; i < seats_of(load); i++) {
        deliveries += board->seat[i].received;
        end = MAX(end, board->seat[i].last);
    }
    ret_sample->messages = board->tickets;
    ret_sample->lost = board->tickets * seats_of(load) - deliveries;
    ret_sample->metric[METRIC_VALUE] = (double)deliveries / (end - begin);
    ret_sample->metric[METRIC_CPU] = cpu / (double)board->tickets;
}

bool measure_events(const struct load *load, struct broker *broker, struct sample *ret_sample)
{
    pid_t subscribers[PUBLISHERS];

    board->publishing = load->publishers;
    for (unsigned i = 0; i < load->subscribers; i++) {
        subscribers[i] = crew_fork();
        if (subscribers[i] == 0)
            subscribe(load, broker, &board->seat[i * load->connections]);
    }
    if (!crew_await_ready(load->subscribers, 30))
        return false;
    crew_go(1);
    for (unsigned i = 0; i < load->publishers; i++)
        if (crew_fork() == 0)
            publish(load, broker, i);
    if (!crew_await_ready(load->publishers, 30))
        return false;
    double cpu = process_cpu(broker->pid);
    double begin = clock_seconds(CLOCK_MONOTONIC);
    board->deadline = begin + workload_seconds;
    crew_go(2);
    if (!crew_await_end(subscribers, load->subscribers, workload_seconds + 4 * CREW_STALLED))
        return false;
    evaluate(load, begin, process_cpu(broker->pid) - cpu, ret_sample);
    return true;
}

bool run_events(const struct workload *workload, struct broker *broker, size_t point,
                struct sample *ret_sample)
{
    crew_begin(workload->load.pinned, broker->pid);
    bool well = measure_events(&workload->load, broker, ret_sample);
    crew_end();
    return well;
}
