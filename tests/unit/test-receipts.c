/* SPDX-License-Identifier: MIT */
/*
 * The table of open receipts, on stack objects: due when nobody holds them any more, and
 * nobody's once their publisher has gone.
 */
#include <stdlib.h>

#include "busd/receipts.h"
#include "libbus/base/macros.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"
#include "tests/support/users.h"

#define SEED    496
#define PARTIES 3
#define LIMIT   1000

static struct users users;
static struct quota_user *user;
static struct receipts receipts;
static struct receipt_party parties[PARTIES];

#define A (&parties[0])
#define B (&parties[1])

static int setup(void **state)
{
    user = users_begin(&users);
    receipts_init(&receipts);
    for (unsigned i = 0; i < PARTIES; i++)
        receipt_party_init(&parties[i], user);
    return 0;
}

static int teardown(void **state)
{
    for (unsigned i = 0; i < PARTIES; i++)
        while (receipts_leave(&parties[i]))
            ;
    receipts_deinit(&receipts);
    users_end(&users);
    return 0;
}

static struct receipt *open_receipt(struct receipt_party *party, uint64_t id)
{
    struct receipt *receipt = NULL;

    assert_int_equal(receipts_open(&receipts, party, id, LIMIT, &receipt), 0);
    assert_ptr_equal(receipts_find(&receipts, party, id), receipt);
    return receipt;
}

/* Is due with the last hold, and closed. */
static void finish(struct receipt *receipt)
{
    receipt_release(receipt);
    assert_ptr_equal(receipts_first_due(&receipts), receipt);
    receipt_close(receipt);
}

static void assert_due(struct receipt *receipt)
{
    assert_ptr_equal(receipts_first_due(&receipts), receipt);
    receipt_close(receipt);
}

static void test_ids(void **state)
{
    struct receipt *other;
    struct receipt *receipt = open_receipt(A, 5);

    assert_int_equal(receipts_open(&receipts, A, 5, LIMIT, &other), WIRE_INVALID_MESSAGE);
    struct receipt *next = open_receipt(A, 6);
    struct receipt *same = open_receipt(B, 5);
    assert_null(receipts_find(&receipts, B, 6));
    assert_int_equal(A->count, 2);
    finish(receipt);
    assert_null(receipts_find(&receipts, A, 5));
    assert_ptr_equal(receipts_find(&receipts, B, 5), same);
    assert_null(receipts_first_due(&receipts));
    finish(next);
    finish(same);
}

static void test_limits(void **state)
{
    struct receipt *receipt, *first = open_receipt(A, 1);

    assert_int_equal(receipts_open(&receipts, A, 2, 1, &receipt), WIRE_LIMIT_EXCEEDED);
    assert_int_equal(user->used[QUOTA_CALLS], 1);
    users.limits.calls_per_user = 2;
    struct receipt *second = open_receipt(A, 2);
    assert_int_equal(receipts_open(&receipts, B, 3, LIMIT, &receipt), WIRE_LIMIT_EXCEEDED);
    finish(first);
    assert_int_equal(receipts_open(&receipts, B, 3, LIMIT, &receipt), 0);
    assert_int_equal(user->used[QUOTA_CALLS], 2);
    finish(receipt);
    finish(second);
    assert_int_equal(user->used[QUOTA_CALLS], 0);
}

/* Due with the last hold, in the order in which that happens. */
static void test_holds(void **state)
{
    struct receipt *first = open_receipt(A, 1), *second = open_receipt(A, 2);
    struct backlog backlog;

    backlog_init(&backlog);
    receipt_hold(first);
    backlog_wait(&backlog, receipt_await(first), 10);
    backlog_wait(&backlog, receipt_await(second), 20);
    receipt_release(first);
    receipt_release(second);
    assert_null(receipts_first_due(&receipts));
    assert_int_equal(backlog_wake(&backlog, 10, 9), 1);
    assert_null(receipts_first_due(&receipts));
    assert_int_equal(backlog_wake(&backlog, 20, 9), 1);
    receipt_release(first);
    assert_due(second);
    assert_due(first);
}

static void test_fail(void **state)
{
    struct receipt *receipt = open_receipt(A, 1);

    receipt_fail(receipt, WIRE_LIMIT_EXCEEDED, "the disk is full");
    receipt_fail(receipt, WIRE_TIMEOUT, "too late");
    receipt_release(receipt);
    assert_int_equal(receipt->error, WIRE_LIMIT_EXCEEDED);
    assert_string_equal(receipt->reason, "the disk is full");
    assert_due(receipt);
}

/* Who waits is forgotten with the publisher; who holds can release in peace, and nothing is
 * due. */
static void test_publisher_leaves(void **state)
{
    struct receipt *receipt = open_receipt(A, 1), *due = open_receipt(A, 2);
    struct backlog backlog;

    backlog_init(&backlog);
    backlog_wait(&backlog, receipt_await(receipt), 10);
    backlog_wait(&backlog, receipt_await(receipt), 10);
    backlog_wait(&backlog, receipt_await(due), 10);
    receipt_release(due);
    assert_int_equal(backlog_wake(&backlog, 10, 3), 3);
    assert_non_null(receipts_first_due(&receipts));
    backlog_wait(&backlog, receipt_await(receipt), 20);
    while (receipts_leave(A))
        ;
    assert_int_equal(backlog_wake(&backlog, 20, 1), 0);
    assert_null(receipts_first_due(&receipts));
    assert_int_equal(A->count, 0);
    assert_int_equal(user->used[QUOTA_CALLS], 0);
    assert_null(receipt->publisher);
    receipt_hold(receipt);
    receipt_release(receipt);
    receipt_release(receipt);
    assert_null(receipts_first_due(&receipts));
}

#define IDS 8

/* What the table should hold. */
struct expected {
    struct receipt *receipt;
    unsigned holds;
};

/* Any order of opening, holding, waiting, releasing and leaving. */
static void test_random_order(void **state)
{
    struct random random = {.state = SEED};
    struct expected expected[PARTIES][IDS] = {{{0}}};
    unsigned due = 0;

    for (unsigned step = 0; step < 30000; step++) {
        unsigned p = random_below(&random, PARTIES);
        unsigned id = random_below(&random, IDS);
        struct expected *one = &expected[p][id];
        if (!one->receipt) {
            *one = (struct expected){open_receipt(&parties[p], id + 1), 1};
        } else if (random_one_in(&random, 3)) {
            receipt_hold(one->receipt);
            one->holds++;
        } else if (--one->holds == 0) {
            receipt_release(one->receipt);
            assert_due(one->receipt);
            one->receipt = NULL;
            due++;
        } else {
            receipt_release(one->receipt);
        }
        assert_null(receipts_first_due(&receipts));
        if (!random_one_in(&random, 200))
            continue;
        while (receipts_leave(&parties[p]))
            ;
        for (id = 0; id < IDS; id++) {
            for (; expected[p][id].holds > 0; expected[p][id].holds--)
                receipt_release(expected[p][id].receipt);
            expected[p][id].receipt = NULL;
        }
    }
    assert_true(due > 1000);
    for (unsigned p = 0; p < PARTIES; p++) {
        while (receipts_leave(&parties[p]))
            ;
        for (unsigned id = 0; id < IDS; id++)
            for (; expected[p][id].holds > 0; expected[p][id].holds--)
                receipt_release(expected[p][id].receipt);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ids),  TEST(test_limits),           TEST(test_holds),
        TEST(test_fail), TEST(test_publisher_leaves), TEST(test_random_order),
    };

    return cmocka_run_group_tests_name("receipts", tests, NULL, NULL);
}
