/* SPDX-License-Identifier: MIT */
/* Calls that come in: services, their answers, cancelled and forgotten calls. */
#include "tests/unit/client-fixture.h"

static struct bus_message *kept;

static int method_echo(struct bus_message *call, void *userdata)
{
    size_t size;
    const char *body = bus_message_body_text(call, &size);

    diary_note(userdata, "%s %s %s", bus_message_sender(call), bus_message_to(call),
               bus_message_method(call));
    return bus_reply_text(call, body, size);
}

static int method_fail(struct bus_message *call, void *userdata)
{
    return -ENOENT;
}

static int method_fail_oddly(struct bus_message *call, void *userdata)
{
    return -4095;
}

static int method_fail_after_answer(struct bus_message *call, void *userdata)
{
    assert_int_equal(bus_reply_error(call, "org.x.Full", "%d of %d", 3, 3), 0);
    assert_int_equal(bus_reply_text(call, "1", 1), -EALREADY);
    return -EIO;
}

static int method_forget(struct bus_message *call, void *userdata)
{
    return 0;
}

static int method_keep(struct bus_message *call, void *userdata)
{
    kept = bus_message_ref(call);
    return 0;
}

static int method_tree(struct bus_message *call, void *userdata)
{
    assert_int_equal(bus_reply_text(call, "[", 1), -EBADMSG);
    assert_int_equal(bus_reply_error(call, "not a name", NULL), -EINVAL);
    return bus_reply_take(call, json_pack("{s:i}", "a", 1));
}

static int method_empty(struct bus_message *call, void *userdata)
{
    return bus_reply_text(call, NULL, 0);
}

static int method_built(struct bus_message *call, void *userdata)
{
    struct bus_message *reply, *other;

    assert_int_equal(bus_message_new_reply(call, &reply), 0);
    assert_int_equal(bus_message_new_error(call, "org.x.E", "so \"what\"", &other), 0);
    assert_int_equal(bus_message_set_header(reply, "trace", "7"), 0);
    assert_int_equal(bus_message_set_body_text(reply, "true", 4), 0);
    int r = bus_send(reply);
    assert_int_equal(bus_send(other), -EALREADY);
    bus_message_unref(reply);
    bus_message_unref(other);
    return r;
}

static int method_built_error(struct bus_message *call, void *userdata)
{
    struct bus_message *error;

    assert_int_equal(bus_message_new_error(call, "1", "text", &error), -EINVAL);
    assert_int_equal(bus_message_new_error(call, "org.x.E", "so \"what\"", &error), 0);
    int r = bus_send(error);
    bus_message_unref(error);
    return r;
}

static const struct bus_method methods[] = {
    {"Echo", method_echo, 0, "Gives the body back."},
    {"Fail", method_fail, 0, NULL},
    {"Fail.Oddly", method_fail_oddly, 0, NULL},
    {"FailAfterAnswer", method_fail_after_answer, 0, NULL},
    {"Forget", method_forget, 0, NULL},
    {"Keep", method_keep, 0, "Keeps the \"call\"."},
    {"Tree", method_tree, 0, NULL},
    {"Empty", method_empty, 0, NULL},
    {"Built", method_built, 0, NULL},
    {"BuiltError", method_built_error, 0, NULL},
    BUS_METHOD_END,
};

static struct bus_slot *serve(struct fixture *f, int id, const char *name,
                              const struct bus_method *table, void *userdata)
{
    struct bus_slot *slot = NULL;
    struct bus_error error = BUS_ERROR_INIT;

    if (name)
        fixture_say(f,
                    "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":%d,\"body\":{\"state\":"
                    "\"owner\"}}",
                    id);
    int r = bus_serve(f->bus, name, table, userdata, &slot, &error);
    CHECK(r == 0, "%s", error.message);
    if (name)
        free(fixture_hear(f));
    return slot;
}

/* A call of :7's, and whatever comes of it. */
static void call(struct fixture *f, int id, const char *to, const char *method, const char *more)
{
    fixture_say(f,
                "{\"sender\":\":7\",\"type\":\"call\",\"to\":\"%s\",\"id\":%d,\"method\":\"%s\"%s}",
                to, id, method, more);
    assert_int_equal(fixture_pump(f), 0);
}

/* What the request of the name is to say. */
static void test_name_flags(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_service_options options = {.name_flags = BUS_NAME_SHARED | BUS_NAME_QUEUE};
    struct bus_error error = BUS_ERROR_INIT;

    fixture_begin(&f);
    fixture_say(&f,
                "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":1,\"body\":{\"state\":\"shared\"}}");
    assert_int_equal(bus_serve_with(f.bus, "org.x", &options, methods, &diary, NULL, &error), 0);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"id\":1,\"method\":\"RequestName\","
                       "\"body\":{\"name\":\"org.x\",\"queue\":true,\"shared\":true}}");
    call(&f, 5, "org.x", "Echo", ",\"body\":1");
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":5,\"body\":1}");
    diary_expect(&diary, ":7 org.x Echo\n");

    fixture_say(&f,
                "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":2,\"body\":{\"state\":\"shared\"}}");
    assert_int_equal(bus_request_name(f.bus, "org.y", BUS_NAME_SHARED, &error), 1);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"id\":2,\"method\":\"RequestName\","
                       "\"body\":{\"name\":\"org.y\",\"shared\":true}}");
    /* A failure leaves nothing behind. */
    options.name_flags = 16;
    assert_int_equal(bus_serve_with(f.bus, "org.z", &options, methods, NULL, NULL, &error),
                     -EINVAL);
    assert_int_equal(bus_serve_with(f.bus, "org.z", &options, methods, NULL, NULL, &error),
                     -EINVAL);
    fixture_end(&f);
}

static void test_methods(void **state)
{
    struct fixture f;
    struct diary diary = {0};

    fixture_begin(&f);
    fixture_say(&f,
                "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":1,\"body\":{\"state\":\"owner\"}}");
    assert_int_equal(bus_serve(f.bus, "org.x", methods, &diary, NULL, NULL), 0);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"id\":1,\"method\":\"RequestName\","
                       "\"body\":{\"name\":\"org.x\"}}");
    call(&f, 5, "org.x", "Echo", ",\"body\":[1, 2]");
    diary_expect(&diary, ":7 org.x Echo\n");
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":5,\"body\":[1, 2]}");
    call(&f, 6, "org.x", "Fail", "");
    fixture_expect(&f, "{\"type\":\"error\",\"to\":\":7\",\"id\":6,\"error\":\"errno.ENOENT\","
                       "\"message\":\"No such file or directory\"}");
    call(&f, 7, "org.x", "Fail.Oddly", "");
    fixture_expect(&f, "{\"type\":\"error\",\"to\":\":7\",\"id\":7,\"error\":\"errno.E4095\","
                       "\"message\":\"unknown error\"}");
    call(&f, 8, "org.x", "FailAfterAnswer", "");
    fixture_expect(&f, "{\"type\":\"error\",\"to\":\":7\",\"id\":8,\"error\":\"org.x.Full\","
                       "\"message\":\"3 of 3\"}");
    call(&f, 9, "org.x", "Forget", "");
    fixture_expect(&f, "{\"type\":\"error\",\"to\":\":7\",\"id\":9,\"error\":\"bus.NoReply\","
                       "\"message\":\"the service dropped the call without an answer\"}");
    call(&f, 10, "org.x", "Tree", "");
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":10,\"body\":{\"a\":1}}");
    call(&f, 11, "org.x", "Empty", "");
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":11}");
    call(&f, 12, "org.x", "Built", "");
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":12,\"trace\":7,\"body\":true}");
    call(&f, 13, "org.x", "BuiltError", "");
    fixture_expect(&f, "{\"type\":\"error\",\"to\":\":7\",\"id\":13,\"error\":\"org.x.E\","
                       "\"message\":\"so \\\"what\\\"\"}");
    call(&f, 14, "org.x", "Nope", "");
    fixture_expect(&f,
                   "{\"type\":\"error\",\"to\":\":7\",\"id\":14,\"error\":\"bus.MethodUnknown\","
                   "\"message\":\"org.x has no method 'Nope'; Introspect lists those it "
                   "has\"}");
    fixture_expect_nothing(&f);
    fixture_end(&f);
}

static void test_standard_methods(void **state)
{
    static const struct bus_method own[] = {{"Ping", method_echo, 0, NULL}, BUS_METHOD_END};
    struct fixture f;
    struct diary diary = {0};
    struct bus_slot *slot;

    fixture_begin(&f);
    /* Even a connection without any service. */
    call(&f, 1, ":42", "Ping", "");
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":1,\"body\":{}}");
    call(&f, 2, ":42", "Introspect", "");
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":2,\"body\":{\"name\":null,"
                       "\"description\":null,\"methods\":[]}}");
    call(&f, 3, ":42", "Echo", "");
    fixture_expect(&f, "{\"type\":\"error\",\"to\":\":7\",\"id\":3,\"error\":\"bus.MethodUnknown\","
                       "\"message\":\"this connection has no method 'Echo'; Introspect lists those "
                       "it has\"}");

    slot = serve(&f, 1, "org.x", methods, &diary);
    bus_slot_set_description(slot, "An \"x\".");
    call(&f, 4, "org.x", "Ping", "");
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":4,\"body\":{}}");
    call(&f, 5, "org.x", "Introspect", "");
    char *line = fixture_hear(&f);
    assert_non_null(strstr(line, "\"body\":{\"name\":\"org.x\",\"description\":\"An \\\"x\\\".\","
                                 "\"methods\":[{\"name\":\"Echo\",\"description\":"
                                 "\"Gives the body back.\"},{\"name\":\"Fail\",\"description\":"
                                 "null},"));
    assert_null(bus_check_json(line, BUS_NUL_TERMINATED, NULL));
    free(line);
    bus_slot_free(slot);
    bus_flush(f.bus, 1000);
    free(fixture_hear(&f));

    slot = serve(&f, 2, "org.x", own, &diary);
    call(&f, 6, "org.x", "Ping", ",\"body\":7");
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":6,\"body\":7}");
    bus_slot_free(slot);
    fixture_end(&f);
}

static void test_which_service(void **state)
{
    struct fixture f;
    struct diary named = {0}, unnamed = {0};
    struct bus_slot *slot, *rest;
    struct bus_error error;

    fixture_begin(&f);
    slot = serve(&f, 1, "org.x", methods, &named);
    rest = serve(&f, 2, NULL, methods, &unnamed);
    call(&f, 1, "org.x", "Echo", "");
    call(&f, 2, ":42", "Echo", "");
    call(&f, 3, "org.y", "Echo", "");
    diary_expect(&named, ":7 org.x Echo\n");
    diary_expect(&unnamed, ":7 :42 Echo\n:7 org.y Echo\n");
    for (int i = 0; i < 3; i++)
        free(fixture_hear(&f));
    assert_int_equal(bus_serve(f.bus, NULL, methods, NULL, NULL, &error), -EEXIST);
    assert_int_equal(bus_serve(f.bus, "org.x", methods, NULL, NULL, &error), -EEXIST);
    assert_string_equal(error.message, "this connection serves org.x already");
    bus_slot_free(slot);
    assert_int_equal(fixture_pump(&f), 0);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"method\":\"ReleaseName\",\"no_reply\":"
                       "true,\"body\":{\"name\":\"org.x\"}}");
    bus_slot_free(rest);
    assert_int_equal(fixture_pump(&f), 0);
    fixture_expect_nothing(&f);
    call(&f, 4, "org.x", "Echo", "");
    diary_expect(&named, "");
    fixture_end(&f);
}

static void test_tables_refused(void **state)
{
    static const struct bus_method bad_name[] = {{"a b", method_echo, 0, NULL}, BUS_METHOD_END};
    static const struct bus_method no_handler[] = {{"A", NULL, 0, NULL}, BUS_METHOD_END};
    static const struct bus_method flags[] = {{"A", method_echo, 2, NULL}, BUS_METHOD_END};
    static const struct bus_method twice[] = {
        {"A", method_echo, 0, NULL}, {"A", method_fail, 0, NULL}, BUS_METHOD_END};
    const struct bus_method *tables[] = {bad_name, no_handler, flags, twice};
    struct fixture f;
    struct bus_error error;

    fixture_begin(&f);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(bus_serve(f.bus, "org.x", tables[i], NULL, NULL, &error), -EINVAL);
        assert_string_equal(error.name, BUS_ERROR_INVALID_ARGUMENTS);
    }
    assert_int_equal(bus_serve(f.bus, "x", methods, NULL, NULL, &error), -EINVAL);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"error\",\"id\":1,\"error\":\"bus.NameTaken\"}");
    assert_int_equal(bus_serve(f.bus, "org.x", methods, NULL, NULL, &error), -EEXIST);
    free(fixture_hear(&f));
    call(&f, 1, "org.x", "Fail", "");
    char *line = fixture_hear(&f);
    assert_non_null(strstr(line, "bus.MethodUnknown"));
    free(line);
    fixture_end(&f);
}

static void test_large_table(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_method table[201] = {BUS_METHOD_END};
    char names[200][16];

    for (int i = 0; i < 200; i++) {
        snprintf(names[i], sizeof(names[i]), "Method%d", i);
        table[i] = (struct bus_method){names[i], method_echo, 0, NULL};
    }
    table[200] = (struct bus_method){NULL, NULL, 0, NULL};
    fixture_begin(&f);
    struct bus_slot *slot = serve(&f, 1, "org.x", table, &diary);
    for (int i = 0; i < 200; i++) {
        char expected[64];
        call(&f, i + 1, "org.x", names[i], "");
        snprintf(expected, sizeof(expected), ":7 org.x Method%d\n", i);
        diary_expect(&diary, expected);
    }
    bus_slot_free(slot);
    fixture_end(&f);
}

static void test_no_reply(void **state)
{
    struct fixture f;
    struct diary diary = {0};

    fixture_begin(&f);
    struct bus_slot *slot = serve(&f, 1, "org.x", methods, &diary);
    call(&f, 1, "org.x", "Echo", ",\"no_reply\":true");
    call(&f, 2, "org.x", "Fail", ",\"no_reply\":true");
    call(&f, 3, "org.x", "Forget", ",\"no_reply\":true");
    call(&f, 4, "org.x", "Built", ",\"no_reply\":true");
    call(&f, 5, "org.x", "Nope", ",\"no_reply\":true");
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"call\",\"to\":\"org.x\",\"method\":\"Keep\","
                    "\"no_reply\":true}");
    assert_int_equal(fixture_pump(&f), 0);
    assert_true(bus_message_no_reply(kept));
    assert_int_equal(bus_message_timeout(kept), 0);
    assert_int_equal(bus_reply_text(kept, "1", 1), 0);
    assert_int_equal(bus_reply_text(kept, "1", 1), -EALREADY);
    kept = bus_message_unref(kept);
    assert_int_equal(fixture_pump(&f), 0);
    fixture_expect_nothing(&f);
    bus_slot_free(slot);
    fixture_end(&f);
}

static void test_late_answer(void **state)
{
    struct fixture f;

    fixture_begin(&f);
    struct bus_slot *slot = serve(&f, 1, "org.x", methods, NULL);
    int fd = bus_get_fd(f.bus);
    call(&f, 1, "org.x", "Keep", ",\"timeout\":300,\"path\":\"/p\"");
    fixture_expect_nothing(&f);
    assert_int_equal(bus_message_timeout(kept), 300);
    assert_string_equal(bus_message_path(kept), "/p");
    assert_false(bus_message_is_cancelled(kept));
    assert_false(fd_is_readable(fd));
    assert_int_equal(bus_reply_text(kept, "\"late\"", BUS_NUL_TERMINATED), 0);
    assert_true(fd_is_readable(fd));
    kept = bus_message_unref(kept);
    assert_int_equal(fixture_pump(&f), 0);
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":1,\"body\":\"late\"}");

    /* Forgotten later: the answer goes out by the fd, too. */
    call(&f, 2, "org.x", "Keep", "");
    assert_int_equal(bus_message_timeout(kept), 25000);
    kept = bus_message_unref(kept);
    assert_true(fd_is_readable(fd));
    assert_int_equal(fixture_pump(&f), 0);
    char *line = fixture_hear(&f);
    assert_non_null(strstr(line, "bus.NoReply"));
    free(line);
    bus_slot_free(slot);
    fixture_end(&f);
}

static void on_cancel(struct bus_message *call, void *userdata)
{
    assert_ptr_equal(call, kept);
    assert_true(bus_message_is_cancelled(call));
    diary_note(userdata, "cancelled %d", (int)bus_message_id(call));
    kept = bus_message_unref(kept);
}

static void test_cancelled(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_message *reply;

    fixture_begin(&f);
    struct bus_slot *slot = serve(&f, 1, "org.x", methods, NULL);
    call(&f, 3, "org.x", "Keep", "");
    assert_int_equal(bus_message_set_cancel_handler(kept, on_cancel, &diary), 0);
    /* Another's, and another call. */
    fixture_say(&f, "{\"sender\":\":8\",\"type\":\"cancel\",\"id\":3,\"reason\":\"timeout\"}");
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"cancel\",\"id\":4,\"reason\":\"timeout\"}");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "");
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"cancel\",\"to\":\":42\",\"id\":3,"
                    "\"reason\":\"disconnected\"}");
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"cancel\",\"id\":3}");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "cancelled 3\n");
    assert_null(kept);
    fixture_expect_nothing(&f);

    /* Without a handler the flag tells, and answers go nowhere. */
    call(&f, 4, "org.x", "Keep", "");
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"cancel\",\"id\":4}");
    assert_int_equal(fixture_pump(&f), 0);
    assert_true(bus_message_is_cancelled(kept));
    assert_int_equal(bus_message_new_reply(kept, &reply), 0);
    assert_int_equal(bus_message_push_dup_fd(reply, 0), 0);
    assert_int_equal(bus_send(reply), 0);
    assert_int_equal(bus_send(reply), -EALREADY);
    bus_message_unref(reply);
    assert_int_equal(bus_reply_text(kept, "1", 1), -EALREADY);
    kept = bus_message_unref(kept);
    assert_int_equal(fixture_pump(&f), 0);
    fixture_expect_nothing(&f);

    /* After the answer a cancel is nothing any more. */
    call(&f, 5, "org.x", "Keep", "");
    assert_int_equal(bus_message_set_cancel_handler(kept, on_cancel, &diary), 0);
    assert_int_equal(bus_reply_text(kept, "1", 1), 0);
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"cancel\",\"id\":5}");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "");
    kept = bus_message_unref(kept);
    bus_slot_free(slot);
    fixture_end(&f);
}

static void test_kept_beyond_the_connection(void **state)
{
    struct fixture f;

    fixture_begin(&f);
    struct bus_slot *slot = serve(&f, 1, "org.x", methods, NULL);
    call(&f, 3, "org.x", "Keep", "");
    fixture_hang_up(&f);
    assert_int_equal(fixture_pump(&f), -ECONNRESET);
    assert_true(bus_message_is_cancelled(kept));
    assert_int_equal(bus_reply_text(kept, "1", 1), -ECONNRESET);
    f.bus = bus_unref(f.bus);
    assert_int_equal(bus_reply_text(kept, "1", 1), -ECONNRESET);
    kept = bus_message_unref(kept);
    bus_slot_free(slot);
    fixture_end(&f);
}

static struct bus_slot *own_slot;

static int method_quit(struct bus_message *call, void *userdata)
{
    own_slot = bus_slot_free(own_slot);
    return bus_reply_text(call, "\"bye\"", BUS_NUL_TERMINATED);
}

static void test_freed_in_its_method(void **state)
{
    static const struct bus_method table[] = {{"Quit", method_quit, 0, NULL}, BUS_METHOD_END};
    struct fixture f;

    fixture_begin(&f);
    own_slot = serve(&f, 1, "org.x", table, NULL);
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"call\",\"to\":\"org.x\",\"id\":1,\"method\":"
                    "\"Quit\"}");
    call(&f, 2, "org.x", "Quit", "");
    assert_null(own_slot);
    free(fixture_hear(&f));
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":1,\"body\":\"bye\"}");
    char *line = fixture_hear(&f);
    assert_non_null(strstr(line, "bus.MethodUnknown"));
    free(line);
    fixture_end(&f);
}

static void test_not_a_call(void **state)
{
    struct fixture f;
    struct bus_message *event, *reply;

    fixture_begin(&f);
    assert_int_equal(bus_message_new_event(f.bus, "a", &event), 0);
    assert_int_equal(bus_reply_text(event, "1", 1), -EINVAL);
    assert_int_equal(bus_message_new_reply(event, &reply), -EINVAL);
    assert_int_equal(bus_message_set_cancel_handler(event, on_cancel, NULL), -EINVAL);
    bus_message_unref(event);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_name_flags),
        cmocka_unit_test(test_standard_methods),
        cmocka_unit_test(test_which_service),
        cmocka_unit_test(test_tables_refused),
        cmocka_unit_test(test_large_table),
        cmocka_unit_test(test_no_reply),
        cmocka_unit_test(test_late_answer),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_kept_beyond_the_connection),
        cmocka_unit_test(test_freed_in_its_method),
        cmocka_unit_test(test_not_a_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
