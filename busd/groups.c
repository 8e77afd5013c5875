/* SPDX-License-Identifier: MIT */
#include "busd/groups.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/wire/grammar.h"

void groups_init(struct groups *groups)
{
    hash_init(&groups->table);
}

void groups_deinit(struct groups *groups)
{
    assert(groups->table.count == 0);
    hash_deinit(&groups->table);
}

static uint64_t group_hash(const struct groups *groups, uid_t uid, struct span name)
{
    char key[sizeof(uid) + GRAMMAR_GROUP_MAX];

    memcpy(key, &uid, sizeof(uid));
    memcpy(key + sizeof(uid), name.data, name.size);
    return hash_of(&groups->table, key, sizeof(uid) + name.size);
}

struct group *groups_get(struct groups *groups, uid_t uid, struct span name)
{
    uint64_t hash = group_hash(groups, uid, name);

    HASH_FOREACH (node, &groups->table, hash) {
        struct group *group = CONTAINER_OF(node, struct group, node);
        if (group->uid == uid && span_equal(group_name(group), name))
            return group_ref(group);
    }
    struct group *group = malloc(sizeof(*group) + name.size);
    if (!group)
        return NULL;
    *group = (struct group){.refs = 1, .uid = uid, .size = name.size};
    memcpy(group->name, name.data, name.size);
    if (hash_add(&groups->table, &group->node, hash) < 0) {
        free(group);
        return NULL;
    }
    return group;
}

struct group *group_ref(struct group *group)
{
    group->refs++;
    return group;
}

struct group *groups_put(struct groups *groups, struct group *group)
{
    if (group && --group->refs == 0) {
        hash_remove(&groups->table, &group->node);
        free(group);
    }
    return NULL;
}
