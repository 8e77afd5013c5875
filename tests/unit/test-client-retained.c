/* SPDX-License-Identifier: MIT */
/*
 * Last values by the library: what it writes and what it makes of the answers, with a
 * scripted bus; and the same with a real one.
 */
#include "tests/support/busd.h"
#include "tests/unit/client-fixture.h"

static void say_reply(struct fixture *f, int id, const char *body)
{
    fixture_say(f, "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":%d,\"body\":%s}", id, body);
}

static void say_value(struct fixture *f, const char *topic, const char *body)
{
    fixture_say(f,
                "{\"sender\":\":7\",\"retained\":true,\"type\":\"event\",\"topic\":\"%s\","
                "\"retain\":\"bus\",\"body\":%s}",
                topic, body);
}

static void say_event(struct fixture *f, const char *topic, const char *body)
{
    fixture_say(f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"%s\",\"body\":%s}", topic,
                body);
}

static struct bus_message *new_event(struct fixture *f)
{
    struct bus_message *event;

    assert_int_equal(bus_message_new_event(f->bus, "t", &event), 0);
    return event;
}

static void test_publish(void **state)
{
    static const struct {
        enum bus_retain level;
        const char *name;
    } levels[] = {
        {BUS_RETAIN_CONNECTION, "connection"}, {BUS_RETAIN_BUS, "bus"}, {BUS_RETAIN_DISK, "disk"}};
    struct fixture f;

    fixture_begin(&f);
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        char expected[128];
        struct bus_message *event = new_event(&f);
        assert_int_equal(bus_message_set_retain(event, levels[i].level), 0);
        assert_int_equal(bus_message_retain(event), levels[i].level);
        assert_int_equal(bus_message_set_ttl(event, i + 1), 0);
        assert_int_equal(bus_message_set_body_text(event, "5", 1), 0);
        assert_int_equal(bus_send(event), 0);
        assert_int_equal(bus_message_set_retain(event, levels[i].level), -EINVAL);
        assert_int_equal(bus_message_set_ttl(event, 1), -EINVAL);
        bus_message_unref(event);
        assert_int_equal(bus_flush(f.bus, 1000), 0);
        snprintf(expected, sizeof(expected),
                 "{\"type\":\"event\",\"topic\":\"t\",\"retain\":\"%s\",\"ttl\":%zu,\"body\":5}",
                 levels[i].name, i + 1);
        fixture_expect(&f, expected);
    }
    fixture_end(&f);
}

static void test_wrong(void **state)
{
    struct fixture f;
    struct bus_message *call, *event;

    fixture_begin(&f);
    event = new_event(&f);
    assert_int_equal(bus_message_set_retain(event, (enum bus_retain)4), -EINVAL);
    assert_int_equal(bus_message_set_ttl(event, 0), -EINVAL);
    assert_int_equal(bus_message_set_ttl(event, UINT64_C(1) << 53), -EINVAL);
    assert_int_equal(bus_message_set_retain(event, BUS_RETAIN_BUS), 0);
    assert_int_equal(bus_message_set_retain(event, BUS_RETAIN_NO), 0);
    assert_int_equal(bus_message_retain(event), BUS_RETAIN_NO);
    assert_int_equal(bus_message_new_call(f.bus, "bus", "Ping", &call), 0);
    assert_int_equal(bus_message_set_retain(call, BUS_RETAIN_BUS), -EINVAL);
    assert_int_equal(bus_message_set_ttl(call, 1), -EINVAL);
    assert_int_equal(bus_send(event), 0);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"t\"}");
    bus_message_unref(call);
    bus_message_unref(event);
    fixture_end(&f);
}

static int subscribe(struct fixture *f, enum bus_retained retained, const char *sender,
                     struct diary *diary, struct bus_slot **ret_slot)
{
    struct bus_subscription_options options = {.sender = sender, .retained = retained};

    return bus_subscribe_with(f->bus, "a.*", &options, diary_message, diary, ret_slot, NULL);
}

static void test_modes(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_slot *no, *only;

    fixture_begin(&f);
    say_reply(&f, 1, "{\"subscription\":1,\"retained\":2}");
    assert_int_equal(subscribe(&f, BUS_RETAINED_FIRST, NULL, &diary, NULL), 2);
    say_value(&f, "a.1", "1");
    say_value(&f, "a.2", "2");
    say_reply(&f, 2, "{\"subscription\":2,\"retained\":0}");
    assert_int_equal(subscribe(&f, BUS_RETAINED_NO, ":7", &diary, &no), 0);
    say_reply(&f, 3, "{\"retained\":1}");
    assert_int_equal(subscribe(&f, BUS_RETAINED_ONLY, "org.example.A", &diary, &only), 1);
    say_value(&f, "a.1", "3");
    say_event(&f, "a.3", "4");
    fixture_pump(&f);
    diary_expect(&diary, "a.1 1 retained\na.2 2 retained\na.1 3 retained\na.3 4\na.3 4\n");
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"id\":1,\"method\":\"Subscribe\","
                       "\"body\":{\"topic\":\"a.*\"}}");
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"id\":2,\"method\":\"Subscribe\","
                       "\"body\":{\"topic\":\"a.*\",\"sender\":\":7\",\"retained\":false}}");
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"id\":3,\"method\":\"Subscribe\","
                       "\"body\":{\"topic\":\"a.*\",\"sender\":\"org.example.A\","
                       "\"retained\":\"only\"}}");
    /* It has ended by itself, and left nothing at the bus. */
    bus_slot_free(only);
    fixture_pump(&f);
    fixture_expect_nothing(&f);
    bus_slot_free(no);
    fixture_pump(&f);
    free(fixture_hear(&f));
    fixture_end(&f);
}

static void test_only_without_values(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_slot *slot;

    fixture_begin(&f);
    say_reply(&f, 1, "{\"retained\":0}");
    assert_int_equal(subscribe(&f, BUS_RETAINED_ONLY, "org.example.A", &diary, &slot), 0);
    say_event(&f, "a.1", "1");
    fixture_pump(&f);
    diary_expect(&diary, "");
    bus_slot_free(slot);
    say_reply(&f, 2, "{\"retained\":0}");
    assert_int_equal(subscribe(&f, BUS_RETAINED_ONLY, NULL, &diary, NULL), 0);
    assert_int_equal(subscribe(&f, (enum bus_retained)3, NULL, &diary, NULL), -EINVAL);
    free(fixture_hear(&f));
    free(fixture_hear(&f));
    fixture_expect_nothing(&f);
    fixture_end(&f);
}

/* Freed in its own callback, or before the bus has answered. */
static void free_slot(struct bus_message *message, void *userdata)
{
    struct bus_slot **slot = userdata;

    *slot = bus_slot_free(*slot);
}

static void test_only_freed(void **state)
{
    const struct bus_subscription_options only = {.retained = BUS_RETAINED_ONLY};
    struct fixture f;
    struct bus_slot *slot;

    fixture_begin(&f);
    assert_int_equal(bus_subscribe_with_async(f.bus, "a.*", &only, free_slot, &slot, &slot), 0);
    say_reply(&f, 1, "{\"retained\":2}");
    say_value(&f, "a.1", "1");
    say_value(&f, "a.2", "2");
    fixture_pump(&f);
    assert_null(slot);
    assert_int_equal(bus_subscribe_with_async(f.bus, "a.*", &only, free_slot, &slot, &slot), 0);
    bus_slot_free(slot);
    say_reply(&f, 2, "{\"retained\":1}");
    say_value(&f, "a.1", "1");
    fixture_pump(&f);
    free(fixture_hear(&f));
    free(fixture_hear(&f));
    fixture_expect_nothing(&f);
    fixture_end(&f);
}

static void test_get(void **state)
{
    struct fixture f;
    struct bus_error error = BUS_ERROR_INIT;
    struct bus_message *value;
    struct diary diary = {0};

    fixture_begin(&f);
    say_reply(&f, 1, "{\"retained\":1}");
    say_value(&f, "a.b", "{\"x\":1}");
    assert_int_equal(bus_get_retained(f.bus, "a.b", &error, &value), 1);
    diary_message(value, &diary);
    assert_int_equal(bus_message_retain(value), BUS_RETAIN_BUS);
    bus_message_unref(value);
    diary_expect(&diary, "a.b {\"x\":1} retained\n");
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"id\":1,\"method\":\"Subscribe\","
                       "\"body\":{\"topic\":\"a.b\",\"retained\":\"only\"}}");
    say_reply(&f, 2, "{\"retained\":0}");
    assert_int_equal(bus_get_retained(f.bus, "a.b", &error, &value), 0);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"error\",\"error\":\"bus.AccessDenied\","
                    "\"id\":3,\"message\":\"no\"}");
    assert_int_equal(bus_get_retained(f.bus, "a.b", &error, &value), -EACCES);
    assert_string_equal(error.message, "no");
    assert_int_equal(bus_get_retained(f.bus, "a.*", &error, &value), -EINVAL);
    assert_int_equal(bus_get_retained(f.bus, NULL, &error, &value), -EINVAL);
    /* More than were announced, or than there can be. */
    say_reply(&f, 4, "{\"retained\":2}");
    say_value(&f, "a.b", "1");
    say_value(&f, "a.b", "2");
    assert_int_equal(bus_get_retained(f.bus, "a.b", &error, &value), 1);
    bus_message_unref(value);
    fixture_pump(&f);
    say_reply(&f, 5, "{\"retained\":1}");
    fixture_hang_up(&f);
    assert_int_equal(bus_get_retained(f.bus, "a.b", &error, &value), -ECONNRESET);
    fixture_end(&f);
}

static void note_count(struct bus *bus, const char *topic, uint64_t count, void *userdata)
{
    diary_note(userdata, "%s %llu", topic, (unsigned long long)count);
}

static void test_watch(void **state)
{
    struct fixture f;
    struct bus_error error = BUS_ERROR_INIT;
    struct diary diary = {0};
    struct bus_slot *slot;
    char longest[241];

    fixture_begin(&f);
    say_reply(&f, 1, "{\"subscription\":1,\"retained\":1}");
    assert_int_equal(bus_watch_subscribers(f.bus, "t.x", note_count, &diary, &slot, &error), 0);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"event\",\"topic\":\"bus.subscribers.t.x\","
                    "\"retained\":true,\"body\":{\"count\":0}}");
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"event\",\"topic\":\"bus.subscribers.t.x\","
                    "\"body\":{\"count\":3}}");
    fixture_pump(&f);
    diary_expect(&diary, "t.x 0\nt.x 3\n");
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"id\":1,\"method\":\"Subscribe\","
                       "\"body\":{\"topic\":\"bus.subscribers.t.x\"}}");
    bus_slot_free(slot);
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(bus_watch_subscribers(f.bus, longest, note_count, &diary, &slot, &error),
                     -EINVAL);
    assert_non_null(strstr(error.message, "239"));
    assert_int_equal(bus_watch_subscribers(f.bus, "t.*", note_count, &diary, &slot, &error),
                     -EINVAL);
    assert_int_equal(bus_watch_subscribers(f.bus, "t", NULL, &diary, &slot, &error), -EINVAL);
    fixture_end(&f);
}

/* ---------------------------------------------------------- a real bus */

static void run_while_idle(struct bus *bus)
{
    while (bus_wait(bus, 100) > 0)
        bus_process(bus);
}

static void publish(struct bus *bus, const char *topic, enum bus_retain level, const char *body)
{
    struct bus_message *event;

    assert_int_equal(bus_message_new_event(bus, topic, &event), 0);
    assert_int_equal(bus_message_set_retain(event, level), 0);
    assert_int_equal(bus_message_set_body_text(event, body, BUS_NUL_TERMINATED), 0);
    assert_int_equal(bus_send(event), 0);
    bus_message_unref(event);
    assert_int_equal(bus_call_text(bus, "bus", "Ping", NULL, 0, BUS_TIMEOUT_DEFAULT, NULL, NULL),
                     0);
}

static void test_with_a_bus(void **state)
{
    struct diary diary = {0}, counts = {0};
    struct bus_message *value;
    struct busd busd;
    struct bus *a, *b;

    assert_int_equal(busd_start(&busd, NULL), 0);
    assert_int_equal(bus_connect(&a, busd.address), 0);
    assert_int_equal(bus_connect(&b, busd.address), 0);
    assert_int_equal(bus_watch_subscribers(a, "t.x", note_count, &counts, NULL, NULL), 0);
    publish(a, "t.x", BUS_RETAIN_CONNECTION, "1");
    publish(a, "t.y", BUS_RETAIN_BUS, "2");
    assert_int_equal(bus_get_retained(b, "t.x", NULL, &value), 1);
    diary_message(value, &diary);
    bus_message_unref(value);
    assert_int_equal(bus_get_retained(b, "t.z", NULL, &value), 0);
    assert_int_equal(bus_subscribe_with(b, "t.*", NULL, diary_message, &diary, NULL, NULL), 2);
    publish(a, "t.x", BUS_RETAIN_CONNECTION, "3");
    run_while_idle(b);
    run_while_idle(a);
    diary_expect(&counts, "t.x 0\nt.x 1\n");
    bus_close(a);
    run_while_idle(b);
    diary_expect(&diary, "t.x 1 retained\nt.x 1 retained\nt.y 2 retained\nt.x 3\nt.x null\n");
    bus_close(b);
    assert_int_equal(busd_stop(&busd), 0);
}

/* A last value goes in its line, however big it is. */
static void test_big(void **state)
{
    struct bus_message *value;
    struct busd busd;
    struct bus *bus;
    size_t size = 300000;
    char *body = malloc(size + 1);

    assert_non_null(body);
    memset(body, '7', size);
    body[size] = '\0';
    assert_int_equal(busd_start(&busd, NULL), 0);
    assert_int_equal(bus_connect(&bus, busd.address), 0);
    for (int i = 0; i < 2; i++) {
        struct bus_error error = BUS_ERROR_INIT;
        size_t got;
        publish(bus, "t", BUS_RETAIN_BUS, i == 0 ? body : "\"small\"");
        assert_int_equal(bus_get_retained(bus, "t", &error, &value), 1);
        const char *text = bus_message_body_text(value, &got);
        assert_int_equal(got, i == 0 ? size : 7);
        assert_memory_equal(text, i == 0 ? body : "\"small\"", got);
        assert_int_equal(bus_message_body_fd(value), -ENODATA);
        bus_message_unref(value);
        /* The next one would be sealed. */
        bus_set_memfd_threshold(bus, 0);
    }
    bus_close(bus);
    assert_int_equal(busd_stop(&busd), 0);
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publish),    cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_modes),      cmocka_unit_test(test_only_without_values),
        cmocka_unit_test(test_only_freed), cmocka_unit_test(test_get),
        cmocka_unit_test(test_watch),      cmocka_unit_test(test_with_a_bus),
        cmocka_unit_test(test_big),
    };

    return cmocka_run_group_tests_name("client-retained", tests, NULL, NULL);
}
