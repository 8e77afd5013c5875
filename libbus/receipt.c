/* SPDX-License-Identifier: MIT */
/* Events whose publisher wants to know what became of them. */
#include <errno.h>

#include "libbus/client.h"
#include "libbus/error.h"

int bus_publish_message(struct bus_message *event, uint64_t timeout_ms, struct bus_error *error,
                        struct bus_receipt *ret_receipt)
{
    struct outgoing outgoing;
    struct bus_message *reply;
    int r = client_check_draft(event, MESSAGE_EVENT, error);

    if (r < 0)
        return r;
    message_outgoing(event, &outgoing);
    r = client_call(event->bus, &outgoing, timeout_ms, error, &reply);
    if (r < 0)
        return r;
    struct bus_receipt receipt;
    r = bus_message_get_receipt(reply, &receipt);
    bus_message_unref(reply);
    if (r < 0)
        return bus_error_set_errno(error, r, "what the bus has answered is no receipt");
    if (ret_receipt)
        *ret_receipt = receipt;
    return 0;
}

int bus_publish_async(struct bus_message *event, bus_message_handler handler, void *userdata,
                      struct bus_slot **ret_slot)
{
    struct outgoing outgoing;
    int r = client_check_draft(event, MESSAGE_EVENT, NULL);

    if (r < 0)
        return r;
    message_outgoing(event, &outgoing);
    return client_call_async(event->bus, &outgoing, BUS_TIMEOUT_NEVER, handler, userdata, ret_slot);
}

int bus_message_get_receipt(struct bus_message *message, struct bus_receipt *ret_receipt)
{
    json_int_t matched, queued, dropped;
    int r = bus_message_get_error(message, NULL);

    if (r < 0)
        return r;
    if (message->envelope.type != MESSAGE_REPLY || !span_is(message->envelope.sender, "bus") ||
        json_unpack(bus_message_body(message), "{s:I, s:I, s:I}", "matched", &matched, "queued",
                    &queued, "dropped", &dropped) < 0 ||
        matched < 0 || queued < 0 || dropped < 0)
        return -EPROTO;
    *ret_receipt = (struct bus_receipt){(uint64_t)matched, (uint64_t)queued, (uint64_t)dropped};
    return 0;
}
