/* SPDX-License-Identifier: MIT */
/*
 * Values that outlive the bus, by the library and with a real bus: there again after a
 * start, and an error when there is no disk for them.
 */
#include <bus/bus.h>
#include <signal.h>
#include <string.h>

#include "tests/support/busd.h"
#include "tests/support/unit.h"

#define CONFIG "{'state':'DIR/state','listeners':[{'address':'unix:DIR/bus'}]}"

static struct bus *connect_to(const struct busd *busd)
{
    struct bus *bus = NULL;

    assert_int_equal(bus_connect(&bus, busd->address), 0);
    return bus;
}

static void publish(struct bus *bus, const char *topic, enum bus_retain level, const char *body)
{
    struct bus_message *event;

    assert_int_equal(bus_message_new_event(bus, topic, &event), 0);
    assert_int_equal(bus_message_set_retain(event, level), 0);
    assert_int_equal(bus_message_set_body_text(event, body, BUS_NUL_TERMINATED), 0);
    assert_int_equal(bus_send(event), 0);
    bus_message_unref(event);
}

/* NULL as body: there is none. */
static void expect_last(struct bus *bus, const char *topic, const char *body)
{
    struct bus_message *value;
    size_t size;

    assert_int_equal(bus_get_retained(bus, topic, NULL, &value), body ? 1 : 0);
    if (!body)
        return;
    const char *text = bus_message_body_text(value, &size);
    assert_int_equal(size, strlen(body));
    assert_memory_equal(text, body, size);
    assert_int_equal(bus_message_retain(value), BUS_RETAIN_DISK);
    assert_string_equal(bus_message_sender(value), "bus");
    bus_message_unref(value);
}

static void test_there_again(void **state)
{
    struct busd busd;

    assert_int_equal(busd_start_configured(&busd, CONFIG, NULL), 0);
    struct bus *bus = connect_to(&busd);
    publish(bus, "a.disk", BUS_RETAIN_DISK, "[1,2]");
    publish(bus, "a.bus", BUS_RETAIN_BUS, "3");
    publish(bus, "a.gone", BUS_RETAIN_DISK, "4");
    publish(bus, "a.gone", BUS_RETAIN_DISK, "null");
    assert_int_equal(bus_flush(bus, 10000), 0);
    assert_int_equal(busd_restart(&busd, SIGTERM), 0);
    bus_close(bus);

    bus = connect_to(&busd);
    expect_last(bus, "a.disk", "[1,2]");
    expect_last(bus, "a.bus", NULL);
    expect_last(bus, "a.gone", NULL);
    publish(bus, "a.disk", BUS_RETAIN_BUS, "5");
    assert_int_equal(bus_flush(bus, 10000), 0);
    assert_int_equal(busd_restart(&busd, SIGTERM), 0);
    bus_close(bus);

    bus = connect_to(&busd);
    expect_last(bus, "a.disk", NULL);
    bus_close(bus);
    assert_int_equal(busd_stop(&busd), 0);
}

static void on_error(struct bus *bus, const struct bus_error *error, void *userdata)
{
    unsigned *errors = userdata;

    assert_string_equal(error->name, BUS_ERROR_STORAGE_FAILED);
    ++*errors;
}

static void test_no_disk(void **state)
{
    struct busd busd;
    unsigned errors = 0;
    struct bus_message *value;

    assert_int_equal(busd_start(&busd, NULL), 0);
    struct bus *bus = connect_to(&busd);
    bus_set_error_handler(bus, on_error, &errors);
    publish(bus, "a.disk", BUS_RETAIN_DISK, "1");
    assert_int_equal(bus_get_retained(bus, "a.disk", NULL, &value), 1);
    bus_message_unref(value);
    while (bus_process(bus) > 0)
        continue;
    assert_int_equal(errors, 1);
    bus_close(bus);
    assert_int_equal(busd_stop(&busd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_again),
        cmocka_unit_test(test_no_disk),
    };

    return cmocka_run_group_tests_name("client-disk", tests, NULL, NULL);
}
