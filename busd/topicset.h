/* SPDX-License-Identifier: MIT */
/*
 * A set of topics in order, in which those that match a pattern are found without
 * looking at those that cannot. Pure: what a topic stands for embeds a struct
 * topicset_entry, which holds nothing but the topic's own text.
 *
 * Segments are compared one after the other, so that what lies below a topic stands
 * behind it: org, org.a, org.a.x, org.ab. A walk for a pattern begins where its first
 * match would be; at a topic that does not match it leaps to where the next match could
 * be. So it takes a leap for each combination of what stands in place of the
 * wildcards, and each costs as much as a look-up.
 *
 * Looking up a topic is O(1); adding, removing and leaping are O(log n) whatever the
 * topics are, because the tree is balanced by keyed hashes of them (a treap, Seidel and
 * Aragon 1996). It allocates nothing but the hash table.
 */
#ifndef BUSD_TOPICSET_H
#define BUSD_TOPICSET_H

#include <stdint.h>

#include "libbus/base/hash.h"
#include "libbus/base/list.h"
#include "libbus/base/span.h"

/* What a leap costs, in the steps of CONNECTION_EFFORT. */
#define TOPICSET_LEAP_EFFORT 4

struct topicset_entry {
    struct hash_node node;
    struct list order; /* the neighbours */
    struct topicset_entry *left;
    struct topicset_entry *right;
    struct span topic; /* the owner's; may not change while it is in the set */
};

struct topicset {
    struct hash table;
    struct list order; /* struct topicset_entry, the least first */
    struct topicset_entry *root;
};

/* Where a walk is; for the set alone to look into. */
struct topicset_walk {
    const struct topicset *set;
    struct span pattern;
    struct topicset_entry *next; /* the least that has not been looked at; NULL: none */
    unsigned effort;             /* so far, in the steps of CONNECTION_EFFORT */
};

void topicset_init(struct topicset *set);
void topicset_deinit(struct topicset *set); /* asserts that it is empty */

/* NULL if it is not there. */
struct topicset_entry *topicset_find(const struct topicset *set, struct span topic);

/* entry->topic must be set, and not be in the set. 0 or -ENOMEM. */
int topicset_add(struct topicset *set, struct topicset_entry *entry);

void topicset_remove(struct topicset *set, struct topicset_entry *entry);

/* Begins a walk; the pattern must be valid and outlive it. */
void topicset_walk_init(struct topicset_walk *walk, const struct topicset *set,
                        struct span pattern);

/* The next topic, in order, that matches as grammar_matches() says; NULL at the end. In
 * between the set may only change by the removal of what has been returned. */
struct topicset_entry *topicset_walk_next(struct topicset_walk *walk);

#endif
