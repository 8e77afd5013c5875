/* SPDX-License-Identifier: MIT */
/*
 * Curves: what something costs while something else grows. Subscriptions that others
 * have are to topics like others.t17.value, which nobody publishes; the patterns of the
 * load say of which forms, used in turn: `e` exact, `*` a wildcard in the last segment,
 * `#` one for all that follows, `f` one in the first segment.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/broker.h"
#include "tests/bench/crew.h"
#include "tests/bench/workload.h"

static void make_pattern(char *ret_pattern, size_t size, char form, size_t index)
{
    const char *format = form == 'e'   ? "others.t%zu.value"
                         : form == '*' ? "others.t%zu.*"
                         : form == '#' ? "others.t%zu.#"
                                       : "*.t%zu.value";

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(ret_pattern, size, format, index);
#pragma GCC diagnostic pop
}

static void unexpected(struct client *client, const char *topic, size_t size)
{
    fail("%s: an event of topic %s that was not published", client->peer->name, topic);
}

/* A member that has subscribed to a lot. */
static void hold_subscriptions(struct broker *broker, const char *forms, size_t count)
{
    struct client *client = broker_connect(broker);
    size_t forms_count = strlen(forms);
    char pattern[64];

    client->on_event = unexpected;
    for (size_t i = 0; i < count; i++) {
        make_pattern(pattern, sizeof(pattern), forms[i % forms_count], i);
        broker->peer->subscribe(client, pattern);
        /* As many as fit into any queue on the way. */
        if (i % 1000 == 999)
            broker->peer->ping(client);
    }
    broker->peer->ping(client);
    crew_meet(1);
    for (;;)
        pause();
}

/* What counts is the broker's time, which the clients' part in the work does not hide. */
static void value_is_cpu(struct sample *sample)
{
    sample->metric[METRIC_VALUE] = sample->metric[METRIC_CPU];
}

bool run_curve_subscriptions(const struct workload *workload, struct broker *broker, size_t point,
                             struct sample *ret_sample)
{
    bool well;

    crew_begin(workload->load.pinned, broker->pid);
    if (crew_fork() == 0)
        hold_subscriptions(broker, workload->load.patterns, point);
    well = crew_await_ready(1, 30);
    board->ready = 0;
    well = well && measure_events(&workload->load, broker, ret_sample);
    crew_end();
    value_is_cpu(ret_sample);
    return well;
}

bool run_curve_topics(const struct workload *workload, struct broker *broker, size_t point,
                      struct sample *ret_sample)
{
    struct load load = workload->load;

    load.topics = point;
    crew_begin(load.pinned, broker->pid);
    bool well = measure_events(&load, broker, ret_sample);
    crew_end();
    value_is_cpu(ret_sample);
    return well;
}

bool run_curve_receivers(const struct workload *workload, struct broker *broker, size_t point,
                         struct sample *ret_sample)
{
    struct load load = workload->load;

    load.connections = (unsigned)point;
    crew_begin(load.pinned, broker->pid);
    bool well = measure_events(&load, broker, ret_sample);
    crew_end();
    return well;
}

bool run_curve_connections(const struct workload *workload, struct broker *broker, size_t point,
                           struct sample *ret_sample)
{
    crew_begin(workload->load.pinned, broker->pid);
    bool well =
        hold_connections(broker, point, NULL) && measure_calls(&workload->load, broker, ret_sample);
    crew_end();
    return well;
}

bool run_curve_bodies(const struct workload *workload, struct broker *broker, size_t point,
                      struct sample *ret_sample)
{
    struct load load = workload->load;

    load.size = point * 1024;
    crew_begin(load.pinned, broker->pid);
    bool well = measure_calls(&load, broker, ret_sample);
    crew_end();
    return well;
}

bool run_curve_names(const struct workload *workload, struct broker *broker, size_t point,
                     struct sample *ret_sample)
{
    struct load load = workload->load;

    load.names = point;
    crew_begin(load.pinned, broker->pid);
    bool well = measure_calls(&load, broker, ret_sample);
    crew_end();
    return well;
}
