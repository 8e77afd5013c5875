/* SPDX-License-Identifier: MIT */
/*
 * What members of groups have been given: it ends when it is written, and can be taken
 * back until then, in order, whether it is in the queue or the queue has let go of it.
 */
#include <stdio.h>
#include <string.h>

#include "busd/shares.h"
#include "libbus/base/macros.h"
#include "tests/support/unit.h"

static struct groups groups;
static struct shares shares;
static struct outq_pool pool;
static struct chunk_arena arena;
static struct share_holder holder;
static struct outq outq;
static struct group *group;

static int setup(void **state)
{
    groups_init(&groups);
    shares_init(&shares, &groups);
    outq_pool_init(&pool);
    chunk_arena_init(&arena);
    share_holder_init(&holder, &shares);
    outq_init(&outq);
    group = groups_get(&groups, 7, SPAN("g"));
    return group ? 0 : -1;
}

static int teardown(void **state)
{
    outq_deinit(&outq, &pool);
    groups_put(&groups, group);
    /* Asserts that nobody refers to a group any more. */
    groups_deinit(&groups);
    shares_deinit(&shares);
    outq_pool_deinit(&pool);
    chunk_arena_deinit(&arena);
    return 0;
}

static struct piece put(const char *text)
{
    struct piece piece;

    assert_int_equal(chunk_arena_alloc(&arena, strlen(text), &piece), 0);
    memcpy(piece.chunk->data + piece.offset, text, strlen(text));
    return piece;
}

static void give(const char *text)
{
    struct piece piece = put(text);

    assert_int_equal(share_append(&holder, &outq, &pool, &piece, group, strlen(text)), 0);
}

static void append(const char *text)
{
    struct piece piece = put(text);

    assert_int_equal(outq_append(&outq, &pool, &piece), 0);
}

/* The next one is this (NULL: there is none). */
static void expect_taken(bool strewn, const char *text)
{
    struct share *share = share_take(&holder, &outq, &pool, strewn);

    if (!text) {
        assert_null(share);
        return;
    }
    assert_non_null(share);
    assert_int_equal(share->piece.size, strlen(text));
    assert_memory_equal(share->piece.chunk->data + share->piece.offset, text, strlen(text));
    assert_ptr_equal(share->group, group);
    assert_int_equal(share->filter, strlen(text));
    share_free(&shares, share);
}

static void test_written(void **state)
{
    give("one\n");
    append("plain\n");
    give("three\n");
    assert_int_equal(group->refs, 3);
    size_t bytes = holder.bytes;
    assert_true(bytes > 0);
    outq_consume(&outq, &pool, 2);
    /* It has begun: it is the member's own. */
    assert_int_equal(holder.bytes, bytes / 2);
    assert_int_equal(group->refs, 2);
    expect_taken(false, "three\n");
    expect_taken(false, NULL);
    assert_int_equal(holder.bytes, 0);
    outq_consume(&outq, &pool, 8);
    assert_true(outq_is_empty(&outq));
}

static void test_taken_in_order(void **state)
{
    give("1\n");
    give("22\n");
    append("plain\n");
    give("333\n");
    expect_taken(true, NULL);
    expect_taken(false, "1\n");
    expect_taken(false, "22\n");
    assert_int_equal(outq.bytes, 10);
    expect_taken(false, "333\n");
    expect_taken(false, NULL);
    assert_int_equal(outq.bytes, 6);
    assert_int_equal(group->refs, 1);
}

/* The queue is let go of; then there are new ones. */
static void test_strewn(void **state)
{
    give("1\n");
    append("plain\n");
    give("22\n");
    outq_deinit(&outq, &pool);
    assert_int_equal(holder.bytes, 0);
    assert_ptr_equal(list_first(&shares.strewn), &holder.link);
    give("333\n");
    expect_taken(true, "1\n");
    assert_ptr_equal(list_first(&shares.strewn), &holder.link);
    expect_taken(false, "22\n");
    assert_true(list_is_empty(&shares.strewn));
    expect_taken(true, NULL);
    expect_taken(false, "333\n");
    expect_taken(false, NULL);
}

static bool keep(struct span line, void *userdata)
{
    return line.data[0] != *(const char *)userdata;
}

static void test_filtered(void **state)
{
    char unwanted = 'b';

    give("a1\n");
    give("b2\n");
    append("b-plain\n");
    give("a3\n");
    assert_int_equal(outq_filter(&outq, &pool, keep, &unwanted), 0);
    assert_int_equal(outq.bytes, 6);
    expect_taken(true, "b2\n");
    expect_taken(true, NULL);
    expect_taken(false, "a1\n");
    expect_taken(false, "a3\n");
}

/* What the kernel has refused is nobody's. */
static void test_refused(void **state)
{
    struct piece piece;

    give("1\n");
    outq_take_first(&outq, &pool, &piece);
    chunk_unref(piece.chunk);
    expect_taken(false, NULL);
    assert_int_equal(group->refs, 1);
}

/* Used ones are used again, and only so many are kept. */
static void test_reuse(void **state)
{
    for (unsigned i = 0; i < 5000; i++)
        give("x\n");
    outq_consume(&outq, &pool, 10000);
    assert_in_range(shares.spare_count, 1, 4999);
    size_t before = shares.spare_count;
    give("x\n");
    assert_int_equal(shares.spare_count, before - 1);
    expect_taken(false, "x\n");
    assert_int_equal(shares.spare_count, before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_written),  TEST(test_taken_in_order), TEST(test_strewn),
        TEST(test_filtered), TEST(test_refused),        TEST(test_reuse),
    };

    return cmocka_run_group_tests_name("shares", tests, NULL, NULL);
}
