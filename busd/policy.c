/* SPDX-License-Identifier: MIT */
#include "busd/policy.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/wire/grammar.h"

static const char *const verb_names[] = {
#define X(symbol, name) [POLICY_##symbol] = name,
    POLICY_VERBS(X)
#undef X
};

const char *policy_verb_name(enum policy_verb verb)
{
    return verb_names[verb];
}

enum policy_verb policy_verb_from_name(struct span name)
{
    enum policy_verb verb = 0;

    while (verb < POLICY_VERB_COUNT && !span_is(name, verb_names[verb]))
        verb++;
    return verb;
}

/* -------------------------------------------------------------- policy */

struct policy *policy_new(void)
{
    struct policy *policy = calloc(1, sizeof(*policy));

    if (!policy)
        return NULL;
    policy->refs = 1;
    list_init(&policy->views);
    return policy;
}

struct policy *policy_ref(struct policy *policy)
{
    policy->refs++;
    return policy;
}

static void rule_deinit(struct policy_rule *rule)
{
    free(rule->label);
    free(rule->sender);
    free(rule->name);
    free(rule->to);
    free(rule->method);
    free(rule->topic);
    free(rule->reason);
    free(rule->file);
}

struct policy *policy_unref(struct policy *policy)
{
    if (!policy || --policy->refs > 0)
        return NULL;
    assert(list_is_empty(&policy->views));
    for (size_t i = 0; i < policy->count; i++)
        rule_deinit(&policy->rules[i]);
    free(policy->rules);
    free(policy);
    return NULL;
}

struct policy_rule *policy_add(struct policy *policy)
{
    if (policy->count == policy->capacity) {
        size_t capacity = policy->capacity ? policy->capacity * 2 : 16;
        struct policy_rule *rules = realloc(policy->rules, capacity * sizeof(*rules));
        if (!rules)
            return NULL;
        policy->rules = rules;
        policy->capacity = capacity;
    }
    struct policy_rule *rule = &policy->rules[policy->count++];
    *rule = (struct policy_rule){0};
    return rule;
}

int policy_allow_all(struct policy *policy)
{
    struct policy_rule *rule = policy_add(policy);

    if (!rule)
        return -ENOMEM;
    rule->allow = true;
    rule->verbs = (1u << POLICY_VERB_COUNT) - 1;
    rule->index = 1;
    rule->file = strdup("built-in");
    return rule->file ? 0 : -ENOMEM;
}

/* ---------------------------------------------------------------- view */

static bool has_group(const struct policy_view *view, gid_t gid)
{
    if (view->gid == gid)
        return true;
    for (size_t i = 0; i < view->gid_count; i++)
        if (view->gids[i] == gid)
            return true;
    return false;
}

/* Whether the rule can concern such a client at all. */
static bool concerns(const struct policy_rule *rule, const struct policy_view *view)
{
    if (rule->has_uid && rule->uid != view->uid)
        return false;
    if (rule->has_gid && !has_group(view, rule->gid))
        return false;
    return !rule->label || strcmp(rule->label, view->label) == 0;
}

/* The bus's own methods are governed by the verbs of what they do; as calls they are
 * allowed unless a rule names the bus. */
static bool names_bus(const struct policy_rule *rule)
{
    return rule->to && strcmp(rule->to, "bus") == 0;
}

static bool is_unconditional(const struct policy_rule *rule)
{
    return !rule->sender && !rule->name && !rule->to && !rule->method && !rule->topic;
}

static bool compile_verb(struct policy_view *view, enum policy_verb verb)
{
    const struct policy *policy = view->policy;
    const struct policy_rule **rules = calloc(policy->count + 1, sizeof(*rules));
    bool decided = false;
    size_t count = 0;

    if (!rules)
        return false;
    for (size_t i = 0; i < policy->count; i++) {
        const struct policy_rule *rule = &policy->rules[i];
        if (!(rule->verbs & 1u << verb) || !concerns(rule, view))
            continue;
        /* Behind one that decides everything, only rules about the bus can decide. */
        if (decided && !names_bus(rule))
            continue;
        rules[count++] = rule;
        if (rule->sender)
            view->dynamic |= 1u << verb;
        decided = decided || is_unconditional(rule);
    }
    if (count > 0 && rules[0]->allow && is_unconditional(rules[0]))
        view->always |= 1u << verb;
    view->rules[verb] = rules;
    view->counts[verb] = count;
    return true;
}

static void view_free(struct policy_view *view)
{
    for (enum policy_verb verb = 0; verb < POLICY_VERB_COUNT; verb++)
        free(view->rules[verb]);
    list_remove(&view->link);
    policy_unref(view->policy);
    free(view->gids);
    free(view->label);
    free(view);
}

static struct policy_view *view_new(struct policy *policy, const struct credentials *credentials,
                                    const char *label)
{
    static uint64_t last_serial;
    struct policy_view *view = calloc(1, sizeof(*view));

    if (!view)
        return NULL;
    list_init(&view->link);
    view->refs = 1;
    view->policy = policy_ref(policy);
    view->serial = ++last_serial;
    view->uid = credentials->uid;
    view->gid = credentials->gid;
    view->gid_count = credentials->gid_count;
    view->gids = calloc(credentials->gid_count + 1, sizeof(*view->gids));
    view->label = strdup(label);
    bool complete = view->gids && view->label;
    if (complete && credentials->gid_count > 0)
        memcpy(view->gids, credentials->gids, credentials->gid_count * sizeof(*view->gids));
    for (enum policy_verb verb = 0; complete && verb < POLICY_VERB_COUNT; verb++)
        complete = compile_verb(view, verb);
    if (!complete) {
        view_free(view);
        return NULL;
    }
    list_append(&policy->views, &view->link);
    return view;
}

static bool is_same(const struct policy_view *view, const struct credentials *credentials,
                    const char *label)
{
    return view->uid == credentials->uid && view->gid == credentials->gid &&
           view->gid_count == credentials->gid_count && strcmp(view->label, label) == 0 &&
           (view->gid_count == 0 ||
            memcmp(view->gids, credentials->gids, view->gid_count * sizeof(*view->gids)) == 0);
}

struct policy_view *policy_view_get(struct policy *policy, const struct credentials *credentials,
                                    const char *label)
{
    LIST_FOREACH (node, &policy->views) {
        struct policy_view *view = LIST_ENTRY(node, struct policy_view, link);
        if (is_same(view, credentials, label))
            return policy_view_ref(view);
    }
    return view_new(policy, credentials, label);
}

struct policy_view *policy_view_ref(struct policy_view *view)
{
    view->refs++;
    return view;
}

struct policy_view *policy_view_unref(struct policy_view *view)
{
    if (view && --view->refs == 0)
        view_free(view);
    return NULL;
}

bool policy_ever(const struct policy_view *view, enum policy_verb verb)
{
    for (size_t i = 0; i < view->counts[verb]; i++)
        if (view->rules[verb][i]->allow)
            return true;
    return false;
}

/* ------------------------------------------------------------- verdict */

/* Whether the text fits the pattern; a wildcard in the first segment does fit the
 * broker's own topics here, and "#" a unique name: a rule speaks of all there is. */
static bool fits(const char *pattern, struct span text)
{
    return text.size > 0 && grammar_covers(span_from(pattern), text);
}

static bool any_name_fits(const char *pattern, const struct name_owner *owner)
{
    if (!owner)
        return false;
    LIST_FOREACH (node, &owner->claims) {
        const struct name_claim *claim = LIST_ENTRY(node, struct name_claim, by_owner);
        if (claim->owns && fits(pattern, name_span(claim->name)))
            return true;
    }
    return false;
}

static bool method_matches(const struct policy_rule *rule, const struct policy_question *question)
{
    if (question->any_method)
        return rule->allow;
    /* What is denied for one method is not to be had by way of another. */
    if (question->every_method && !rule->allow)
        return true;
    return fits(rule->method, question->method);
}

static bool rule_matches(const struct policy_rule *rule, const struct policy_question *question)
{
    if (rule->sender && !any_name_fits(rule->sender, question->actor))
        return false;
    if (rule->name && !fits(rule->name, question->name))
        return false;
    if (rule->method && !method_matches(rule, question))
        return false;
    if (rule->topic && !fits(rule->topic, question->topic))
        return false;
    /* All of the callee's names count, so that a rule about one of them cannot be
     * walked around by another, or by the unique name. */
    return !rule->to || fits(rule->to, question->name) || any_name_fits(rule->to, question->callee);
}

static bool is_about_bus(const struct policy_question *question)
{
    return question->verb == POLICY_CALL && span_equal(question->name, SPAN("bus"));
}

bool policy_opens_all(struct span method)
{
    return span_equal(method, SPAN("OpenChannel"));
}

struct policy_verdict policy_ask(const struct policy_view *view,
                                 const struct policy_question *question)
{
    bool about_bus = is_about_bus(question);

    if (policy_always(view, question->verb) && !about_bus)
        return (struct policy_verdict){true, view->rules[question->verb][0]};
    for (size_t i = 0; i < view->counts[question->verb]; i++) {
        const struct policy_rule *rule = view->rules[question->verb][i];
        if (about_bus && !names_bus(rule))
            continue;
        if (rule_matches(rule, question))
            return (struct policy_verdict){rule->allow, rule};
    }
    return (struct policy_verdict){about_bus, NULL};
}
