/* SPDX-License-Identifier: MIT */
/*
 * A service that takes direct channels, with the library, for transcripts: in the test's
 * own process, pumped while a client waits, or forked, where the client's blocking
 * functions want one that runs by itself. And the ends of its channels: of the library, or
 * a raw socket.
 */
#ifndef TESTS_INTEGRATION_CHANNEL_FIXTURE_H
#define TESTS_INTEGRATION_CHANNEL_FIXTURE_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/bus.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"

#define NAME "org.example.Service"

#define SERVICE_ITEMS 100000

/* A service in this process, which is pumped while the client waits; what it has seen. */
struct service {
    struct bus *bus;
    struct bus_slot *slot;
    struct bus *channel; /* the last one opened; a reference */
    struct bus_message *kept;
    struct bus_message **hoard; /* keeps them all */
    char diary[4096];
    unsigned calls;
    unsigned items;
    unsigned opened;
};

static inline void note(struct service *service, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void note(struct service *service, const char *format, ...)
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

static inline int on_echo(struct bus_message *call, void *userdata)
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

static inline void on_cancel(struct bus_message *call, void *userdata)
{
    note(userdata, "cancel %s\n", bus_message_method(call));
}

static inline int on_later(struct bus_message *call, void *userdata)
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

static inline int on_fail(struct bus_message *call, void *userdata)
{
    return bus_reply_error(call, "org.example.Failed", "as asked");
}

static inline void on_event(struct bus_message *event, void *userdata)
{
    size_t size;
    const char *body = bus_message_body_text(event, &size);

    note(userdata, "event %s %.*s\n", bus_message_topic(event), (int)size, body);
}

/* Answers with an event first, and asks the client something. */
static inline int on_notify(struct bus_message *call, void *userdata)
{
    struct bus *bus = bus_message_bus(call);

    assert_int_equal(bus_publish_text(bus, "org.example.Service.progress", "50", 2), 0);
    assert_int_equal(bus_publish_text(bus, "other", "1", 1), 0);
    return bus_reply_text(call, "100", 3);
}

static inline void on_lost(struct bus *channel, void *userdata)
{
    note(userdata, "lost %s\n", bus_disconnect_error(channel)->name);
}

static inline void on_opened(struct bus *channel, void *userdata)
{
    struct service *service = userdata;

    service->opened++;
    bus_unref(service->channel);
    service->channel = bus_ref(channel);
    bus_set_disconnect_handler(channel, on_lost, service);
    assert_int_equal(bus_subscribe(channel, "up.#", NULL, on_event, service, NULL, NULL), 0);
}

/* Sends as many items as there is room for. */
static inline void go_on(struct bus_message *call, void *userdata)
{
    struct service *service = userdata;
    int r = 0;

    while (service->items > 0 && (r = bus_reply_more_text(call, "[1,2,3]", 7)) == 0)
        service->items--;
    if (r == -EAGAIN)
        return;
    bus_reply_text(call, "\"end\"", 5);
    bus_message_unref(call);
}

static inline int on_list(struct bus_message *call, void *userdata)
{
    struct service *service = userdata;
    int r = bus_message_set_ready_handler(bus_message_ref(call), go_on, service);

    service->items = SERVICE_ITEMS;
    go_on(call, service);
    return r;
}

static const struct bus_method methods[] = {
    {"Echo", on_echo, 0, NULL},
    {"Later", on_later, 0, NULL},
    {"Fail", on_fail, 0, NULL},
    {"Notify", on_notify, 0, NULL},
    {"List", on_list, BUS_METHOD_MORE, NULL},
    BUS_METHOD_END,
};

static inline void service_start(struct service *service, struct session *session,
                                 unsigned channels)
{
    struct bus_service_options options = {.channels = channels, .channel_opened = on_opened};

    *service = (struct service){0};
    assert_int_equal(bus_connect(&service->bus, session->busd.path), 0);
    assert_int_equal(
        bus_serve_with(service->bus, NAME, &options, methods, service, &service->slot, NULL), 0);
}

static inline void service_stop(struct service *service)
{
    bus_message_unref(service->kept);
    bus_slot_free(service->slot);
    bus_close(service->bus);
    bus_unref(service->channel);
}

/* Lets it do what there is to do. */
static inline void service_pump(struct service *service)
{
    while (bus_wait(service->bus, 0) > 0)
        if (bus_process(service->bus) < 0)
            return;
}

/* Blocking functions of the client want a service that runs by itself. */
static inline pid_t service_fork(struct session *session, unsigned channels)
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

static inline void service_kill(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

struct answer {
    struct bus_message *message;
};

static inline void on_answer(struct bus_message *message, void *userdata)
{
    struct answer *answer = userdata;

    assert_null(answer->message);
    answer->message = bus_message_ref(message);
}

/* Until the answer is there, both sides in turn. */
static inline void await(struct service *service, struct bus *client, struct answer *answer)
{
    uint64_t end = process_now() + 5000;

    while (!answer->message) {
        assert_true(process_now() < end);
        service_pump(service);
        if (bus_wait(client, 10) > 0)
            assert_true(bus_process(client) >= 0);
    }
}

static inline void expect_answer(struct answer *answer, const char *expected)
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

/* Calls OpenChannel while the service runs in this process; the answer has come then. */
static inline void call_open(struct service *service, struct client *client, uint64_t id)
{
    uint64_t end = process_now() + 5000;

    client_send(client, "{'type':'call','id':%u,'to':'" NAME "','method':'OpenChannel','body':{}}",
                (unsigned)id);
    while (!client_peek(client)) {
        assert_true(process_now() < end);
        service_pump(service);
        poll(NULL, 0, 1);
        client_read_available(client);
    }
}

/* Opens a channel by hand. */
static inline int open_raw(struct service *service, struct client *client, uint64_t id)
{
    int fd;

    call_open(service, client, id);
    client_expect_fds(client, &fd, 1,
                      "{'sender':'%s','type':'reply','to':'%s','id':%u,'body':"
                      "{'message_bytes':1048576,'fds_per_message':64}}",
                      bus_unique_name(service->bus), client->unique, (unsigned)id);
    return fd;
}

static inline void say(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline void say(int fd, const char *format, ...)
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
static inline const char *hear(struct service *service, int fd)
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

/* A client that opens a channel. That blocks, so it takes a thread, while the service is
 * seen to here. */
struct opening {
    struct bus *bus;
    struct bus *channel;
    int r;
    pthread_t thread;
    _Atomic bool done;
};

static inline void *run_opening(void *userdata)
{
    struct opening *opening = userdata;

    opening->r = bus_channel_open(opening->bus, NAME, 5000, &opening->channel, NULL);
    opening->done = true;
    return NULL;
}

static inline void opening_begin(struct opening *opening, struct session *session)
{
    memset(opening, 0, sizeof(*opening));
    assert_int_equal(bus_connect(&opening->bus, session->busd.path), 0);
    assert_int_equal(pthread_create(&opening->thread, NULL, run_opening, opening), 0);
}

/* `service` (may be NULL) is pumped until it is done. */
static inline void opening_end(struct opening *opening, struct service *service)
{
    while (service && !opening->done) {
        service_pump(service);
        poll(NULL, 0, 1);
    }
    assert_int_equal(pthread_join(opening->thread, NULL), 0);
}

/* A client with a channel to the service of this process. */
static inline void open_here(struct opening *opening, struct session *session,
                             struct service *service)
{
    opening_begin(opening, session);
    opening_end(opening, service);
    assert_int_equal(opening->r, 1);
}

static inline void close_here(struct opening *opening)
{
    bus_close(opening->channel);
    bus_close(opening->bus);
}

/* Both sides, until nobody has anything to do. */
static inline void pump_both(struct service *service, struct bus *channel)
{
    bool busy = true;

    for (int idle = 0; idle < 3; idle = busy ? 0 : idle + 1) {
        busy = bus_wait(service->bus, 2) > 0 && bus_process(service->bus) > 0;
        busy |= bus_wait(channel, 2) > 0 && bus_process(channel) > 0;
    }
}

#endif
