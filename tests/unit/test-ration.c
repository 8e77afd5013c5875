/* SPDX-License-Identifier: MIT */
/*
 * Token buckets for any number of users in a fixed amount of memory, on a clock of the
 * test's own.
 */
#include <string.h>

#include "libbus/base/ration.h"
#include "tests/support/unit.h"

static struct ration ration;

static int setup(void **state)
{
    memset(&ration, 0, sizeof(ration));
    return 0;
}

/* How many of `tries` are granted. */
static unsigned take(uint64_t user, uint64_t now, unsigned tries)
{
    unsigned granted = 0;

    for (unsigned i = 0; i < tries; i++)
        granted += ration_take(&ration, user, now);
    return granted;
}

static void test_burst_and_rate(void **state)
{
    uint64_t now = 5000000;

    assert_int_equal(take(1000, now, 1000), RATION_BURST);
    assert_int_equal(take(1000, now + 199, 10), 0);
    assert_int_equal(take(1000, now + 200, 10), 1);
    assert_int_equal(take(1000, now + 399, 10), 0);
    assert_int_equal(take(1000, now + 1200, 10), 5);
    /* However long the silence, the burst is all that is saved up. */
    assert_int_equal(take(1000, now + 3600000, 1000), RATION_BURST);
}

/* Asked every few milliseconds, nothing of the time is lost. */
static void test_fractions(void **state)
{
    unsigned granted = 0;

    take(1000, 0, RATION_BURST);
    for (uint64_t now = 7; now <= 70000; now += 7)
        granted += take(1000, now, 1);
    assert_int_equal(granted, 70 * RATION_RATE);
}

static void test_users_apart(void **state)
{
    assert_int_equal(take(0, 0, 1000), RATION_BURST);
    assert_int_equal(take(4294967294, 0, 1000), RATION_BURST);
    assert_int_equal(take(4294967295, 0, 1000), RATION_BURST);
    assert_int_equal(take(RATION_NOBODY, 0, 1000), RATION_BURST);
    assert_int_equal(take(0, 0, 1000), 0);
}

/* Who has been idle long enough to have a full bucket makes room; busy ones do not, and
 * the rest share. Nobody gains anything by there being many. */
static void test_many_users(void **state)
{
    for (uint64_t user = 0; user < RATION_USERS; user++)
        assert_int_equal(take(user, 0, 100), RATION_BURST);
    unsigned granted = 0;
    for (uint64_t user = 1000; user < 2000; user++)
        granted += take(user, 0, 10);
    assert_int_equal(granted, RATION_BURST);
    for (uint64_t user = 0; user < RATION_USERS; user++)
        assert_int_equal(take(user, 0, 1), 0);

    /* Refusals that have not been told keep a place, too. */
    uint64_t later = 60000, user, refused;
    assert_int_equal(take(5000, later, 1000), 50);
    size_t told = 0;
    while (ration_collect(&ration, later, false, &user, &refused))
        told += user < RATION_USERS && refused == 51;
    assert_int_equal(told, RATION_USERS);
    assert_int_equal(take(5001, later, 1000), RATION_BURST);
    assert_int_equal(take(5002, later, 1000), RATION_BURST);
}

static void test_collect(void **state)
{
    uint64_t user = 7, refused = 7;

    take(1000, 0, RATION_BURST);
    assert_false(ration_collect(&ration, 0, true, &user, &refused));
    take(1000, 0, 10);
    take(2000, 100, RATION_BURST + 3);
    assert_false(ration_collect(&ration, 199, false, &user, &refused));
    assert_int_equal(user, 7);
    assert_true(ration_collect(&ration, 200, false, &user, &refused));
    assert_int_equal(user, 1000);
    assert_int_equal(refused, 10);
    assert_false(ration_collect(&ration, 200, false, &user, &refused));
    assert_true(ration_collect(&ration, 200, true, &user, &refused));
    assert_int_equal(user, 2000);
    assert_int_equal(refused, 3);
    assert_false(ration_collect(&ration, 200, true, &user, &refused));
    assert_int_equal(ration.refusing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_burst_and_rate, setup),
        cmocka_unit_test_setup(test_fractions, setup),
        cmocka_unit_test_setup(test_users_apart, setup),
        cmocka_unit_test_setup(test_many_users, setup),
        cmocka_unit_test_setup(test_collect, setup),
    };

    return cmocka_run_group_tests_name("ration", tests, NULL, NULL);
}
