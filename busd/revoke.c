/* SPDX-License-Identifier: MIT */
#include "busd/revoke.h"

#include <inttypes.h>
#include <stdlib.h>

#include "busd/retain.h"
#include "libbus/base/macros.h"
#include "libbus/wire/scan.h"

/* A call that has been taken out of the queue of the one it was for, to be answered
 * when the queue is whole again: the answer may go into the same one. */
struct refusal {
    struct peer *caller;
    uint64_t id;
    struct policy_verdict verdict;
};

/* The queue of a receiver that is being looked through. */
struct review {
    struct hub *hub;
    struct peer *receiver;
    struct refusal *refusals;
    size_t count;
    size_t capacity;
    bool failed; /* for lack of memory */
};

/* The copy of an event for a watcher: what it shows must be its to see. */
static bool keep_copy(struct review *review, const struct envelope *envelope)
{
    static const char mark[] = "\"message\":";
    struct span body = envelope->body;
    struct policy_verdict verdict;
    struct envelope_fault fault;
    struct envelope shown;

    const char *at = memmem(body.data, body.size, mark, sizeof(mark) - 1);
    if (!at)
        return true;
    at += sizeof(mark) - 1;
    size_t size = (size_t)(body.data + body.size - at) - 1;
    CLEANUP(cleanup_free) char *line = calloc(1, size + 1 + SCAN_PADDING);
    if (!line)
        return false;
    memcpy(line, at, size);
    line[size] = '\n';
    if (envelope_parse(&shown, line, size, ENVELOPE_FROM_BROKER, &fault) != 0)
        return true;
    return shown.type != MESSAGE_EVENT || access_subscribe(review->receiver, shown.topic, &verdict);
}

static bool keep_event(struct review *review, const struct envelope *envelope)
{
    struct peer *receiver = review->receiver;
    struct peer *sender = hub_find_peer(review->hub, envelope->sender);
    struct policy_verdict verdict;

    if (span_is(envelope->topic, "bus.welcome") || span_is(envelope->topic, "bus.overflow") ||
        span_is(envelope->topic, "bus.flow"))
        return true;
    if (span_is(envelope->topic, "bus.monitor"))
        return access_verb(receiver, POLICY_MONITOR, &verdict) && keep_copy(review, envelope);
    if (!access_subscribe(receiver, envelope->topic, &verdict))
        return false;
    struct route *route = sender ? deliver_route(review->hub, envelope->topic) : NULL;
    return !route || access_publish(sender, route, &verdict);
}

/* Remembers to answer the call, if it still waits for this receiver: the id can be that
 * of another one by now. False: there is no memory. */
static bool refuse(struct review *review, struct peer *caller, uint64_t id,
                   const struct policy_verdict *verdict)
{
    struct hub *hub = review->hub;
    struct call *call = calls_find(&hub->calls, &caller->calls, id);

    if (!call || call->callee != &review->receiver->calls)
        return true;
    if (review->count == review->capacity) {
        size_t capacity = review->capacity ? review->capacity * 2 : 16;
        struct refusal *refusals = realloc(review->refusals, capacity * sizeof(*refusals));
        if (!refusals)
            return false;
        review->refusals = refusals;
        review->capacity = capacity;
    }
    review->refusals[review->count++] = (struct refusal){caller, id, *verdict};
    calls_remove(&hub->calls, call);
    return true;
}

static bool keep_call(struct review *review, const struct envelope *envelope)
{
    struct peer *caller = hub_find_peer(review->hub, envelope->sender);
    struct policy_verdict verdict;

    if (!caller || access_call(caller, review->receiver, envelope->to, envelope->method, &verdict))
        return true;
    if (!envelope->no_reply && !refuse(review, caller, envelope->id, &verdict))
        review->failed = true;
    return false;
}

static bool keep_line(struct span line, void *userdata)
{
    struct review *review = userdata;
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
    struct review review = {.hub = hub, .receiver = peer};

    if (outq_is_empty(&peer->connection.outq))
        return;
    int r = outq_filter(&peer->connection.outq, &hub->shared.pool, keep_line, &review);
    /* Who has lost a part of its queue goes, and with it every call to it is answered. */
    if (r < 0 || review.failed)
        peer_doom(peer, "out of memory for a new policy");
    for (size_t i = 0; i < review.count; i++) {
        struct refusal *refusal = &review.refusals[i];
        answer_denied(hub, refusal->caller,
                      &(struct envelope){.type = MESSAGE_CALL, .id = refusal->id}, POLICY_CALL,
                      peer_name(peer), &refusal->verdict);
    }
    free(review.refusals);
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
    }
    presence_touch_all(&hub->presence);
    LIST_FOREACH (node, &hub->peers.all)
        retain_review(hub, LIST_ENTRY(node, struct peer, link));
    /* Calls that their callees have not seen are out of the way now. */
    LIST_FOREACH (node, &hub->peers.all) {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        if (!peer->doomed)
            review_calls(hub, peer);
    }
}
