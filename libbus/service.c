/* SPDX-License-Identifier: MIT */
#include "libbus/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/base/text.h"
#include "libbus/channel.h"
#include "libbus/client.h"
#include "libbus/error.h"
#include "libbus/wire/grammar.h"

static const struct bus_method *find_method(const struct service *service, struct span name)
{
    if (!service)
        return NULL;
    HASH_FOREACH (node, &service->rows, hash_of(&service->rows, name.data, name.size)) {
        const struct bus_method *method = CONTAINER_OF(node, struct method_row, node)->method;
        if (span_is(name, method->name))
            return method;
    }
    return NULL;
}

static struct service *find_named(const struct bus *bus, struct span name)
{
    HASH_FOREACH (node, &bus->services, hash_of(&bus->services, name.data, name.size)) {
        struct service *service = CONTAINER_OF(node, struct service, node);
        if (span_is(name, service->name))
            return service;
    }
    return NULL;
}

static int reply_introspect(const struct service *service, struct bus_message *call)
{
    static const struct bus_method none[] = {BUS_METHOD_END};
    const char *description = service ? service->description : NULL;
    struct text text = TEXT_INIT;

    text_append_string(&text, "{\"name\":");
    if (service && service->name)
        text_append_json_string(&text, span_from(service->name));
    else
        text_append_string(&text, "null");
    text_append_string(&text, ",\"description\":");
    if (description)
        text_append_json_string(&text, span_from(description));
    else
        text_append_string(&text, "null");
    text_append_string(&text, ",\"methods\":[");
    for (const struct bus_method *m = service ? service->methods : none; m->name; m++) {
        text_append_string(&text, m == (service ? service->methods : none) ? "" : ",");
        text_printf(&text, "{\"name\":\"%s\",\"description\":", m->name);
        if (m->description)
            text_append_json_string(&text, span_from(m->description));
        else
            text_append_string(&text, "null");
        text_append_string(&text, m->flags & BUS_METHOD_MORE ? ",\"more\":true}" : "}");
    }
    text_append_string(&text, "]");
    if (service)
        properties_describe(&service->properties, &text);
    text_append_string(&text, service && service->channels_max > 0 ? ",\"channels\":true}" : "}");

    struct outgoing reply = {
        .type = MESSAGE_REPLY,
        .body = text_span(&text),
        .body_checked = true,
        .own = true,
    };
    int r = text.failed ? -ENOMEM : call_answer(call, &reply, NULL);
    text_deinit(&text);
    return r;
}

int service_answer_standard(struct service *service, struct bus_message *call)
{
    struct span method = call->envelope.method;
    struct outgoing reply = {
        .type = MESSAGE_REPLY,
        .body = SPAN("{}"),
        .body_checked = true,
        .own = true,
    };

    if (span_is(method, "Ping"))
        return call_answer(call, &reply, NULL);
    if (span_is(method, "Introspect"))
        return reply_introspect(service, call);
    if (span_is(method, "Set") && service && service->properties.count > 0)
        return properties_answer_set(service, call);
    /* Not by way of a channel: it is the bus that knows who calls. */
    if (span_is(method, CHANNEL_OPEN_METHOD) && service && service->channels_max > 0 &&
        !call->bus->channel)
        return channels_open(service, call);
    return bus_reply_error(
        call, BUS_ERROR_METHOD_UNKNOWN, "%s has no method '%.*s'; Introspect lists those it has",
        service && service->name ? service->name : "this connection", SPAN_ARGS(method));
}

static struct service *find_service(const struct bus *bus, const struct bus_message *call)
{
    if (bus->channel && bus->channel->serving)
        return bus->channel->service;
    struct service *service = find_named(bus, call->envelope.to);
    return service ? service : bus->default_service;
}

void service_dispatch(struct bus *bus, struct bus_message *call)
{
    struct service *service = find_service(bus, call);

    if (bus->channel && channel_refuse_call(bus, call))
        return;
    const struct bus_method *method = find_method(service, call->envelope.method);
    call->dispatched = true;
    call_track(call);

    int r = method ? method->handler(call, service->slot.userdata)
                   : service_answer_standard(service, call);
    if (r < 0 && !call->answered) {
        char name[ERRNO_NAME_SIZE];
        const char *text = strerrordesc_np(-r);
        errno_name(-r, name);
        bus_reply_error(call, name, "%s", text ? text : "unknown error");
    }
}

static void service_end(struct bus_slot *slot, struct bus *bus, bool tell)
{
    struct service *service = CONTAINER_OF(slot, struct service, slot);

    channels_end(bus, service);
    if (!service->name) {
        bus->default_service = NULL;
        return;
    }
    hash_remove(&bus->services, &service->node);
    properties_end(service, bus, tell);
    if (tell)
        client_tell_bus(bus, "ReleaseName", "{\"name\":\"%s\"}", service->name);
}

static void service_destroy(struct bus_slot *slot)
{
    struct service *service = CONTAINER_OF(slot, struct service, slot);
    struct hash_node *node;

    while ((node = hash_walk(&service->rows, NULL)))
        hash_remove(&service->rows, node);
    hash_deinit(&service->rows);
    properties_deinit(&service->properties);
    free(service->row);
    free(service->name);
    free(service);
}

static const struct slot_kind service_kind = {service_end, service_destroy};

struct service *service_of(struct bus_slot *slot)
{
    return slot && slot->kind == &service_kind ? CONTAINER_OF(slot, struct service, slot) : NULL;
}

/* Enters the table's rows into the hash. */
static int add_methods(struct service *service, const struct bus_method *methods,
                       struct bus_error *error)
{
    size_t count = 0;
    size_t offset;

    while (methods[count].name)
        count++;
    service->methods = methods;
    service->row = calloc(count + 1, sizeof(*service->row));
    if (!service->row)
        return bus_error_set_errno(error, -ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        struct span name = span_from(methods[i].name);
        const char *reason = grammar_check_method(name, &offset);
        if (reason)
            return bus_error_set_errno(error, -EINVAL, "'%s' is no method: %s (at byte %zu)",
                                       methods[i].name, reason, offset);
        if (!methods[i].handler || methods[i].flags & ~(uint64_t)BUS_METHOD_MORE)
            return bus_error_set_errno(error, -EINVAL,
                                       "the row of method '%s' has no handler or unknown flags",
                                       methods[i].name);
        if (find_method(service, name))
            return bus_error_set_errno(error, -EINVAL, "method '%s' is in the table twice",
                                       methods[i].name);
        service->row[i].method = &methods[i];
        if (hash_add(&service->rows, &service->row[i].node,
                     hash_of(&service->rows, name.data, name.size)) < 0)
            return bus_error_set_errno(error, -ENOMEM, "out of memory");
    }
    return 0;
}

static int service_new(const char *name, const struct bus_method *methods,
                       struct service **ret_service, struct bus_error *error)
{
    struct service *service = calloc(1, sizeof(*service));

    if (!service)
        return bus_error_set_errno(error, -ENOMEM, "out of memory");
    hash_init(&service->rows);
    int r = add_methods(service, methods, error);
    if (r == 0 && name && !(service->name = strdup(name)))
        r = bus_error_set_errno(error, -ENOMEM, "out of memory");
    if (r < 0) {
        service_destroy(&service->slot);
        return r;
    }
    *ret_service = service;
    return 0;
}

/* Makes it the one that calls to its name are given to. */
static int service_register(struct bus *bus, struct service *service, void *userdata,
                            struct bus_error *error)
{
    struct span name = span_from(service->name);

    if (bus->channel && bus->channel->serving)
        return bus_error_set_errno(error, -EEXIST,
                                   "this channel has the service that it was opened for");
    if (!service->name) {
        if (bus->default_service)
            return bus_error_set_errno(error, -EEXIST,
                                       "this connection has a service without a name already");
        bus->default_service = service;
    } else {
        if (find_named(bus, name))
            return bus_error_set_errno(error, -EEXIST, "this connection serves %s already",
                                       service->name);
        if (hash_add(&bus->services, &service->node,
                     hash_of(&bus->services, name.data, name.size)) < 0)
            return bus_error_set_errno(error, -ENOMEM, "out of memory");
    }
    slot_init(&service->slot, &service_kind, bus, userdata);
    return 0;
}

/* Requests its name, and publishes its values under it. On failure it has ended. */
static int service_begin(struct service *service, unsigned name_flags, struct bus_error *error)
{
    int r = bus_request_name(service->slot.bus, service->name, name_flags, error);
    bool requested = r >= 0;

    if (requested)
        r = properties_begin(service, r > 0, name_flags, error);
    if (r < 0)
        slot_end(&service->slot, requested);
    return r;
}

int bus_serve_with(struct bus *bus, const char *name, const struct bus_service_options *options,
                   const struct bus_method *methods, void *userdata, struct bus_slot **ret_slot,
                   struct bus_error *error)
{
    static const struct bus_service_options defaults = {0};
    struct service *service = NULL;
    size_t offset;
    const char *reason = name ? grammar_check_name(span_from(name), &offset) : NULL;
    int r;

    if (reason)
        return bus_error_set_errno(error, -EINVAL,
                                   "'%s' is no name for a service: %s (at byte %zu)", name, reason,
                                   offset);
    options = options ? options : &defaults;
    r = service_new(name, methods, &service, error);
    if (r < 0)
        return r;
    service->channels_max = options->channels;
    service->channel_opened = options->channel_opened;
    r = properties_init(service, options->properties, options->name_flags, error);
    if (r == 0)
        r = service_register(bus, service, userdata, error);
    if (r < 0) {
        service_destroy(&service->slot);
        return r;
    }
    if (name) {
        r = service_begin(service, options->name_flags, error);
        if (r < 0)
            return r;
    }
    slot_give(&service->slot, ret_slot);
    return 0;
}

int bus_serve(struct bus *bus, const char *name, const struct bus_method *methods, void *userdata,
              struct bus_slot **ret_slot, struct bus_error *error)
{
    return bus_serve_with(bus, name, NULL, methods, userdata, ret_slot, error);
}

void bus_slot_set_description(struct bus_slot *slot, const char *description)
{
    struct service *service = service_of(slot);

    if (service)
        service->description = description;
}
