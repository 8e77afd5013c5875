/* SPDX-License-Identifier: MIT */
/* Properties by the library on both sides, and the tables that it does not take. */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/support/busd.h"
#include "tests/unit/client-fixture.h"

#define NAME    "org.example.Lamp"
#define CLIENTS 200
#define CHANGES 20000
/* So many changes the service may be ahead of the slowest client, so that none is dropped. */
#define AHEAD 100

/* ----------------------------------------------------- a scripted bus */

static int accept_value(struct bus_message *call, const char *property, const char *text,
                        size_t size, void *userdata)
{
    return 0;
}

static void test_wrong_tables(void **state)
{
    static const struct {
        struct bus_property row;
        int result;
        const char *why;
    } wrong[] = {
        {{"a.b", 0, NULL, NULL, NULL}, -EINVAL, "no dots"},
        {{"a*", 0, NULL, NULL, NULL}, -EINVAL, "no property"},
        {{"a", 2, NULL, NULL, NULL}, -EINVAL, "flags"},
        {{"a", BUS_PROPERTY_CONSTANT, accept_value, NULL, NULL}, -EINVAL, "constant"},
        {{"a", 0, NULL, "{\"a\"", NULL}, -EBADMSG, ""},
        {{"b", 0, NULL, NULL, NULL}, -EINVAL, "twice"},
    };
    static const struct bus_method none[] = {BUS_METHOD_END};
    struct bus_error error = BUS_ERROR_INIT;
    struct fixture f;

    fixture_begin(&f);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct bus_property table[] = {{"b", 0, NULL, "1", NULL}, wrong[i].row, BUS_PROPERTY_END};
        struct bus_service_options options = {.properties = table};
        assert_int_equal(bus_serve_with(f.bus, NAME, &options, none, NULL, NULL, &error),
                         wrong[i].result);
        assert_non_null(strstr(error.message, wrong[i].why));
    }
    struct bus_property table[] = {{"b", 0, NULL, "1", NULL}, BUS_PROPERTY_END};
    struct bus_service_options options = {.properties = table, .name_flags = BUS_NAME_SHARED};
    assert_int_equal(bus_serve_with(f.bus, NAME, &options, none, NULL, NULL, &error), -EINVAL);
    assert_non_null(strstr(error.message, "shared"));
    options.name_flags = 0;
    assert_int_equal(bus_serve_with(f.bus, NULL, &options, none, NULL, NULL, &error), -EINVAL);
    assert_non_null(strstr(error.message, "without a name"));
    fixture_pump(&f);
    fixture_expect_nothing(&f);
    fixture_end(&f);
}

/* Halves of JSON do not become a whole one on the way. */
static void test_wrong_values(void **state)
{
    struct bus_error error = BUS_ERROR_INIT;
    struct bus_message *value;
    struct fixture f;

    fixture_begin(&f);
    assert_int_equal(
        bus_property_set_text(f.bus, NAME, "a", "1,\"property\":\"b\"", 16, 100, &error), -EBADMSG);
    assert_int_equal(bus_property_set_text(f.bus, "x", "a.b", "1", 1, 100, &error), -EINVAL);
    assert_int_equal(bus_property_get(f.bus, "org..x", "a", &error, &value), -EINVAL);
    assert_int_equal(bus_property_get(f.bus, NAME, NULL, &error, &value), -EINVAL);
    assert_int_equal(bus_property_watch(f.bus, NULL, NULL, diary_message, NULL, NULL, &error),
                     -EINVAL);
    assert_int_equal(bus_set_property_text(NULL, "a", "1", 1), -EINVAL);
    fixture_pump(&f);
    fixture_expect_nothing(&f);
    fixture_end(&f);
}

/* ---------------------------------------------------------- a real bus */

/* A service that runs in a thread of its own. */
struct lamp {
    const char *address;
    pthread_t thread;
    struct bus *bus;
    struct bus_slot *slot;
    struct bus_message *kept;
    atomic_bool ready;
    atomic_int allowed; /* how far the race may go */
};

static int set_later(struct bus_message *call, const char *property, const char *text, size_t size,
                     void *userdata)
{
    struct lamp *lamp = userdata;

    if (strcmp(text, "0") == 0)
        return bus_reply_error(call, "org.example.Dark", "not that");
    lamp->kept = bus_message_ref(call);
    return 1;
}

static int give(struct bus_message *call, const char *name, const char *property, const char *text)
{
    return bus_property_set_text(bus_message_bus(call), name, property, text, BUS_NUL_TERMINATED,
                                 1000, NULL);
}

/* Finishes what set_later() has begun. */
static int finish(struct bus_message *call, void *userdata)
{
    struct lamp *lamp = userdata;

    assert_int_equal(bus_set_property_take(lamp->slot, "later", json_integer(7)), 0);
    assert_int_equal(bus_reply_text(lamp->kept, "{}", 2), 0);
    lamp->kept = bus_message_unref(lamp->kept);
    return bus_reply_text(call, "{}", 2);
}

static int constant(struct bus_message *call, void *userdata)
{
    struct lamp *lamp = userdata;

    assert_int_equal(bus_set_property(lamp->slot, "serial", NULL), 0);
    assert_int_equal(bus_set_property_text(lamp->slot, "serial", " 5\n", 3), 0);
    assert_int_equal(bus_set_property_text(lamp->slot, "serial", "5", 1), 0);
    assert_int_equal(bus_set_property_text(lamp->slot, "serial", "6", 1), -EPERM);
    assert_int_equal(bus_set_property_text(lamp->slot, "level", "{", 1), -EBADMSG);
    assert_int_equal(bus_set_property_text(lamp->slot, "colour", "1", 1), -EINVAL);
    assert_int_equal(bus_set_property_text(lamp->slot, NULL, "1", 1), -EINVAL);
    assert_int_equal(give(call, NAME, "a.b", "1"), -EINVAL);
    return bus_reply_text(call, "{}", 2);
}

/* Values at full speed, and their end. */
static int race(struct bus_message *call, void *userdata)
{
    struct lamp *lamp = userdata;
    char text[16];

    assert_int_equal(bus_reply_text(call, "{}", 2), 0);
    for (int n = 1; n <= CHANGES; n++) {
        while (n > lamp->allowed) {
            assert_int_equal(bus_flush(lamp->bus, 5000), 0);
            poll(NULL, 0, 1);
        }
        snprintf(text, sizeof(text), "%d", n);
        assert_int_equal(bus_set_property_text(lamp->slot, "level", text, BUS_NUL_TERMINATED), 0);
    }
    return 0;
}

static int end(struct bus_message *call, void *userdata)
{
    struct lamp *lamp = userdata;

    lamp->slot = bus_slot_free(lamp->slot);
    bus_stop(lamp->bus);
    return bus_reply_text(call, "{}", 2);
}

/* The handler may free the service; the caller is told something. */
static int set_and_end(struct bus_message *call, const char *property, const char *text,
                       size_t size, void *userdata)
{
    struct lamp *lamp = userdata;

    lamp->slot = bus_slot_free(lamp->slot);
    bus_stop(lamp->bus);
    return 0;
}

static void *lamp_run(void *userdata)
{
    static const struct bus_method methods[] = {
        {"Finish", finish, 0, NULL},
        {"Constant", constant, 0, NULL},
        {"Race", race, 0, NULL},
        {"End", end, 0, NULL},
        BUS_METHOD_END,
    };
    static const struct bus_property properties[] = {
        {"level", 0, accept_value, "0", NULL}, {"later", 0, set_later, NULL, NULL},
        {"hours", 0, NULL, "3", NULL},         {"serial", BUS_PROPERTY_CONSTANT, NULL, NULL, NULL},
        {"life", 0, set_and_end, "1", NULL},   BUS_PROPERTY_END,
    };
    static const struct bus_service_options options = {.channels = 1, .properties = properties};
    struct lamp *lamp = userdata;

    assert_int_equal(bus_connect(&lamp->bus, lamp->address), 0);
    assert_int_equal(bus_serve_with(lamp->bus, NAME, &options, methods, lamp, &lamp->slot, NULL),
                     0);
    lamp->ready = true;
    bus_run(lamp->bus);
    bus_close(lamp->bus);
    bus_slot_free(lamp->slot);
    return NULL;
}

static void lamp_begin(struct lamp *lamp, const char *address)
{
    *lamp = (struct lamp){.address = address};
    assert_int_equal(pthread_create(&lamp->thread, NULL, lamp_run, lamp), 0);
    while (!lamp->ready)
        poll(NULL, 0, 1);
}

static void lamp_end(struct lamp *lamp)
{
    assert_int_equal(pthread_join(lamp->thread, NULL), 0);
}

static int set(struct bus *bus, const char *property, const char *text, struct bus_error *error)
{
    return bus_property_set_text(bus, NAME, property, text, BUS_NUL_TERMINATED, 5000, error);
}

static void ask(struct bus *bus, const char *method)
{
    assert_int_equal(bus_call_text(bus, NAME, method, NULL, 0, 5000, NULL, NULL), 0);
}

static void run_while_idle(struct bus *bus)
{
    while (bus_wait(bus, 100) > 0)
        bus_process(bus);
}

/* The body of the value, "none" without one. */
static void expect_property(struct bus *bus, const char *property, const char *expected)
{
    struct bus_message *value = NULL;
    size_t size = 4;
    const char *text = "none";
    int r = bus_property_get(bus, NAME, property, NULL, &value);

    if (r > 0)
        text = bus_message_body_text(value, &size);
    assert_in_range(r, 0, 1);
    CHECK(size == strlen(expected) && memcmp(text, expected, size) == 0, "%s is %.*s", property,
          (int)size, text);
    bus_message_unref(value);
}

static void test_both_sides(void **state)
{
    struct bus_error error = BUS_ERROR_INIT;
    struct diary diary = {0}, answer = {0};
    struct bus_slot *slot, *one;
    struct lamp lamp;
    struct busd busd;
    struct bus *bus;

    assert_int_equal(busd_start(&busd, NULL), 0);
    assert_int_equal(bus_connect(&bus, busd.address), 0);
    expect_property(bus, "level", "none");
    assert_int_equal(set(bus, "level", "1", &error), -ENXIO);
    /* What others leave there is not the service's. */
    struct bus_message *event;
    assert_int_equal(bus_message_new_event(bus, NAME ".later", &event), 0);
    assert_int_equal(bus_message_set_retain(event, BUS_RETAIN_BUS), 0);
    assert_int_equal(bus_message_set_body_text(event, "1", 1), 0);
    assert_int_equal(bus_publish_message(event, 5000, NULL, NULL), 0);
    bus_message_unref(event);
    expect_property(bus, "later", "none");
    lamp_begin(&lamp, busd.address);
    expect_property(bus, "level", "0");
    expect_property(bus, "later", "none");
    assert_int_equal(bus_property_watch(bus, NAME, NULL, diary_message, &diary, &slot, NULL), 0);
    assert_int_equal(bus_property_watch(bus, NAME, "hours", diary_message, &diary, &one, NULL), 0);
    run_while_idle(bus);
    diary_expect(&diary, NAME ".hours 3 retained\n" NAME ".level 0 retained\n" NAME
                              ".life 1 retained\n" NAME ".hours 3 retained\n");
    for (int i = 1; i <= 50; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        assert_int_equal(set(bus, "level", text, &error), 0);
        expect_property(bus, "level", text);
    }
    assert_int_equal(set(bus, "level", NULL, &error), 0);
    expect_property(bus, "level", "none");
    assert_int_equal(set(bus, "hours", "4", &error), -EACCES);
    assert_string_equal(error.message,
                        "property 'hours' of " NAME " is read-only: only the service changes it");
    assert_int_equal(set(bus, "serial", "4", &error), -EACCES);
    assert_int_equal(set(bus, "colour", "4", &error), -EINVAL);
    assert_non_null(strstr(error.message, "it has: level, later, hours, serial, life"));
    /* Where its value would not come from. */
    struct bus *channel;
    assert_int_equal(bus_channel_open(bus, NAME, 5000, &channel, &error), 1);
    assert_int_equal(set(channel, "level", "4", &error), -EOPNOTSUPP);
    assert_non_null(strstr(error.message, "set by way of the bus"));
    bus_channel_close(channel);
    ask(bus, "Constant");
    expect_property(bus, "serial", "5");

    assert_int_equal(set(bus, "later", "0", &error), -EREMOTEIO);
    assert_string_equal(error.name, "org.example.Dark");
    assert_int_equal(bus_call_text_async(bus, NAME, "Set", "{\"property\":\"later\",\"value\":8}",
                                         BUS_NUL_TERMINATED, 5000, diary_message, &answer, NULL),
                     0);
    ask(bus, "Finish");
    run_while_idle(bus);
    diary_expect(&answer, "reply {}\n");
    expect_property(bus, "later", "7");
    bus_slot_free(slot);
    diary = (struct diary){0};
    assert_int_equal(set(bus, "life", "0", &error), -EREMOTEIO);
    assert_string_equal(error.name, "errno.ECANCELED");
    lamp_end(&lamp);
    run_while_idle(bus);
    diary_expect(&diary, NAME ".hours null\n");
    expect_property(bus, "life", "none");
    bus_slot_free(one);
    bus_close(bus);
    assert_int_equal(busd_stop(&busd), 0);
}

/* What a client has seen. */
struct watcher {
    struct bus *bus;
    int values; /* retained ones */
    int first;
    int seen; /* the last value; -1: none */
    bool over;
};

static void on_level(struct bus_message *event, void *userdata)
{
    struct watcher *watcher = userdata;
    const json_t *body = bus_message_body(event);

    assert_false(watcher->over);
    if (json_is_null(body)) {
        watcher->over = true;
        return;
    }
    int n = (int)json_integer_value(body);
    watcher->values += bus_message_is_retained(event);
    CHECK(bus_message_is_retained(event) ? watcher->seen < 0 : n == watcher->seen + 1,
          "after %d comes %d", watcher->seen, n);
    watcher->first = watcher->seen < 0 ? n : watcher->first;
    watcher->seen = n;
}

static void process(struct watcher *watcher)
{
    while (bus_wait(watcher->bus, 0) > 0)
        assert_true(bus_process(watcher->bus) >= 0);
}

/* Whoever begins to watch while the value changes sees a piece of its history that goes on to
 * its end, and what is read is never older than what has been seen. */
static void test_race(void **state)
{
    static struct watcher watchers[CLIENTS];
    uint64_t deadline = fixture_now() + 60000;
    int count = 0, slowest = 0;
    struct lamp lamp;
    struct busd busd;

    assert_int_equal(busd_start(&busd, NULL), 0);
    lamp_begin(&lamp, busd.address);
    while (slowest < CHANGES) {
        assert_true(fixture_now() < deadline);
        if (count < CLIENTS) {
            struct watcher *watcher = &watchers[count++];
            *watcher = (struct watcher){.seen = -1};
            assert_int_equal(bus_connect(&watcher->bus, busd.address), 0);
            if (count == 1)
                ask(watcher->bus, "Race");
            assert_int_equal(
                bus_property_watch(watcher->bus, NAME, "level", on_level, watcher, NULL, NULL), 0);
            process(watcher);
            struct bus_message *value;
            assert_int_equal(bus_property_get(watcher->bus, NAME, "level", NULL, &value), 1);
            assert_true(json_integer_value(bus_message_body(value)) >= watcher->seen);
            bus_message_unref(value);
        }
        slowest = CHANGES;
        for (int i = 0; i < count; i++) {
            process(&watchers[i]);
            slowest = watchers[i].seen < slowest ? watchers[i].seen : slowest;
        }
        /* While clients still come the end may not. */
        int allowed = slowest + AHEAD;
        lamp.allowed = count < CLIENTS && allowed >= CHANGES ? CHANGES - 1 : allowed;
        if (count == CLIENTS && slowest == CHANGES)
            break;
        slowest = count < CLIENTS ? 0 : slowest;
    }
    ask(watchers[0].bus, "End");
    lamp_end(&lamp);
    int midway = 0;
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(bus_call_text(watchers[i].bus, "bus", "Ping", NULL, 0, 5000, NULL, NULL),
                         0);
        process(&watchers[i]);
        assert_true(watchers[i].over);
        midway += watchers[i].first > 0 && watchers[i].first < CHANGES - 1;
        assert_int_equal(watchers[i].values, 1);
        assert_int_equal(watchers[i].seen, CHANGES);
        bus_close(watchers[i].bus);
    }
    print_message("%d of %d began while it changed\n", midway, CLIENTS);
    assert_true(midway > CLIENTS / 2);
    assert_int_equal(busd_stop(&busd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_tables),
        cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_both_sides),
        cmocka_unit_test(test_race),
    };

    return cmocka_run_group_tests_name("client-properties", tests, NULL, NULL);
}
