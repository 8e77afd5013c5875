/* SPDX-License-Identifier: MIT */
/* Big bodies, against a scripted bus. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "tests/unit/client-fixture.h"

#define ALL  (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define SIZE 300000

#define CALL(more)                                                                                 \
    "{\"sender\":\":7\",\"type\":\"call\",\"to\":\":42\",\"id\":9,\"method\":\"M\"" more "}"
#define REPLY(id, more) "{\"sender\":\":7\",\"type\":\"reply\",\"id\":" id more "}"
#define EVENT(more)     "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\"" more "}"

static char big[SIZE + 1];

static int fill_big(void **state)
{
    memset(big, 'x', SIZE);
    big[0] = big[SIZE - 1] = '"';
    return 0;
}

/* Memory with this text, sealed so. */
static int memory_with(const char *text, size_t size, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), size);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

/* The oldest fd that the client has sent is such memory. */
static void expect_body(struct fixture *fixture, const char *text, size_t size)
{
    int fd = fixture_take_fd(fixture);
    struct stat status;

    assert_int_equal(fcntl(fd, F_GET_SEALS) & ALL, ALL);
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(status.st_size, size);
    char *mapped = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_ptr_not_equal(mapped, MAP_FAILED);
    assert_memory_equal(mapped, text, size);
    munmap(mapped, size);
    close(fd);
}

/* A line that is longer than what a socket holds. */
static char *hear_long(struct fixture *f)
{
    while (bus_flush(f->bus, 0) == -ETIMEDOUT)
        assert_true(fixture_read(f));
    return fixture_hear(f);
}

static int reply_big(struct bus_message *call, void *userdata)
{
    return bus_reply_text(call, big, SIZE);
}

static int error_big(struct bus_message *call, void *userdata)
{
    struct bus_message *error;

    assert_int_equal(bus_message_new_error(call, "a.b", NULL, &error), 0);
    assert_int_equal(bus_message_set_body_text(error, big, SIZE), 0);
    assert_int_equal(bus_message_push_dup_fd(error, 0), 0);
    int r = bus_send(error);
    bus_message_unref(error);
    return r;
}

/* All that sends. */
static void test_out(void **state)
{
    static const struct bus_method methods[] = {
        {"M", reply_big, 0, NULL}, {"E", error_big, 0, NULL}, BUS_METHOD_END};
    struct fixture f;
    char start[8];

    fixture_begin(&f);
    assert_int_equal(bus_serve(f.bus, NULL, methods, NULL, NULL, NULL), 0);
    assert_int_equal(bus_publish_text(f.bus, "a", big, SIZE), 0);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"fds\":1,\"body_fd\":true}");
    expect_body(&f, big, SIZE);
    memcpy(start, big, sizeof(start));
    assert_int_equal(bus_publish_take(f.bus, "a", json_stringn(big + 1, SIZE - 2)), 0);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"fds\":1,\"body_fd\":true}");
    expect_body(&f, big, SIZE);
    assert_int_equal(bus_call_no_reply(f.bus, "org.x", "M", big, SIZE), 0);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"org.x\",\"method\":\"M\",\"no_reply\":true,"
                       "\"fds\":1,\"body_fd\":true}");
    expect_body(&f, big, SIZE);
    fixture_say(&f, "%s", REPLY("1", ""));
    assert_int_equal(bus_call_text(f.bus, "org.x", "M", big, SIZE, 1000, NULL, NULL), 0);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"org.x\",\"id\":1,\"method\":\"M\","
                       "\"timeout\":1000,\"fds\":1,\"body_fd\":true}");
    expect_body(&f, big, SIZE);
    fixture_say(&f, "%s", CALL(""));
    assert_int_equal(fixture_pump(&f), 0);
    fixture_expect(&f, "{\"type\":\"reply\",\"to\":\":7\",\"id\":9,\"fds\":1,\"body_fd\":true}");
    expect_body(&f, big, SIZE);
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"call\",\"to\":\":42\",\"id\":8,"
                    "\"method\":\"E\"}");
    assert_int_equal(fixture_pump(&f), 0);
    fixture_expect(&f, "{\"type\":\"error\",\"to\":\":7\",\"id\":8,\"error\":\"a.b\",\"fds\":2,"
                       "\"body_fd\":true}");
    expect_body(&f, big, SIZE);
    assert_int_equal(f.fd_count, 1);
    fixture_end(&f);
}

/* The threshold, and what goes in the line whatever it is. */
static void test_threshold(void **state)
{
    struct fixture f;

    fixture_begin(&f);
    bus_set_memfd_threshold(f.bus, 4);
    assert_int_equal(bus_publish_text(f.bus, "a", "1234", 4), 0);
    assert_int_equal(bus_publish_text(f.bus, "a", "12345", 5), 0);
    assert_int_equal(bus_publish_take(f.bus, "a", json_integer(1234)), 0);
    assert_int_equal(bus_publish_take(f.bus, "a", json_integer(12345)), 0);
    assert_int_equal(bus_publish_take(f.bus, "a", json_pack("{s[is]}", "k", 1, "\n")), 0);
    assert_int_equal(bus_call_no_reply(f.bus, "bus", "Ping", "{\"a\":1}", 7), 0);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"body\":1234}");
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"fds\":1,\"body_fd\":true}");
    expect_body(&f, "12345", 5);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"body\":1234}");
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"fds\":1,\"body_fd\":true}");
    expect_body(&f, "12345", 5);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"fds\":1,\"body_fd\":true}");
    expect_body(&f, "{\"k\":[1,\"\\n\"]}", 14);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"method\":\"Ping\",\"no_reply\":true,"
                       "\"body\":{\"a\":1}}");
    bus_set_memfd_threshold(f.bus, 0);
    assert_int_equal(bus_publish_text(f.bus, "a", "1", 1), 0);
    assert_int_equal(bus_publish_text(f.bus, "a", NULL, 0), 0);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"fds\":1,\"body_fd\":true}");
    expect_body(&f, "1", 1);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\"}");
    bus_set_memfd_threshold(f.bus, UINT64_MAX);
    assert_int_equal(bus_publish_text(f.bus, "a", big, SIZE), 0);
    char *line = hear_long(&f);
    assert_int_equal(strlen(line), strlen("{\"type\":\"event\",\"topic\":\"a\",\"body\":}") + SIZE);
    free(line);
    fixture_end(&f);
}

/* What is no JSON is refused as in a line, and LFs between tokens become spaces. */
static void test_json(void **state)
{
    struct fixture f;
    struct bus_message *event;
    char text[SIZE];

    fixture_begin(&f);
    memset(text, ' ', sizeof(text));
    text[0] = '[';
    text[7] = '\n';
    assert_int_equal(bus_publish_text(f.bus, "a", text, sizeof(text)), -EBADMSG);
    assert_int_equal(bus_message_new_event(f.bus, "a", &event), 0);
    assert_int_equal(bus_message_set_body_text(event, text, sizeof(text)), -EBADMSG);
    text[sizeof(text) - 1] = ']';
    assert_int_equal(bus_message_set_body_text(event, text, sizeof(text)), 0);
    assert_int_equal(bus_send(event), 0);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    bus_message_unref(event);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"fds\":1,\"body_fd\":true}");
    text[7] = ' ';
    expect_body(&f, text, sizeof(text));
    json_t *loop = json_array();
    for (int i = 0; i < 200; i++) {
        json_t *outer = json_array();
        json_array_append_new(outer, loop);
        json_array_append_new(outer, json_stringn(big, 2000));
        loop = outer;
    }
    assert_int_equal(bus_publish_take(f.bus, "a", loop), -EBADMSG);
    fixture_end(&f);
}

/* Fds of the program's come behind, and a bus that takes no more gets a line. */
static void test_limits(void **state)
{
    struct fixture f;
    struct bus_message *event;
    struct bus_error error;

    fixture_begin(&f);
    for (int fds = 15; fds <= 16; fds++) {
        assert_int_equal(bus_message_new_event(f.bus, "a", &event), 0);
        assert_int_equal(bus_message_set_body_text(event, big, SIZE), 0);
        for (int i = 0; i < fds; i++)
            assert_int_equal(bus_message_push_dup_fd(event, 0), 0);
        assert_int_equal(bus_message_fd_count(event), fds);
        assert_int_equal(bus_send(event), 0);
        bus_message_unref(event);
        char *line = hear_long(&f);
        if (fds == 15)
            assert_string_equal(line, "{\"type\":\"event\",\"topic\":\"a\",\"fds\":16,"
                                      "\"body_fd\":true}");
        else
            assert_ptr_equal(strstr(line, "{\"type\":\"event\",\"topic\":\"a\",\"fds\":16,"
                                          "\"body\":\"xx"),
                             line);
        free(line);
        assert_int_equal(f.fd_count, 16);
        while (f.fd_count > 0)
            close(fixture_take_fd(&f));
    }
    fixture_end(&f);

    fixture_begin_quietly(&f);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"event\",\"topic\":\"bus.welcome\",\"body\":"
                    "{\"name\":\":42\",\"bus\":\"0123456789abcdef0123456789abcdef\",\"limits\":"
                    "{\"message_bytes\":290000,\"fds_per_message\":0}}}");
    assert_int_equal(bus_publish_text(f.bus, "a", big, SIZE), -EMSGSIZE);
    assert_int_equal(bus_call_text(f.bus, "org.x", "M", big, SIZE, 1000, &error, NULL), -EMSGSIZE);
    assert_string_equal(error.name, BUS_ERROR_TOO_LARGE);
    assert_non_null(strstr(error.message, "300000 bytes"));
    assert_int_equal(bus_message_new_event(f.bus, "a", &event), 0);
    assert_int_equal(bus_message_set_body_text(event, big, SIZE), 0);
    assert_int_equal(bus_send(event), -EMSGSIZE);
    bus_set_memfd_threshold(f.bus, 0);
    assert_int_equal(bus_message_set_body_text(event, "[1]", 3), 0);
    assert_int_equal(bus_send(event), 0);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    bus_message_unref(event);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"body\":[1]}");
    fixture_end(&f);
}

/* In place, without a copy; and passed on as it came. */
static void test_in_place(void **state)
{
    struct fixture f;
    struct bus_message *event;
    struct bus_error error;
    void *memory;
    size_t size;

    fixture_begin(&f);
    assert_int_equal(bus_message_new_event(f.bus, "a", &event), 0);
    assert_int_equal(bus_message_seal_body(event, 1), -EINVAL);
    assert_int_equal(bus_message_map_body(event, 0, &memory), -EINVAL);
    assert_int_equal(bus_message_map_body(event, 100000, &memory), 0);
    assert_int_equal(bus_send(event), -EBUSY);
    memcpy(memory, big, 1000);
    assert_int_equal(bus_message_seal_body(event, 100001), -EINVAL);
    assert_int_equal(bus_message_seal_body(event, 1000), 0);
    assert_int_equal(bus_message_seal_body(event, 1000), -EINVAL);
    assert_memory_equal(bus_message_body_text(event, &size), big, 1000);
    assert_int_equal(size, 1000);
    int fd = bus_message_body_fd(event);
    assert_int_equal(bus_message_fd_count(event), 0);

    struct bus_message *other;
    assert_int_equal(bus_message_new_call(f.bus, "org.x", "M", &other), 0);
    assert_int_equal(bus_message_set_body_fd(other, fd), 0);
    assert_int_equal(bus_send(event), 0);
    assert_int_equal(bus_message_body_fd(event), -ENODATA);
    assert_int_equal(bus_message_map_body(event, 1, &memory), -EINVAL);
    bus_message_unref(event);
    assert_int_equal(bus_send(other), 0);
    bus_message_unref(other);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"fds\":1,\"body_fd\":true}");
    expect_body(&f, big, 1000);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"org.x\",\"method\":\"M\",\"no_reply\":true,"
                       "\"fds\":1,\"body_fd\":true}");
    expect_body(&f, big, 1000);

    /* Given up while it was being written, or replaced. */
    assert_int_equal(bus_message_new_call(f.bus, "org.x", "M", &other), 0);
    assert_int_equal(bus_message_map_body(other, 10, &memory), 0);
    assert_int_equal(bus_call_message(other, &error, NULL), -EBUSY);
    assert_int_equal(bus_message_set_body_text(other, "1", 1), 0);
    assert_int_equal(bus_message_map_body(other, 10, &memory), 0);
    assert_int_equal(bus_message_body_fd(other), -ENODATA);
    bus_message_unref(other);
    fd = memory_with("1", 1, ALL & ~F_SEAL_WRITE);
    assert_int_equal(bus_message_new_event(f.bus, "a", &event), 0);
    assert_int_equal(bus_message_set_body_fd(event, fd), -EPERM);
    assert_int_equal(bus_message_set_body_fd(event, f.broker), -EINVAL);
    bus_message_unref(event);
    close(fd);
    fixture_end(&f);
}

static struct bus_message *kept;

static void keep(struct bus_message *message, void *userdata)
{
    bus_message_unref(kept);
    kept = bus_message_ref(message);
}

static int keep_call(struct bus_message *call, void *userdata)
{
    keep(call, NULL);
    return bus_reply_text(call, NULL, 0);
}

static void subscribe(struct fixture *f, bus_message_handler handler, void *userdata)
{
    fixture_say(f, "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":1,\"body\":"
                   "{\"subscription\":1,\"retained\":0}}");
    assert_int_equal(bus_subscribe(f->bus, "#", NULL, handler, userdata, NULL, NULL), 0);
    free(fixture_hear(f));
}

/* As any body; its fd is hidden, and the others count from 0. */
static void test_in(void **state)
{
    static const char text[] = "{\n\"n\": 5, \"s\": \"t\"}";
    struct fixture f;
    const char *s = "";
    size_t size;
    int n = 0;

    fixture_begin(&f);
    subscribe(&f, keep, NULL);
    int fd[2] = {memory_with(text, strlen(text), ALL), f.broker};
    fixture_say_fds(&f, EVENT(",\"fds\":2,\"body_fd\":true"), fd, 2);
    assert_int_equal(fixture_pump(&f), 0);
    assert_memory_equal(bus_message_body_text(kept, &size), text, strlen(text));
    assert_int_equal(size, strlen(text));
    assert_int_equal(bus_message_unpack(kept, NULL, "{s:i,s:s}", "n", &n, "s", &s), 0);
    assert_int_equal(n, 5);
    assert_string_equal(s, "t");
    assert_int_equal(bus_message_fd_count(kept), 1);
    assert_true(bus_message_body_fd(kept) >= 0);
    struct stat a, b;
    assert_int_equal(fstat(bus_message_peek_fd(kept, 0), &a), 0);
    assert_int_equal(fstat(f.broker, &b), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    assert_int_equal(bus_message_peek_fd(kept, 1), -ENODATA);
    int taken = bus_message_take_fd(kept, 0);
    assert_true(taken >= 0);
    close(taken);
    assert_int_equal(bus_message_take_fd(kept, 0), -ENODATA);
    assert_int_equal(bus_message_take_fd(kept, 1), -ENODATA);
    assert_memory_equal(bus_message_body_text(kept, &size), text, strlen(text));
    close(fd[0]);

    /* `body_fd` may also say no. */
    fixture_say_fds(&f, EVENT(",\"fds\":1,\"body_fd\":false"), &f.broker, 1);
    assert_int_equal(fixture_pump(&f), 0);
    assert_int_equal(bus_message_fd_count(kept), 1);
    assert_int_equal(bus_message_body_fd(kept), -ENODATA);

    /* What is no JSON is found out by whoever looks. */
    struct bus_error error = BUS_ERROR_INIT;
    int bad = memory_with("{\"n\":", 5, ALL);
    fixture_say_fds(&f, EVENT(",\"fds\":1,\"body_fd\":true"), &bad, 1);
    assert_int_equal(fixture_pump(&f), 0);
    assert_memory_equal(bus_message_body_text(kept, &size), "{\"n\":", 5);
    assert_non_null(bus_check_json(bus_message_body_text(kept, &size), size, NULL));
    assert_null(bus_message_body(kept));
    assert_int_equal(bus_message_unpack(kept, &error, "{}"), -EINVAL);
    assert_non_null(strstr(error.message, "not valid JSON"));
    close(bad);
    kept = bus_message_unref(kept);
    fixture_end(&f);
}

static void note_error(struct bus *bus, const struct bus_error *error, void *userdata)
{
    diary_note(userdata, "handler %s", error->name);
}

/* What is not sealed memory is not handed out, and whoever cares is told. */
static void check_refused(int fd)
{
    static const struct bus_method methods[] = {{"M", keep_call, 0, NULL}, BUS_METHOD_END};
    struct fixture f;
    struct diary diary = {0};

    fixture_begin(&f);
    subscribe(&f, diary_message, &diary);
    bus_set_error_handler(f.bus, note_error, &diary);
    assert_int_equal(bus_serve(f.bus, NULL, methods, NULL, NULL, NULL), 0);
    assert_int_equal(
        bus_call_text_async(f.bus, "org.x", "A", NULL, 0, 1000, diary_message, &diary, NULL), 0);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    free(fixture_hear(&f));
    fixture_say_fds(&f, EVENT(",\"id\":2,\"fds\":1,\"body_fd\":true"), &fd, 1);
    fixture_say_fds(&f, CALL(",\"fds\":1,\"body_fd\":true"), &fd, 1);
    fixture_say_fds(&f, REPLY("2", ",\"fds\":1,\"body_fd\":true"), &fd, 1);
    fixture_say(&f, "%s", EVENT(""));
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "handler bus.InvalidMessage\nerror bus.InvalidMessage\na null\n");
    assert_null(kept);
    fixture_expect(&f, "{\"type\":\"error\",\"to\":\":7\",\"id\":9,\"error\":"
                       "\"bus.InvalidArguments\",\"message\":\"the body of a message is not in "
                       "sealed memory, or not all of it is there\"}");
    fixture_end(&f);
    close(fd);
}

static void test_refused(void **state)
{
    int hole = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    check_refused(memory_with("1", 1, 0));
    check_refused(memory_with("1", 1, ALL & ~F_SEAL_SHRINK));
    check_refused(memory_with("", 0, ALL));
    check_refused(open("/dev/null", O_RDWR | O_CLOEXEC));
    assert_int_equal(ftruncate(hole, 1 << 20), 0);
    assert_int_equal(fcntl(hole, F_ADD_SEALS, ALL), 0);
    check_refused(hole);
}

/* What waits counts with the bodies, and what is refused for that can be sent later. */
static void test_full_output(void **state)
{
    struct fixture f;
    struct bus_message *event;
    int sent = 0;

    fixture_begin(&f);
    bus_set_output_limit(f.bus, 10 * SIZE);
    while (bus_publish_text(f.bus, "fill", "1", 1) == 0 && bus_flush(f.bus, 0) == 0)
        ;
    assert_true(bus_output_size(f.bus) < SIZE);
    int fds = fixture_count_fds();
    while (sent < 20 && bus_publish_text(f.bus, "a", big, SIZE) == 0)
        sent++;
    assert_int_equal(sent, 9);
    assert_int_equal(fixture_count_fds(), fds + 9);
    assert_true(bus_output_size(f.bus) > (size_t)9 * SIZE);
    assert_int_equal(bus_message_new_event(f.bus, "a", &event), 0);
    assert_int_equal(bus_message_set_body_text(event, big, SIZE), 0);
    assert_int_equal(bus_send(event), -EAGAIN);
    assert_true(bus_message_body_fd(event) >= 0);
    assert_int_equal(bus_publish_text(f.bus, "b", "1", 1), 0);
    while (f.fd_count < 9) {
        bus_flush(f.bus, 0);
        assert_true(fixture_read(&f));
    }
    assert_int_equal(bus_send(event), 0);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    assert_int_equal(bus_output_size(f.bus), 0);
    while (f.fd_count < 10)
        assert_true(fixture_read(&f));
    bus_message_unref(event);

    /* Of those that are dropped with the connection nothing is left. */
    f.input_size = 0;
    while (bus_publish_text(f.bus, "fill", "1", 1) == 0 && bus_flush(f.bus, 0) == 0)
        ;
    assert_int_equal(bus_publish_text(f.bus, "a", big, SIZE), 0);
    f.bus = bus_unref(f.bus);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_out),      cmocka_unit_test(test_threshold),
        cmocka_unit_test(test_json),     cmocka_unit_test(test_limits),
        cmocka_unit_test(test_in_place), cmocka_unit_test(test_in),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_full_output),
    };

    return cmocka_run_group_tests(tests, fill_big, NULL);
}
