/* SPDX-License-Identifier: MIT */
/*
 * Patterns as a tree, one node a segment, to find those that fit a topic without
 * looking at the others. Pure: what hangs on a node is the caller's.
 *
 * A walk takes one step for each node that it comes to. Without a `*`, or with one as
 * the last segment, all patterns together add no more than three nodes for each
 * segment of the topic. Only what stands behind a `*` lets the walk branch out; how
 * many nodes a pattern can so add to it is its trie_weight(). So whoever bounds the
 * sum of the weights bounds every walk: 2 + 3 * segments + the sum.
 */
#ifndef BUSD_TRIE_H
#define BUSD_TRIE_H

#include <stddef.h>

#include "libbus/base/hash.h"
#include "libbus/base/list.h"
#include "libbus/base/span.h"

struct trie {
    struct trie_node *root;
    struct hash nodes; /* struct trie_node by parent and segment */
};

/* One segment of the patterns below its parent. Literal children are found by the
 * hash of the whole trie, wildcards by pointer. */
struct trie_node {
    struct hash_node node;
    struct trie_node *parent;
    struct trie_node *star;
    struct trie_node *rest; /* '#' */
    struct list items;      /* the caller's, for the pattern that ends here */
    size_t children;
    size_t size;
    char segment[];
};

void trie_init(struct trie *trie);
void trie_deinit(struct trie *trie); /* asserts that no pattern is left */

/* The node of a valid pattern, made if there is none; NULL when out of memory. */
struct trie_node *trie_add(struct trie *trie, struct span pattern);

/* Frees the node if it has no items and nothing is below it, and those above it with
 * which it is the same then. */
void trie_prune(struct trie *trie, struct trie_node *node);

/* Hands out the node of every pattern that fits the topic. Returns its steps. */
size_t trie_walk(const struct trie *trie, struct span topic,
                 void (*found)(struct trie_node *node, void *userdata), void *userdata);

/* How many nodes a pattern can add to the tree: its segments. */
size_t trie_size(struct span pattern);

/* How many steps a pattern can add to a walk: its segments behind the first `*`. */
size_t trie_weight(struct span pattern);

#endif
