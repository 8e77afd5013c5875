/* SPDX-License-Identifier: MIT */
/*
 * Who may publish the topics that begin with a well-known name: while the name is
 * owned, its owners alone, so that the subscribers of a service's topics can trust
 * them. Where several names are the beginning of a topic, one must own them all.
 *
 * What has been found out is kept in the topic's route; so it costs a comparison, and
 * for a name that is shared a look-up.
 */
#ifndef BUSD_GUARD_H
#define BUSD_GUARD_H

#include "busd/hub.h"
#include "libbus/base/macros.h"

/* The same as guard_allows(), the long way. */
bool guard_asks(struct hub *hub, struct route *route, const struct peer *sender);

/* Whether `sender` may publish the route's topic, as far as names go. */
static inline bool guard_allows(struct hub *hub, struct route *route, const struct peer *sender)
{
    if (LIKELY(route->guard_generation == hub->names.generation) &&
        (!route->guard || route->guard == &sender->names))
        return true;
    return guard_asks(hub, route, sender);
}

#endif
