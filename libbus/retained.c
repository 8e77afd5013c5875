/* SPDX-License-Identifier: MIT */
/* Last values: asking for one, and watching who listens, which is one, too. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/client.h"
#include "libbus/error.h"
#include "libbus/wire/grammar.h"

#define COUNT_TOPIC_PREFIX "bus.subscribers."

const char *const retain_names[] = {
    [BUS_RETAIN_NO] = NULL,
    [BUS_RETAIN_CONNECTION] = "connection",
    [BUS_RETAIN_BUS] = "bus",
    [BUS_RETAIN_DISK] = "disk",
};

/* Who waits for the last value of a topic. */
struct getter {
    struct subscription values;
    struct bus_message *value;
    bool done;
};

/* Who wants to know how many listen. */
struct count_watch {
    struct subscription counts;
    bus_count_handler handler;
    void *userdata;
};

static int check_topic(const char *topic, size_t max, struct bus_error *error)
{
    size_t offset = 0;
    const char *reason = grammar_check_topic(span_from(topic), &offset);

    if (!reason && strlen(topic) > max)
        return bus_error_set_errno(error, -EINVAL, "'%s' is longer than %zu bytes", topic, max);
    return reason ? bus_error_set_errno(error, -EINVAL, "'%s' is no topic: %s (at byte %zu)",
                                        topic ? topic : "", reason, offset)
                  : 0;
}

/* A topic has one value at most. */
static void take_value(struct subscription *subscription, struct bus_message *value)
{
    struct getter *getter = (struct getter *)subscription;

    if (getter->done)
        bus_message_unref(value);
    else
        getter->value = value;
    getter->done = true;
}

/* Never called: the value is taken as it is read. */
static void ignore_value(struct bus_message *message, void *userdata)
{
}

static int get_value(struct bus *bus, struct getter *getter, struct bus_error *error)
{
    int r = subscription_wait(bus, &getter->values, error);

    if (r < 0 || getter->values.values_left == 0)
        return r;
    client_enter(bus);
    r = client_wait(bus, &getter->done, pending_deadline(bus, BUS_TIMEOUT_DEFAULT));
    if (r < 0)
        bus_error_set_errno(error, r, "the last value of '%s' did not come",
                            getter->values.pattern);
    slot_end(&getter->values.slot, false);
    client_leave(bus);
    return r;
}

int retained_get(struct bus *bus, const char *topic, const char *sender, struct bus_error *error,
                 struct bus_message **ret_value)
{
    const struct bus_subscription_options options = {.sender = sender,
                                                     .retained = BUS_RETAINED_ONLY};
    int r = check_topic(topic, GRAMMAR_NAME_MAX, error);

    if (r < 0)
        return r;
    struct getter *getter = calloc(1, sizeof(*getter));
    if (!getter)
        return bus_error_set_errno(error, -ENOMEM, "out of memory");
    getter->values.claim = take_value;
    r = subscription_start(bus, &getter->values, topic, &options, ignore_value, NULL, error);
    if (r < 0)
        return r;
    slot_ref(&getter->values.slot);
    r = get_value(bus, getter, error);
    if (r == 0 && getter->value) {
        *ret_value = getter->value;
        r = 1;
    } else {
        bus_message_unref(getter->value);
    }
    slot_unref(&getter->values.slot);
    return r;
}

int bus_get_retained(struct bus *bus, const char *topic, struct bus_error *error,
                     struct bus_message **ret_value)
{
    return retained_get(bus, topic, NULL, error, ret_value);
}

static void count_changed(struct bus_message *event, void *userdata)
{
    struct count_watch *watch = userdata;
    json_int_t count;

    if (bus_message_unpack(event, NULL, "{s:I}", "count", &count) == 0 && count >= 0)
        watch->handler(bus_message_bus(event), watch->counts.pattern + strlen(COUNT_TOPIC_PREFIX),
                       (uint64_t)count, watch->userdata);
}

int bus_watch_subscribers(struct bus *bus, const char *topic, bus_count_handler handler,
                          void *userdata, struct bus_slot **ret_slot, struct bus_error *error)
{
    char counted[GRAMMAR_NAME_MAX + 1];
    int r = check_topic(topic, GRAMMAR_NAME_MAX - strlen(COUNT_TOPIC_PREFIX), error);

    if (r < 0)
        return r;
    snprintf(counted, sizeof(counted), COUNT_TOPIC_PREFIX "%s", topic);
    struct count_watch *watch = handler ? calloc(1, sizeof(*watch)) : NULL;
    if (!watch)
        return bus_error_set_errno(error, handler ? -ENOMEM : -EINVAL,
                                   handler ? "out of memory" : "a watch needs a handler");
    watch->handler = handler;
    watch->userdata = userdata;
    r = subscription_start(bus, &watch->counts, counted, NULL, count_changed, watch, error);
    if (r == 0)
        r = subscription_wait(bus, &watch->counts, error);
    if (r == 0)
        slot_give(&watch->counts.slot, ret_slot);
    return r;
}
