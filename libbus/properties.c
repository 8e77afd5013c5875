/* SPDX-License-Identifier: MIT */
/* The properties of a service. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/client.h"
#include "libbus/error.h"
#include "libbus/property.h"
#include "libbus/wire/scan.h"

static struct property *find_property(const struct properties *properties, const char *name)
{
    for (size_t i = 0; i < properties->count; i++)
        if (strcmp(properties->item[i].row->name, name) == 0)
            return &properties->item[i];
    return NULL;
}

/* ------------------------------------------------------------- values */

static int publish(struct bus *bus, const struct property *property, struct span value, bool own,
                   struct bus_error *error)
{
    struct outgoing event = {
        .type = MESSAGE_EVENT,
        .topic = span_from(property->topic),
        .retain = span_from(retain_names[BUS_RETAIN_CONNECTION]),
        .body = value.data ? value : SPAN("null"),
        .body_checked = true,
        .own = own,
    };

    return client_send(bus, &event, error);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* A copy of a value without the space around it; *ret_text is NULL for null. */
static int copy_value(struct span value, char **ret_text, size_t *ret_size, struct bus_error *error)
{
    size_t offset = 0;

    while (value.size > 0 && is_space(value.data[value.size - 1]))
        value.size--;
    for (; value.size > 0 && is_space(value.data[0]); value.size--)
        value.data++;
    *ret_text = NULL;
    *ret_size = 0;
    if (!value.data || span_is(value, "null"))
        return 0;
    char *copy = malloc(value.size + 1 + SCAN_PADDING);
    if (!copy)
        return bus_error_set_errno(error, -ENOMEM, "out of memory");
    memcpy(copy, value.data, value.size);
    const char *reason = json_check(copy, value.size, &offset);
    if (reason) {
        free(copy);
        return body_refuse_text(error, reason, offset);
    }
    *ret_text = copy;
    *ret_size = value.size;
    return 0;
}

static struct span value_of(const struct property *property)
{
    return (struct span){property->text, property->size};
}

/* Gives it a value and publishes that, if it is another one. */
static int change(struct service *service, struct property *property, struct span value, bool own,
                  struct bus_error *error)
{
    CLEANUP(cleanup_free) char *text = NULL;
    size_t size;
    int r = copy_value(value, &text, &size, error);

    if (r < 0)
        return r;
    if (!text == !property->text && span_equal(value_of(property), (struct span){text, size})) {
        property->settings++;
        return 0;
    }
    if (property->text && property->row->flags & BUS_PROPERTY_CONSTANT)
        return bus_error_set_errno(error, -EPERM, "property '%s' is constant and has a value",
                                   property->row->name);
    if (service->properties.published)
        r = publish(service->slot.bus, property, (struct span){text, size}, own, error);
    if (r < 0)
        return r;
    free(property->text);
    property->text = TAKE(text);
    property->size = size;
    property->settings++;
    return 0;
}

/* ---------------------------------------------------------- beginning */

static int add_property(struct service *service, const struct bus_property *row,
                        struct bus_error *error)
{
    struct properties *properties = &service->properties;
    char topic[GRAMMAR_NAME_MAX + 1];
    int r = property_topic(service->name, row->name, topic, error);

    if (r < 0)
        return r;
    if (row->flags & ~(uint64_t)BUS_PROPERTY_CONSTANT)
        return bus_error_set_errno(error, -EINVAL, "the row of property '%s' has unknown flags",
                                   row->name);
    if (row->set && row->flags & BUS_PROPERTY_CONSTANT)
        return bus_error_set_errno(error, -EINVAL,
                                   "property '%s' is constant, so it can have no handler to set it",
                                   row->name);
    if (find_property(properties, row->name))
        return bus_error_set_errno(error, -EINVAL, "property '%s' is in the table twice",
                                   row->name);
    struct property *property = &properties->item[properties->count++];
    property->row = row;
    property->topic = strdup(topic);
    if (!property->topic)
        return bus_error_set_errno(error, -ENOMEM, "out of memory");
    return change(service, property, span_from(row->initial), true, error);
}

int properties_init(struct service *service, const struct bus_property *table, unsigned name_flags,
                    struct bus_error *error)
{
    size_t count = 0;
    int r = 0;

    while (table && table[count].name)
        count++;
    if (count == 0)
        return 0;
    if (!service->name)
        return bus_error_set_errno(error, -EINVAL,
                                   "a service without a name has no topics for properties");
    if (name_flags & BUS_NAME_SHARED)
        return bus_error_set_errno(error, -EINVAL,
                                   "the owners of a shared name would overwrite each other's "
                                   "properties");
    service->properties.item = calloc(count, sizeof(*service->properties.item));
    if (!service->properties.item)
        return bus_error_set_errno(error, -ENOMEM, "out of memory");
    for (size_t i = 0; i < count && r == 0; i++)
        r = add_property(service, &table[i], error);
    return r;
}

void properties_deinit(struct properties *properties)
{
    for (size_t i = 0; i < properties->count; i++) {
        free(properties->item[i].topic);
        free(properties->item[i].text);
    }
    free(properties->item);
    slot_unref(properties->watch);
}

static int publish_all(struct service *service, struct bus_error *error)
{
    struct properties *properties = &service->properties;
    int r = 0;

    properties->published = true;
    for (size_t i = 0; i < properties->count && r == 0; i++)
        if (properties->item[i].text)
            r = publish(service->slot.bus, &properties->item[i], value_of(&properties->item[i]),
                        true, error);
    return r;
}

static void name_changed(struct bus *bus, const char *name, const char *owner, void *userdata)
{
    struct service *service = userdata;
    struct bus_error error = BUS_ERROR_INIT;

    if (!service->slot.bus)
        return;
    bool ours = owner && strcmp(owner, bus->unique_name) == 0;
    if (!ours)
        service->properties.published = false;
    else if (!service->properties.published && publish_all(service, &error) < 0 &&
             bus->error_handler)
        bus->error_handler(bus, &error, bus->error_userdata);
}

int properties_begin(struct service *service, bool owned, unsigned name_flags,
                     struct bus_error *error)
{
    struct properties *properties = &service->properties;
    int r = 0;

    if (properties->count == 0)
        return 0;
    if (owned)
        r = publish_all(service, error);
    if (r == 0 && name_flags & (BUS_NAME_QUEUE | BUS_NAME_ALLOW_REPLACEMENT))
        r = bus_watch_name(service->slot.bus, service->name, name_changed, service,
                           &properties->watch, error);
    return r;
}

void properties_end(struct service *service, struct bus *bus, bool tell)
{
    struct properties *properties = &service->properties;

    if (properties->watch)
        slot_end(properties->watch, tell);
    if (!properties->published || !tell)
        return;
    for (size_t i = 0; i < properties->count; i++)
        if (properties->item[i].text)
            publish(bus, &properties->item[i], SPAN("null"), true, NULL);
    properties->published = false;
}

/* ------------------------------------------------------------ setting */

static int refuse_unknown(const struct service *service, struct bus_message *call, const char *name)
{
    const struct properties *properties = &service->properties;
    struct text text = TEXT_INIT;

    for (size_t i = 0; i < properties->count; i++)
        text_printf(&text, "%s%s", i > 0 ? ", " : "", properties->item[i].row->name);
    int r = text.failed ? -ENOMEM
                        : bus_reply_error(call, BUS_ERROR_INVALID_ARGUMENTS,
                                          "%s has no property '%s'; it has: %s", service->name,
                                          name, text.data);
    text_deinit(&text);
    return r;
}

/* Asks the handler, and publishes what it has accepted before the answer, so that whoever
 * has the answer finds the value. */
static int set_property(struct service *service, struct property *property,
                        struct bus_message *call, const json_t *value)
{
    CLEANUP(cleanup_free) char *text = json_dumps(value, BODY_DUMP_FLAGS);
    uint64_t settings = property->settings;

    if (!text)
        return -ENOMEM;
    slot_ref(&service->slot);
    int r =
        property->row->set(call, property->row->name, text, strlen(text), service->slot.userdata);
    if (r == 0 && !call->answered) {
        if (!service->slot.bus)
            r = -ECANCELED;
        else if (property->settings == settings)
            r = change(service, property, span_from(text), true, NULL);
        if (r == 0)
            r = bus_reply_text(call, "{}", BUS_NUL_TERMINATED);
    }
    slot_unref(&service->slot);
    return r < 0 ? r : 0;
}

int properties_answer_set(struct service *service, struct bus_message *call)
{
    struct bus_error error = BUS_ERROR_INIT;
    const char *name;
    json_t *value;

    if (call->bus->channel)
        return bus_reply_error(call, BUS_ERROR_METHOD_UNKNOWN,
                               "properties of %s are set by way of the bus, where their values are",
                               service->name);
    if (bus_message_unpack(call, &error, "{s:s,s:o !}", "property", &name, "value", &value) < 0)
        return bus_reply_error(call, BUS_ERROR_INVALID_ARGUMENTS,
                               "%s; Set takes {\"property\": name, \"value\": any}", error.message);
    struct property *property = find_property(&service->properties, name);
    if (!property)
        return refuse_unknown(service, call, name);
    if (property->row->flags & BUS_PROPERTY_CONSTANT)
        return bus_reply_error(call, BUS_ERROR_ACCESS_DENIED,
                               "property '%s' of %s is constant: it never changes", name,
                               service->name);
    if (!property->row->set)
        return bus_reply_error(call, BUS_ERROR_ACCESS_DENIED,
                               "property '%s' of %s is read-only: only the service changes it",
                               name, service->name);
    return set_property(service, property, call, value);
}

int bus_set_property_text(struct bus_slot *slot, const char *property, const char *text,
                          size_t size)
{
    struct service *service = service_of(slot);
    struct property *found =
        service && property ? find_property(&service->properties, property) : NULL;

    if (!found)
        return -EINVAL;
    if (!slot->bus)
        return -ECONNRESET;
    return change(service, found, body_span(text, size), false, NULL);
}

int bus_set_property(struct bus_slot *slot, const char *property, const json_t *value)
{
    CLEANUP(cleanup_free) char *text = value ? json_dumps(value, BODY_DUMP_FLAGS) : NULL;

    if (value && !text)
        return -EBADMSG;
    return bus_set_property_text(slot, property, text, BUS_NUL_TERMINATED);
}

int bus_set_property_take(struct bus_slot *slot, const char *property, json_t *value)
{
    int r = bus_set_property(slot, property, value);

    json_decref(value);
    return r;
}

void properties_describe(const struct properties *properties, struct text *text)
{
    if (properties->count == 0)
        return;
    text_append_string(text, ",\"properties\":[");
    for (size_t i = 0; i < properties->count; i++) {
        const struct bus_property *row = properties->item[i].row;

        text_printf(text, "%s{\"name\":\"%s\",\"description\":", i > 0 ? "," : "", row->name);
        if (row->description)
            text_append_json_string(text, span_from(row->description));
        else
            text_append_string(text, "null");
        if (row->flags & BUS_PROPERTY_CONSTANT)
            text_append_string(text, ",\"constant\":true}");
        else
            text_append_string(text, row->set ? "}" : ",\"read_only\":true}");
    }
    text_append_string(text, "]");
}
