/* SPDX-License-Identifier: MIT */
/*
 * Queue groups: names under which subscribers of one user share events. Pure: a group
 * knows neither its members nor what they have subscribed to; it exists as long as
 * somebody refers to it.
 *
 * Users have groups of their own: under the same name, those of another user are
 * another group. So nobody can take a share of what another user's programs share.
 */
#ifndef BUSD_GROUPS_H
#define BUSD_GROUPS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "libbus/base/hash.h"
#include "libbus/base/span.h"

struct groups {
    struct hash table; /* struct group by user and name */
};

struct group {
    struct hash_node node;
    size_t refs;
    uid_t uid;
    uint64_t turn; /* which member is next; the caller's, as are … */
    uint64_t mark; /* … of the last pass over groups that met it, and … */
    size_t slot;   /* … where that has put it */
    size_t size;
    char name[];
};

void groups_init(struct groups *groups);
void groups_deinit(struct groups *groups); /* asserts that no group is left */

/* A reference to the group, made when there is none yet. NULL: out of memory. */
struct group *groups_get(struct groups *groups, uid_t uid, struct span name);
struct group *group_ref(struct group *group);
struct group *groups_put(struct groups *groups, struct group *group); /* NULL, which is let pass */

static inline struct span group_name(const struct group *group)
{
    return (struct span){group->name, group->size};
}

#endif
