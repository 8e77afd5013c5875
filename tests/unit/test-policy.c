/* SPDX-License-Identifier: MIT */
/*
 * Verdicts: what each key of a rule means, which rule decides, what a view leaves out;
 * then random rules and questions against an evaluator that knows nothing of views,
 * patterns' fast paths or cached verbs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "busd/policy.h"
#include "libbus/base/macros.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"
#include "tests/support/verdicts.h"

#define SEED      1729
#define ROUNDS    3000
#define QUESTIONS 40

static struct policy *policy;
static struct names names;
static struct name_owner alice, bob;
static struct limits limits;
static struct quotas quotas;
static struct quota_user *account;

static int setup(void **state)
{
    policy = policy_new();
    limits_init(&limits, false);
    quotas_init(&quotas, &limits);
    account = quotas_get_user(&quotas, 1000);
    names_init(&names);
    name_owner_init(&alice, account);
    name_owner_init(&bob, account);
    return policy && account ? 0 : -1;
}

static void leave(struct name_owner *owner)
{
    struct name_change change;

    while (names_leave(&names, owner, &change))
        continue;
}

static int teardown(void **state)
{
    policy = policy_unref(policy);
    leave(&alice);
    leave(&bob);
    names_deinit(&names);
    account = quota_user_unref(account);
    quotas_deinit(&quotas);
    return 0;
}

static void own(struct name_owner *owner, const char *name)
{
    struct name_request request = {.queue = true};
    struct name_change change;
    enum name_state state;

    assert_int_equal(names_request(&names, owner, span_from(name), request, 64, &state, &change),
                     0);
}

#define VERB(name) (1u << POLICY_##name)
#define T(text)    ((char *)(uintptr_t)(text)) /* of a rule to be copied */
#define ALL        ((1u << POLICY_VERB_COUNT) - 1)

/* Appends a rule with these keys; the texts are copied. */
static struct policy_rule *add(bool allow, unsigned verbs, struct policy_rule keys)
{
    char **texts[] = {&keys.label,  &keys.sender, &keys.name,  &keys.to,
                      &keys.method, &keys.topic,  &keys.reason};
    struct policy_rule *rule = policy_add(policy);

    assert_non_null(rule);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (*texts[i])
            assert_non_null(*texts[i] = strdup(*texts[i]));
    *rule = keys;
    rule->allow = allow;
    rule->verbs = verbs;
    rule->index = policy->count;
    rule->file = strdup("test");
    return rule;
}

#define ALLOW(verbs, ...) add(true, verbs, (struct policy_rule){__VA_ARGS__})
#define DENY(verbs, ...)  add(false, verbs, (struct policy_rule){__VA_ARGS__})

/* The verdict for a client with this uid, the gid 100 and the groups 20 and 30. */
static struct policy_verdict ask_as(uid_t uid, const char *label, struct policy_question question)
{
    gid_t groups[] = {20, 30};
    struct credentials credentials = {.uid = uid, .gid = 100, .gids = groups, .gid_count = 2};
    struct policy_view *view = policy_view_get(policy, &credentials, label);

    assert_non_null(view);
    struct policy_verdict verdict = policy_ask(view, &question);
    policy_view_unref(view);
    return verdict;
}

/* The index of the rule that decides, negative if it denies; 0: none does. */
static int decide_as(uid_t uid, const char *label, struct policy_question question)
{
    struct policy_verdict verdict = ask_as(uid, label, question);

    if (!verdict.rule)
        return 0;
    assert_int_equal(verdict.allow, verdict.rule->allow);
    return verdict.allow ? (int)verdict.rule->index : -(int)verdict.rule->index;
}

#define DECIDE(...) decide_as(1000, "", (struct policy_question){__VA_ARGS__})

static struct policy_question own_question(const char *name)
{
    return (struct policy_question){.verb = POLICY_OWN, .name = span_from(name)};
}

static int decide_own(const char *name)
{
    return decide_as(1000, "", own_question(name));
}

static int decide_call(const struct name_owner *callee, const char *name, const char *method)
{
    return DECIDE(.verb = POLICY_CALL, .callee = callee, .name = span_from(name),
                  .method = span_from(method));
}

static int decide_topic(enum policy_verb verb, const char *topic)
{
    return DECIDE(.verb = verb, .topic = span_from(topic));
}

/* ------------------------------------------------------------- the rules */

static void test_nothing_is_denied(void **state)
{
    for (enum policy_verb verb = 0; verb < POLICY_VERB_COUNT; verb++) {
        struct policy_verdict verdict =
            ask_as(1000, "", (struct policy_question){.verb = verb, .name = SPAN("a.b")});
        assert_false(verdict.allow);
        assert_null(verdict.rule);
    }
}

static void test_first_match_wins(void **state)
{
    DENY(VERB(OWN), .name = T("org.example.A"));
    ALLOW(VERB(OWN), .name = T("org.example.#"));
    DENY(VERB(OWN), .name = T("org.example.B"));
    DENY(ALL);
    ALLOW(ALL);
    assert_int_equal(decide_own("org.example.A"), -1);
    assert_int_equal(decide_own("org.example.B"), 2);
    assert_int_equal(decide_own("org.example.A.B"), 2);
    assert_int_equal(decide_own("org.other.B"), -4);
    assert_int_equal(DECIDE(.verb = POLICY_MANAGE), -4);
}

/* Each verb has its rules and no other's. */
static void test_each_verb(void **state)
{
    for (enum policy_verb verb = 0; verb < POLICY_VERB_COUNT; verb++)
        ALLOW(1u << verb);
    for (enum policy_verb verb = 0; verb < POLICY_VERB_COUNT; verb++)
        assert_int_equal(DECIDE(.verb = verb, .name = SPAN("a.b"), .topic = SPAN("a")),
                         (int)verb + 1);
}

static void test_verb_names(void **state)
{
    for (enum policy_verb verb = 0; verb < POLICY_VERB_COUNT; verb++)
        assert_int_equal(policy_verb_from_name(span_from(policy_verb_name(verb))), verb);
    assert_int_equal(policy_verb_from_name(SPAN("own")), POLICY_OWN);
    assert_int_equal(policy_verb_from_name(SPAN("owns")), POLICY_VERB_COUNT);
    assert_int_equal(policy_verb_from_name(SPAN("ow")), POLICY_VERB_COUNT);
    assert_int_equal(policy_verb_from_name(SPAN("")), POLICY_VERB_COUNT);
}

static void test_uid(void **state)
{
    ALLOW(VERB(CONNECT), .has_uid = true, .uid = 0);
    ALLOW(VERB(CONNECT), .has_uid = true, .uid = 1000);
    ALLOW(VERB(CONNECT), .has_uid = true, .uid = 4294967294u);
    struct policy_question question = {.verb = POLICY_CONNECT};
    assert_int_equal(decide_as(0, "", question), 1);
    assert_int_equal(decide_as(1000, "", question), 2);
    assert_int_equal(decide_as(4294967294u, "", question), 3);
    assert_int_equal(decide_as(1001, "", question), 0);
}

static void test_groups(void **state)
{
    DENY(VERB(CONNECT), .has_gid = true, .gid = 0);
    DENY(VERB(OWN), .has_gid = true, .gid = 100);
    ALLOW(VERB(MONITOR), .has_gid = true, .gid = 20);
    ALLOW(VERB(MANAGE), .has_gid = true, .gid = 30);
    ALLOW(VERB(PUBLISH), .has_gid = true, .gid = 31);
    assert_int_equal(DECIDE(.verb = POLICY_CONNECT), 0);
    assert_int_equal(DECIDE(.verb = POLICY_OWN, .name = SPAN("a.b")), -2);
    assert_int_equal(DECIDE(.verb = POLICY_MONITOR), 3);
    assert_int_equal(DECIDE(.verb = POLICY_MANAGE), 4);
    assert_int_equal(decide_topic(POLICY_PUBLISH, "a"), 0);
}

/* Both have to be so. */
static void test_user_and_group(void **state)
{
    ALLOW(VERB(CONNECT), .has_uid = true, .uid = 1000, .has_gid = true, .gid = 31);
    ALLOW(VERB(CONNECT), .has_uid = true, .uid = 1001, .has_gid = true, .gid = 30);
    ALLOW(VERB(CONNECT), .has_uid = true, .uid = 1000, .has_gid = true, .gid = 30);
    assert_int_equal(DECIDE(.verb = POLICY_CONNECT), 3);
}

static void test_label(void **state)
{
    DENY(ALL, .label = T("sandbox"));
    ALLOW(ALL, .label = T("desktop"));
    struct policy_question question = {.verb = POLICY_CONNECT};
    assert_int_equal(decide_as(1000, "sandbox", question), -1);
    assert_int_equal(decide_as(1000, "desktop", question), 2);
    assert_int_equal(decide_as(1000, "desk", question), 0);
    assert_int_equal(decide_as(1000, "", question), 0);
}

static void test_sender(void **state)
{
    ALLOW(VERB(PUBLISH), .sender = T("org.example.*"));
    struct policy_question question = {
        .verb = POLICY_PUBLISH, .actor = &alice, .topic = SPAN("org.example.x")};
    assert_int_equal(decide_as(1000, "", question), 0);
    own(&alice, "org.other.A");
    assert_int_equal(decide_as(1000, "", question), 0);
    own(&alice, "org.example.A");
    assert_int_equal(decide_as(1000, "", question), 1);
    leave(&alice);
    assert_int_equal(decide_as(1000, "", question), 0);
    /* To wait for a name is not to have it. */
    own(&bob, "org.example.A");
    own(&alice, "org.example.A");
    assert_int_equal(decide_as(1000, "", question), 0);
    question.actor = &bob;
    assert_int_equal(decide_as(1000, "", question), 1);
    question.actor = NULL;
    assert_int_equal(decide_as(1000, "", question), 0);
}

static void test_patterns(void **state)
{
    ALLOW(VERB(SUBSCRIBE), .topic = T("a.*.c"));
    ALLOW(VERB(SUBSCRIBE), .topic = T("b.#"));
    ALLOW(VERB(SUBSCRIBE), .topic = T("c"));
    assert_int_equal(decide_topic(POLICY_SUBSCRIBE, "a.b.c"), 1);
    assert_int_equal(decide_topic(POLICY_SUBSCRIBE, "a.c"), 0);
    assert_int_equal(decide_topic(POLICY_SUBSCRIBE, "a.b.b.c"), 0);
    assert_int_equal(decide_topic(POLICY_SUBSCRIBE, "b"), 2);
    assert_int_equal(decide_topic(POLICY_SUBSCRIBE, "b.x.y"), 2);
    assert_int_equal(decide_topic(POLICY_SUBSCRIBE, "bb"), 0);
    assert_int_equal(decide_topic(POLICY_SUBSCRIBE, "c"), 3);
    assert_int_equal(decide_topic(POLICY_SUBSCRIBE, "c.c"), 0);
    assert_int_equal(decide_topic(POLICY_PUBLISH, "c"), 0);
}

/* A rule speaks of all there is, so a wildcard stands for "bus" as well. */
static void test_patterns_cover_the_bus(void **state)
{
    DENY(VERB(SUBSCRIBE), .topic = T("*.name.org.example.A"));
    DENY(VERB(SUBSCRIBE), .topic = T("*.peer.#"));
    ALLOW(VERB(SUBSCRIBE), .topic = T("#"));
    assert_int_equal(decide_topic(POLICY_SUBSCRIBE, "bus.name.org.example.A"), -1);
    assert_int_equal(decide_topic(POLICY_SUBSCRIBE, "bus.peer.7"), -2);
    assert_int_equal(decide_topic(POLICY_SUBSCRIBE, "bus.name.org.example.B"), 3);
}

static void test_methods(void **state)
{
    DENY(VERB(CALL), .to = T("org.example.A"), .method = T("Shutdown"));
    DENY(VERB(CALL), .method = T("Admin.#"));
    ALLOW(VERB(CALL), .to = T("org.example.#"));
    assert_int_equal(decide_call(NULL, "org.example.A", "Shutdown"), -1);
    assert_int_equal(decide_call(NULL, "org.example.A", "Start"), 3);
    assert_int_equal(decide_call(NULL, "org.example.B", "Shutdown"), 3);
    assert_int_equal(decide_call(NULL, "org.example.B", "Admin.Reset"), -2);
    assert_int_equal(decide_call(NULL, "org.other.B", "Start"), 0);
}

/* By whatever name a callee is called, the rules about each of its names count. */
static void test_callee_of_many_names(void **state)
{
    DENY(VERB(CALL), .to = T("org.example.Admin"));
    ALLOW(VERB(CALL), .to = T("org.example.Public"));
    own(&bob, "org.example.Public");
    assert_int_equal(decide_call(&bob, "org.example.Public", "M"), 2);
    assert_int_equal(decide_call(&bob, ":7", "M"), 2);
    own(&bob, "org.example.Admin");
    assert_int_equal(decide_call(&bob, "org.example.Public", "M"), -1);
    assert_int_equal(decide_call(&bob, "org.example.Admin", "M"), -1);
    assert_int_equal(decide_call(&bob, ":7", "M"), -1);
    assert_int_equal(decide_call(&alice, ":8", "M"), 0);
    /* Only the owner is meant, not who waits for the name. */
    own(&alice, "org.example.Admin");
    assert_int_equal(decide_call(&alice, ":8", "M"), 0);
}

/* As calls, the bus's own methods are governed by rules that name the bus, and by no
 * other, however wide. */
static void test_calls_to_the_bus(void **state)
{
    struct policy_verdict verdict;

    DENY(VERB(CALL), .to = T("bus"), .method = T("Stats"));
    DENY(VERB(CALL), .to = T("#"));
    DENY(ALL);
    verdict = ask_as(
        1000, "",
        (struct policy_question){.verb = POLICY_CALL, .name = SPAN("bus"), .method = SPAN("Ping")});
    assert_true(verdict.allow);
    assert_null(verdict.rule);
    assert_int_equal(decide_call(NULL, "bus", "Stats"), -1);
    assert_int_equal(decide_call(NULL, "org.example.A", "Stats"), -2);
}

/* The question whether any method would do: a rule that allows some does, one that
 * denies some does not. */
static void test_any_method(void **state)
{
    struct policy_question question = {
        .verb = POLICY_CALL, .name = SPAN("org.example.A"), .any_method = true};

    DENY(VERB(CALL), .method = T("M"));
    ALLOW(VERB(CALL), .to = T("org.example.A"), .method = T("N"));
    DENY(VERB(CALL), .to = T("org.example.A"));
    ALLOW(VERB(CALL));
    assert_int_equal(decide_as(1000, "", question), 2);
    question.name = SPAN("org.example.B");
    assert_int_equal(decide_as(1000, "", question), 4);
    policy->rules[1].allow = false;
    question.name = SPAN("org.example.A");
    assert_int_equal(decide_as(1000, "", question), -3);
}

/* A method that opens the way to all others: a rule that denies any of them does, one
 * that allows another does not help. */
static void test_every_method(void **state)
{
    struct policy_question question = {.verb = POLICY_CALL,
                                       .name = SPAN("org.example.A"),
                                       .method = SPAN("OpenChannel"),
                                       .every_method = true};

    assert_true(policy_opens_all(question.method));
    assert_false(policy_opens_all(SPAN("OpenChannels")));
    ALLOW(VERB(CALL), .to = T("org.example.A"), .method = T("M"));
    DENY(VERB(CALL), .to = T("org.example.A"), .method = T("Shutdown"));
    ALLOW(VERB(CALL));
    assert_int_equal(decide_as(1000, "", question), -2);
    question.name = SPAN("org.example.B");
    assert_int_equal(decide_as(1000, "", question), 3);
    /* Whoever says so means it. */
    question.name = SPAN("org.example.A");
    free(policy->rules[0].method);
    policy->rules[0].method = strdup("OpenChannel");
    assert_int_equal(decide_as(1000, "", question), 1);
}

/* ------------------------------------------------------------------ views */

static void test_always(void **state)
{
    gid_t group = 5;
    struct credentials root = {.uid = 0}, user = {.uid = 1000, .gids = &group, .gid_count = 1};

    ALLOW(ALL, .has_uid = true, .uid = 0);
    DENY(VERB(SUBSCRIBE), .topic = T("secret.#"));
    ALLOW(VERB(SUBSCRIBE) | VERB(PUBLISH));
    ALLOW(VERB(OWN), .sender = T("a.b"));
    struct policy_view *all = policy_view_get(policy, &root, "");
    struct policy_view *some = policy_view_get(policy, &user, "");
    assert_int_equal(all->always, ALL);
    assert_int_equal(all->dynamic, 0);
    assert_true(policy_always(all, POLICY_MANAGE));
    assert_int_equal(some->always, VERB(PUBLISH));
    assert_int_equal(some->dynamic, VERB(OWN));
    assert_true(policy_ever(some, POLICY_SUBSCRIBE));
    assert_true(policy_ever(some, POLICY_OWN));
    assert_false(policy_ever(some, POLICY_CALL));
    /* What stands behind the last word is not kept. */
    assert_int_equal(all->counts[POLICY_SUBSCRIBE], 1);
    assert_int_equal(some->counts[POLICY_SUBSCRIBE], 2);
    policy_view_unref(all);
    policy_view_unref(some);
}

/* One view for all with the same credentials, another for whoever differs. */
static void test_views_are_shared(void **state)
{
    gid_t groups[] = {1, 2}, others[] = {1, 3};
    struct credentials base = {.uid = 1, .gid = 1, .gids = groups, .gid_count = 2};
    struct credentials different[] = {
        {.uid = 2, .gid = 1, .gids = groups, .gid_count = 2},
        {.uid = 1, .gid = 2, .gids = groups, .gid_count = 2},
        {.uid = 1, .gid = 1, .gids = others, .gid_count = 2},
        {.uid = 1, .gid = 1, .gids = groups, .gid_count = 1},
        {.uid = 1, .gid = 1},
    };
    struct policy_view *view = policy_view_get(policy, &base, "a");
    struct policy_view *same = policy_view_get(policy, &base, "a");

    assert_ptr_equal(view, same);
    for (size_t i = 0; i < ARRAY_SIZE(different); i++) {
        struct policy_view *other = policy_view_get(policy, &different[i], "a");
        assert_ptr_not_equal(view, other);
        assert_int_not_equal(view->serial, other->serial);
        policy_view_unref(other);
    }
    struct policy_view *labelled = policy_view_get(policy, &base, "b");
    assert_ptr_not_equal(view, labelled);
    policy_view_unref(labelled);
    policy_view_unref(same);
    uint64_t serial = view->serial;
    policy_view_unref(view);
    /* Made anew, it is another one: nobody may mistake it for the first. */
    view = policy_view_get(policy, &base, "a");
    assert_int_not_equal(view->serial, serial);
    policy_view_unref(view);
}

/* A view outlives the configuration's reference to its policy. */
static void test_view_keeps_policy(void **state)
{
    struct credentials credentials = {.uid = 1};
    struct policy_question question = {.verb = POLICY_CONNECT};

    ALLOW(ALL);
    struct policy_view *view = policy_view_get(policy, &credentials, "");
    policy = policy_unref(policy);
    assert_true(policy_ask(view, &question).allow);
    policy_view_unref(view);
}

static void test_allow_all(void **state)
{
    assert_int_equal(policy_allow_all(policy), 0);
    for (enum policy_verb verb = 0; verb < POLICY_VERB_COUNT; verb++)
        assert_int_equal(DECIDE(.verb = verb, .topic = SPAN("bus.x"), .name = SPAN("a.b")), 1);
    assert_string_equal(policy->rules[0].file, "built-in");
}

/* ------------------------------------------------- against another evaluator */

static void test_random(void **state)
{
    struct random random = {.state = SEED};

    for (unsigned round = 0; round < ROUNDS; round++) {
        CLEANUP(cleanup_free) char *wrong = verdicts_compare(&random, QUESTIONS);
        CHECK(!wrong, "round %u (seed %d): %s", round, SEED, wrong);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_is_denied),
        TEST(test_first_match_wins),
        TEST(test_each_verb),
        TEST(test_verb_names),
        TEST(test_uid),
        TEST(test_groups),
        TEST(test_user_and_group),
        TEST(test_label),
        TEST(test_sender),
        TEST(test_patterns),
        TEST(test_patterns_cover_the_bus),
        TEST(test_methods),
        TEST(test_callee_of_many_names),
        TEST(test_calls_to_the_bus),
        TEST(test_any_method),
        TEST(test_every_method),
        TEST(test_always),
        TEST(test_views_are_shared),
        TEST(test_view_keeps_policy),
        TEST(test_allow_all),
        TEST(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
