/* SPDX-License-Identifier: MIT */
#include "busd/guard.h"

/* More than one peer owns a name that guards the topic: nobody may publish it. */
static const char guard_nobody;
/* It is guarded by several names that are shared: each is asked each time. */
static const char guard_several;

/* The next name from `*position` on that is the topic or the beginning of it; NULL if
 * there is none. */
static struct name *next_guard(struct hub *hub, const struct route *route, size_t *position)
{
    const char *topic = route->topic;

    for (size_t i = *position; i <= route->topic_size; i++) {
        if (i < route->topic_size && topic[i] != '.')
            continue;
        struct name *name = names_find(&hub->names, (struct span){topic, i});
        if (name) {
            *position = i + 1;
            return name;
        }
    }
    return NULL;
}

static bool owns_all(struct hub *hub, const struct route *route, const struct name_owner *owner)
{
    size_t position = 0;
    struct name *name;

    while ((name = next_guard(hub, route, &position)))
        if (!names_owns(&hub->names, name, owner))
            return false;
    return true;
}

/* Whoever owns a name alone is the only one who can own all of them. */
static void find_guard(struct hub *hub, struct route *route)
{
    const struct name_owner *sole = NULL;
    const struct name *shared = NULL;
    size_t shared_count = 0;
    size_t position = 0;
    struct name *name;

    while ((name = next_guard(hub, route, &position))) {
        if (name_is_shared(name)) {
            shared = name;
            shared_count++;
        } else if (!sole) {
            sole = name_get_owner(name);
        }
    }
    route->guard_shared = !sole && shared_count > 0;
    if (sole)
        route->guard = owns_all(hub, route, sole) ? (const void *)sole : &guard_nobody;
    else
        route->guard = shared_count > 1 ? (const void *)&guard_several : shared;
    route->guard_generation = hub->names.generation;
}

bool guard_asks(struct hub *hub, struct route *route, const struct peer *sender)
{
    if (route->guard_generation != hub->names.generation)
        find_guard(hub, route);
    if (!route->guard || route->guard == &sender->names)
        return true;
    if (!route->guard_shared)
        return false;
    return route->guard == &guard_several ? owns_all(hub, route, &sender->names)
                                          : names_owns(&hub->names, route->guard, &sender->names);
}
