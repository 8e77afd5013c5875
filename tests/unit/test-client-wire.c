/* SPDX-License-Identifier: MIT */
/* Bytes: lines in any pieces and of any length, nonsense from the bus, and the limits
 * of the output. */
#include "tests/unit/client-fixture.h"

#define SUBSCRIBED "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":1,\"body\":{\"subscription\":1}}"

static struct bus_message *kept[4];

static void keep(struct bus_message *message, void *userdata)
{
    int *count = userdata;

    if (*count < 4)
        kept[*count] = bus_message_ref(message);
    (*count)++;
}

static void release(int *count)
{
    for (int i = 0; i < *count && i < 4; i++)
        kept[i] = bus_message_unref(kept[i]);
    *count = 0;
}

static void subscribe(struct fixture *f, bus_message_handler handler, void *userdata)
{
    fixture_say(f, SUBSCRIBED);
    assert_int_equal(bus_subscribe(f->bus, "#", NULL, handler, userdata, NULL, NULL), 0);
    free(fixture_hear(f));
}

static void test_split_everywhere(void **state)
{
    static const char lines[] =
        "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\",\"body\":\"x\xc3\xa4\"}\r\n"
        " \n\n"
        "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"b.c\",\"body\":[1, 2]}\n"
        "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"d\"}\n";
    struct fixture f;
    struct diary diary = {0};

    fixture_begin(&f);
    subscribe(&f, diary_message, &diary);
    for (size_t at = 0; at <= sizeof(lines) - 1; at++) {
        fixture_say_bytes(&f, lines, at);
        assert_int_equal(fixture_pump(&f), 0);
        fixture_say_bytes(&f, lines + at, sizeof(lines) - 1 - at);
        assert_int_equal(fixture_pump(&f), 0);
        diary_expect(&diary, "a \"x\xc3\xa4\"\nb.c [1, 2]\nd null\n");
    }
    for (size_t at = 0; at < sizeof(lines) - 1; at++) {
        fixture_say_bytes(&f, lines + at, 1);
        assert_int_equal(fixture_pump(&f), 0);
    }
    diary_expect(&diary, "a \"x\xc3\xa4\"\nb.c [1, 2]\nd null\n");
    fixture_end(&f);
}

static void note_disconnect(struct bus *bus, void *userdata)
{
    diary_note(userdata, "%s", bus_disconnect_error(bus)->name);
}

/* A bus that makes no sense is no bus: what came before is delivered, what comes
 * after is not read. */
static void test_garbage(void **state)
{
    static const struct {
        const char *line;
        const char *error;
    } garbage[] = {
        {"nonsense", BUS_ERROR_PARSE_ERROR},
        {"{", BUS_ERROR_PARSE_ERROR},
        {"\"\xff\"", BUS_ERROR_PARSE_ERROR},
        {"7", BUS_ERROR_INVALID_MESSAGE},
        {"{}", BUS_ERROR_INVALID_MESSAGE},
        {"{\"type\":\"event\",\"topic\":\"a\"}", BUS_ERROR_INVALID_MESSAGE},
        {"{\"sender\":\"bus\",\"type\":\"event\"}", BUS_ERROR_INVALID_MESSAGE},
        {"{\"sender\":\"bus\",\"type\":\"dance\"}", BUS_ERROR_INVALID_MESSAGE},
        {"{\"sender\":\"bus\",\"type\":\"reply\"}", BUS_ERROR_INVALID_MESSAGE},
        {"{\"sender\":\"bus\",\"type\":\"event\",\"topic\":\"a\",\"fds\":1}",
         BUS_ERROR_FD_MISMATCH},
    };

    for (size_t i = 0; i < sizeof(garbage) / sizeof(*garbage); i++) {
        struct fixture f;
        struct diary diary = {0};
        char expected[256];

        fixture_begin(&f);
        subscribe(&f, diary_message, &diary);
        bus_set_disconnect_handler(f.bus, note_disconnect, &diary);
        assert_int_equal(
            bus_call_text_async(f.bus, "org.x", "A", NULL, 0, 100, diary_message, &diary, NULL), 0);
        assert_int_equal(bus_flush(f.bus, 100), 0);
        fixture_say(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\",\"body\":1}");
        fixture_say(&f, "%s", garbage[i].line);
        fixture_say(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\",\"body\":2}");
        assert_int_equal(fixture_pump(&f), -ECONNRESET);
        snprintf(expected, sizeof(expected), "a 1\nerror bus.Disconnected\n%s\n", garbage[i].error);
        diary_expect(&diary, expected);
        assert_true(strlen(bus_disconnect_error(f.bus)->message) > 10);
        free(fixture_hear(&f));
        assert_false(fixture_read(&f));
        fixture_end(&f);
    }
}

static void test_garbage_in_blocking_call(void **state)
{
    struct fixture f;
    struct bus_error error;

    fixture_begin(&f);
    fixture_say(&f, "[");
    assert_int_equal(bus_call_text(f.bus, "org.x", "A", NULL, 0, 1000, &error, NULL), -ECONNRESET);
    assert_string_equal(error.message,
                        "what the bus sent cannot be read: the line ends too early (at byte 1)");
    fixture_end(&f);
}

/* Hundreds of random changes to good lines: whatever the client makes of them, it
 * survives, and ends in one of two states. */
static void test_mutated_lines(void **state)
{
    static const char line[] =
        "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":1,\"body\":{\"subscription\":1,"
        "\"retained\":1}}\n"
        "{\"sender\":\"bus\",\"retained\":true,\"type\":\"event\",\"topic\":\"bus.name.a.b\","
        "\"body\":{\"owner\":\":7\",\"old\":null}}\n"
        "{\"sender\":\":7\",\"type\":\"call\",\"to\":\":42\",\"id\":1,\"method\":\"Ping\"}\n"
        "{\"sender\":\":7\",\"type\":\"cancel\",\"to\":\":42\",\"id\":1}\n"
        "{\"sender\":\"bus\",\"type\":\"error\",\"error\":\"a\",\"message\":\"\\u0041\"}\n";
    static const char letters[] = "\"{}[]:,0x\\ \n";

    srandom(4711);
    for (int round = 0; round < 500; round++) {
        struct fixture f;
        struct diary diary = {0};
        char copy[sizeof(line)];

        fixture_begin(&f);
        assert_int_equal(bus_subscribe_async(f.bus, "bus.#", "a.b", diary_message, &diary, NULL),
                         0);
        memcpy(copy, line, sizeof(line));
        for (long n = random() % 3; n >= 0; n--)
            copy[(size_t)random() % (sizeof(line) - 1)] =
                letters[(size_t)random() % (sizeof(letters) - 1)];
        fixture_say_bytes(&f, copy, sizeof(copy) - 1);
        int r = fixture_pump(&f);
        assert_true(r == 0 || r == -ECONNRESET);
        assert_int_equal(bus_is_connected(f.bus), r == 0);
        fixture_end(&f);
    }
}

static void test_long_lines(void **state)
{
    static const size_t sizes[] = {100, 5000, 16000, 16384, 20000, 65536, 70000, 300000, 1000000};
    struct fixture f;
    int count = 0;

    fixture_begin(&f);
    subscribe(&f, keep, &count);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        static const char head[] =
            "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\",\"body\":\"";
        char *line = malloc(sizes[i] + sizeof(head) + 3);
        size_t size;
        memcpy(line, head, sizeof(head) - 1);
        memset(line + sizeof(head) - 1, 'x', sizes[i]);
        memcpy(line + sizeof(head) - 1 + sizes[i], "\"}\n", 3);
        size_t left = sizeof(head) - 1 + sizes[i] + 3;
        for (const char *p = line; left > 0;) {
            size_t n = left < 40000 ? left : 40000;
            fixture_say_bytes(&f, p, n);
            p += n;
            left -= n;
            assert_int_equal(fixture_pump(&f), 0);
        }
        assert_int_equal(count, 1);
        const char *body = bus_message_body_text(kept[0], &size);
        assert_int_equal(size, sizes[i] + 2);
        assert_int_equal(body[size - 1], '"');
        assert_int_equal(json_string_length(bus_message_body(kept[0])), sizes[i]);
        free(line);
        release(&count);
        /* And small ones again after it. */
        fixture_say(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\"}");
        assert_int_equal(fixture_pump(&f), 0);
        assert_int_equal(count, 1);
        release(&count);
    }
    fixture_end(&f);
}

/* A message that is kept stays as it is, whatever is read after it. */
static void test_kept_messages(void **state)
{
    struct fixture f;
    int count = 0;
    char text[600];
    size_t size;

    memset(text, 'y', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    fixture_begin(&f);
    subscribe(&f, keep, &count);
    for (int i = 0; i < 4; i++)
        fixture_say(&f, "{\"sender\":\":%d\",\"type\":\"event\",\"topic\":\"a\",\"body\":%d}",
                    i + 1, i);
    assert_int_equal(fixture_pump(&f), 0);
    for (int i = 0; i < 3000; i++) {
        fixture_say(&f, "{\"sender\":\":9\",\"type\":\"event\",\"topic\":\"a\",\"body\":\"%s\"}",
                    text);
        if (i % 7 == 0)
            assert_int_equal(fixture_pump(&f), 0);
    }
    assert_int_equal(fixture_pump(&f), 0);
    assert_int_equal(count, 3004);
    for (int i = 0; i < 4; i++) {
        char expected[16];
        const char *body = bus_message_body_text(kept[i], &size);
        assert_int_equal(size, 1);
        assert_int_equal(body[0], '0' + i);
        snprintf(expected, sizeof(expected), ":%d", i + 1);
        assert_string_equal(bus_message_sender(kept[i]), expected);
    }
    release(&count);
    fixture_end(&f);
}

static void on_writable(struct bus *bus, void *userdata)
{
    int *calls = userdata;

    (*calls)++;
    assert_int_equal(bus_publish_text(bus, "more", NULL, 0), 0);
}

static void test_output_limit(void **state)
{
    struct fixture f;
    char text[1000];
    int calls = 0, sent = 0;

    memset(text, ' ', sizeof(text));
    text[0] = '1';
    fixture_begin(&f);
    int fd = bus_get_fd(f.bus);
    bus_set_writable_handler(f.bus, on_writable, &calls);
    bus_set_output_limit(f.bus, 200000);
    while (bus_publish_text(f.bus, "a", text, sizeof(text)) == 0)
        sent++;
    assert_int_equal(bus_publish_text(f.bus, "a", text, sizeof(text)), -EAGAIN);
    size_t full = bus_output_size(f.bus);
    assert_in_range(full, 198000, 200000);
    assert_true(sent > 200);
    /* Nothing to do until the bus reads, and the fd says so. */
    assert_int_equal(bus_process(f.bus), 0);
    assert_false(fd_is_readable(fd));
    assert_int_equal(bus_wait(f.bus, 0), 0);
    assert_int_equal(calls, 0);
    assert_int_equal(bus_flush(f.bus, 20), -ETIMEDOUT);

    while (bus_output_size(f.bus) > 100000) {
        assert_int_equal(calls, 0);
        assert_true(fixture_read(&f));
        if (fd_is_readable(fd))
            assert_int_equal(bus_process(f.bus), 1);
    }
    assert_int_equal(calls, 1);
    while (bus_output_size(f.bus) > 0) {
        assert_true(fixture_read(&f));
        if (fd_is_readable(fd))
            assert_int_equal(bus_process(f.bus), 1);
    }
    assert_int_equal(calls, 1);
    assert_false(fd_is_readable(fd));
    for (int i = 0; i < sent; i++)
        free(fixture_hear(&f));
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"more\"}");
    fixture_expect_nothing(&f);
    fixture_end(&f);
}

/* The room may come from flushing; the handler is still told, from process(). */
static void test_writable_after_flush(void **state)
{
    struct fixture f;
    int calls = 0;

    fixture_begin(&f);
    int fd = bus_get_fd(f.bus);
    bus_set_writable_handler(f.bus, on_writable, &calls);
    bus_set_output_limit(f.bus, 100);
    /* Small as the limit is: one message goes when nothing waits, and what waits is
     * written to make room. */
    for (int i = 0; i < 50; i++)
        assert_int_equal(bus_publish_text(f.bus, "some.topic",
                                          "\"0123456789012345678901234567890"
                                          "1234567890123456789\"",
                                          BUS_NUL_TERMINATED),
                         0);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    while (bus_publish_text(f.bus, "a", "\"0123456789012345678901234567890\"",
                            BUS_NUL_TERMINATED) == 0)
        ;
    while (bus_flush(f.bus, 0) == -ETIMEDOUT)
        assert_true(fixture_read(&f));
    assert_int_equal(calls, 0);
    assert_true(fd_is_readable(fd));
    assert_int_equal(bus_process(f.bus), 1);
    assert_int_equal(calls, 1);
    assert_false(fd_is_readable(fd));
    fixture_end(&f);
}

static void test_batches(void **state)
{
    static const char line[] = "{\"type\":\"event\",\"topic\":\"a\",\"body\":\"0123456789\"}\n";
    struct fixture f;
    size_t sent = 0;

    fixture_begin(&f);
    do {
        assert_int_equal(bus_publish_text(f.bus, "a", "\"0123456789\"", BUS_NUL_TERMINATED), 0);
        sent += sizeof(line) - 1;
    } while (bus_output_size(f.bus) > 0);
    /* 64 KiB have come together. */
    assert_in_range(sent, 65536, 65536 + sizeof(line));
    assert_true(fixture_is_readable(&f, 0));
    fixture_end(&f);
}

static void test_too_large_for_the_bus(void **state)
{
    struct fixture f;
    struct bus_error error;
    size_t size = 1048576;

    fixture_begin(&f);
    bus_set_memfd_threshold(f.bus, UINT64_MAX);
    char *text = malloc(size);
    memset(text, ' ', size);
    text[0] = '1';
    assert_int_equal(bus_publish_text(f.bus, "a", text, size), -EMSGSIZE);
    assert_int_equal(bus_output_size(f.bus), 0);
    assert_int_equal(bus_call_text(f.bus, "org.x", "M", text, size, 100, &error, NULL), -EMSGSIZE);
    assert_string_equal(error.name, BUS_ERROR_TOO_LARGE);
    /* Exactly as much as the bus takes, with its newline. */
    size -= strlen("{\"type\":\"event\",\"topic\":\"a\",\"body\":}\n");
    assert_int_equal(bus_publish_text(f.bus, "a", text, size), 0);
    assert_int_equal(bus_publish_text(f.bus, "a", text, size + 1), -EMSGSIZE);
    free(text);
    f.bus = bus_unref(f.bus);
    fixture_end(&f);
}

/* Calls of the bus that the library answers by itself, while it does not read the
 * answers, do not pile up without end. */
static void test_answers_are_bounded(void **state)
{
    static const char call[] = "{\"sender\":\":7\",\"type\":\"call\",\"to\":\":42\",\"id\":1,"
                               "\"method\":\"Introspect\"}\n";
    struct fixture f;
    bool stuck = false;

    fixture_begin(&f);
    int fd = bus_get_fd(f.bus);
    bus_set_output_limit(f.bus, 50000);
    assert_int_equal(fcntl(f.broker, F_SETFL, O_NONBLOCK), 0);
    for (int i = 0; i < 200000 && !stuck; i++) {
        if (send(f.broker, call, sizeof(call) - 1, MSG_NOSIGNAL) < 0)
            stuck = !fd_is_readable(fd);
        if (fd_is_readable(fd))
            assert_in_range(bus_process(f.bus), 0, 1);
        assert_in_range(bus_output_size(f.bus), 0, 50000 + 200000);
    }
    assert_true(stuck);
    assert_int_equal(bus_process(f.bus), 0);
    assert_int_equal(fcntl(f.broker, F_SETFL, 0), 0);
    while (fixture_is_readable(&f, 0)) {
        assert_true(fixture_read(&f));
        while (fd_is_readable(fd))
            assert_in_range(bus_process(f.bus), 0, 1);
    }
    assert_int_equal(bus_output_size(f.bus), 0);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_everywhere),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_garbage_in_blocking_call),
        cmocka_unit_test(test_mutated_lines),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_kept_messages),
        cmocka_unit_test(test_output_limit),
        cmocka_unit_test(test_writable_after_flush),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_too_large_for_the_bus),
        cmocka_unit_test(test_answers_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
