/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/client.h"
#include "libbus/error.h"
#include "libbus/wire/grammar.h"

/* A blocking call, in the frame of its function. */
struct waiting_call {
    struct pending pending;
    bool done;
    struct bus_message *answer;
};

/* An asynchronous one. */
struct call_slot {
    struct bus_slot slot;
    struct pending pending;
    bus_message_handler handler;
    char to[]; /* for the cancel; empty: there is none to be sent */
};

static bool waiting_intake(struct pending *pending, struct bus_message *answer)
{
    struct waiting_call *call = CONTAINER_OF(pending, struct waiting_call, pending);

    pending_remove(answer->bus, pending);
    call->answer = bus_message_ref(answer);
    call->done = true;
    return true;
}

int call_set_timeout(struct outgoing *call, uint64_t timeout, struct bus_error *error)
{
    if (timeout == BUS_TIMEOUT_DEFAULT)
        return 0;
    if (timeout > GRAMMAR_INTEGER_MAX)
        return bus_error_set_errno(error, -EINVAL, "a timeout is at most 2^53-1 milliseconds");
    if (call->type != MESSAGE_CALL)
        return 0;
    call->has_timeout = true;
    call->timeout = timeout;
    return 0;
}

int call_send(struct bus *bus, const struct outgoing *call, uint64_t deadline,
              struct bus_error *error)
{
    int r;

    while ((r = client_send(bus, call, error)) == -EAGAIN) {
        r = client_turn(bus, deadline);
        if (r < 0)
            break;
    }
    return r;
}

int call_explain(struct bus *bus, const struct outgoing *call, int r, struct bus_error *error)
{
    if (r == -ETIMEDOUT)
        bus_error_set_errno(error, r, "no %s %.*s came before the deadline",
                            call->type == MESSAGE_CALL ? "answer from" : "receipt for",
                            SPAN_ARGS(call->type == MESSAGE_CALL ? call->to : call->topic));
    else if (r == -ECONNRESET && bus->state != CLIENT_UP)
        bus_error_set(error, BUS_ERROR_DISCONNECTED, "%s", bus->lost.message);
    return r;
}

/* Sends, waiting for room in the output, and waits for the answer. */
static int exchange(struct bus *bus, const struct outgoing *call, struct waiting_call *waiting,
                    uint64_t deadline, struct bus_error *error)
{
    int r = call_send(bus, call, deadline, error);

    if (r == 0)
        r = client_wait(bus, &waiting->done, deadline);
    return call_explain(bus, call, r, error);
}

int client_call(struct bus *bus, struct outgoing *call, uint64_t timeout, struct bus_error *error,
                struct bus_message **ret_reply)
{
    struct waiting_call waiting = {.pending = {.intake = waiting_intake}};
    int r = call_set_timeout(call, timeout, error);

    if (r < 0)
        return r;
    list_init(&waiting.pending.link);
    r = pending_add(bus, &waiting.pending, 0);
    if (r < 0)
        return bus_error_set_errno(error, r, "out of memory");
    call->id = waiting.pending.id;

    uint64_t deadline = pending_deadline(bus, timeout);
    client_enter(bus);
    r = exchange(bus, call, &waiting, deadline, error);
    pending_remove(bus, &waiting.pending);
    /* There is no bus on a channel to tell the callee. */
    if (r == -ETIMEDOUT && bus->channel)
        call_send_cancel(bus, call->to, call->id);
    client_leave(bus);
    if (r == 0)
        r = bus_message_get_error(waiting.answer, error);
    if (r == 0 && ret_reply)
        *ret_reply = TAKE(waiting.answer);
    bus_message_unref(waiting.answer);
    return r;
}

int bus_call_text(struct bus *bus, const char *to, const char *method, const char *text,
                  size_t size, uint64_t timeout_ms, struct bus_error *error,
                  struct bus_message **ret_reply)
{
    struct outgoing call = {
        .type = MESSAGE_CALL,
        .to = span_from(to),
        .method = span_from(method),
        .body = body_span(text, size),
    };

    return client_call(bus, &call, timeout_ms, error, ret_reply);
}

int bus_call(struct bus *bus, const char *to, const char *method, const json_t *body,
             uint64_t timeout_ms, struct bus_error *error, struct bus_message **ret_reply)
{
    struct outgoing call = {
        .type = MESSAGE_CALL,
        .to = span_from(to),
        .method = span_from(method),
        .tree = body,
    };

    return client_call(bus, &call, timeout_ms, error, ret_reply);
}

int bus_call_take(struct bus *bus, const char *to, const char *method, json_t *body,
                  uint64_t timeout_ms, struct bus_error *error, struct bus_message **ret_reply)
{
    int r = bus_call(bus, to, method, body, timeout_ms, error, ret_reply);

    json_decref(body);
    return r;
}

uint64_t call_timeout_of(const struct bus_message *call)
{
    return call->draft->has_timeout ? call->envelope.timeout : BUS_TIMEOUT_DEFAULT;
}

int client_check_draft(const struct bus_message *message, enum message_type type,
                       struct bus_error *error)
{
    if (!message->draft || message->envelope.type != type)
        return bus_error_set_errno(error, -EINVAL, "the message is not %s to be sent",
                                   type == MESSAGE_CALL ? "a call" : "an event");
    if (message->draft->sent)
        return bus_error_set_errno(error, -EALREADY, "the message has been sent already");
    if (message->draft->memory.fd >= 0)
        return bus_error_set_errno(error, -EBUSY, "the message's body is not sealed yet");
    return 0;
}

int bus_call_message(struct bus_message *call, struct bus_error *error,
                     struct bus_message **ret_reply)
{
    struct outgoing outgoing;
    int r = client_check_draft(call, MESSAGE_CALL, error);

    if (r < 0)
        return r;
    if (call->envelope.more)
        return bus_error_set_errno(error, -EINVAL,
                                   "a call that wants several replies is no "
                                   "bus_call_message()'s: see bus_stream_open()");
    message_outgoing(call, &outgoing);
    return client_call(call->bus, &outgoing, call_timeout_of(call), error, ret_reply);
}

void call_send_cancel(struct bus *bus, struct span to, uint64_t id)
{
    struct outgoing cancel = {.type = MESSAGE_CANCEL, .to = to, .id = id, .own = true};

    client_send(bus, &cancel, NULL);
}

static void call_slot_end(struct bus_slot *slot, struct bus *bus, bool tell)
{
    struct call_slot *call = CONTAINER_OF(slot, struct call_slot, slot);
    bool waits = !list_is_empty(&call->pending.link);

    pending_remove(bus, &call->pending);
    if (tell && waits && call->to[0])
        call_send_cancel(bus, span_from(call->to), call->pending.id);
}

static void call_slot_destroy(struct bus_slot *slot)
{
    free(CONTAINER_OF(slot, struct call_slot, slot));
}

static const struct slot_kind call_slot_kind = {call_slot_end, call_slot_destroy};

static void call_slot_answered(struct pending *pending, struct bus_message *answer)
{
    struct call_slot *call = CONTAINER_OF(pending, struct call_slot, pending);
    bus_message_handler handler = call->handler;
    void *userdata = call->slot.userdata;

    slot_end(&call->slot, false);
    if (answer)
        handler(answer, userdata);
}

static void call_slot_item(struct pending *pending, struct bus_message *item)
{
    struct call_slot *call = CONTAINER_OF(pending, struct call_slot, pending);

    call->handler(item, call->slot.userdata);
}

int client_call_async(struct bus *bus, struct outgoing *outgoing, uint64_t timeout,
                      bus_message_handler handler, void *userdata, struct bus_slot **ret_slot)
{
    bool cancels = outgoing->type == MESSAGE_CALL;
    int r = handler ? call_set_timeout(outgoing, timeout, NULL) : -EINVAL;

    if (r < 0)
        return r;
    struct call_slot *call = calloc(1, sizeof(*call) + outgoing->to.size + 1);
    if (!call)
        return -ENOMEM;
    slot_init(&call->slot, &call_slot_kind, bus, userdata);
    list_init(&call->pending.link);
    call->pending.answered = call_slot_answered;
    call->pending.item = outgoing->more ? call_slot_item : NULL;
    call->handler = handler;
    if (cancels)
        memcpy(call->to, outgoing->to.data, outgoing->to.size);

    client_enter(bus);
    r = pending_add(bus, &call->pending, pending_patience(bus, timeout));
    outgoing->id = call->pending.id;
    if (r == 0)
        r = client_send(bus, outgoing, NULL);
    if (r == 0)
        slot_give(&call->slot, ret_slot);
    else
        slot_end(&call->slot, false);
    client_leave(bus);
    return r;
}

int bus_call_async(struct bus_message *call, bus_message_handler handler, void *userdata,
                   struct bus_slot **ret_slot)
{
    struct outgoing outgoing;
    int r = client_check_draft(call, MESSAGE_CALL, NULL);

    if (r < 0)
        return r;
    message_outgoing(call, &outgoing);
    return client_call_async(call->bus, &outgoing, call_timeout_of(call), handler, userdata,
                             ret_slot);
}

int bus_call_text_async(struct bus *bus, const char *to, const char *method, const char *text,
                        size_t size, uint64_t timeout_ms, bus_message_handler handler,
                        void *userdata, struct bus_slot **ret_slot)
{
    struct outgoing call = {
        .type = MESSAGE_CALL,
        .to = span_from(to),
        .method = span_from(method),
        .body = body_span(text, size),
    };

    return client_call_async(bus, &call, timeout_ms, handler, userdata, ret_slot);
}

int bus_call_no_reply(struct bus *bus, const char *to, const char *method, const char *text,
                      size_t size)
{
    struct outgoing call = {
        .type = MESSAGE_CALL,
        .to = span_from(to),
        .method = span_from(method),
        .body = body_span(text, size),
        .no_reply = true,
    };

    return client_send(bus, &call, NULL);
}
