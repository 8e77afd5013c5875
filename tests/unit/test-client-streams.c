/* SPDX-License-Identifier: MIT */
/* Calls with several replies, as a caller that iterates or has a handler. */
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "tests/unit/client-fixture.h"

/* How much an iteration keeps before it stops reading, see bus_stream_open(). */
#define KEPT_MAX 256

static struct bus_message *new_call(struct fixture *f, uint64_t timeout)
{
    struct bus_message *call;

    assert_int_equal(bus_message_new_call(f->bus, "org.x", "List", &call), 0);
    assert_int_equal(bus_message_set_more(call, true), 0);
    assert_int_equal(bus_message_set_timeout(call, timeout), 0);
    return call;
}

static void say_item(struct fixture *f, int id, int number)
{
    fixture_say(f,
                "{\"sender\":\":7\",\"type\":\"reply\",\"to\":\":42\",\"id\":%d,\"more\":true,"
                "\"body\":%d}",
                id, number);
}

static void say_final(struct fixture *f, int id)
{
    fixture_say(f, "{\"sender\":\":7\",\"type\":\"reply\",\"to\":\":42\",\"id\":%d,\"body\":0}",
                id);
}

/* --------------------------------------------------- the caller, by handler */

static void note_reply(struct bus_message *message, void *userdata)
{
    diary_note(userdata, "%s", bus_message_has_more(message) ? "item" : "last");
    diary_message(message, userdata);
}

static void call_async(struct fixture *f, uint64_t timeout, bus_message_handler handler,
                       void *userdata, struct bus_slot **ret_slot)
{
    struct bus_message *call = new_call(f, timeout);

    assert_int_equal(bus_call_async(call, handler, userdata, ret_slot), 0);
    bus_message_unref(call);
}

static void test_handler(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_slot *slot;

    fixture_begin(&f);
    call_async(&f, BUS_TIMEOUT_DEFAULT, note_reply, &diary, &slot);
    fixture_pump(&f);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"org.x\",\"id\":1,\"method\":\"List\",\"more\":"
                       "true}");
    say_item(&f, 1, 5);
    say_item(&f, 1, 6);
    fixture_pump(&f);
    diary_expect(&diary, "item\nreply 5\nitem\nreply 6\n");
    say_item(&f, 1, 7);
    say_final(&f, 1);
    say_item(&f, 1, 8);
    fixture_pump(&f);
    diary_expect(&diary, "item\nreply 7\nlast\nreply 0\n");
    bus_slot_free(slot);
    fixture_expect_nothing(&f);

    call_async(&f, BUS_TIMEOUT_DEFAULT, note_reply, &diary, NULL);
    say_item(&f, 2, 5);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"error\",\"id\":2,\"error\":\"bus.NoReply\"}");
    fixture_pump(&f);
    diary_expect(&diary, "item\nreply 5\nlast\nerror bus.NoReply\n");
    call_async(&f, BUS_TIMEOUT_DEFAULT, note_reply, &diary, NULL);
    say_item(&f, 3, 5);
    fixture_hang_up(&f);
    fixture_pump(&f);
    diary_expect(&diary, "item\nreply 5\nlast\nerror bus.Disconnected\n");
    fixture_end(&f);
}

static struct bus_slot *own_slot;

static void free_own_slot(struct bus_message *message, void *userdata)
{
    diary_message(message, userdata);
    own_slot = bus_slot_free(own_slot);
}

static void test_handler_cancels(void **state)
{
    struct fixture f;
    struct diary diary = {0};

    fixture_begin(&f);
    call_async(&f, BUS_TIMEOUT_DEFAULT, free_own_slot, &diary, &own_slot);
    fixture_pump(&f);
    free(fixture_hear(&f));
    say_item(&f, 1, 5);
    say_item(&f, 1, 6);
    fixture_pump(&f);
    diary_expect(&diary, "reply 5\n");
    fixture_expect(&f, "{\"type\":\"cancel\",\"to\":\"org.x\",\"id\":1}");
    say_final(&f, 1);
    fixture_pump(&f);
    diary_expect(&diary, "");
    fixture_end(&f);
}

/* The time is counted from one reply to the next; the bus has a second to say so itself. */
static void test_handler_deadline(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    uint64_t start = fixture_now(), last = 0;

    fixture_begin(&f);
    call_async(&f, 300, note_reply, &diary, NULL);
    for (int i = 1; i <= 3; i++) {
        usleep(600 * 1000);
        say_item(&f, 1, i);
        fixture_pump(&f);
        last = fixture_now();
    }
    diary_expect(&diary, "item\nreply 1\nitem\nreply 2\nitem\nreply 3\n");
    assert_true(last - start > 1300);
    while (diary.size == 0 && fixture_now() - last < FIXTURE_PATIENCE_MS) {
        bus_wait(f.bus, 100);
        fixture_pump(&f);
    }
    assert_in_range(fixture_now() - last, 1290, FIXTURE_PATIENCE_MS);
    diary_expect(&diary, "last\nerror bus.Timeout\n");
    fixture_end(&f);
}

/* Who did not ask for items takes the first reply for the only one. */
static void test_not_asked_for(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_message *call, *reply;
    struct bus_stream *stream;
    struct bus_error error;

    fixture_begin(&f);
    assert_int_equal(bus_call_text_async(f.bus, "org.x", "M", NULL, 0, BUS_TIMEOUT_DEFAULT,
                                         note_reply, &diary, NULL),
                     0);
    say_item(&f, 1, 5);
    say_final(&f, 1);
    fixture_pump(&f);
    diary_expect(&diary, "item\nreply 5\n");

    assert_int_equal(bus_message_new_call(f.bus, "org.x", "M", &call), 0);
    assert_int_equal(bus_stream_open(call, &stream, &error), -EINVAL);
    assert_string_equal(error.name, BUS_ERROR_INVALID_ARGUMENTS);
    assert_int_equal(bus_message_set_more(call, true), 0);
    assert_int_equal(bus_call_message(call, &error, &reply), -EINVAL);
    assert_int_equal(bus_send(call), -EINVAL);
    assert_int_equal(bus_message_set_more(call, false), 0);
    assert_int_equal(bus_send(call), 0);
    assert_int_equal(bus_message_set_more(call, true), -EINVAL);
    assert_int_equal(bus_stream_open(call, &stream, &error), -EALREADY);
    bus_message_unref(call);
    assert_int_equal(bus_message_new_event(f.bus, "a", &call), 0);
    assert_int_equal(bus_message_set_more(call, true), -EINVAL);
    assert_int_equal(bus_stream_open(call, &stream, NULL), -EINVAL);
    bus_message_unref(call);
    fixture_end(&f);
}

/* ------------------------------------------------- the caller, by iteration */

static struct bus_stream *open_stream(struct fixture *f, uint64_t timeout)
{
    struct bus_message *call = new_call(f, timeout);
    struct bus_stream *stream;
    struct bus_error error;

    int r = bus_stream_open(call, &stream, &error);
    CHECK(r == 0, "%s", error.message);
    bus_message_unref(call);
    return stream;
}

static void expect_next(struct bus_stream *stream, int number)
{
    struct bus_message *message;

    assert_int_equal(bus_stream_next(stream, &message, NULL), 1);
    assert_true(bus_message_has_more(message));
    assert_int_equal(json_integer_value(bus_message_body(message)), number);
    bus_message_unref(message);
}

static void expect_last(struct bus_stream *stream)
{
    struct bus_message *message;

    assert_int_equal(bus_stream_next(stream, &message, NULL), 0);
    assert_false(bus_message_has_more(message));
    bus_message_unref(message);
}

static void expect_end(struct bus_stream *stream, int result, const char *name)
{
    struct bus_message *message = NULL;
    struct bus_error error = BUS_ERROR_INIT;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(bus_stream_next(stream, &message, &error), result);
        assert_string_equal(error.name, name);
        assert_null(message);
    }
}

static void test_iteration(void **state)
{
    struct fixture f;
    struct diary diary = {0};

    fixture_begin(&f);
    bus_set_error_handler(f.bus, NULL, NULL);
    struct bus_stream *stream = open_stream(&f, BUS_TIMEOUT_DEFAULT);
    say_item(&f, 1, 5);
    say_item(&f, 1, 6);
    say_final(&f, 1);
    expect_next(stream, 5);
    free(fixture_hear(&f));
    expect_next(stream, 6);
    expect_last(stream);
    expect_last(stream);
    assert_int_equal(bus_stream_next(stream, NULL, NULL), 0);
    assert_null(bus_stream_close(stream));
    assert_null(bus_stream_close(NULL));
    fixture_pump(&f);
    fixture_expect_nothing(&f);

    /* It ends with an error, after what came before that. */
    stream = open_stream(&f, BUS_TIMEOUT_DEFAULT);
    say_item(&f, 2, 5);
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"error\",\"to\":\":42\",\"id\":2,\"error\":"
                    "\"org.x.Full\"}");
    fixture_pump(&f);
    assert_int_equal(bus_stream_next(stream, NULL, NULL), 1);
    expect_end(stream, -EREMOTEIO, "org.x.Full");
    bus_stream_close(stream);
    free(fixture_hear(&f));
    fixture_expect_nothing(&f);
    diary_expect(&diary, "");
    fixture_end(&f);
}

static void test_iteration_cancelled(void **state)
{
    struct fixture f;

    fixture_begin(&f);
    struct bus_stream *stream = open_stream(&f, BUS_TIMEOUT_DEFAULT);
    say_item(&f, 1, 5);
    say_item(&f, 1, 6);
    expect_next(stream, 5);
    bus_stream_close(stream);
    free(fixture_hear(&f));
    fixture_pump(&f);
    fixture_expect(&f, "{\"type\":\"cancel\",\"to\":\"org.x\",\"id\":1}");
    say_item(&f, 1, 7);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"error\",\"id\":1,\"error\":\"bus.Cancelled\"}");
    fixture_pump(&f);
    fixture_expect_nothing(&f);
    fixture_end(&f);
}

static void test_iteration_deadline(void **state)
{
    struct fixture f;

    fixture_begin(&f);
    struct bus_stream *stream = open_stream(&f, 100);
    for (int i = 0; i < 3; i++) {
        usleep(500 * 1000);
        say_item(&f, 1, i);
        expect_next(stream, i);
    }
    uint64_t start = fixture_now();
    expect_end(stream, -ETIMEDOUT, BUS_ERROR_TIMEOUT);
    assert_in_range(fixture_now() - start, 1090, 3000);
    free(fixture_hear(&f));
    bus_stream_close(stream);
    fixture_pump(&f);
    fixture_expect(&f, "{\"type\":\"cancel\",\"to\":\"org.x\",\"id\":1}");
    fixture_expect_nothing(&f);
    fixture_end(&f);
}

#define MANY      2000
#define ITEM_SIZE 90

/* The bytes of a call's items, one after the other. */
static size_t write_items(char *text, int id, int count)
{
    size_t size = 0;

    for (int i = 0; i < count; i++)
        size += (size_t)sprintf(text + size,
                                "{\"sender\":\":7\",\"type\":\"reply\",\"to\":\":42\",\"id\":%d,"
                                "\"more\":true,\"body\":%d}\n",
                                id, i);
    return size;
}

static void test_iteration_disconnected(void **state)
{
    static char text[MANY * ITEM_SIZE];
    struct fixture f;

    fixture_begin(&f);
    struct bus_stream *first = open_stream(&f, BUS_TIMEOUT_NEVER);
    struct bus_stream *second = open_stream(&f, BUS_TIMEOUT_NEVER);
    say_item(&f, 2, 6);
    say_item(&f, 1, 5);
    fixture_hang_up(&f);
    expect_next(first, 5);
    expect_end(first, -ECONNRESET, BUS_ERROR_DISCONNECTED);
    fixture_pump(&f);
    expect_next(second, 6);
    expect_end(second, -ECONNRESET, BUS_ERROR_DISCONNECTED);
    bus_stream_close(first);
    bus_stream_close(second);
    fixture_end(&f);

    /* Streams may outlive their connection, with what they hold. */
    fixture_begin(&f);
    first = open_stream(&f, BUS_TIMEOUT_NEVER);
    second = open_stream(&f, BUS_TIMEOUT_NEVER);
    fixture_say_bytes(&f, text, write_items(text, 1, 2 * KEPT_MAX));
    fixture_pump(&f);
    f.bus = bus_unref(f.bus);
    for (int i = 0; i < 2 * KEPT_MAX; i++)
        expect_next(first, i);
    expect_end(first, -ECONNRESET, BUS_ERROR_DISCONNECTED);
    expect_end(second, -ECONNRESET, BUS_ERROR_DISCONNECTED);
    bus_stream_close(first);
    bus_stream_close(second);
    fixture_end(&f);
}

/* While much waits to be taken, nothing is read: neither for items nor for others; nor does
 * the fd ask for it. */
static void test_held_up(void **state)
{
    static char text[MANY * ITEM_SIZE];
    struct fixture f;
    struct diary diary = {0};
    int unread;

    fixture_begin(&f);
    int fd = bus_get_fd(f.bus);
    struct bus_stream *stream = open_stream(&f, BUS_TIMEOUT_DEFAULT);
    call_async(&f, 100, note_reply, &diary, NULL);
    fixture_pump(&f);
    size_t size = write_items(text, 1, MANY);
    size_t begin = write_items(text, 1, KEPT_MAX + 10);
    write_items(text, 1, MANY);
    fixture_say_bytes(&f, text, begin);
    fixture_pump(&f);
    fixture_say_bytes(&f, text + begin, size - begin);
    say_final(&f, 2);
    fixture_pump(&f);
    assert_false(fd_is_readable(fd));
    assert_int_equal(bus_wait(f.bus, 20), 0);
    assert_int_equal(ioctl(f.broker, TIOCOUTQ, &unread), 0);
    assert_in_range(unread, MANY * ITEM_SIZE / 2, MANY * ITEM_SIZE * 2);
    /* Nor when the bus has gone, nor for a deadline of which nothing can be known. */
    fixture_hang_up(&f);
    usleep(1200 * 1000);
    assert_int_equal(bus_process(f.bus), 0);
    assert_false(fd_is_readable(fd));
    assert_int_equal(bus_wait(f.bus, 20), 0);
    diary_expect(&diary, "");
    for (int i = 0; i < MANY; i++)
        expect_next(stream, i);
    assert_int_equal(fixture_pump(&f), -ECONNRESET);
    diary_expect(&diary, "last\nreply 0\n");
    bus_stream_close(stream);
    fixture_end(&f);
}

/* The program takes no items while it waits for something else: what comes is kept. */
static void test_held_up_and_waiting(void **state)
{
    static char text[MANY * ITEM_SIZE];
    struct fixture f;
    struct diary diary = {0};
    struct bus_message *reply;

    fixture_begin(&f);
    struct bus_stream *stream = open_stream(&f, BUS_TIMEOUT_DEFAULT);
    struct bus_stream *other = open_stream(&f, BUS_TIMEOUT_DEFAULT);
    fixture_say_bytes(&f, text, write_items(text, 1, MANY));
    fixture_pump(&f);
    say_item(&f, 2, 3);
    say_item(&f, 3, 4);
    assert_int_equal(bus_call_text(f.bus, "org.x", "M", NULL, 0, BUS_TIMEOUT_DEFAULT, NULL, &reply),
                     0);
    bus_message_unref(reply);
    expect_next(other, 3);
    say_final(&f, 1);
    for (int i = 0; i < MANY; i++)
        expect_next(stream, i);
    expect_last(stream);
    bus_stream_close(stream);
    bus_stream_close(other);
    /* Closing one that holds the connection up lets go of it. */
    stream = open_stream(&f, BUS_TIMEOUT_DEFAULT);
    call_async(&f, BUS_TIMEOUT_DEFAULT, note_reply, &diary, NULL);
    fixture_say_bytes(&f, text, write_items(text, 4, MANY));
    say_final(&f, 5);
    fixture_pump(&f);
    diary_expect(&diary, "");
    bus_stream_close(stream);
    fixture_pump(&f);
    diary_expect(&diary, "last\nreply 0\n");
    fixture_end(&f);
}

#define LARGE  ((size_t)1 << 20)
#define LARGES 80

static void write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n <= 0)
            _exit(1);
        data += n;
        size -= (size_t)n;
    }
}

/* Another process, because the socket does not take so much at once. */
static pid_t write_large_items(struct fixture *f)
{
    static const char head[] = "{\"sender\":\":7\",\"type\":\"reply\",\"id\":1,\"more\":true,"
                               "\"body\":\"";
    static const char last[] = "{\"sender\":\":7\",\"type\":\"reply\",\"id\":2}\n";
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    char *line = malloc(LARGE);
    memset(line, 'x', LARGE);
    memcpy(line, head, sizeof(head) - 1);
    memcpy(line + LARGE - 3, "\"}\n", 3);
    for (int i = 0; i < LARGES; i++)
        write_all(f->broker, line, LARGE);
    write_all(f->broker, last, sizeof(last) - 1);
    _exit(0);
}

/* What is kept has an end, also while the program waits for something else. */
static void test_too_much(void **state)
{
    struct bus_error error = BUS_ERROR_INIT;
    struct fixture f;
    int status, r, got = 0;

    fixture_begin(&f);
    struct bus_stream *stream = open_stream(&f, BUS_TIMEOUT_DEFAULT);
    bus_flush(f.bus, 1000);
    free(fixture_hear(&f));
    pid_t writer = write_large_items(&f);
    assert_int_equal(bus_call_text(f.bus, "org.x", "M", NULL, 0, BUS_TIMEOUT_DEFAULT, NULL, NULL),
                     0);
    while ((r = bus_stream_next(stream, NULL, &error)) > 0)
        got++;
    assert_int_equal(r, -EDQUOT);
    assert_string_equal(error.name, BUS_ERROR_LIMIT_EXCEEDED);
    assert_in_range(got, 60, 64);
    bus_stream_close(stream);
    free(fixture_hear(&f));
    fixture_pump(&f);
    fixture_expect(&f, "{\"type\":\"cancel\",\"to\":\"org.x\",\"id\":1}");
    assert_int_equal(waitpid(writer, &status, 0), writer);
    assert_int_equal(status, 0);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handler),
        cmocka_unit_test(test_handler_cancels),
        cmocka_unit_test(test_handler_deadline),
        cmocka_unit_test(test_not_asked_for),
        cmocka_unit_test(test_iteration),
        cmocka_unit_test(test_iteration_cancelled),
        cmocka_unit_test(test_iteration_deadline),
        cmocka_unit_test(test_iteration_disconnected),
        cmocka_unit_test(test_held_up),
        cmocka_unit_test(test_held_up_and_waiting),
        cmocka_unit_test(test_too_much),
    };

    return cmocka_run_group_tests_name("streams of the client library", tests, NULL, NULL);
}
