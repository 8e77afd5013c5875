/* SPDX-License-Identifier: MIT */
#include "busd/quota.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

/* The ceilings of a slot: for one user, and for all of them if they share it out. */
static const struct {
    const char *name;
    size_t user;
    const char *all_name;
    size_t all;
} slots[QUOTA_SLOTS] = {
#define SHARED(limit, sum)                                                                         \
    {                                                                                              \
#limit, offsetof(struct limits, limit), #sum, offsetof(struct limits, sum)                 \
    }
#define COUNTED(limit)                                                                             \
    {                                                                                              \
#limit, offsetof(struct limits, limit), NULL, 0                                            \
    }
    [QUOTA_BYTES] = SHARED(bytes_per_user, bytes),
    [QUOTA_FDS] = SHARED(fds_per_user, fds),
    [QUOTA_RETAINED_BYTES] = SHARED(retained_bytes_per_user, retained_bytes_in_all),
    [QUOTA_CONNECTIONS] = COUNTED(connections_per_user),
    [QUOTA_UNPROVEN] = COUNTED(unproven_per_user),
    [QUOTA_SUBSCRIPTIONS] = COUNTED(subscriptions_per_user),
    [QUOTA_SEGMENTS] = COUNTED(segments_per_user),
    [QUOTA_WILDCARDS] = COUNTED(wildcards_per_user),
    [QUOTA_NAMES] = COUNTED(names_per_user),
    [QUOTA_CALLS] = COUNTED(calls_per_user),
    [QUOTA_MONITORS] = COUNTED(monitors_per_user),
    [QUOTA_UNSTORED] = COUNTED(unstored_bytes_per_user),
    [QUOTA_RETAINED] = COUNTED(retained_per_user),
#undef SHARED
#undef COUNTED
};

static uint64_t limit_at(const struct quotas *quotas, size_t offset)
{
    return *(const uint64_t *)(const void *)((const char *)quotas->limits + offset);
}

void quotas_init(struct quotas *quotas, const struct limits *limits)
{
    *quotas = (struct quotas){.limits = limits};
    hash_init(&quotas->users);
}

void quotas_deinit(struct quotas *quotas)
{
    hash_deinit(&quotas->users);
}

struct quota_user *quotas_get_user(struct quotas *quotas, uid_t uid)
{
    uint64_t hash = hash_of(&quotas->users, &uid, sizeof(uid));

    HASH_FOREACH (node, &quotas->users, hash) {
        struct quota_user *user = CONTAINER_OF(node, struct quota_user, node);
        if (user->uid == uid) {
            user->refs++;
            return user;
        }
    }
    struct quota_user *user = calloc(1, sizeof(*user));
    if (!user)
        return NULL;
    user->quotas = quotas;
    user->refs = 1;
    user->uid = uid;
    list_init(&user->members);
    if (hash_add(&quotas->users, &user->node, hash) < 0) {
        free(user);
        return NULL;
    }
    return user;
}

struct quota_user *quota_user_unref(struct quota_user *user)
{
    if (!user || --user->refs > 0)
        return NULL;
    for (unsigned slot = 0; slot < QUOTA_SLOTS; slot++)
        assert(user->used[slot] == 0);
    assert(list_is_empty(&user->members));
    hash_remove(&user->quotas->users, &user->node);
    free(user);
    return NULL;
}

static uint64_t count_open(const struct quota_user *user)
{
    return user->used[QUOTA_CONNECTIONS] + user->used[QUOTA_FDS];
}

const struct quota_user *quotas_find_largest(const struct quotas *quotas)
{
    const struct quota_user *largest = NULL;

    for (struct hash_node *node = hash_walk(&quotas->users, NULL); node;
         node = hash_walk(&quotas->users, node)) {
        const struct quota_user *user = CONTAINER_OF(node, struct quota_user, node);
        if (!largest || count_open(user) > count_open(largest))
            largest = user;
    }
    return largest;
}

void charge_init(struct charge *charge, struct quota_user *user, enum quota_slot slot)
{
    *charge = (struct charge){.user = user, .slot = slot};
}

/* Whether somebody who has so much (`mine`) may get `more`, where all together have
 * `used` of `max`: what is left must be as much as it has then for each of `holders`. */
static bool is_fair(uint64_t mine, uint64_t more, uint64_t used, uint64_t max, uint64_t holders)
{
    uint64_t wanted;

    if (more > max || used > max - more)
        return false;
    return !__builtin_mul_overflow(mine + more, holders + (mine == 0), &wanted) &&
           wanted <= max - more - used;
}

/* Whether the charge may become so much larger as far as the user's ceiling goes. */
static bool user_allows(const struct charge *charge, uint64_t more)
{
    const struct quota_user *user = charge->user;
    enum quota_slot slot = charge->slot;
    uint64_t max = limit_at(user->quotas, slots[slot].user);

    if (slot >= QUOTA_SPLIT_SLOTS)
        return more <= max && user->used[slot] <= max - more;
    return is_fair(charge->amount, more, user->used[slot], max, user->holders[slot]);
}

bool charge_can_grow(const struct charge *charge, uint64_t more)
{
    const struct quota_user *user = charge->user;
    const struct quotas *quotas = user->quotas;
    enum quota_slot slot = charge->slot;

    if (!user_allows(charge, more))
        return false;
    return slot >= QUOTA_SHARED_SLOTS ||
           is_fair(user->used[slot], more, quotas->used[slot], limit_at(quotas, slots[slot].all),
                   quotas->holders[slot]);
}

void charge_set(struct charge *charge, uint64_t amount)
{
    struct quota_user *user = charge->user;
    enum quota_slot slot = charge->slot;
    uint64_t before = user->used[slot];

    assert(before >= charge->amount && amount <= UINT64_MAX - (before - charge->amount));
    user->used[slot] = before - charge->amount + amount;
    if (slot < QUOTA_SHARED_SLOTS) {
        struct quotas *quotas = user->quotas;
        uint64_t all = quotas->used[slot];
        assert(all >= before && amount <= UINT64_MAX - (all - charge->amount));
        quotas->used[slot] = all - charge->amount + amount;
        quotas->holders[slot] += (uint64_t)(user->used[slot] > 0) - (before > 0);
        user->holders[slot] += (uint64_t)(amount > 0) - (charge->amount > 0);
    }
    charge->amount = amount;
}

int charge_some(struct charge *charge, struct quota_user *user, enum quota_slot slot,
                uint64_t amount)
{
    uint64_t max = limit_at(user->quotas, slots[slot].user);

    assert(slot >= QUOTA_SHARED_SLOTS);
    if (amount > max || user->used[slot] > max - amount) {
        *charge = (struct charge){0};
        return WIRE_LIMIT_EXCEEDED;
    }
    *charge = (struct charge){user, amount, slot};
    user->used[slot] += amount;
    return 0;
}

void charge_give_back(struct charge *charge)
{
    if (charge->amount > 0)
        charge_set(charge, 0);
}

const char *quota_limit(const struct quota_user *user, enum quota_slot slot, uint64_t *ret_value)
{
    *ret_value = limit_at(user->quotas, slots[slot].user);
    return slots[slot].name;
}

const char *charge_limit(const struct charge *charge, uint64_t more, uint64_t *ret_value)
{
    if (charge->slot >= QUOTA_SHARED_SLOTS || !user_allows(charge, more))
        return quota_limit(charge->user, charge->slot, ret_value);
    *ret_value = limit_at(charge->user->quotas, slots[charge->slot].all);
    return slots[charge->slot].all_name;
}
