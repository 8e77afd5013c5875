/* SPDX-License-Identifier: MIT */
/*
 * Ownership of names on stack objects: every transition with the change it reports.
 * Random requests are test-names-model.c's.
 */
#include <stdio.h>

#include "libbus/base/macros.h"
#include "tests/unit/names-fixture.h"

static struct name_owner *owner_of(const char *name)
{
    struct name *found = names_find(&fixture.names, span_from(name));

    return found ? name_get_owner(found) : NULL;
}

static void test_request_release(void **state)
{
    assert_null(names_find(&fixture.names, SPAN("a.b")));
    assert_int_equal(request(A, "a.b", 0), 0);
    assert_int_equal(fixture.state, NAME_OWNED);
    assert_change("a.b", NULL, A);
    assert_ptr_equal(owner_of("a.b"), A);
    assert_int_equal(A->count, 1);
    assert_null(owner_of("a.bc"));
    assert_null(owner_of("a"));

    assert_int_equal(release(A, "a.b"), 0);
    assert_change("a.b", A, NULL);
    assert_null(names_find(&fixture.names, SPAN("a.b")));
    assert_int_equal(A->count, 0);
    assert_int_equal(release(A, "a.b"), WIRE_NOT_OWNER);
}

static void test_again(void **state)
{
    request(A, "a.b", 0);
    assert_int_equal(request(A, "a.b", QUEUE), 0);
    assert_int_equal(fixture.state, NAME_OWNED);
    assert_change("a.b", A, A);
    assert_int_equal(A->count, 1);
}

static void test_taken(void **state)
{
    request(A, "a.b", 0);
    assert_int_equal(request(B, "a.b", 0), WIRE_NAME_TAKEN);
    assert_int_equal(request(B, "a.b", REPLACE), WIRE_NAME_TAKEN);
    assert_int_equal(release(B, "a.b"), WIRE_NOT_OWNER);
    assert_ptr_equal(owner_of("a.b"), A);
    assert_int_equal(B->count, 0);
}

static void test_queue(void **state)
{
    request(A, "a.b", 0);
    assert_int_equal(request(B, "a.b", QUEUE), 0);
    assert_int_equal(fixture.state, NAME_QUEUED);
    assert_change("a.b", A, A);
    request(C, "a.b", QUEUE);
    assert_int_equal(B->count, 1);

    assert_int_equal(release(A, "a.b"), 0);
    assert_change("a.b", A, B);
    assert_int_equal(release(B, "a.b"), 0);
    assert_change("a.b", B, C);
    assert_int_equal(release(C, "a.b"), 0);
    assert_change("a.b", C, NULL);
}

static void test_leaving_the_queue(void **state)
{
    request(A, "a.b", 0);
    request(B, "a.b", QUEUE);
    request(C, "a.b", QUEUE);
    assert_int_equal(release(B, "a.b"), 0);
    assert_change("a.b", A, A);
    release(A, "a.b");
    assert_change("a.b", A, C);
}

/* Who asks again without `queue` does not want to wait any longer. */
static void test_giving_up_the_place(void **state)
{
    request(A, "a.b", 0);
    request(B, "a.b", QUEUE);
    assert_int_equal(request(B, "a.b", 0), WIRE_NAME_TAKEN);
    assert_int_equal(B->count, 0);
    release(A, "a.b");
    assert_change("a.b", A, NULL);
}

/* Asking again keeps the place. */
static void test_keeping_the_place(void **state)
{
    request(A, "a.b", 0);
    request(B, "a.b", QUEUE);
    request(C, "a.b", QUEUE);
    assert_int_equal(request(B, "a.b", QUEUE), 0);
    assert_int_equal(fixture.state, NAME_QUEUED);
    release(A, "a.b");
    assert_change("a.b", A, B);
}

static void test_replace(void **state)
{
    request(A, "a.b", ALLOW);
    assert_int_equal(request(B, "a.b", REPLACE), 0);
    assert_int_equal(fixture.state, NAME_OWNED);
    assert_change("a.b", A, B);
    /* A had not asked for the queue: it is out. */
    assert_int_equal(A->count, 0);
    assert_int_equal(request(C, "a.b", REPLACE), WIRE_NAME_TAKEN);
    release(B, "a.b");
    assert_change("a.b", B, NULL);
}

static void test_replaced_owner_waits_first(void **state)
{
    request(A, "a.b", ALLOW | QUEUE);
    request(B, "a.b", QUEUE);
    assert_int_equal(request(C, "a.b", REPLACE), 0);
    assert_change("a.b", A, C);
    assert_int_equal(A->count, 1);
    release(C, "a.b");
    assert_change("a.b", C, A);
    release(A, "a.b");
    assert_change("a.b", A, B);
}

static void test_replace_from_the_queue(void **state)
{
    request(A, "a.b", ALLOW);
    request(B, "a.b", QUEUE);
    assert_int_equal(request(B, "a.b", REPLACE), 0);
    assert_change("a.b", A, B);
    assert_int_equal(B->count, 1);
    assert_int_equal(A->count, 0);
}

/* An owner can change its mind. */
static void test_allowing_later(void **state)
{
    request(A, "a.b", 0);
    assert_int_equal(request(B, "a.b", REPLACE), WIRE_NAME_TAKEN);
    request(A, "a.b", ALLOW);
    assert_int_equal(request(B, "a.b", REPLACE), 0);
    request(B, "a.b", ALLOW);
    request(B, "a.b", 0);
    assert_int_equal(request(A, "a.b", REPLACE), WIRE_NAME_TAKEN);
}

static void test_leave(void **state)
{
    unsigned changes = 0, to_b = 0, to_nobody = 0;

    request(A, "a.1x", 0);
    request(A, "a.b", 0);
    request(A, "a.c", 0);
    request(B, "a.c", QUEUE);
    request(C, "a.d", 0);
    request(A, "a.d", QUEUE);
    while (names_leave(&fixture.names, A, &fixture.change)) {
        changes++;
        to_b += fixture.change.before == A && fixture.change.after == B;
        to_nobody += fixture.change.before == A && !fixture.change.after;
    }
    assert_int_equal(changes, 4);
    assert_int_equal(to_b, 1);
    assert_int_equal(to_nobody, 2);
    assert_ptr_equal(owner_of("a.c"), B);
    assert_ptr_equal(owner_of("a.d"), C);
    assert_false(names_leave(&fixture.names, A, &fixture.change));
}

static void test_limit(void **state)
{
    struct name_request wish = {.queue = true};
    char name[16];

    for (unsigned i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "a.n%u", i);
        assert_int_equal(names_request(&fixture.names, A, span_from(name), wish, 3, &fixture.state,
                                       &fixture.change),
                         0);
    }
    assert_int_equal(
        names_request(&fixture.names, A, SPAN("a.more"), wish, 3, &fixture.state, &fixture.change),
        WIRE_LIMIT_EXCEEDED);
    assert_null(names_find(&fixture.names, SPAN("a.more")));
    /* What it has already costs nothing more; a place in a queue does. */
    assert_int_equal(
        names_request(&fixture.names, A, SPAN("a.n1"), wish, 3, &fixture.state, &fixture.change),
        0);
    request(B, "a.b", 0);
    assert_int_equal(
        names_request(&fixture.names, A, SPAN("a.b"), wish, 3, &fixture.state, &fixture.change),
        WIRE_LIMIT_EXCEEDED);
    release(A, "a.n0");
    assert_int_equal(
        names_request(&fixture.names, A, SPAN("a.b"), wish, 3, &fixture.state, &fixture.change), 0);
}

/* ---------------------------------------------------------------- sharing */

static bool owns(const char *name, const struct name_owner *owner)
{
    struct name *found = names_find(&fixture.names, span_from(name));

    return found && names_owns(&fixture.names, found, owner);
}

static struct name_owner *turn(const char *name)
{
    return name_take_turn(names_find(&fixture.names, span_from(name)));
}

static void test_sharing(void **state)
{
    assert_int_equal(request(A, "a.b", SHARED), 0);
    assert_int_equal(fixture.state, NAME_SHARED);
    assert_change("a.b", NULL, A);
    assert_true(fixture.change.changed);
    assert_int_equal(request(B, "a.b", SHARED), 0);
    assert_int_equal(fixture.state, NAME_SHARED);
    assert_change("a.b", A, A);
    assert_true(fixture.change.changed);
    assert_true(owns("a.b", A) && owns("a.b", B) && !owns("a.b", C));
    assert_int_equal(B->count, 1);

    /* Once more, nothing is new. */
    assert_int_equal(request(B, "a.b", SHARED), 0);
    assert_false(fixture.change.changed);
    assert_int_equal(B->count, 1);

    assert_int_equal(release(A, "a.b"), 0);
    assert_change("a.b", A, B);
    assert_true(fixture.change.changed);
    assert_int_equal(release(B, "a.b"), 0);
    assert_change("a.b", B, NULL);
    assert_null(names_find(&fixture.names, SPAN("a.b")));
}

/* Whoever wants it alone is refused, or waits until nobody shares it any more. */
static void test_shared_is_taken(void **state)
{
    request(A, "a.b", SHARED | ALLOW);
    request(B, "a.b", SHARED | ALLOW);
    assert_int_equal(request(C, "a.b", 0), WIRE_NAME_TAKEN);
    assert_int_equal(request(C, "a.b", REPLACE), WIRE_NAME_TAKEN);
    assert_int_equal(request(C, "a.b", QUEUE), 0);
    assert_int_equal(fixture.state, NAME_QUEUED);
    assert_false(fixture.change.changed);
    /* A share is not lost by asking for all of it. */
    assert_int_equal(request(B, "a.b", QUEUE), WIRE_NAME_TAKEN);
    assert_true(owns("a.b", B));
    release(A, "a.b");
    assert_true(owns("a.b", B) && !owns("a.b", C));
    release(B, "a.b");
    assert_change("a.b", B, C);
    assert_int_equal(request(A, "a.b", SHARED), WIRE_NAME_TAKEN);
    assert_int_equal(request(A, "a.b", SHARED | REPLACE), WIRE_NAME_TAKEN);
}

/* The only owner changes its mind, both ways. */
static void test_changing_ones_mind(void **state)
{
    request(A, "a.b", 0);
    request(B, "a.b", SHARED | QUEUE);
    assert_int_equal(fixture.state, NAME_QUEUED);
    request(C, "a.b", QUEUE);
    request(&fixture.owners[3], "a.b", SHARED | QUEUE);

    /* Who waits for a share has one at once, whoever waits before it. */
    assert_int_equal(request(A, "a.b", SHARED), 0);
    assert_int_equal(fixture.state, NAME_SHARED);
    assert_change("a.b", A, A);
    assert_true(fixture.change.changed);
    assert_true(fixture.change.opened);
    assert_ptr_equal(fixture.change.by, A);
    assert_true(owns("a.b", A) && owns("a.b", B) && !owns("a.b", C) &&
                owns("a.b", &fixture.owners[3]));

    release(B, "a.b");
    release(&fixture.owners[3], "a.b");
    assert_int_equal(request(A, "a.b", ALLOW), 0);
    assert_int_equal(fixture.state, NAME_OWNED);
    assert_true(fixture.change.changed);
    assert_int_equal(request(B, "a.b", SHARED), WIRE_NAME_TAKEN);
    /* It may be replaced now, by one who shares. */
    assert_int_equal(request(B, "a.b", SHARED | REPLACE), 0);
    assert_int_equal(fixture.state, NAME_SHARED);
    assert_change("a.b", A, B);
    assert_int_equal(request(A, "a.b", SHARED), 0);
    assert_int_equal(fixture.state, NAME_SHARED);
}

/* The next in the queue decides whether the name is shared. */
static void test_inherited_share(void **state)
{
    request(A, "a.b", 0);
    request(B, "a.b", SHARED | QUEUE);
    request(C, "a.b", QUEUE);
    request(&fixture.owners[3], "a.b", SHARED | QUEUE);
    release(A, "a.b");
    assert_change("a.b", A, B);
    assert_true(owns("a.b", B) && !owns("a.b", C) && owns("a.b", &fixture.owners[3]));
    assert_true(fixture.change.opened);
    assert_ptr_equal(fixture.change.by, A);
    release(B, "a.b");
    release(&fixture.owners[3], "a.b");
    assert_change("a.b", &fixture.owners[3], C);
    assert_false(name_is_shared(names_find(&fixture.names, SPAN("a.b"))));
}

static void test_turns(void **state)
{
    request(A, "a.b", SHARED);
    assert_ptr_equal(turn("a.b"), A);
    assert_ptr_equal(turn("a.b"), A);
    request(B, "a.b", SHARED);
    request(C, "a.b", SHARED);
    assert_ptr_equal(turn("a.b"), A);
    assert_ptr_equal(turn("a.b"), B);
    assert_ptr_equal(turn("a.b"), C);
    assert_ptr_equal(turn("a.b"), A);
    /* Whose turn it is goes: it is the next one's. */
    release(B, "a.b");
    assert_ptr_equal(turn("a.b"), C);
    assert_ptr_equal(turn("a.b"), A);
    release(C, "a.b");
    assert_ptr_equal(turn("a.b"), A);
    release(A, "a.b");
    request(B, "a.b", 0);
    assert_ptr_equal(turn("a.b"), B);
}

/* Those who remember an owner look at the generation. */
static void test_generation(void **state)
{
    uint64_t before = fixture.names.generation;

    request(A, "a.b", ALLOW);
    assert_int_not_equal(fixture.names.generation, before);
    before = fixture.names.generation;
    request(A, "a.b", ALLOW);
    request(B, "a.b", QUEUE);
    request(C, "a.b", 0);
    assert_int_equal(fixture.names.generation, before);
    request(C, "a.b", REPLACE);
    assert_int_not_equal(fixture.names.generation, before);
    before = fixture.names.generation;
    release(C, "a.b");
    assert_int_not_equal(fixture.names.generation, before);
    before = fixture.names.generation;
    request(B, "a.b", SHARED);
    assert_int_not_equal(fixture.names.generation, before);
    before = fixture.names.generation;
    request(C, "a.b", SHARED);
    assert_int_not_equal(fixture.names.generation, before);
    before = fixture.names.generation;
    release(C, "a.b");
    assert_int_not_equal(fixture.names.generation, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_request_release),
        TEST(test_again),
        TEST(test_taken),
        TEST(test_queue),
        TEST(test_leaving_the_queue),
        TEST(test_giving_up_the_place),
        TEST(test_keeping_the_place),
        TEST(test_replace),
        TEST(test_replaced_owner_waits_first),
        TEST(test_replace_from_the_queue),
        TEST(test_allowing_later),
        TEST(test_leave),
        TEST(test_limit),
        TEST(test_sharing),
        TEST(test_shared_is_taken),
        TEST(test_changing_ones_mind),
        TEST(test_inherited_share),
        TEST(test_turns),
        TEST(test_generation),
    };

    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
