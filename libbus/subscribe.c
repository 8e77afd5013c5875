/* SPDX-License-Identifier: MIT */
#include "libbus/subscribe.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/base/text.h"
#include "libbus/client.h"
#include "libbus/error.h"
#include "libbus/wire/grammar.h"

/* The subscriptions to one topic, in order. */
struct route {
    struct hash_node node;
    struct list subscriptions;
    size_t size;
    char topic[];
};

static struct subscription *of_link(struct list *link)
{
    return LIST_ENTRY(link, struct subscription, link);
}

void subscriptions_init(struct subscriptions *subscriptions)
{
    *subscriptions = (struct subscriptions){0};
    hash_init(&subscriptions->routes);
    hash_init(&subscriptions->owners);
    list_init(&subscriptions->wildcards);
    list_init(&subscriptions->snapshots);
    list_init(&subscriptions->ended);
}

static void snapshot_end(struct subscription *subscription)
{
    list_remove(&subscription->snapshot);
    slot_unref(&subscription->slot);
}

void subscriptions_deinit(struct subscriptions *subscriptions)
{
    LIST_FOREACH_SAFE (node, &subscriptions->snapshots)
        snapshot_end(LIST_ENTRY(node, struct subscription, snapshot));
    hash_deinit(&subscriptions->routes);
    hash_deinit(&subscriptions->owners);
}

static struct route *route_find(const struct subscriptions *subscriptions, struct span topic)
{
    if (subscriptions->routes.count == 0)
        return NULL;
    uint64_t hash = hash_of(&subscriptions->routes, topic.data, topic.size);

    HASH_FOREACH (node, &subscriptions->routes, hash) {
        struct route *route = CONTAINER_OF(node, struct route, node);
        if (span_equal((struct span){route->topic, route->size}, topic))
            return route;
    }
    return NULL;
}

static int route_get(struct subscriptions *subscriptions, struct span topic,
                     struct route **ret_route)
{
    struct route *route = route_find(subscriptions, topic);

    if (!route) {
        route = malloc(sizeof(*route) + topic.size);
        if (!route)
            return -ENOMEM;
        list_init(&route->subscriptions);
        route->size = topic.size;
        memcpy(route->topic, topic.data, topic.size);
        int r = hash_add(&subscriptions->routes, &route->node,
                         hash_of(&subscriptions->routes, topic.data, topic.size));
        if (r < 0) {
            free(route);
            return r;
        }
    }
    *ret_route = route;
    return 0;
}

/* Puts it where events find it. */
static int subscription_link(struct bus *bus, struct subscription *subscription)
{
    struct subscriptions *subscriptions = &bus->subscriptions;
    struct span pattern = span_from(subscription->pattern);
    struct list *list = &subscriptions->wildcards;

    if (!grammar_has_wildcard(pattern)) {
        int r = route_get(subscriptions, pattern, &subscription->route);
        if (r < 0)
            return r;
        list = &subscription->route->subscriptions;
    }
    subscription->order = ++subscriptions->last_order;
    list_append(list, &subscription->link);
    slot_ref(&subscription->slot);
    return 0;
}

static void subscription_unlink(struct subscriptions *subscriptions,
                                struct subscription *subscription)
{
    struct route *route = subscription->route;

    if (list_is_empty(&subscription->link))
        return;
    list_remove(&subscription->link);
    if (route && list_is_empty(&route->subscriptions)) {
        hash_remove(&subscriptions->routes, &route->node);
        free(route);
    }
    slot_unref(&subscription->slot);
}

static void unsubscribe(struct bus *bus, uint64_t id)
{
    client_tell_bus(bus, "Unsubscribe", "{\"subscription\":%llu}", (unsigned long long)id);
}

static void subscription_end(struct bus_slot *slot, struct bus *bus, bool tell)
{
    struct subscription *subscription = CONTAINER_OF(slot, struct subscription, slot);
    struct subscriptions *subscriptions = &bus->subscriptions;

    /* One that the bus has not answered stays pending, to learn its id and to take
     * it back by that. */
    if (tell && subscription->id)
        unsubscribe(bus, subscription->id);
    if (subscription->owner) {
        list_remove(&subscription->dependent);
        name_owner_put(bus, subscription->owner, tell);
        subscription->owner = NULL;
    }
    if (subscriptions->handing_out > 0 && !list_is_empty(&subscription->link))
        list_append(&subscriptions->ended, &subscription->swept);
    else
        subscription_unlink(subscriptions, subscription);
}

static void subscription_destroy(struct bus_slot *slot)
{
    struct subscription *subscription = CONTAINER_OF(slot, struct subscription, slot);

    bus_message_unref(subscription->refusal);
    free(subscription->pattern);
    free(subscription->group);
    free(subscription);
}

static const struct slot_kind subscription_kind = {subscription_end, subscription_destroy};

/* For what wants to be told the value there is, if there is none. */
static void queue_null(struct bus *bus, struct subscription *subscription)
{
    struct text line = TEXT_INIT;
    struct bus_message *event = NULL;

    text_printf(&line,
                "{\"sender\":\"bus\",\"retained\":true,\"type\":\"event\",\"topic\":\"%s\","
                "\"body\":null}",
                subscription->pattern);
    if (!line.failed)
        event = message_from_line(bus, text_span(&line));
    text_deinit(&line);
    if (!event)
        return;
    event->target = slot_ref(&subscription->slot);
    client_queue(bus, event);
}

static void settle(struct bus *bus, struct subscription *subscription, struct bus_message *answer)
{
    json_int_t id = 0, retained = 0;

    bool only = subscription->retained == BUS_RETAINED_ONLY;

    if (bus_message_unpack(answer, NULL, "{s?I, s?I}", "subscription", &id, "retained", &retained) <
            0 ||
        (id < 1 && !only) || retained < 0) {
        client_lose(bus, false, BUS_ERROR_INVALID_MESSAGE,
                    "the bus answered Subscribe without a subscription");
        return;
    }
    subscription->id = (uint64_t)id;
    subscription->since = answer->position;
    subscription->snapshot_left = (uint64_t)retained;
    subscription->values_left = (uint64_t)retained;
    if (!subscription->slot.bus && !only)
        unsubscribe(bus, subscription->id);
    if (retained > 0) {
        list_append(&bus->subscriptions.snapshots, &subscription->snapshot);
        slot_ref(&subscription->slot);
    } else if (only && subscription->slot.bus) {
        slot_end(&subscription->slot, false);
    } else if (subscription->eager && subscription->slot.bus) {
        queue_null(bus, subscription);
    }
}

static bool subscription_intake(struct pending *pending, struct bus_message *answer)
{
    struct subscription *subscription = CONTAINER_OF(pending, struct subscription, pending);

    if (subscription->settled)
        return false;
    subscription->settled = true;
    if (answer->envelope.type == MESSAGE_ERROR) {
        subscription->refusal = bus_message_ref(answer);
        if (!subscription->waited)
            return false;
    } else {
        settle(answer->bus, subscription, answer);
    }
    pending_remove(answer->bus, pending);
    slot_unref(&subscription->slot);
    return true;
}

/* A refusal that nobody waited for, or the end of the connection. */
static void subscription_answered(struct pending *pending, struct bus_message *answer)
{
    struct subscription *subscription = CONTAINER_OF(pending, struct subscription, pending);

    if (answer)
        subscription_refuse(subscription, answer);
    slot_unref(&subscription->slot);
}

void subscription_refuse(struct subscription *subscription, struct bus_message *why)
{
    bus_message_handler handler = subscription->handler;
    void *userdata = subscription->slot.userdata;

    if (!subscription->slot.bus)
        return;
    slot_end(&subscription->slot, false);
    handler(why, userdata);
}

/* The arguments of Subscribe; what is not said is as the bus has it by itself. */
static void write_arguments(struct text *body, const char *pattern,
                            const struct bus_subscription_options *options)
{
    text_printf(body, "{\"topic\":\"%s\"", pattern);
    if (options->sender)
        text_printf(body, ",\"sender\":\"%s\"", options->sender);
    if (options->group)
        text_printf(body, ",\"group\":\"%s\"", options->group);
    if (options->retained != BUS_RETAINED_FIRST)
        text_printf(body, ",\"retained\":%s",
                    options->retained == BUS_RETAINED_NO ? "false" : "\"only\"");
    if (options->overflow != BUS_OVERFLOW_DROP)
        text_printf(body, ",\"overflow\":\"%s\"",
                    options->overflow == BUS_OVERFLOW_LATEST ? "latest" : "disconnect");
    text_append_string(body, "}");
}

static int ask(struct bus *bus, struct subscription *subscription,
               const struct bus_subscription_options *options, struct bus_error *error)
{
    CLEANUP(text_deinit) struct text body = TEXT_INIT;

    write_arguments(&body, subscription->pattern, options);
    int r = body.failed ? -ENOMEM : pending_add(bus, &subscription->pending, 0);
    if (r < 0)
        return bus_error_set_errno(error, r, "out of memory");
    struct outgoing call = {
        .type = MESSAGE_CALL,
        .to = SPAN("bus"),
        .method = SPAN("Subscribe"),
        .body = text_span(&body),
        .id = subscription->pending.id,
        .own = true,
    };
    r = client_send(bus, &call, error);
    if (r < 0)
        pending_remove(bus, &subscription->pending);
    else
        slot_ref(&subscription->slot);
    return r;
}

static int check(const char *pattern, const struct bus_subscription_options *options,
                 struct bus_error *error)
{
    const char *sender = options->sender;
    size_t offset = 0;
    const char *reason = grammar_check_pattern(span_from(pattern), &offset);

    if (reason)
        return bus_error_set_errno(error, -EINVAL, "'%s' is no pattern: %s (at byte %zu)",
                                   pattern ? pattern : "", reason, offset);
    reason = sender ? grammar_check_destination(span_from(sender), &offset) : NULL;
    if (reason)
        return bus_error_set_errno(error, -EINVAL, "'%s' is no name: %s (at byte %zu)", sender,
                                   reason, offset);
    reason = options->group ? grammar_check_group(span_from(options->group), &offset) : NULL;
    if (reason)
        return bus_error_set_errno(error, -EINVAL, "'%s' is no name of a group: %s (at byte %zu)",
                                   options->group, reason, offset);
    if (options->group && options->retained == BUS_RETAINED_ONLY)
        return bus_error_set_errno(error, -EINVAL, "a group gets no last values");
    if (options->group && options->overflow != BUS_OVERFLOW_DROP)
        return bus_error_set_errno(error, -EINVAL,
                                   "what the members of a group leave unread goes to others: "
                                   "there is no overflow");
    if ((unsigned)options->retained > BUS_RETAINED_ONLY)
        return bus_error_set_errno(error, -EINVAL, "%d is no value of enum bus_retained",
                                   (int)options->retained);
    if ((unsigned)options->overflow > BUS_OVERFLOW_DISCONNECT)
        return bus_error_set_errno(error, -EINVAL, "%d is no value of enum bus_overflow",
                                   (int)options->overflow);
    return 0;
}

/* All that can fail, once the slot is live. */
static int start(struct bus *bus, struct subscription *subscription, const char *pattern,
                 const struct bus_subscription_options *options, struct bus_error *error)
{
    const char *sender = options->sender;
    int r;

    if (bus->channel && (options->group || options->retained == BUS_RETAINED_ONLY ||
                         options->overflow != BUS_OVERFLOW_DROP))
        return bus_error_set_errno(error, -EINVAL,
                                   "a channel has no last values, queue groups and overflow "
                                   "policies: those are the bus's");
    subscription->pattern = strdup(pattern);
    subscription->group = options->group ? strdup(options->group) : NULL;
    if (!subscription->pattern || (options->group && !subscription->group))
        return bus_error_set_errno(error, -ENOMEM, "out of memory");
    if (sender && (sender[0] == ':' || strcmp(sender, "bus") == 0)) {
        strcpy(subscription->sender, sender);
    } else if (sender && bus->channel) {
        return bus_error_set_errno(error, -EINVAL,
                                   "all that comes on a channel is from %s: filter by that or by "
                                   "nobody",
                                   bus_channel_peer(bus));
    } else if (sender && options->retained != BUS_RETAINED_ONLY) {
        r = name_owner_get(bus, sender, &subscription->owner, error);
        if (r < 0)
            return r;
        list_append(&subscription->owner->dependents, &subscription->dependent);
    }
    /* One that gets last values only is not found by events. */
    r = options->retained == BUS_RETAINED_ONLY ? 0 : subscription_link(bus, subscription);
    if (r < 0)
        return bus_error_set_errno(error, r, "out of memory");
    if (bus->channel) {
        /* Which events are wanted is nobody's business but our own. */
        subscription->settled = true;
        subscription->since = bus->input.lines.position;
        return 0;
    }
    return ask(bus, subscription, options, error);
}

int subscription_start(struct bus *bus, struct subscription *subscription, const char *pattern,
                       const struct bus_subscription_options *options, bus_message_handler handler,
                       void *userdata, struct bus_error *error)
{
    static const struct bus_subscription_options defaults = {0};

    if (!options)
        options = &defaults;
    int r = handler ? check(pattern, options, error)
                    : bus_error_set_errno(error, -EINVAL, "a subscription needs a handler");

    if (r < 0) {
        free(subscription);
        return r;
    }
    slot_init(&subscription->slot, &subscription_kind, bus, userdata);
    list_init(&subscription->pending.link);
    list_init(&subscription->link);
    list_init(&subscription->swept);
    list_init(&subscription->snapshot);
    list_init(&subscription->dependent);
    subscription->pending.intake = subscription_intake;
    subscription->pending.answered = subscription_answered;
    subscription->handler = handler;
    subscription->since = UINT64_MAX;
    subscription->retained = options->retained;
    r = start(bus, subscription, pattern, options, error);
    if (r < 0)
        slot_end(&subscription->slot, true);
    return r;
}

int subscription_wait(struct bus *bus, struct subscription *subscription, struct bus_error *error)
{
    struct name_owner *owner = subscription->owner;
    int r;

    subscription->waited = true;
    client_enter(bus);
    r = client_wait(bus, &subscription->settled, pending_deadline(bus, BUS_TIMEOUT_DEFAULT));
    subscription->waited = false;
    if (r == -ETIMEDOUT)
        bus_error_set_errno(error, r, "the bus did not answer Subscribe");
    else if (r < 0)
        bus_error_set(error, BUS_ERROR_DISCONNECTED, "%s", bus->lost.message);
    else if (subscription->refusal)
        r = bus_message_get_error(subscription->refusal, error);
    else if (owner && owner->names.refusal)
        r = bus_message_get_error(owner->names.refusal, error);
    else if (bus->state != CLIENT_UP)
        r = bus_error_set_errno(error, -ECONNRESET, "%s", bus->lost.message);
    if (r < 0)
        slot_end(&subscription->slot, true);
    client_leave(bus);
    return r;
}

int bus_subscribe_with_async(struct bus *bus, const char *pattern,
                             const struct bus_subscription_options *options,
                             bus_message_handler handler, void *userdata,
                             struct bus_slot **ret_slot)
{
    struct subscription *subscription = calloc(1, sizeof(*subscription));

    if (!subscription)
        return -ENOMEM;
    int r = subscription_start(bus, subscription, pattern, options, handler, userdata, NULL);
    if (r == 0)
        slot_give(&subscription->slot, ret_slot);
    return r;
}

int bus_subscribe_with(struct bus *bus, const char *pattern,
                       const struct bus_subscription_options *options, bus_message_handler handler,
                       void *userdata, struct bus_slot **ret_slot, struct bus_error *error)
{
    struct subscription *subscription = calloc(1, sizeof(*subscription));

    if (!subscription)
        return bus_error_set_errno(error, -ENOMEM, "out of memory");
    int r = subscription_start(bus, subscription, pattern, options, handler, userdata, error);
    if (r == 0) {
        /* One that has no last values to wait for may have ended with the answer. */
        slot_ref(&subscription->slot);
        r = subscription_wait(bus, subscription, error);
        if (r == 0) {
            r = (int)MIN(subscription->values_left, (uint64_t)INT_MAX);
            slot_give(&subscription->slot, ret_slot);
        }
        slot_unref(&subscription->slot);
    }
    return r;
}

int bus_subscribe(struct bus *bus, const char *pattern, const char *sender,
                  bus_message_handler handler, void *userdata, struct bus_slot **ret_slot,
                  struct bus_error *error)
{
    const struct bus_subscription_options options = {.sender = sender};
    int r = bus_subscribe_with(bus, pattern, &options, handler, userdata, ret_slot, error);

    return MIN(r, 0);
}

int bus_subscribe_async(struct bus *bus, const char *pattern, const char *sender,
                        bus_message_handler handler, void *userdata, struct bus_slot **ret_slot)
{
    const struct bus_subscription_options options = {.sender = sender};

    return bus_subscribe_with_async(bus, pattern, &options, handler, userdata, ret_slot);
}

bool subscriptions_claim(struct bus *bus, struct bus_message *event)
{
    struct list *first = list_first(&bus->subscriptions.snapshots);

    if (!first)
        return false;
    struct subscription *subscription = LIST_ENTRY(first, struct subscription, snapshot);
    bool taken = subscription->claim && subscription->slot.bus;
    if (taken)
        subscription->claim(subscription, event);
    else
        event->target = slot_ref(&subscription->slot);
    if (--subscription->snapshot_left == 0)
        snapshot_end(subscription);
    return taken;
}

static bool is_from(const struct subscription *subscription, const struct bus_message *event)
{
    if (subscription->owner)
        return name_owner_is(subscription->owner, event->envelope.sender);
    return !subscription->sender[0] || span_is(event->envelope.sender, subscription->sender);
}

/* An event for a group is for the subscriptions of that group, any other for those of
 * none. */
static bool is_for(const struct subscription *subscription, const struct bus_message *event)
{
    struct span group = event->envelope.group;

    return group.size > 0 ? subscription->group && span_is(group, subscription->group)
                          : !subscription->group;
}

/* The next subscription from `node` on that the event is for. */
static struct subscription *next_match(const struct list *head, struct list *node,
                                       const struct bus_message *event)
{
    for (; node != head; node = node->next) {
        struct subscription *s = of_link(node);
        if (s->slot.bus && event->position > s->since && is_for(s, event) && is_from(s, event) &&
            (s->route || grammar_matches(span_from(s->pattern), event->envelope.topic)))
            return s;
    }
    return NULL;
}

bool subscriptions_want(struct bus *bus, const struct bus_message *event)
{
    struct subscriptions *subscriptions = &bus->subscriptions;
    struct route *route = route_find(subscriptions, event->envelope.topic);
    struct list *wildcards = &subscriptions->wildcards;
    struct list *exact = route ? &route->subscriptions : NULL;

    return (exact && next_match(exact, exact->next, event)) ||
           next_match(wildcards, wildcards->next, event);
}

static void sweep(struct subscriptions *subscriptions)
{
    LIST_FOREACH_SAFE (node, &subscriptions->ended) {
        list_remove(node);
        subscription_unlink(subscriptions, LIST_ENTRY(node, struct subscription, swept));
    }
}

/* Merges the two lists, each in order, by order. */
static void deliver_to_all(struct bus *bus, struct bus_message *event)
{
    struct subscriptions *subscriptions = &bus->subscriptions;
    struct route *route = route_find(subscriptions, event->envelope.topic);
    struct list *wildcards = &subscriptions->wildcards;
    struct list *exact = route ? &route->subscriptions : NULL;
    struct subscription *a = exact ? next_match(exact, exact->next, event) : NULL;
    struct subscription *b = next_match(wildcards, wildcards->next, event);

    while ((a || b) && client_is_live(bus)) {
        bool first = !b || (a && a->order < b->order);
        struct subscription *s = first ? a : b;
        /* What matched may have ended since, in a callback. */
        if (s->slot.bus)
            s->handler(event, s->slot.userdata);
        if (first)
            a = next_match(exact, s->link.next, event);
        else
            b = next_match(wildcards, s->link.next, event);
    }
}

void subscriptions_deliver(struct bus *bus, struct bus_message *event)
{
    struct subscriptions *subscriptions = &bus->subscriptions;

    subscriptions->handing_out++;
    if (!event->target) {
        deliver_to_all(bus, event);
    } else if (event->target->bus) {
        struct subscription *s = CONTAINER_OF(event->target, struct subscription, slot);
        bool last = s->values_left > 0 && --s->values_left == 0;
        s->handler(event, s->slot.userdata);
        if (last && s->retained == BUS_RETAINED_ONLY && s->slot.bus)
            slot_end(&s->slot, false);
    }
    if (--subscriptions->handing_out == 0)
        sweep(subscriptions);
}
