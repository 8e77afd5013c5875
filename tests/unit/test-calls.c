/* SPDX-License-Identifier: MIT */
/*
 * The table of outstanding calls, with their deadlines, on stack objects.
 */
#include <stdlib.h>

#include "busd/calls.h"
#include "busd/deadlines.h"
#include "libbus/base/macros.h"
#include "libbus/wire/errors.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"
#include "tests/support/users.h"

#define SEED    4004
#define PARTIES 6
#define LIMIT   100000
#define NOW     1000

static struct deadlines wheel;
static struct users users;
static struct calls calls;
static struct call_party parties[PARTIES];

#define A (&parties[0])
#define B (&parties[1])
#define C (&parties[2])

static int setup(void **state)
{
    struct quota_user *user = users_begin(&users);

    deadlines_init(&wheel, NOW);
    calls_init(&calls, &wheel);
    for (unsigned i = 0; i < PARTIES; i++)
        call_party_init(&parties[i], user);
    return 0;
}

static void leave(struct call_party *party)
{
    struct list *first;

    while ((first = list_first(&party->made)))
        calls_remove(&calls, LIST_ENTRY(first, struct call, by_caller));
    while ((first = list_first(&party->received)))
        calls_remove(&calls, LIST_ENTRY(first, struct call, by_callee));
}

/* `at` on the wheel's clock; 0: no deadline. */
static int add(struct call_party *caller, struct call_party *callee, uint64_t id, uint64_t at,
               size_t max)
{
    const struct call_terms terms = {.id = id, .now = NOW, .timeout = at > 0 ? at - NOW : 0};

    return calls_add(&calls, caller, callee, &terms, max);
}

static struct call *pop_expired(uint64_t now)
{
    struct deadline *deadline = deadlines_pop(&wheel, now);

    assert_true(!deadline || deadline->kind == DEADLINE_CALL);
    return CONTAINER_OF(deadline, struct call, deadline);
}

static int teardown(void **state)
{
    for (unsigned i = 0; i < PARTIES; i++)
        leave(&parties[i]);
    for (unsigned i = 0; i < PARTIES; i++) {
        assert_int_equal(parties[i].made_count, 0);
        assert_int_equal(parties[i].received_count, 0);
    }
    assert_int_equal(wheel.count, 0);
    calls_deinit(&calls);
    users_end(&users);
    return 0;
}

static void test_add_find_remove(void **state)
{
    assert_null(calls_find(&calls, A, 1));
    assert_int_equal(add(A, B, 1, 0, LIMIT), 0);
    struct call *call = calls_find(&calls, A, 1);
    assert_non_null(call);
    assert_ptr_equal(call->caller, A);
    assert_ptr_equal(call->callee, B);
    assert_int_equal(call->id, 1);
    assert_int_equal(A->made_count, 1);
    assert_int_equal(A->received_count, 0);
    assert_int_equal(B->received_count, 1);
    /* The id is the caller's own: nobody else's with that number. */
    assert_null(calls_find(&calls, B, 1));
    assert_null(calls_find(&calls, A, 2));
    calls_remove(&calls, call);
    assert_null(calls_find(&calls, A, 1));
    assert_int_equal(A->made_count, 0);
    assert_int_equal(B->received_count, 0);
}

static void test_same_id(void **state)
{
    assert_int_equal(add(A, B, 7, 0, LIMIT), 0);
    assert_int_equal(add(A, B, 7, 0, LIMIT), WIRE_INVALID_MESSAGE);
    assert_int_equal(add(A, C, 7, 0, LIMIT), WIRE_INVALID_MESSAGE);
    assert_int_equal(add(B, A, 7, 0, LIMIT), 0);
    assert_int_equal(add(C, B, 7, 0, LIMIT), 0);
    assert_ptr_equal(calls_find(&calls, B, 7)->callee, A);
    calls_remove(&calls, calls_find(&calls, A, 7));
    assert_int_equal(add(A, C, 7, 0, LIMIT), 0);
    assert_ptr_equal(calls_find(&calls, A, 7)->callee, C);
}

static void test_oneself(void **state)
{
    assert_int_equal(add(A, A, 1, 0, LIMIT), 0);
    assert_int_equal(A->made_count, 1);
    assert_int_equal(A->received_count, 1);
    calls_remove(&calls, calls_find(&calls, A, 1));
    assert_true(list_is_empty(&A->made));
    assert_true(list_is_empty(&A->received));
}

static void test_limit(void **state)
{
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(add(A, B, id, 0, 3), 0);
    assert_int_equal(add(A, B, 4, 0, 3), WIRE_LIMIT_EXCEEDED);
    /* A double id is a double id, whatever the limit. */
    assert_int_equal(add(A, B, 2, 0, 3), WIRE_INVALID_MESSAGE);
    /* The limit is the caller's, not the callee's. */
    assert_int_equal(add(C, B, 4, 0, 3), 0);
    calls_remove(&calls, calls_find(&calls, A, 1));
    assert_int_equal(add(A, B, 4, 0, 3), 0);
}

static void test_deadlines(void **state)
{
    add(A, B, 1, 1500, LIMIT);
    add(A, B, 2, 0, LIMIT);
    add(A, C, 3, 1200, LIMIT);
    add(A, C, 4, 1300, LIMIT);
    assert_int_equal(wheel.count, 3);
    calls_remove(&calls, calls_find(&calls, A, 4));
    assert_int_equal(wheel.count, 2);
    assert_null(pop_expired(1199));

    struct call *call = pop_expired(1400);
    assert_ptr_equal(call, calls_find(&calls, A, 3));
    calls_remove(&calls, call);
    assert_null(pop_expired(1400));
    call = pop_expired(99999999);
    assert_int_equal(call->id, 1);
    calls_remove(&calls, call);
    assert_null(pop_expired(UINT64_C(1) << 40));
    assert_non_null(calls_find(&calls, A, 2));
}

/* The deadline is counted from the last reply, and the wheel is not touched by replies. */
static void test_progress(void **state)
{
    const struct call_terms terms = {.id = 1, .now = NOW, .timeout = 100, .more = true};

    assert_int_equal(calls_add(&calls, A, B, &terms, LIMIT), 0);
    struct call *call = calls_find(&calls, A, 1);
    assert_true(call->more);
    call->progress = 1030;
    call->progress = 1060;
    assert_null(pop_expired(1099));
    assert_ptr_equal(pop_expired(1100), call);
    assert_false(calls_expire(&calls, call, 1100));
    assert_int_equal(wheel.count, 1);
    assert_null(pop_expired(1159));
    assert_ptr_equal(pop_expired(1160), call);
    assert_true(calls_expire(&calls, call, 1160));
    assert_int_equal(wheel.count, 0);
    calls_remove(&calls, call);
}

static void test_big_ids(void **state)
{
    assert_int_equal(add(A, B, 9007199254740991, 0, LIMIT), 0);
    assert_int_equal(add(A, B, 9007199254740990, 0, LIMIT), 0);
    assert_null(calls_find(&calls, A, (uint32_t)9007199254740991));
    assert_int_equal(calls_find(&calls, A, 9007199254740991)->id, 9007199254740991);
}

/* Whom each outstanding call goes to, in a plain array. */
#define IDS 40
static int model[PARTIES][IDS];

static void test_random(void **state)
{
    struct random random = {.state = SEED};
    size_t count = 0;

    for (unsigned i = 0; i < PARTIES; i++)
        for (unsigned id = 0; id < IDS; id++)
            model[i][id] = -1;
    for (unsigned round = 0; round < 200000; round++) {
        unsigned caller = random_below(&random, PARTIES), callee = random_below(&random, PARTIES);
        unsigned id = random_below(&random, IDS);
        struct call *call = calls_find(&calls, &parties[caller], id + 1);

        CHECK((call != NULL) == (model[caller][id] >= 0), "seed %d round %u", SEED, round);
        if (call)
            assert_ptr_equal(call->callee, &parties[model[caller][id]]);
        if (call && random_one_in(&random, 2)) {
            calls_remove(&calls, call);
            model[caller][id] = -1;
            count--;
        } else {
            int result = add(&parties[caller], &parties[callee], id + 1,
                             random_one_in(&random, 2) ? 5000 + round : 0, LIMIT);
            assert_int_equal(result, call ? WIRE_INVALID_MESSAGE : 0);
            if (!call) {
                model[caller][id] = (int)callee;
                count++;
            }
        }
        assert_int_equal(calls.table.count, count);
        if (random_one_in(&random, 2000)) {
            leave(&parties[caller]);
            for (unsigned i = 0; i < PARTIES; i++)
                for (unsigned n = 0; n < IDS; n++)
                    if (model[i][n] >= 0 && (i == caller || model[i][n] == (int)caller)) {
                        model[i][n] = -1;
                        count--;
                    }
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_add_find_remove), TEST(test_same_id),  TEST(test_oneself), TEST(test_limit),
        TEST(test_deadlines),       TEST(test_progress), TEST(test_big_ids), TEST(test_random),
    };

    return cmocka_run_group_tests_name("calls", tests, NULL, NULL);
}
