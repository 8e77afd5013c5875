/* SPDX-License-Identifier: MIT */
#include "busd/revoke.h"

#include <inttypes.h>

#include "libbus/base/macros.h"

/* The message in a receiver's queue that is being looked at. */
struct review {
    struct hub *hub;
    struct peer *receiver;
};

static bool keep_event(const struct review *review, const struct envelope *envelope)
{
    struct peer *receiver = review->receiver;
    struct peer *sender = hub_find_peer(review->hub, envelope->sender);
    struct policy_verdict verdict;

    if (span_is(envelope->topic, "bus.welcome") || span_is(envelope->topic, "bus.overflow"))
        return true;
    if (span_is(envelope->topic, "bus.monitor"))
        return access_verb(receiver, POLICY_MONITOR, &verdict);
    if (!access_subscribe(receiver, envelope->topic, &verdict))
        return false;
    struct route *route = sender ? deliver_route(review->hub, envelope->topic) : NULL;
    return !route || access_publish(sender, route, &verdict);
}

static bool keep_call(const struct review *review, const struct envelope *envelope)
{
    struct hub *hub = review->hub;
    struct peer *caller = hub_find_peer(hub, envelope->sender);
    struct policy_verdict verdict;

    if (!caller || access_call(caller, review->receiver, envelope->to, envelope->method, &verdict))
        return true;
    struct call *call =
        envelope->no_reply ? NULL : calls_find(&hub->calls, &caller->calls, envelope->id);
    if (call)
        calls_remove(&hub->calls, call);
    answer_denied(hub, caller, envelope, POLICY_CALL, envelope->to, &verdict);
    return false;
}

static bool keep_line(struct span line, void *userdata)
{
    const struct review *review = userdata;
    struct envelope_fault fault;
    struct envelope envelope;

    if (envelope_parse(&envelope, line.data, line.size, ENVELOPE_FROM_BROKER, &fault) != 0)
        return true;
    if (envelope.type == MESSAGE_EVENT)
        return keep_event(review, &envelope);
    return envelope.type != MESSAGE_CALL || keep_call(review, &envelope);
}

static void review_queue(struct hub *hub, struct peer *peer)
{
    struct review review = {hub, peer};

    if (outq_filter(&peer->connection.outq, &hub->shared.pool, keep_line, &review) < 0)
        peer_doom(peer, "out of memory for a new policy");
    peer_set_dirty(peer);
}

/* Calls that the callee has been given: their methods are not known any more, so only
 * those end for which no method would be allowed. */
static void review_calls(struct hub *hub, struct peer *caller)
{
    LIST_FOREACH_SAFE (node, &caller->calls.made) {
        struct call *call = LIST_ENTRY(node, struct call, by_caller);
        struct peer *callee = peer_of_party(call->callee);
        struct policy_question question = {.verb = POLICY_CALL,
                                           .actor = &caller->names,
                                           .callee = &callee->names,
                                           .name = peer_name(callee),
                                           .any_method = true};
        struct policy_verdict verdict = policy_ask(caller->view, &question);
        uint64_t id = call->id;
        if (verdict.allow)
            continue;
        calls_remove(&hub->calls, call);
        answer_cancel(hub, caller, callee, id, "cancelled");
        answer_denied(hub, caller, &(struct envelope){.type = MESSAGE_CALL, .id = id}, POLICY_CALL,
                      peer_name(callee), &verdict);
    }
}

static void review_names(struct hub *hub, const struct peer *peer)
{
    LIST_FOREACH (node, &peer->names.claims) {
        struct name_claim *claim = LIST_ENTRY(node, struct name_claim, by_owner);
        struct policy_verdict verdict;
        if (!access_own(peer, name_span(claim->name), &verdict))
            log_limited(hub->log, LOG_LEVEL_NOTICE,
                        "%.*s keeps '%.*s', which by the new policy it could not own",
                        SPAN_ARGS(peer_name(peer)), SPAN_ARGS(name_span(claim->name)));
    }
}

static void review_connection(struct peer *peer)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;
    struct policy_verdict verdict;

    if (access_verb(peer, POLICY_CONNECT, &verdict))
        return;
    access_describe(&text, POLICY_CONNECT, (struct span){0}, &verdict);
    peer_doom(peer, "%s", text.failed ? "you may not connect any more" : text.data);
}

void revoke_apply(struct hub *hub, struct policy *policy)
{
    struct policy_verdict verdict;

    topics_invalidate(&hub->topics);
    LIST_FOREACH (node, &hub->peers.all) {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        struct policy_view *view = policy_view_get(policy, &peer->credentials, peer->label);
        if (!view) {
            peer_doom(peer, "out of memory for a new policy");
            continue;
        }
        policy_view_unref(peer->view);
        peer->view = view;
        review_connection(peer);
    }
    /* Only now does everybody have the new view, which what follows asks. */
    LIST_FOREACH (node, &hub->peers.all) {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        if (peer->doomed)
            continue;
        review_names(hub, peer);
        if (peer->watcher.count > 0 && !access_verb(peer, POLICY_MONITOR, &verdict))
            monitors_leave(&peer->watcher);
        review_queue(hub, peer);
        review_calls(hub, peer);
    }
}
