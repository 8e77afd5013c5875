/* SPDX-License-Identifier: MIT */
/* Direct channels, seen from the service that takes them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/channel-fixture.h"

static void test_service_side(struct session *session)
{
    struct service service;

    service_start(&service, session, 4);
    struct opening client;
    open_here(&client, session, &service);
    assert_int_equal(service.opened, 1);
    assert_string_equal(bus_channel_peer(service.channel), bus_unique_name(client.bus));
    assert_string_equal(bus_unique_name(service.channel), bus_unique_name(service.bus));
    assert_int_equal(bus_channel_credentials(service.channel)->pid, getpid());
    /* Its loop is that of the connection. */
    assert_int_equal(bus_get_fd(service.channel), bus_get_fd(service.bus));
    struct bus_error error = BUS_ERROR_INIT;
    assert_int_equal(bus_serve(service.channel, NULL, methods, NULL, NULL, &error), -EEXIST);
    close_here(&client);
    /* busd closes its copy of the socket a moment later. */
    for (int i = 0; i < 100 && !service.diary[0]; i++)
        if (bus_wait(service.bus, 10) > 0)
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
    struct opening client;
    open_here(&client, session, &service);
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
    struct opening client;
    open_here(&client, session, &service);
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
    struct opening client;
    open_here(&client, session, &service);
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
    struct opening first;
    open_here(&first, session, &service);
    bus_close(bus_ref(service.channel));
    struct opening second;
    open_here(&second, session, &service);
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
    open_here(&first, session, &service);
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
    struct opening client;
    open_here(&client, &own, &service);
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
    struct opening slow;
    open_here(&slow, session, &service);
    struct bus *stuck = bus_ref(service.channel);
    struct opening fast;
    open_here(&fast, session, &service);
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
    struct opening flooder;
    open_here(&flooder, session, &service);
    struct opening other;
    open_here(&other, session, &service);
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

static const struct transcript transcripts[] = {
    TRANSCRIPT_PLAIN(test_service_side),
    TRANSCRIPT_PLAIN(test_events),
    TRANSCRIPT_PLAIN(test_calls_of_the_service),
    TRANSCRIPT_PLAIN(test_cancel),
    TRANSCRIPT_PLAIN(test_end),
    TRANSCRIPT_PLAIN(test_bus_ends),
    TRANSCRIPT_PLAIN(test_back_pressure),
    TRANSCRIPT_PLAIN(test_fairness),
};

int main(void)
{
    return TRANSCRIPTS_RUN("direct channels of a service", transcripts);
}
