/* SPDX-License-Identifier: MIT */
/*
 * The hash table against an array as model, its collisions, and the hash function
 * against values computed apart; every bit of a key counts, and so does the seed.
 */
#include <stdlib.h>
#include <string.h>

#include "libbus/base/hash.h"
#include "libbus/base/macros.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

#define SEED 11

struct entry {
    struct hash_node node;
    unsigned key;
    bool in_table;
};

static struct entry *find(const struct hash *hash, unsigned key, uint64_t value)
{
    HASH_FOREACH (node, hash, value) {
        struct entry *entry = CONTAINER_OF(node, struct entry, node);
        if (entry->key == key)
            return entry;
    }
    return NULL;
}

static void test_empty(void **state)
{
    struct hash hash;

    hash_init(&hash);
    assert_null(hash_first(&hash, 0));
    assert_null(hash_walk(&hash, NULL));
    assert_int_equal(hash.size, 0);
    hash_deinit(&hash);
}

static void test_against_model(void **state)
{
    static struct entry entries[3000];
    struct random random = {.state = SEED};
    struct hash hash;
    size_t count = 0;

    hash_init(&hash);
    for (unsigned i = 0; i < ARRAY_SIZE(entries); i++)
        entries[i] = (struct entry){.key = i};
    for (unsigned round = 0; round < 60000; round++) {
        unsigned key = random_below(&random, ARRAY_SIZE(entries));
        struct entry *entry = &entries[key];
        uint64_t value = hash_of(&hash, &key, sizeof(key));

        assert_ptr_equal(find(&hash, key, value), entry->in_table ? entry : NULL);
        if (entry->in_table) {
            hash_remove(&hash, &entry->node);
            count--;
        } else {
            assert_int_equal(hash_add(&hash, &entry->node, value), 0);
            count++;
        }
        entry->in_table = !entry->in_table;
        assert_int_equal(hash.count, count);
    }
    assert_true((hash.size & (hash.size - 1)) == 0);
    for (unsigned i = 0; i < ARRAY_SIZE(entries); i++)
        if (entries[i].in_table)
            hash_remove(&hash, &entries[i].node);
    hash_deinit(&hash);
}

/* Every element is met once, also when each is removed as soon as the next one is
 * known. */
static void test_walk(void **state)
{
    static struct entry entries[500];
    struct hash hash;
    unsigned met = 0;

    hash_init(&hash);
    for (unsigned i = 0; i < ARRAY_SIZE(entries); i++) {
        entries[i] = (struct entry){.key = i};
        assert_int_equal(hash_add(&hash, &entries[i].node, hash_of(&hash, &i, sizeof(i))), 0);
    }
    for (struct hash_node *node = hash_walk(&hash, NULL), *next; node; node = next) {
        struct entry *entry = CONTAINER_OF(node, struct entry, node);
        assert_false(entry->in_table);
        entry->in_table = true;
        met++;
        next = hash_walk(&hash, node);
        hash_remove(&hash, node);
    }
    assert_int_equal(met, ARRAY_SIZE(entries));
    assert_int_equal(hash.count, 0);
    hash_deinit(&hash);
}

/* Nodes of the same full hash are told apart by their keys; nodes that only share
 * the bucket are not offered at all. */
static void test_collisions(void **state)
{
    struct entry entries[8];
    struct hash hash;
    unsigned met = 0;

    hash_init(&hash);
    for (unsigned i = 0; i < 8; i++) {
        entries[i] = (struct entry){.key = i};
        hash_add(&hash, &entries[i].node, i % 2 ? 5 : 5 + 16);
    }
    HASH_FOREACH (node, &hash, 5) {
        assert_int_equal(CONTAINER_OF(node, struct entry, node)->key % 2, 1);
        met++;
    }
    assert_int_equal(met, 4);
    assert_ptr_equal(find(&hash, 6, 21), &entries[6]);
    assert_null(find(&hash, 6, 5));
    for (unsigned i = 0; i < 8; i++)
        hash_remove(&hash, &entries[i].node);
    assert_null(hash_first(&hash, 5));
    hash_deinit(&hash);
}

/* SipHash-1-3 of the bytes 0, 1, 2 … under the key 00 01 … 0f, computed by an
 * independent implementation of the paper's definition. */
static void test_function(void **state)
{
    static const uint64_t expected[] = {
        UINT64_C(0xabac0158050fc4dc), UINT64_C(0xc9f49bf37d57ca93), UINT64_C(0x82cb9b024dc7d44d),
        UINT64_C(0x8bf80ab8e7ddf7fb), UINT64_C(0xcf75576088d38328), UINT64_C(0xdef9d52f49533b67),
        UINT64_C(0xc50d2b50c59f22a7), UINT64_C(0xd3927d989bb11140), UINT64_C(0x369095118d299a8e),
    };
    struct hash hash = {.seed = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)}};
    unsigned char bytes[16];

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)i;
    for (unsigned size = 0; size < ARRAY_SIZE(expected); size++)
        assert_int_equal(hash_of(&hash, bytes, size), expected[size]);
}

static void test_every_bit_counts(void **state)
{
    struct hash hash;
    unsigned char key[40] = {0};

    hash_init(&hash);
    for (size_t size = 1; size <= sizeof(key); size++) {
        uint64_t before = hash_of(&hash, key, size);
        assert_int_equal(hash_of(&hash, key, size), before);
        assert_int_not_equal(hash_of(&hash, key, size - 1), before);
        for (size_t bit = 0; bit < size * 8; bit++) {
            key[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_int_not_equal(hash_of(&hash, key, size), before);
            key[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
    }
    hash_deinit(&hash);
}

/* Else a client could choose colliding names. */
static void test_own_seed(void **state)
{
    struct hash a, b;

    hash_init(&a);
    hash_init(&b);
    assert_int_not_equal(hash_of(&a, "org.example", 11), hash_of(&b, "org.example", 11));
    hash_deinit(&a);
    hash_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),    cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_walk),     cmocka_unit_test(test_collisions),
        cmocka_unit_test(test_function), cmocka_unit_test(test_every_bit_counts),
        cmocka_unit_test(test_own_seed),
    };

    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
