/* SPDX-License-Identifier: MIT */
/* The event loop: one fd that is readable exactly when there is something to do,
 * and the loops that the library brings along. */
#include "tests/unit/client-fixture.h"

#include <signal.h>

static void subscribe(struct fixture *f, bus_message_handler handler, void *userdata)
{
    fixture_say(f,
                "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":1,\"body\":{\"subscription\":1}}");
    assert_int_equal(bus_subscribe(f->bus, "#", NULL, handler, userdata, NULL, NULL), 0);
    free(fixture_hear(f));
}

static void say_event(struct fixture *f, int number)
{
    fixture_say(f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\",\"body\":%d}", number);
}

static void test_fd_is_made_late(void **state)
{
    struct fixture f;
    struct diary diary = {0};

    fixture_begin(&f);
    subscribe(&f, diary_message, &diary);
    assert_int_equal(bus_publish_text(f.bus, "a", NULL, 0), 0);
    assert_int_equal(
        bus_call_text_async(f.bus, "org.x", "M", NULL, 0, 100, diary_message, &diary, NULL), 0);
    assert_int_equal(fixture_pump(&f), 0);
    /* The socketpair and nothing else. */
    assert_int_equal(fixture_count_fds(), f.fds_before + 2);
    int fd = bus_get_fd(f.bus);
    assert_true(fd >= 0);
    assert_int_equal(bus_get_fd(f.bus), fd);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_false(fd_is_readable(fd));
    fixture_end(&f);
}

static void test_fd_with_work_waiting(void **state)
{
    struct fixture f;
    struct diary diary = {0};

    /* Whatever there was to do before the fd was asked for. */
    fixture_begin(&f);
    assert_int_equal(bus_publish_text(f.bus, "a", NULL, 0), 0);
    assert_true(fd_is_readable(bus_get_fd(f.bus)));
    assert_int_equal(bus_process(f.bus), 1);
    assert_false(fd_is_readable(bus_get_fd(f.bus)));
    fixture_end(&f);

    fixture_begin(&f);
    subscribe(&f, diary_message, &diary);
    say_event(&f, 1);
    assert_true(fd_is_readable(bus_get_fd(f.bus)));
    fixture_end(&f);

    fixture_begin(&f);
    fixture_hang_up(&f);
    assert_int_equal(bus_call_text(f.bus, "org.x", "M", NULL, 0, 100, NULL, NULL), -ECONNRESET);
    int fd = bus_get_fd(f.bus);
    assert_true(fd_is_readable(fd));
    assert_int_equal(bus_process(f.bus), -ECONNRESET);
    assert_false(fd_is_readable(fd));
    fixture_end(&f);
}

static void test_fd_for_output(void **state)
{
    struct fixture f;

    fixture_begin(&f);
    int fd = bus_get_fd(f.bus);
    assert_false(fd_is_readable(fd));
    assert_int_equal(bus_process(f.bus), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(bus_publish_text(f.bus, "a", NULL, 0), 0);
        assert_true(fd_is_readable(fd));
        assert_int_equal(bus_wait(f.bus, UINT64_MAX), 1);
    }
    assert_int_equal(bus_process(f.bus), 1);
    assert_false(fd_is_readable(fd));
    assert_int_equal(bus_process(f.bus), 0);
    /* Flushed by other means: there is nothing left to do. */
    assert_int_equal(bus_publish_text(f.bus, "a", NULL, 0), 0);
    assert_int_equal(bus_flush(f.bus, 100), 0);
    assert_false(fd_is_readable(fd));
    assert_int_equal(bus_publish_text(f.bus, "a", NULL, 0), 0);
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"reply\",\"id\":1}");
    assert_int_equal(bus_call_text(f.bus, "org.x", "M", NULL, 0, 100, NULL, NULL), 0);
    assert_false(fd_is_readable(fd));
    fixture_end(&f);
}

static void publish_back(struct bus_message *message, void *userdata)
{
    int *count = userdata;

    (*count)++;
    assert_int_equal(bus_publish_text(bus_message_bus(message), "b", NULL, 0), 0);
}

static void test_callbacks_write_once(void **state)
{
    struct fixture f;
    int count = 0;

    fixture_begin(&f);
    subscribe(&f, publish_back, &count);
    int fd = bus_get_fd(f.bus);
    for (int i = 0; i < 10; i++)
        say_event(&f, i);
    assert_true(fd_is_readable(fd));
    assert_int_equal(bus_process(f.bus), 1);
    assert_int_equal(count, 10);
    assert_false(fd_is_readable(fd));
    assert_int_equal(bus_output_size(f.bus), 0);
    for (int i = 0; i < 10; i++)
        fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"b\"}");
    fixture_end(&f);
}

static void stop_at_three(struct bus_message *message, void *userdata)
{
    int *count = userdata;

    if (++*count == 3)
        bus_stop(bus_message_bus(message));
}

static void test_run_and_stop(void **state)
{
    struct fixture f;
    int count = 0;

    fixture_begin(&f);
    subscribe(&f, stop_at_three, &count);
    int fd = bus_get_fd(f.bus);
    bus_stop(f.bus); /* nothing runs */
    for (int i = 0; i < 5; i++)
        say_event(&f, i);
    assert_int_equal(bus_run(f.bus), 0);
    assert_int_equal(count, 3);
    /* The others wait for the next round. */
    assert_true(fd_is_readable(fd));
    assert_int_equal(bus_wait(f.bus, 0), 1);
    fixture_hang_up(&f);
    assert_int_equal(bus_run(f.bus), -ECONNRESET);
    assert_int_equal(count, 5);
    fixture_end(&f);
}

static void run_inside(struct bus_message *message, void *userdata)
{
    int *count = userdata;

    if (++*count == 1) {
        assert_int_equal(bus_run(bus_message_bus(message)), 0);
        assert_int_equal(*count, 2);
        bus_stop(bus_message_bus(message));
    } else {
        bus_stop(bus_message_bus(message));
    }
}

static void test_run_inside_run(void **state)
{
    struct fixture f;
    int count = 0;

    fixture_begin(&f);
    subscribe(&f, run_inside, &count);
    for (int i = 0; i < 3; i++)
        say_event(&f, i);
    assert_int_equal(bus_run(f.bus), 0);
    assert_int_equal(count, 2);
    assert_int_equal(bus_process(f.bus), 1);
    assert_int_equal(count, 3);
    fixture_end(&f);
}

static void process_inside(struct bus_message *message, void *userdata)
{
    struct diary *diary = userdata;
    struct bus *bus = bus_message_bus(message);

    diary_message(message, diary);
    int r = bus_process(bus);
    assert_in_range(r, 0, 1);
    diary_note(diary, "done");
    if (r == 1)
        assert_string_equal(bus_message_topic(message), "a");
}

static void test_process_inside_callback(void **state)
{
    struct fixture f;
    struct diary diary = {0};

    fixture_begin(&f);
    subscribe(&f, process_inside, &diary);
    for (int i = 1; i <= 3; i++)
        say_event(&f, i);
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "a 1\na 2\na 3\ndone\ndone\ndone\n");
    fixture_end(&f);
}

static void unref_inside(struct bus_message *message, void *userdata)
{
    struct fixture *f = userdata;

    f->bus = bus_unref(f->bus);
}

static void test_let_go_inside_run(void **state)
{
    struct fixture f;

    fixture_begin(&f);
    subscribe(&f, unref_inside, &f);
    say_event(&f, 1);
    assert_int_equal(bus_run(f.bus), -ECONNRESET);
    assert_null(f.bus);
    fixture_end(&f);
}

static void on_alarm(int signal)
{
}

static void test_signals(void **state)
{
    struct fixture f;
    struct sigaction action = {.sa_handler = on_alarm}, before;
    struct itimerval timer = {.it_value = {0, 20000}};

    fixture_begin(&f);
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
    assert_int_equal(bus_wait(f.bus, 5000), -EINTR);
    /* A blocking call does not care. */
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
    uint64_t start = fixture_now();
    assert_int_equal(bus_call_text(f.bus, "org.x", "M", NULL, 0, 1, NULL, NULL), -ETIMEDOUT);
    assert_true(fixture_now() - start >= 1000);
    assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
    fixture_end(&f);
}

static void test_wait_times(void **state)
{
    struct fixture f;

    fixture_begin(&f);
    uint64_t start = fixture_now();
    assert_int_equal(bus_wait(f.bus, 30), 0);
    assert_in_range(fixture_now() - start, 30, 500);
    assert_int_equal(bus_wait(f.bus, 0), 0);
    fixture_hang_up(&f);
    assert_int_equal(bus_wait(f.bus, UINT64_MAX), 1);
    assert_int_equal(bus_process(f.bus), -ECONNRESET);
    assert_int_equal(bus_wait(f.bus, UINT64_MAX), -ECONNRESET);
    fixture_end(&f);
}

static void test_flush_times(void **state)
{
    struct fixture f;
    char text[1000];

    memset(text, ' ', sizeof(text));
    text[0] = '1';
    fixture_begin(&f);
    assert_int_equal(bus_flush(f.bus, 0), 0);
    while (bus_publish_text(f.bus, "a", text, sizeof(text)) == 0)
        ;
    uint64_t start = fixture_now();
    assert_int_equal(bus_flush(f.bus, 30), -ETIMEDOUT);
    assert_in_range(fixture_now() - start, 30, 500);
    fixture_hang_up(&f);
    assert_int_equal(bus_flush(f.bus, UINT64_MAX), -ECONNRESET);
    assert_int_equal(bus_output_size(f.bus), 0);
    assert_false(bus_is_connected(f.bus));
    assert_int_equal(fixture_pump(&f), -ECONNRESET);
    fixture_end(&f);
}

/* A timer for a call that has been answered meanwhile: one look at nothing. */
static void test_timer_of_answered_call(void **state)
{
    struct fixture f;
    struct diary diary = {0};

    fixture_begin(&f);
    int fd = bus_get_fd(f.bus);
    assert_int_equal(
        bus_call_text_async(f.bus, "org.x", "M", NULL, 0, 1, diary_message, &diary, NULL), 0);
    assert_int_equal(bus_process(f.bus), 1);
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"reply\",\"id\":1}");
    assert_int_equal(bus_process(f.bus), 1);
    diary_expect(&diary, "reply null\n");
    assert_false(fd_is_readable(fd));
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, 1500), 1);
    assert_int_equal(bus_process(f.bus), 0);
    assert_false(fd_is_readable(fd));
    assert_int_equal(poll(&poll_fd, 1, 50), 0);
    fixture_end(&f);
}

/* A read that fills the buffer may leave answers in the socket; the next one knows. */
static void test_deadline_after_full_reads(void **state)
{
    static char spaces[64 * 1024];
    struct fixture f;
    struct diary diary = {0};

    fixture_begin(&f);
    memset(spaces, '\n', sizeof(spaces));
    assert_int_equal(
        bus_call_text_async(f.bus, "org.x", "M", NULL, 0, 1, diary_message, &diary, NULL), 0);
    usleep(1100 * 1000);
    /* Whatever size the buffer has. */
    for (size_t size = 16 * 1024; size <= sizeof(spaces); size *= 2) {
        fixture_say_bytes(&f, spaces, size);
        assert_int_equal(bus_process(f.bus), 1);
    }
    fixture_pump(&f);
    diary_expect(&diary, "error bus.Timeout\n");
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fd_is_made_late),
        cmocka_unit_test(test_fd_with_work_waiting),
        cmocka_unit_test(test_fd_for_output),
        cmocka_unit_test(test_callbacks_write_once),
        cmocka_unit_test(test_run_and_stop),
        cmocka_unit_test(test_run_inside_run),
        cmocka_unit_test(test_process_inside_callback),
        cmocka_unit_test(test_let_go_inside_run),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_wait_times),
        cmocka_unit_test(test_flush_times),
        cmocka_unit_test(test_timer_of_answered_call),
        cmocka_unit_test(test_deadline_after_full_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
