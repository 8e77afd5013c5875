/* SPDX-License-Identifier: MIT */
/*
 * The timer wheel against a plain array of deadlines.
 */
#include <stdlib.h>

#include "busd/deadlines.h"
#include "libbus/base/macros.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

#define SEED 60013

static void test_empty(void **state)
{
    struct deadlines wheel;
    struct deadline deadline;

    deadlines_init(&wheel, 1000);
    deadline_init(&deadline, DEADLINE_CALL);
    assert_int_equal(deadlines_next(&wheel), UINT64_MAX);
    assert_null(deadlines_pop(&wheel, 1000));
    assert_null(deadlines_pop(&wheel, 1u << 30));
    deadlines_remove(&wheel, &deadline);
    assert_int_equal(wheel.count, 0);
}

/* Never before its time, and at its very millisecond, at every distance. */
static void test_exact(void **state)
{
    static const uint64_t starts[] = {
        0, 1, 63, 64, 4095, 4096, 262143, 1000000007, UINT64_C(1) << 36, (UINT64_C(1) << 40) - 1};
    static const uint64_t distances[] = {
        1,
        2,
        62,
        63,
        64,
        65,
        127,
        128,
        4095,
        4096,
        4097,
        25000,
        262143,
        262144,
        262145,
        16777215,
        16777216,
        16777217,
        UINT64_C(1) << 30,
        (UINT64_C(1) << 36) - 1,
        UINT64_C(1) << 36,
        (UINT64_C(1) << 36) + 12345,
        UINT64_C(1) << 40,
    };

    for (size_t i = 0; i < ARRAY_SIZE(starts); i++)
        for (size_t j = 0; j < ARRAY_SIZE(distances); j++) {
            struct deadlines wheel;
            struct deadline deadline;
            uint64_t at = starts[i] + distances[j];

            deadlines_init(&wheel, starts[i]);
            deadline_init(&deadline, DEADLINE_CALL);
            deadlines_add(&wheel, &deadline, at);
            assert_int_equal(wheel.count, 1);
            assert_true(deadlines_next(&wheel) <= at);
            assert_null(deadlines_pop(&wheel, starts[i]));
            assert_null(deadlines_pop(&wheel, at - 1));
            assert_true(deadlines_next(&wheel) <= at);
            assert_ptr_equal(deadlines_pop(&wheel, at), &deadline);
            assert_int_equal(wheel.count, 0);
            assert_int_equal(deadlines_next(&wheel), UINT64_MAX);
        }
}

static void test_late(void **state)
{
    struct deadlines wheel;
    struct deadline deadlines[3];
    unsigned popped = 0;

    deadlines_init(&wheel, 500);
    for (unsigned i = 0; i < 3; i++)
        deadline_init(&deadlines[i], DEADLINE_CALL);
    deadlines_add(&wheel, &deadlines[0], 0);
    deadlines_add(&wheel, &deadlines[1], 500);
    deadlines_add(&wheel, &deadlines[2], 499);
    assert_true(deadlines_next(&wheel) <= 500);
    while (deadlines_pop(&wheel, 500))
        popped++;
    assert_int_equal(popped, 3);
}

/* Whoever only wakes up when deadlines_next() says misses nothing and is never late,
 * and is not woken for nothing more than a handful of times. */
static void test_sleeper(void **state)
{
    static const uint64_t distances[] = {1, 63, 64, 100, 5000, 25000, 300000, 86400000};

    for (size_t i = 0; i < ARRAY_SIZE(distances); i++) {
        struct deadlines wheel;
        struct deadline deadline, *popped = NULL;
        uint64_t now = 777, at = now + distances[i];
        unsigned wakeups = 0;

        deadlines_init(&wheel, now);
        deadline_init(&deadline, DEADLINE_CALL);
        deadlines_add(&wheel, &deadline, at);
        while (!popped) {
            uint64_t next = deadlines_next(&wheel);
            assert_in_range(next, now, at);
            assert_true(next > now || next == at);
            if (distances[i] < 64 - 777 % 64)
                assert_int_equal(next, at);
            now = next;
            wakeups++;
            popped = deadlines_pop(&wheel, now);
        }
        assert_int_equal(now, at);
        assert_in_range(wakeups, 1, DEADLINES_LEVELS);
    }
}

struct model {
    struct deadline deadline;
    bool set;
    uint64_t at;
};

static struct model models[400];

static uint64_t random_distance(struct random *random)
{
    return random_next(random) % (UINT64_C(1) << random_below(random, 38));
}

static uint64_t earliest(void)
{
    uint64_t at = UINT64_MAX;

    for (size_t i = 0; i < ARRAY_SIZE(models); i++)
        if (models[i].set && models[i].at < at)
            at = models[i].at;
    return at;
}

static void change_one(struct deadlines *wheel, struct random *random, uint64_t now)
{
    struct model *m = &models[random_below(random, ARRAY_SIZE(models))];

    if (m->set) {
        deadlines_remove(wheel, &m->deadline);
        /* Removing again does nothing. */
        deadlines_remove(wheel, &m->deadline);
    } else {
        m->at = now + random_distance(random);
        deadlines_add(wheel, &m->deadline, m->at);
    }
    m->set = !m->set;
}

static void pop_due(struct deadlines *wheel, uint64_t now, struct random *random)
{
    struct deadline *deadline;

    while ((deadline = deadlines_pop(wheel, now))) {
        struct model *m = CONTAINER_OF(deadline, struct model, deadline);
        assert_true(m->set);
        CHECK(m->at <= now, "seed %d: %llu ms early", SEED, (unsigned long long)(m->at - now));
        m->set = false;
        /* What expires may set and remove others, as the broker does. */
        if (random_one_in(random, 4))
            change_one(wheel, random, now);
    }
}

static void test_random(void **state)
{
    struct random random = {.state = SEED};
    struct deadlines wheel;
    uint64_t now = 123456789;

    deadlines_init(&wheel, now);
    for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
        models[i].set = false;
        deadline_init(&models[i].deadline, DEADLINE_CALL);
    }
    for (unsigned round = 0; round < 60000; round++) {
        for (unsigned n = random_below(&random, 4); n > 0; n--)
            change_one(&wheel, &random, now);
        assert_true(deadlines_next(&wheel) <= MAX(earliest(), now));
        /* Mostly small steps, some to just the next stop, a few leaps. */
        uint64_t next = deadlines_next(&wheel);
        if (random_one_in(&random, 3) && next != UINT64_MAX)
            now = MAX(now, next);
        else
            now +=
                random_one_in(&random, 50) ? random_distance(&random) : random_below(&random, 90);
        pop_due(&wheel, now, &random);
        CHECK(earliest() > now, "seed %d round %u: one is late", SEED, round);
        size_t count = 0;
        for (size_t i = 0; i < ARRAY_SIZE(models); i++)
            count += models[i].set;
        assert_int_equal(wheel.count, count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),   cmocka_unit_test(test_exact),  cmocka_unit_test(test_late),
        cmocka_unit_test(test_sleeper), cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests_name("deadlines", tests, NULL, NULL);
}
