/* SPDX-License-Identifier: MIT */
#include "libbus/slot.h"

#include "libbus/client.h"

void slot_init(struct bus_slot *slot, const struct slot_kind *kind, struct bus *bus, void *userdata)
{
    *slot = (struct bus_slot){.kind = kind, .bus = bus, .refs = 1, .userdata = userdata};
    list_init(&slot->link);
    list_append(&bus->slots, &slot->link);
}

struct bus_slot *slot_ref(struct bus_slot *slot)
{
    slot->refs++;
    return slot;
}

struct bus_slot *slot_unref(struct bus_slot *slot)
{
    if (slot && --slot->refs == 0)
        slot->kind->destroy(slot);
    return NULL;
}

void slot_give(struct bus_slot *slot, struct bus_slot **ret_slot)
{
    if (ret_slot)
        *ret_slot = slot_ref(slot);
}

void slot_end(struct bus_slot *slot, bool tell)
{
    struct bus *bus = slot->bus;

    if (!bus)
        return;
    slot->bus = NULL;
    list_remove(&slot->link);
    slot->kind->end(slot, bus, tell);
    slot_unref(slot);
}

struct bus_slot *bus_slot_free(struct bus_slot *slot)
{
    if (!slot)
        return NULL;
    slot_end(slot, true);
    return slot_unref(slot);
}
