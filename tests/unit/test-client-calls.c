/* SPDX-License-Identifier: MIT */
/* Calls that we make, blocking and not, and every way in which they can end. */
#include "tests/unit/client-fixture.h"

/* The deadline of the client lies this much after the call's timeout. */
#define GRACE_MS 1000

static void say_reply(struct fixture *f, int id, const char *body)
{
    fixture_say(f, "{\"sender\":\":7\",\"type\":\"reply\",\"to\":\":42\",\"id\":%d,\"body\":%s}",
                id, body);
}

static void say_event(struct fixture *f, const char *topic, const char *body)
{
    fixture_say(f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"%s\",\"body\":%s}", topic,
                body);
}

/* Subscribes a diary to everything; `id` is that of the call. */
static void subscribe_diary(struct fixture *f, struct diary *diary, int id)
{
    fixture_say(
        f, "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":%d,\"body\":{\"subscription\":1}}", id);
    assert_int_equal(bus_subscribe(f->bus, "#", NULL, diary_message, diary, NULL, NULL), 0);
    free(fixture_hear(f));
}

static void test_reply(void **state)
{
    struct fixture f;
    struct bus_error error = BUS_ERROR_INIT;
    struct bus_message *reply;

    fixture_begin(&f);
    say_reply(&f, 1, "{\"sum\":3}");
    assert_int_equal(bus_call_text(f.bus, "org.x", "Add", "[1,2]", BUS_NUL_TERMINATED,
                                   BUS_TIMEOUT_DEFAULT, &error, &reply),
                     0);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"org.x\",\"id\":1,\"method\":\"Add\","
                       "\"body\":[1,2]}");
    assert_int_equal(bus_message_type(reply), BUS_MESSAGE_REPLY);
    assert_int_equal(json_integer_value(json_object_get(bus_message_body(reply), "sum")), 3);
    bus_message_unref(reply);
    assert_string_equal(error.name, "");

    json_t *body = json_pack("[i]", 5);
    say_reply(&f, 2, "1");
    assert_int_equal(bus_call(f.bus, "org.x", "A", body, 500, NULL, NULL), 0);
    say_reply(&f, 3, "1");
    assert_int_equal(bus_call_take(f.bus, ":7", "B", body, BUS_TIMEOUT_NEVER, NULL, &reply), 0);
    bus_message_unref(reply);
    assert_int_equal(bus_call_no_reply(f.bus, "org.x", "C", NULL, 0), 0);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"org.x\",\"id\":2,\"method\":\"A\","
                       "\"timeout\":500,\"body\":[5]}");
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\":7\",\"id\":3,\"method\":\"B\","
                       "\"timeout\":0,\"body\":[5]}");
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"org.x\",\"method\":\"C\",\"no_reply\":true}");
    fixture_end(&f);
}

static void test_call_message(void **state)
{
    struct fixture f;
    struct bus_message *call, *reply;

    fixture_begin(&f);
    assert_int_equal(bus_message_new_call(f.bus, "org.x", "M", &call), 0);
    assert_int_equal(bus_message_set_path(call, "/p"), 0);
    say_reply(&f, 1, "true");
    assert_int_equal(bus_call_message(call, NULL, &reply), 0);
    assert_true(json_is_true(bus_message_body(reply)));
    assert_int_equal(bus_call_message(reply, NULL, NULL), -EINVAL);
    assert_int_equal(bus_call_async(reply, diary_message, NULL, NULL), -EINVAL);
    bus_message_unref(reply);
    assert_int_equal(bus_call_message(call, NULL, NULL), -EALREADY);
    bus_message_unref(call);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"org.x\",\"id\":1,\"method\":\"M\","
                       "\"path\":\"/p\"}");
    fixture_end(&f);
}

/* The errno of each of the bus's names. */
static void test_errors(void **state)
{
    static const struct {
        const char *name;
        int error;
    } errors[] = {
        {BUS_ERROR_PARSE_ERROR, EBADMSG},
        {BUS_ERROR_INVALID_MESSAGE, EPROTO},
        {BUS_ERROR_INVALID_ARGUMENTS, EINVAL},
        {BUS_ERROR_TOO_LARGE, EMSGSIZE},
        {BUS_ERROR_FD_MISMATCH, EBADF},
        {BUS_ERROR_NAME_UNKNOWN, ENXIO},
        {BUS_ERROR_NAME_TAKEN, EEXIST},
        {BUS_ERROR_NOT_OWNER, EADDRNOTAVAIL},
        {BUS_ERROR_METHOD_UNKNOWN, EOPNOTSUPP},
        {BUS_ERROR_NO_SUCH_CALL, EBADR},
        {BUS_ERROR_NO_SUCH_SUBSCRIPTION, EBADSLT},
        {BUS_ERROR_ACCESS_DENIED, EACCES},
        {BUS_ERROR_LIMIT_EXCEEDED, EDQUOT},
        {BUS_ERROR_TIMEOUT, ETIMEDOUT},
        {BUS_ERROR_NO_REPLY, ENOMSG},
        {BUS_ERROR_CANCELLED, ECANCELED},
        {BUS_ERROR_START_FAILED, ECHILD},
        {BUS_ERROR_STORAGE_FAILED, EIO},
        {BUS_ERROR_DISCONNECTED, ECONNRESET},
        {"org.example.Own", EREMOTEIO},
        {"bus.Unheard", EREMOTEIO},
    };
    struct fixture f;
    struct bus_error error;

    fixture_begin(&f);
    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
        fixture_say(&f,
                    "{\"sender\":\":7\",\"type\":\"error\",\"to\":\":42\",\"id\":%zu,"
                    "\"error\":\"%s\",\"message\":\"so \\u00e4 \\\"it\\\" is\"}",
                    i + 1, errors[i].name);
        assert_int_equal(bus_call_text(f.bus, "org.x", "M", NULL, 0, 100, &error, NULL),
                         -errors[i].error);
        assert_string_equal(error.name, errors[i].name);
        assert_string_equal(error.message, "so \xc3\xa4 \"it\" is");
        free(fixture_hear(&f));
    }
    /* Without a text, and with one that is longer than fits: cut at a character. */
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"error\",\"id\":%d,\"error\":\"x\"}", 22);
    assert_int_equal(bus_call_text(f.bus, "org.x", "M", NULL, 0, 100, &error, NULL), -EREMOTEIO);
    assert_string_equal(error.message, "");
    char text[1200] = "x";
    for (int i = 0; i < 300; i++)
        strcat(text, "\xc3\xa4");
    fixture_say(&f,
                "{\"sender\":\":7\",\"type\":\"error\",\"id\":%d,\"error\":\"x\",\"message\":"
                "\"%s\"}",
                23, text);
    assert_int_equal(bus_call_text(f.bus, "org.x", "M", NULL, 0, 100, &error, NULL), -EREMOTEIO);
    assert_int_equal(strlen(error.message), 511);
    text[511] = '\0';
    assert_string_equal(error.message, text);
    fixture_say(&f,
                "{\"sender\":\":7\",\"type\":\"error\",\"id\":%d,\"error\":\"x\",\"message\":"
                "\"x%s\"}",
                24, text);
    assert_int_equal(bus_call_text(f.bus, "org.x", "M", NULL, 0, 100, &error, NULL), -EREMOTEIO);
    assert_int_equal(strlen(error.message), 510);
    fixture_end(&f);
}

static void test_blocking_timeout(void **state)
{
    struct fixture f;
    struct bus_error error;

    fixture_begin(&f);
    uint64_t start = fixture_now();
    assert_int_equal(bus_call_text(f.bus, "org.x", "M", NULL, 0, 50, &error, NULL), -ETIMEDOUT);
    uint64_t took = fixture_now() - start;
    assert_in_range(took, GRACE_MS + 50, GRACE_MS + 1000);
    assert_string_equal(error.name, BUS_ERROR_TIMEOUT);
    assert_string_equal(error.message, "no answer from org.x came before the deadline");
    /* Its answer comes too late and is nobody's. */
    say_reply(&f, 1, "1");
    assert_int_equal(fixture_pump(&f), 0);
    assert_true(bus_is_connected(f.bus));
    assert_int_equal(bus_call_text(f.bus, "org.x", "M", NULL, 0, UINT64_MAX - 1, &error, NULL),
                     -EINVAL);
    fixture_end(&f);
}

static void test_async(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_message *call;
    struct bus_slot *slot;

    fixture_begin(&f);
    assert_int_equal(bus_call_text_async(f.bus, "org.x", "A", "1", 1, BUS_TIMEOUT_DEFAULT,
                                         diary_message, &diary, NULL),
                     0);
    assert_int_equal(bus_message_new_call(f.bus, "org.x", "B", &call), 0);
    assert_int_equal(bus_message_set_timeout(call, BUS_TIMEOUT_NEVER), 0);
    assert_int_equal(bus_call_async(call, diary_message, &diary, &slot), 0);
    bus_message_unref(call);
    assert_int_equal(bus_call_text_async(f.bus, "org.x", "C", NULL, 0, 0, NULL, NULL, NULL),
                     -EINVAL);
    assert_int_equal(bus_call_text_async(f.bus, "x", "C", NULL, 0, 0, diary_message, NULL, NULL),
                     -EINVAL);
    assert_int_equal(fixture_pump(&f), 0);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"org.x\",\"id\":1,\"method\":\"A\","
                       "\"body\":1}");
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"org.x\",\"id\":2,\"method\":\"B\","
                       "\"timeout\":0}");
    say_reply(&f, 2, "\"two\"");
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"error\",\"id\":1,\"error\":\"bus.Timeout\"}");
    say_reply(&f, 1, "\"again\"");
    say_reply(&f, 77, "\"nobody's\"");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "reply \"two\"\nerror bus.Timeout\n");
    bus_slot_free(slot);
    assert_int_equal(fixture_pump(&f), 0);
    fixture_expect_nothing(&f);
    fixture_end(&f);
}

static void test_async_timeout(void **state)
{
    struct fixture f;
    struct diary diary = {0};

    fixture_begin(&f);
    int fd = bus_get_fd(f.bus);
    for (int i = 5; i > 0; i--)
        assert_int_equal(bus_call_text_async(f.bus, "org.x", "A", NULL, 0, (uint64_t)i * 10,
                                             diary_message, &diary, NULL),
                         0);
    assert_int_equal(bus_process(f.bus), 1);
    assert_false(fd_is_readable(fd));
    assert_int_equal(bus_wait(f.bus, 10), 0);
    say_reply(&f, 3, "\"in time\"");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "reply \"in time\"\n");
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, GRACE_MS + 1000), 1);
    assert_int_equal(bus_wait(f.bus, 0), 1);
    while (strlen(diary.text) < 4 * strlen("error bus.Timeout\n")) {
        assert_int_equal(bus_wait(f.bus, GRACE_MS), 1);
        assert_in_range(bus_process(f.bus), 0, 1);
    }
    diary_expect(&diary, "error bus.Timeout\nerror bus.Timeout\nerror bus.Timeout\n"
                         "error bus.Timeout\n");
    fixture_end(&f);
}

static void test_cancel(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_slot *slot, *answered;

    fixture_begin(&f);
    assert_int_equal(bus_call_text_async(f.bus, "org.x", "A", NULL, 0, BUS_TIMEOUT_DEFAULT,
                                         diary_message, &diary, &slot),
                     0);
    assert_int_equal(bus_call_text_async(f.bus, "org.x", "B", NULL, 0, BUS_TIMEOUT_DEFAULT,
                                         diary_message, &diary, &answered),
                     0);
    assert_null(bus_slot_free(slot));
    assert_int_equal(fixture_pump(&f), 0);
    free(fixture_hear(&f));
    free(fixture_hear(&f));
    fixture_expect(&f, "{\"type\":\"cancel\",\"to\":\"org.x\",\"id\":1}");
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"error\",\"id\":1,\"error\":\"bus.Cancelled\"}");
    /* Freed between reading and dispatching its answer. */
    say_reply(&f, 2, "1");
    say_reply(&f, 3, "1");
    assert_int_equal(bus_call_text(f.bus, "org.x", "C", NULL, 0, 100, NULL, NULL), 0);
    free(fixture_hear(&f));
    bus_slot_free(answered);
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "");
    fixture_expect(&f, "{\"type\":\"cancel\",\"to\":\"org.x\",\"id\":2}");
    fixture_end(&f);
}

static void test_backlog_order(void **state)
{
    struct fixture f;
    struct diary diary = {0};

    fixture_begin(&f);
    subscribe_diary(&f, &diary, 1);
    assert_int_equal(bus_call_text_async(f.bus, "org.x", "A", NULL, 0, BUS_TIMEOUT_DEFAULT,
                                         diary_message, &diary, NULL),
                     0);
    say_event(&f, "a", "1");
    say_reply(&f, 2, "\"async\"");
    say_event(&f, "a", "2");
    say_reply(&f, 3, "\"sync\"");
    say_event(&f, "a", "3");
    assert_int_equal(bus_call_text(f.bus, "org.x", "B", NULL, 0, 100, NULL, NULL), 0);
    diary_expect(&diary, "");
    say_event(&f, "a", "4");
    say_reply(&f, 4, "\"sync\"");
    assert_int_equal(bus_call_text(f.bus, "org.x", "B", NULL, 0, 100, NULL, NULL), 0);
    diary_expect(&diary, "");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "a 1\nreply \"async\"\na 2\na 3\na 4\n");
    fixture_end(&f);
}

/* A handler that makes a blocking call and notes both. */
struct caller {
    struct fixture *fixture;
    struct diary *diary;
    int calls;
    int id; /* of the next call */
};

static void call_inside(struct bus_message *message, void *userdata)
{
    struct caller *caller = userdata;
    struct bus_message *reply;
    size_t size;

    diary_message(message, caller->diary);
    if (caller->calls-- <= 0)
        return;
    say_event(caller->fixture, "b", "null");
    say_reply(caller->fixture, caller->id++, "\"answer\"");
    assert_int_equal(
        bus_call_text(caller->fixture->bus, "org.x", "In", NULL, 0, 2000, NULL, &reply), 0);
    const char *body = bus_message_body_text(reply, &size);
    diary_note(caller->diary, "inside %.*s", (int)size, body);
    bus_message_unref(reply);
}

static void test_blocking_inside_callback(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct caller caller = {&f, &diary, 2, 2};

    fixture_begin(&f);
    fixture_say(&f,
                "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":1,\"body\":{\"subscription\":1}}");
    assert_int_equal(bus_subscribe(f.bus, "#", NULL, call_inside, &caller, NULL, NULL), 0);
    int fd = bus_get_fd(f.bus);
    for (int i = 1; i <= 4; i++)
        say_event(&f, "a", (char[]){(char)('0' + i), '\0'});
    /* What was read with the first event comes in the first round, what the calls
     * inside have read, in the next one. */
    assert_int_equal(bus_process(f.bus), 1);
    diary_expect(&diary, "a 1\ninside \"answer\"\na 2\ninside \"answer\"\na 3\na 4\n");
    assert_true(fd_is_readable(fd));
    assert_int_equal(bus_process(f.bus), 1);
    diary_expect(&diary, "b null\nb null\n");
    assert_false(fd_is_readable(fd));
    fixture_end(&f);
}

/* What a blocking call in a callback reads after the rest had been read is left for
 * the next round, which the fd calls for. */
static void test_backlog_makes_fd_readable(void **state)
{
    struct fixture f;
    struct diary diary = {0};

    fixture_begin(&f);
    subscribe_diary(&f, &diary, 1);
    int fd = bus_get_fd(f.bus);
    assert_false(fd_is_readable(fd));
    say_event(&f, "a", "1");
    say_reply(&f, 2, "1");
    assert_int_equal(bus_call_text(f.bus, "org.x", "B", NULL, 0, 100, NULL, NULL), 0);
    assert_true(fd_is_readable(fd));
    assert_int_equal(bus_wait(f.bus, 0), 1);
    assert_int_equal(bus_process(f.bus), 1);
    assert_false(fd_is_readable(fd));
    assert_int_equal(bus_wait(f.bus, 0), 0);
    assert_int_equal(bus_process(f.bus), 0);
    diary_expect(&diary, "a 1\n");
    fixture_end(&f);
}

static void free_the_other(struct bus_message *message, void *userdata)
{
    struct bus_slot **other = userdata;

    (void)message;
    *other = bus_slot_free(*other);
}

static void free_and_note(struct bus_message *message, void *userdata)
{
    void **parts = userdata;
    struct bus_slot **own = parts[0];

    diary_message(message, parts[1]);
    *own = bus_slot_free(*own);
}

static void test_slots_freed_in_callbacks(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_slot *own, *other;
    void *parts[] = {&own, &diary};

    fixture_begin(&f);
    assert_int_equal(bus_call_text_async(f.bus, "org.x", "A", NULL, 0, BUS_TIMEOUT_DEFAULT,
                                         free_and_note, parts, &own),
                     0);
    assert_int_equal(bus_call_text_async(f.bus, "org.x", "B", NULL, 0, BUS_TIMEOUT_DEFAULT,
                                         free_the_other, &other, NULL),
                     0);
    assert_int_equal(bus_call_text_async(f.bus, "org.x", "C", NULL, 0, BUS_TIMEOUT_DEFAULT,
                                         diary_message, &diary, &other),
                     0);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    for (int i = 0; i < 3; i++)
        free(fixture_hear(&f));
    say_reply(&f, 1, "1");
    say_reply(&f, 2, "2");
    say_reply(&f, 3, "3");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "reply 1\n");
    assert_null(own);
    assert_null(other);
    fixture_expect(&f, "{\"type\":\"cancel\",\"to\":\"org.x\",\"id\":3}");
    fixture_end(&f);
}

static void note_disconnect(struct bus *bus, void *userdata)
{
    diary_note(userdata, "disconnected: %s", bus_disconnect_error(bus)->name);
    assert_int_equal(bus_publish_text(bus, "a", "1", 1), -ECONNRESET);
    assert_int_equal(bus_call_text(bus, "org.x", "M", NULL, 0, 0, NULL, NULL), -ECONNRESET);
}

static void test_disconnect(void **state)
{
    struct fixture f;
    struct diary diary = {0};

    fixture_begin(&f);
    subscribe_diary(&f, &diary, 1);
    bus_set_disconnect_handler(f.bus, note_disconnect, &diary);
    int fd = bus_get_fd(f.bus);
    for (int i = 0; i < 20; i++)
        assert_int_equal(bus_call_text_async(f.bus, "org.x", "A", NULL, 0, BUS_TIMEOUT_DEFAULT,
                                             diary_message, &diary, NULL),
                         0);
    assert_int_equal(fixture_pump(&f), 0);
    for (int i = 0; i < 20; i++)
        free(fixture_hear(&f));
    say_event(&f, "a", "1");
    say_reply(&f, 5, "5");
    for (int i = 2; i <= 19; i++)
        if (i != 5)
            say_reply(&f, i, "0");
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"error\",\"error\":\"bus.LimitExceeded\","
                    "\"message\":\"too slow\"}");
    fixture_hang_up(&f);
    assert_true(fd_is_readable(fd));
    assert_int_equal(fixture_pump(&f), -ECONNRESET);
    assert_non_null(strstr(diary.text, "a 1\nreply 5\nreply 0\n"));
    const char *end = strstr(diary.text, "error ");
    assert_non_null(end);
    assert_string_equal(
        end, "error bus.Disconnected\nerror bus.Disconnected\ndisconnected: bus.LimitExceeded\n");
    assert_string_equal(bus_disconnect_error(f.bus)->message, "too slow");
    assert_false(bus_is_connected(f.bus));
    assert_false(fd_is_readable(fd));
    size_t size = diary.size;
    assert_int_equal(bus_process(f.bus), -ECONNRESET);
    assert_int_equal(diary.size, size);
    fixture_end(&f);
}

static void test_disconnect_in_blocking_call(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_error error;

    fixture_begin(&f);
    subscribe_diary(&f, &diary, 1);
    bus_set_disconnect_handler(f.bus, note_disconnect, &diary);
    int fd = bus_get_fd(f.bus);
    say_event(&f, "a", "1");
    shutdown(f.broker, SHUT_WR);
    assert_int_equal(bus_call_text(f.bus, "org.x", "A", NULL, 0, 1000, &error, NULL), -ECONNRESET);
    assert_string_equal(error.name, BUS_ERROR_DISCONNECTED);
    assert_string_equal(error.message, "the bus closed the connection");
    assert_true(fd_is_readable(fd));
    assert_int_equal(bus_wait(f.bus, 0), 1);
    diary_expect(&diary, "");
    assert_int_equal(bus_process(f.bus), -ECONNRESET);
    diary_expect(&diary, "a 1\ndisconnected: bus.Disconnected\n");
    fixture_end(&f);
}

/* Writing fails before reading does: what the bus has said is still heard. */
static void test_disconnect_while_writing(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_error error;

    fixture_begin(&f);
    subscribe_diary(&f, &diary, 1);
    say_event(&f, "a", "1");
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"error\",\"error\":\"bus.FdMismatch\","
                    "\"message\":\"go\"}");
    fixture_hang_up(&f);
    assert_int_equal(bus_call_text(f.bus, "org.x", "A", NULL, 0, 1000, &error, NULL), -ECONNRESET);
    assert_string_equal(error.message, "go");
    assert_int_equal(fixture_pump(&f), -ECONNRESET);
    diary_expect(&diary, "a 1\n");
    assert_string_equal(bus_disconnect_error(f.bus)->name, BUS_ERROR_FD_MISMATCH);
    fixture_end(&f);
}

static void close_inside(struct bus_message *message, void *userdata)
{
    void **parts = userdata;
    struct fixture *f = parts[0];

    diary_message(message, parts[1]);
    f->bus = bus_close(f->bus);
}

static void unref_inside(struct bus_message *message, void *userdata)
{
    void **parts = userdata;
    struct fixture *f = parts[0];

    diary_message(message, parts[1]);
    f->bus = bus_unref(f->bus);
    assert_string_equal(bus_message_topic(message), "a");
}

static void test_closed_in_callback(void **state)
{
    bus_message_handler handlers[] = {close_inside, unref_inside};

    for (int i = 0; i < 2; i++) {
        struct fixture f;
        struct diary diary = {0};
        void *parts[] = {&f, &diary};

        fixture_begin(&f);
        fixture_say(
            &f, "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":1,\"body\":{\"subscription\":1}}");
        assert_int_equal(bus_subscribe(f.bus, "#", NULL, handlers[i], parts, NULL, NULL), 0);
        subscribe_diary(&f, &diary, 2);
        assert_int_equal(bus_call_text_async(f.bus, "org.x", "A", NULL, 0, BUS_TIMEOUT_DEFAULT,
                                             diary_message, &diary, NULL),
                         0);
        say_event(&f, "a", "1");
        say_event(&f, "a", "2");
        assert_int_equal(bus_process(f.bus), -ECONNRESET);
        assert_null(f.bus);
        /* Closing tells pending calls; just letting go does not. */
        diary_expect(&diary, i == 0 ? "a 1\nerror bus.Disconnected\n" : "a 1\n");
        fixture_end(&f);
    }
}

static void test_closed_with_pending_calls(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_slot *slot;

    fixture_begin(&f);
    bus_set_disconnect_handler(f.bus, note_disconnect, &diary);
    for (int i = 0; i < 3; i++)
        assert_int_equal(bus_call_text_async(f.bus, "org.x", "A", NULL, 0, BUS_TIMEOUT_DEFAULT,
                                             diary_message, &diary, i == 1 ? &slot : NULL),
                         0);
    f.bus = bus_close(f.bus);
    diary_expect(&diary,
                 "error bus.Disconnected\nerror bus.Disconnected\nerror bus.Disconnected\n");
    bus_slot_free(slot);
    fixture_end(&f);

    fixture_begin(&f);
    assert_int_equal(bus_call_text_async(f.bus, "org.x", "A", NULL, 0, BUS_TIMEOUT_DEFAULT,
                                         diary_message, &diary, &slot),
                     0);
    f.bus = bus_unref(f.bus);
    diary_expect(&diary, "");
    bus_slot_free(slot);
    fixture_end(&f);
}

static void note_error(struct bus *bus, const struct bus_error *error, void *userdata)
{
    (void)bus;
    diary_note(userdata, "%s: %s", error->name, error->message);
}

static void test_error_handler(void **state)
{
    struct fixture f;
    struct diary diary = {0};

    fixture_begin(&f);
    bus_set_error_handler(f.bus, note_error, &diary);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"error\",\"error\":\"bus.AccessDenied\","
                    "\"message\":\"no\",\"about\":{\"type\":\"event\",\"topic\":\"a\"}}");
    /* Not from the bus: nobody else may speak for it. */
    fixture_say(&f, "{\"sender\":\":3\",\"type\":\"error\",\"error\":\"bus.AccessDenied\"}");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "bus.AccessDenied: no\n");
    bus_set_error_handler(f.bus, NULL, NULL);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"error\",\"error\":\"bus.AccessDenied\"}");
    assert_int_equal(fixture_pump(&f), 0);
    assert_true(bus_is_connected(f.bus));
    fixture_end(&f);
}

static void test_names(void **state)
{
    struct fixture f;
    struct bus_error error;

    fixture_begin(&f);
    fixture_say(&f,
                "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":1,\"body\":{\"state\":\"owner\"}}");
    assert_int_equal(bus_request_name(f.bus, "org.x", 0, &error), 1);
    fixture_say(&f,
                "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":2,\"body\":{\"state\":\"queued\"}}");
    assert_int_equal(
        bus_request_name(f.bus, "org.y",
                         BUS_NAME_QUEUE | BUS_NAME_REPLACE | BUS_NAME_ALLOW_REPLACEMENT, &error),
        0);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"error\",\"id\":3,\"error\":\"bus.NameTaken\"}");
    assert_int_equal(bus_request_name(f.bus, "org.z", 0, &error), -EEXIST);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":4,\"body\":{}}");
    assert_int_equal(bus_release_name(f.bus, "org.x", &error), 0);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"error\",\"id\":5,\"error\":\"bus.NotOwner\"}");
    assert_int_equal(bus_release_name(f.bus, "org.x", &error), -EADDRNOTAVAIL);
    assert_int_equal(bus_request_name(f.bus, "org", 0, &error), -EINVAL);
    assert_int_equal(bus_request_name(f.bus, "org.x", 16, &error), -EINVAL);
    assert_int_equal(bus_release_name(f.bus, "", &error), -EINVAL);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"id\":1,\"method\":\"RequestName\","
                       "\"body\":{\"name\":\"org.x\"}}");
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"id\":2,\"method\":\"RequestName\","
                       "\"body\":{\"name\":\"org.y\",\"queue\":true,\"replace\":true,"
                       "\"allow_replacement\":true}}");
    free(fixture_hear(&f));
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"id\":4,\"method\":\"ReleaseName\","
                       "\"body\":{\"name\":\"org.x\"}}");
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reply),
        cmocka_unit_test(test_call_message),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_blocking_timeout),
        cmocka_unit_test(test_async),
        cmocka_unit_test(test_async_timeout),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_backlog_order),
        cmocka_unit_test(test_blocking_inside_callback),
        cmocka_unit_test(test_backlog_makes_fd_readable),
        cmocka_unit_test(test_slots_freed_in_callbacks),
        cmocka_unit_test(test_disconnect),
        cmocka_unit_test(test_disconnect_in_blocking_call),
        cmocka_unit_test(test_disconnect_while_writing),
        cmocka_unit_test(test_closed_in_callback),
        cmocka_unit_test(test_closed_with_pending_calls),
        cmocka_unit_test(test_error_handler),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
