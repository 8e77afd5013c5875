/* SPDX-License-Identifier: MIT */
/* Which callbacks a message is for. */
#include "libbus/client.h"
#include "libbus/error.h"

static void dispatch_error(struct bus *bus, struct bus_message *message)
{
    struct bus_error error;

    if (!bus->error_handler || !span_is(message->envelope.sender, "bus"))
        return;
    bus_message_get_error(message, &error);
    bus->error_handler(bus, &error, bus->error_userdata);
}

void client_dispatch(struct bus *bus, struct bus_message *message)
{
    struct pending *pending;

    switch (message->envelope.type) {
    case MESSAGE_REPLY:
    case MESSAGE_ERROR:
        if (message->envelope.id == 0) {
            dispatch_error(bus, message);
            break;
        }
        /* It may have been cancelled since the answer was read. */
        pending = pending_find(bus, message->envelope.id);
        if (pending && pending->item && message->envelope.more)
            pending_take_item(pending, message);
        else if (pending)
            pending_answer(bus, pending, message);
        break;
    case MESSAGE_EVENT:
        subscriptions_deliver(bus, message);
        break;
    case MESSAGE_CALL:
        service_dispatch(bus, message);
        break;
    case MESSAGE_CANCEL:
        call_cancel(bus, message);
        break;
    case MESSAGE_NONE:
        break;
    }
}
