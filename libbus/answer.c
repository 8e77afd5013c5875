/* SPDX-License-Identifier: MIT */
/* The calls that have come in, from their dispatch to their one answer. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/client.h"
#include "libbus/error.h"
#include "libbus/wire/errors.h"
#include "libbus/wire/grammar.h"

static uint64_t hash_of_call(const struct bus *bus, struct span sender, uint64_t id)
{
    uint64_t key[2] = {grammar_unique_name(sender), id};

    return hash_of(&bus->calls, key, sizeof(key));
}

bool call_is_wanted(const struct bus_message *call)
{
    return call->envelope.id && !call->envelope.no_reply && !call->cancelled;
}

void call_track(struct bus_message *call)
{
    struct bus *bus = call->bus;

    if (call->tracked || !call_is_wanted(call))
        return;
    /* Without memory for this, cancelling the call will have no effect here. */
    call->tracked = hash_add(&bus->calls, &call->node,
                             hash_of_call(bus, call->envelope.sender, call->envelope.id)) == 0;
}

void call_untrack(struct bus_message *call)
{
    if (call->tracked)
        hash_remove(&call->bus->calls, &call->node);
    call->tracked = false;
    list_remove(&call->ready_link);
}

struct bus_message *call_find(const struct bus *bus, struct span sender, uint64_t id)
{
    HASH_FOREACH (node, &bus->calls, hash_of_call(bus, sender, id)) {
        struct bus_message *call = CONTAINER_OF(node, struct bus_message, node);
        if (call->envelope.id == id && span_equal(call->envelope.sender, sender))
            return call;
    }
    return NULL;
}

int call_answer(struct bus_message *call, struct outgoing *answer, struct bus_error *error)
{
    if (call->envelope.type != MESSAGE_CALL || call->draft)
        return bus_error_set_errno(error, -EINVAL, "only a call that was received has an answer");
    if (call->answered)
        return bus_error_set_errno(error, -EALREADY, "the call has been answered already");
    if (call_is_wanted(call)) {
        answer->to = call->envelope.sender;
        answer->id = call->envelope.id;
        int r = client_send(call->bus, answer, error);
        if (r < 0)
            return r;
    }
    call->answered = true;
    call_untrack(call);
    return 0;
}

void call_abandon(struct bus_message *call)
{
    struct outgoing answer = {
        .type = MESSAGE_ERROR,
        .error = span_from(BUS_ERROR_NO_REPLY),
        .message = SPAN("the service dropped the call without an answer"),
        .own = true,
    };

    call_answer(call, &answer, NULL);
}

/* The call's caller waits no more. */
static void end_call(struct bus_message *found)
{
    call_untrack(found);
    found->cancelled = true;
    if (!found->cancel_handler)
        return;
    bus_message_ref(found);
    found->cancel_handler(found, found->cancel_userdata);
    bus_message_unref(found);
}

void call_cancel(struct bus *bus, const struct bus_message *cancel)
{
    struct bus_message *found = call_find(bus, cancel->envelope.sender, cancel->envelope.id);

    /* It may have been answered while the cancel was on its way. */
    if (found)
        end_call(found);
}

void calls_cancel_all(struct bus *bus)
{
    while (client_is_live(bus) && bus->calls.count > 0)
        end_call(CONTAINER_OF(hash_walk(&bus->calls, NULL), struct bus_message, node));
}

int bus_reply_text(struct bus_message *call, const char *text, size_t size)
{
    struct outgoing reply = {.type = MESSAGE_REPLY, .body = body_span(text, size)};

    return call_answer(call, &reply, NULL);
}

int bus_reply(struct bus_message *call, const json_t *body)
{
    struct outgoing reply = {.type = MESSAGE_REPLY, .tree = body};

    return call_answer(call, &reply, NULL);
}

int bus_reply_take(struct bus_message *call, json_t *body)
{
    int r = bus_reply(call, body);

    json_decref(body);
    return r;
}

int bus_reply_error(struct bus_message *call, const char *name, const char *format, ...)
{
    CLEANUP(cleanup_free) char *message = NULL;
    va_list args;

    if (format) {
        va_start(args, format);
        int size = vasprintf(&message, format, args);
        va_end(args);
        if (size < 0) {
            message = NULL;
            return -ENOMEM;
        }
    }
    /* Errors are short, and the caller waits. */
    struct outgoing answer = {
        .type = MESSAGE_ERROR,
        .error = span_from(name),
        .message = span_from(message),
        .own = true,
    };
    return call_answer(call, &answer, NULL);
}

int bus_message_set_cancel_handler(struct bus_message *call, bus_message_handler handler,
                                   void *userdata)
{
    if (call->envelope.type != MESSAGE_CALL || call->draft)
        return -EINVAL;
    call->cancel_handler = handler;
    call->cancel_userdata = userdata;
    return 0;
}

bool bus_message_is_cancelled(const struct bus_message *call)
{
    return call->cancelled || !client_can_send(call->bus);
}
