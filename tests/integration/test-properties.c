/* SPDX-License-Identifier: MIT */
/*
 * Properties as they look on the wire: a service of the library, in the test's process, and
 * clients that are raw sockets and know no more than the convention.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"

#define NAME "org.example.Lamp"

struct lamp {
    struct bus *bus;
    struct bus_slot *slot;
};

/* Above 100 it is 100, and below 0 it is nothing that a lamp can be. */
static int set_level(struct bus_message *call, const char *property, const char *text, size_t size,
                     void *userdata)
{
    struct lamp *lamp = userdata;
    int level = atoi(text);

    assert_string_equal(property, "level");
    assert_int_equal(strlen(text), size);
    if (level < 0)
        return -ERANGE;
    return level > 100 ? bus_set_property_text(lamp->slot, "level", "100", 3) : 0;
}

static const struct bus_property lamp_properties[] = {
    {"level", 0, set_level, "80", "How bright, in percent."},
    {"hours", 0, NULL, "[ 1 ]\n", NULL},
    {"maker", BUS_PROPERTY_CONSTANT, NULL, "\"Example\"", "Who made it."},
    {"fault", 0, NULL, NULL, NULL},
    BUS_PROPERTY_END,
};

static const struct bus_method no_methods[] = {BUS_METHOD_END};

static void lamp_start(struct lamp *lamp, struct session *session, unsigned flags)
{
    const struct bus_service_options options = {.name_flags = flags, .properties = lamp_properties};
    struct bus_error error = BUS_ERROR_INIT;

    assert_int_equal(bus_connect(&lamp->bus, session->busd.path), 0);
    int r = bus_serve_with(lamp->bus, NAME, &options, no_methods, lamp, &lamp->slot, &error);
    CHECK(r == 0, "bus_serve_with: %s", error.message);
}

static void lamp_pump(struct lamp *lamp)
{
    while (bus_wait(lamp->bus, 0) > 0)
        assert_true(bus_process(lamp->bus) >= 0);
}

static void lamp_stop(struct lamp *lamp)
{
    bus_slot_free(lamp->slot);
    bus_close(lamp->bus);
}

/* Until something has come to the client. */
static void pump_for(struct lamp *lamp, struct client *client)
{
    uint64_t end = process_now() + 5000;

    while (!client_peek(client)) {
        assert_true(process_now() < end);
        lamp_pump(lamp);
        poll(NULL, 0, 1);
        client_read_available(client);
    }
}

static void expect_property(struct lamp *lamp, struct client *client, const char *property,
                            const char *body, bool retained)
{
    client_expect(client,
                  "{'sender':'%s',%s'type':'event','topic':'" NAME ".%s',"
                  "'retain':'connection','body':%s}",
                  bus_unique_name(lamp->bus), retained ? "'retained':true," : "", property, body);
}

static void expect_reply(struct lamp *lamp, struct client *client, unsigned id, const char *body)
{
    client_expect(client, "{'sender':'%s','type':'reply','to':'%s','id':%u,'body':%s}",
                  bus_unique_name(lamp->bus), client->unique, id, body);
}

static void call_set(struct lamp *lamp, struct client *client, unsigned id, const char *body)
{
    client_send(client, "{'type':'call','id':%u,'to':'" NAME "','method':'Set','body':%s}", id,
                body);
    pump_for(lamp, client);
}

static void expect_refusal(struct lamp *lamp, struct client *client, unsigned id, const char *error,
                           const char *message)
{
    client_expect(client,
                  "{'sender':'%s','type':'error','to':'%s','id':%u,'error':'%s','message':'%s'}",
                  bus_unique_name(lamp->bus), client->unique, id, error, message);
}

/* The value, then its change, then the answer; and all is over with the service. */
static void test_read_set_watch(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct lamp lamp;

    lamp_start(&lamp, session, 0);
    assert_int_equal(bus_flush(lamp.bus, 1000), 0);
    bus_call_text(lamp.bus, "bus", "Ping", NULL, 0, 5000, NULL, NULL);
    client_ask(a, "Subscribe", "{'topic':'" NAME ".*','sender':'" NAME "'}",
               "{'subscription':1,'retained':3}");
    expect_property(&lamp, a, "hours", "[ 1 ]", true);
    expect_property(&lamp, a, "level", "80", true);
    expect_property(&lamp, a, "maker", "'Example'", true);

    call_set(&lamp, a, 11, "{'property':'level','value':20}");
    expect_property(&lamp, a, "level", "20", false);
    expect_reply(&lamp, a, 11, "{}");
    /* The same once more is no change. */
    call_set(&lamp, a, 12, "{'property':'level','value':20}");
    expect_reply(&lamp, a, 12, "{}");
    /* What the service makes of it stands. */
    call_set(&lamp, a, 13, "{'property':'level','value':250}");
    expect_property(&lamp, a, "level", "100", false);
    expect_reply(&lamp, a, 13, "{}");

    assert_int_equal(bus_set_property_text(lamp.slot, "fault", "\"hot\"", 5), 0);
    assert_int_equal(bus_set_property_text(lamp.slot, "hours", "null", 4), 0);
    lamp_pump(&lamp);
    pump_for(&lamp, a);
    expect_property(&lamp, a, "fault", "'hot'", false);
    expect_property(&lamp, a, "hours", "null", false);

    /* In the order of the table; `hours` has none. The connection lives on. */
    lamp.slot = bus_slot_free(lamp.slot);
    lamp_pump(&lamp);
    expect_property(&lamp, a, "level", "null", false);
    expect_property(&lamp, a, "maker", "null", false);
    expect_property(&lamp, a, "fault", "null", false);
    client_ask(a, "Retained", "{'topic':'" NAME ".#'}", "{'topics':[]}");
    lamp_stop(&lamp);
}

static void test_refusals(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct lamp lamp;

    lamp_start(&lamp, session, 0);
    call_set(&lamp, a, 11, "{'property':'hours','value':2}");
    expect_refusal(&lamp, a, 11, "bus.AccessDenied",
                   "property \\u0027hours\\u0027 of " NAME
                   " is read-only: only the service changes it");
    call_set(&lamp, a, 12, "{'property':'maker','value':2}");
    expect_refusal(&lamp, a, 12, "bus.AccessDenied",
                   "property \\u0027maker\\u0027 of " NAME " is constant: it never changes");
    call_set(&lamp, a, 13, "{'property':'colour','value':2}");
    expect_refusal(&lamp, a, 13, "bus.InvalidArguments",
                   NAME
                   " has no property \\u0027colour\\u0027; it has: level, hours, maker, fault");
    call_set(&lamp, a, 14, "{'property':'level'}");
    expect_refusal(&lamp, a, 14, "bus.InvalidArguments",
                   "Object item not found: value; Set takes {\\u0022property\\u0022: name, "
                   "\\u0022value\\u0022: any}");
    call_set(&lamp, a, 15, "{'property':'level','value':-1}");
    expect_refusal(&lamp, a, 15, "errno.ERANGE", "*");
    client_ask(a, "Subscribe", "{'topic':'" NAME ".level','retained':'only'}", "{'retained':1}");
    expect_property(&lamp, a, "level", "80", true);
    client_send(a, "{'type':'event','id':9,'topic':'" NAME ".level','retain':'bus','body':1}");
    client_expect_error(a, 9, "bus.AccessDenied");

    client_send(a, "{'type':'call','id':16,'to':'" NAME "','method':'Introspect'}");
    pump_for(&lamp, a);
    expect_reply(&lamp, a, 16,
                 "{'name':'" NAME "','description':null,'methods':[],'properties':["
                 "{'name':'level','description':'How bright, in percent.'},"
                 "{'name':'hours','description':null,'read_only':true},"
                 "{'name':'maker','description':'Who made it.','constant':true},"
                 "{'name':'fault','description':null,'read_only':true}]}");
    lamp_stop(&lamp);
}

/* The end of the connection is one of the values, too. */
static void test_gone(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct lamp lamp;

    lamp_start(&lamp, session, 0);
    bus_call_text(lamp.bus, "bus", "Ping", NULL, 0, 5000, NULL, NULL);
    client_ask(a, "Subscribe", "{'topic':'" NAME ".level'}", "{'subscription':1,'retained':1}");
    expect_property(&lamp, a, "level", "80", true);
    bus_close(lamp.bus);
    struct message *message = client_wait(a, "the end of the value");
    message_free(message);
    client_ask(a, "Retained", "{'topic':'" NAME ".#'}", "{'topics':[]}");
    bus_slot_free(lamp.slot);
}

/* Who waits for the name has no values yet; who gets it has. */
static void test_queue(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct lamp first, second;

    lamp_start(&first, session, BUS_NAME_ALLOW_REPLACEMENT);
    lamp_start(&second, session, BUS_NAME_QUEUE);
    assert_int_equal(bus_set_property_text(second.slot, "level", "5", 1), 0);
    lamp_pump(&first);
    lamp_pump(&second);
    client_ask(a, "Subscribe", "{'topic':'" NAME ".level','sender':'" NAME "'}",
               "{'subscription':1,'retained':1}");
    expect_property(&first, a, "level", "80", true);
    bus_slot_free(first.slot);
    lamp_pump(&first);
    expect_property(&first, a, "level", "null", false);
    pump_for(&second, a);
    expect_property(&second, a, "level", "5", false);
    bus_close(first.bus);
    lamp_stop(&second);
    client_expect(a,
                  "{'sender':'%s','type':'event','topic':'" NAME ".level',"
                  "'retain':'connection','body':null}",
                  "*");
}

int main(void)
{
    static const struct transcript transcripts[] = {
        TRANSCRIPT(test_read_set_watch),
        TRANSCRIPT(test_refusals),
        TRANSCRIPT_PLAIN(test_gone),
        TRANSCRIPT_PLAIN(test_queue),
    };

    return TRANSCRIPTS_RUN("properties", transcripts);
}
