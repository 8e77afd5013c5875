/* SPDX-License-Identifier: MIT */
/*
 * Chunks, the arena and the queues of pieces: what is gathered and consumed in any
 * portions is what was appended, in order, with its fds at the right byte; and
 * nobody holds on to memory longer than needed.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "busd/chunk.h"
#include "busd/outq.h"
#include "libbus/base/macros.h"
#include "libbus/base/text.h"
#include "libbus/wire/fdqueue.h"
#include "tests/support/process.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

#define SEED 8128

static struct outq_pool pool;
static struct chunk_arena arena;
static unsigned open_before;

static int setup(void **state)
{
    open_before = process_open_fds(getpid());
    outq_pool_init(&pool);
    chunk_arena_init(&arena);
    return 0;
}

static int teardown(void **state)
{
    outq_pool_deinit(&pool);
    chunk_arena_deinit(&arena);
    return process_open_fds(getpid()) == open_before ? 0 : -1;
}

static struct piece put(const char *text)
{
    struct piece piece;

    assert_int_equal(chunk_arena_alloc(&arena, strlen(text), &piece), 0);
    assert_int_equal(piece.size, strlen(text));
    memcpy(piece.chunk->data + piece.offset, text, strlen(text));
    return piece;
}

static struct fds *one_fd(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    return fds_new(&fd, 1);
}

/* All that one write would carry, as text. */
static const char *gathered(const struct outq *outq, size_t max, const struct fds **ret_fds)
{
    static char text[4096];
    struct iovec iov[16];
    size_t count = outq_gather(outq, iov, max, ret_fds), size = 0;

    assert_in_range(count, 0, max);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + size, iov[i].iov_base, iov[i].iov_len);
        size += iov[i].iov_len;
    }
    text[size] = '\0';
    return text;
}

static void assert_gathers(const struct outq *outq, const char *expected)
{
    const struct fds *fds;

    assert_string_equal(gathered(outq, 16, &fds), expected);
    assert_null(fds);
}

static void test_append_consume(void **state)
{
    struct outq outq;
    struct piece first = put("hello "), gap = put("gap"), second = put("world");

    outq_init(&outq);
    assert_true(outq_is_empty(&outq));
    assert_int_equal(outq_append(&outq, &pool, &first), 0);
    assert_int_equal(outq_append(&outq, &pool, &second), 0);
    assert_false(outq_is_empty(&outq));
    assert_int_equal(outq.bytes, 11);
    assert_gathers(&outq, "hello world");
    outq_consume(&outq, &pool, 2);
    assert_gathers(&outq, "llo world");
    outq_consume(&outq, &pool, 4);
    assert_gathers(&outq, "world");
    outq_consume(&outq, &pool, 5);
    assert_true(outq_is_empty(&outq));
    assert_int_equal(outq.bytes, 0);
    assert_int_equal(gap.chunk->refs, 1);
    outq_deinit(&outq, &pool);
}

/* Neighbours become one element, strangers do not. */
static void test_merge(void **state)
{
    struct outq outq;
    struct iovec iov[8];
    const struct fds *fds;
    struct piece a = put("aa"), b = put("bb"), c = put("cc"), d = put("dd");

    outq_init(&outq);
    outq_append(&outq, &pool, &a);
    outq_append(&outq, &pool, &b);
    assert_int_equal(outq_gather(&outq, iov, 8, &fds), 1);
    outq_append(&outq, &pool, &d);
    assert_int_equal(outq_gather(&outq, iov, 8, &fds), 2);
    outq_append(&outq, &pool, &c);
    assert_int_equal(outq_gather(&outq, iov, 8, &fds), 3);
    assert_int_equal(outq_gather(&outq, iov, 2, &fds), 2);
    assert_gathers(&outq, "aabbddcc");
    outq_deinit(&outq, &pool);
    assert_int_equal(a.chunk->refs, 1);
}

/* A piece with fds begins a write, and is never merged into another. */
static void test_fds(void **state)
{
    struct outq outq;
    const struct fds *fds;
    struct piece a = put("a"), b = put("b"), c = put("c"), d = put("d");

    b.fds = one_fd();
    d.fds = one_fd();
    outq_init(&outq);
    outq_append(&outq, &pool, &a);
    outq_append(&outq, &pool, &b);
    outq_append(&outq, &pool, &c);
    outq_append(&outq, &pool, &d);
    assert_int_equal(outq.fds, 2);
    assert_int_equal(b.fds->refs, 2);
    fds_unref(b.fds);
    fds_unref(d.fds);

    assert_string_equal(gathered(&outq, 16, &fds), "a");
    assert_null(fds);
    outq_consume(&outq, &pool, 1);
    assert_string_equal(gathered(&outq, 16, &fds), "bc");
    assert_ptr_equal(fds, b.fds);
    outq_consume(&outq, &pool, 1);
    assert_int_equal(outq.fds, 1);
    assert_string_equal(gathered(&outq, 16, &fds), "c");
    assert_null(fds);
    outq_consume(&outq, &pool, 1);
    assert_string_equal(gathered(&outq, 16, &fds), "d");
    assert_ptr_equal(fds, d.fds);
    outq_deinit(&outq, &pool);
    assert_int_equal(outq_is_empty(&outq), true);
}

/* The fds have gone with the first byte: the rest of the piece is without. */
static void test_fds_once(void **state)
{
    struct outq outq;
    const struct fds *fds;
    struct piece piece = put("long line");

    piece.fds = one_fd();
    outq_init(&outq);
    outq_append(&outq, &pool, &piece);
    fds_unref(piece.fds);
    gathered(&outq, 16, &fds);
    assert_non_null(fds);
    outq_consume(&outq, &pool, 1);
    assert_string_equal(gathered(&outq, 16, &fds), "ong line");
    assert_null(fds);
    assert_int_equal(outq.fds, 0);
    outq_consume(&outq, &pool, 8);
    assert_true(outq_is_empty(&outq));
}

static void test_take_first(void **state)
{
    struct outq outq;
    struct piece a = put("a"), gap = put("-"), b = put("b"), taken;

    a.fds = one_fd();
    outq_init(&outq);
    outq_append(&outq, &pool, &a);
    outq_append(&outq, &pool, &b);
    fds_unref(a.fds);
    outq_take_first(&outq, &pool, &taken);
    assert_ptr_equal(taken.fds, a.fds);
    assert_int_equal(taken.size, 1);
    assert_int_equal(outq.fds, 0);
    assert_int_equal(outq.bytes, 1);
    assert_gathers(&outq, "b");
    chunk_unref(taken.chunk);
    fds_unref(taken.fds);
    outq_deinit(&outq, &pool);
    assert_int_equal(gap.chunk->refs, 1);
}

/* What a slow receiver could not take moves out of the turn's chunk: the queue holds
 * on to about its own bytes, and several receivers share them. */
static void test_settle(void **state)
{
    struct outq slow[3];
    struct piece a = put("first line\n"), b = put("second line\n");
    struct chunk *turn = a.chunk;

    for (unsigned i = 0; i < 3; i++) {
        outq_init(&slow[i]);
        outq_append(&slow[i], &pool, &a);
        outq_append(&slow[i], &pool, &b);
    }
    assert_int_equal(turn->refs, 4);
    for (unsigned i = 0; i < 3; i++) {
        outq_settle(&slow[i]);
        assert_gathers(&slow[i], "first line\nsecond line\n");
        assert_int_equal(slow[i].bytes, 23);
        assert_ptr_not_equal(slow[i].head->piece.chunk, turn);
    }
    assert_int_equal(turn->refs, 1);
    assert_ptr_equal(slow[0].head->piece.chunk, slow[2].head->piece.chunk);
    assert_true(slow[0].head->piece.chunk->size < 64);

    chunk_arena_reset(&arena);
    struct piece next = put("overwritten..............");
    assert_ptr_equal(next.chunk, turn);
    for (unsigned i = 0; i < 3; i++) {
        assert_gathers(&slow[i], "first line\nsecond line\n");
        outq_settle(&slow[i]);
        outq_deinit(&slow[i], &pool);
    }
}

/* Steady traffic uses one and the same chunk. */
static void test_arena_reuse(void **state)
{
    struct chunk *chunk = put("x").chunk;

    for (unsigned turn = 0; turn < 100; turn++) {
        struct outq outq;
        outq_init(&outq);
        for (unsigned i = 0; i < 50; i++) {
            struct piece piece = put("some line of some length\n");
            assert_ptr_equal(piece.chunk, chunk);
            outq_append(&outq, &pool, &piece);
        }
        outq_consume(&outq, &pool, outq.bytes);
        chunk_arena_reset(&arena);
    }
}

/* A chunk that somebody still reads from is left to him. */
static void test_arena_held(void **state)
{
    struct outq outq;
    size_t large = 400000;
    CLEANUP(cleanup_free) char *text = malloc(large + 1);
    struct piece piece;

    memset(text, 'x', large);
    text[large] = '\0';
    outq_init(&outq);
    piece = put(text);
    outq_append(&outq, &pool, &piece);
    outq_settle(&outq);
    chunk_arena_reset(&arena);
    struct piece other = put("yyyy");
    assert_ptr_not_equal(other.chunk, outq.head->piece.chunk);
    assert_memory_equal(outq.head->piece.chunk->data + outq.head->piece.offset, text, large);
    outq_deinit(&outq, &pool);
}

/* Lines of any size never overlap and fit their chunk. */
static void test_arena_sizes(void **state)
{
    struct random random = {.state = SEED};

    for (unsigned i = 0; i < 3000; i++) {
        size_t size = random_one_in(&random, 50) ? random_below(&random, 600000)
                                                 : random_below(&random, 3000);
        struct piece piece;
        assert_int_equal(chunk_arena_alloc(&arena, size, &piece), 0);
        assert_true(piece.offset + size <= piece.chunk->size);
        assert_true(piece.chunk->used >= piece.offset + size);
        memset(piece.chunk->data + piece.offset, 'z', size);
        if (random_one_in(&random, 40))
            chunk_arena_reset(&arena);
    }
}

struct receiver {
    struct outq outq;
    struct text expected;
    struct text got;
    unsigned fds_expected;
    unsigned fds_got;
};

static void receiver_write(struct receiver *receiver, struct random *random)
{
    struct iovec iov[4];
    const struct fds *fds;
    size_t count = outq_gather(&receiver->outq, iov, 1 + random_below(random, 4), &fds), total = 0;

    for (size_t i = 0; i < count; i++)
        total += iov[i].iov_len;
    if (total == 0)
        return;
    size_t taken = random_one_in(random, 2) ? total : 1 + random_below(random, (unsigned)total);
    if (fds)
        text_printf(&receiver->got, "<%u>", fds->count);
    receiver->fds_got += fds != NULL;
    size_t left = taken;
    for (size_t i = 0; left > 0; i++) {
        size_t size = MIN(left, iov[i].iov_len);
        text_append(&receiver->got, iov[i].iov_base, size);
        left -= size;
    }
    outq_consume(&receiver->outq, &pool, taken);
}

/* Several receivers with random appetites over many turns. */
static void test_random(void **state)
{
    struct random random = {.state = SEED};
    struct receiver receivers[5];
    unsigned line = 0;

    for (unsigned i = 0; i < 5; i++)
        receivers[i] = (struct receiver){.expected = TEXT_INIT, .got = TEXT_INIT};
    for (unsigned turn = 0; turn < 3000; turn++) {
        for (unsigned n = random_below(&random, 6); n > 0; n--) {
            char text[64];
            snprintf(text, sizeof(text), "line %u %*s;", line++, (int)random_below(&random, 20),
                     "");
            struct piece piece = put(text);
            if (random_one_in(&random, 5))
                piece.fds = one_fd();
            for (unsigned i = 0; i < 5; i++) {
                if (random_one_in(&random, 3))
                    continue;
                assert_int_equal(outq_append(&receivers[i].outq, &pool, &piece), 0);
                text_append_string(&receivers[i].expected, piece.fds ? "<1>" : "");
                text_append_string(&receivers[i].expected, text);
            }
            fds_unref(piece.fds);
        }
        for (unsigned i = 0; i < 5; i++) {
            if (random_below(&random, 6) >= i)
                receiver_write(&receivers[i], &random);
            outq_settle(&receivers[i].outq);
        }
        chunk_arena_reset(&arena);
    }
    for (unsigned i = 0; i < 5; i++) {
        while (!outq_is_empty(&receivers[i].outq))
            receiver_write(&receivers[i], &random);
        assert_int_equal(receivers[i].outq.bytes, 0);
        assert_int_equal(receivers[i].outq.fds, 0);
        assert_true(span_equal(text_span(&receivers[i].got), text_span(&receivers[i].expected)));
        assert_true(receivers[i].got.size > 10000);
        text_deinit(&receivers[i].got);
        text_deinit(&receivers[i].expected);
    }
}

/* ------------------------------------------------------------- filtering */

/* Keeps lines without an x, and writes down what it was asked about. */
static bool keep_without_x(struct span line, void *userdata)
{
    struct text *asked = userdata;

    text_append_span(asked, line);
    text_append_string(asked, "|");
    return !memchr(line.data, 'x', line.size);
}

static void filter(struct outq *outq, const char *expected)
{
    CLEANUP(text_deinit) struct text asked = TEXT_INIT;

    assert_int_equal(outq_filter(outq, &pool, keep_without_x, &asked), 0);
    assert_string_equal(asked.data ? asked.data : "", expected);
}

/* Lines that have become one piece are looked at one by one. */
static void test_filter_merged(void **state)
{
    struct outq outq;
    struct piece lines[] = {put("a1\n"), put("x2\n"), put("b3\n"), put("x4\n")};
    struct iovec iov[8];
    const struct fds *fds;

    outq_init(&outq);
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        assert_int_equal(outq_append(&outq, &pool, &lines[i]), 0);
    assert_int_equal(outq_gather(&outq, iov, 8, &fds), 1);
    filter(&outq, "a1|x2|b3|x4|");
    assert_gathers(&outq, "a1\nb3\n");
    assert_int_equal(outq.bytes, 6);
    /* Those who keep everything, and nothing, are as they should be, too. */
    filter(&outq, "a1|b3|");
    assert_gathers(&outq, "a1\nb3\n");
    outq_consume(&outq, &pool, 6);
    assert_true(outq_is_empty(&outq));
    filter(&outq, "");
    assert_int_equal(outq_append(&outq, &pool, &lines[1]), 0);
    filter(&outq, "x2|");
    assert_true(outq_is_empty(&outq));
    assert_int_equal(outq.bytes, 0);
    assert_int_equal(outq_append(&outq, &pool, &lines[0]), 0);
    assert_gathers(&outq, "a1\n");
    outq_deinit(&outq, &pool);
    assert_int_equal(lines[0].chunk->refs, 1);
}

/* A line of which a part has gone out goes out to its end. */
static void test_filter_mid_line(void **state)
{
    struct outq outq;
    struct piece first = put("x1\nx2\nb3\n");

    outq_init(&outq);
    assert_int_equal(outq_append(&outq, &pool, &first), 0);
    outq_consume(&outq, &pool, 1);
    filter(&outq, "x2|b3|");
    assert_gathers(&outq, "1\nb3\n");
    /* At the beginning of a line nothing has gone out of it. */
    outq_consume(&outq, &pool, 2);
    filter(&outq, "b3|");
    outq_consume(&outq, &pool, 3);
    first = put("a1\nx2\n");
    assert_int_equal(outq_append(&outq, &pool, &first), 0);
    outq_consume(&outq, &pool, 3);
    filter(&outq, "x2|");
    assert_true(outq_is_empty(&outq));
    /* After the rest of a line the next one is whole again. */
    first = put("x1\n");
    struct piece apart = put("gap"), second = put("x2\n");
    assert_int_equal(outq_append(&outq, &pool, &first), 0);
    assert_int_equal(outq_append(&outq, &pool, &second), 0);
    outq_consume(&outq, &pool, 2);
    filter(&outq, "x2|");
    assert_gathers(&outq, "\n");
    filter(&outq, "");
    outq_consume(&outq, &pool, 1);
    assert_true(outq_is_empty(&outq));
    assert_int_equal(apart.chunk->refs, 1);
    outq_deinit(&outq, &pool);
}

/* A dropped line's fds are closed, a kept one's stay with its first byte. */
static void test_filter_fds(void **state)
{
    struct outq outq;
    struct piece lines[] = {put("x1\n"), put("a2\n"), put("x3\n"), put("b4\n"), put("x5\n")};
    const struct fds *fds;

    outq_init(&outq);
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        lines[i].fds = i == 1 || i == 2 || i == 4 ? one_fd() : NULL;
        assert_int_equal(outq_append(&outq, &pool, &lines[i]), 0);
        fds_unref(lines[i].fds);
    }
    assert_int_equal(outq.fds, 3);
    filter(&outq, "x1|a2|x3|b4|x5|");
    assert_int_equal(outq.fds, 1);
    assert_int_equal(process_open_fds(getpid()), open_before + 1);
    assert_string_equal(gathered(&outq, 16, &fds), "a2\nb4\n");
    assert_non_null(fds);
    /* Once its first byte has gone its fds have, and it stays. */
    outq_consume(&outq, &pool, 1);
    assert_int_equal(outq.fds, 0);
    filter(&outq, "b4|");
    assert_gathers(&outq, "2\nb4\n");
    outq_deinit(&outq, &pool);
}

/* What is left out of the turn's chunk and what is still in it, in one queue. */
static void test_filter_settled(void **state)
{
    struct outq outq;
    struct piece line = put("a1\nx2\n");

    outq_init(&outq);
    assert_int_equal(outq_append(&outq, &pool, &line), 0);
    outq_settle(&outq);
    chunk_arena_reset(&arena);
    line = put("b3\nx4\n");
    assert_int_equal(outq_append(&outq, &pool, &line), 0);
    filter(&outq, "a1|x2|b3|x4|");
    outq_settle(&outq);
    chunk_arena_reset(&arena);
    line = put("overwritten");
    assert_gathers(&outq, "a1\nb3\n");
    outq_deinit(&outq, &pool);
}

/* The same as dropping the lines before they were appended, but for one that is being
 * written. */
static void test_filter_random(void **state)
{
    struct random random = {.state = SEED};

    for (unsigned round = 0; round < 2000; round++) {
        CLEANUP(text_deinit) struct text all = TEXT_INIT;
        CLEANUP(text_deinit) struct text expected = TEXT_INIT;
        CLEANUP(text_deinit) struct text asked = TEXT_INIT;
        struct outq outq;
        const struct fds *fds;

        outq_init(&outq);
        for (unsigned n = random_below(&random, 10); n > 0; n--) {
            char line[16];
            snprintf(line, sizeof(line), "%c%u\n", random_one_in(&random, 2) ? 'x' : 'y', n);
            struct piece piece = put(line);
            assert_int_equal(outq_append(&outq, &pool, &piece), 0);
            text_append_string(&all, line);
            if (random_one_in(&random, 3))
                put("gap");
            if (random_one_in(&random, 4))
                outq_settle(&outq);
        }
        size_t gone = random_below(&random, (unsigned)all.size + 1);
        if (gone > 0)
            outq_consume(&outq, &pool, gone);
        for (size_t at = 0; at < all.size;) {
            size_t next = (size_t)((char *)memchr(all.data + at, '\n', all.size) - all.data) + 1;
            if (next > gone && (at < gone || all.data[at] != 'x'))
                text_append(&expected, all.data + MAX(at, gone), next - MAX(at, gone));
            at = next;
        }
        assert_int_equal(outq_filter(&outq, &pool, keep_without_x, &asked), 0);
        assert_int_equal(outq.bytes, expected.size);
        assert_string_equal(gathered(&outq, 16, &fds), expected.data ? expected.data : "");
        outq_deinit(&outq, &pool);
        chunk_arena_reset(&arena);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_append_consume), TEST(test_merge),          TEST(test_fds),
        TEST(test_fds_once),       TEST(test_take_first),     TEST(test_settle),
        TEST(test_arena_reuse),    TEST(test_arena_held),     TEST(test_arena_sizes),
        TEST(test_random),         TEST(test_filter_merged),  TEST(test_filter_mid_line),
        TEST(test_filter_fds),     TEST(test_filter_settled), TEST(test_filter_random),
    };

    return cmocka_run_group_tests_name("outq", tests, NULL, NULL);
}
