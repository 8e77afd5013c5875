/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>

#include "busd/driver.h"
#include "busd/snapshot.h"
#include "libbus/base/macros.h"
#include "libbus/wire/grammar.h"

/* What a reply has besides its body, at most. */
#define REPLY_BYTES 96

/* What the pattern stands for is judged topic by topic, as events pass; but who may
 * have none of it is told at once. */
static bool may_subscribe(struct driver_call *call)
{
    struct span pattern = call->args.topic;
    struct policy_verdict verdict;

    if (access_subscribe(call->caller, pattern, &verdict) ||
        (grammar_has_wildcard(pattern) && policy_ever(call->caller->view, POLICY_SUBSCRIBE)))
        return true;
    driver_deny(call, POLICY_SUBSCRIBE, pattern, &verdict);
    return false;
}

/* Which of the limits it is that the caller has reached. */
static void fail_subscribe(struct driver_call *call)
{
    struct subscriber *subscriber = &call->caller->subscriber;
    struct quota_user *account = subscriber->user;
    uint64_t own = call->caller->limits->subscriptions, user, max;

    quota_limit(account, QUOTA_SUBSCRIPTIONS, &user);
    if (subscriber->count >= own || account->used[QUOTA_SUBSCRIPTIONS] >= user) {
        driver_fail_limit(call, subscriber->count, "subscriptions", own, QUOTA_SUBSCRIPTIONS);
        return;
    }
    const char *limit = quota_limit(account, QUOTA_SEGMENTS, &max);
    bool all = account->used[QUOTA_SEGMENTS] + trie_size(call->args.topic) > max;
    if (!all)
        limit = quota_limit(account, QUOTA_WILDCARDS, &max);
    driver_fail(call, WIRE_LIMIT_EXCEEDED,
                "the patterns of your user have %" PRIu64 " segments%s, and with this one more "
                "than %" PRIu64 " (%s)",
                account->used[all ? QUOTA_SEGMENTS : QUOTA_WILDCARDS],
                all ? "" : " behind their first '*'", max, limit);
    hub_log_limit(call->hub, call->caller, limit, max);
}

/* Makes the subscription, or says why there cannot be one. */
static bool join(struct driver_call *call, struct subscription **ret_subscription)
{
    const struct topics_request request = {call->args.topic, call->args.sender, call->args.group,
                                           call->args.overflow};

    int r = audience_join(call->hub, call->caller, &request, ret_subscription);
    if (r == WIRE_LIMIT_EXCEEDED)
        fail_subscribe(call);
    else if (r < 0)
        driver_fail(call, WIRE_LIMIT_EXCEEDED, "the bus is out of memory");
    return r == 0;
}

static void write_reply(struct text *text, const struct subscription *subscription, size_t retained)
{
    text_append_string(text, "{");
    if (subscription)
        text_printf(text, "\"subscription\":%" PRIu64 ",", subscription->id);
    text_printf(text, "\"retained\":%zu}", retained);
}

/* What is said first: 0; or an error that keeps all of it from happening has been sent. */
static int reply_and_send(struct driver_call *call, const struct subscription *subscription,
                          struct snapshot *snapshot)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;

    write_reply(&text, subscription, snapshot->count);
    if (text.failed || snapshot->failed) {
        driver_fail(call, WIRE_LIMIT_EXCEEDED, "the bus is out of memory");
        return -ENOMEM;
    }
    if (snapshot->count > 0 &&
        !deliver_fits(call->hub, call->caller, REPLY_BYTES + text.size + snapshot->bytes)) {
        driver_fail(call, WIRE_LIMIT_EXCEEDED,
                    "the %zu last values have %" PRIu64 " bytes, which do not fit into what may "
                    "wait for you, twice %" PRIu64 " (queue_bytes), besides the %zu bytes that do "
                    "already",
                    snapshot->count, snapshot->bytes, call->caller->limits->queue_bytes,
                    call->caller->connection.outq.bytes);
        return WIRE_LIMIT_EXCEEDED;
    }
    driver_reply(call, text_span(&text), NULL);
    if (snapshot->count > 0)
        snapshot_send(snapshot);
    return 0;
}

/* NULL, or why there cannot be such a subscription as a member of a group: a group has one
 * queue, so to say, from which each event is taken once. */
static const char *check_group(const struct driver_call *call)
{
    const struct args *args = &call->args;

    if (args->group.size == 0)
        return NULL;
    if (grammar_is_reserved(args->topic))
        return "the bus's own events are not shared out";
    if (args->retained == ARGS_RETAINED_ONLY)
        return "a group gets no last values";
    if (args->overflow != OVERFLOW_DROP)
        return "what its members leave unread goes to others: there is no 'overflow'";
    return NULL;
}

/* The reply, then the values there are, then whatever happens from now on: all in one
 * turn, so that there is neither a gap nor a double. */
void driver_subscribe(struct driver_call *call)
{
    enum args_retained retained = call->args.retained;
    const char *wrong = check_group(call);
    struct subscription *subscription = NULL;
    struct snapshot snapshot;

    if (wrong) {
        driver_fail(call, WIRE_INVALID_ARGUMENTS, "Subscribe: argument 'group': %s", wrong);
        return;
    }
    wrong = audience_check(call->args.topic);
    if (wrong) {
        driver_fail(call, WIRE_INVALID_ARGUMENTS, "Subscribe: argument 'topic': %s", wrong);
        return;
    }
    if (!may_subscribe(call) || (retained != ARGS_RETAINED_ONLY && !join(call, &subscription)))
        return;
    snapshot_init(&snapshot, call->hub, call->caller, call->args.topic, call->args.sender);
    if (retained != ARGS_RETAINED_NO && call->args.group.size == 0)
        snapshot_take(&snapshot);
    if (reply_and_send(call, subscription, &snapshot) == 0)
        return;
    snapshot_drop(&snapshot);
    if (subscription)
        audience_leave(call->hub, subscription);
}

void driver_unsubscribe(struct driver_call *call)
{
    struct subscription *subscription =
        topics_find(&call->hub->topics, &call->caller->subscriber, call->args.subscription);

    if (!subscription) {
        driver_fail(call, WIRE_NO_SUCH_SUBSCRIPTION, "you have no subscription %" PRIu64,
                    call->args.subscription);
        return;
    }
    audience_leave(call->hub, subscription);
    driver_reply(call, SPAN("{}"), NULL);
}

static void write_value(struct text *text, const struct retained_value *value)
{
    text_printf(text, "{\"topic\":\"%.*s\",\"sender\":\"%.*s\",\"level\":\"%s\",\"size\":%" PRIu32,
                SPAN_ARGS(retained_topic(value)), SPAN_ARGS(retained_sender(value)),
                retained_level_name(value->level), value->size);
    if (value->expires > 0)
        text_printf(text, ",\"expires\":%" PRIu64 ".%03u", value->expires / 1000,
                    (unsigned)(value->expires % 1000));
    text_append_string(text, "}");
}

void driver_retained(struct driver_call *call)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;
    uint64_t max = call->caller->limits->message_bytes;
    struct retained_value *value;
    struct topicset_walk walk;
    const char *separator = "";

    if (!may_subscribe(call))
        return;
    text_append_string(&text, "{\"topics\":[");
    topicset_walk_init(&walk, &call->hub->retained.topics, call->args.topic);
    while (text.size <= max && (value = retained_walk_next(&walk))) {
        if (!retain_is_seen(call->hub, call->caller, value))
            continue;
        text_append_string(&text, separator);
        write_value(&text, value);
        separator = ",";
    }
    call->hub->shared.effort += walk.effort;
    text_append_string(&text, "]}");
    if (text.failed)
        driver_fail(call, WIRE_LIMIT_EXCEEDED, "the bus is out of memory");
    else if (text.size > max)
        driver_fail(call, WIRE_LIMIT_EXCEEDED,
                    "the list has more than %" PRIu64 " bytes (message_bytes): ask with a pattern "
                    "that matches fewer topics",
                    max);
    else
        driver_reply(call, text_span(&text), NULL);
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
