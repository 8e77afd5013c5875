/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "tests/bench/workload.h"

#define SMALL    128
#define KILOBYTE 1024
#define MEGABYTE (1024 * 1024)

#define LOAD_CALLS(pinned_, in_flight_, size_)                                                     \
    {                                                                                              \
        .names = 1, .pinned = pinned_, .in_flight = in_flight_, .size = size_                      \
    }
#define LOAD_BODIES(use_)                                                                          \
    {                                                                                              \
        .names = 1, .pinned = true, .in_flight = 1, .use = use_                                    \
    }
#define LOAD_EVENTS(pinned_, publishers_, subscribers_, body_, size_, patterns_)                   \
    {                                                                                              \
        .pinned = pinned_, .publishers = publishers_, .subscribers = subscribers_,                 \
        .connections = 1, .body = body_, .size = size_, .patterns = patterns_, .window = 4096,     \
        .burst = 256                                                                               \
    }
#define LOAD_BESIDE(patterns_) LOAD_EVENTS(true, 1, 1, BODY_STRING, SMALL, patterns_)

/* A row of the table: events from so many publishers to so many subscribers. */
#define EVENTS(name_, title_, pinned_, publishers_, subscribers_, body_, size_)                    \
    {                                                                                              \
        .name = name_, .title = title_, .unit = "/s", .more_is_better = true,                      \
        .possible = can_events, .run = run_events,                                                 \
        .load = LOAD_EVENTS(pinned_, publishers_, subscribers_, body_, size_, NULL)                \
    }

double workload_seconds = 0.5;
bool workload_quick;

static bool can_events(const struct workload *workload, const struct peer *peer)
{
    const struct load *load = &workload->load;

    return (load->subscribers == 1 || !peer->no_1to_many) &&
           (load->publishers == 1 || !peer->no_fan_in);
}

static bool can_route(const struct workload *workload, const struct peer *peer)
{
    return !peer->no_1to_many;
}

static bool can_names(const struct workload *workload, const struct peer *peer)
{
    return !peer->no_names;
}

static bool can_hand_over(const struct workload *workload, const struct peer *peer)
{
    return peer->hand_over != NULL;
}

static bool can_go_direct(const struct workload *workload, const struct peer *peer)
{
    return peer->go_direct != NULL;
}

static bool has_program(const struct workload *workload, const struct peer *peer)
{
    return peer->program != NULL;
}

const struct workload workloads[] = {
    {.name = "call-1cpu",
     .title = "call, one core",
     .unit = "us",
     .run = run_calls,
     .load = LOAD_CALLS(true, 1, SMALL)},
    {.name = "call",
     .title = "call, all cores",
     .unit = "us",
     .run = run_calls,
     .load = LOAD_CALLS(false, 1, SMALL)},
    {.name = "call-64",
     .title = "64 calls in flight, one core",
     .unit = "/s",
     .more_is_better = true,
     .run = run_calls,
     .load = LOAD_CALLS(true, 64, SMALL)},
    {.name = "call-direct-1cpu",
     .title = "call past the broker, one core",
     .unit = "us",
     .possible = can_go_direct,
     .run = run_calls,
     .load = {.names = 1, .pinned = true, .in_flight = 1, .size = SMALL, .direct = true}},
    {.name = "call-direct",
     .title = "call past the broker, all cores",
     .unit = "us",
     .possible = can_go_direct,
     .run = run_calls,
     .load = {.names = 1, .in_flight = 1, .size = SMALL, .direct = true}},
    {.name = "call-1m",
     .title = "call with 1 MiB",
     .unit = "us",
     .run = run_calls,
     .load = LOAD_CALLS(false, 1, MEGABYTE)},

    EVENTS("events-1-1", "events 1-1, string", false, 1, 1, BODY_STRING, SMALL),
    EVENTS("events-1-1-json", "events 1-1, JSON", false, 1, 1, BODY_JSON, SMALL),
    EVENTS("events-1-1-1k", "events 1-1, 1 KiB", false, 1, 1, BODY_STRING, KILOBYTE),
    EVENTS("events-1-1-1cpu", "events 1-1, one core", true, 1, 1, BODY_STRING, SMALL),
    EVENTS("events-1-8", "events 1-8, string", false, 1, 8, BODY_STRING, SMALL),
    EVENTS("events-1-8-json", "events 1-8, JSON", false, 1, 8, BODY_JSON, SMALL),
    EVENTS("events-1-8-1k", "events 1-8, 1 KiB", false, 1, 8, BODY_STRING, KILOBYTE),
    EVENTS("events-8-8", "events 8-8, string", false, 8, 8, BODY_STRING, SMALL),
    EVENTS("events-8-8-json", "events 8-8, JSON", false, 8, 8, BODY_JSON, SMALL),
    EVENTS("events-8-8-1k", "events 8-8, 1 KiB", false, 8, 8, BODY_STRING, KILOBYTE),

    {.name = "connect",
     .title = "connections",
     .unit = "/s",
     .more_is_better = true,
     .possible = can_route,
     .run = run_connecting},
    {.name = "start", .title = "start to first answer", .unit = "us", .possible = has_program},
    {.name = "memory",
     .title = "memory, idle",
     .unit = "KiB",
     .fresh = true,
     .steady = true,
     .possible = has_program,
     .run = run_memory_idle},
    {.name = "memory-connection",
     .title = "memory a connection",
     .unit = "KiB",
     .fresh = true,
     .steady = true,
     .possible = can_route,
     .run = run_memory_connections},
    {.name = "wakeups",
     .title = "wake-ups while idle",
     .unit = "/s",
     .fresh = true,
     .steady = true,
     .possible = can_route,
     .run = run_wakeups},

    {.name = "subscriptions-exact",
     .title = "CPU an event, beside exact subscriptions of others",
     .unit = "us",
     .axis = "subscriptions",
     .points = {1, 100, 1000, 10000, 100000},
     .fresh = true,
     .possible = can_route,
     .run = run_curve_subscriptions,
     .load = LOAD_BESIDE("e")},
    {.name = "subscriptions-wildcard",
     .title = "CPU an event, beside wildcard subscriptions of others",
     .unit = "us",
     .axis = "subscriptions",
     .points = {1, 100, 1000, 10000, 100000},
     .fresh = true,
     .possible = can_route,
     .run = run_curve_subscriptions,
     .load = LOAD_BESIDE("*#")},
    {.name = "subscriptions-mixed",
     .title = "CPU an event, beside mixed subscriptions of others",
     .unit = "us",
     .axis = "subscriptions",
     .points = {1, 100, 1000, 10000, 100000},
     .fresh = true,
     .possible = can_route,
     .run = run_curve_subscriptions,
     .load = LOAD_BESIDE("e*#f")},
    {.name = "topics",
     .title = "CPU an event, many topics in turn",
     .unit = "us",
     .axis = "topics",
     .points = {1, 100, 1000, 10000, 100000},
     .possible = can_route,
     .run = run_curve_topics,
     .load = LOAD_BESIDE(NULL)},
    {.name = "receivers",
     .title = "Deliveries of one event",
     .unit = "/s",
     .more_is_better = true,
     .axis = "receivers",
     .points = {1, 10, 100, 1000},
     .possible = can_route,
     .run = run_curve_receivers,
     .load = {.publishers = 1,
              .subscribers = 1,

              .size = SMALL,
              .window = 256,
              .burst = 64}},
    {.name = "connections",
     .title = "Call beside idle connections, one core",
     .unit = "us",
     .axis = "connections",
     .points = {1, 100, 1000, 5000},
     .fresh = true,
     .possible = can_route,
     .run = run_curve_connections,
     .load = LOAD_CALLS(true, 1, SMALL)},
    {.name = "bodies",
     .title = "Call with a body in memory, its ends looked at, one core",
     .unit = "us",
     .axis = "KiB",
     .points = {1, 1024, 65536, 1048576},
     .possible = can_hand_over,
     .run = run_curve_bodies,
     .load = LOAD_BODIES(BODY_LOOKED_AT)},
    {.name = "bodies-read",
     .title = "Call with a body in memory, each page read, one core",
     .unit = "us",
     .axis = "KiB",
     .points = {1, 1024, 65536, 1048576},
     .possible = can_hand_over,
     .run = run_curve_bodies,
     .load = LOAD_BODIES(BODY_READ)},
    {.name = "names",
     .title = "Call to many names in turn, one core",
     .unit = "us",
     .axis = "names",
     .points = {1, 100, 1000, 10000},
     .fresh = true,
     .possible = can_names,
     .run = run_curve_names,
     .load = LOAD_CALLS(true, 1, SMALL)},
};
const size_t workloads_count = ARRAY_SIZE(workloads);

void sample_init(struct sample *sample)
{
    *sample = (struct sample){0};
    for (size_t i = 0; i < METRICS; i++)
        sample->metric[i] = NAN;
}

char *body_new(enum body kind, size_t size)
{
    static const char json[] = "{\"id\":184467,\"name\":\"kitchen\",\"value\":21.625,\"ok\":true,"
                               "\"tags\":[\"a\",\"b\"],\"at\":{\"x\":-3,\"y\":null},\"note\":\"";
    const char *head = kind == BODY_JSON ? json : "\"";
    const char *tail = kind == BODY_JSON ? "\"}" : "\"";
    char *body = malloc(size + 1);

    if (!body || size < strlen(head) + strlen(tail)) {
        fprintf(stderr, "bench: no body of %zu bytes\n", size);
        exit(EXIT_FAILURE);
    }
    memset(body, 'x', size);
    memcpy(body, head, strlen(head));
    memcpy(body + size - strlen(tail), tail, strlen(tail));
    body[size] = '\0';
    return body;
}
