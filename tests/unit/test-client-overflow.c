/* SPDX-License-Identifier: MIT */
/* What a subscription of the library asks for when it is not read fast enough. */
#include "tests/unit/client-fixture.h"

static void on_event(struct bus_message *message, void *userdata)
{
    diary_message(message, userdata);
}

static void test_asked_for(void **state)
{
    static const struct {
        enum bus_overflow overflow;
        const char *line;
    } cases[] = {
        {BUS_OVERFLOW_DROP, "{\"topic\":\"a\"}"},
        {BUS_OVERFLOW_LATEST, "{\"topic\":\"a\",\"overflow\":\"latest\"}"},
        {BUS_OVERFLOW_DISCONNECT, "{\"topic\":\"a\",\"overflow\":\"disconnect\"}"},
    };
    struct diary diary = {0};
    struct fixture f;

    fixture_begin(&f);
    for (int i = 0; i < 3; i++) {
        struct bus_subscription_options options = {.overflow = cases[i].overflow};
        char line[160];
        fixture_say(&f,
                    "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":%d,\"body\":{\"subscription\":"
                    "%d,\"retained\":0}}",
                    i + 1, i + 1);
        assert_int_equal(bus_subscribe_with(f.bus, "a", &options, on_event, &diary, NULL, NULL), 0);
        snprintf(
            line, sizeof(line),
            "{\"type\":\"call\",\"to\":\"bus\",\"id\":%d,\"method\":\"Subscribe\",\"body\":%s}",
            i + 1, cases[i].line);
        fixture_expect(&f, line);
    }
    fixture_end(&f);
}

static void test_nonsense(void **state)
{
    struct bus_subscription_options options = {.overflow = (enum bus_overflow)3};
    struct bus_error error = BUS_ERROR_INIT;
    struct fixture f;

    fixture_begin(&f);
    assert_int_equal(bus_subscribe_with(f.bus, "a", &options, on_event, NULL, NULL, &error),
                     -EINVAL);
    assert_string_equal(error.message, "3 is no value of enum bus_overflow");
    fixture_expect_nothing(&f);
    fixture_end(&f);
}

/* The notice of a loss is an event like any other. */
static void test_notice(void **state)
{
    struct diary diary = {0};
    struct fixture f;

    fixture_begin(&f);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":1,\"body\":{\"subscription\":1,"
                    "\"retained\":0}}");
    assert_int_equal(bus_subscribe(f.bus, "bus.overflow", NULL, on_event, &diary, NULL, NULL), 0);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"event\",\"topic\":\"bus.overflow\",\"body\":"
                    "{\"lost\":3}}");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "bus.overflow {\"lost\":3}\n");
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asked_for),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_notice),
    };

    return cmocka_run_group_tests_name("client-overflow", tests, NULL, NULL);
}
