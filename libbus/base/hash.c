/* SPDX-License-Identifier: MIT */
#include "libbus/base/hash.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define HASH_SIZE_MIN 16

void hash_init(struct hash *hash)
{
    *hash = (struct hash){0};
    /* getrandom() fails only before the kernel's pool is ready, in early boot;
     * the clock is then the best there is. */
    if (getrandom(hash->seed, sizeof(hash->seed), GRND_NONBLOCK) != sizeof(hash->seed)) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        hash->seed[0] = (uint64_t)now.tv_nsec * 0x9e3779b97f4a7c15u;
        hash->seed[1] = (uint64_t)now.tv_sec ^ (uint64_t)(uintptr_t)hash;
    }
}

void hash_deinit(struct hash *hash)
{
    assert(hash->count == 0);
    free(hash->buckets);
    *hash = (struct hash){0};
}

static inline uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 = rotate(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

uint64_t hash_of(const struct hash *hash, const void *key, size_t size)
{
    const unsigned char *p = key;
    struct sip s = {
        hash->seed[0] ^ 0x736f6d6570736575u,
        hash->seed[1] ^ 0x646f72616e646f6du,
        hash->seed[0] ^ 0x6c7967656e657261u,
        hash->seed[1] ^ 0x7465646279746573u,
    };
    uint64_t word;
    size_t left = size;

    for (; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        sip_word(&s, word);
    }
    word = (uint64_t)size << 56;
    for (size_t i = 0; i < left; i++)
        word |= (uint64_t)p[i] << (8 * i);
    sip_word(&s, word);
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

static int hash_grow(struct hash *hash)
{
    size_t size = hash->size ? hash->size * 2 : HASH_SIZE_MIN;
    struct hash_node **buckets = calloc(size, sizeof(*buckets));

    if (!buckets)
        return -ENOMEM;
    for (size_t i = 0; i < hash->size; i++) {
        struct hash_node *node = hash->buckets[i];
        while (node) {
            struct hash_node *next = node->next;
            struct hash_node **bucket = &buckets[node->hash & (size - 1)];
            node->next = *bucket;
            *bucket = node;
            node = next;
        }
    }
    free(hash->buckets);
    hash->buckets = buckets;
    hash->size = size;
    return 0;
}

int hash_add(struct hash *hash, struct hash_node *node, uint64_t value)
{
    if (hash->count >= hash->size && hash_grow(hash) < 0 && hash->size == 0)
        return -ENOMEM;

    struct hash_node **bucket = &hash->buckets[value & (hash->size - 1)];
    node->hash = value;
    node->next = *bucket;
    *bucket = node;
    hash->count++;
    return 0;
}

void hash_remove(struct hash *hash, struct hash_node *node)
{
    struct hash_node **link = &hash->buckets[node->hash & (hash->size - 1)];

    while (*link != node)
        link = &(*link)->next;
    *link = node->next;
    node->next = NULL;
    hash->count--;
}

struct hash_node *hash_first(const struct hash *hash, uint64_t value)
{
    struct hash_node *node = hash->size ? hash->buckets[value & (hash->size - 1)] : NULL;

    while (node && node->hash != value)
        node = node->next;
    return node;
}

struct hash_node *hash_next_same(const struct hash_node *node)
{
    struct hash_node *next = node->next;

    while (next && next->hash != node->hash)
        next = next->next;
    return next;
}

struct hash_node *hash_walk(const struct hash *hash, const struct hash_node *previous)
{
    size_t i = 0;

    if (previous) {
        if (previous->next)
            return previous->next;
        i = (previous->hash & (hash->size - 1)) + 1;
    }
    for (; i < hash->size; i++)
        if (hash->buckets[i])
            return hash->buckets[i];
    return NULL;
}
