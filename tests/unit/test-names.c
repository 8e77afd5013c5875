/* SPDX-License-Identifier: MIT */
/*
 * Ownership of names on stack objects: every transition with the change it reports,
 * then random requests against a model with plain arrays.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "busd/names.h"
#include "libbus/base/macros.h"
#include "libbus/wire/errors.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"
#include "tests/support/users.h"

#define SEED   5150
#define OWNERS 5
#define LIMIT  64

struct fixture {
    struct users users;
    struct names names;
    struct name_owner owners[OWNERS];
    struct name_change change;
    enum name_state state;
};

static struct fixture fixture;

#define A (&fixture.owners[0])
#define B (&fixture.owners[1])
#define C (&fixture.owners[2])

static int setup(void **state)
{
    struct quota_user *user = users_begin(&fixture.users);

    names_init(&fixture.names);
    for (unsigned i = 0; i < OWNERS; i++)
        name_owner_init(&fixture.owners[i], user);
    return 0;
}

static int teardown(void **state)
{
    for (unsigned i = 0; i < OWNERS; i++) {
        while (names_leave(&fixture.names, &fixture.owners[i], &fixture.change))
            continue;
        assert_int_equal(fixture.owners[i].count, 0);
    }
    /* Asserts that nothing is left. */
    names_deinit(&fixture.names);
    users_end(&fixture.users);
    return 0;
}

#define QUEUE   1
#define REPLACE 2
#define ALLOW   4

static int request(struct name_owner *owner, const char *name, unsigned flags)
{
    struct name_request wish = {
        .queue = flags & QUEUE, .replace = flags & REPLACE, .allow_replacement = flags & ALLOW};

    return names_request(&fixture.names, owner, span_from(name), wish, LIMIT, &fixture.state,
                         &fixture.change);
}

static int release(struct name_owner *owner, const char *name)
{
    return names_release(&fixture.names, owner, span_from(name), &fixture.change);
}

static void assert_change(const char *name, const struct name_owner *before,
                          const struct name_owner *after)
{
    assert_int_equal(fixture.change.size, strlen(name));
    assert_memory_equal(fixture.change.text, name, strlen(name));
    assert_ptr_equal(fixture.change.before, before);
    assert_ptr_equal(fixture.change.after, after);
}

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
}

/* ------------------------------------------------ against a model */

struct model_claim {
    int owner;
    bool queue;
    bool allow;
};

struct model_name {
    struct model_claim claims[OWNERS + 1];
    int count;
};

static int model_find(const struct model_name *name, int owner)
{
    for (int i = 0; i < name->count; i++)
        if (name->claims[i].owner == owner)
            return i;
    return -1;
}

static void model_drop(struct model_name *name, int index)
{
    memmove(&name->claims[index], &name->claims[index + 1],
            (size_t)(name->count - index - 1) * sizeof(name->claims[0]));
    name->count--;
}

static int model_request(struct model_name *name, int owner, unsigned flags)
{
    struct model_claim claim = {owner, flags & QUEUE, flags & ALLOW};
    int index = model_find(name, owner);

    if (name->count == 0 || index == 0) {
        name->claims[0] = claim;
        name->count += index < 0;
        return 0;
    }
    if (flags & REPLACE && name->claims[0].allow) {
        if (index > 0)
            model_drop(name, index);
        memmove(&name->claims[1], &name->claims[0], (size_t)name->count * sizeof(claim));
        name->count++;
        name->claims[0] = claim;
        if (!name->claims[1].queue)
            model_drop(name, 1);
        return 0;
    }
    if (!(flags & QUEUE)) {
        if (index > 0)
            model_drop(name, index);
        return WIRE_NAME_TAKEN;
    }
    if (index < 0)
        index = name->count++;
    name->claims[index] = claim;
    return 0;
}

static void assert_like_model(const struct model_name *model, const char *text)
{
    struct name *name = names_find(&fixture.names, span_from(text));
    int index = 0;

    if (!name) {
        assert_int_equal(model->count, 0);
        return;
    }
    LIST_FOREACH (node, &name->queue) {
        struct name_claim *claim = LIST_ENTRY(node, struct name_claim, by_name);
        assert_in_range(index, 0, model->count - 1);
        assert_ptr_equal(claim->owner, &fixture.owners[model->claims[index].owner]);
        index++;
    }
    assert_int_equal(index, model->count);
}

static void test_random(void **state)
{
    static const char *const texts[] = {"a.a", "a.b", "a.c"};
    struct model_name models[ARRAY_SIZE(texts)] = {0};
    struct random random = {.state = SEED};

    for (unsigned round = 0; round < 100000; round++) {
        int owner = (int)random_below(&random, OWNERS);
        unsigned which = random_below(&random, ARRAY_SIZE(texts)), flags = random_below(&random, 8);
        struct model_name *model = &models[which];
        int before = model->count ? model->claims[0].owner : -1, result, expected;

        if (random_one_in(&random, 3)) {
            int index = model_find(model, owner);
            expected = index < 0 ? WIRE_NOT_OWNER : 0;
            if (index >= 0)
                model_drop(model, index);
            result = release(&fixture.owners[owner], texts[which]);
        } else {
            expected = model_request(model, owner, flags);
            result = request(&fixture.owners[owner], texts[which], flags);
            if (result == 0)
                assert_int_equal(fixture.state,
                                 model->claims[0].owner == owner ? NAME_OWNED : NAME_QUEUED);
        }
        CHECK(result == expected, "seed %d round %u: %d instead of %d", SEED, round, result,
              expected);
        if (result == 0) {
            int after = model->count ? model->claims[0].owner : -1;
            assert_change(texts[which], before < 0 ? NULL : &fixture.owners[before],
                          after < 0 ? NULL : &fixture.owners[after]);
        }
        assert_like_model(model, texts[which]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
        TEST(test_generation),
        TEST(test_random),
    };

    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
