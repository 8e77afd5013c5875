/* SPDX-License-Identifier: MIT */
/*
 * Which batch of file descriptors belongs to which line: every case of protocol
 * section 3, on real descriptors, whose closing is counted.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "libbus/wire/fdqueue.h"
#include "tests/support/unit.h"

static int open_null(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static unsigned count_open(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static int setup(void **state)
{
    *state = (void *)(uintptr_t)count_open();
    return 0;
}

/* No test may leave a descriptor open, whatever it was about. */
static int teardown(void **state)
{
    if (count_open() == (unsigned)(uintptr_t)*state)
        return 0;
    print_error("file descriptors are left open\n");
    return -1;
}

static struct fds *batch(unsigned count, uint64_t end)
{
    int fd[FDS_MAX];

    for (unsigned i = 0; i < count; i++)
        fd[i] = open_null();
    struct fds *fds = fds_new(fd, count);
    assert_non_null(fds);
    fds->end = end;
    return fds;
}

static struct fds *truncated(unsigned count, uint64_t end)
{
    struct fds *fds = batch(count, end);

    fds->truncated = true;
    return fds;
}

static struct line line(uint64_t start, uint64_t end)
{
    return (struct line){.start = start, .end = end};
}

static enum fdqueue_result take(struct fdqueue *queue, uint64_t start, uint64_t end, unsigned count,
                                struct fds **ret_fds)
{
    struct line at = line(start, end);

    return fdqueue_take(queue, &at, count, ret_fds);
}

/* Takes the batch of a line, which must be `expected`, and closes it. */
static void take_expecting(struct fdqueue *queue, uint64_t start, uint64_t end, unsigned count,
                           struct fds *expected)
{
    struct fds *fds = (struct fds *)(uintptr_t)1;

    assert_int_equal(take(queue, start, end, count, &fds), FDQUEUE_OK);
    assert_ptr_equal(fds, expected);
    fds_unref(fds);
}

static void test_set(void **state)
{
    int fd[] = {open_null(), open_null()};
    struct fds *fds = fds_new(fd, 2);

    assert_int_equal(fds->count, 2);
    assert_int_equal(fds->refs, 1);
    assert_false(fds->truncated);
    assert_int_equal(fds->fd[0], fd[0]);
    assert_int_equal(fds->fd[1], fd[1]);
    assert_ptr_equal(fds_ref(fds), fds);
    assert_null(fds_unref(fds));
    assert_true(fcntl(fd[0], F_GETFD) >= 0);
    assert_null(fds_unref(fds));
    assert_int_equal(fcntl(fd[0], F_GETFD), -1);
    assert_int_equal(fcntl(fd[1], F_GETFD), -1);
    assert_null(fds_ref(NULL));
    assert_null(fds_unref(NULL));
}

static void release(struct fds *fds, void *userdata)
{
    *(struct fds **)userdata = fds;
}

static void test_release(void **state)
{
    struct fds *released = NULL, *fds = batch(2, 0);
    int first = fds->fd[0];

    fds->release = release;
    fds->userdata = &released;
    fds_ref(fds);
    fds_unref(fds);
    assert_null(released);
    fds_unref(fds);
    assert_ptr_equal(released, fds);
    assert_true(fcntl(first, F_GETFD) >= 0);
    /* fds_destroy() closes whatever `release` says. */
    fds_destroy(released);
    assert_int_equal(fcntl(first, F_GETFD), -1);
}

static void test_empty_set(void **state)
{
    struct fds *fds = fds_new(NULL, 0);

    assert_non_null(fds);
    assert_int_equal(fds->count, 0);
    fds_unref(fds);
}

#define QUEUE(name)                                                                                \
    CLEANUP(fdqueue_deinit) struct fdqueue name;                                                   \
    fdqueue_init(&name)

/* Lines without fds and no batch: nothing to do. */
static void test_nothing(void **state)
{
    QUEUE(queue);
    struct fds *fds = (struct fds *)(uintptr_t)1;

    assert_int_equal(take(&queue, 0, 10, 0, &fds), FDQUEUE_OK);
    assert_null(fds);
    assert_int_equal(take(&queue, 10, 20, 0, &fds), FDQUEUE_OK);
}

/* One read that is just the line: the batch ends where the line ends. */
static void test_exact(void **state)
{
    static const unsigned counts[] = {1, 2, 3, 16, 64, 253};

    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        QUEUE(queue);
        struct fds *fds = batch(counts[i], 10);
        fdqueue_push(&queue, fds);
        take_expecting(&queue, 0, 10, counts[i], fds);
    }
}

/* The first read brings one byte of the line and the batch, the rest comes later. */
static void test_first_byte(void **state)
{
    QUEUE(queue);
    struct fds *fds = batch(1, 1);

    fdqueue_push(&queue, fds);
    take_expecting(&queue, 0, 10, 1, fds);
    take_expecting(&queue, 10, 20, 0, NULL);
}

/* Older lines without fds come in the same read as the line with the batch. */
static void test_older_lines_in_same_read(void **state)
{
    QUEUE(queue);
    struct fds *fds = batch(2, 40);

    fdqueue_push(&queue, fds);
    take_expecting(&queue, 0, 10, 0, NULL);
    take_expecting(&queue, 10, 20, 0, NULL);
    take_expecting(&queue, 20, 40, 2, fds);
    take_expecting(&queue, 40, 50, 0, NULL);
}

/* … and of the line with the batch only the first byte is in it. */
static void test_older_lines_and_first_byte(void **state)
{
    QUEUE(queue);
    struct fds *fds = batch(1, 21);

    fdqueue_push(&queue, fds);
    take_expecting(&queue, 0, 10, 0, NULL);
    take_expecting(&queue, 10, 20, 0, NULL);
    take_expecting(&queue, 20, 40, 1, fds);
}

/* Several batches wait at once, each with its own count, in order. */
static void test_several_batches(void **state)
{
    QUEUE(queue);
    struct fds *first = batch(1, 10), *second = batch(3, 30), *third = batch(2, 40);

    fdqueue_push(&queue, first);
    fdqueue_push(&queue, second);
    fdqueue_push(&queue, third);
    take_expecting(&queue, 0, 10, 1, first);
    take_expecting(&queue, 10, 20, 0, NULL);
    take_expecting(&queue, 20, 30, 3, second);
    take_expecting(&queue, 30, 40, 2, third);
}

/* n declared, another number sent: never shifted, always ended. */
static void test_wrong_count(void **state)
{
    for (unsigned declared = 0; declared <= 17; declared++) {
        for (unsigned sent = 0; sent <= 17; sent++) {
            QUEUE(queue);
            struct fds *fds = NULL, *pushed = NULL;
            if (sent > 0)
                fdqueue_push(&queue, pushed = batch(sent, 10));
            enum fdqueue_result result = take(&queue, 0, 10, declared, &fds);
            if (declared == sent) {
                assert_int_equal(result, FDQUEUE_OK);
                assert_ptr_equal(fds, pushed);
                fds_unref(fds);
            } else {
                assert_int_equal(result, FDQUEUE_MISMATCH);
            }
        }
    }
}

/* A claim whose batch is another line's: one claims 2, two batches of 1 came. */
static void test_no_gathering(void **state)
{
    QUEUE(queue);
    struct fds *fds;

    fdqueue_push(&queue, batch(1, 5));
    fdqueue_push(&queue, batch(1, 10));
    assert_int_equal(take(&queue, 0, 10, 2, &fds), FDQUEUE_MISMATCH);
}

/* One batch of 2 is not two lines' with one each. */
static void test_no_splitting(void **state)
{
    QUEUE(queue);
    struct fds *fds;

    fdqueue_push(&queue, batch(2, 20));
    assert_int_equal(take(&queue, 0, 10, 1, &fds), FDQUEUE_MISMATCH);
}

/* A batch that no line claims is found at the line it ended with, … */
static void test_unclaimed(void **state)
{
    QUEUE(queue);
    struct fds *fds;

    fdqueue_push(&queue, batch(1, 10));
    assert_int_equal(take(&queue, 0, 10, 0, &fds), FDQUEUE_MISMATCH);
}

/* … or inside of which it came, … */
static void test_unclaimed_inside(void **state)
{
    QUEUE(queue);
    struct fds *fds;

    fdqueue_push(&queue, batch(1, 15));
    assert_int_equal(take(&queue, 0, 10, 0, &fds), FDQUEUE_OK);
    assert_int_equal(take(&queue, 10, 20, 0, &fds), FDQUEUE_MISMATCH);
}

/* … or at the first line after it, should blank ones have been in between. */
static void test_unclaimed_before(void **state)
{
    QUEUE(queue);
    struct fds *fds;

    fdqueue_push(&queue, batch(1, 10));
    assert_int_equal(take(&queue, 12, 20, 1, &fds), FDQUEUE_MISMATCH);
}

/* A batch from before the line must not be its, whatever the number. */
static void test_stale(void **state)
{
    QUEUE(queue);
    struct fds *fds;

    fdqueue_push(&queue, batch(1, 10));
    fdqueue_push(&queue, batch(1, 20));
    assert_int_equal(take(&queue, 10, 20, 1, &fds), FDQUEUE_MISMATCH);
}

static void test_claim_without_batch(void **state)
{
    QUEUE(queue);
    struct fds *fds;

    assert_int_equal(take(&queue, 0, 10, 1, &fds), FDQUEUE_MISMATCH);
}

/* Cut short by the kernel: that line alone suffers. */
static void test_truncated(void **state)
{
    QUEUE(queue);
    struct fds *fds, *next = batch(1, 20);

    fdqueue_push(&queue, truncated(2, 10));
    fdqueue_push(&queue, next);
    assert_int_equal(take(&queue, 0, 10, 5, &fds), FDQUEUE_TRUNCATED);
    take_expecting(&queue, 10, 20, 1, next);
}

/* Not even one of them came. */
static void test_truncated_to_nothing(void **state)
{
    QUEUE(queue);
    struct fds *fds;

    fdqueue_push(&queue, truncated(0, 10));
    assert_int_equal(take(&queue, 0, 10, 1, &fds), FDQUEUE_TRUNCATED);
    take_expecting(&queue, 10, 20, 0, NULL);
}

/* A truncated batch that the line did not declare is the sender's crime as ever. */
static void test_truncated_unclaimed(void **state)
{
    QUEUE(queue);
    struct fds *fds;

    fdqueue_push(&queue, truncated(1, 10));
    assert_int_equal(take(&queue, 0, 10, 0, &fds), FDQUEUE_MISMATCH);
}

/* A line that could not be read takes its batch with it … */
static void test_skip(void **state)
{
    QUEUE(queue);
    struct line bad = line(0, 10);
    struct fds *next = batch(1, 20);

    fdqueue_push(&queue, batch(3, 10));
    fdqueue_push(&queue, next);
    fdqueue_skip(&queue, &bad);
    take_expecting(&queue, 10, 20, 1, next);
}

/* … all of them, if it came in many pieces with one each … */
static void test_skip_many(void **state)
{
    QUEUE(queue);
    struct line bad = line(0, 1000);
    struct fds *next = batch(2, 1010);

    for (uint64_t end = 100; end <= 1000; end += 100)
        fdqueue_push(&queue, batch(1, end));
    fdqueue_push(&queue, next);
    fdqueue_skip(&queue, &bad);
    take_expecting(&queue, 1000, 1010, 2, next);
}

/* … but not that of a later line which came in the same read. */
static void test_skip_keeps_later(void **state)
{
    QUEUE(queue);
    struct line bad = line(0, 10);
    struct fds *later = batch(1, 20);

    fdqueue_push(&queue, later);
    fdqueue_skip(&queue, &bad);
    take_expecting(&queue, 10, 20, 1, later);
    fdqueue_skip(&queue, &bad);
}

/* What is left when a connection ends is closed; the teardown counts. */
static void test_deinit(void **state)
{
    QUEUE(queue);

    fdqueue_push(&queue, batch(3, 10));
    fdqueue_push(&queue, truncated(1, 20));
    fdqueue_push(&queue, batch(253, 30));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_set),
        TEST(test_release),
        TEST(test_empty_set),
        TEST(test_nothing),
        TEST(test_exact),
        TEST(test_first_byte),
        TEST(test_older_lines_in_same_read),
        TEST(test_older_lines_and_first_byte),
        TEST(test_several_batches),
        TEST(test_wrong_count),
        TEST(test_no_gathering),
        TEST(test_no_splitting),
        TEST(test_unclaimed),
        TEST(test_unclaimed_inside),
        TEST(test_unclaimed_before),
        TEST(test_stale),
        TEST(test_claim_without_batch),
        TEST(test_truncated),
        TEST(test_truncated_to_nothing),
        TEST(test_truncated_unclaimed),
        TEST(test_skip),
        TEST(test_skip_many),
        TEST(test_skip_keeps_later),
        TEST(test_deinit),
    };

    return cmocka_run_group_tests_name("fdqueue", tests, NULL, NULL);
}
