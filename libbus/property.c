/* SPDX-License-Identifier: MIT */
/* Properties of others: reading, setting and watching them. */
#include "libbus/property.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libbus/client.h"
#include "libbus/error.h"

static int check_service(const char *name, struct bus_error *error)
{
    size_t offset = 0;
    const char *reason = grammar_check_name(span_from(name), &offset);

    return reason ? bus_error_set_errno(error, -EINVAL,
                                        "'%s' is no name of a service: %s (at byte %zu)",
                                        name ? name : "", reason, offset)
                  : 0;
}

int property_topic(const char *name, const char *property, char topic[GRAMMAR_NAME_MAX + 1],
                   struct bus_error *error)
{
    size_t offset = 0;
    const char *reason = grammar_check_topic(span_from(property), &offset);
    int r = check_service(name, error);

    if (r < 0)
        return r;
    if (!reason && strchr(property, '.')) {
        reason = "it has no dots";
        offset = (size_t)(strchr(property, '.') - property);
    }
    if (reason)
        return bus_error_set_errno(error, -EINVAL, "'%s' is no property: %s (at byte %zu)",
                                   property ? property : "", reason, offset);
    if (snprintf(topic, GRAMMAR_NAME_MAX + 1, "%s.%s", name, property) > GRAMMAR_NAME_MAX)
        return bus_error_set_errno(error, -EINVAL, "'%s.%s' is longer than %d bytes", name,
                                   property, GRAMMAR_NAME_MAX);
    return 0;
}

int bus_property_get(struct bus *bus, const char *name, const char *property,
                     struct bus_error *error, struct bus_message **ret_value)
{
    char topic[GRAMMAR_NAME_MAX + 1];
    int r = property_topic(name, property, topic, error);

    return r < 0 ? r : retained_get(bus, topic, name, error, ret_value);
}

int bus_property_set_text(struct bus *bus, const char *name, const char *property, const char *text,
                          size_t size, uint64_t timeout_ms, struct bus_error *error)
{
    char topic[GRAMMAR_NAME_MAX + 1];
    struct span value = text ? body_span(text, size) : SPAN("null");
    struct text body = TEXT_INIT;
    size_t offset = 0;
    int r = property_topic(name, property, topic, error);

    if (r < 0)
        return r;
    /* By itself: two halves of a value could make one together with what is around them. */
    const char *reason = bus_check_json(value.data, value.size, &offset);
    if (reason)
        return body_refuse_text(error, reason, offset);
    text_printf(&body, "{\"property\":\"%s\",\"value\":", property);
    text_append_span(&body, value);
    text_append_string(&body, "}");
    r = body.failed
            ? bus_error_set_errno(error, -ENOMEM, "out of memory")
            : bus_call_text(bus, name, "Set", body.data, body.size, timeout_ms, error, NULL);
    text_deinit(&body);
    return r;
}

int bus_property_watch(struct bus *bus, const char *name, const char *property,
                       bus_message_handler handler, void *userdata, struct bus_slot **ret_slot,
                       struct bus_error *error)
{
    char topic[GRAMMAR_NAME_MAX + sizeof(".*")];
    int r = property ? property_topic(name, property, topic, error) : check_service(name, error);

    if (r < 0)
        return r;
    if (!property)
        snprintf(topic, sizeof(topic), "%s.*", name);
    return bus_subscribe(bus, topic, name, handler, userdata, ret_slot, error);
}
