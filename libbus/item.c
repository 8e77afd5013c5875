/* SPDX-License-Identifier: MIT */
/*
 * The items of calls that have come in and want several replies: they go out only as fast
 * as their callers read.
 *
 * The bus says when a caller is behind (bus.flow). What has been written by then is on
 * its way all the same, so there must never be much of that: an item is refused while
 * ITEMS_WAITING_MAX bytes of output wait, and when ITEMS_TURN_MAX bytes of items have been
 * sent since the socket was looked at last. Of items with fds (big bodies among them) the
 * bus holds only so many and ends the call that has more: behind each there goes a Ping,
 * and before its answer, which comes after what the bus says of the caller, no other item.
 * Whose item was refused is told when to go on.
 */
#include <errno.h>

#include "libbus/base/macros.h"
#include "libbus/client.h"
#include "libbus/error.h"

#define ITEMS_TURN_MAX    (128u * 1024)
#define ITEMS_WAITING_MAX OUTPUT_BATCH

static bool is_full(const struct bus *bus)
{
    return bus->output.blocked && output_weight(&bus->output) > ITEMS_WAITING_MAX;
}

/* The item is refused: its service is to hear when it may go on. */
static int refuse(struct bus_message *call, struct bus_error *error, const char *reason)
{
    call->starved = true;
    if (!call->behind && list_is_empty(&call->ready_link))
        list_append(&call->bus->starved, &call->ready_link);
    return bus_error_set_errno(error, -EAGAIN, "%s", reason);
}

static bool ping_answered(struct pending *pending, struct bus_message *answer)
{
    pending_remove(answer->bus, pending);
    return true;
}

/* The connection is lost. */
static void ping_lost(struct pending *pending, struct bus_message *answer)
{
}

static bool awaits_ping(const struct bus *bus)
{
    return !list_is_empty(&bus->item_ping.link);
}

/* On a channel the other side's socket is all there is. */
static void ping(struct bus *bus)
{
    struct outgoing call = {
        .type = MESSAGE_CALL,
        .to = SPAN("bus"),
        .method = SPAN("Ping"),
        .own = true,
    };

    bus->item_ping.intake = ping_answered;
    bus->item_ping.answered = ping_lost;
    if (bus->channel || awaits_ping(bus) || pending_add(bus, &bus->item_ping, 0) < 0)
        return;
    call.id = bus->item_ping.id;
    if (client_send(bus, &call, NULL) < 0)
        pending_remove(bus, &bus->item_ping);
}

static uint64_t sent(const struct bus *bus)
{
    return bus->output.position + output_size(&bus->output) + bus->output.bodies_ever;
}

int call_send_item(struct bus_message *call, struct outgoing *item, struct bus_error *error)
{
    struct bus *bus = call->bus;

    if (call->envelope.type != MESSAGE_CALL || call->draft)
        return bus_error_set_errno(error, -EINVAL, "only a call that was received has replies");
    if (call->answered)
        return bus_error_set_errno(error, -EALREADY, "the call has been answered already");
    if (!bus_message_wants_more(call))
        return bus_error_set_errno(error, -EINVAL, "the call does not ask for several replies");
    if (call->cancelled)
        return bus_error_set_errno(error, -ECANCELED, "the call has been cancelled");
    if (call->behind)
        return refuse(call, error, "the caller does not read as fast");
    if (client_can_send(bus) &&
        (is_full(bus) || bus->streamed >= ITEMS_TURN_MAX || awaits_ping(bus)))
        return refuse(call, error, "the bus is to be heard first");

    uint64_t before = sent(bus);
    uint64_t bodies = bus->output.bodies_ever;
    item->to = call->envelope.sender;
    item->id = call->envelope.id;
    item->more = true;
    int r = client_send(bus, item, error);
    if (r == -EAGAIN)
        refuse(call, NULL, "");
    else if (r == 0)
        bus->streamed += (size_t)(sent(bus) - before);
    if (r == 0 && (item->fd_count > 0 || bus->output.bodies_ever > bodies))
        ping(bus);
    return r;
}

void items_take_flow(struct bus *bus, struct bus_message *event)
{
    const char *to;
    json_int_t id;
    int ready;

    if (json_unpack(bus_message_body(event), "{s:s, s:I, s:b}", "to", &to, "id", &id, "ready",
                    &ready) < 0 ||
        id <= 0)
        return;
    /* It may have ended while this was on its way. */
    struct bus_message *call = call_find(bus, span_from(to), (uint64_t)id);
    if (!call)
        return;
    call->behind = !ready;
    list_remove(&call->ready_link);
    if (ready && call->starved)
        list_append(&bus->starved, &call->ready_link);
}

bool items_may_go_on(const struct bus *bus)
{
    return !list_is_empty(&bus->starved) && !is_full(bus) && !awaits_ping(bus);
}

bool items_go_on(struct bus *bus)
{
    struct list waiting;
    struct list *node;

    bus->streamed = 0;
    if (!items_may_go_on(bus))
        return false;
    list_init(&waiting);
    list_splice(&waiting, &bus->starved);
    while (client_is_live(bus) && (node = list_first(&waiting))) {
        struct bus_message *call = LIST_ENTRY(node, struct bus_message, ready_link);
        list_remove(node);
        call->starved = false;
        if (!call->ready_handler)
            continue;
        bus_message_ref(call);
        call->ready_handler(call, call->ready_userdata);
        bus_message_unref(call);
    }
    list_splice(&bus->starved, &waiting);
    return true;
}

int bus_reply_more_text(struct bus_message *call, const char *text, size_t size)
{
    struct outgoing item = {.type = MESSAGE_REPLY, .body = body_span(text, size)};

    return call_send_item(call, &item, NULL);
}

int bus_reply_more(struct bus_message *call, const json_t *body)
{
    struct outgoing item = {.type = MESSAGE_REPLY, .tree = body};

    return call_send_item(call, &item, NULL);
}

int bus_reply_more_take(struct bus_message *call, json_t *body)
{
    int r = bus_reply_more(call, body);

    json_decref(body);
    return r;
}

int bus_message_set_ready_handler(struct bus_message *call, bus_message_handler handler,
                                  void *userdata)
{
    if (!bus_message_wants_more(call) || call->draft)
        return -EINVAL;
    call->ready_handler = handler;
    call->ready_userdata = userdata;
    return 0;
}
