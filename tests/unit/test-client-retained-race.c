/* SPDX-License-Identifier: MIT */
/*
 * A publisher changes values as fast as it can while a thousand subscriptions of the
 * library begin on several connections: each handler is given the values there are, and
 * then a piece of the publisher's history without a gap and without a double.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"
#include "libbus/base/macros.h"
#include "tests/support/busd.h"
#include "tests/support/history.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

#define SEED          1905
#define CONNECTIONS   8
#define SUBSCRIPTIONS 1000
#define ALL           ((1u << HISTORY_TOPICS) - 1)
/* Steps that the publisher may be ahead of the slowest. */
#define AHEAD 4

/* What one subscription sees. */
struct listener {
    struct connection *connection;
    struct view view;
    unsigned topics;
    unsigned values; /* still to come */
    struct bus_slot *slot;
};

struct connection {
    struct bus *bus;
    uint64_t seen; /* the n of the newest event */
};

static struct connection connections[CONNECTIONS];
static struct listener listeners[SUBSCRIPTIONS];

static void on_event(struct bus_message *event, void *userdata)
{
    struct listener *listener = userdata;
    size_t size;
    const char *text = bus_message_header(event, "n", &size);
    unsigned topic;

    CHECK(sscanf(bus_message_topic(event), "h.%u", &topic) == 1 && topic < HISTORY_TOPICS,
          "an event of '%s'", bus_message_topic(event));
    assert_non_null(text);
    assert_true(listener->topics & 1u << topic);
    uint64_t n = strtoull(text, NULL, 10);
    CHECK(bus_message_is_retained(event) == (listener->values > 0), "%u values are to come",
          listener->values);
    listener->connection->seen = MAX(listener->connection->seen, n);
    if (listener->values == 0) {
        view_event(&listener->view, topic, n);
        return;
    }
    view_value(&listener->view, topic, n);
    if (--listener->values == 0)
        view_end(&listener->view);
}

/* How many values come is known when it returns, before the first of them is handed
 * out. */
static void subscribe(struct connection *connection, struct listener *listener, unsigned topic)
{
    char pattern[16] = "h.*";

    if (topic < HISTORY_TOPICS)
        snprintf(pattern, sizeof(pattern), "h.%u", topic);
    listener->connection = connection;
    listener->topics = topic < HISTORY_TOPICS ? 1u << topic : ALL;
    int r = bus_subscribe_with(connection->bus, pattern, NULL, on_event, listener, &listener->slot,
                               NULL);
    CHECK(r >= 0, "Subscribe: %s", strerror(-r));
    listener->values = (unsigned)r;
    view_begin(&listener->view, listener->topics);
    if (r == 0)
        view_end(&listener->view);
}

static void process_all(void)
{
    for (unsigned i = 0; i < CONNECTIONS; i++)
        while (bus_wait(connections[i].bus, 0) > 0)
            assert_true(bus_process(connections[i].bus) >= 0);
}

static uint64_t slowest(void)
{
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < CONNECTIONS; i++)
        least = MIN(least, connections[i].seen);
    return least;
}

static void finish(void)
{
    for (unsigned i = 0; i < CONNECTIONS; i++)
        assert_int_equal(bus_call_text(connections[i].bus, "bus", "Ping", NULL, 0,
                                       BUS_TIMEOUT_DEFAULT, NULL, NULL),
                         0);
    process_all();
}

static void test_race(void **state)
{
    struct random random = {.state = SEED};
    uint64_t steps = 0, values = 0, seen = 0;
    struct history history;
    struct busd busd;
    unsigned count = 0;

    assert_int_equal(busd_start(&busd, NULL), 0);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        assert_int_equal(bus_connect(&connections[i].bus, busd.address), 0);
        subscribe(&connections[i], &listeners[count++], HISTORY_TOPICS);
    }
    history_begin(&history, busd.path);
    while (count < SUBSCRIPTIONS) {
        uint64_t may = slowest() * HISTORY_TOPICS / HISTORY_STEP + AHEAD;
        if (may > steps)
            history_allow(&history, (unsigned)(may - steps));
        steps = MAX(steps, may);
        for (unsigned i = 0; i < CONNECTIONS && count < SUBSCRIPTIONS; i++) {
            unsigned topic = random_below(&random, HISTORY_TOPICS + 1);
            subscribe(&connections[i], &listeners[count], topic);
            values += listeners[count++].values;
        }
        process_all();
    }
    history_end(&history);
    finish();
    for (unsigned i = 0; i < SUBSCRIPTIONS; i++) {
        assert_int_equal(listeners[i].values, 0);
        seen += listeners[i].view.seen;
        bus_slot_free(listeners[i].slot);
    }
    for (unsigned i = 0; i < CONNECTIONS; i++)
        bus_close(connections[i].bus);
    print_message("seed %d: %llu values in snapshots, %llu values and events in all\n", SEED,
                  (unsigned long long)values, (unsigned long long)seen);
    assert_true(values > SUBSCRIPTIONS && seen > 10 * values);
    assert_int_equal(busd_stop(&busd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_race)};

    return cmocka_run_group_tests_name("client-retained-race", tests, NULL, NULL);
}
