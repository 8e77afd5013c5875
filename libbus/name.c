/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/client.h"
#include "libbus/error.h"
#include "libbus/wire/grammar.h"

#define NAME_FLAGS                                                                                 \
    (BUS_NAME_QUEUE | BUS_NAME_REPLACE | BUS_NAME_ALLOW_REPLACEMENT | BUS_NAME_SHARED)

/* Somebody who wants to know the owner of a name. */
struct watch {
    struct subscription names;
    bus_name_handler handler;
    void *userdata;
    bool told;
    char owner[UNIQUE_NAME_SIZE]; /* empty: nobody */
};

static int check_name(const char *name, struct bus_error *error)
{
    size_t offset;
    const char *reason = grammar_check_name(span_from(name), &offset);

    if (!reason)
        return 0;
    return bus_error_set_errno(error, -EINVAL, "'%s' is no well-known name: %s (at byte %zu)",
                               name ? name : "", reason, offset);
}

static int call_bus(struct bus *bus, const char *method, const char *body, size_t size,
                    struct bus_error *error, struct bus_message **ret_reply)
{
    struct outgoing call = {
        .type = MESSAGE_CALL,
        .to = SPAN("bus"),
        .method = span_from(method),
        .body = {body, size},
        .own = true,
    };

    return client_call(bus, &call, BUS_TIMEOUT_DEFAULT, error, ret_reply);
}

int bus_request_name(struct bus *bus, const char *name, unsigned flags, struct bus_error *error)
{
    char body[GRAMMAR_NAME_MAX + 128];
    struct bus_message *reply;
    const char *state = "";
    int r = check_name(name, error);

    if (r < 0)
        return r;
    if (flags & ~(unsigned)NAME_FLAGS)
        return bus_error_set_errno(error, -EINVAL, "there are no such flags for a name: %#x",
                                   flags & ~(unsigned)NAME_FLAGS);
    int size = snprintf(body, sizeof(body), "{\"name\":\"%s\"%s%s%s%s}", name,
                        flags & BUS_NAME_QUEUE ? ",\"queue\":true" : "",
                        flags & BUS_NAME_REPLACE ? ",\"replace\":true" : "",
                        flags & BUS_NAME_ALLOW_REPLACEMENT ? ",\"allow_replacement\":true" : "",
                        flags & BUS_NAME_SHARED ? ",\"shared\":true" : "");
    r = call_bus(bus, "RequestName", body, (size_t)size, error, &reply);
    if (r < 0)
        return r;
    r = bus_message_unpack(reply, error, "{s:s}", "state", &state);
    if (r == 0)
        r = strcmp(state, "queued") != 0;
    bus_message_unref(reply);
    return r;
}

int bus_release_name(struct bus *bus, const char *name, struct bus_error *error)
{
    char body[GRAMMAR_NAME_MAX + 16];
    int r = check_name(name, error);

    if (r < 0)
        return r;
    int size = snprintf(body, sizeof(body), "{\"name\":\"%s\"}", name);
    return call_bus(bus, "ReleaseName", body, (size_t)size, error, NULL);
}

static void watch_changed(struct bus_message *event, void *userdata)
{
    struct watch *watch = userdata;
    const char *owner = "";

    bus_message_unpack(event, NULL, "{s:s}", "owner", &owner);
    if (strlen(owner) >= sizeof(watch->owner))
        owner = "";
    /* Others may have come or gone who own it, too. */
    if (watch->told && strcmp(watch->owner, owner) == 0)
        return;
    watch->told = true;
    strcpy(watch->owner, owner);
    watch->handler(bus_message_bus(event), watch->names.pattern + strlen(NAME_TOPIC_PREFIX),
                   owner[0] ? owner : NULL, watch->userdata);
}

int bus_watch_name(struct bus *bus, const char *name, bus_name_handler handler, void *userdata,
                   struct bus_slot **ret_slot, struct bus_error *error)
{
    char topic[sizeof(NAME_TOPIC_PREFIX) + GRAMMAR_NAME_MAX];
    int r = check_name(name, error);

    if (r < 0)
        return r;
    if (bus->channel)
        return bus_error_set_errno(error, -EINVAL,
                                   "names are the bus's: there are none on a "
                                   "channel");
    /* A name that is as long as a name may be has no topic. */
    snprintf(topic, sizeof(topic), NAME_TOPIC_PREFIX "%s", name);
    struct watch *watch = handler ? calloc(1, sizeof(*watch)) : NULL;
    if (!watch)
        return bus_error_set_errno(error, handler ? -ENOMEM : -EINVAL,
                                   handler ? "out of memory" : "a watch needs a handler");
    watch->names.eager = true;
    watch->handler = handler;
    watch->userdata = userdata;
    r = subscription_start(bus, &watch->names, topic, NULL, watch_changed, watch, error);
    if (r == 0)
        r = subscription_wait(bus, &watch->names, error);
    if (r == 0)
        slot_give(&watch->names.slot, ret_slot);
    return r;
}
