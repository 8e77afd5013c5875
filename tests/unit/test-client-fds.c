/* SPDX-License-Identifier: MIT */
/* File descriptors both ways, and everything that can go wrong with them. */
#include "tests/unit/client-fixture.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "libbus/wire/sockio.h"

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

static ino_t inode_of(int fd)
{
    struct stat status;

    assert_int_equal(fstat(fd, &status), 0);
    return status.st_ino;
}

static void test_fds_in(void **state)
{
    struct fixture f;
    int count = 0;
    int fd[4];

    fixture_begin(&f);
    subscribe(&f, keep, &count);
    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    assert_int_equal(pipe2(fd + 2, O_CLOEXEC), 0);
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\"}");
    fixture_say_fds(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\",\"fds\":2}", fd, 2);
    fixture_say_fds(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\",\"fds\":1}", fd + 2,
                    1);
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\"}");
    assert_int_equal(fixture_pump(&f), 0);
    assert_int_equal(count, 4);
    assert_int_equal(bus_message_fd_count(kept[0]), 0);
    assert_int_equal(bus_message_fd_count(kept[1]), 2);
    assert_int_equal(bus_message_fd_count(kept[2]), 1);
    assert_int_equal(bus_message_fd_count(kept[3]), 0);
    assert_int_equal(inode_of(bus_message_peek_fd(kept[1], 0)), inode_of(fd[0]));
    assert_int_equal(inode_of(bus_message_peek_fd(kept[2], 0)), inode_of(fd[2]));
    int taken = bus_message_take_fd(kept[1], 1);
    assert_int_equal(inode_of(taken), inode_of(fd[1]));
    assert_int_equal(fcntl(taken, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(bus_message_take_fd(kept[1], 1), -ENODATA);
    assert_int_equal(bus_message_peek_fd(kept[1], 1), -ENODATA);
    assert_int_equal(bus_message_peek_fd(kept[1], 2), -ENODATA);
    assert_int_equal(bus_message_fd_count(kept[1]), 2);
    release(&count);
    assert_int_equal(close(taken), 0);
    for (int i = 0; i < 4; i++)
        close(fd[i]);
    fixture_end(&f);
}

/* A line of the bus, and how many fds come with it in truth. */
static void check_mismatch(const char *line, unsigned count, bool more)
{
    struct fixture f;
    struct diary diary = {0};
    int fd[2];

    fixture_begin(&f);
    subscribe(&f, diary_message, &diary);
    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    fixture_say_fds(&f, line, fd, count);
    if (more)
        fixture_say(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"after\"}");
    assert_int_equal(fixture_pump(&f), -ECONNRESET);
    assert_string_equal(bus_disconnect_error(f.bus)->name, BUS_ERROR_FD_MISMATCH);
    diary_expect(&diary, "");
    close(fd[0]);
    close(fd[1]);
    fixture_end(&f);
}

static void test_fd_mismatch(void **state)
{
    check_mismatch("{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\",\"fds\":2}", 1, false);
    check_mismatch("{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\",\"fds\":1}", 2, false);
    check_mismatch("{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\",\"fds\":1}", 0, false);
    check_mismatch("{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\"}", 1, false);
    /* Blank lines claim nothing. */
    check_mismatch(" ", 1, true);
}

/* Batches without end for a line without end. */
static void test_fds_without_a_line(void **state)
{
    struct fixture f;
    struct msghdr message = {0};
    struct iovec iov = {(char[]){' '}, 1};
    char control[CMSG_SPACE(sizeof(int))] = {0};
    int fd = 0;

    fixture_begin(&f);
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    CMSG_FIRSTHDR(&message)->cmsg_level = SOL_SOCKET;
    CMSG_FIRSTHDR(&message)->cmsg_type = SCM_RIGHTS;
    CMSG_FIRSTHDR(&message)->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &fd, sizeof(fd));
    for (int i = 0; i < 3; i++)
        assert_int_equal(sendmsg(f.broker, &message, MSG_NOSIGNAL), 1);
    assert_int_equal(fixture_pump(&f), -ECONNRESET);
    assert_string_equal(bus_disconnect_error(f.bus)->name, BUS_ERROR_FD_MISMATCH);
    fixture_end(&f);
}

static void note_error(struct bus *bus, const struct bus_error *error, void *userdata)
{
    diary_note(userdata, "handler %s", error->name);
}

static int count_calls(struct bus_message *call, void *userdata)
{
    *(int *)userdata += 1;
    return bus_reply_text(call, NULL, 0);
}

/* valgrind keeps the limit of fds to itself and leaves the kernel's as it was. */
static void need_real_limits(void)
{
    const char *preload = getenv("LD_PRELOAD");

    if (preload && strstr(preload, "vgpreload"))
        skip();
}

/* Our own table of fds is full: the message is lost, the stream is not. */
static void test_fds_cut_short(void **state)
{
    static const struct bus_method methods[] = {{"A", count_calls, 0, NULL}, BUS_METHOD_END};
    struct fixture f;
    struct diary diary = {0};
    struct bus_message *call;
    struct rlimit limit, low;
    int calls = 0;
    int fd[2];

    need_real_limits();
    fixture_begin(&f);
    subscribe(&f, diary_message, &diary);
    bus_set_error_handler(f.bus, note_error, &diary);
    assert_int_equal(bus_serve(f.bus, NULL, methods, &calls, NULL, NULL), 0);
    assert_int_equal(
        bus_call_text_async(f.bus, "org.x", "A", NULL, 0, 100, diary_message, &diary, NULL), 0);
    assert_int_equal(bus_message_new_call(f.bus, "org.y", "A", &call), 0);
    assert_int_equal(bus_message_set_more(call, true), 0);
    assert_int_equal(bus_call_async(call, diary_message, &diary, NULL), 0);
    bus_message_unref(call);
    assert_int_equal(bus_flush(f.bus, 100), 0);
    free(fixture_hear(&f));
    free(fixture_hear(&f));
    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    fixture_say_fds(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\",\"fds\":2}", fd, 2);
    fixture_say_fds(&f, "{\"sender\":\":7\",\"type\":\"reply\",\"id\":2,\"fds\":2}", fd, 2);
    fixture_say_fds(&f,
                    "{\"sender\":\":7\",\"type\":\"call\",\"to\":\":42\",\"id\":9,\"method\":\"A\","
                    "\"fds\":2}",
                    fd, 2);
    fixture_say_fds(&f, "{\"sender\":\":7\",\"type\":\"reply\",\"id\":3,\"more\":true,\"fds\":2}",
                    fd, 2);
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"reply\",\"id\":3,\"more\":true}");
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"b\"}");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = (struct rlimit){.rlim_cur = (rlim_t)fd[1] + 1, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    int r = fixture_pump(&f);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(r, 0);
    assert_int_equal(calls, 0);
    diary_expect(&diary, "handler bus.FdMismatch\nerror bus.FdMismatch\nerror bus.FdMismatch\n"
                         "b null\n");
    fixture_expect(&f, "{\"type\":\"error\",\"to\":\":7\",\"id\":9,\"error\":\"bus.FdMismatch\","
                       "\"message\":\"the file descriptors of a message could not be received\"}");
    fixture_expect(&f, "{\"type\":\"cancel\",\"to\":\":7\",\"id\":3}");
    close(fd[0]);
    close(fd[1]);
    fixture_end(&f);
}

static void test_fds_out(void **state)
{
    struct fixture f;
    struct bus_message *event, *call;
    int fd[2];

    fixture_begin(&f);
    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    ino_t inode = inode_of(fd[0]);
    assert_int_equal(bus_publish_text(f.bus, "before", NULL, 0), 0);
    assert_int_equal(bus_message_new_event(f.bus, "a", &event), 0);
    assert_int_equal(bus_message_push_dup_fd(event, fd[0]), 0);
    assert_int_equal(bus_message_push_fd(event, fd[1]), 0);
    assert_int_equal(bus_message_push_dup_fd(event, -1), -EBADF);
    assert_int_equal(bus_message_push_fd(event, -1), -EBADF);
    assert_int_equal(bus_message_fd_count(event), 2);
    assert_int_equal(inode_of(bus_message_peek_fd(event, 0)), inode);
    assert_int_equal(bus_message_take_fd(event, 0), -ENODATA);
    assert_int_equal(bus_send(event), 0);
    assert_int_equal(bus_message_fd_count(event), 0);
    assert_int_equal(bus_message_push_fd(event, fd[0]), -EINVAL);
    assert_int_equal(fcntl(fd[0], F_GETFD), -1);
    bus_message_unref(event);
    assert_int_equal(bus_message_new_call(f.bus, "org.x", "M", &call), 0);
    assert_int_equal(bus_message_push_dup_fd(call, 0), 0);
    assert_int_equal(bus_send(call), 0);
    bus_message_unref(call);
    assert_int_equal(bus_publish_text(f.bus, "after", NULL, 0), 0);
    assert_int_equal(bus_process(f.bus), 1);

    /* A read never returns more than one batch, and none of an earlier line. */
    assert_true(fixture_read(&f));
    assert_int_equal(f.fd_count, 2);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"before\"}");
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"fds\":2}");
    int received = fixture_take_fd(&f);
    assert_int_equal(inode_of(received), inode);
    close(received);
    assert_int_equal(f.input_size, 0);
    assert_true(fixture_read(&f));
    assert_int_equal(f.fd_count, 2);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"org.x\",\"method\":\"M\",\"no_reply\":true,"
                       "\"fds\":1}");
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"after\"}");
    fixture_end(&f);
}

static void test_fds_not_sent(void **state)
{
    struct fixture f;
    struct bus_message *event;

    fixture_begin(&f);
    assert_int_equal(bus_message_new_event(f.bus, "a", &event), 0);
    for (int i = 0; i < 253; i++)
        assert_int_equal(bus_message_push_dup_fd(event, 0), 0);
    assert_int_equal(bus_message_push_dup_fd(event, 0), -E2BIG);
    bus_message_unref(event);

    /* Dropped with the connection, after being queued. */
    assert_int_equal(bus_message_new_event(f.bus, "a", &event), 0);
    assert_int_equal(bus_message_push_dup_fd(event, 0), 0);
    assert_int_equal(bus_send(event), 0);
    bus_message_unref(event);
    f.bus = bus_unref(f.bus);
    fixture_end(&f);
}

/* A step of what runs in a process of its own, where cmocka's asserts do not work. */
#define STEP(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error("failed in the child: %s\n", #condition);                                  \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static int reply_with_fds(struct bus_message *call, void *userdata)
{
    struct bus_message *reply;

    (void)userdata;
    STEP(bus_message_new_reply(call, &reply) == 0);
    STEP(bus_message_push_dup_fd(reply, 0) == 0);
    STEP(bus_send(reply) == 0);
    bus_message_unref(reply);
    return 0;
}

static void send_with_fds(struct bus *bus, unsigned count)
{
    struct bus_message *event;

    STEP(bus_message_new_event(bus, "a", &event) == 0);
    for (unsigned i = 0; i < count; i++)
        STEP(bus_message_push_dup_fd(event, 0) == 0);
    STEP(bus_send(event) == 0);
    bus_message_unref(event);
    STEP(bus_flush(bus, 1000) == 0);
}

static void note_cancelled(struct bus_message *call, void *userdata)
{
    diary_note(userdata, "cancelled");
}

static struct bus_message *followed;

static int follow_with_fds(struct bus_message *call, void *userdata)
{
    struct bus_message *item;

    followed = bus_message_ref(call);
    STEP(bus_message_set_cancel_handler(call, note_cancelled, userdata) == 0);
    STEP(bus_message_new_reply(call, &item) == 0);
    STEP(bus_message_set_more(item, true) == 0);
    STEP(bus_message_push_dup_fd(item, 0) == 0);
    STEP(bus_send(item) == 0);
    bus_message_unref(item);
    return 0;
}

#define FLIGHT_ID 64017

/* More fds in flight than the kernel grants a user: each message that it refuses is
 * accounted for, to whoever waits for it, and the others go their way. */
static void exceed_flight(void)
{
    static const struct bus_method methods[] = {{"Get", reply_with_fds, 0, NULL},
                                                {"Follow", follow_with_fds, BUS_METHOD_MORE, NULL},
                                                BUS_METHOD_END};
    struct rlimit limit = {24, 24};
    struct diary diary = {0};
    struct bus_message *call;
    struct fixture f;
    char data[65536];

    /* Privileged users have no such limit, and this one's is nobody else's. */
    STEP(geteuid() != 0 || (setresgid(FLIGHT_ID, FLIGHT_ID, FLIGHT_ID) == 0 &&
                            setresuid(FLIGHT_ID, FLIGHT_ID, FLIGHT_ID) == 0));
    fixture_begin(&f);
    bus_set_error_handler(f.bus, note_error, &diary);
    STEP(bus_serve(f.bus, NULL, methods, &diary, NULL, NULL) == 0);
    STEP(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int i = 0; i < 8; i++)
        send_with_fds(f.bus, 4);
    STEP(bus_message_new_call(f.bus, "org.x", "M", &call) == 0);
    STEP(bus_message_push_dup_fd(call, 0) == 0);
    STEP(bus_call_async(call, diary_message, &diary, NULL) == 0);
    STEP(bus_call_message(call, NULL, NULL) == -EALREADY);
    bus_message_unref(call);
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"call\",\"to\":\":42\",\"id\":9,\"method\":"
                    "\"Get\"}");
    STEP(fixture_pump(&f) == 0);
    STEP(!strstr(diary.text, "cancelled\n"));
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"call\",\"to\":\":42\",\"id\":10,\"method\":"
                    "\"Follow\",\"more\":true}");
    STEP(fixture_pump(&f) == 0);
    /* Its caller has got an error in the place of an item. */
    STEP(strstr(diary.text, "cancelled\n"));
    STEP(bus_reply_more_text(followed, "1", 1) == -ECANCELED);
    STEP(bus_publish_text(f.bus, "after", NULL, 0) == 0);
    STEP(bus_flush(f.bus, 1000) == 0);
    STEP(strstr(diary.text, "handler bus.LimitExceeded\n"));
    STEP(strstr(diary.text, "error bus.LimitExceeded\n"));
    STEP(bus_is_connected(f.bus));

    size_t size = 0;
    ssize_t n;
    /* Without room for control messages the kernel drops the fds. */
    while ((n = recv(f.broker, data + size, sizeof(data) - 1 - size, MSG_DONTWAIT)) > 0)
        size += (size_t)n;
    data[size] = '\0';
    STEP(strstr(data, "{\"type\":\"event\",\"topic\":\"a\",\"fds\":4}\n") == data);
    STEP(!strstr(data, "\"method\":\"M\""));
    const char *answer = strstr(data, "{\"type\":\"error\",\"to\":\":7\",\"id\":9,\"error\":"
                                      "\"bus.LimitExceeded\",\"message\":");
    STEP(answer);
    answer = strstr(answer, "}\n{\"type\":\"error\",\"to\":\":7\",\"id\":10,\"error\":"
                            "\"bus.LimitExceeded\",\"message\":");
    STEP(answer);
    STEP(strstr(answer + 1, "}\n{\"type\":\"event\",\"topic\":\"after\"}\n"));
    _exit(0);
}

static void test_too_many_fds_in_flight(void **state)
{
    int status;

    need_real_limits();
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0)
        exceed_flight();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static int publish_with_fd(struct fixture *f, const char *topic)
{
    struct bus_message *event;

    assert_int_equal(bus_message_new_event(f->bus, topic, &event), 0);
    assert_int_equal(bus_message_push_dup_fd(event, 0), 0);
    int r = bus_send(event);
    bus_message_unref(event);
    return r;
}

/* The bus may only let them in once it has greeted us. */
static void test_fds_before_the_greeting(void **state)
{
    struct fixture f;

    fixture_begin_quietly(&f);
    assert_int_equal(bus_publish_text(f.bus, "before", NULL, 0), 0);
    fixture_say(&f, FIXTURE_GREETING);
    assert_int_equal(publish_with_fd(&f, "a"), 0);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"before\"}");
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"a\",\"fds\":1}");
    fixture_end(&f);

    fixture_begin_quietly(&f);
    shutdown(f.broker, SHUT_WR);
    assert_int_equal(publish_with_fd(&f, "a"), -ECONNRESET);
    fixture_end(&f);
}

/* A bus that lets none in at all: that message is lost, and nothing else. */
static void test_fds_kept_out(void **state)
{
    struct fixture f;
    struct diary diary = {0};

    fixture_begin(&f);
    if (sockio_let_fds_in(f.broker, false) < 0) {
        fixture_end(&f);
        skip();
    }
    bus_set_error_handler(f.bus, note_error, &diary);
    assert_int_equal(publish_with_fd(&f, "a"), 0);
    assert_int_equal(bus_publish_text(f.bus, "b", NULL, 0), 0);
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "handler bus.LimitExceeded\n");
    fixture_expect(&f, "{\"type\":\"event\",\"topic\":\"b\"}");
    assert_true(bus_is_connected(f.bus));
    fixture_end(&f);
}

/* An output that is full takes a message with its fds later, whole. */
static void test_fds_and_full_output(void **state)
{
    struct fixture f;
    struct bus_message *event;

    fixture_begin(&f);
    bus_set_output_limit(f.bus, 100000);
    char *text = malloc(90000);
    memset(text, ' ', 90000);
    text[0] = '1';
    while (bus_publish_text(f.bus, "fill", text, 90000) == 0)
        ;
    free(text);
    assert_int_equal(bus_message_new_event(f.bus, "a", &event), 0);
    assert_int_equal(bus_message_push_dup_fd(event, 0), 0);
    int r = 0;
    for (int i = 0; i < 10000 && r == 0; i++)
        r = bus_publish_text(f.bus, "fill", "1", 1);
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(bus_send(event), -EAGAIN);
    assert_int_equal(bus_message_fd_count(event), 1);
    assert_true(fixture_read(&f));
    while (bus_flush(f.bus, 0) == -ETIMEDOUT)
        assert_true(fixture_read(&f));
    assert_int_equal(bus_send(event), 0);
    assert_int_equal(bus_flush(f.bus, 1000), 0);
    while (f.fd_count == 0)
        assert_true(fixture_read(&f));
    bus_message_unref(event);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fds_in),
        cmocka_unit_test(test_fd_mismatch),
        cmocka_unit_test(test_fds_without_a_line),
        cmocka_unit_test(test_fds_cut_short),
        cmocka_unit_test(test_fds_out),
        cmocka_unit_test(test_fds_not_sent),
        cmocka_unit_test(test_too_many_fds_in_flight),
        cmocka_unit_test(test_fds_before_the_greeting),
        cmocka_unit_test(test_fds_kept_out),
        cmocka_unit_test(test_fds_and_full_output),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
