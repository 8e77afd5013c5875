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

static void name_changed(struct bus_message *event, void *userdata)
{
    struct name_owner *owner = userdata;
    const char *unique = NULL;

    if (bus_message_type(event) == BUS_MESSAGE_ERROR) {
        refuse_all(owner, event);
        return;
    }
    bus_message_unpack(event, NULL, "{s:s}", "owner", &unique);
    if (!unique || strlen(unique) >= sizeof(owner->unique))
        unique = "";
    strcpy(owner->unique, unique);
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
    }
    slot_unref(&owner->names.slot);
}
