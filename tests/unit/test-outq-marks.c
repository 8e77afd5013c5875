/* SPDX-License-Identifier: MIT */
/*
 * Pieces that are queued with a mark: they stand by themselves, can be taken out from
 * anywhere while nothing of them has been written, and their owner is told, once, when
 * that is over and why.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "busd/outq.h"
#include "libbus/base/macros.h"
#include "libbus/base/text.h"
#include "tests/support/process.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

#define SEED 1729

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
    memcpy(piece.chunk->data + piece.offset, text, strlen(text));
    return piece;
}

/* Somebody who owns a mark, and what it has been told. */
struct owner {
    struct outq_mark mark;
    unsigned told;
    enum outq_end end;
    char piece[32];
};

static void on_ended(struct outq_mark *mark, enum outq_end end, const struct piece *piece)
{
    struct owner *owner = CONTAINER_OF(mark, struct owner, mark);

    assert_null(mark->item);
    owner->told++;
    owner->end = end;
    if (piece)
        snprintf(owner->piece, sizeof(owner->piece), "%.*s", (int)piece->size,
                 piece->chunk->data + piece->offset);
}

static void append(struct outq *outq, const char *text)
{
    struct piece piece = put(text);

    assert_int_equal(outq_append(outq, &pool, &piece), 0);
}

static void append_marked(struct outq *outq, const char *text, struct owner *owner)
{
    struct piece piece = put(text);

    *owner = (struct owner){.mark.ended = on_ended};
    assert_int_equal(outq_append_marked(outq, &pool, &piece, &owner->mark), 0);
    assert_non_null(owner->mark.item);
}

static const char *gathered(const struct outq *outq, size_t *ret_count)
{
    static char text[4096];
    struct iovec iov[64];
    const struct fds *fds;
    size_t size = 0;

    *ret_count = outq_gather(outq, iov, ARRAY_SIZE(iov), &fds);
    for (size_t i = 0; i < *ret_count; i++) {
        memcpy(text + size, iov[i].iov_base, iov[i].iov_len);
        size += iov[i].iov_len;
    }
    text[size] = '\0';
    assert_int_equal(size, outq->bytes);
    return text;
}

static void assert_gathers(const struct outq *outq, const char *expected, size_t pieces)
{
    size_t count;

    assert_string_equal(gathered(outq, &count), expected);
    assert_int_equal(count, pieces);
}

static void assert_told(const struct owner *owner, enum outq_end end, const char *piece)
{
    assert_int_equal(owner->told, 1);
    assert_int_equal(owner->end, end);
    assert_string_equal(owner->piece, piece);
    assert_null(owner->mark.item);
}

/* Neighbours of a marked piece do not become one with it. */
static void test_alone(void **state)
{
    struct outq outq;
    struct owner owner;

    outq_init(&outq);
    append(&outq, "a\n");
    append(&outq, "b\n");
    append_marked(&outq, "c\n", &owner);
    append(&outq, "d\n");
    append(&outq, "e\n");
    assert_gathers(&outq, "a\nb\nc\nd\ne\n", 3);
    outq_deinit(&outq, &pool);
    assert_told(&owner, OUTQ_CLEARED, "c\n");
}

/* First, last, in the middle, side by side, and the only one. */
static void test_drop_anywhere(void **state)
{
    struct outq outq;
    struct owner owners[5];

    outq_init(&outq);
    append_marked(&outq, "1\n", &owners[0]);
    append(&outq, "a\n");
    append_marked(&outq, "2\n", &owners[1]);
    append_marked(&outq, "3\n", &owners[2]);
    append_marked(&outq, "4\n", &owners[3]);
    append(&outq, "b\n");
    append_marked(&outq, "5\n", &owners[4]);
    outq_drop(&outq, &pool, &owners[2].mark);
    assert_gathers(&outq, "1\na\n2\n4\nb\n5\n", 6);
    outq_drop(&outq, &pool, &owners[3].mark);
    outq_drop(&outq, &pool, &owners[0].mark);
    assert_gathers(&outq, "a\n2\nb\n5\n", 4);
    outq_drop(&outq, &pool, &owners[4].mark);
    append(&outq, "c\n");
    assert_gathers(&outq, "a\n2\nb\nc\n", 4);
    outq_consume(&outq, &pool, 2);
    outq_drop(&outq, &pool, &owners[1].mark);
    assert_gathers(&outq, "b\nc\n", 2);
    outq_consume(&outq, &pool, 4);

    append_marked(&outq, "6\n", &owners[0]);
    outq_drop(&outq, &pool, &owners[0].mark);
    assert_true(outq_is_empty(&outq));
    append(&outq, "d\n");
    assert_gathers(&outq, "d\n", 1);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(owners[i].told, 0);
    outq_deinit(&outq, &pool);
}

/* One byte is enough; what is told is told once. */
static void test_written(void **state)
{
    struct outq outq;
    struct owner first, second;

    outq_init(&outq);
    append_marked(&outq, "first\n", &first);
    append_marked(&outq, "second\n", &second);
    outq_consume(&outq, &pool, 1);
    assert_told(&first, OUTQ_WRITTEN, "");
    assert_int_equal(second.told, 0);
    outq_consume(&outq, &pool, 5);
    assert_int_equal(second.told, 0);
    outq_drop(&outq, &pool, &second.mark);
    append_marked(&outq, "third\n", &second);
    outq_consume(&outq, &pool, 6);
    assert_told(&first, OUTQ_WRITTEN, "");
    assert_told(&second, OUTQ_WRITTEN, "");
    assert_true(outq_is_empty(&outq));
    outq_deinit(&outq, &pool);
}

/* What is taken keeps its bytes and fds, and can go into another queue. */
static void test_take(void **state)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct outq from, to;
    struct owner owner = {.mark.ended = on_ended};
    struct piece piece = put("with an fd\n"), taken;

    outq_init(&from);
    outq_init(&to);
    append(&from, "before\n");
    piece.fds = fds_new(&fd, 1);
    assert_int_equal(outq_append_marked(&from, &pool, &piece, &owner.mark), 0);
    fds_unref(piece.fds);
    assert_int_equal(from.fds, 1);
    outq_take(&from, &pool, &owner.mark, &taken);
    assert_int_equal(from.fds, 0);
    assert_gathers(&from, "before\n", 1);
    assert_int_equal(outq_append(&to, &pool, &taken), 0);
    chunk_unref(taken.chunk);
    fds_unref(taken.fds);
    assert_int_equal(to.fds, 1);
    assert_gathers(&to, "with an fd\n", 1);
    assert_int_equal(owner.told, 0);
    outq_deinit(&from, &pool);
    outq_deinit(&to, &pool);
}

static void test_refused(void **state)
{
    struct outq outq;
    struct owner owner;
    struct piece taken;

    outq_init(&outq);
    append_marked(&outq, "refused\n", &owner);
    outq_take_first(&outq, &pool, &taken);
    assert_told(&owner, OUTQ_REFUSED, "refused\n");
    chunk_unref(taken.chunk);
    outq_deinit(&outq, &pool);
}

static bool keep_without_x(struct span line, void *userdata)
{
    return !memchr(line.data, 'x', line.size);
}

/* What is kept keeps its mark. */
static void test_filtered(void **state)
{
    struct outq outq;
    struct owner kept, dropped, last;

    outq_init(&outq);
    append(&outq, "x\n");
    append_marked(&outq, "kept\n", &kept);
    append_marked(&outq, "x dropped\n", &dropped);
    append(&outq, "a\n");
    append_marked(&outq, "last\n", &last);
    assert_int_equal(outq_filter(&outq, &pool, keep_without_x, NULL), 0);
    assert_gathers(&outq, "kept\na\nlast\n", 3);
    assert_told(&dropped, OUTQ_FILTERED, "x dropped\n");
    assert_int_equal(kept.told + last.told, 0);
    outq_drop(&outq, &pool, &last.mark);
    outq_drop(&outq, &pool, &kept.mark);
    assert_gathers(&outq, "a\n", 1);
    outq_deinit(&outq, &pool);
}

/* A marked piece moves out of the turn's chunk like any other. */
static void test_settled(void **state)
{
    struct outq outq;
    struct owner owners[3];

    outq_init(&outq);
    append_marked(&outq, "1\n", &owners[0]);
    append_marked(&outq, "2\n", &owners[1]);
    outq_settle(&outq);
    append_marked(&outq, "3\n", &owners[2]);
    outq_drop(&outq, &pool, &owners[2].mark);
    outq_drop(&outq, &pool, &owners[1].mark);
    append_marked(&outq, "4\n", &owners[1]);
    outq_settle(&outq);
    assert_int_equal(arena.current->refs, 1);
    chunk_arena_reset(&arena);
    put("overwritten");
    assert_gathers(&outq, "1\n4\n", 2);
    outq_deinit(&outq, &pool);
}

#define OWNERS 12

/* Appends, drops, writes and settles at random; the queue is always what a list of
 * lines says. */
static void test_random_drops(void **state)
{
    struct random random = {.state = SEED};
    struct owner owners[OWNERS] = {{.told = 1}};
    struct outq outq;
    CLEANUP(text_deinit) struct text expected = TEXT_INIT;
    unsigned dropped = 0, written = 0;

    outq_init(&outq);
    for (unsigned i = 0; i < OWNERS; i++)
        owners[i].told = 1;
    for (unsigned step = 0; step < 20000; step++) {
        unsigned n = random_below(&random, OWNERS);
        struct owner *owner = &owners[n];
        char line[16];

        snprintf(line, sizeof(line), "%u.%u\n", n, step);
        if (owner->mark.item && random_one_in(&random, 2)) {
            char own[16];
            snprintf(own, sizeof(own), "%.*s", (int)owner->mark.item->piece.size,
                     owner->mark.item->piece.chunk->data + owner->mark.item->piece.offset);
            char *at = strstr(expected.data, own);
            assert_non_null(at);
            memmove(at, at + strlen(own), strlen(at + strlen(own)) + 1);
            expected.size -= strlen(own);
            outq_drop(&outq, &pool, &owner->mark);
            owner->told = 1;
            dropped++;
        } else if (!owner->mark.item && expected.size < 200) {
            assert_int_equal(owner->told, 1);
            append_marked(&outq, line, owner);
            text_append_string(&expected, line);
        } else if (random_one_in(&random, 3) && expected.size < 200) {
            /* No line is the end of another. */
            snprintf(line, sizeof(line), "-%u\n", step);
            append(&outq, line);
            text_append_string(&expected, line);
        }
        if (random_one_in(&random, 3))
            outq_settle(&outq);
        if (expected.size > 0 && random_one_in(&random, 4)) {
            size_t taken = 1 + random_below(&random, MIN((unsigned)expected.size, 9));
            outq_consume(&outq, &pool, taken);
            memmove(expected.data, expected.data + taken, expected.size - taken + 1);
            expected.size -= taken;
            written++;
        }
        size_t count;
        assert_string_equal(gathered(&outq, &count), expected.data ? expected.data : "");
        outq_settle(&outq);
        chunk_arena_reset(&arena);
    }
    assert_true(dropped > 1000 && written > 1000);
    outq_deinit(&outq, &pool);
    for (unsigned i = 0; i < OWNERS; i++)
        assert_true(owners[i].told == 1 && !owners[i].mark.item);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_alone),   TEST(test_drop_anywhere), TEST(test_written), TEST(test_take),
        TEST(test_refused), TEST(test_filtered),      TEST(test_settled), TEST(test_random_drops),
    };

    return cmocka_run_group_tests_name("outq-marks", tests, NULL, NULL);
}
