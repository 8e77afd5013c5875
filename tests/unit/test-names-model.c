/* SPDX-License-Identifier: MIT */
/* Random requests for names, against a model with plain arrays. */
#include "libbus/base/macros.h"
#include "tests/support/random.h"
#include "tests/unit/names-fixture.h"

#define SEED 5150

struct model_claim {
    int owner;
    bool queue;
    bool allow;
    bool shared;
};

/* The first `owners` claims own it, the others wait. */
struct model_name {
    struct model_claim claims[OWNERS + 1];
    int count;
    int owners;
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
    name->owners -= index < name->owners;
}

/* Makes the claim the last of the owners. */
static void model_own(struct model_name *name, int index)
{
    struct model_claim claim = name->claims[index];

    memmove(&name->claims[name->owners + 1], &name->claims[name->owners],
            (size_t)(index - name->owners) * sizeof(claim));
    name->claims[name->owners++] = claim;
}

/* Whoever may have it, has it. */
static void model_serve(struct model_name *name)
{
    if (name->owners == 0 && name->count > 0)
        name->owners = 1;
    for (int i = name->owners; name->owners > 0 && name->claims[0].shared && i < name->count; i++)
        if (name->claims[i].shared)
            model_own(name, i);
}

static int model_request(struct model_name *name, int owner, unsigned flags)
{
    struct model_claim claim = {owner, flags & QUEUE, flags & ALLOW, flags & SHARED};
    int index = model_find(name, owner);

    if (name->count == 0 || (index == 0 && name->owners == 1)) {
        name->claims[0] = claim;
        name->count += index < 0;
        model_serve(name);
        return 0;
    }
    if (name->claims[0].shared && index >= 0 && index < name->owners) {
        if (!claim.shared)
            return WIRE_NAME_TAKEN;
        name->claims[index] = claim;
        return 0;
    }
    if (flags & REPLACE && name->claims[0].allow && !name->claims[0].shared) {
        if (index > 0)
            model_drop(name, index);
        memmove(&name->claims[1], &name->claims[0], (size_t)name->count * sizeof(claim));
        name->count++;
        name->claims[0] = claim;
        if (!name->claims[1].queue)
            model_drop(name, 1);
        model_serve(name);
        return 0;
    }
    if (!(flags & QUEUE) && !(claim.shared && name->claims[0].shared)) {
        if (index > 0)
            model_drop(name, index);
        return WIRE_NAME_TAKEN;
    }
    if (index < 0)
        index = name->count++;
    name->claims[index] = claim;
    model_serve(name);
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
    struct list *const lists[] = {&name->owners, &name->queue};
    for (unsigned i = 0; i < ARRAY_SIZE(lists); i++) {
        LIST_FOREACH (node, lists[i]) {
            struct name_claim *claim = LIST_ENTRY(node, struct name_claim, by_name);
            assert_in_range(index, 0, model->count - 1);
            assert_ptr_equal(claim->owner, &fixture.owners[model->claims[index].owner]);
            assert_int_equal(claim->owns, index < model->owners);
            assert_int_equal(claim->owns, names_owns(&fixture.names, name, claim->owner));
            index++;
        }
    }
    assert_int_equal(index, model->count);
    assert_int_equal(name->owner_count, model->owners);
    assert_int_equal(name_is_shared(name), model->claims[0].shared);
    assert_true(name->turn && name->turn->name == name && name->turn->owns);
}

/* Whether others own it now, or own it in another way. */
static bool model_differs(const struct model_name *a, const struct model_name *b)
{
    bool differs = a->owners != b->owners;

    for (int i = 0; i < a->owners && !differs; i++)
        differs =
            a->claims[i].owner != b->claims[i].owner || a->claims[i].shared != b->claims[i].shared;
    return differs;
}

static void test_random(void **state)
{
    static const char *const texts[] = {"a.a", "a.b", "a.c"};
    struct model_name models[ARRAY_SIZE(texts)] = {0};
    struct random random = {.state = SEED};

    for (unsigned round = 0; round < 100000; round++) {
        int owner = (int)random_below(&random, OWNERS);
        unsigned which = random_below(&random, ARRAY_SIZE(texts)),
                 flags = random_below(&random, 16);
        struct model_name *model = &models[which], old = *model;
        int before = model->count ? model->claims[0].owner : -1, result, expected;

        if (random_one_in(&random, 3)) {
            int index = model_find(model, owner);
            expected = index < 0 ? WIRE_NOT_OWNER : 0;
            if (index >= 0)
                model_drop(model, index);
            model_serve(model);
            result = release(&fixture.owners[owner], texts[which]);
        } else {
            expected = model_request(model, owner, flags);
            result = request(&fixture.owners[owner], texts[which], flags);
            if (result == 0)
                assert_int_equal(fixture.state, model_find(model, owner) >= model->owners
                                                    ? NAME_QUEUED
                                                : model->claims[0].shared ? NAME_SHARED
                                                                          : NAME_OWNED);
        }
        CHECK(result == expected, "seed %d round %u: %d instead of %d", SEED, round, result,
              expected);
        if (result == 0) {
            int after = model->count ? model->claims[0].owner : -1;
            assert_change(texts[which], before < 0 ? NULL : &fixture.owners[before],
                          after < 0 ? NULL : &fixture.owners[after]);
            assert_int_equal(fixture.change.changed, model_differs(&old, model));
        }
        assert_like_model(model, texts[which]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_random),
    };

    return cmocka_run_group_tests_name("names-model", tests, NULL, NULL);
}
