/* SPDX-License-Identifier: MIT */
/* Who owns a well-known name, for subscriptions that filter by it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/client.h"
#include "libbus/error.h"
#include "libbus/wire/grammar.h"

static const char *name_of(const struct name_owner *owner)
{
    return owner->names.pattern + strlen(NAME_TOPIC_PREFIX);
}

static void unlist(struct bus *bus, struct name_owner *owner)
{
    if (owner->listed)
        hash_remove(&bus->subscriptions.owners, &owner->node);
    owner->listed = false;
}

/* Without knowing the owner nobody can filter by it. */
static void refuse_all(struct name_owner *owner, struct bus_message *why)
{
    struct bus *bus = why->bus;

    unlist(bus, owner);
    slot_ref(&owner->names.slot);
    while (client_is_live(bus) && !list_is_empty(&owner->dependents))
        subscription_refuse(
            LIST_ENTRY(list_first(&owner->dependents), struct subscription, dependent), why);
    slot_unref(&owner->names.slot);
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

bool name_owner_is(const struct name_owner *owner, struct span unique)
{
    uint64_t number = grammar_unique_name(unique);

    return number > 0 && owner->owner_count > 0 &&
           bsearch(&number, owner->owners, owner->owner_count, sizeof(number), compare_numbers);
}

/* Remembers the owners of the event's body: one, or an array of those who share the
 * name. */
static int remember(struct name_owner *owner, const json_t *body)
{
    const json_t *first = json_object_get(body, "owner");
    const json_t *all = json_object_get(body, "owners");
    size_t count = json_is_array(all) ? json_array_size(all) : first ? 1 : 0;
    uint64_t *owners = body ? realloc(owner->owners, (count + 1) * sizeof(*owners)) : NULL;

    if (!owners)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        const json_t *unique = json_is_array(all) ? json_array_get(all, i) : first;
        owners[i] = grammar_unique_name(span_from(json_string_value(unique)));
    }
    qsort(owners, count, sizeof(*owners), compare_numbers);
    owner->owners = owners;
    owner->owner_count = count;
    return 0;
}

static void name_changed(struct bus_message *event, void *userdata)
{
    struct name_owner *owner = userdata;

    if (bus_message_type(event) == BUS_MESSAGE_ERROR)
        refuse_all(owner, event);
    else if (remember(owner, bus_message_body(event)) < 0)
        client_lose(event->bus, false, "errno.ENOMEM", "out of memory");
}

static struct name_owner *find(struct bus *bus, const char *name, uint64_t hash)
{
    HASH_FOREACH (node, &bus->subscriptions.owners, hash) {
        struct name_owner *owner = CONTAINER_OF(node, struct name_owner, node);
        if (strcmp(name_of(owner), name) == 0)
            return owner;
    }
    return NULL;
}

int name_owner_get(struct bus *bus, const char *name, struct name_owner **ret_owner,
                   struct bus_error *error)
{
    char topic[sizeof(NAME_TOPIC_PREFIX) + GRAMMAR_NAME_MAX];
    uint64_t hash = hash_of(&bus->subscriptions.owners, name, strlen(name));
    struct name_owner *owner = find(bus, name, hash);

    if (!owner) {
        owner = calloc(1, sizeof(*owner));
        if (!owner)
            return bus_error_set_errno(error, -ENOMEM, "out of memory");
        list_init(&owner->dependents);
        snprintf(topic, sizeof(topic), NAME_TOPIC_PREFIX "%s", name);
        int r = subscription_start(bus, &owner->names, topic, NULL, name_changed, owner, error);
        if (r < 0)
            return r;
        r = hash_add(&bus->subscriptions.owners, &owner->node, hash);
        if (r < 0) {
            slot_end(&owner->names.slot, true);
            return bus_error_set_errno(error, r, "out of memory");
        }
        owner->listed = true;
    }
    owner->users++;
    slot_ref(&owner->names.slot);
    *ret_owner = owner;
    return 0;
}

void name_owner_put(struct bus *bus, struct name_owner *owner, bool tell)
{
    if (--owner->users == 0) {
        unlist(bus, owner);
        slot_end(&owner->names.slot, tell);
        free(TAKE(owner->owners));
        owner->owner_count = 0;
    }
    slot_unref(&owner->names.slot);
}
