/* SPDX-License-Identifier: MIT */
#include "busd/stream.h"

#include <inttypes.h>
#include <stdio.h>

#include "libbus/base/macros.h"

/* What has been said of a call that has been answered, in the queue of its caller. */
struct ending {
    struct span sender;
    uint64_t id;
    bool found;
};

static const char refused[] = "an item was lost: the kernel takes no more file descriptors in "
                              "flight";

void stream_break(struct hub *hub, struct call *call, enum wire_error error, const char *message)
{
    struct peer *caller = peer_of_party(call->caller);
    struct peer *callee = peer_of_party(call->callee);
    uint64_t id = call->id;

    calls_remove(&hub->calls, call);
    answer_cancel(hub, caller, callee, id, "limit");
    answer_call_error(hub, caller, id, error, "%s", message);
}

void stream_end_broken(struct hub *hub, struct call *call)
{
    stream_break(hub, call, WIRE_LIMIT_EXCEEDED, refused);
}

/* -------------------------------------------------------- flow control */

static void tell_callee(struct hub *hub, const struct call *call, bool ready)
{
    struct span to = peer_name(peer_of_party(call->caller));
    char body[96];

    int size = snprintf(body, sizeof(body), "{\"to\":\"%.*s\",\"id\":%" PRIu64 ",\"ready\":%s}",
                        SPAN_ARGS(to), call->id, ready ? "true" : "false");
    announce_to(hub, peer_of_party(call->callee), SPAN("bus.flow"),
                (struct span){body, (size_t)size}, false);
}

static void on_caught_up(struct backlog_waiter *waiter)
{
    struct call *call = CONTAINER_OF(waiter, struct call, waiter);
    struct peer *caller = peer_of_party(call->caller);
    struct hub *hub = hub_of(caller);

    calls_resume(&hub->calls, call, hub_now(hub));
    /* Of one that goes, the callee hears another way. */
    if (!caller->doomed)
        tell_callee(hub, call, true);
}

/* What may wait for a caller before the callee is told: less than its hard limit, whatever
 * the soft one is set to. */
static uint64_t soft_limit(const struct peer *caller)
{
    return MIN(caller->limits->queue_soft_bytes, caller->limits->queue_bytes / 2);
}

static bool is_behind(const struct peer *caller)
{
    const struct outq *outq = &caller->connection.outq;

    return outq->bytes > soft_limit(caller) || outq->fds > caller->limits->fds_queued / 2;
}

/* The caller is behind. */
static void pause_call(struct hub *hub, struct call *call)
{
    struct peer *caller = peer_of_party(call->caller);
    const struct connection *connection = &caller->connection;

    calls_pause(&hub->calls, call);
    call->waiter.caught_up = on_caught_up;
    backlog_wait(&caller->streams, &call->waiter, connection->bytes_sent + connection->outq.bytes);
    tell_callee(hub, call, false);
}

unsigned stream_wake(struct peer *caller, unsigned max)
{
    const struct connection *connection = &caller->connection;
    uint64_t left = soft_limit(caller) / 2;

    if (connection->outq.fds > caller->limits->fds_queued / 2)
        return 0;
    /* What is queued can become less without having been sent. */
    return backlog_wake(&caller->streams,
                        connection->outq.bytes <= left ? UINT64_MAX : connection->bytes_sent + left,
                        max);
}

/* --------------------------------------------------------------- items */

/* There was no room for an item of this call. */
static void end_unread(struct hub *hub, struct call *call, const struct envelope *envelope,
                       int result)
{
    const struct peer *caller = peer_of_party(call->caller);
    uint64_t max = caller->limits->queue_bytes;
    const char *limit = "queue_bytes";
    char message[160];

    if (caller->connection.outq.bytes + envelope->rest.size <= max)
        limit = quota_limit(caller->user, QUOTA_BYTES, &max);
    if (result < 0)
        snprintf(message, sizeof(message), "the bus is out of memory");
    else if (envelope->fds > 0)
        snprintf(message, sizeof(message),
                 "there is no room for an item with file descriptors: read those before");
    else
        snprintf(message, sizeof(message),
                 "more items wait unread than there is room for (%s, %" PRIu64 ")", limit, max);
    stream_break(hub, call, WIRE_LIMIT_EXCEEDED, message);
}

void stream_item(struct hub *hub, struct call *call, const struct envelope *envelope,
                 struct fds *fds)
{
    struct peer *caller = peer_of_party(call->caller);
    struct peer *callee = peer_of_party(call->callee);

    if (!call->more) {
        answer_error(hub, callee, envelope, WIRE_INVALID_MESSAGE,
                     "more: the call does not ask for several replies");
        return;
    }
    call->progress = hub_now(hub);
    int r = deliver_message(hub, callee, caller, envelope, fds, DELIVER_ITEM);
    if ((r == 0 && !is_behind(caller)) || caller->doomed)
        return;
    /* Writing to the caller can have ended the call. */
    call = calls_find(&hub->calls, &caller->calls, envelope->id);
    if (!call || call->callee != &callee->calls)
        return;
    if (r != 0)
        end_unread(hub, call, envelope, r);
    else if (!call->paused)
        pause_call(hub, call);
}

/* ------------------------------------------------ what the kernel refuses */

/* Whether a line may stay in the caller's queue: not the one that says that all is well. */
static bool keep_line(struct span line, void *userdata)
{
    struct ending *ending = userdata;
    struct envelope_fault fault;
    struct envelope envelope;

    if (ending->found ||
        envelope_parse(&envelope, line.data, line.size, ENVELOPE_FROM_BROKER, &fault) != 0)
        return true;
    ending->found = envelope.type == MESSAGE_REPLY && !envelope.more && envelope.id == ending->id &&
                    span_equal(envelope.sender, ending->sender);
    return !ending->found;
}

/* The call has been answered already, but the caller has not read it yet. */
static void replace_answer(struct hub *hub, struct peer *caller, struct span sender, uint64_t id)
{
    struct ending ending = {.sender = sender, .id = id};

    if (outq_filter(&caller->connection.outq, &hub->shared.pool, keep_line, &ending) < 0)
        peer_doom(caller, "out of memory for what it has not read");
    else if (ending.found)
        answer_call_error(hub, caller, id, WIRE_LIMIT_EXCEEDED, "%s", refused);
}

bool stream_refused(struct hub *hub, struct peer *receiver, const struct piece *piece)
{
    struct envelope envelope;
    struct envelope_fault fault;

    if (envelope_parse(&envelope, piece->chunk->data + piece->offset, piece->size - 1,
                       ENVELOPE_FROM_BROKER, &fault) != 0 ||
        envelope.type != MESSAGE_REPLY || !envelope.more)
        return false;
    struct call *call = calls_find(&hub->calls, &receiver->calls, envelope.id);
    if (call && span_equal(peer_name(peer_of_party(call->callee)), envelope.sender))
        calls_break(&hub->calls, call, hub_now(hub));
    else
        replace_answer(hub, receiver, envelope.sender, envelope.id);
    return true;
}
