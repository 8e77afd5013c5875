/* SPDX-License-Identifier: MIT */
/*
 * Who owns which well-known name, and who waits for it. Pure: it knows neither
 * sockets nor JSON nor peers. An owner is a `struct name_owner` that a peer
 * embeds; what changed is returned as a record, and the caller tells the world.
 *
 * A name exists as long as somebody owns it. It has one owner, or several who share
 * it: those who asked for a share while every owner of it had done so. Whoever else
 * asks is refused or waits in the queue. When there is no owner left the first who
 * waits becomes the owner; and when that one asked for a share, or an owner says that
 * it will share from now on, all who wait for a share have one.
 *
 * Looking up, requesting and releasing are O(1), but for those who so get their share.
 */
#ifndef BUSD_NAMES_H
#define BUSD_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "busd/quota.h"
#include "libbus/base/hash.h"
#include "libbus/base/list.h"
#include "libbus/base/span.h"
#include "libbus/wire/errors.h"
#include "libbus/wire/grammar.h"

struct names {
    struct hash table;
    struct hash claims;  /* struct name_claim by name and owner */
    uint64_t generation; /* grows whenever the owners of any name change */
};

struct name_owner {
    struct quota_user *user;
    struct list claims; /* struct name_claim.by_owner */
    size_t count;
};

struct name {
    struct hash_node node;
    struct list owners; /* struct name_claim.by_name, in the order of their coming */
    struct list queue;  /* the same of those who wait, the next one first */
    size_t owner_count;
    struct name_claim *turn; /* of the owner who is next, see name_take_turn() */
    size_t size;
    char text[];
};

struct name_claim {
    struct hash_node node;
    struct charge charge;
    struct list by_name;
    struct list by_owner;
    struct name *name;
    struct name_owner *owner;
    bool owns; /* else it waits */
    bool queue;
    bool allow_replacement; /* by others who want the name for themselves */
    bool shared;
};

enum name_state {
    NAME_OWNED,
    NAME_SHARED,
    NAME_QUEUED,
};

/* What a request or release of `by` did. `before` and `after` are the first of the name's
 * owners (NULL: there is none). Without `changed` there is nothing to tell. */
struct name_change {
    size_t size;
    char text[GRAMMAR_NAME_MAX];
    struct name_owner *before;
    struct name_owner *after;
    struct name_owner *by;
    bool changed; /* who owns it, or whether they share it */
    bool opened;  /* it is shared from now on: others than these may own it now, too */
};

struct name_request {
    bool queue;
    bool replace; /* those who share a name are not replaced */
    bool allow_replacement;
    bool shared;
};

void names_init(struct names *names);
void names_deinit(struct names *names); /* asserts that no name is left */

/* The user, who is charged, is borrowed. */
void name_owner_init(struct name_owner *owner, struct quota_user *user);

/* 0 with *ret_state and *ret_change; WIRE_NAME_TAKEN (a place in the queue is given
 * up when asked again without `queue`, a share never); WIRE_LIMIT_EXCEEDED beyond
 * `max` claims of this owner or what the user may have; -ENOMEM. The name must be
 * valid. */
int names_request(struct names *names, struct name_owner *owner, struct span name,
                  struct name_request request, size_t max, enum name_state *ret_state,
                  struct name_change *ret_change);

/* 0 with *ret_change, or WIRE_NOT_OWNER. */
int names_release(struct names *names, struct name_owner *owner, struct span name,
                  struct name_change *ret_change);

/* Gives one of the owner's claims back; false when it has none left. */
bool names_leave(struct names *names, struct name_owner *owner, struct name_change *ret_change);

/* NULL if nobody claims it. */
struct name *names_find(const struct names *names, struct span name);

/* The first of its owners. */
struct name_owner *name_get_owner(const struct name *name);

bool name_is_shared(const struct name *name);

/* Whether this is one of its owners. */
bool names_owns(const struct names *names, const struct name *name, const struct name_owner *owner);

/* Goes round the owners: each call returns the next one. */
struct name_owner *name_take_turn(struct name *name);

static inline struct span name_span(const struct name *name)
{
    return (struct span){name->text, name->size};
}

#endif
