/* SPDX-License-Identifier: MIT */
#include "busd/names.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

void names_init(struct names *names)
{
    hash_init(&names->table);
    hash_init(&names->claims);
    names->generation = 1;
}

void names_deinit(struct names *names)
{
    hash_deinit(&names->claims);
    hash_deinit(&names->table);
}

void name_owner_init(struct name_owner *owner, struct quota_user *user)
{
    *owner = (struct name_owner){.user = user};
    list_init(&owner->claims);
}

struct name *names_find(const struct names *names, struct span text)
{
    HASH_FOREACH (node, &names->table, hash_of(&names->table, text.data, text.size)) {
        struct name *name = CONTAINER_OF(node, struct name, node);
        if (span_equal(name_span(name), text))
            return name;
    }
    return NULL;
}

struct name_owner *name_get_owner(const struct name *name)
{
    struct list *first = list_first(&name->queue);

    return first ? LIST_ENTRY(first, struct name_claim, by_name)->owner : NULL;
}

static struct name *name_new(struct names *names, struct span text)
{
    struct name *name = malloc(sizeof(*name) + text.size);

    if (!name)
        return NULL;
    *name = (struct name){.size = text.size};
    memcpy(name->text, text.data, text.size);
    list_init(&name->queue);
    if (hash_add(&names->table, &name->node, hash_of(&names->table, text.data, text.size)) < 0) {
        free(name);
        return NULL;
    }
    return name;
}

static void name_free_if_unclaimed(struct names *names, struct name *name)
{
    if (!list_is_empty(&name->queue))
        return;
    hash_remove(&names->table, &name->node);
    free(name);
}

static uint64_t claim_hash(const struct names *names, const struct name *name,
                           const struct name_owner *owner)
{
    uint64_t key[2] = {(uintptr_t)name, (uintptr_t)owner};

    return hash_of(&names->claims, key, sizeof(key));
}

static struct name_claim *find_claim(const struct names *names, const struct name *name,
                                     const struct name_owner *owner)
{
    HASH_FOREACH (node, &names->claims, claim_hash(names, name, owner)) {
        struct name_claim *claim = CONTAINER_OF(node, struct name_claim, node);
        if (claim->name == name && claim->owner == owner)
            return claim;
    }
    return NULL;
}

/* Appended to the name's queue; the caller moves it where it belongs. Takes the
 * charge, on success only. */
static struct name_claim *claim_new(struct names *names, struct name *name,
                                    struct name_owner *owner, const struct charge *charge)
{
    struct name_claim *claim = malloc(sizeof(*claim));

    if (!claim)
        return NULL;
    *claim = (struct name_claim){.name = name, .owner = owner, .charge = *charge};
    if (hash_add(&names->claims, &claim->node, claim_hash(names, name, owner)) < 0) {
        free(claim);
        return NULL;
    }
    list_append(&name->queue, &claim->by_name);
    list_append(&owner->claims, &claim->by_owner);
    owner->count++;
    return claim;
}

static void claim_free(struct names *names, struct name_claim *claim)
{
    hash_remove(&names->claims, &claim->node);
    charge_give_back(&claim->charge);
    list_remove(&claim->by_name);
    list_remove(&claim->by_owner);
    claim->owner->count--;
    free(claim);
}

static void change_begin(struct name_change *change, const struct name *name)
{
    change->size = name->size;
    memcpy(change->text, name->text, name->size);
    change->before = name_get_owner(name);
}

static void change_end(struct names *names, struct name_change *change, const struct name *name)
{
    change->after = name_get_owner(name);
    if (change->before != change->after)
        names->generation++;
}

/* The claimant becomes the owner; the one before waits in front of the queue if it
 * had asked for that, else its claim is over. */
static void promote(struct names *names, struct name *name, struct name_claim *claim)
{
    struct name_claim *old = LIST_ENTRY(list_first(&name->queue), struct name_claim, by_name);

    list_remove(&claim->by_name);
    list_prepend(&name->queue, &claim->by_name);
    if (!old->queue)
        claim_free(names, old);
}

int names_request(struct names *names, struct name_owner *owner, struct span text,
                  struct name_request request, size_t max, enum name_state *ret_state,
                  struct name_change *ret_change)
{
    struct name *name = names_find(names, text);
    struct name_claim *claim = name ? find_claim(names, name, owner) : NULL;
    struct name_claim *first =
        name ? LIST_ENTRY(list_first(&name->queue), struct name_claim, by_name) : NULL;
    struct charge charge = {0};
    bool can_own = !first || first == claim || (request.replace && first->allow_replacement);

    if (!can_own && !request.queue) {
        if (claim)
            claim_free(names, claim);
        return WIRE_NAME_TAKEN;
    }
    if (!claim && (owner->count >= max || charge_one(&charge, owner->user, QUOTA_NAMES) != 0))
        return WIRE_LIMIT_EXCEEDED;
    if (!name && !(name = name_new(names, text))) {
        charge_give_back(&charge);
        return -ENOMEM;
    }
    change_begin(ret_change, name);
    if (!claim && !(claim = claim_new(names, name, owner, &charge))) {
        name_free_if_unclaimed(names, name);
        charge_give_back(&charge);
        return -ENOMEM;
    }
    claim->queue = request.queue;
    claim->allow_replacement = request.allow_replacement;
    if (can_own && first && first != claim)
        promote(names, name, claim);
    change_end(names, ret_change, name);
    *ret_state = can_own ? NAME_OWNED : NAME_QUEUED;
    return 0;
}

static void release_claim(struct names *names, struct name_claim *claim,
                          struct name_change *ret_change)
{
    struct name *name = claim->name;

    change_begin(ret_change, name);
    claim_free(names, claim);
    change_end(names, ret_change, name);
    name_free_if_unclaimed(names, name);
}

int names_release(struct names *names, struct name_owner *owner, struct span text,
                  struct name_change *ret_change)
{
    struct name *name = names_find(names, text);
    struct name_claim *claim = name ? find_claim(names, name, owner) : NULL;

    if (!claim)
        return WIRE_NOT_OWNER;
    release_claim(names, claim, ret_change);
    return 0;
}

bool names_leave(struct names *names, struct name_owner *owner, struct name_change *ret_change)
{
    struct list *first = list_first(&owner->claims);

    if (!first)
        return false;
    release_claim(names, LIST_ENTRY(first, struct name_claim, by_owner), ret_change);
    return true;
}
