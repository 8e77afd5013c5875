/* SPDX-License-Identifier: MIT */
/*
 * Charges: the ends of the number range, and a random walk of users and connections
 * against plain sums; and that nobody can keep the others from their share.
 */
#include "busd/quota.h"
#include "libbus/base/macros.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

#define SEED    7331
#define USERS   5
#define CHARGES 40
#define STEPS   200000

static struct limits limits;
static struct quotas quotas;

static int setup(void **state)
{
    limits_init(&limits, false);
    quotas_init(&quotas, &limits);
    return 0;
}

static int teardown(void **state)
{
    quotas_deinit(&quotas);
    return 0;
}

static void test_users(void **state)
{
    struct quota_user *a = quotas_get_user(&quotas, 1);
    struct quota_user *b = quotas_get_user(&quotas, UINT32_MAX);

    assert_ptr_not_equal(a, b);
    assert_ptr_equal(quotas_get_user(&quotas, 1), a);
    assert_ptr_equal(quotas_get_user(&quotas, UINT32_MAX), b);
    assert_int_equal(a->uid, 1);
    assert_int_equal(b->uid, UINT32_MAX);
    quota_user_unref(a);
    assert_ptr_equal(quotas_get_user(&quotas, 1), a);
    quota_user_unref(a);
    quota_user_unref(a);
    quota_user_unref(b);
    quota_user_unref(b);
    assert_int_equal(quotas.users.count, 0);
    assert_null(quota_user_unref(NULL));
}

/* n passes, n+1 does not, and what is given back can be had again. */
static void test_counted(void **state)
{
    struct quota_user *a = quotas_get_user(&quotas, 1);
    struct quota_user *b = quotas_get_user(&quotas, 2);
    struct charge charges[3], more, others;
    uint64_t value;

    limits.names_per_user = 3;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(charge_one(&charges[i], a, QUOTA_NAMES), 0);
        assert_int_equal(charge_one(&more, a, QUOTA_NAMES), WIRE_LIMIT_EXCEEDED);
        charge_give_back(&more);
        assert_int_equal(charge_one(&others, b, QUOTA_NAMES), 0);
        charge_give_back(&others);
        charge_give_back(&charges[1]);
        charge_give_back(&charges[1]);
        assert_int_equal(charge_one(&charges[1], a, QUOTA_NAMES), 0);
        for (unsigned i = 0; i < 3; i++)
            charge_give_back(&charges[i]);
        assert_int_equal(a->used[QUOTA_NAMES], 0);
    }
    assert_string_equal(quota_limit(a, QUOTA_NAMES, &value), "names_per_user");
    assert_int_equal(value, 3);
    /* A limit that has been lowered is in force for what comes. */
    assert_int_equal(charge_one(&charges[0], a, QUOTA_NAMES), 0);
    limits.names_per_user = 1;
    assert_int_equal(charge_one(&more, a, QUOTA_NAMES), WIRE_LIMIT_EXCEEDED);
    charge_give_back(&charges[0]);
    quota_user_unref(a);
    quota_user_unref(b);
}

/* Whom a lack of file descriptors is due to. */
static void test_largest(void **state)
{
    struct quota_user *a, *b;
    struct charge connections[3], fds;

    assert_null(quotas_find_largest(&quotas));
    a = quotas_get_user(&quotas, 1);
    assert_ptr_equal(quotas_find_largest(&quotas), a);
    b = quotas_get_user(&quotas, 2);
    assert_int_equal(charge_one(&connections[0], a, QUOTA_CONNECTIONS), 0);
    assert_int_equal(charge_one(&connections[1], b, QUOTA_CONNECTIONS), 0);
    assert_int_equal(charge_one(&connections[2], b, QUOTA_CONNECTIONS), 0);
    assert_ptr_equal(quotas_find_largest(&quotas), b);
    charge_init(&fds, a, QUOTA_FDS);
    charge_set(&fds, 2);
    assert_ptr_equal(quotas_find_largest(&quotas), a);
    charge_give_back(&fds);
    assert_ptr_equal(quotas_find_largest(&quotas), b);
    for (size_t i = 0; i < ARRAY_SIZE(connections); i++)
        charge_give_back(&connections[i]);
    quota_user_unref(a);
    quota_user_unref(b);
}

static void test_numbers(void **state)
{
    static const uint64_t values[] = {0,         1, 2, 1u << 20, UINT64_MAX / 2, UINT64_MAX - 1,
                                      UINT64_MAX};
    struct quota_user *a = quotas_get_user(&quotas, 1);
    struct charge first, second;

    charge_init(&first, a, QUOTA_BYTES);
    charge_init(&second, a, QUOTA_BYTES);
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        for (size_t j = 0; j < ARRAY_SIZE(values); j++)
            for (size_t k = 0; k < ARRAY_SIZE(values); k++) {
                uint64_t max = values[i], used = values[j], more = values[k];
                limits.bytes_per_user = limits.bytes = max;
                charge_set(&first, used);
                assert_true(charge_fits(&first, used));
                assert_true(charge_fits(&first, 0));
                /* What is left must be as much as the user has, and as much for each of
                 * its connections as the second one gets. */
                bool fits = more <= max && used <= max - more;
                uint64_t left = fits ? max - more - used : 0;
                fits = fits && used + more <= left && more <= left / (used > 0 ? 2 : 1);
                assert_int_equal(charge_fits(&second, more), fits || more == 0);
            }
    charge_give_back(&first);
    charge_give_back(&second);
    quota_user_unref(a);
}

/* Greedy ones take all they can get, one after the other: the n-th always finds its
 * 1/(n(n+1)), and nobody breaks a ceiling. */
static void test_greed(void **state)
{
    struct quota_user *users[20];
    struct charge charges[20];
    uint64_t sum = 0;

    limits.bytes_per_user = limits.bytes = 1 << 20;
    for (unsigned n = 0; n < 20; n++) {
        users[n] = quotas_get_user(&quotas, n);
        charge_init(&charges[n], users[n], QUOTA_BYTES);
        while (charge_fits(&charges[n], charges[n].amount + 1))
            charge_set(&charges[n], charges[n].amount + 1);
        assert_true(charges[n].amount + 1 >= (1u << 20) / ((n + 1) * (n + 2)));
        sum += charges[n].amount;
        assert_true(sum < 1 << 20);
    }
    for (unsigned n = 0; n < 20; n++) {
        charge_give_back(&charges[n]);
        quota_user_unref(users[n]);
    }
}

/* The same of the connections of one user. */
static void test_greed_within(void **state)
{
    struct quota_user *user = quotas_get_user(&quotas, 1);
    struct charge charges[10];

    limits.fds_per_user = 1024;
    limits.fds = 4096;
    for (unsigned n = 0; n < 10; n++) {
        charge_init(&charges[n], user, QUOTA_FDS);
        while (charge_fits(&charges[n], charges[n].amount + 1))
            charge_set(&charges[n], charges[n].amount + 1);
        assert_true(charges[n].amount + 1 >= 1024 / ((n + 1) * (n + 2)));
        assert_true(user->used[QUOTA_FDS] < 1024);
    }
    for (unsigned n = 0; n < 10; n++)
        charge_give_back(&charges[n]);
    quota_user_unref(user);
}

static void test_random_walk(void **state)
{
    struct random random = {.state = SEED};
    struct quota_user *users[USERS];
    struct charge charges[CHARGES];

    limits.bytes_per_user = 1000;
    limits.bytes = 3000;
    for (unsigned i = 0; i < USERS; i++)
        users[i] = quotas_get_user(&quotas, i);
    for (unsigned i = 0; i < CHARGES; i++)
        charge_init(&charges[i], users[i % USERS], QUOTA_BYTES);
    for (unsigned step = 0; step < STEPS; step++) {
        struct charge *charge = &charges[random_below(&random, CHARGES)];
        uint64_t amount = random_below(&random, 400), sums[USERS] = {0}, all = 0;
        uint64_t holders[USERS] = {0}, user_holders = 0;
        if (amount < 100)
            charge_give_back(charge);
        else if (charge_fits(charge, amount) || random_one_in(&random, 10))
            charge_set(charge, amount);
        for (unsigned i = 0; i < CHARGES; i++) {
            sums[i % USERS] += charges[i].amount;
            holders[i % USERS] += charges[i].amount > 0;
            all += charges[i].amount;
        }
        for (unsigned i = 0; i < USERS; i++) {
            assert_int_equal(users[i]->used[QUOTA_BYTES], sums[i]);
            assert_int_equal(users[i]->holders[QUOTA_BYTES], holders[i]);
            user_holders += sums[i] > 0;
        }
        assert_int_equal(quotas.used[QUOTA_BYTES], all);
        assert_int_equal(quotas.holders[QUOTA_BYTES], user_holders);
    }
    for (unsigned i = 0; i < CHARGES; i++)
        charge_give_back(&charges[i]);
    for (unsigned i = 0; i < USERS; i++)
        quota_user_unref(users[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_users, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_largest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_greed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_greed_within, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_walk, setup, teardown),
    };

    return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}
