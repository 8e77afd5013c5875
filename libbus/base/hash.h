/* SPDX-License-Identifier: MIT */
/*
 * An intrusive chained hash table over 64-bit keyed hashes (SipHash-1-3,
 * Aumasson and Bernstein 2012), because its keys are chosen by peers who may
 * wish us collisions. Every table has a seed of its own from getrandom(2).
 *
 * The table owns only its bucket array. An element embeds a `struct hash_node`
 * and knows how to compare itself; a lookup walks the nodes that have the same
 * full hash:
 *
 *     uint64_t h = hash_of(&table, key, size);
 *     HASH_FOREACH(node, &table, h) { ... compare ... }
 *
 * Add, find and remove are O(1) amortised. Growing needs memory: the first
 * hash_add() can fail with -ENOMEM; a later growth that finds none is put off
 * and the chains get longer.
 */
#ifndef LIBBUS_BASE_HASH_H
#define LIBBUS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash_node {
    struct hash_node *next;
    uint64_t hash;
};

struct hash {
    struct hash_node **buckets;
    size_t size; /* a power of two, or 0 before the first hash_add() */
    size_t count;
    uint64_t seed[2];
};

void hash_init(struct hash *hash);

/* The table must be empty: a leak is a bug of ours and asserted. */
void hash_deinit(struct hash *hash);

uint64_t hash_of(const struct hash *hash, const void *key, size_t size);

/* 0, or -ENOMEM with the table unchanged. */
int hash_add(struct hash *hash, struct hash_node *node, uint64_t value);

/* The node must be in the table. */
void hash_remove(struct hash *hash, struct hash_node *node);

struct hash_node *hash_first(const struct hash *hash, uint64_t value);
struct hash_node *hash_next_same(const struct hash_node *node);

/* Any walk over all elements, in no order: NULL starts, NULL ends. The table
 * may not change in between, but for the removal of the node returned last
 * when the next one has been asked for already. */
struct hash_node *hash_walk(const struct hash *hash, const struct hash_node *previous);

#define HASH_FOREACH(node, table, value)                                                           \
    for (struct hash_node *node = hash_first((table), (value)); node; node = hash_next_same(node))

#endif
