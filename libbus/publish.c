/* SPDX-License-Identifier: MIT */
#include "libbus/client.h"

int bus_publish_text(struct bus *bus, const char *topic, const char *text, size_t size)
{
    struct outgoing event = {
        .type = MESSAGE_EVENT,
        .topic = span_from(topic),
        .body = span_from(NULL),
    };

    if (text)
        event.body = size == BUS_NUL_TERMINATED ? span_from(text) : (struct span){text, size};
    return client_send(bus, &event, NULL);
}

int bus_publish(struct bus *bus, const char *topic, const json_t *body)
{
    struct outgoing event = {
        .type = MESSAGE_EVENT,
        .topic = span_from(topic),
        .tree = body,
    };

    return client_send(bus, &event, NULL);
}

int bus_publish_take(struct bus *bus, const char *topic, json_t *body)
{
    int r = bus_publish(bus, topic, body);

    json_decref(body);
    return r;
}
