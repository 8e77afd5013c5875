/* SPDX-License-Identifier: MIT */
#include "busd/dispatch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "busd/audience.h"
#include "busd/driver.h"
#include "busd/guard.h"
#include "busd/patience.h"
#include "busd/persist.h"
#include "busd/retain.h"
#include "busd/sharing.h"
#include "busd/stream.h"
#include "libbus/base/macros.h"

/* --------------------------------------------------- outstanding answers */

/* Calls and events that are still to be answered share one numbering and one limit. */
static bool has_receipt(struct hub *hub, const struct peer *peer, uint64_t id)
{
    return peer->receipts.count > 0 && receipts_find(&hub->receipts, &peer->receipts, id);
}

static bool is_outstanding(struct hub *hub, const struct peer *peer, uint64_t id)
{
    return has_receipt(hub, peer, id) ||
           (peer->calls.made_count > 0 && calls_find(&hub->calls, &peer->calls, id));
}

/* How many of one kind the peer may have, with so many of the other. */
static size_t outstanding_left(const struct peer *peer, size_t others)
{
    return peer->limits->calls - MIN(peer->limits->calls, others);
}

/* By its id the error would be taken for the answer to the one before. */
static void complain_of_id(struct hub *hub, struct peer *peer, const struct envelope *envelope)
{
    answer_complaint(hub, peer, envelope, NULL, WIRE_INVALID_MESSAGE,
                     "id: %s of yours with the id %" PRIu64 " is outstanding already",
                     has_receipt(hub, peer, envelope->id) ? "an event" : "a call", envelope->id);
}

static void refuse_outstanding(struct hub *hub, struct peer *peer, const struct envelope *envelope)
{
    uint64_t max = peer->limits->calls;
    bool own = peer->calls.made_count + peer->receipts.count >= max;
    const char *limit = own ? "calls" : quota_limit(peer->user, QUOTA_CALLS, &max);

    answer_error(hub, peer, envelope, WIRE_LIMIT_EXCEEDED,
                 "%" PRIu64 " calls or receipts of %s are outstanding already (%s)", max,
                 own ? "yours" : "your user", limit);
    hub_log_limit(hub, peer, limit, max);
}

/* -------------------------------------------------------------- events */

/* The one whom the event is for may not have it. */
static void refuse_receiver(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                            const struct policy_verdict *verdict)
{
    CLEANUP(text_deinit) struct text rule = TEXT_INIT;

    access_describe_rule(&rule, verdict);
    answer_error(hub, sender, envelope, WIRE_ACCESS_DENIED, "'%.*s' may not have '%.*s' %s",
                 SPAN_ARGS(envelope->to), SPAN_ARGS(envelope->topic), rule.failed ? "" : rule.data);
}

/* The route of an event that its sender may publish; NULL if it may not, and has been told. */
static struct route *find_route(struct hub *hub, struct peer *sender,
                                const struct envelope *envelope)
{
    if (grammar_is_reserved(envelope->topic)) {
        answer_error(hub, sender, envelope, WIRE_ACCESS_DENIED,
                     "topics that begin with 'bus' are the bus's own");
        return NULL;
    }
    struct route *route = deliver_route(hub, envelope->topic);
    struct policy_verdict verdict;
    if (!route) {
        peer_doom(sender, "out of memory for its events");
        return NULL;
    }
    if (!access_publish(sender, route, &verdict)) {
        answer_denied(hub, sender, envelope, POLICY_PUBLISH, envelope->topic, &verdict);
        return NULL;
    }
    if (!guard_allows(hub, route, sender)) {
        answer_error(hub, sender, envelope, WIRE_ACCESS_DENIED,
                     "'%.*s' is guarded: only the owner of the name it begins with may publish it",
                     SPAN_ARGS(envelope->topic));
        return NULL;
    }
    return route;
}

/* The one whom the event is for; NULL if it cannot have it, and the sender has been told. */
static struct peer *find_receiver(struct hub *hub, struct peer *sender,
                                  const struct envelope *envelope)
{
    struct policy_verdict verdict;
    struct peer *receiver;

    bool allowed = sharing_choose(hub, sender, envelope, &receiver, &verdict);
    if (!receiver) {
        answer_error(hub, sender, envelope, WIRE_NAME_UNKNOWN,
                     span_equal(envelope->to, SPAN("bus")) ? "the bus takes no events"
                                                           : "nobody owns '%.*s'",
                     SPAN_ARGS(envelope->to));
    } else if (!allowed) {
        refuse_receiver(hub, sender, envelope, &verdict);
        return NULL;
    }
    return receiver;
}

/* NULL: the event cannot have a receipt, and the sender has been told. */
static struct receipt *open_receipt(struct hub *hub, struct peer *sender,
                                    const struct envelope *envelope)
{
    struct receipt *receipt;

    if (is_outstanding(hub, sender, envelope->id)) {
        complain_of_id(hub, sender, envelope);
        return NULL;
    }
    int r = receipts_open(&hub->receipts, &sender->receipts, envelope->id,
                          outstanding_left(sender, sender->calls.made_count), &receipt);
    if (r == WIRE_LIMIT_EXCEEDED)
        refuse_outstanding(hub, sender, envelope);
    else if (r < 0)
        answer_error(hub, sender, envelope, WIRE_LIMIT_EXCEEDED, "the bus is out of memory");
    return r == 0 ? receipt : NULL;
}

/* Keeps the value of an event, or ends it. False: it has been refused. */
static bool keep_value(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                       const struct route *route, struct receipt *receipt)
{
    struct persist_ticket *ticket;

    if (!persist_begin(hub, sender, envelope, &ticket))
        return false;
    if (!retain_event(hub, sender, envelope, route->guard != NULL)) {
        persist_cancel(ticket);
        return false;
    }
    persist_await(hub, sender, envelope, ticket, receipt);
    return true;
}

static void dispatch_event(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                           struct fds *fds)
{
    struct route *route = find_route(hub, sender, envelope);
    struct peer *receiver = NULL;
    struct receipt *receipt = NULL;

    if (!route)
        return;
    if (envelope_has(envelope, KEY_TO) && !(receiver = find_receiver(hub, sender, envelope)))
        return;
    if (envelope->id > 0 && !(receipt = open_receipt(hub, sender, envelope)))
        return;
    if (envelope_has(envelope, KEY_RETAIN) && !keep_value(hub, sender, envelope, route, receipt)) {
        if (receipt)
            receipt_close(receipt);
        return;
    }
    if (!receiver)
        deliver_event(hub, sender, route, envelope, fds, receipt);
    else if (deliver_event_to(hub, sender, receiver, envelope, fds, receipt) < 0)
        peer_doom(sender, "out of memory for its events");
    if (receipt) {
        receipt_release(receipt);
        answer_receipts(hub);
    }
}

/* --------------------------------------------------------------- calls */

/* Remembers who is to answer; an error has been sent if that cannot be. */
static bool track_call(struct hub *hub, struct peer *caller, struct peer *callee,
                       const struct envelope *envelope)
{
    const struct call_terms terms = {
        .id = envelope->id,
        .now = hub_now(hub),
        .timeout =
            envelope_has(envelope, KEY_TIMEOUT) ? envelope->timeout : caller->limits->call_timeout,
        .more = envelope->more,
    };

    if (has_receipt(hub, caller, envelope->id)) {
        complain_of_id(hub, caller, envelope);
        return false;
    }
    int r = calls_add(&hub->calls, &caller->calls, &callee->calls, &terms,
                      outstanding_left(caller, caller->receipts.count));

    if (r == WIRE_INVALID_MESSAGE)
        complain_of_id(hub, caller, envelope);
    else if (r == WIRE_LIMIT_EXCEEDED)
        refuse_outstanding(hub, caller, envelope);
    else if (r < 0)
        answer_error(hub, caller, envelope, WIRE_LIMIT_EXCEEDED, "the bus is out of memory");
    return r == 0;
}

static void dispatch_call(struct hub *hub, struct peer *caller, const struct envelope *envelope,
                          struct fds *fds)
{
    bool to_bus = span_equal(envelope->to, SPAN("bus"));
    struct policy_verdict verdict;
    struct peer *callee;

    if (!sharing_choose(hub, caller, envelope, &callee, &verdict)) {
        deliver_nowhere(hub, caller, envelope, fds, false);
        answer_denied(hub, caller, envelope, POLICY_CALL, envelope->to, &verdict);
        return;
    }
    if (to_bus) {
        deliver_nowhere(hub, caller, envelope, fds, true);
        if (!envelope->no_reply && is_outstanding(hub, caller, envelope->id)) {
            complain_of_id(hub, caller, envelope);
            return;
        }
        driver_dispatch(hub, caller, envelope);
        return;
    }
    if (!callee) {
        deliver_nowhere(hub, caller, envelope, fds, false);
        answer_error(hub, caller, envelope, WIRE_NAME_UNKNOWN, "nobody owns '%.*s'",
                     SPAN_ARGS(envelope->to));
        return;
    }
    if (!envelope->no_reply && !track_call(hub, caller, callee, envelope))
        return;

    int r = deliver_message(hub, caller, callee, envelope, fds, DELIVER_CALL);
    if (r == 0)
        return;
    if (!envelope->no_reply)
        calls_remove(&hub->calls, calls_find(&hub->calls, &caller->calls, envelope->id));
    if (r == WIRE_LIMIT_EXCEEDED)
        answer_error(hub, caller, envelope, WIRE_LIMIT_EXCEEDED,
                     "'%.*s' does not read what waits for it", SPAN_ARGS(envelope->to));
    else
        answer_error(hub, caller, envelope, WIRE_LIMIT_EXCEEDED, "the bus is out of memory");
}

/* The call that this is the callee's answer to; NULL if there is none. */
static struct call *find_answered(struct hub *hub, const struct peer *callee,
                                  const struct envelope *envelope)
{
    struct peer *caller = peers_find(&hub->peers, grammar_unique_name(envelope->to));
    struct call *call = caller ? calls_find(&hub->calls, &caller->calls, envelope->id) : NULL;

    return call && call->callee == &callee->calls ? call : NULL;
}

static void dispatch_answer(struct hub *hub, struct peer *callee, const struct envelope *envelope,
                            struct fds *fds)
{
    struct call *call = find_answered(hub, callee, envelope);

    if (!call) {
        answer_error(hub, callee, envelope, WIRE_NO_SUCH_CALL, NULL);
        return;
    }
    if (envelope->more) {
        stream_item(hub, call, envelope, fds);
        return;
    }
    if (call->broken) {
        stream_end_broken(hub, call);
        return;
    }
    struct peer *caller = peer_of_party(call->caller);
    calls_remove(&hub->calls, call);
    int r = deliver_message(hub, callee, caller, envelope, fds, DELIVER_ANSWER);
    if (r != 0)
        answer_call_error(hub, caller, envelope->id, WIRE_LIMIT_EXCEEDED,
                          r > 0 ? "the answer's file descriptors do not fit: read those before"
                                : "the bus is out of memory");
}

/* Ends a call that its callee has not answered. */
static void abandon_call(struct hub *hub, struct call *call, const char *reason)
{
    struct peer *caller = peer_of_party(call->caller);
    struct peer *callee = peer_of_party(call->callee);
    uint64_t id = call->id;

    calls_remove(&hub->calls, call);
    answer_cancel(hub, caller, callee, id, reason);
}

static void dispatch_cancel(struct hub *hub, struct peer *caller, const struct envelope *envelope)
{
    struct call *call = calls_find(&hub->calls, &caller->calls, envelope->id);

    if (!call) {
        answer_error(hub, caller, envelope, WIRE_NO_SUCH_CALL, NULL);
        return;
    }
    abandon_call(hub, call, "cancelled");
    answer_call_error(hub, caller, envelope->id, WIRE_CANCELLED, NULL);
}

static void expire_call(struct hub *hub, struct call *call)
{
    struct peer *caller = peer_of_party(call->caller);
    uint64_t id = call->id;

    if (!calls_expire(&hub->calls, call, hub_now(hub)))
        return;
    if (call->broken) {
        stream_end_broken(hub, call);
        return;
    }
    abandon_call(hub, call, "timeout");
    answer_call_error(hub, caller, id, WIRE_TIMEOUT, NULL);
}

void dispatch_deadlines(struct hub *hub, uint64_t now)
{
    struct deadline *deadline;

    hub->shared.effort = 0;
    while (hub->shared.effort < CONNECTION_EFFORT &&
           (deadline = deadlines_pop(&hub->deadlines, now))) {
        if (deadline->kind == DEADLINE_CALL)
            expire_call(hub, CONTAINER_OF(deadline, struct call, deadline));
        else if (deadline->kind == DEADLINE_RETAINED)
            retain_expire(hub, deadline);
        else
            patience_expire(hub, deadline);
    }
}

/* --------------------------------------------------------------- lines */

/* Counts a line that could not be taken; too many in a row end the client. */
static void count_invalid(struct hub *hub, struct peer *peer)
{
    peer->counters.invalid++;
    hub->counters.invalid++;
    if (++peer->invalid_lines >= peer->limits->invalid_lines)
        peer_doom(peer, "%u invalid lines in a row", peer->invalid_lines);
}

/* A line that cannot be read may have had fds. When the whole line was JSON, how
 * many is known; else those that cannot be a later line's are dropped. */
static void drop_fds(struct peer *peer, const struct line *line, int error,
                     const struct envelope *envelope)
{
    struct fdqueue *queue = &peer->connection.fdqueue;
    struct fds *fds = NULL;

    if (error == WIRE_INVALID_MESSAGE && envelope_has(envelope, KEY_FDS) &&
        fdqueue_take(queue, line, envelope->fds, &fds) == FDQUEUE_OK)
        fds_unref(fds);
    else
        fdqueue_skip(queue, line);
}

static void reject_line(struct hub *hub, struct peer *peer, const struct line *line, int error,
                        const struct envelope *envelope, const struct envelope_fault *fault)
{
    drop_fds(peer, line, error, envelope);
    answer_complaint(hub, peer, envelope, &fault->offset, (enum wire_error)error,
                     fault->key ? "%s: %s" : "%s%s", fault->key ? fault->key : "", fault->reason);
    count_invalid(hub, peer);
}

/* A message that cannot be taken because of its fds: its sender is told, and so is, when
 * it was an answer, the caller, for whom there will be no other. */
static void refuse_fds(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                       enum wire_error error, const char *reason)
{
    bool answers = envelope->type == MESSAGE_REPLY || envelope->type == MESSAGE_ERROR;
    struct call *call = answers ? find_answered(hub, sender, envelope) : NULL;

    answer_error(hub, sender, envelope, error, "%s", reason);
    if (!call || (envelope->more && !call->more))
        return;
    struct peer *caller = peer_of_party(call->caller);
    if (envelope->more)
        abandon_call(hub, call, "limit");
    else
        calls_remove(&hub->calls, call);
    answer_call_error(hub, caller, envelope->id, error, "the answer was lost: %s", reason);
}

/* The line's fds; false when the line is done with because of them. */
static bool take_fds(struct hub *hub, struct peer *peer, const struct line *line,
                     const struct envelope *envelope, struct fds **ret_fds)
{
    struct fds *fds = NULL;

    switch (fdqueue_take(&peer->connection.fdqueue, line, envelope->fds, &fds)) {
    case FDQUEUE_OK:
        break;
    case FDQUEUE_TRUNCATED:
        refuse_fds(hub, peer, envelope, WIRE_FD_MISMATCH,
                   "not all file descriptors could be received, or kept for the rest of the "
                   "line (fds_per_user)");
        return false;
    case FDQUEUE_MISMATCH:
        answer_complaint(hub, peer, envelope, NULL, WIRE_FD_MISMATCH,
                         "fds: %" PRIu32 " is not the number of file descriptors that came with "
                         "the first byte of the line",
                         envelope->fds);
        peer_doom(peer, "its file descriptors are out of step with its lines");
        return false;
    }
    if (envelope->fds > peer->limits->fds_per_message) {
        char reason[80];
        fds_unref(fds);
        snprintf(reason, sizeof(reason), "fds: a message may have %" PRIu64 " (fds_per_message)",
                 peer->limits->fds_per_message);
        refuse_fds(hub, peer, envelope, WIRE_LIMIT_EXCEEDED, reason);
        return false;
    }
    *ret_fds = fds;
    return true;
}

void dispatch_line(struct peer *peer, enum lines_result result, const struct line *line)
{
    struct hub *hub = hub_of(peer);
    struct envelope envelope;
    struct envelope_fault fault;
    struct fds *fds;

    peer->counters.bytes_received += line->end - line->start;
    hub->counters.bytes_received += line->end - line->start;
    if (result == LINES_TOO_LONG) {
        fdqueue_skip(&peer->connection.fdqueue, line);
        answer_complaint(hub, peer, NULL, NULL, WIRE_TOO_LARGE,
                         "a line may have %" PRIu64 " bytes (message_bytes), this one had %" PRIu64,
                         peer->limits->message_bytes, line->end - line->start);
        count_invalid(hub, peer);
        return;
    }
    int r = envelope_parse_next(&hub->head, &envelope, line->text.data, line->text.size,
                                ENVELOPE_FROM_CLIENT, &fault);
    if (r != 0) {
        reject_line(hub, peer, line, r, &envelope, &fault);
        return;
    }
    if (!peer->proven)
        patience_prove(hub, peer);
    peer->invalid_lines = 0;
    peer->counters.received++;
    hub->counters.received++;
    if (!take_fds(hub, peer, line, &envelope, &fds))
        return;

    switch (envelope.type) {
    case MESSAGE_EVENT:
        dispatch_event(hub, peer, &envelope, fds);
        break;
    case MESSAGE_CALL:
        dispatch_call(hub, peer, &envelope, fds);
        break;
    case MESSAGE_CANCEL:
        dispatch_cancel(hub, peer, &envelope);
        break;
    default:
        dispatch_answer(hub, peer, &envelope, fds);
        break;
    }
    fds_unref(fds);
}

/* So many steps of CONNECTION_EFFORT count as one trace more. */
#define TRACE_EFFORT 32

/* Removes one trace of a peer that leaves; false when there is none left. */
static bool remove_trace(struct hub *hub, struct peer *peer)
{
    struct name_change change;
    struct list *node;

    if (deliver_again(hub, peer, false))
        return true;
    if ((node = list_first(&peer->subscriber.subscriptions))) {
        struct subscription *subscription = LIST_ENTRY(node, struct subscription, by_subscriber);
        audience_leave(hub, subscription);
        return true;
    }
    if (retain_leave(hub, peer))
        return true;
    if ((node = list_first(&peer->calls.made))) {
        abandon_call(hub, LIST_ENTRY(node, struct call, by_caller), "disconnected");
        return true;
    }
    if (names_leave(&hub->names, &peer->names, &change)) {
        announce_name_change(hub, &change);
        audience_name_changed(hub, &change);
        return true;
    }
    if ((node = list_first(&peer->calls.received))) {
        struct call *call = LIST_ENTRY(node, struct call, by_callee);
        struct peer *caller = peer_of_party(call->caller);
        uint64_t id = call->id;
        calls_remove(&hub->calls, call);
        answer_call_error(hub, caller, id, WIRE_NO_REPLY, NULL);
        return true;
    }
    if (receipts_leave(&peer->receipts))
        return true;
    if (backlog_wake(&peer->backlog, UINT64_MAX, 1) == 0)
        return false;
    answer_receipts(hub);
    return true;
}

bool dispatch_goodbye(struct hub *hub, struct peer *peer, unsigned *traces)
{
    bool more;

    monitors_leave(&peer->watcher);
    do {
        if (*traces == 0)
            return false;
        hub->shared.effort = 0;
        more = remove_trace(hub, peer);
        /* One that many have to be told of counts as several. */
        *traces -= MIN(*traces, 1 + hub->shared.effort / TRACE_EFFORT);
    } while (more);
    if (peer->welcome)
        announce_peer_change(hub, peer, true);
    return true;
}
