/* SPDX-License-Identifier: MIT */
/* The connection itself, and the messages that are built, sent and read. */
#include "tests/unit/client-fixture.h"

#include <sys/un.h>

static void test_greeting(void **state)
{
    struct fixture f;

    fixture_begin(&f);
    assert_string_equal(bus_unique_name(f.bus), ":42");
    assert_string_equal(bus_id(f.bus), "0123456789abcdef0123456789abcdef");
    assert_true(bus_is_connected(f.bus));
    assert_string_equal(bus_disconnect_error(f.bus)->name, "");
    fixture_expect_nothing(&f);
    fixture_end(&f);
}

static void test_greeting_never_comes(void **state)
{
    struct fixture f;

    fixture_begin_quietly(&f);
    fixture_hang_up(&f);
    assert_null(bus_unique_name(f.bus));
    assert_null(bus_id(f.bus));
    assert_false(bus_is_connected(f.bus));
    assert_string_equal(bus_disconnect_error(f.bus)->name, BUS_ERROR_DISCONNECTED);
    fixture_end(&f);
}

static void test_greeting_without_name(void **state)
{
    struct fixture f;

    fixture_begin_quietly(&f);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"event\",\"topic\":\"bus.welcome\",\"body\":7}");
    assert_null(bus_unique_name(f.bus));
    assert_string_equal(bus_disconnect_error(f.bus)->name, BUS_ERROR_INVALID_MESSAGE);
    fixture_end(&f);
}

static void test_publish_bytes(void **state)
{
    struct fixture f;
    json_t *body = json_pack("{s:i, s:[b, n]}", "a", 1, "b", 1);

    fixture_begin(&f);
    assert_int_equal(bus_publish_text(f.bus, "a.b", "\"x\"", BUS_NUL_TERMINATED), 0);
    assert_int_equal(bus_publish_text(f.bus, "a.b", NULL, 0), 0);
    assert_int_equal(bus_publish_text(f.bus, "a", "[1,2]garbage", 5), 0);
    assert_int_equal(bus_publish(f.bus, "c", body), 0);
    assert_int_equal(bus_publish_take(f.bus, "d", body), 0);
    assert_int_equal(bus_publish(f.bus, "e", NULL), 0);
    assert_true(bus_output_size(f.bus) > 0);
    fixture_expect_nothing(&f);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    assert_int_equal(bus_output_size(f.bus), 0);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a.b\",\"body\":\"x\"}");
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a.b\"}");
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"body\":[1,2]}");
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"c\",\"body\":{\"a\":1,\"b\":[true,null]}}");
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"d\",\"body\":{\"a\":1,\"b\":[true,null]}}");
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"e\"}");
    fixture_expect_nothing(&f);
    fixture_end(&f);
}

/* No text given as a body may reach the envelope or end the line. */
static void test_bodies_refused(void **state)
{
    static const char *const bodies[] = {
        "",
        " ",
        "1 2",
        "{",
        "nul",
        "\"a",
        "01",
        "1}\n{\"type\":\"call\"",
        "1,\"to\":\":1\"",
        "\"a\nb\"",
        "\"a\\\nb\"",
        "\"\xff\"",
        "[1,]",
        "NaN",
        "\"\\ud800\"",
        "{\"a\":1}}",
    };
    struct fixture f;

    fixture_begin(&f);
    for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
        size_t offset = 99;
        CHECK(bus_publish_text(f.bus, "a", bodies[i], BUS_NUL_TERMINATED) == -EBADMSG,
              "accepted: %s", bodies[i]);
        assert_non_null(bus_check_json(bodies[i], BUS_NUL_TERMINATED, &offset));
        assert_in_range(offset, 0, strlen(bodies[i]));
        assert_int_equal(bus_output_size(f.bus), 0);
    }
    assert_int_equal(bus_publish_text(f.bus, "a", "\"\0\"", 3), -EBADMSG);
    assert_int_equal(bus_publish_text(f.bus, "a", "1", 1), 0);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"body\":1}");
    fixture_expect_nothing(&f);
    fixture_end(&f);
}

static void test_newlines_between_tokens(void **state)
{
    struct fixture f;

    fixture_begin(&f);
    assert_int_equal(
        bus_publish_text(f.bus, "a", "\n{\n\"a\\\"\\\\\":\n[1,\n2]\n}\n", BUS_NUL_TERMINATED), 0);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"body\": { \"a\\\"\\\\\": [1, 2] } }");
    assert_null(bus_check_json("[\n1\n]", BUS_NUL_TERMINATED, NULL));
    fixture_end(&f);
}

static void test_depth_counts_the_envelope(void **state)
{
    struct fixture f;
    char text[257];

    /* A body may be 127 deep, as the message around it is one more. */
    memset(text, '[', 127);
    memset(text + 127, ']', 127);
    fixture_begin(&f);
    assert_int_equal(bus_publish_text(f.bus, "a", text, 254), 0);
    memset(text, '[', 128);
    memset(text + 128, ']', 128);
    assert_int_equal(bus_publish_text(f.bus, "a", text, 256), -EBADMSG);
    json_t *tree = json_array();
    for (int i = 0; i < 127; i++) {
        json_t *outer = json_array();
        json_array_append_new(outer, tree);
        tree = outer;
    }
    assert_int_equal(bus_publish_take(f.bus, "a", tree), -EBADMSG);
    fixture_end(&f);
}

static void test_names_refused(void **state)
{
    struct fixture f;
    struct bus_message *message;
    struct bus_error error = BUS_ERROR_INIT;

    fixture_begin(&f);
    assert_int_equal(bus_publish_text(f.bus, "a..b", "1", 1), -EINVAL);
    assert_int_equal(bus_publish_text(f.bus, "a.*", "1", 1), -EINVAL);
    assert_int_equal(bus_publish_text(f.bus, "a\",\"to\":\":1", "1", 1), -EINVAL);
    assert_int_equal(bus_publish_text(f.bus, NULL, "1", 1), -EINVAL);
    assert_int_equal(bus_message_new_call(f.bus, "org", "M", &message), -EINVAL);
    assert_int_equal(bus_message_new_call(f.bus, "org.x", "1M", &message), -EINVAL);
    assert_int_equal(bus_message_new_call(f.bus, NULL, "M", &message), -EINVAL);
    assert_int_equal(bus_message_new_event(f.bus, "", &message), -EINVAL);
    assert_int_equal(
        bus_call_text(f.bus, "org.x", "a b", NULL, 0, BUS_TIMEOUT_DEFAULT, &error, NULL), -EINVAL);
    assert_string_equal(error.name, BUS_ERROR_INVALID_ARGUMENTS);
    assert_string_equal(error.message, "'a b' is no method: only letters, digits, '_', '-' and "
                                       "dots may stand here (at byte 1)");
    assert_int_equal(bus_call_text(f.bus, "org.x", "M", "[1", 2, BUS_TIMEOUT_DEFAULT, &error, NULL),
                     -EBADMSG);
    assert_string_equal(error.name, BUS_ERROR_PARSE_ERROR);
    assert_string_equal(error.message,
                        "the body is not valid JSON: the text ends too early (at byte 2)");
    assert_int_equal(bus_call_no_reply(f.bus, "x", "M", NULL, 0), -EINVAL);
    fixture_expect_nothing(&f);
    fixture_end(&f);
}

static void test_built_call(void **state)
{
    struct fixture f;
    struct bus_message *call;
    size_t size;

    fixture_begin(&f);
    assert_int_equal(bus_message_new_call(f.bus, "org.example.S", "a.B", &call), 0);
    assert_int_equal(bus_message_type(call), BUS_MESSAGE_CALL);
    assert_int_equal(bus_message_set_path(call, "/some thing/\xc3\xa4"), 0);
    assert_int_equal(bus_message_set_path(call, ""), -EINVAL);
    assert_int_equal(bus_message_set_path(call, "a\"b"), -EINVAL);
    assert_int_equal(bus_message_set_path(call, "a\\b"), -EINVAL);
    assert_int_equal(bus_message_set_path(call, "a\nb"), -EINVAL);
    assert_int_equal(bus_message_set_path(call, "\xff"), -EINVAL);
    assert_int_equal(bus_message_set_timeout(call, 1234), 0);
    assert_int_equal(bus_message_set_to(call, ":1"), -EINVAL);
    assert_int_equal(bus_message_set_header(call, "trace", "{\"id\":[1,\n2]}"), 0);
    assert_int_equal(bus_message_set_header(call, "x y", "1"), 0);
    assert_int_equal(bus_message_set_header(call, "x y", "2"), 0);
    assert_int_equal(bus_message_set_header(call, "to", "\":1\""), -EINVAL);
    assert_int_equal(bus_message_set_header(call, "body", "1"), -EINVAL);
    assert_int_equal(bus_message_set_header(call, "about", "1"), -EINVAL);
    assert_int_equal(bus_message_set_header(call, "retained", "true"), -EINVAL);
    assert_int_equal(bus_message_set_header(call, "a\"b", "1"), -EINVAL);
    assert_int_equal(bus_message_set_header(call, "a\\b", "1"), -EINVAL);
    assert_int_equal(bus_message_set_header(call, "a\x01", "1"), -EINVAL);
    assert_int_equal(bus_message_set_header(call, "b", "1,\"to\":\":1\""), -EBADMSG);
    assert_int_equal(bus_message_set_body_text(call, "nope", 4), -EBADMSG);
    assert_int_equal(bus_message_set_body_text(call, "1", 1), 0);
    assert_int_equal(bus_message_take_body(call, json_pack("[s]", "b")), 0);
    assert_string_equal(bus_message_to(call), "org.example.S");
    assert_string_equal(bus_message_method(call), "a.B");
    assert_string_equal(bus_message_path(call), "/some thing/\xc3\xa4");
    assert_null(bus_message_topic(call));
    assert_null(bus_message_sender(call));
    assert_memory_equal(bus_message_body_text(call, &size), "[\"b\"]", 5);
    assert_int_equal(size, 5);

    assert_int_equal(bus_send(call), 0);
    assert_int_equal(bus_send(call), -EALREADY);
    assert_int_equal(bus_call_message(call, NULL, NULL), -EALREADY);
    assert_int_equal(bus_message_set_body_text(call, "1", 1), -EINVAL);
    bus_message_unref(call);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"org.example.S\",\"method\":\"a.B\",\"path\":"
                       "\"/some thing/\xc3\xa4\",\"no_reply\":true,\"timeout\":1234,"
                       "\"trace\":{\"id\":[1, 2]},\"x y\":2,\"body\":[\"b\"]}");
    fixture_end(&f);
}

static void test_built_event(void **state)
{
    struct fixture f;
    struct bus_message *event, *kept;

    fixture_begin(&f);
    assert_int_equal(bus_message_new_event(f.bus, "progress", &event), 0);
    assert_int_equal(bus_message_set_to(event, "no"), -EINVAL);
    assert_int_equal(bus_message_set_to(event, ":7"), 0);
    assert_int_equal(bus_message_set_path(event, "/a"), -EINVAL);
    assert_int_equal(bus_message_set_timeout(event, 1), -EINVAL);
    kept = bus_message_ref(event);
    assert_ptr_equal(bus_message_bus(kept), f.bus);
    bus_message_unref(kept);
    assert_int_equal(bus_send(event), 0);
    bus_message_unref(event);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    fixture_expect(&f, "{\"type\":\"event\",\"to\":\":7\",\"topic\":\"progress\"}");
    fixture_end(&f);
}

static struct bus_message *kept_message;

static void keep(struct bus_message *message, void *userdata)
{
    (void)userdata;
    bus_message_unref(kept_message);
    kept_message = bus_message_ref(message);
}

static void subscribe_keeper(struct fixture *f)
{
    fixture_say(f,
                "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":1,\"body\":{\"subscription\":1}}");
    assert_int_equal(bus_subscribe(f->bus, "a.#", NULL, keep, NULL, NULL, NULL), 0);
    fixture_expect(f,
                   "{\"type\":\"call\",\"to\":\"bus\",\"id\":1,\"method\":\"Subscribe\",\"body\":"
                   "{\"topic\":\"a.#\"}}");
}

static void test_received_parts(void **state)
{
    static const char line[] =
        " {\"sender\":\":7\",\"x\":{\"to\":1},\"type\":\"event\", \"topic\":\"a.b\",\"to\":\":42\","
        "\"id\":9,\"body\":{\"n\":5,\"s\":\"t\"}, \"last\" : [1 ] } ";
    struct fixture f;
    size_t size;
    int n;
    const char *s;
    struct bus_error error;

    fixture_begin(&f);
    subscribe_keeper(&f);
    fixture_say(&f, "%s", line);
    assert_int_equal(fixture_pump(&f), 0);
    struct bus_message *m = kept_message;
    assert_non_null(m);
    assert_int_equal(bus_message_type(m), BUS_MESSAGE_EVENT);
    assert_string_equal(bus_message_sender(m), ":7");
    assert_ptr_equal(bus_message_sender(m), bus_message_sender(m));
    assert_string_equal(bus_message_topic(m), "a.b");
    assert_string_equal(bus_message_to(m), ":42");
    assert_null(bus_message_method(m));
    assert_null(bus_message_path(m));
    assert_null(bus_message_error_name(m));
    assert_null(bus_message_error_text(m));
    assert_int_equal(bus_message_id(m), 9);
    assert_int_equal(bus_message_timeout(m), 0);
    assert_int_equal(bus_message_get_error(m, NULL), 0);
    assert_int_equal(bus_message_fd_count(m), 0);
    assert_int_equal(bus_message_peek_fd(m, 0), -ENODATA);
    assert_false(bus_message_is_retained(m));
    assert_memory_equal(bus_message_header(m, "x", &size), "{\"to\":1}", 8);
    assert_int_equal(size, 8);
    assert_memory_equal(bus_message_header(m, "last", &size), "[1 ]", 4);
    assert_int_equal(size, 4);
    assert_null(bus_message_header(m, "topic", &size));
    assert_null(bus_message_header(m, "none", &size));
    assert_memory_equal(bus_message_line(m, &size), line, sizeof(line) - 1);
    assert_int_equal(size, sizeof(line) - 1);
    assert_memory_equal(bus_message_body_text(m, &size), "{\"n\":5,\"s\":\"t\"}", 15);
    assert_int_equal(size, 15);
    assert_int_equal(bus_message_unpack(m, NULL, "{s:i,s:s}", "n", &n, "s", &s), 0);
    assert_int_equal(n, 5);
    assert_string_equal(s, "t");
    assert_int_equal(bus_message_unpack(m, &error, "{s:s}", "n", &s), -EINVAL);
    assert_string_equal(error.name, BUS_ERROR_INVALID_ARGUMENTS);
    assert_non_null(strstr(error.message, "Expected string"));
    assert_ptr_equal(bus_message_body(m), bus_message_body(m));
    assert_int_equal(bus_send(m), -EINVAL);
    assert_int_equal(bus_message_set_path(m, "/a"), -EINVAL);
    kept_message = bus_message_unref(kept_message);
    fixture_end(&f);
}

static void test_odd_bodies(void **state)
{
    struct fixture f;
    struct bus_error error;
    size_t size;
    char name[300];

    fixture_begin(&f);
    subscribe_keeper(&f);
    /* JSON that no tree of jansson's can hold is still text. */
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\",\"body\":"
                    "123456789012345678901234567890}");
    assert_int_equal(fixture_pump(&f), 0);
    assert_null(bus_message_body(kept_message));
    assert_null(bus_message_body(kept_message));
    assert_int_equal(bus_message_unpack(kept_message, &error, "i", (int *)NULL), -EINVAL);
    assert_memory_equal(bus_message_body_text(kept_message, &size),
                        "123456789012345678901234567890", 30);
    assert_int_equal(size, 30);

    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\",\"body\":"
                    "{\"a\":1,\"a\":2}}");
    assert_int_equal(fixture_pump(&f), 0);
    assert_null(bus_message_body(kept_message));

    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\"}");
    assert_int_equal(fixture_pump(&f), 0);
    assert_true(json_is_null(bus_message_body(kept_message)));
    assert_memory_equal(bus_message_body_text(kept_message, &size), "null", 4);

    /* Strings that do not fit beside one another in the message. */
    memset(name, 'x', sizeof(name));
    name[253] = '\0';
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a.%s\"}", name);
    assert_int_equal(fixture_pump(&f), 0);
    assert_string_equal(bus_message_sender(kept_message), ":7");
    assert_int_equal(strlen(bus_message_topic(kept_message)), 255);
    assert_string_equal(bus_message_topic(kept_message) + 2, name);
    kept_message = bus_message_unref(kept_message);
    fixture_end(&f);
}

static void test_message_outlives_connection(void **state)
{
    struct fixture f;
    struct bus_message *event;
    struct bus_slot *slot;

    fixture_begin(&f);
    fixture_say(&f,
                "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":1,\"body\":{\"subscription\":1}}");
    assert_int_equal(bus_subscribe(f.bus, "a", NULL, keep, NULL, &slot, NULL), 0);
    assert_int_equal(bus_message_new_event(f.bus, "b", &event), 0);
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\",\"body\":\"kept\"}");
    assert_int_equal(fixture_pump(&f), 0);
    bus_unref(f.bus);
    f.bus = NULL;
    assert_string_equal(json_string_value(bus_message_body(kept_message)), "kept");
    assert_string_equal(bus_message_sender(kept_message), ":7");
    assert_false(bus_is_connected(bus_message_bus(kept_message)));
    assert_int_equal(bus_send(event), -ECONNRESET);
    kept_message = bus_message_unref(kept_message);
    bus_message_unref(event);
    bus_slot_free(slot);
    fixture_end(&f);
}

static void test_close_writes(void **state)
{
    struct fixture f;

    fixture_begin(&f);
    assert_int_equal(bus_publish_text(f.bus, "a", "1", 1), 0);
    f.bus = bus_close(f.bus);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"body\":1}");
    assert_false(fixture_read(&f));
    fixture_end(&f);

    fixture_begin(&f);
    assert_int_equal(bus_publish_text(f.bus, "a", "1", 1), 0);
    f.bus = bus_unref(f.bus);
    assert_false(fixture_read(&f));
    fixture_end(&f);
}

static void test_other_owner_after_close(void **state)
{
    struct fixture f;

    fixture_begin(&f);
    struct bus *other = bus_ref(f.bus);
    f.bus = bus_close(f.bus);
    assert_false(bus_is_connected(other));
    assert_int_equal(bus_process(other), -ECONNRESET);
    assert_int_equal(bus_wait(other, UINT64_MAX), -ECONNRESET);
    assert_int_equal(bus_publish_text(other, "a", "1", 1), -ECONNRESET);
    assert_int_equal(bus_flush(other, 1000), -ECONNRESET);
    assert_int_equal(bus_run(other), -ECONNRESET);
    assert_string_equal(bus_disconnect_error(other)->name, BUS_ERROR_DISCONNECTED);
    assert_string_equal(bus_unique_name(other), ":42");
    bus_unref(other);
    assert_null(bus_close(NULL));
    assert_null(bus_unref(NULL));
    assert_null(bus_ref(NULL));
    assert_null(bus_message_ref(NULL));
    assert_null(bus_message_unref(NULL));
    assert_null(bus_slot_free(NULL));
    fixture_end(&f);
}

static void test_addresses(void **state)
{
    int before = fixture_count_fds();
    struct bus *bus = NULL;
    char *address;
    char fd_address[32];
    char path[200];

    memset(path, 'p', sizeof(path));
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(bus_connect(&bus, "/nonexistent/bus"), -ENOENT);
    assert_int_equal(bus_connect(&bus, "unix:/nonexistent/bus"), -ENOENT);
    assert_int_equal(bus_connect(&bus, "unix:@nobody-listens-here"), -ECONNREFUSED);
    assert_int_equal(bus_connect(&bus, path), -ENAMETOOLONG);
    assert_int_equal(bus_connect(&bus, "tcp:localhost"), -EINVAL);
    assert_int_equal(bus_connect(&bus, ""), -EINVAL);
    assert_int_equal(bus_connect(&bus, "unix:"), -EINVAL);
    assert_int_equal(bus_connect(&bus, "unix:@"), -EINVAL);
    assert_int_equal(bus_connect(&bus, "fd:"), -EINVAL);
    assert_int_equal(bus_connect(&bus, "fd:-1"), -EINVAL);
    assert_int_equal(bus_connect(&bus, "fd:1x"), -EINVAL);
    assert_int_equal(bus_connect(&bus, "fd:999999"), -EBADF);

    int pipe_fd[2];
    assert_int_equal(pipe(pipe_fd), 0);
    snprintf(fd_address, sizeof(fd_address), "fd:%d", pipe_fd[0]);
    assert_int_equal(bus_connect(&bus, fd_address), -ENOTSOCK);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
    int datagram = socket(AF_UNIX, SOCK_DGRAM, 0);
    snprintf(fd_address, sizeof(fd_address), "fd:%d", datagram);
    assert_int_equal(bus_connect(&bus, fd_address), -EPROTOTYPE);
    close(datagram);
    int lonely = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(fd_address, sizeof(fd_address), "fd:%d", lonely);
    assert_int_equal(bus_connect(&bus, fd_address), -ENOTCONN);
    close(lonely);
    assert_null(bus);

    setenv("BUSD_ADDRESS", "/somewhere/else", 1);
    assert_int_equal(bus_default_address(false, &address), 0);
    assert_string_equal(address, "/somewhere/else");
    free(address);
    setenv("BUSD_ADDRESS", "", 1);
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    assert_int_equal(bus_default_address(false, &address), 0);
    assert_string_equal(address, "/run/user/7/busd/bus");
    free(address);
    setenv("XDG_RUNTIME_DIR", path, 1);
    assert_int_equal(bus_default_address(false, &address), -ENAMETOOLONG);
    unsetenv("XDG_RUNTIME_DIR");
    assert_int_equal(bus_default_address(false, &address), -ENXIO);
    assert_int_equal(bus_connect(&bus, NULL), -ENXIO);
    unsetenv("BUSD_SYSTEM_ADDRESS");
    assert_int_equal(bus_default_address(true, &address), 0);
    assert_string_equal(address, "/run/busd/bus");
    free(address);
    setenv("BUSD_SYSTEM_ADDRESS", "unix:@none-either", 1);
    assert_int_equal(bus_connect_system(&bus), -ECONNREFUSED);
    assert_int_equal(fixture_count_fds(), before);
}

static void test_listening_socket(void **state)
{
    int before = fixture_count_fds();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[128];
    struct bus *bus;

    snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "libbus-test-%d", getpid());
    socklen_t size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(address.sun_path + 1));
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    snprintf(text, sizeof(text), "unix:@%s", address.sun_path + 1);
    assert_int_equal(bus_connect(&bus, text), 0);
    int peer = accept(listener, NULL, NULL);
    assert_true(peer >= 0);
    bus_close(bus);
    close(peer);
    close(listener);
    assert_int_equal(fixture_count_fds(), before);
}

static void test_checks(void **state)
{
    size_t offset;

    assert_null(bus_check_name("org.example", NULL));
    assert_non_null(bus_check_name("org", NULL));
    assert_non_null(bus_check_name("org.1", &offset));
    assert_int_equal(offset, 4);
    assert_null(bus_check_topic("a.1", NULL));
    assert_non_null(bus_check_topic("a.*", &offset));
    assert_int_equal(offset, 2);
    assert_null(bus_check_pattern("a.*.#", NULL));
    assert_non_null(bus_check_pattern("#.a", NULL));
    assert_null(bus_check_method("Get.All", NULL));
    assert_non_null(bus_check_method("Get All", NULL));
    assert_null(bus_check_group("workers-1", NULL));
    assert_non_null(bus_check_group("work.ers", NULL));
    assert_null(bus_check_json("{\"a\":[1]}", BUS_NUL_TERMINATED, NULL));
    assert_non_null(bus_check_json("{\"a\":[1}", BUS_NUL_TERMINATED, &offset));
    assert_int_equal(offset, 7);
    assert_null(bus_check_json("1x", 1, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greeting),
        cmocka_unit_test(test_greeting_never_comes),
        cmocka_unit_test(test_greeting_without_name),
        cmocka_unit_test(test_publish_bytes),
        cmocka_unit_test(test_bodies_refused),
        cmocka_unit_test(test_newlines_between_tokens),
        cmocka_unit_test(test_depth_counts_the_envelope),
        cmocka_unit_test(test_names_refused),
        cmocka_unit_test(test_built_call),
        cmocka_unit_test(test_built_event),
        cmocka_unit_test(test_received_parts),
        cmocka_unit_test(test_odd_bodies),
        cmocka_unit_test(test_message_outlives_connection),
        cmocka_unit_test(test_close_writes),
        cmocka_unit_test(test_other_owner_after_close),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_listening_socket),
        cmocka_unit_test(test_checks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
