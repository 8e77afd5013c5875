/* SPDX-License-Identifier: MIT */
/*
 * Closing what takes long, without a daemon around it: who waits for whom, how many
 * threads there are, what is charged to whom, and what becomes of it when there are no
 * threads to be had.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "busd/lane.h"
#include "tests/support/lingering.h"
#include "tests/support/process.h"
#include "tests/support/unit.h"

/* What does not happen within that time does not happen. */
#define PATIENCE_MS 5000
#define LINGER      60
#define MANY        (CLOSER_THREADS + 6)

struct fixture {
    uv_loop_t loop;
    struct log log;
    struct limits limits;
    struct quotas quotas;
    struct lanes lanes;
    struct list resumed;
    unsigned users;
};

/* ------------------------------------------------------- no more threads */

static bool no_threads;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                   void *argument)
{
    static __typeof__(pthread_create) *next;

    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
    return no_threads ? EAGAIN : next(thread, attributes, start, argument);
}

/* ------------------------------------------------------------- fixture */

static void begin(struct fixture *f)
{
    *f = (struct fixture){0};
    no_threads = false;
    assert_int_equal(uv_loop_init(&f->loop), 0);
    log_init(&f->log, LOG_LEVEL_ERROR);
    limits_init(&f->limits, true);
    quotas_init(&f->quotas, &f->limits);
    list_init(&f->resumed);
    assert_int_equal(lanes_init(&f->lanes, &f->loop, &f->log, &f->resumed), 0);
}

static void end(struct fixture *f)
{
    lanes_close(&f->lanes);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    lanes_deinit(&f->lanes);
    quotas_deinit(&f->quotas);
    log_deinit(&f->log);
}

/* Another user's. */
static struct lane *make_lane(struct fixture *f)
{
    struct quota_user *user = quotas_get_user(&f->quotas, 1000 + f->users++);
    struct lane *lane = lane_get(&f->lanes, user);

    assert_non_null(lane);
    quota_user_unref(user);
    return lane;
}

static void on_timeout(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Runs the loop until the count is what is wanted; false if it does not become that. */
static bool becomes(struct fixture *f, uint64_t (*count)(struct lane *lane), struct lane *lane,
                    uint64_t wanted, unsigned timeout)
{
    bool over = false;
    uv_timer_t timer, pulse;
    bool pulsed;

    uv_timer_init(&f->loop, &timer);
    uv_timer_init(&f->loop, &pulse);
    timer.data = &over;
    pulse.data = &pulsed;
    uv_timer_start(&timer, on_timeout, timeout, 0);
    /* Threads do not wake the loop when all is well. */
    uv_timer_start(&pulse, on_timeout, 1, 1);
    while (!over && count(lane) != wanted)
        uv_run(&f->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_close((uv_handle_t *)&pulse, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    return count(lane) == wanted;
}

static uint64_t pending(struct lane *lane)
{
    return closer_pending(&lane->closing, CLOSER_FDS);
}

static uint64_t pending_sockets(struct lane *lane)
{
    return closer_pending(&lane->closing, CLOSER_SOCKETS);
}

static uint64_t charged(struct lane *lane)
{
    return lane->user->used[QUOTA_FDS];
}

static uint64_t charged_sockets(struct lane *lane)
{
    return lane->user->used[QUOTA_CONNECTIONS];
}

static unsigned count_threads(struct closer *closer)
{
    pthread_mutex_lock(&closer->mutex);
    unsigned count = closer->threads;
    pthread_mutex_unlock(&closer->mutex);
    return count;
}

static uint64_t threads(struct lane *lane)
{
    return count_threads(lane->lanes->closer);
}

#define BECOMES(count, lane, wanted) assert_true(becomes(&f, count, lane, wanted, PATIENCE_MS))

/* A set of the lane's, as it arrives and is let go of. */
static void pass(struct lane *lane, int fd)
{
    struct fds *fds = fds_new(&fd, 1);

    assert_non_null(fds);
    lane_adopt(lane, fds);
    fds_unref(fds);
}

static void pass_files(struct lane *lane, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        pass(lane, fd);
    }
}

static int pass_lingering(struct lane *lane)
{
    int other;

    pass(lane, lingering_open(LINGER, &other));
    return other;
}

/* ------------------------------------------------------------- lanes */

/* What is closed at once is: with one thread, and nothing to pay. */
static void test_at_once(void **state)
{
    struct fixture f;

    begin(&f);
    assert_int_equal(closer_start(f.lanes.closer), 0);
    struct lane *a = make_lane(&f);
    for (unsigned i = 0; i < 20; i++) {
        pass_files(a, 50);
        BECOMES(pending, a, 0);
        assert_int_equal(charged(a), 0);
    }
    assert_int_equal(threads(a), 1);
    lane_unref(a);
    end(&f);
}

/* A user's sockets that linger keep one thread, however many there are, and nobody
 * else's file descriptors. */
static void test_nobody_waits(void **state)
{
    struct fixture f;
    int other[5];

    begin(&f);
    struct lane *a = make_lane(&f);
    struct lane *b = make_lane(&f);
    for (unsigned i = 0; i < ARRAY_SIZE(other); i++)
        other[i] = pass_lingering(a);
    pass_files(b, 100);
    uint64_t begun = process_now();
    BECOMES(pending, b, 0);
    assert_true(process_now() < begun + 1000);
    BECOMES(charged, a, 5);
    for (unsigned i = 0; i < 20; i++) {
        pass_files(b, 100);
        BECOMES(pending, b, 0);
    }
    assert_int_equal(pending(a), 5);
    assert_int_equal(threads(a), 2);
    assert_int_equal(charged(b), 0);

    /* They are closed in their order, and none is charged any longer than that. */
    for (unsigned i = 0; i < ARRAY_SIZE(other); i++) {
        lingering_release(other[i]);
        BECOMES(pending, a, 4 - i);
        BECOMES(charged, a, 4 - i);
    }
    BECOMES(threads, a, 1);
    assert_false(a->closing.slow);
    lane_unref(a);
    lane_unref(b);
    end(&f);
}

/* Sockets of connections are charged like connections. */
static void test_sockets(void **state)
{
    struct fixture f;
    int other[2];

    begin(&f);
    f.limits.connections_per_user = 2;
    struct lane *a = make_lane(&f);
    assert_true(lane_has_room(a));
    for (unsigned i = 0; i < ARRAY_SIZE(other); i++) {
        int fd = lingering_open(LINGER, &other[i]);
        lane_put(a, CLOSER_SOCKETS, fds_new(&fd, 1));
    }
    BECOMES(charged_sockets, a, 2);
    assert_int_equal(charged(a), 0);
    lingering_release(other[0]);
    lingering_release(other[1]);
    BECOMES(pending_sockets, a, 0);
    BECOMES(charged_sockets, a, 0);
    assert_true(lane_has_room(a));
    lane_unref(a);
    end(&f);
}

static int put_connection(struct lane *lane, bool is_quick)
{
    int fd[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    lane_put_connection(lane, fds_new(fd, 1), is_quick);
    return fd[1];
}

/* A connection that waits behind what takes long is over for its other end all the same;
 * and where many wait, those that need not are not among them. */
static void test_connections(void **state)
{
    struct fixture f;
    char byte;
    int other;

    begin(&f);
    struct lane *a = make_lane(&f);
    int fd = lingering_open(LINGER, &other);
    lane_put(a, CLOSER_SOCKETS, fds_new(&fd, 1));
    BECOMES(charged_sockets, a, 1);
    for (unsigned i = 0; i < 20; i++) {
        int end = put_connection(a, false);
        assert_int_equal(recv(end, &byte, 1, MSG_DONTWAIT), 0);
        close(end);
    }
    assert_int_equal(pending_sockets(a), 21);
    for (unsigned i = 0; i < 20; i++) {
        int end = put_connection(a, true);
        assert_int_equal(recv(end, &byte, 1, MSG_DONTWAIT), 0);
        close(end);
    }
    assert_int_equal(pending_sockets(a), 21);
    assert_int_equal(charged_sockets(a), 21);

    f.limits.connections_per_user = 2;
    assert_true(lane_has_room(a));
    for (unsigned i = 0; i < 20; i++)
        close(put_connection(a, false));
    assert_false(lane_has_room(a));
    f.limits.connections_per_user = 100;
    assert_true(lane_has_room(a));
    lingering_release(other);
    BECOMES(charged_sockets, a, 0);
    lane_unref(a);
    end(&f);
}

/* What is pending outlives the connections of its user, and stays charged; the user is
 * forgotten once nothing is. */
static void test_leaving(void **state)
{
    struct fixture f;

    begin(&f);
    struct lane *a = make_lane(&f);
    struct lane *b = make_lane(&f);
    int other = pass_lingering(a);
    BECOMES(charged, a, 1);
    struct quota_user *user = a->user;
    lane_unref(a);
    pass_files(b, 10);
    assert_ptr_equal(user->lane, a);
    assert_ptr_equal(lane_get(&f.lanes, user), a);
    lane_unref(a);
    assert_int_equal(f.quotas.users.count, 2);
    lingering_release(other);
    BECOMES(pending, a, 0);
    for (unsigned i = 0; i < 100 && f.quotas.users.count == 2; i++) {
        pass_files(b, 1);
        usleep(1000);
    }
    assert_int_equal(f.quotas.users.count, 1);
    lane_unref(b);
    end(&f);
}

/* ------------------------------------------------------------- pausing */

/* Whoever has passed more than is closed is paused, and goes on when half of it is. */
static void test_pause(void **state)
{
    struct fixture f;
    struct list waiting;
    int other[5];

    begin(&f);
    f.limits.fds_per_user = 4;
    struct lane *a = make_lane(&f);
    list_init(&waiting);
    for (unsigned i = 0; i < 4; i++)
        other[i] = pass_lingering(a);
    assert_false(a->full);
    other[4] = pass_lingering(a);
    assert_true(a->full);
    list_append(&a->paused, &waiting);
    BECOMES(charged, a, 0);
    lingering_release(other[0]);
    lingering_release(other[1]);
    BECOMES(pending, a, 3);
    assert_true(a->full);
    assert_true(list_is_empty(&f.resumed));
    lingering_release(other[2]);
    BECOMES(pending, a, 2);
    BECOMES(charged, a, 2);
    assert_false(a->full);
    assert_ptr_equal(list_first(&f.resumed), &waiting);
    list_remove(&waiting);
    lingering_release(other[3]);
    lingering_release(other[4]);
    BECOMES(pending, a, 0);
    lane_unref(a);
    end(&f);
}

/* Many at once that are closed at once only wait for a moment, if at all. */
static void test_short_pause(void **state)
{
    struct fixture f;
    struct list waiting;

    begin(&f);
    f.limits.fds_per_user = 0;
    struct lane *a = make_lane(&f);
    list_init(&waiting);
    for (unsigned i = 0; i < 100; i++) {
        pass_files(a, 20);
        if (a->full)
            list_append(&a->paused, &waiting);
        uint64_t begun = process_now();
        while (a->full)
            uv_run(&f.loop, UV_RUN_ONCE);
        assert_true(process_now() < begun + 1000);
        list_remove(&waiting);
        assert_int_equal(charged(a), 0);
    }
    lane_unref(a);
    end(&f);
}

/* ------------------------------------------------------------- threads */

/* More users than threads: what waits is charged, and is closed later. */
static void test_many(void **state)
{
    struct fixture f;
    struct lane *lanes[MANY];
    int other[MANY];

    begin(&f);
    for (unsigned i = 0; i < MANY; i++) {
        lanes[i] = make_lane(&f);
        other[i] = pass_lingering(lanes[i]);
    }
    for (unsigned i = 0; i < MANY; i++)
        BECOMES(charged, lanes[i], 1);
    assert_int_equal(threads(lanes[0]), CLOSER_THREADS);
    struct lane *b = make_lane(&f);
    pass_files(b, 10);
    BECOMES(charged, b, 10);
    lingering_release(other[3]);
    for (unsigned i = 0; i < MANY; i++)
        if (i != 3)
            lingering_release(other[i]);
    for (unsigned i = 0; i < MANY; i++)
        BECOMES(charged, lanes[i], 0);
    BECOMES(charged, b, 0);
    assert_int_equal(pending(b), 0);
    BECOMES(threads, b, 1);
    for (unsigned i = 0; i < MANY; i++)
        lane_unref(lanes[i]);
    lane_unref(b);
    end(&f);
}

/* Many become slow at the same time: the one that does not has its turn all the same. */
static void test_many_at_once(void **state)
{
    struct fixture f;
    struct lane *lanes[32];
    int other[32];

    begin(&f);
    for (unsigned i = 0; i < ARRAY_SIZE(lanes); i++) {
        lanes[i] = make_lane(&f);
        other[i] = pass_lingering(lanes[i]);
    }
    struct lane *b = make_lane(&f);
    pass_files(b, 10);
    uint64_t begun = process_now();
    BECOMES(pending, b, 0);
    uint64_t took = process_now() - begun;
    CHECK(took < 1000, "it took %llu ms", (unsigned long long)took);
    for (unsigned i = 0; i < ARRAY_SIZE(lanes); i++) {
        lingering_release(other[i]);
        lane_unref(lanes[i]);
    }
    lane_unref(b);
    end(&f);
}

/* No second thread is to be had: lanes wait, at their users' expense, and go on when
 * there is one again. */
static void test_no_second_thread(void **state)
{
    struct fixture f;

    begin(&f);
    assert_int_equal(closer_start(f.lanes.closer), 0);
    no_threads = true;
    struct lane *a = make_lane(&f);
    struct lane *b = make_lane(&f);
    int other = pass_lingering(a);
    pass_files(b, 3);
    BECOMES(charged, a, 1);
    BECOMES(charged, b, 3);
    assert_int_equal(pending(b), 3);
    assert_int_equal(threads(b), 1);
    no_threads = false;
    BECOMES(pending, b, 0);
    BECOMES(charged, b, 0);
    assert_int_equal(pending(a), 1);

    /* Or when the first one is free. */
    BECOMES(threads, b, 2);
    lingering_release(other);
    BECOMES(threads, b, 1);
    no_threads = true;
    other = pass_lingering(a);
    BECOMES(charged, a, 1);
    pass_files(b, 3);
    BECOMES(charged, b, 3);
    lingering_release(other);
    BECOMES(pending, b, 0);
    BECOMES(charged, b, 0);
    lane_unref(a);
    lane_unref(b);
    end(&f);
}

/* Not even the first. */
static void test_no_thread(void **state)
{
    struct fixture f;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    begin(&f);
    no_threads = true;
    assert_int_equal(closer_start(f.lanes.closer), -EAGAIN);
    struct lane *a = make_lane(&f);
    pass(a, dup(fd));
    BECOMES(charged, a, 1);
    no_threads = false;
    BECOMES(pending, a, 0);
    lane_unref(a);
    end(&f);

    begin(&f);
    no_threads = true;
    a = make_lane(&f);
    pass(a, fd);
    lane_unref(a);
    end(&f);
    /* The end of the process would have closed it. */
    assert_int_equal(close(fd), 0);
}

/* ------------------------------------------------------------- the end */

/* What is left behind when the end does not wait any longer. */
static struct {
    struct closer *closer;
    struct lane *lane;
} left;

static void test_end(void **state)
{
    struct fixture f;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    begin(&f);
    struct lane *a = left.lane = make_lane(&f);
    left.closer = f.lanes.closer;
    int other = pass_lingering(a);
    pass(a, fd);
    BECOMES(charged, a, 2);
    lane_unref(a);
    uint64_t begun = process_now();
    end(&f);
    uint64_t took = process_now() - begun;
    CHECK(took >= CLOSER_END_MS && took < 3 * CLOSER_END_MS, "it took %llu ms",
          (unsigned long long)took);

    /* The thread that has been left behind comes to an end by itself. */
    lingering_release(other);
    while (count_threads(left.closer) > 0 && process_now() < begun + 2 * PATIENCE_MS)
        usleep(1000);
    assert_int_equal(count_threads(left.closer), 0);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_once),      cmocka_unit_test(test_nobody_waits),
        cmocka_unit_test(test_sockets),      cmocka_unit_test(test_connections),
        cmocka_unit_test(test_leaving),      cmocka_unit_test(test_pause),
        cmocka_unit_test(test_short_pause),  cmocka_unit_test(test_many),
        cmocka_unit_test(test_many_at_once), cmocka_unit_test(test_no_second_thread),
        cmocka_unit_test(test_no_thread),    cmocka_unit_test(test_end),
    };

    return cmocka_run_group_tests_name("closer", tests, NULL, NULL);
}
