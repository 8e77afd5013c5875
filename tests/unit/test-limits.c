/* SPDX-License-Identifier: MIT */
/*
 * The table of limits: what the design promises as defaults, and bounds that hold.
 */
#include <string.h>

#include "busd/limits.h"
#include "libbus/base/macros.h"
#include "tests/support/unit.h"

static uint64_t value_of(const struct limits *limits, const char *wanted)
{
    const char *name;
    uint64_t value;

    for (size_t i = 0; limits_get(limits, i, &name, &value); i++)
        if (strcmp(name, wanted) == 0)
            return value;
    fail_msg("no limit %s", wanted);
    return 0;
}

static void test_defaults(void **state)
{
    static const struct {
        const char *name;
        uint64_t system;
        uint64_t user;
    } expected[] = {
        {"connections", 4096, 4096},
        {"message_bytes", 1 << 20, 1 << 20},
        {"queue_bytes", 4 << 20, 16 << 20},
        {"queue_soft_bytes", 1 << 20, 4 << 20},
        {"fds_per_message", 16, 64},
        {"fds_queued", 64, 256},
        {"subscriptions", 512, 16384},
        {"segments_per_user", 32768, 1048576},
        {"wildcards_per_user", 1024, 65536},
        {"names", 64, 512},
        {"calls", 1024, 16384},
        {"retained", 1024, 16384},
        {"retained_bytes", 4 << 20, 64 << 20},
        {"call_timeout", 25000, 25000},
        {"invalid_lines", 16, 16},
    };
    struct limits system, user;

    limits_init(&system, true);
    limits_init(&user, false);
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        assert_int_equal(value_of(&system, expected[i].name), expected[i].system);
        assert_int_equal(value_of(&user, expected[i].name), expected[i].user);
    }
}

/* Each can be set to all of its range and to nothing beyond, and touches no other. */
static void test_every_range(void **state)
{
    struct limits limits;
    const char *name;
    uint64_t value;

    limits_init(&limits, false);
    for (size_t i = 0; limits_get(&limits, i, &name, &value); i++) {
        struct limits changed = limits;
        uint64_t smallest = 1, largest = 0;
        const char *reason = limits_set(&changed, span_from(name), UINT64_MAX, &smallest, &largest);

        assert_non_null(reason);
        assert_true(smallest <= value && value <= largest);
        assert_memory_equal(&changed, &limits, sizeof(limits));
        assert_null(limits_set(&changed, span_from(name), smallest, &smallest, &largest));
        assert_int_equal(value_of(&changed, name), smallest);
        assert_null(limits_set(&changed, span_from(name), largest, &smallest, &largest));
        assert_int_equal(value_of(&changed, name), largest);
        assert_non_null(limits_set(&changed, span_from(name), largest + 1, &smallest, &largest));
        if (smallest > 0)
            assert_non_null(
                limits_set(&changed, span_from(name), smallest - 1, &smallest, &largest));
        assert_int_equal(value_of(&changed, name), largest);
        assert_null(limits_set(&changed, span_from(name), value, &smallest, &largest));
        assert_memory_equal(&changed, &limits, sizeof(limits));
    }
}

static void test_unknown(void **state)
{
    struct limits limits;
    uint64_t smallest, largest;

    limits_init(&limits, false);
    assert_non_null(limits_set(&limits, SPAN(""), 1, &smallest, &largest));
    assert_non_null(limits_set(&limits, SPAN("name"), 1, &smallest, &largest));
    assert_non_null(limits_set(&limits, SPAN("namess"), 1, &smallest, &largest));
    assert_false(limits_get(&limits, 10000, &(const char *){NULL}, &smallest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_range),
        cmocka_unit_test(test_unknown),
    };

    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
