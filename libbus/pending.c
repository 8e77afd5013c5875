/* SPDX-License-Identifier: MIT */
#include "libbus/pending.h"

#include <stddef.h>

#include "libbus/base/macros.h"
#include "libbus/channel.h"
#include "libbus/client.h"

uint64_t pending_patience(const struct bus *bus, uint64_t timeout)
{
    if (timeout == BUS_TIMEOUT_NEVER)
        return 0;
    if (timeout == BUS_TIMEOUT_DEFAULT)
        timeout = CLIENT_TIMEOUT_DEFAULT;
    return bus->channel ? timeout : timeout + CLIENT_TIMEOUT_GRACE;
}

uint64_t pending_deadline(const struct bus *bus, uint64_t timeout)
{
    uint64_t patience = pending_patience(bus, timeout);

    return patience ? client_now() + patience : UINT64_MAX;
}

int pending_add(struct bus *bus, struct pending *pending, uint64_t patience)
{
    uint64_t id = bus->last_id + 1;
    /* The ids are ours and follow one another: they are the best hash there is. */
    int r = hash_add(&bus->pending_by_id, &pending->node, id);

    if (r < 0)
        return r;
    pending->timer = (struct timer){0};
    pending->patience = patience;
    pending->bus = bus;
    if (patience &&
        (r = timers_add(&loop_owner(bus)->timers, &pending->timer, client_now() + patience)) < 0) {
        hash_remove(&bus->pending_by_id, &pending->node);
        return r;
    }
    bus->last_id = id;
    pending->id = id;
    list_append(&bus->pending, &pending->link);
    return 0;
}

void pending_remove(struct bus *bus, struct pending *pending)
{
    if (list_is_empty(&pending->link))
        return;
    list_remove(&pending->link);
    hash_remove(&bus->pending_by_id, &pending->node);
    timers_remove(&loop_owner(bus)->timers, &pending->timer);
}

struct pending *pending_find(struct bus *bus, uint64_t id)
{
    return CONTAINER_OF(hash_first(&bus->pending_by_id, id), struct pending, node);
}

void pending_take_item(struct pending *pending, struct bus_message *item)
{
    if (pending->patience)
        pending->progress = client_now();
    pending->item(pending, item);
}

bool pending_put_off(struct pending *pending, uint64_t now)
{
    struct timers *timers = &loop_owner(pending->bus)->timers;
    uint64_t at = pending->progress + pending->patience;

    if (!pending->item || at <= now)
        return false;
    timers_remove(timers, &pending->timer);
    /* There is room for it: it has just been there. */
    return timers_add(timers, &pending->timer, at) == 0;
}

void pending_answer(struct bus *bus, struct pending *pending, struct bus_message *answer)
{
    pending_remove(bus, pending);
    pending->answered(pending, answer);
}

void pending_fail(struct bus *bus, struct pending *pending, const char *name, const char *message)
{
    struct bus_message *answer = message_new_error(bus, pending->id, name, message);

    /* Without memory even for this there is nothing left that could be told. */
    pending_answer(bus, pending, answer);
    bus_message_unref(answer);
}
