/* SPDX-License-Identifier: MIT */
/*
 * Direct channels: between two clients with the library, and with a raw socket at the one
 * or the other end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/bus.h"
#include "tests/support/policy.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"
#include "tests/support/users.h"

#define NAME "org.example.Service"

#define CALLS 1100

/* A service in this process, which is pumped while the client waits; what it has seen. */
struct service {
    struct bus *bus;
    struct bus_slot *slot;
    struct bus *channel; /* the last one opened; a reference */
    struct bus_message *kept;
    struct bus_message **hoard; /* keeps them all */
    char diary[4096];
    unsigned calls;
    unsigned opened;
};

static void note(struct service *service, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void note(struct service *service, const char *format, ...)
{
    size_t used = strlen(service->diary);
    va_list args;

    va_start(args, format);
    vsnprintf(service->diary + used, sizeof(service->diary) - used, format, args);
    va_end(args);
}

#define expect_diary(service, text)                                                                \
    do {                                                                                           \
        assert_string_equal((service)->diary, text);                                               \
        (service)->diary[0] = '\0';                                                                \
    } while (0)

static int on_echo(struct bus_message *call, void *userdata)
{
    struct service *service = userdata;
    struct bus_message *reply;
    size_t size;
    const char *body = bus_message_body_text(call, &size);

    service->calls++;
    assert_int_equal(bus_message_new_reply(call, &reply), 0);
    assert_int_equal(bus_message_set_body_text(reply, body, size), 0);
    for (unsigned i = 0; i < bus_message_fd_count(call); i++)
        assert_int_equal(bus_message_push_fd(reply, bus_message_take_fd(call, i)), 0);
    int r = bus_send(reply);
    bus_message_unref(reply);
    return r;
}

static void on_cancel(struct bus_message *call, void *userdata)
{
    note(userdata, "cancel %s\n", bus_message_method(call));
}

static int on_later(struct bus_message *call, void *userdata)
{
    struct service *service = userdata;

    if (service->hoard) {
        service->hoard[service->calls++] = bus_message_ref(call);
        return 0;
    }
    note(service, "call %s\n", bus_message_method(call));
    bus_message_unref(service->kept);
    service->kept = bus_message_ref(call);
    return bus_message_set_cancel_handler(call, on_cancel, service);
}

static int on_fail(struct bus_message *call, void *userdata)
{
    return bus_reply_error(call, "org.example.Failed", "as asked");
}

static void on_event(struct bus_message *event, void *userdata)
{
    size_t size;
    const char *body = bus_message_body_text(event, &size);

    note(userdata, "event %s %.*s\n", bus_message_topic(event), (int)size, body);
}

/* Answers with an event first, and asks the client something. */
static int on_notify(struct bus_message *call, void *userdata)
{
    struct bus *bus = bus_message_bus(call);

    assert_int_equal(bus_publish_text(bus, "org.example.Service.progress", "50", 2), 0);
    assert_int_equal(bus_publish_text(bus, "other", "1", 1), 0);
    return bus_reply_text(call, "100", 3);
}

static void on_lost(struct bus *channel, void *userdata)
{
    note(userdata, "lost %s\n", bus_disconnect_error(channel)->name);
}

static void on_opened(struct bus *channel, void *userdata)
{
    struct service *service = userdata;

    service->opened++;
    bus_unref(service->channel);
    service->channel = bus_ref(channel);
    bus_set_disconnect_handler(channel, on_lost, service);
    assert_int_equal(bus_subscribe(channel, "up.#", NULL, on_event, service, NULL, NULL), 0);
}

static const struct bus_method methods[] = {
    {"Echo", on_echo, 0, NULL},
    {"Later", on_later, 0, NULL},
    {"Fail", on_fail, 0, NULL},
    {"Notify", on_notify, 0, NULL},
    BUS_METHOD_END,
};

static void service_start(struct service *service, struct session *session, unsigned channels)
{
    struct bus_service_options options = {.channels = channels, .channel_opened = on_opened};

    *service = (struct service){0};
    assert_int_equal(bus_connect(&service->bus, session->busd.path), 0);
    assert_int_equal(
        bus_serve_with(service->bus, NAME, &options, methods, service, &service->slot, NULL), 0);
}

static void service_stop(struct service *service)
{
    bus_message_unref(service->kept);
    bus_slot_free(service->slot);
    bus_close(service->bus);
    bus_unref(service->channel);
}

/* Lets it do what there is to do. */
static void service_pump(struct service *service)
{
    while (bus_wait(service->bus, 0) > 0)
        if (bus_process(service->bus) < 0)
            return;
}

/* Blocking functions of the client want a service that runs by itself. */
static pid_t service_fork(struct session *session, unsigned channels)
{
    struct client *watcher = session_connect(session, "W");
    pid_t pid;

    client_ask(watcher, "Subscribe", "{'topic':'bus.name." NAME "'}",
               "{'subscription':1,'retained':0}");
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct service service;
        service_start(&service, session, channels);
        bus_run(service.bus);
        _exit(0);
    }
    struct message *message = client_wait(watcher, "the owner of the name");
    message_free(message);
    client_free(watcher);
    return pid;
}

static void service_kill(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

struct answer {
    struct bus_message *message;
};

static void on_answer(struct bus_message *message, void *userdata)
{
    struct answer *answer = userdata;

    assert_null(answer->message);
    answer->message = bus_message_ref(message);
}

/* Until the answer is there, both sides in turn. */
static void await(struct service *service, struct bus *client, struct answer *answer)
{
    uint64_t end = process_now() + 5000;

    while (!answer->message) {
        assert_true(process_now() < end);
        service_pump(service);
        if (bus_wait(client, 10) > 0)
            assert_true(bus_process(client) >= 0);
    }
}

static void expect_answer(struct answer *answer, const char *expected)
{
    struct bus_error error = BUS_ERROR_INIT;
    size_t size;
    const char *body = bus_message_body_text(answer->message, &size);

    if (bus_message_get_error(answer->message, &error) < 0) {
        assert_string_equal(error.name, expected);
    } else {
        assert_int_equal(size, strlen(expected));
        assert_memory_equal(body, expected, size);
    }
    answer->message = bus_message_unref(answer->message);
}

/* Opens a channel while the service runs in this process: a raw client does it. */
static int open_raw(struct service *service, struct client *client, uint64_t id)
{
    uint64_t end = process_now() + 5000;
    int fd;

    client_send(client, "{'type':'call','id':%u,'to':'" NAME "','method':'OpenChannel','body':{}}",
                (unsigned)id);
    while (!client_peek(client)) {
        assert_true(process_now() < end);
        service_pump(service);
        poll(NULL, 0, 1);
        client_read_available(client);
    }
    client_expect_fds(client, &fd, 1,
                      "{'sender':'%s','type':'reply','to':'%s','id':%u,'body':"
                      "{'message_bytes':1048576,'fds_per_message':64}}",
                      bus_unique_name(service->bus), client->unique, (unsigned)id);
    return fd;
}

static void say(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(int fd, const char *format, ...)
{
    char line[1024];
    va_list args;

    va_start(args, format);
    int size = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    for (int i = 0; i < size; i++)
        if (line[i] == '\'')
            line[i] = '"';
    line[size++] = '\n';
    assert_int_equal(send(fd, line, (size_t)size, MSG_NOSIGNAL), size);
}

/* The next line on a channel's raw end, or "" at its end. */
static const char *hear(struct service *service, int fd)
{
    static char line[4096];
    uint64_t end = process_now() + 5000;
    size_t size = 0;

    for (;;) {
        ssize_t n = recv(fd, line + size, 1, MSG_DONTWAIT);
        if (n == 0)
            return size == 0 ? "" : "half a line";
        if (n == 1 && line[size] == '\n') {
            line[size] = '\0';
            for (size_t i = 0; i < size; i++)
                if (line[i] == '"')
                    line[i] = '\'';
            return line;
        }
        if (n == 1) {
            assert_true(++size < sizeof(line));
            continue;
        }
        if (errno == ECONNRESET)
            return "";
        assert_int_equal(errno, EAGAIN);
        assert_true(process_now() < end);
        service_pump(service);
        poll(NULL, 0, 1);
    }
}

#define expect_line(service, fd, expected) assert_string_equal(hear(service, fd), expected)

/* ---------------------------------------------------- the library at both ends */

static void test_calls(struct session *session)
{
    struct bus_error error = BUS_ERROR_INIT;
    struct bus_message *reply;
    struct bus *bus, *channel;
    size_t size;
    pid_t pid = service_fork(session, 4);

    assert_int_equal(bus_connect(&bus, session->busd.path), 0);
    assert_int_equal(bus_channel_open(bus, NAME, 5000, &channel, &error), 1);
    assert_ptr_not_equal(bus, channel);
    assert_string_equal(bus_unique_name(channel), bus_unique_name(bus));
    assert_string_equal(bus_id(channel), bus_id(bus));
    assert_null(bus_channel_peer(bus));
    assert_null(bus_channel_credentials(bus));

    /* Who is there: the service's process, by a name of the bus. */
    const struct bus_credentials *there = bus_channel_credentials(channel);
    struct bus_credentials asked;
    assert_int_equal(there->pid, pid);
    assert_int_equal(there->uid, geteuid());
    assert_int_equal(bus_get_credentials(bus, NAME, &asked, NULL), 0);
    assert_int_equal(asked.pid, pid);
    if (asked.pidfd >= 0)
        close(asked.pidfd);
    assert_int_equal(bus_get_credentials(bus, bus_channel_peer(channel), &asked, NULL), 0);
    assert_int_equal(asked.gid, there->gid);
    if (asked.pidfd >= 0)
        close(asked.pidfd);
    assert_int_equal(bus_get_credentials(bus, "org.example.Nobody", &asked, &error), -ENXIO);
    assert_int_equal(bus_get_credentials(bus, "no name", &asked, &error), -EINVAL);

    assert_int_equal(bus_call_text(channel, NAME, "Echo", "[1]", 3, 5000, &error, &reply), 0);
    assert_string_equal(bus_message_sender(reply), bus_channel_peer(channel));
    assert_memory_equal(bus_message_body_text(reply, &size), "[1]", 3);
    assert_ptr_equal(bus_message_bus(reply), channel);
    bus_message_unref(reply);
    assert_int_equal(bus_call_text(channel, NAME, "Fail", NULL, 0, 5000, &error, NULL), -EREMOTEIO);
    assert_string_equal(error.name, "org.example.Failed");
    assert_int_equal(bus_call_text(channel, NAME, "Ping", NULL, 0, 5000, &error, NULL), 0);
    assert_int_equal(bus_call_text(channel, NAME, "Introspect", NULL, 0, 5000, &error, &reply), 0);
    assert_true(json_is_true(json_object_get(bus_message_body(reply), "channels")));
    bus_message_unref(reply);
    assert_int_equal(bus_call_text(channel, NAME, "None", NULL, 0, 5000, &error, NULL),
                     -EOPNOTSUPP);
    assert_int_equal(bus_call_text(channel, NAME, "OpenChannel", NULL, 0, 5000, &error, NULL),
                     -EOPNOTSUPP);
    for (unsigned i = 0; i < 10000; i++) {
        char text[16];
        int length = snprintf(text, sizeof(text), "%u", i);
        assert_int_equal(
            bus_call_text(channel, NAME, "Echo", text, (size_t)length, 5000, &error, &reply), 0);
        assert_int_equal(json_integer_value(bus_message_body(reply)), i);
        bus_message_unref(reply);
    }
    /* The bus has had none of them. */
    json_t *stats = client_ask_json(session_connect(session, "S"), "Stats", "{}");
    assert_true(
        json_integer_value(json_object_get(json_object_get(stats, "messages"), "received")) < 100);
    json_decref(stats);
    bus_close(channel);
    bus_close(bus);
    service_kill(pid);
}

/* What a channel does not do is refused at once, and says why. */
static void test_refusals(struct session *session)
{
    struct bus_error error = BUS_ERROR_INIT;
    struct bus *bus, *channel, *other;
    pid_t pid = service_fork(session, 4);

    assert_int_equal(bus_connect(&bus, session->busd.path), 0);
    assert_int_equal(bus_channel_open(bus, NAME, 5000, &channel, &error), 1);
    assert_int_equal(bus_call_text(channel, "bus", "Ping", NULL, 0, 5000, &error, NULL), -ENXIO);
    assert_non_null(strstr(error.message, "this channel leads to '" NAME "'"));
    assert_int_equal(bus_call_text(channel, ":99", "M", NULL, 0, 5000, &error, NULL), -ENXIO);
    assert_int_equal(bus_call_no_reply(channel, "org.example.Other", "M", NULL, 0), -ENXIO);
    assert_int_equal(bus_request_name(channel, "org.example.Mine", 0, &error), -ENXIO);
    assert_int_equal(bus_watch_name(channel, NAME, NULL, NULL, NULL, &error), -EINVAL);
    assert_int_equal(bus_serve(channel, "org.example.Mine", methods, NULL, NULL, &error), -ENXIO);
    assert_int_equal(bus_subscribe(channel, "a", "org.example.Name", on_event, NULL, NULL, &error),
                     -EINVAL);
    assert_int_equal(bus_publish_text(channel, "bus.name.x", "1", 1), -EACCES);
    assert_int_equal(bus_channel_open(channel, NAME, 5000, &other, &error), -EINVAL);
    assert_int_equal(bus_channel_open(bus, "bus", 5000, &other, &error), -EINVAL);
    assert_int_equal(bus_channel_open(bus, "org.example.Nobody", 5000, &other, &error), -ENXIO);
    assert_int_equal(bus_channel_open(bus, "no name", 5000, &other, &error), -EINVAL);
    assert_int_equal(bus_call_text(channel, NAME, "Ping", NULL, 0, 5000, &error, NULL), 0);
    bus_close(channel);
    bus_close(bus);
    service_kill(pid);
}

/* Without a channel the bus does the same: no flag, too many, or the policy. */
static void check_fallback(struct session *session, const char *reason)
{
    struct bus_error error = BUS_ERROR_INIT;
    struct bus_message *reply;
    struct bus *bus, *channel;

    assert_int_equal(bus_connect(&bus, session->busd.path), 0);
    assert_int_equal(bus_channel_open(bus, NAME, 5000, &channel, &error), 0);
    assert_string_equal(error.name, reason);
    assert_ptr_equal(channel, bus);
    assert_null(bus_channel_peer(channel));
    assert_int_equal(bus_call_text(channel, NAME, "Echo", "[1]", 3, 5000, &error, &reply), 0);
    bus_message_unref(reply);
    bus_unref(channel);
    bus_close(bus);
}

static void test_no_flag(struct session *session)
{
    pid_t pid = service_fork(session, 0);

    check_fallback(session, BUS_ERROR_METHOD_UNKNOWN);
    service_kill(pid);
}

static void test_quota(struct session *session)
{
    struct bus *bus, *first, *second;
    pid_t pid = service_fork(session, 2);

    assert_int_equal(bus_connect(&bus, session->busd.path), 0);
    assert_int_equal(bus_channel_open(bus, NAME, 5000, &first, NULL), 1);
    assert_int_equal(bus_channel_open(bus, NAME, 5000, &second, NULL), 1);
    check_fallback(session, BUS_ERROR_LIMIT_EXCEEDED);
    /* One that ends makes room for another. */
    bus_close(first);
    int r = 0;
    for (int i = 0; i < 500 && r == 0; i++) {
        r = bus_channel_open(bus, NAME, 5000, &first, NULL);
        if (r == 0)
            bus_unref(first);
        poll(NULL, 0, 10);
    }
    assert_int_equal(r, 1);
    bus_close(first);
    bus_close(second);
    bus_close(bus);
    service_kill(pid);
}

/* A rule about one method keeps all from going by a channel, where nobody would ask it. */
static void test_policy(struct session *session)
{
    struct bus_error error;
    struct bus *bus;
    pid_t pid = service_fork(session, 4);

    check_fallback(session, BUS_ERROR_ACCESS_DENIED);
    assert_int_equal(bus_connect(&bus, session->busd.path), 0);
    assert_int_equal(bus_call_text(bus, NAME, "Fail", NULL, 0, 5000, &error, NULL), -EACCES);
    struct client *a = session_connect(session, "A");
    client_send(a, "{'type':'call','id':1,'to':'" NAME "','method':'OpenChannel'}");
    client_expect_error(a, 1, "bus.AccessDenied");
    json_t *answer =
        client_ask_json(a, "Explain", "{'verb':'call','to':'" NAME "','method':'OpenChannel'}");
    assert_true(json_is_false(json_object_get(answer, "allow")));
    json_decref(answer);
    bus_close(bus);
    service_kill(pid);
}

/* Fds and big bodies, in both directions. */
static void test_fds_and_bodies(struct session *session)
{
    struct bus_error error = BUS_ERROR_INIT;
    struct bus_message *call, *reply;
    struct bus *bus, *channel;
    struct stat before, after;
    size_t size = 3000000;
    char *text = malloc(size);
    pid_t pid = service_fork(session, 4);

    memset(text, 'x', size);
    text[0] = text[size - 1] = '"';
    assert_int_equal(bus_connect(&bus, session->busd.path), 0);
    assert_int_equal(bus_channel_open(bus, NAME, 5000, &channel, &error), 1);
    assert_int_equal(bus_message_new_call(channel, NAME, "Echo", &call), 0);
    assert_int_equal(bus_message_set_body_text(call, text, size), 0);
    assert_int_equal(bus_message_push_dup_fd(call, 0), 0);
    assert_int_equal(bus_message_push_dup_fd(call, 2), 0);
    assert_int_equal(bus_call_message(call, &error, &reply), 0);
    bus_message_unref(call);
    size_t got;
    const char *body = bus_message_body_text(reply, &got);
    assert_int_equal(got, size);
    assert_memory_equal(body, text, size);
    assert_true(bus_message_body_fd(reply) >= 0);
    assert_int_equal(bus_message_fd_count(reply), 2);
    assert_int_equal(fstat(0, &before), 0);
    assert_int_equal(fstat(bus_message_peek_fd(reply, 0), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    bus_message_unref(reply);

    /* As many as the bus would take, and no more. */
    for (int fds = 64; fds <= 65; fds++) {
        assert_int_equal(bus_message_new_call(channel, NAME, "Echo", &call), 0);
        for (int i = 0; i < fds; i++)
            assert_int_equal(bus_message_push_dup_fd(call, 0), 0);
        if (fds == 64) {
            assert_int_equal(bus_call_message(call, &error, &reply), 0);
            assert_int_equal(bus_message_fd_count(reply), 64);
            bus_message_unref(reply);
        } else {
            assert_int_equal(bus_call_message(call, &error, NULL), -EDQUOT);
        }
        bus_message_unref(call);
    }
    bus_set_memfd_threshold(channel, UINT64_MAX);
    assert_int_equal(bus_call_text(channel, NAME, "Echo", text, size, 5000, &error, NULL),
                     -EMSGSIZE);
    assert_int_equal(bus_call_text(channel, NAME, "Ping", NULL, 0, 5000, &error, NULL), 0);
    bus_close(channel);
    bus_close(bus);
    service_kill(pid);
    free(text);
}

/* Whoever dies: the calls under way end, once, and so does the channel. */
static void test_death_of_the_service(struct session *session)
{
    struct bus_error error = BUS_ERROR_INIT;
    struct answer answer = {0};
    struct bus *bus, *channel;
    pid_t pid = service_fork(session, 4);

    assert_int_equal(bus_connect(&bus, session->busd.path), 0);
    assert_int_equal(bus_channel_open(bus, NAME, 5000, &channel, &error), 1);
    assert_int_equal(
        bus_call_text_async(channel, NAME, "Later", NULL, 0, 5000, on_answer, &answer, NULL), 0);
    assert_int_equal(bus_flush(channel, 1000), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(bus_call_text(channel, NAME, "Later", NULL, 0, 5000, &error, NULL),
                     -ECONNRESET);
    assert_string_equal(error.name, BUS_ERROR_DISCONNECTED);
    while (bus_process(channel) >= 0)
        bus_wait(channel, 100);
    expect_answer(&answer, BUS_ERROR_DISCONNECTED);
    assert_false(bus_is_connected(channel));
    assert_string_equal(bus_disconnect_error(channel)->message,
                        "the other side closed the connection");
    assert_int_equal(bus_call_text(channel, NAME, "Ping", NULL, 0, 5000, &error, NULL),
                     -ECONNRESET);
    assert_true(bus_is_connected(bus));
    bus_close(channel);
    bus_close(bus);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* ------------------------------------------------- the service in this process */

/* Opening blocks, so it takes a thread while the service is pumped here. */
struct opening {
    struct bus *bus;
    struct bus *channel;
    _Atomic bool done;
    int r;
};

static void *run_opening(void *userdata)
{
    struct opening *opening = userdata;

    opening->r = bus_channel_open(opening->bus, NAME, 5000, &opening->channel, NULL);
    opening->done = true;
    return NULL;
}

/* A client with a channel to the service of this process. */
static struct opening open_here(struct session *session, struct service *service)
{
    struct opening opening = {0};
    pthread_t thread;

    assert_int_equal(bus_connect(&opening.bus, session->busd.path), 0);
    assert_int_equal(pthread_create(&thread, NULL, run_opening, &opening), 0);
    while (!opening.done) {
        service_pump(service);
        poll(NULL, 0, 1);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(opening.r, 1);
    return opening;
}

static void close_here(struct opening *opening)
{
    bus_close(opening->channel);
    bus_close(opening->bus);
}

/* Both sides, until nobody has anything to do. */
static void pump_both(struct service *service, struct bus *channel)
{
    bool busy = true;

    for (int idle = 0; idle < 3; idle = busy ? 0 : idle + 1) {
        busy = bus_wait(service->bus, 2) > 0 && bus_process(service->bus) > 0;
        busy |= bus_wait(channel, 2) > 0 && bus_process(channel) > 0;
    }
}

static void test_service_side(struct session *session)
{
    struct service service;

    service_start(&service, session, 4);
    struct opening client = open_here(session, &service);
    assert_int_equal(service.opened, 1);
    assert_string_equal(bus_channel_peer(service.channel), bus_unique_name(client.bus));
    assert_string_equal(bus_unique_name(service.channel), bus_unique_name(service.bus));
    assert_int_equal(bus_channel_credentials(service.channel)->pid, getpid());
    /* Its loop is that of the connection. */
    assert_int_equal(bus_get_fd(service.channel), bus_get_fd(service.bus));
    struct bus_error error = BUS_ERROR_INIT;
    assert_int_equal(bus_serve(service.channel, NULL, methods, NULL, NULL, &error), -EEXIST);
    close_here(&client);
    service_pump(&service);
    expect_diary(&service, "lost bus.Disconnected\n");
    assert_false(bus_is_connected(service.channel));
    service_stop(&service);
}

/* Events go to the other side, to whatever matches there, and not to the bus. */
static void test_events(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct service service, seen = {0};
    struct answer answer = {0};
    struct bus_slot *slot;

    client_ask(a, "Subscribe", "{'topic':'#'}", "{'subscription':1,'retained':0}");
    service_start(&service, session, 4);
    struct opening client = open_here(session, &service);
    assert_int_equal(bus_subscribe(client.channel, NAME ".*", bus_channel_peer(client.channel),
                                   on_event, &seen, &slot, NULL),
                     0);
    assert_int_equal(bus_subscribe(client.channel, "#", ":999", on_event, &seen, NULL, NULL), 0);
    assert_int_equal(bus_call_text_async(client.channel, NAME, "Notify", NULL, 0, 5000, on_answer,
                                         &answer, NULL),
                     0);
    await(&service, client.channel, &answer);
    expect_answer(&answer, "100");
    expect_diary(&seen, "event org.example.Service.progress 50\n");
    assert_int_equal(bus_publish_text(client.channel, "up.a.b", "[1]", 3), 0);
    assert_int_equal(bus_publish_text(client.channel, "down", "[2]", 3), 0);
    pump_both(&service, client.channel);
    expect_diary(&service, "event up.a.b [1]\n");
    bus_slot_free(slot);
    assert_int_equal(bus_publish_text(service.channel, NAME ".x", "1", 1), 0);
    pump_both(&service, client.channel);
    expect_diary(&seen, "");
    client_expect_nothing(a);
    close_here(&client);
    service_stop(&service);
}

static int on_question(struct bus_message *call, void *userdata)
{
    note(userdata, "question %s of %s\n", bus_message_method(call), bus_message_to(call));
    return bus_reply_text(call, "42", 2);
}

/* The service asks, its client answers. */
static void test_calls_of_the_service(struct session *session)
{
    static const struct bus_method answers[] = {{"Ask", on_question, 0, NULL}, BUS_METHOD_END};
    struct service service, seen = {0};
    struct answer answer = {0};

    service_start(&service, session, 4);
    struct opening client = open_here(session, &service);
    const char *peer = bus_channel_peer(service.channel);
    assert_int_equal(bus_serve(client.channel, NULL, answers, &seen, NULL, NULL), 0);
    assert_int_equal(
        bus_call_text_async(service.channel, peer, "Ask", NULL, 0, 5000, on_answer, &answer, NULL),
        0);
    await(&service, client.channel, &answer);
    expect_answer(&answer, "42");
    note(&service, "question Ask of %s\n", peer);
    assert_string_equal(seen.diary, service.diary);
    service.diary[0] = '\0';

    /* Its deadline is among those of the connection. */
    assert_int_equal(
        bus_call_text_async(service.channel, peer, "Ask", NULL, 0, 50, on_answer, &answer, NULL),
        0);
    uint64_t end = process_now() + 5000;
    while (!answer.message) {
        assert_true(process_now() < end);
        assert_true(bus_wait(service.bus, 1000) > 0);
        assert_true(bus_process(service.bus) >= 0);
    }
    expect_answer(&answer, BUS_ERROR_TIMEOUT);
    assert_int_equal(bus_call_text(service.channel, NAME, "Ask", NULL, 0, 5000, NULL, NULL),
                     -ENXIO);
    close_here(&client);
    service_stop(&service);
}

/* Freed slots, deadlines and lost channels reach the callee; one answer comes at most. */
static void test_cancel(struct session *session)
{
    struct bus_error error = BUS_ERROR_INIT;
    struct service service;
    struct answer answer = {0};
    struct bus_slot *slot;

    service_start(&service, session, 4);
    struct opening client = open_here(session, &service);
    assert_int_equal(bus_call_text_async(client.channel, NAME, "Later", NULL, 0, 5000, on_answer,
                                         &answer, &slot),
                     0);
    pump_both(&service, client.channel);
    bus_slot_free(slot);
    pump_both(&service, client.channel);
    expect_diary(&service, "call Later\ncancel Later\n");
    assert_true(bus_message_is_cancelled(service.kept));
    assert_int_equal(bus_reply_text(service.kept, "1", 1), 0);
    pump_both(&service, client.channel);
    assert_null(answer.message);

    /* Deadlines, of which nobody but the caller knows: asynchronous, … */
    uint64_t begin = process_now();
    assert_int_equal(
        bus_call_text_async(client.channel, NAME, "Later", NULL, 0, 100, on_answer, &answer, NULL),
        0);
    await(&service, client.channel, &answer);
    assert_true(process_now() - begin >= 100);
    assert_true(process_now() - begin < 1000);
    expect_answer(&answer, BUS_ERROR_TIMEOUT);
    pump_both(&service, client.channel);
    expect_diary(&service, "call Later\ncancel Later\n");
    assert_int_equal(bus_reply_text(service.kept, "1", 1), 0);

    /* … and while it blocks. */
    begin = process_now();
    assert_int_equal(bus_call_text(client.channel, NAME, "Later", NULL, 0, 100, &error, NULL),
                     -ETIMEDOUT);
    assert_true(process_now() - begin < 1000);
    assert_string_equal(error.name, BUS_ERROR_TIMEOUT);
    pump_both(&service, client.channel);
    expect_diary(&service, "call Later\ncancel Later\n");

    assert_int_equal(
        bus_call_text_async(client.channel, NAME, "Later", NULL, 0, 5000, on_answer, &answer, NULL),
        0);
    pump_both(&service, client.channel);
    bus_close(client.channel);
    expect_answer(&answer, BUS_ERROR_DISCONNECTED);
    service_pump(&service);
    expect_diary(&service, "call Later\ncancel Later\nlost bus.Disconnected\n");
    assert_int_equal(bus_reply_text(service.kept, "1", 1), 0);
    bus_close(client.bus);
    service_stop(&service);
}

/* The service ends its channels: one, or all with itself. */
static void test_end(struct session *session)
{
    struct service service;
    struct answer answer = {0};

    service_start(&service, session, 4);
    struct opening first = open_here(session, &service);
    bus_close(bus_ref(service.channel));
    struct opening second = open_here(session, &service);
    assert_int_equal(bus_wait(first.channel, 1000), 1);
    assert_int_equal(bus_process(first.channel), -ECONNRESET);
    assert_true(bus_is_connected(second.channel));
    assert_int_equal(
        bus_call_text_async(second.channel, NAME, "Later", NULL, 0, 5000, on_answer, &answer, NULL),
        0);
    pump_both(&service, second.channel);
    service.slot = bus_slot_free(service.slot);
    service_pump(&service);
    expect_diary(&service, "call Later\ncancel Later\nlost bus.Disconnected\n");
    assert_string_equal(bus_disconnect_error(service.channel)->message, "the service has ended");
    while (bus_process(second.channel) >= 0)
        bus_wait(second.channel, 1000);
    expect_answer(&answer, BUS_ERROR_DISCONNECTED);
    close_here(&first);
    close_here(&second);
    service_stop(&service);

    /* With its connection; and one that is kept is of no use any more. */
    service_start(&service, session, 4);
    first = open_here(session, &service);
    assert_int_equal(bus_call_text_async(service.channel, bus_channel_peer(service.channel), "Ask",
                                         NULL, 0, 5000, on_answer, &answer, NULL),
                     0);
    service.bus = bus_unref(service.bus);
    assert_int_equal(
        bus_call_no_reply(service.channel, bus_channel_peer(service.channel), "M", NULL, 0),
        -ECONNRESET);
    assert_int_equal(bus_process(service.channel), -ECONNRESET);
    assert_null(answer.message);
    close_here(&first);
    service_stop(&service);
}

/* The bus goes: the service's channels end with its connection. */
static void test_bus_ends(struct session *session)
{
    struct session own = {0};
    struct service service;

    assert_int_equal(busd_start(&own.busd, NULL), 0);
    service_start(&service, &own, 4);
    struct opening client = open_here(&own, &service);
    assert_int_equal(busd_stop(&own.busd), 0);
    service_pump(&service);
    expect_diary(&service, "lost bus.Disconnected\n");
    assert_false(bus_is_connected(service.bus));
    while (bus_process(client.channel) >= 0)
        bus_wait(client.channel, 1000);
    close_here(&client);
    service_stop(&service);
}

/* A client that does not read is held up alone, and so is one that sends without end. */
static void test_back_pressure(struct session *session)
{
    struct service service;
    struct answer answer = {0};
    size_t size = 200000;
    char *text = malloc(size);

    memset(text, 'x', size);
    text[0] = text[size - 1] = '"';
    service_start(&service, session, 4);
    struct opening slow = open_here(session, &service);
    struct bus *stuck = bus_ref(service.channel);
    struct opening fast = open_here(session, &service);
    int r = 0;
    for (int i = 0; i < 100 && r == 0; i++)
        r = bus_publish_text(stuck, "flood", text, size);
    assert_int_equal(r, -EAGAIN);
    assert_true(bus_output_size(stuck) <= (size_t)5 << 20);
    assert_int_equal(
        bus_call_text_async(fast.channel, NAME, "Echo", "1", 1, 5000, on_answer, &answer, NULL), 0);
    await(&service, fast.channel, &answer);
    expect_answer(&answer, "1");

    /* Its calls are not taken while it reads nothing: they fill its own output. */
    r = 0;
    for (int i = 0; i < 100 && r == 0; i++) {
        r = bus_call_no_reply(slow.channel, NAME, "Echo", text, size);
        service_pump(&service);
    }
    assert_int_equal(r, -EAGAIN);
    assert_true(bus_output_size(stuck) <= (size_t)5 << 20);
    unsigned calls = service.calls;
    /* Once it reads, all goes on. */
    pump_both(&service, slow.channel);
    assert_true(service.calls > calls);
    assert_int_equal(bus_output_size(stuck), 0);
    bus_unref(stuck);
    close_here(&slow);
    close_here(&fast);
    service_stop(&service);
    free(text);
}

/* Each gets its turn: a flood on one channel does not keep the others waiting. */
static void test_fairness(struct session *session)
{
    struct service service;
    struct answer answer = {0};

    service_start(&service, session, 8);
    struct opening flooder = open_here(session, &service);
    struct opening other = open_here(session, &service);
    while (bus_call_no_reply(flooder.channel, NAME, "Echo", "1", 1) == 0 &&
           bus_flush(flooder.channel, 0) == 0)
        ;
    assert_int_equal(
        bus_call_text_async(other.channel, NAME, "Echo", "2", 1, 5000, on_answer, &answer, NULL),
        0);
    assert_int_equal(bus_flush(other.channel, 1000), 0);
    /* One read of a channel is at most a block. */
    assert_true(bus_process(service.bus) > 0);
    assert_true(service.calls < 2000);
    await(&service, other.channel, &answer);
    expect_answer(&answer, "2");
    close_here(&flooder);
    close_here(&other);
    service_stop(&service);
}

/* ------------------------------------------------------------------ raw clients */

/* The protocol as it stands on a channel. */
static void test_raw(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct service service;
    char expected[256];

    service_start(&service, session, 4);
    int fd = open_raw(&service, a, 7);
    say(fd, "{'type':'call','id':1,'to':'" NAME "','method':'Echo','body':{'a':1}}");
    snprintf(expected, sizeof(expected), "{'type':'reply','to':'%s','id':1,'body':{'a':1}}",
             a->unique);
    expect_line(&service, fd, expected);
    /* Only the service that it was opened for is there. */
    say(fd, "{'type':'call','id':2,'to':'bus','method':'Ping'}");
    snprintf(expected, sizeof(expected),
             "{'type':'error','to':'%s','id':2,'error':'bus.NameUnknown','message':'this channel "
             "leads to '" NAME "' and to nobody else'}",
             a->unique);
    expect_line(&service, fd, expected);
    say(fd, "{'type':'call','id':3,'to':'" NAME "','method':'OpenChannel'}");
    assert_non_null(strstr(hear(&service, fd), "'bus.MethodUnknown'"));
    say(fd, "{'type':'call','id':4,'to':'" NAME "','method':'Later'}");
    say(fd, "{'type':'cancel','id':4,'to':'" NAME "'}");
    say(fd, "{'type':'event','topic':'up.x','body':3,'id':5}");
    snprintf(expected, sizeof(expected),
             "{'type':'reply','to':'%s','id':5,'body':{'matched':1,'queued':1,'dropped':0}}",
             a->unique);
    expect_line(&service, fd, expected);
    say(fd, "{'type':'event','topic':'nobody','id':6}");
    snprintf(expected, sizeof(expected),
             "{'type':'reply','to':'%s','id':6,'body':{'matched':0,'queued':0,'dropped':0}}",
             a->unique);
    expect_line(&service, fd, expected);
    expect_diary(&service, "call Later\ncancel Later\nevent up.x 3\n");
    /* Replies to nothing are let pass. */
    say(fd, "{'type':'reply','id':77,'to':'" NAME "'}");
    say(fd, "{'type':'call','id':8,'to':'" NAME "','method':'Ping'}");
    snprintf(expected, sizeof(expected), "{'type':'reply','to':'%s','id':8,'body':{}}", a->unique);
    expect_line(&service, fd, expected);
    close(fd);
    service_pump(&service);
    service_stop(&service);
}

/* What OpenChannel does not do. */
static void test_raw_opening(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct service service;

    service_start(&service, session, 1);
    client_send(a, "{'type':'call','to':'" NAME "','method':'OpenChannel','no_reply':true}");
    int fd = open_raw(&service, a, 1);
    assert_int_equal(service.opened, 1);
    client_send(a, "{'type':'call','id':2,'to':'" NAME "','method':'OpenChannel'}");
    session_settle(session);
    service_pump(&service);
    client_expect(a,
                  "{'sender':'%s','type':'error','to':'$A','id':2,'error':'bus.LimitExceeded',"
                  "'message':'" NAME " has as many direct channels as it takes, 1'}",
                  bus_unique_name(service.bus));
    /* Whoever leaves before it is there leaves nothing behind. */
    close(fd);
    service_pump(&service);
    struct client *b = session_connect(session, "B");
    client_send(b, "{'type':'call','id':2,'to':'" NAME "','method':'OpenChannel'}");
    session_settle(session);
    assert_true(bus_process(service.bus) > 0);
    client_close(b);
    session_settle(session);
    service.diary[0] = '\0';
    service_pump(&service);
    /* If the bus had said who it is before it left, the channel ends with its other end. */
    for (int i = 0; service.opened == 2 && service.diary[0] == '\0'; i++) {
        assert_true(i < 5000);
        poll(NULL, 0, 1);
        service_pump(&service);
    }
    fd = open_raw(&service, a, 3);
    close(fd);
    service_stop(&service);
}

/* Each thing that a client may not do costs it the channel, and nothing else. */
static void test_hostile_lines(struct session *session)
{
    static const struct {
        const char *line;
        const char *reason;
    } cases[] = {
        {"garbage", BUS_ERROR_PARSE_ERROR},
        {"{'type':'event'}", BUS_ERROR_INVALID_MESSAGE},
        {"{'sender':':1','type':'event','topic':'up.a'}", BUS_ERROR_INVALID_MESSAGE},
        {"{'sender':'bus','type':'error','error':'bus.Disconnected'}", BUS_ERROR_INVALID_MESSAGE},
        {"{'type':'event','topic':'bus.welcome','body':{}}", BUS_ERROR_INVALID_MESSAGE},
        {"{'type':'event','topic':'up.a','retained':true}", BUS_ERROR_INVALID_MESSAGE},
        {"{'type':'event','topic':'up.a','fds':1}", BUS_ERROR_FD_MISMATCH},
        {"{'type':'event','topic':'up.a','fds':65}", BUS_ERROR_INVALID_MESSAGE},
        {"{'type':'reply','id':1}", BUS_ERROR_INVALID_MESSAGE},
    };
    struct client *a = session_connect(session, "A");
    struct service service;

    service_start(&service, session, 2);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        int fd = open_raw(&service, a, i + 1);
        say(fd, "%s", cases[i].line);
        say(fd, "{'type':'event','topic':'up.after'}");
        expect_line(&service, fd, "");
        CHECK(strcmp(bus_disconnect_error(service.channel)->name, cases[i].reason) == 0,
              "%s: %s %s", cases[i].line, bus_disconnect_error(service.channel)->name,
              bus_disconnect_error(service.channel)->message);
        close(fd);
    }
    /* The same id twice, unanswered. */
    int fd = open_raw(&service, a, 100);
    service.diary[0] = '\0';
    say(fd, "{'type':'call','id':1,'to':'" NAME "','method':'Later'}");
    say(fd, "{'type':'call','id':1,'to':'" NAME "','method':'Later'}");
    expect_line(&service, fd, "");
    expect_diary(&service, "call Later\ncancel Later\nlost bus.InvalidMessage\n");
    close(fd);
    service_stop(&service);
}

/* Things without end. */
static void test_hostile_floods(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct service service;
    char block[4096];

    service_start(&service, session, 2);
    /* A line. */
    int fd = open_raw(&service, a, 1);
    memset(block, ' ', sizeof(block));
    ssize_t n = 0;
    for (size_t sent = 0; n >= 0 && sent < (size_t)2 << 20; sent += sizeof(block)) {
        n = send(fd, block, sizeof(block), MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            n = 0;
        service_pump(&service);
    }
    assert_string_equal(bus_disconnect_error(service.channel)->name, BUS_ERROR_TOO_LARGE);
    close(fd);

    /* Calls that are never answered. */
    fd = open_raw(&service, a, 2);
    service.hoard = calloc(CALLS, sizeof(*service.hoard));
    service.calls = 0;
    for (unsigned i = 1; i <= CALLS; i++) {
        say(fd, "{'type':'call','id':%u,'to':'" NAME "','method':'Later'}", i);
        service_pump(&service);
    }
    assert_int_equal(service.calls, 1024);
    assert_non_null(strstr(hear(&service, fd), "'id':1025,'error':'bus.LimitExceeded'"));
    /* There is room again when one is answered. */
    assert_int_equal(bus_reply_text(service.hoard[0], NULL, 0), 0);
    for (unsigned i = 1026; i <= CALLS; i++)
        assert_non_null(strstr(hear(&service, fd), "'bus.LimitExceeded'"));
    assert_non_null(strstr(hear(&service, fd), "'type':'reply'"));
    say(fd, "{'type':'call','id':1,'to':'" NAME "','method':'Echo'}");
    assert_non_null(strstr(hear(&service, fd), "'type':'reply'"));
    for (unsigned i = 0; i < 1024; i++)
        bus_message_unref(service.hoard[i]);
    free(service.hoard);
    close(fd);
    service_pump(&service);
    service_stop(&service);
}

static const struct transcript transcripts[] = {
    TRANSCRIPT_PLAIN(test_calls),
    TRANSCRIPT_PLAIN(test_refusals),
    TRANSCRIPT_PLAIN(test_no_flag),
    TRANSCRIPT_PLAIN(test_quota),
    {.name = "test_policy",
     .run = test_policy,
     .config = POLICY("{'deny':'call','to':'" NAME "','method':'Fail'},{'allow':'*'}"),
     .plain_only = true},
    TRANSCRIPT_PLAIN(test_fds_and_bodies),
    TRANSCRIPT_PLAIN(test_death_of_the_service),
    TRANSCRIPT_PLAIN(test_service_side),
    TRANSCRIPT_PLAIN(test_events),
    TRANSCRIPT_PLAIN(test_calls_of_the_service),
    TRANSCRIPT_PLAIN(test_cancel),
    TRANSCRIPT_PLAIN(test_end),
    TRANSCRIPT_PLAIN(test_back_pressure),
    TRANSCRIPT_PLAIN(test_fairness),
    TRANSCRIPT(test_raw),
    TRANSCRIPT_PLAIN(test_raw_opening),
    TRANSCRIPT_PLAIN(test_hostile_lines),
    TRANSCRIPT_PLAIN(test_hostile_floods),
    TRANSCRIPT_PLAIN(test_bus_ends),
};

int main(void)
{
    return TRANSCRIPTS_RUN("direct channels", transcripts);
}
