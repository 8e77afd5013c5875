/* SPDX-License-Identifier: MIT */
#include "busd/access.h"

#include <inttypes.h>
#include <stdio.h>

#include "libbus/base/macros.h"

/* So many rules take as long as one step of CONNECTION_EFFORT. */
#define RULES_EFFORT 4

static bool ask(const struct peer *peer, struct policy_question question,
                struct policy_verdict *ret_verdict)
{
    question.actor = &peer->names;
    *ret_verdict = policy_ask(peer->view, &question);
    return ret_verdict->allow;
}

bool access_verb(const struct peer *peer, enum policy_verb verb, struct policy_verdict *ret_verdict)
{
    return ask(peer, (struct policy_question){.verb = verb}, ret_verdict);
}

bool access_own(const struct peer *peer, struct span name, struct policy_verdict *ret_verdict)
{
    return ask(peer, (struct policy_question){.verb = POLICY_OWN, .name = name}, ret_verdict);
}

bool access_call(const struct peer *caller, const struct peer *callee, struct span name,
                 struct span method, struct policy_verdict *ret_verdict)
{
    return ask(caller,
               (struct policy_question){.verb = POLICY_CALL,
                                        .callee = callee ? &callee->names : NULL,
                                        .name = name,
                                        .method = method,
                                        .every_method = policy_opens_all(method)},
               ret_verdict);
}

bool access_publish_topic(const struct peer *sender, struct span topic,
                          struct policy_verdict *ret_verdict)
{
    return ask(sender, (struct policy_question){.verb = POLICY_PUBLISH, .topic = topic},
               ret_verdict);
}

bool access_publish(const struct peer *sender, struct route *route,
                    struct policy_verdict *ret_verdict)
{
    const struct policy_view *view = sender->view;

    if (LIKELY(policy_always(view, POLICY_PUBLISH)))
        return true;
    if (route->publish_serial != view->serial) {
        struct policy_verdict verdict;
        struct span topic = {route->topic, route->topic_size};
        access_publish_topic(sender, topic, &verdict);
        route->publish_allow = verdict.allow;
        route->publish_rule = verdict.rule;
        /* What depends on names is asked anew each time. */
        route->publish_serial = view->dynamic & 1u << POLICY_PUBLISH ? 0 : view->serial;
    }
    *ret_verdict = (struct policy_verdict){route->publish_allow, route->publish_rule};
    return route->publish_allow;
}

bool access_subscribe(const struct peer *peer, struct span topic,
                      struct policy_verdict *ret_verdict)
{
    return ask(peer, (struct policy_question){.verb = POLICY_SUBSCRIBE, .topic = topic},
               ret_verdict);
}

bool access_sees_name(const struct peer *peer, struct span name)
{
    char topic[GRAMMAR_NAME_MAX + 1];
    struct policy_verdict verdict;

    if (policy_always(peer->view, POLICY_SUBSCRIBE))
        return true;
    int size = snprintf(topic, sizeof(topic), "bus.name.%.*s", SPAN_ARGS(name));
    return size > 0 && (size_t)size < sizeof(topic) &&
           access_subscribe(peer, (struct span){topic, (size_t)size}, &verdict);
}

bool access_sees_peer(const struct peer *peer, const struct peer *other)
{
    char topic[GRAMMAR_NAME_MAX + 1];
    struct policy_verdict verdict;

    if (peer == other || policy_always(peer->view, POLICY_SUBSCRIBE))
        return true;
    int size = snprintf(topic, sizeof(topic), "bus.peer.%" PRIu64, other->id);
    return access_subscribe(peer, (struct span){topic, (size_t)size}, &verdict);
}

struct peer *access_find_peer(struct hub *hub, const struct peer *peer, struct span name)
{
    struct peer *found = hub_find_peer(hub, name);

    if (!found)
        return NULL;
    bool sees = grammar_unique_name(name) > 0 ? access_sees_peer(peer, found)
                                              : access_sees_name(peer, name);
    return sees ? found : NULL;
}

/* The same for all who have this view: a rule is not looked at once for each of them. */
static bool view_may_subscribe(struct hub *hub, struct policy_view *view, struct span topic,
                               uint64_t mark)
{
    struct policy_question question = {.verb = POLICY_SUBSCRIBE, .topic = topic};

    if (view->mark != mark) {
        view->mark = mark;
        view->allowed = policy_ask(view, &question).allow;
        hub->shared.effort += (unsigned)(view->counts[POLICY_SUBSCRIBE] / RULES_EFFORT);
    }
    return view->allowed;
}

/* Whether the subscriber may have the topic, or *ret_ask that it depends. */
static bool may_receive(struct hub *hub, struct subscriber *subscriber, struct span topic,
                        uint64_t mark, bool *ret_ask)
{
    struct policy_view *view = peer_of_subscriber(subscriber)->view;

    *ret_ask = view->dynamic & 1u << POLICY_SUBSCRIBE;
    return *ret_ask || view_may_subscribe(hub, view, topic, mark);
}

static void filter_groups(struct hub *hub, struct route_groups *groups, struct span topic,
                          uint64_t mark)
{
    for (size_t g = 0; g < groups->count; g++) {
        struct route_group *group = &groups->groups[g];
        struct route_member *members = &groups->members[group->first];
        size_t kept = 0;
        for (size_t i = 0; i < group->count; i++) {
            struct route_member member = members[i];
            if (may_receive(hub, member.subscriber, topic, mark, &member.ask))
                members[kept++] = member;
        }
        group->count = kept;
    }
}

void access_filter_route(struct hub *hub, struct route *route)
{
    struct span topic = {route->topic, route->topic_size};
    size_t kept = 0;

    if (LIKELY(route->filtered))
        return;
    uint64_t mark = topics_new_mark(&hub->topics);
    for (size_t i = 0; i < route->count; i++) {
        struct route_entry entry = route->entries[i];
        if (may_receive(hub, entry.subscriber, topic, mark, &entry.ask))
            route->entries[kept++] = entry;
    }
    route->count = kept;
    filter_groups(hub, &route->groups, topic, mark);
    route->filtered = true;
}

void access_describe(struct text *text, enum policy_verb verb, struct span what,
                     const struct policy_verdict *verdict)
{
    text_printf(text, "you may not %s%s", policy_verb_name(verb),
                verb == POLICY_SUBSCRIBE ? " to" : "");
    if (what.size > 0)
        text_printf(text, " '%.*s'", SPAN_ARGS(what));
    text_append_string(text, " ");
    access_describe_rule(text, verdict);
}

void access_describe_rule(struct text *text, const struct policy_verdict *verdict)
{
    if (!verdict->rule) {
        text_append_string(text, "(no rule of the policy allows it)");
        return;
    }
    text_printf(text, "(%s, rule %zu", verdict->rule->file, verdict->rule->index);
    if (verdict->rule->reason)
        text_printf(text, ": %s", verdict->rule->reason);
    text_append_string(text, ")");
}
