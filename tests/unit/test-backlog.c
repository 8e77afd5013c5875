/* SPDX-License-Identifier: MIT */
/*
 * Who waits for a receiver is called once, in order, when it has read far enough.
 */
#include "busd/backlog.h"
#include "libbus/base/macros.h"
#include "tests/support/unit.h"

struct waiting {
    struct backlog_waiter waiter;
    struct backlog *again; /* waits here once more when it is called … */
    uint64_t again_at;     /* … for this position */
    unsigned called;
    unsigned order;
};

static unsigned calls;

static void on_caught_up(struct backlog_waiter *waiter)
{
    struct waiting *waiting = CONTAINER_OF(waiter, struct waiting, waiter);

    assert_true(list_is_empty(&waiter->link));
    waiting->called++;
    waiting->order = calls++;
    if (waiting->again)
        backlog_wait(TAKE(waiting->again), waiter, waiting->again_at);
}

static void start(struct backlog *backlog, struct waiting *waiting, unsigned count)
{
    calls = 0;
    backlog_init(backlog);
    for (unsigned i = 0; i < count; i++) {
        waiting[i] = (struct waiting){0};
        backlog_waiter_init(&waiting[i].waiter, on_caught_up);
        backlog_wait(backlog, &waiting[i].waiter, 100 * (i + 1));
    }
}

static void test_positions(void **state)
{
    struct backlog backlog;
    struct waiting waiting[4];

    start(&backlog, waiting, 4);
    assert_int_equal(backlog_wake(&backlog, 99, 10), 0);
    assert_int_equal(backlog_wake(&backlog, 100, 10), 1);
    assert_int_equal(backlog_wake(&backlog, 399, 10), 2);
    assert_int_equal(waiting[3].called, 0);
    assert_int_equal(backlog_wake(&backlog, UINT64_MAX, 10), 1);
    assert_int_equal(backlog_wake(&backlog, UINT64_MAX, 10), 0);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(waiting[i].called, 1);
        assert_int_equal(waiting[i].order, i);
    }
}

static void test_some_at_a_time(void **state)
{
    struct backlog backlog;
    struct waiting waiting[4];

    start(&backlog, waiting, 4);
    assert_int_equal(backlog_wake(&backlog, UINT64_MAX, 3), 3);
    assert_int_equal(waiting[3].called, 0);
    assert_int_equal(backlog_wake(&backlog, UINT64_MAX, 3), 1);
    assert_int_equal(waiting[3].called, 1);
}

static void test_leave(void **state)
{
    struct backlog backlog;
    struct waiting waiting[3];

    start(&backlog, waiting, 3);
    backlog_leave(&waiting[0].waiter);
    backlog_leave(&waiting[1].waiter);
    backlog_leave(&waiting[1].waiter);
    assert_int_equal(backlog_wake(&backlog, UINT64_MAX, 10), 1);
    assert_int_equal(waiting[0].called + waiting[1].called, 0);
    assert_int_equal(waiting[2].called, 1);
}

/* Who is called may wait again, there or elsewhere. */
static void test_again(void **state)
{
    struct backlog backlog, other;
    struct waiting waiting[2];

    start(&backlog, waiting, 2);
    backlog_init(&other);
    waiting[0].again = &backlog;
    waiting[0].again_at = 300;
    waiting[1].again = &other;
    waiting[1].again_at = 5;
    assert_int_equal(backlog_wake(&backlog, 250, 10), 2);
    assert_int_equal(backlog_wake(&backlog, 300, 10), 1);
    assert_int_equal(backlog_wake(&other, 5, 10), 1);
    assert_int_equal(waiting[0].called, 2);
    assert_int_equal(waiting[1].called, 2);
    assert_true(list_is_empty(&backlog.waiters) && list_is_empty(&other.waiters));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_some_at_a_time),
        cmocka_unit_test(test_leave),
        cmocka_unit_test(test_again),
    };

    return cmocka_run_group_tests_name("backlog", tests, NULL, NULL);
}
