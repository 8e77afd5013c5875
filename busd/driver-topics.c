/* SPDX-License-Identifier: MIT */
#include <inttypes.h>

#include "busd/driver.h"
#include "libbus/base/macros.h"
#include "libbus/wire/grammar.h"

#define NAME_TOPIC "bus.name."
#define PEER_TOPIC "bus.peer."

/* One pass over the broker's own topics that have a value and match the pattern;
 * at first they are only counted. The same pass made twice in a row
 * meets the same values, because nothing happens in between. */
struct snapshot {
    struct hub *hub;
    struct span pattern;
    struct peer *subscriber;
    bool count_only;
    size_t count;
    bool failed; /* there was no memory for a value */
};

static void visit_value(struct snapshot *snapshot, const struct text *topic,
                        const struct text *body)
{
    struct policy_verdict verdict;

    if (topic->failed || body->failed) {
        snapshot->failed = true;
        return;
    }
    if (!grammar_matches(snapshot->pattern, text_span(topic)) ||
        !access_subscribe(snapshot->subscriber, text_span(topic), &verdict))
        return;
    snapshot->count++;
    if (!snapshot->count_only)
        announce_to(snapshot->hub, snapshot->subscriber, text_span(topic), text_span(body), true);
}

static void visit_name(struct snapshot *snapshot, const struct name *name)
{
    CLEANUP(text_deinit) struct text topic = TEXT_INIT;
    CLEANUP(text_deinit) struct text body = TEXT_INIT;

    text_append_string(&topic, NAME_TOPIC);
    text_append_span(&topic, name_span(name));
    announce_name_body(&body, peer_name(peer_of_owner(name_get_owner(name))), (struct span){0});
    visit_value(snapshot, &topic, &body);
}

static void visit_peer(struct snapshot *snapshot, const struct peer *peer)
{
    CLEANUP(text_deinit) struct text topic = TEXT_INIT;
    CLEANUP(text_deinit) struct text body = TEXT_INIT;

    text_printf(&topic, PEER_TOPIC "%" PRIu64, peer->id);
    announce_peer_body(&body, peer);
    visit_value(snapshot, &topic, &body);
}

/* An exact topic is looked up; only a pattern is compared with all there are. */
static void take_snapshot(struct snapshot *snapshot)
{
    struct hub *hub = snapshot->hub;
    struct span pattern = snapshot->pattern;

    if (span_starts_with(pattern, SPAN(NAME_TOPIC)) && !grammar_has_wildcard(pattern)) {
        size_t skip = sizeof(NAME_TOPIC) - 1;
        struct name *name =
            names_find(&hub->names, (struct span){pattern.data + skip, pattern.size - skip});
        if (name)
            visit_name(snapshot, name);
        return;
    }
    for (struct hash_node *node = hash_walk(&hub->names.table, NULL); node;
         node = hash_walk(&hub->names.table, node))
        visit_name(snapshot, CONTAINER_OF(node, struct name, node));
    LIST_FOREACH (node, &hub->peers.all) {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        if (peer->welcome)
            visit_peer(snapshot, peer);
    }
}

/* Which of the limits it is that the caller has reached. */
static void fail_subscribe(struct driver_call *call)
{
    struct subscriber *subscriber = &call->caller->subscriber;
    uint64_t own = call->caller->limits->subscriptions, user, wildcards;

    quota_limit(subscriber->user, QUOTA_SUBSCRIPTIONS, &user);
    if (subscriber->count >= own || subscriber->user->used[QUOTA_SUBSCRIPTIONS] >= user) {
        driver_fail_limit(call, subscriber->count, "subscriptions", own, QUOTA_SUBSCRIPTIONS);
        return;
    }
    const char *limit = quota_limit(subscriber->user, QUOTA_WILDCARDS, &wildcards);
    driver_fail(call, WIRE_LIMIT_EXCEEDED,
                "the patterns of your user have %" PRIu64 " segments behind their first '*', and "
                "with this one more than %" PRIu64 " (%s)",
                subscriber->user->used[QUOTA_WILDCARDS], wildcards, limit);
    hub_log_limit(call->hub, call->caller, limit, wildcards);
}

void driver_subscribe(struct driver_call *call)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;
    struct hub *hub = call->hub;
    struct span sender = call->args.sender;
    struct subscription *subscription;
    struct policy_verdict verdict;

    /* What the pattern stands for is judged topic by topic, as events pass; but who
     * may have none of it is told at once. */
    if (!access_subscribe(call->caller, call->args.topic, &verdict) &&
        !(grammar_has_wildcard(call->args.topic) &&
          policy_ever(call->caller->view, POLICY_SUBSCRIBE))) {
        driver_deny(call, POLICY_SUBSCRIBE, call->args.topic, &verdict);
        return;
    }
    int r = topics_subscribe(&hub->topics, &call->caller->subscriber, call->args.topic, sender,
                             call->caller->limits->subscriptions, &subscription);
    if (r == WIRE_LIMIT_EXCEEDED) {
        fail_subscribe(call);
        return;
    }
    if (r < 0) {
        driver_fail(call, WIRE_LIMIT_EXCEEDED, "the bus is out of memory");
        return;
    }

    /* The reply, then the values there are, then whatever happens from now on: all
     * in one turn, so that there is neither a gap nor a double. */
    struct snapshot snapshot = {hub, call->args.topic, call->caller, true, 0, false};
    bool has_values = grammar_is_reserved(call->args.topic) &&
                      (sender.size == 0 || span_equal(sender, SPAN("bus")));
    if (has_values)
        take_snapshot(&snapshot);
    text_printf(&text, "{\"subscription\":%" PRIu64 ",\"retained\":%zu}", subscription->id,
                snapshot.count);
    if (text.failed || snapshot.failed) {
        topics_unsubscribe(&hub->topics, &call->caller->subscriber, subscription->id);
        driver_fail(call, WIRE_LIMIT_EXCEEDED, "the bus is out of memory");
        return;
    }
    driver_reply(call, text_span(&text), NULL);
    if (!has_values)
        return;
    snapshot.count_only = false;
    take_snapshot(&snapshot);
    /* Their number has been told. */
    if (snapshot.failed)
        peer_doom(call->caller, "out of memory for its notices");
}

void driver_unsubscribe(struct driver_call *call)
{
    if (topics_unsubscribe(&call->hub->topics, &call->caller->subscriber,
                           call->args.subscription) != 0) {
        driver_fail(call, WIRE_NO_SUCH_SUBSCRIPTION, "you have no subscription %" PRIu64,
                    call->args.subscription);
        return;
    }
    driver_reply(call, SPAN("{}"), NULL);
}

void driver_monitor(struct driver_call *call)
{
    struct hub *hub = call->hub;
    const struct args *args = &call->args;
    struct policy_verdict verdict;

    if (!access_verb(call->caller, POLICY_MONITOR, &verdict)) {
        driver_deny(call, POLICY_MONITOR, (struct span){0}, &verdict);
        return;
    }
    int r = monitors_add(&hub->monitors, &call->caller->watcher, args->type, args->from, args->to,
                         args->topic, call->caller->limits->monitors);
    if (r == WIRE_LIMIT_EXCEEDED) {
        driver_fail_limit(call, call->caller->watcher.count, "monitors",
                          call->caller->limits->monitors, QUOTA_MONITORS);
        return;
    }
    if (r < 0) {
        driver_fail(call, WIRE_LIMIT_EXCEEDED, "the bus is out of memory");
        return;
    }
    driver_reply(call, SPAN("{}"), NULL);
}
