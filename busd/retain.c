/* SPDX-License-Identifier: MIT */
#include "busd/retain.h"

#include <inttypes.h>
#include <string.h>

#include "libbus/base/clock.h"
#include "libbus/base/macros.h"

/* What it costs to keep a value, in the steps of CONNECTION_EFFORT: by itself, and one
 * for so many bytes. */
#define RETAIN_EFFORT       6
#define RETAIN_EFFORT_BYTES 512

static uint64_t now_real(void)
{
    return (uint64_t)(clock_seconds(CLOCK_REALTIME) * 1000);
}

static void refuse(struct hub *hub, struct peer *sender, const struct envelope *envelope, int error,
                   const struct retained_excess *excess)
{
    if (error == WIRE_LIMIT_EXCEEDED) {
        answer_error(hub, sender, envelope, WIRE_LIMIT_EXCEEDED,
                     "with this value %s more retained than it may: %" PRIu64 " (%s)",
                     excess->own ? "your connection would have" : "your user would have",
                     excess->value, excess->limit);
        hub_log_limit(hub, sender, excess->limit, excess->value);
    } else if (error == -ENOMEM) {
        answer_error(hub, sender, envelope, WIRE_LIMIT_EXCEEDED, "the bus is out of memory");
    } else {
        answer_error(hub, sender, envelope, WIRE_LIMIT_EXCEEDED,
                     "the value cannot be put on the disk: %s", strerror(-error));
    }
}

static int keep(struct hub *hub, struct peer *sender, const struct envelope *envelope, bool guarded,
                struct retained_excess *ret_excess)
{
    struct retained_limits limits = {sender->limits->retained, sender->limits->retained_bytes};
    struct retained_update update = {
        .topic = envelope->topic,
        .level = retained_level_from_name(envelope->retain),
        .sender = peer_name(sender),
        .rest = envelope->rest,
        .guarded = guarded,
    };

    if (envelope->ttl > 0) {
        update.at = hub_now(hub) + envelope->ttl;
        update.expires = now_real() + envelope->ttl;
    }
    hub->shared.effort += (unsigned)(envelope->rest.size / RETAIN_EFFORT_BYTES);
    return retained_set(&hub->retained, &sender->values, &update, &limits, ret_excess);
}

bool retain_event(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                  bool guarded)
{
    struct retained_excess excess;
    int r = 0;

    hub->shared.effort += RETAIN_EFFORT;
    if (envelope_clears(envelope)) {
        struct retained_value *value = retained_find(&hub->retained, envelope->topic);
        if (value)
            r = retained_clear(&hub->retained, value);
    } else {
        r = keep(hub, sender, envelope, guarded, &excess);
    }
    if (r != 0)
        refuse(hub, sender, envelope, r, &excess);
    return r == 0;
}

/* While a name is owned nobody else's events of its topics come through, and so neither
 * do values that others had set before. */
static bool is_trusted(struct hub *hub, const struct retained_value *value)
{
    const struct peer *publisher = peer_of_holder(value->holder);
    struct span topic = retained_topic(value);

    if (value->guarded || hub->names.table.count == 0)
        return true;
    for (size_t i = 0; i <= topic.size; i++) {
        struct span name = {topic.data, i};
        if (i < topic.size && topic.data[i] != '.')
            continue;
        hub->shared.effort++;
        if (names_find(&hub->names, name) && !(publisher && hub_is_named(hub, publisher, name)))
            return false;
    }
    return true;
}

/* Ends a value, and tells its subscribers. That the disk may not take it does not keep
 * what has to end. */
static void end(struct hub *hub, struct retained_value *value)
{
    struct peer *publisher = is_trusted(hub, value) ? peer_of_holder(value->holder) : NULL;

    announce_cleared(hub, publisher, retained_topic(value));
    if (retained_clear(&hub->retained, value) < 0)
        retained_drop(&hub->retained, value);
}

void retain_expire(struct hub *hub, struct deadline *deadline)
{
    hub->shared.effort += RETAIN_EFFORT;
    end(hub, CONTAINER_OF(deadline, struct retained_value, deadline));
}

bool retain_leave(struct hub *hub, struct peer *peer)
{
    struct list *node = list_first(&peer->values.values);

    if (!node)
        return false;
    struct retained_value *value = LIST_ENTRY(node, struct retained_value, by_holder);
    if (value->level == RETAINED_CONNECTION)
        end(hub, value);
    else
        retained_release(value);
    return true;
}

void retain_review(struct hub *hub, struct peer *peer)
{
    struct policy_verdict verdict;

    if (policy_always(peer->view, POLICY_PUBLISH))
        return;
    LIST_FOREACH_SAFE (node, &peer->values.values) {
        struct retained_value *value = LIST_ENTRY(node, struct retained_value, by_holder);
        if (value->level == RETAINED_CONNECTION &&
            !access_publish_topic(peer, retained_topic(value), &verdict))
            end(hub, value);
    }
}

/* -------------------------------------------------------------- seeing */

/* Its end may be put off for as long as there is much to do. */
static bool is_over(const struct hub *hub, const struct retained_value *value)
{
    const struct peer *publisher = peer_of_holder(value->holder);

    return (value->level == RETAINED_CONNECTION && publisher->doomed) ||
           (deadline_is_set(&value->deadline) && value->deadline.at <= hub_now(hub));
}

bool retain_is_seen(struct hub *hub, const struct peer *peer, const struct retained_value *value)
{
    struct policy_verdict verdict;

    return !is_over(hub, value) && access_subscribe(peer, retained_topic(value), &verdict) &&
           is_trusted(hub, value);
}
