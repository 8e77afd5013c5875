/* SPDX-License-Identifier: MIT */
/* Calls with several replies, as a service: it sends as fast as the caller reads. */
#include "tests/unit/client-fixture.h"

static struct bus_message *kept;

static int method_keep(struct bus_message *call, void *userdata)
{
    diary_note(userdata, bus_message_wants_more(call) ? "wants more" : "wants one");
    kept = bus_message_ref(call);
    return 0;
}

static const struct bus_method methods[] = {
    {"List", method_keep, BUS_METHOD_MORE, "Lists."},
    {"Keep", method_keep, 0, NULL},
    BUS_METHOD_END,
};

static void serve(struct fixture *f, struct diary *diary)
{
    fixture_begin(f);
    assert_int_equal(bus_serve(f->bus, NULL, methods, diary, NULL, NULL), 0);
}

static void say_call(struct fixture *f, int id, const char *more)
{
    fixture_say(f,
                "{\"sender\":\":7\",\"type\":\"call\",\"to\":\":42\",\"id\":%d,\"method\":"
                "\"List\"%s}",
                id, more);
    fixture_pump(f);
}

static void say_flow(struct fixture *f, const char *to, int id, bool ready)
{
    fixture_say(f,
                "{\"sender\":\"bus\",\"type\":\"event\",\"topic\":\"bus.flow\",\"body\":{\"to\":"
                "\"%s\",\"id\":%d,\"ready\":%s}}",
                to, id, ready ? "true" : "false");
    fixture_pump(f);
}

static void note_ready(struct bus_message *call, void *userdata)
{
    diary_note(userdata, "ready");
}

static void note_cancel(struct bus_message *call, void *userdata)
{
    diary_note(userdata, "cancelled");
}

static void test_items(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_message *item;
    int pair[2];

    serve(&f, &diary);
    say_call(&f, 5, ",\"more\":true");
    diary_expect(&diary, "wants more\n");
    assert_int_equal(bus_reply_more_text(kept, "[1]", 3), 0);
    assert_int_equal(bus_reply_more_text(kept, NULL, 0), 0);
    assert_int_equal(bus_reply_more_text(kept, "[", 1), -EBADMSG);
    assert_int_equal(bus_reply_more_take(kept, json_integer(2)), 0);
    assert_int_equal(bus_message_new_reply(kept, &item), 0);
    assert_int_equal(bus_message_set_more(item, true), 0);
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    assert_int_equal(bus_message_push_fd(item, pair[0]), 0);
    assert_int_equal(bus_send(item), 0);
    assert_int_equal(bus_send(item), -EALREADY);
    bus_message_unref(item);
    close(pair[1]);
    /* A text with a size needs no NUL. */
    char *three = malloc(1);
    *three = '3';
    assert_int_equal(bus_reply_text(kept, three, 1), 0);
    free(three);
    assert_int_equal(bus_reply_more_text(kept, "4", 1), -EALREADY);
    assert_int_equal(bus_reply_text(kept, "5", 1), -EALREADY);
    bus_message_unref(kept);
    fixture_pump(&f);
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":5,\"more\":true,\"body\":[1]}");
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":5,\"more\":true}");
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":5,\"more\":true,\"body\":2}");
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":5,\"more\":true,\"fds\":1}");
    close(fixture_take_fd(&f));
    /* Before the answer to this no other item goes. */
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"id\":1,\"method\":\"Ping\"}");
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":5,\"body\":3}");
    fixture_expect_nothing(&f);
    fixture_end(&f);
}

static void test_items_refused(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_message *call;

    serve(&f, &diary);
    say_call(&f, 5, "");
    diary_expect(&diary, "wants one\n");
    assert_int_equal(bus_reply_more_text(kept, "1", 1), -EINVAL);
    assert_int_equal(bus_message_set_ready_handler(kept, note_ready, &diary), -EINVAL);
    assert_int_equal(bus_reply_text(kept, "1", 1), 0);
    bus_message_unref(kept);
    assert_int_equal(bus_message_new_call(f.bus, "org.x", "M", &call), 0);
    assert_int_equal(bus_message_set_more(call, true), 0);
    assert_int_equal(bus_reply_more_text(call, "1", 1), -EINVAL);
    assert_int_equal(bus_message_set_ready_handler(call, note_ready, &diary), -EINVAL);
    bus_message_unref(call);

    say_call(&f, 6, ",\"more\":true");
    diary_expect(&diary, "wants more\n");
    bus_message_set_cancel_handler(kept, note_cancel, &diary);
    assert_int_equal(bus_reply_more_text(kept, "1", 1), 0);
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"cancel\",\"id\":6,\"reason\":\"limit\"}");
    fixture_pump(&f);
    diary_expect(&diary, "cancelled\n");
    assert_true(bus_message_is_cancelled(kept));
    assert_int_equal(bus_reply_more_text(kept, "1", 1), -ECANCELED);
    assert_int_equal(bus_reply_text(kept, "1", 1), 0);
    bus_message_unref(kept);
    free(fixture_hear(&f));
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":6,\"more\":true,\"body\":1}");
    fixture_expect_nothing(&f);

    say_call(&f, 7, ",\"more\":true");
    fixture_hang_up(&f);
    fixture_pump(&f);
    assert_int_equal(bus_reply_more_text(kept, "1", 1), -ECONNRESET);
    bus_message_unref(kept);
    fixture_end(&f);
}

/* As the bus says: with an item refused in between, or without. */
static void test_flow(void **state)
{
    struct fixture f;
    struct diary diary = {0};

    serve(&f, &diary);
    say_call(&f, 5, ",\"more\":true");
    diary_expect(&diary, "wants more\n");
    assert_int_equal(bus_message_set_ready_handler(kept, note_ready, &diary), 0);
    assert_int_equal(bus_reply_more_text(kept, "1", 1), 0);
    /* Others' affairs, and what is none. */
    say_flow(&f, ":8", 5, false);
    say_flow(&f, ":7", 6, false);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"event\",\"topic\":\"bus.flow\"}");
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"bus.flow\",\"body\":{\"to\":"
                    "\":7\",\"id\":5,\"ready\":false}}");
    fixture_pump(&f);
    assert_int_equal(bus_reply_more_text(kept, "2", 1), 0);
    say_flow(&f, ":7", 5, false);
    say_flow(&f, ":7", 5, true);
    diary_expect(&diary, "");
    say_flow(&f, ":7", 5, false);
    assert_int_equal(bus_reply_more_text(kept, "3", 1), -EAGAIN);
    assert_int_equal(bus_reply_more_text(kept, "3", 1), -EAGAIN);
    fixture_pump(&f);
    diary_expect(&diary, "");
    assert_int_equal(bus_wait(f.bus, 10), 0);
    say_flow(&f, ":7", 5, true);
    diary_expect(&diary, "ready\n");
    assert_int_equal(bus_reply_more_text(kept, "3", 1), 0);
    /* The final answer is never held up. */
    say_flow(&f, ":7", 5, false);
    assert_int_equal(bus_reply_more_text(kept, "4", 1), -EAGAIN);
    assert_int_equal(bus_reply_text(kept, "5", 1), 0);
    say_flow(&f, ":7", 5, true);
    diary_expect(&diary, "");
    bus_message_unref(kept);
    for (char n = '1'; n <= '3'; n++) {
        char *line = fixture_hear(&f);
        assert_int_equal(line[strlen(line) - 2], n);
        free(line);
    }
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":5,\"body\":5}");
    fixture_expect_nothing(&f);
    fixture_end(&f);
}

static char block[16 * 1024 + 2];

static int send_block(struct bus_message *call)
{
    memset(block, 'x', sizeof(block));
    block[0] = block[sizeof(block) - 1] = '"';
    return bus_reply_more_text(call, block, sizeof(block));
}

/* Even while all goes well the bus must be heard now and then. */
static void test_turns(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    unsigned sent = 0;

    serve(&f, &diary);
    say_call(&f, 5, ",\"more\":true");
    bus_message_set_ready_handler(kept, note_ready, &diary);
    diary_expect(&diary, "wants more\n");
    for (int round = 0; round < 3; round++) {
        unsigned now = 0;
        int r;
        while ((r = send_block(kept)) == 0) {
            now++;
            while (fixture_is_readable(&f, 0))
                fixture_read(&f);
        }
        assert_int_equal(r, -EAGAIN);
        assert_in_range(now, 4, 64);
        sent += now;
        diary_expect(&diary, "");
        assert_int_equal(bus_wait(f.bus, 0), 1);
        bus_process(f.bus);
        diary_expect(&diary, "ready\n");
    }
    /* A bus that says in time that the caller is behind is heard. */
    while (send_block(kept) == 0)
        sent++;
    say_flow(&f, ":7", 5, false);
    fixture_pump(&f);
    diary_expect(&diary, "");
    while (sent-- > 0)
        free(fixture_hear(&f));
    bus_message_unref(kept);
    fixture_end(&f);
}

/* The socket takes no more: the items wait, and not in our memory. */
static void test_output_full(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    unsigned sent = 0;

    serve(&f, &diary);
    say_call(&f, 5, ",\"more\":true");
    bus_message_set_ready_handler(kept, note_ready, &diary);
    for (int stuck = 0; stuck < 3;) {
        unsigned before = sent;
        while (send_block(kept) == 0)
            sent++;
        bus_process(f.bus);
        stuck = before == sent ? stuck + 1 : 0;
    }
    assert_in_range(bus_output_size(f.bus), 1, 128 * 1024);
    assert_int_equal(bus_wait(f.bus, 10), 0);
    diary.size = 0;
    diary.text[0] = '\0';
    while (diary.size == 0) {
        free(fixture_hear(&f));
        sent--;
        fixture_pump(&f);
    }
    diary_expect(&diary, "ready\n");
    assert_int_equal(send_block(kept), 0);
    bus_message_unref(kept);
    fixture_end(&f);
}

static void forget(struct bus_message *call, void *userdata)
{
    diary_note(userdata, "forgotten");
    kept = bus_message_unref(kept);
}

static void answer(struct bus_message *call, void *userdata)
{
    diary_note(userdata, "answered");
    bus_reply_text(call, "0", 1);
    kept = bus_message_unref(kept);
}

/* What a ready handler may do, and calls that go while they wait for theirs. */
static void test_ready_handlers(void **state)
{
    static const bus_message_handler handlers[] = {forget, answer, NULL};
    struct fixture f;
    struct diary diary = {0};

    serve(&f, &diary);
    for (unsigned i = 0; i < 3; i++) {
        say_call(&f, (int)i + 1, ",\"more\":true");
        bus_message_set_ready_handler(kept, handlers[i], &diary);
        say_flow(&f, ":7", (int)i + 1, false);
        assert_int_equal(bus_reply_more_text(kept, "1", 1), -EAGAIN);
        say_flow(&f, ":7", (int)i + 1, true);
    }
    diary_expect(&diary, "wants more\nforgotten\nwants more\nanswered\nwants more\n");
    assert_int_equal(bus_reply_more_text(kept, "1", 1), 0);
    bus_message_unref(kept);
    fixture_expect(&f, "{\"type\":\"error\",\"to\":\":7\",\"id\":1,\"error\":\"bus.NoReply\","
                       "\"message\":\"the service dropped the call without an answer\"}");
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":2,\"body\":0}");

    /* Gone before it could be told; and the connection before. */
    say_call(&f, 4, ",\"more\":true");
    bus_message_set_ready_handler(kept, note_ready, &diary);
    while (send_block(kept) == 0)
        ;
    bus_message_unref(kept);
    while (fixture_is_readable(&f, 0)) {
        fixture_read(&f);
        fixture_pump(&f);
    }
    say_call(&f, 5, ",\"more\":true");
    bus_message_set_ready_handler(kept, note_ready, &diary);
    assert_int_equal(send_block(kept), 0);
    while (send_block(kept) == 0)
        ;
    bus_unref(f.bus);
    f.bus = NULL;
    bus_message_unref(kept);
    diary_expect(&diary, "wants more\nwants more\n");
    fixture_end(&f);
}

static void test_introspect(void **state)
{
    struct fixture f;
    struct diary diary = {0};

    serve(&f, &diary);
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"call\",\"to\":\":42\",\"id\":1,\"method\":"
                    "\"Introspect\"}");
    fixture_pump(&f);
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":1,\"body\":{\"name\":null,"
                       "\"description\":null,\"methods\":[{\"name\":\"List\",\"description\":"
                       "\"Lists.\",\"more\":true},{\"name\":\"Keep\",\"description\":null}]}}");
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items),       cmocka_unit_test(test_items_refused),
        cmocka_unit_test(test_flow),        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_output_full), cmocka_unit_test(test_ready_handlers),
        cmocka_unit_test(test_introspect),
    };

    return cmocka_run_group_tests_name("items of the client library", tests, NULL, NULL);
}
