/* SPDX-License-Identifier: MIT */
/* Direct channels with the library at both ends, in two processes. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/integration/channel-fixture.h"
#include "tests/support/policy.h"

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
    bus_channel_close(channel);
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
    assert_null(bus_channel_close(channel));
    assert_true(bus_is_connected(bus));
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

/* Many replies, no faster than they are taken. */
static void test_stream(struct session *session)
{
    struct bus_error error = BUS_ERROR_INIT;
    struct bus_message *call, *item = NULL;
    struct bus_stream *stream;
    struct bus *bus, *channel;
    unsigned count = 0;
    size_t size;
    int r;
    pid_t pid = service_fork(session, 4);

    assert_int_equal(bus_connect(&bus, session->busd.path), 0);
    assert_int_equal(bus_channel_open(bus, NAME, 5000, &channel, &error), 1);
    assert_int_equal(bus_message_new_call(channel, NAME, "List", &call), 0);
    assert_int_equal(bus_message_set_more(call, true), 0);
    assert_int_equal(bus_stream_open(call, &stream, &error), 0);
    bus_message_unref(call);
    usleep(50000);
    while ((r = bus_stream_next(stream, &item, &error)) == 1) {
        assert_memory_equal(bus_message_body_text(item, &size), "[1,2,3]", 7);
        bus_message_unref(item);
        count++;
    }
    CHECK(r == 0, "%s", error.message);
    assert_memory_equal(bus_message_body_text(item, &size), "\"end\"", 5);
    bus_message_unref(item);
    assert_int_equal(count, SERVICE_ITEMS);
    bus_stream_close(stream);
    bus_close(channel);
    bus_close(bus);
    service_kill(pid);
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
    TRANSCRIPT_PLAIN(test_stream),
    TRANSCRIPT_PLAIN(test_death_of_the_service),
};

int main(void)
{
    return TRANSCRIPTS_RUN("direct channels", transcripts);
}
