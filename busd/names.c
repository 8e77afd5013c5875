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

static struct name_claim *first_of(const struct list *claims)
{
    struct list *first = list_first(claims);

    return first ? LIST_ENTRY(first, struct name_claim, by_name) : NULL;
}

struct name_owner *name_get_owner(const struct name *name)
{
    struct name_claim *first = first_of(&name->owners);

    return first ? first->owner : NULL;
}

bool name_is_shared(const struct name *name)
{
    struct name_claim *first = first_of(&name->owners);

    return first && first->shared;
}

/* Who comes after this owner, going round. */
static struct name_claim *next_owner(const struct name *name, const struct name_claim *claim)
{
    struct list *next = claim->by_name.next;

    return next == &name->owners ? first_of(&name->owners)
                                 : LIST_ENTRY(next, struct name_claim, by_name);
}

struct name_owner *name_take_turn(struct name *name)
{
    struct name_claim *claim = name->turn;

    name->turn = next_owner(name, claim);
    return claim->owner;
}

static struct name *name_new(struct names *names, struct span text)
{
    struct name *name = malloc(sizeof(*name) + text.size);

    if (!name)
        return NULL;
    *name = (struct name){.size = text.size};
    memcpy(name->text, text.data, text.size);
    list_init(&name->owners);
    list_init(&name->queue);
    if (hash_add(&names->table, &name->node, hash_of(&names->table, text.data, text.size)) < 0) {
        free(name);
        return NULL;
    }
    return name;
}

static void name_free_if_unclaimed(struct names *names, struct name *name)
{
    if (name->owner_count > 0)
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

bool names_owns(const struct names *names, const struct name *name, const struct name_owner *owner)
{
    const struct name_claim *claim = find_claim(names, name, owner);

    return claim && claim->owns;
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

/* The claimant becomes the last of the owners. */
static void own(struct name_claim *claim)
{
    struct name *name = claim->name;

    list_remove(&claim->by_name);
    list_append(&name->owners, &claim->by_name);
    name->owner_count++;
    claim->owns = true;
    if (!name->turn)
        name->turn = claim;
}

/* Waits in no queue then, nor owns anything. */
static void disown(struct name_claim *claim)
{
    struct name *name = claim->name;

    if (name->turn == claim)
        name->turn = name->owner_count > 1 ? next_owner(name, claim) : NULL;
    if (claim->owns)
        name->owner_count--;
    claim->owns = false;
    list_remove(&claim->by_name);
}

static void claim_free(struct names *names, struct name_claim *claim)
{
    disown(claim);
    hash_remove(&names->claims, &claim->node);
    charge_give_back(&claim->charge);
    list_remove(&claim->by_owner);
    claim->owner->count--;
    free(claim);
}

/* A name, before something is done to it. */
struct snapshot {
    struct name_owner *owner;
    size_t owner_count;
    bool shared;
};

static struct snapshot snapshot_take(const struct name *name)
{
    return (struct snapshot){name_get_owner(name), name->owner_count, name_is_shared(name)};
}

/* Gives the name to those who wait, if it is free or has become one that is shared. */
static void serve_queue(struct name *name, const struct snapshot *before)
{
    if (name->owner_count == 0 && !list_is_empty(&name->queue))
        own(first_of(&name->queue));
    if (!name_is_shared(name) || before->shared)
        return;
    LIST_FOREACH_SAFE (node, &name->queue) {
        struct name_claim *claim = LIST_ENTRY(node, struct name_claim, by_name);
        if (claim->shared)
            own(claim);
    }
}

static void change_describe(struct names *names, const struct name *name, struct name_owner *by,
                            const struct snapshot *before, struct name_change *ret_change)
{
    struct snapshot after = snapshot_take(name);

    ret_change->size = name->size;
    memcpy(ret_change->text, name->text, name->size);
    ret_change->before = before->owner;
    ret_change->after = after.owner;
    ret_change->by = by;
    /* They come at the end and go one at a time, so with the same first and as many of
     * them they are the same. */
    ret_change->changed = before->owner != after.owner ||
                          before->owner_count != after.owner_count ||
                          before->shared != after.shared;
    ret_change->opened = after.shared && !before->shared;
    if (ret_change->changed)
        names->generation++;
}

/* Whether the request makes its claimant (claim: NULL if it has none yet) an owner. */
static bool can_own(const struct name *name, const struct name_claim *claim,
                    const struct name_request *request)
{
    const struct name_claim *first = name ? first_of(&name->owners) : NULL;

    if (!first || (first == claim && name->owner_count == 1))
        return true;
    if (first->shared)
        return request->shared;
    return request->replace && first->allow_replacement;
}

/* The owner waits in front of the queue if it had asked for that, else its claim is
 * over. */
static void replace(struct names *names, struct name_claim *old)
{
    struct name *name = old->name;

    if (!old->queue) {
        claim_free(names, old);
        return;
    }
    disown(old);
    list_prepend(&name->queue, &old->by_name);
}

/* Enters what is wanted into the claim, which waits or owns, and lets it own if it
 * can. */
static enum name_state grant(struct names *names, struct name_claim *claim,
                             const struct name_request *request, bool owns)
{
    struct name *name = claim->name;
    struct snapshot before = snapshot_take(name);
    struct name_claim *first = first_of(&name->owners);

    if (owns && !claim->owns) {
        if (first && !first->shared)
            replace(names, first);
        own(claim);
    }
    claim->queue = request->queue;
    claim->allow_replacement = request->allow_replacement;
    claim->shared = request->shared;
    if (!owns)
        return NAME_QUEUED;
    serve_queue(name, &before);
    return request->shared ? NAME_SHARED : NAME_OWNED;
}

int names_request(struct names *names, struct name_owner *owner, struct span text,
                  struct name_request request, size_t max, enum name_state *ret_state,
                  struct name_change *ret_change)
{
    struct name *name = names_find(names, text);
    struct name_claim *claim = name ? find_claim(names, name, owner) : NULL;
    bool owns = can_own(name, claim, &request);
    struct charge charge = {0};

    /* A share is not lost by asking for more than that. */
    if (!owns && claim && claim->owns)
        return WIRE_NAME_TAKEN;
    if (!owns && !request.queue) {
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
    struct snapshot before = snapshot_take(name);
    if (!claim && !(claim = claim_new(names, name, owner, &charge))) {
        name_free_if_unclaimed(names, name);
        charge_give_back(&charge);
        return -ENOMEM;
    }
    *ret_state = grant(names, claim, &request, owns);
    change_describe(names, name, owner, &before, ret_change);
    return 0;
}

static void release_claim(struct names *names, struct name_claim *claim,
                          struct name_change *ret_change)
{
    struct name *name = claim->name;
    struct name_owner *owner = claim->owner;
    struct snapshot before = snapshot_take(name);

    claim_free(names, claim);
    serve_queue(name, &before);
    change_describe(names, name, owner, &before, ret_change);
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
