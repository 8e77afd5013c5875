/* SPDX-License-Identifier: MIT */
#include "tests/support/verdicts.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "busd/policy.h"
#include "libbus/base/macros.h"

#define VERB(name) (1u << POLICY_##name)
#define ALL        ((1u << POLICY_VERB_COUNT) - 1)

/* Recursive, on texts split at dots. */
static bool naive_fits(const char *pattern, const char *text)
{
    size_t p = strcspn(pattern, "."), t = text ? strcspn(text, ".") : 0;
    const char *pattern_rest = pattern[p] ? pattern + p + 1 : NULL;
    const char *text_rest = text && text[t] ? text + t + 1 : NULL;

    if (strcmp(pattern, "#") == 0)
        return true;
    if (!text)
        return false;
    if (!(p == 1 && *pattern == '*') && !(p == t && strncmp(pattern, text, p) == 0))
        return false;
    if (!pattern_rest)
        return !text_rest;
    return naive_fits(pattern_rest, text_rest);
}

/* Everything as plain texts. */
struct client {
    uid_t uid;
    gid_t gid;
    gid_t gids[3];
    size_t gid_count;
    const char *label;
    const char *names[3];
    size_t name_count;
};

struct question {
    enum policy_verb verb;
    const char *name;
    const char *method;
    const char *topic;
    bool any_method;
    bool every_method;
    const struct client *callee;
};

static bool naive_any_fits(const char *pattern, const struct client *client)
{
    for (size_t i = 0; client && i < client->name_count; i++)
        if (naive_fits(pattern, client->names[i]))
            return true;
    return false;
}

static bool naive_matches(const struct policy_rule *rule, const struct client *client,
                          const struct question *question)
{
    bool in_group = client->gid == rule->gid;

    for (size_t i = 0; i < client->gid_count; i++)
        in_group = in_group || client->gids[i] == rule->gid;
    if (!(rule->verbs >> question->verb & 1))
        return false;
    if (rule->has_uid && client->uid != rule->uid)
        return false;
    if (rule->has_gid && !in_group)
        return false;
    if (rule->label && strcmp(client->label, rule->label) != 0)
        return false;
    if (rule->sender && !naive_any_fits(rule->sender, client))
        return false;
    if (rule->name && !naive_fits(rule->name, question->name))
        return false;
    if (rule->topic && !naive_fits(rule->topic, question->topic))
        return false;
    if (rule->method && question->any_method && !rule->allow)
        return false;
    if (rule->method && !question->any_method && !(question->every_method && !rule->allow) &&
        !naive_fits(rule->method, question->method))
        return false;
    if (question->verb == POLICY_CALL && strcmp(question->name, "bus") == 0)
        return rule->to && strcmp(rule->to, "bus") == 0;
    return !rule->to || naive_fits(rule->to, question->name) ||
           naive_any_fits(rule->to, question->callee);
}

/* The index of the rule that decides, negative if it denies; 0: none does. */
static int naive_decide(const struct policy *policy, const struct client *client,
                        const struct question *question)
{
    for (size_t i = 0; i < policy->count; i++)
        if (naive_matches(&policy->rules[i], client, question))
            return policy->rules[i].allow ? (int)i + 1 : -(int)(i + 1);
    return 0;
}

static const char *const name_texts[] = {"a.a", "a.b", "a.a.b", "b.a"};
static const char *const pattern_texts[] = {"a.a", "a.b", "a.*", "a.#", "#",
                                            "*.a", "*.#", "b.a", "*"};
static const char *const topic_texts[] = {"a", "a.a", "a.b", "b.a", "bus.a", "bus.a.b"};
static const char *const method_texts[] = {"a", "b", "a.b"};
static const char *const labels[] = {"", "x", "y"};

#define PICK(random, array) array[random_below(random, ARRAY_SIZE(array))]

static char *maybe_pattern(struct random *random)
{
    return random_one_in(random, 2) ? strdup(PICK(random, pattern_texts)) : NULL;
}

static void add_rule(struct policy *policy, struct random *random)
{
    struct policy_rule *rule = policy_add(policy);
    unsigned kind = random_below(random, 4);

    assert(rule);
    rule->allow = random_one_in(random, 2);
    rule->index = policy->count;
    rule->file = strdup("random");
    rule->has_uid = random_one_in(random, 4);
    rule->uid = random_below(random, 2);
    rule->has_gid = random_one_in(random, 4);
    rule->gid = random_below(random, 4);
    rule->label = random_one_in(random, 6) ? strdup(PICK(random, labels)) : NULL;
    rule->sender = random_one_in(random, 6) ? strdup(PICK(random, pattern_texts)) : NULL;
    if (kind == 0) {
        rule->verbs = VERB(OWN);
        rule->name = maybe_pattern(random);
    } else if (kind == 1) {
        rule->verbs = VERB(CALL);
        rule->to = random_one_in(random, 4) ? strdup("bus") : maybe_pattern(random);
        rule->method = maybe_pattern(random);
    } else if (kind == 2) {
        rule->verbs = 1 + random_below(random, 3);
        rule->verbs =
            (rule->verbs & 1 ? VERB(PUBLISH) : 0) | (rule->verbs & 2 ? VERB(SUBSCRIBE) : 0);
        rule->topic = maybe_pattern(random);
    } else {
        rule->verbs = 1 + random_below(random, ALL);
    }
}

static struct client make_client(struct random *random)
{
    struct client client = {.uid = random_below(random, 3), .gid = random_below(random, 4)};

    client.gid_count = random_below(random, 4);
    for (size_t i = 0; i < client.gid_count; i++)
        client.gids[i] = random_below(random, 4);
    client.label = PICK(random, labels);
    return client;
}

/* Who owns what, as the broker's evaluator wants it. */
struct world {
    struct policy *policy;
    struct limits limits;
    struct quotas quotas;
    struct quota_user *account;
    struct names names;
    struct name_owner first, second;
};

static void world_init(struct world *world)
{
    world->policy = policy_new();
    limits_init(&world->limits, false);
    quotas_init(&world->quotas, &world->limits);
    world->account = quotas_get_user(&world->quotas, 1000);
    assert(world->policy && world->account);
    names_init(&world->names);
    name_owner_init(&world->first, world->account);
    name_owner_init(&world->second, world->account);
}

static void world_deinit(struct world *world)
{
    struct name_change change;

    while (names_leave(&world->names, &world->first, &change) ||
           names_leave(&world->names, &world->second, &change))
        continue;
    policy_unref(world->policy);
    names_deinit(&world->names);
    quota_user_unref(world->account);
    quotas_deinit(&world->quotas);
}

static void own(struct world *world, struct name_owner *owner, const char *name)
{
    struct name_request request = {.queue = true};
    struct name_change change;
    enum name_state state;

    int r = names_request(&world->names, owner, span_from(name), request, 64, &state, &change);
    assert(r == 0);
    (void)r;
}

/* Each name goes to at most one of the two. */
static void hand_out_names(struct world *world, struct random *random, struct client *first,
                           struct client *second)
{
    for (size_t i = 0; i < ARRAY_SIZE(name_texts); i++) {
        unsigned who = random_below(random, 4);
        struct client *client = who == 0 ? first : who == 1 ? second : NULL;
        if (!client || client->name_count == ARRAY_SIZE(client->names))
            continue;
        client->names[client->name_count++] = name_texts[i];
        own(world, client == first ? &world->first : &world->second, name_texts[i]);
    }
}

static char *check_question(struct world *world, struct random *random,
                            const struct policy_view *view, const struct client *client,
                            const struct client *callee)
{
    static const char *const destinations[] = {"bus", ":7", "a.a", "a.b", "b.a", "c.c"};
    struct question question = {.verb = random_below(random, POLICY_VERB_COUNT),
                                .name = random_one_in(random, 2) ? PICK(random, name_texts)
                                                                 : PICK(random, destinations),
                                .method = PICK(random, method_texts),
                                .topic = PICK(random, topic_texts)};
    char *wrong = NULL;

    if (question.verb == POLICY_CALL) {
        question.any_method = random_one_in(random, 4);
        question.every_method = random_one_in(random, 4);
        question.callee =
            random_one_in(random, 2) && strcmp(question.name, "bus") != 0 ? callee : NULL;
    }
    struct policy_question asked = {.verb = question.verb,
                                    .actor = &world->first,
                                    .callee = question.callee ? &world->second : NULL,
                                    .name = span_from(question.name),
                                    .method = span_from(question.method),
                                    .topic = span_from(question.topic),
                                    .any_method = question.any_method,
                                    .every_method = question.every_method};
    struct policy_verdict verdict = policy_ask(view, &asked);
    int expected = naive_decide(world->policy, client, &question);
    int got = !verdict.rule   ? 0
              : verdict.allow ? (int)verdict.rule->index
                              : -(int)verdict.rule->index;
    bool about_bus = question.verb == POLICY_CALL && strcmp(question.name, "bus") == 0;
    bool right = verdict.allow == (expected > 0 || (expected == 0 && about_bus));
    if ((got != expected || !right) &&
        asprintf(&wrong, "%s %s %s %s: rule %d instead of %d", policy_verb_name(question.verb),
                 question.name, question.method, question.topic, got, expected) < 0)
        abort();
    return wrong;
}

char *verdicts_compare(struct random *random, unsigned questions)
{
    struct client client = make_client(random), callee = {0};
    struct credentials credentials = {
        .uid = client.uid, .gid = client.gid, .gids = client.gids, .gid_count = client.gid_count};
    size_t count = random_below(random, 12);
    struct world world;
    char *wrong = NULL;

    world_init(&world);
    for (size_t i = 0; i < count; i++)
        add_rule(world.policy, random);
    hand_out_names(&world, random, &client, &callee);
    struct policy_view *view = policy_view_get(world.policy, &credentials, client.label);
    assert(view);
    for (unsigned i = 0; i < questions && !wrong; i++)
        wrong = check_question(&world, random, view, &client, &callee);
    policy_view_unref(view);
    world_deinit(&world);
    return wrong;
}
