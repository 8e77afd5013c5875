/* SPDX-License-Identifier: MIT */
/*
 * Calls: every one that is tracked ends in exactly one final answer, and nobody but
 * the callee can give it.
 */
#include <string.h>
#include <unistd.h>

#include "tests/support/process.h"
#include "tests/support/transcript.h"

#define NAME "org.example.Service"

/* B serves NAME. */
static struct client *connect_service(struct session *session)
{
    struct client *b = session_connect(session, "B");

    client_ask(b, "RequestName", "{'name':'" NAME "'}", "{'state':'owner'}");
    return b;
}

/* A calls B, and B gets it. */
static void call(struct client *a, struct client *b, unsigned id)
{
    client_send(a, "{'type':'call','id':%u,'to':'" NAME "','method':'M'}", id);
    client_expect(b, "{'sender':'$%s','type':'call','id':%u,'to':'" NAME "','method':'M'}", a->name,
                  id);
}

static void reply(struct client *b, struct client *a, unsigned id)
{
    client_send(b, "{'type':'reply','to':'$%s','id':%u,'body':%u}", a->name, id, id);
    client_expect(a, "{'sender':'$%s','type':'reply','to':'$%s','id':%u,'body':%u}", b->name,
                  a->name, id, id);
}

static void expect_cancel(struct client *b, const char *sender, unsigned id, const char *reason)
{
    client_expect(b, "{'sender':'%s','type':'cancel','id':%u,'reason':'%s'}", sender, id, reason);
}

static void test_reply(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    client_send(a, "{'type':'call','id':7,'to':'" NAME "','method':'Add','path':'/x',"
                   "'timeout':9000,'body':{'a':[1,2]},'trace':'t'}");
    client_expect_line(b, "{'sender':'$A','type':'call','id':7,'to':'" NAME "','method':'Add',"
                          "'path':'/x','timeout':9000,'body':{'a':[1,2]},'trace':'t'}");
    client_send(b, "{'type':'reply','to':'$A','id':7,'body':'done'}");
    client_expect_line(a, "{'sender':'$B','type':'reply','to':'$A','id':7,'body':'done'}");
    /* The id can be used again. */
    call(a, b, 7);
    reply(b, a, 7);
}

static void test_error(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1);
    client_send(b, "{'type':'error','to':'$A','id':1,'error':'org.example.Full','message':'no "
                   "room','body':{'max':3}}");
    client_expect(a, "{'sender':'$B','type':'error','to':'$A','id':1,'error':'org.example.Full',"
                     "'message':'no room','body':{'max':3}}");
    client_send(b, "{'type':'reply','to':'$A','id':1}");
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'$A','id':1}");
}

static void test_by_unique_name(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_send(a, "{'type':'call','id':1,'to':'$B','method':'M'}");
    client_expect(b, "{'sender':'$A','type':'call','id':1,'to':'$B','method':'M'}");
    reply(b, a, 1);
}

static void test_oneself(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_send(a, "{'type':'call','id':1,'to':'$A','method':'M'}");
    client_expect(a, "{'sender':'$A','type':'call','id':1,'to':'$A','method':'M'}");
    client_send(a, "{'type':'reply','to':'$A','id':1,'body':1}");
    client_expect(a, "{'sender':'$A','type':'reply','to':'$A','id':1,'body':1}");
    client_send(a, "{'type':'call','id':2,'to':'$A','method':'M'}");
    client_expect(a, "{'sender':'$A','type':'call','id':2,'to':'$A','method':'M'}");
    client_send(a, "{'type':'cancel','to':'$A','id':2}");
    expect_cancel(a, "$A", 2, "cancelled");
    client_expect_error(a, 2, "bus.Cancelled");
    /* Dying in the middle of a talk with oneself. */
    client_send(a, "{'type':'call','id':3,'to':'$A','method':'M'}");
    client_expect(a, "{'sender':'$A','type':'call','id':3,'to':'$A','method':'M'}");
    client_close(a);
}

/* Out of order, from many callers at once. */
static void test_interleaved(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *c = session_connect(session, "C");
    struct client *b = connect_service(session);

    for (unsigned id = 1; id <= 20; id++) {
        call(a, b, id);
        call(c, b, id);
    }
    for (unsigned id = 20; id >= 1; id--) {
        reply(b, id % 2 ? a : c, id);
        reply(b, id % 2 ? c : a, id);
    }
}

static void test_nobody(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_send(a, "{'type':'call','id':1,'to':'org.example.Nobody','method':'M'}");
    client_expect_error(a, 1, "bus.NameUnknown");
    client_send(a, "{'type':'call','id':2,'to':':99','method':'M'}");
    client_expect_error(a, 2, "bus.NameUnknown");
    client_close(b);
    session_wait_for_connections(session, a, 1);
    client_send(a, "{'type':'call','id':3,'to':'$B','method':'M'}");
    client_expect_error(a, 3, "bus.NameUnknown");
    client_send(a, "{'type':'call','to':'org.example.Nobody','method':'M','no_reply':true}");
    client_send(a, "{'type':'call','id':4,'to':'org.example.Nobody','method':'M','no_reply':true}");
}

static void test_no_reply(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    client_send(a, "{'type':'call','to':'" NAME "','method':'M','no_reply':true}");
    client_expect(b, "{'sender':'$A','type':'call','to':'" NAME "','method':'M','no_reply':true}");
    client_send(a, "{'type':'call','id':5,'to':'" NAME "','method':'M','no_reply':true}");
    client_expect(b, "{'sender':'$A','type':'call','id':5,'to':'" NAME "','method':'M',"
                     "'no_reply':true}");
    /* An answer nevertheless goes nowhere. */
    client_send(b, "{'type':'reply','to':'$A','id':5}");
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'$A','id':5}");
    /* Nor is the id taken. */
    call(a, b, 5);
    reply(b, a, 5);
}

static void test_second_reply(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1);
    reply(b, a, 1);
    client_send(b, "{'type':'reply','to':'$A','id':1,'body':2}");
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'$A','id':1}");
    client_send(b, "{'type':'error','to':'$A','id':1,'error':'a.b'}");
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'error','to':'$A','id':1}");
}

/* Third parties cannot answer, whatever they guess. */
static void test_spoofed_replies(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);
    struct client *c = session_connect(session, "C");

    call(a, b, 40);
    for (unsigned id = 1; id <= 200; id++) {
        client_send(c, "{'type':'%s','to':'$A','id':%u%s}", id % 2 ? "reply" : "error", id,
                    id % 2 ? "" : ",'error':'a.b'");
        client_expect_complaint(c, "bus.NoSuchCall", "{'type':'%s','to':'$A','id':%u}",
                                id % 2 ? "reply" : "error", id);
    }
    /* Nor can the caller itself, nor the callee under another id or to another. */
    client_send(a, "{'type':'reply','to':'$A','id':40}");
    client_expect_complaint(a, "bus.NoSuchCall", "{'type':'reply','to':'$A','id':40}");
    client_send(b, "{'type':'reply','to':'$A','id':41}");
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'$A','id':41}");
    client_send(b, "{'type':'reply','to':'$C','id':40}");
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'$C','id':40}");
    client_send(b, "{'type':'reply','to':'" NAME "','id':40}");
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'" NAME "','id':40}");
    client_send(b, "{'type':'reply','to':'bus','id':40}");
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'bus','id':40}");
    reply(b, a, 40);
}

/* Nor can a call to the bus be answered for it. */
static void test_spoofed_bus(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *c = session_connect(session, "C");

    client_send(c, "{'type':'reply','to':'$A','id':1,'sender':'bus'}");
    client_expect_complaint(c, "bus.InvalidMessage", "{'type':'reply','to':'$A','id':1}");
    client_send(c, "{'type':'reply','to':'$A','id':1,'\\u0073ender':'bus'}");
    client_expect_complaint(c, "bus.InvalidMessage", "{'type':'reply','to':'$A','id':1}");
    client_ask(a, "Ping", "{}", "{}");
}

static void test_callee_dies(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1);
    call(a, b, 2);
    client_close(b);
    client_expect_error(a, 1, "bus.NoReply");
    client_expect_error(a, 2, "bus.NoReply");
}

static void test_callee_answers_and_dies(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1);
    client_send(b, "{'type':'reply','to':'$A','id':1}");
    client_close(b);
    client_expect(a, "{'sender':':2','type':'reply','to':'$A','id':1}");
}

static void test_caller_dies(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1);
    call(a, b, 2);
    client_close(a);
    expect_cancel(b, ":1", 1, "disconnected");
    expect_cancel(b, ":1", 2, "disconnected");
    client_send(b, "{'type':'reply','to':':1','id':1}");
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':':1','id':1}");
}

/* A reset instead of an end: unread data is in the caller's socket when it closes. */
static void test_caller_dies_with_unread_answers(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1);
    call(a, b, 2);
    client_send(b, "{'type':'reply','to':'$A','id':1}");
    session_wait_for_connections(session, b, 2);
    client_close(a);
    expect_cancel(b, ":1", 2, "disconnected");
}

static void test_deadline(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);
    uint64_t start = process_now();

    client_send(a, "{'type':'call','id':1,'to':'" NAME "','method':'M','timeout':120}");
    client_expect(b, "{'sender':'$A','type':'call','id':1,'to':'" NAME "','method':'M',"
                     "'timeout':120}");
    client_expect_error(a, 1, "bus.Timeout");
    assert_in_range(process_now() - start, 115, 5000);
    expect_cancel(b, "$A", 1, "timeout");
    client_send(b, "{'type':'reply','to':'$A','id':1}");
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'$A','id':1}");
    /* The id is free again. */
    call(a, b, 1);
    reply(b, a, 1);
}

/* They end in the order of their deadlines, whatever the order of the calls. */
static void test_many_deadlines(struct session *session)
{
    static const unsigned timeouts[] = {300, 100, 200, 150, 350, 250, 1};
    static const unsigned order[] = {7, 2, 4, 3, 6, 1, 5};
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    for (unsigned i = 0; i < ARRAY_SIZE(timeouts); i++)
        client_send(a, "{'type':'call','id':%u,'to':'" NAME "','method':'M','timeout':%u}", i + 1,
                    timeouts[i]);
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
        client_expect_error(a, order[i], "bus.Timeout");
    unsigned calls = 0, cancels = 0;
    while (calls + cancels < 2 * ARRAY_SIZE(timeouts)) {
        struct message *message = client_next(b);
        bool cancel =
            strcmp(json_string_value(json_object_get(message->json, "type")), "cancel") == 0;
        cancels += cancel;
        calls += !cancel;
        message_free(message);
    }
    assert_int_equal(cancels, ARRAY_SIZE(timeouts));
}

static void test_default_deadline(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1);
    client_send(a, "{'type':'call','id':2,'to':'" NAME "','method':'M','timeout':0}");
    client_expect(b, "{'sender':'$A','type':'call','id':2,'to':'" NAME "','method':'M',"
                     "'timeout':0}");
    client_expect_error(a, 1, "bus.Timeout");
    expect_cancel(b, "$A", 1, "timeout");
    /* Timeout 0 is none at all: long after the default it can be answered. */
    usleep(150000);
    reply(b, a, 2);
}

static void test_longest_deadline(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    client_send(a, "{'type':'call','id':1,'to':'" NAME "','method':'M',"
                   "'timeout':9007199254740991}");
    client_expect(b, "{'sender':'$A','type':'call','id':1,'to':'" NAME "','method':'M',"
                     "'timeout':9007199254740991}");
    session_settle(session);
    reply(b, a, 1);
}

static void test_cancel(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);
    struct client *c = session_connect(session, "C");

    call(a, b, 1);
    /* Not somebody else's, not one that is not there. */
    client_send(c, "{'type':'cancel','to':'$B','id':1}");
    client_expect_complaint(c, "bus.NoSuchCall", "{'type':'cancel','to':'$B','id':1}");
    client_send(b, "{'type':'cancel','to':'$A','id':1}");
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'cancel','to':'$A','id':1}");
    client_send(a, "{'type':'cancel','to':'" NAME "','id':2}");
    client_expect_complaint(a, "bus.NoSuchCall", "{'type':'cancel','to':'" NAME "','id':2}");

    client_send(a, "{'type':'cancel','to':'" NAME "','id':1}");
    expect_cancel(b, "$A", 1, "cancelled");
    client_expect_error(a, 1, "bus.Cancelled");
    client_send(b, "{'type':'reply','to':'$A','id':1}");
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'$A','id':1}");
    client_send(a, "{'type':'cancel','to':'" NAME "','id':1}");
    client_expect_complaint(a, "bus.NoSuchCall", "{'type':'cancel','to':'" NAME "','id':1}");
}

/* A cancel may not claim a reason of its own. */
static void test_forged_reason(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1);
    client_send(a, "{'type':'cancel','to':'" NAME "','id':1,'reason':'timeout'}");
    client_expect_complaint(a, "bus.InvalidMessage", "{'type':'cancel','to':'" NAME "','id':1}");
    reply(b, a, 1);
}

static void test_duplicate_id(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);
    struct client *c = session_connect(session, "C");

    call(a, b, 1);
    /* Without the id: it would be taken for the answer to the first. */
    client_send(a, "{'type':'call','id':1,'to':'$C','method':'Other'}");
    client_expect_complaint(a, "bus.InvalidMessage", "{'type':'call','to':'$C','id':1}");
    client_expect_nothing(c);
    reply(b, a, 1);
}

/* The bus is a callee as any other: two answers with one id could not be told apart. */
static void test_duplicate_id_at_the_bus(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1);
    client_send(a, "{'type':'call','id':1,'to':'bus','method':'Ping'}");
    client_expect_complaint(a, "bus.InvalidMessage", "{'type':'call','to':'bus','id':1}");
    /* Where no answer is wanted none can be mistaken. */
    client_send(a, "{'type':'call','id':1,'to':'bus','method':'RequestName','no_reply':true,"
                   "'body':{'name':'org.example.Quiet'}}");
    client_send(a, "{'type':'call','id':2,'to':'bus','method':'GetName',"
                   "'body':{'name':'org.example.Quiet'}}");
    client_expect(a, "{'sender':'bus','type':'reply','id':2,'body':"
                     "{'name':'org.example.Quiet','owner':'$A','queue':[]}}");
    reply(b, a, 1);
    client_send(a, "{'type':'call','id':1,'to':'bus','method':'Ping'}");
    client_expect(a, "{'sender':'bus','type':'reply','id':1,'body':{}}");
}

/* Everything pipelined in one go. */
static void test_pipelined(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);
    CLEANUP(cleanup_free)
    char *text = client_expand(session, "{'type':'call','id':1,'to':'" NAME "','method':'M'}\n"
                                        "{'type':'call','id':2,'to':'bus','method':'Ping'}\n"
                                        "{'type':'cancel','to':'" NAME "','id':1}\n"
                                        "{'type':'call','id':1,'to':'" NAME "','method':'N'}\n");

    client_send_bytes(a, text, strlen(text), NULL, 0);
    client_expect(b, "{'sender':'$A','type':'call','id':1,'to':'" NAME "','method':'M'}");
    expect_cancel(b, "$A", 1, "cancelled");
    client_expect(b, "{'sender':'$A','type':'call','id':1,'to':'" NAME "','method':'N'}");
    client_expect(a, "{'sender':'bus','type':'reply','id':2,'body':{}}");
    client_expect_error(a, 1, "bus.Cancelled");
    reply(b, a, 1);
}

/* Both ends of a chain of calls go at once. */
static void test_chain_breaks(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);
    struct client *c = session_connect(session, "C");

    call(a, b, 1);
    client_send(b, "{'type':'call','id':1,'to':'$C','method':'Deeper'}");
    client_expect(c, "{'sender':'$B','type':'call','id':1,'to':'$C','method':'Deeper'}");
    client_close(b);
    client_expect_error(a, 1, "bus.NoReply");
    client_expect(c, "{'sender':':2','type':'cancel','id':1,'reason':'disconnected'}");
}

static void test_stats_count_calls(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1);
    call(a, b, 2);
    json_t *stats = client_ask_json(a, "Stats", "{}");
    assert_int_equal(json_integer_value(json_object_get(stats, "calls")), 2);
    json_decref(stats);
    client_send(a, "{'type':'cancel','to':'" NAME "','id':1}");
    client_expect_error(a, 1, "bus.Cancelled");
    expect_cancel(b, "$A", 1, "cancelled");
    reply(b, a, 2);
    stats = client_ask_json(a, "Stats", "{}");
    assert_int_equal(json_integer_value(json_object_get(stats, "calls")), 0);
    json_decref(stats);
}

static const struct transcript transcripts[] = {
    TRANSCRIPT(test_reply),
    TRANSCRIPT(test_error),
    TRANSCRIPT(test_by_unique_name),
    TRANSCRIPT(test_oneself),
    TRANSCRIPT(test_interleaved),
    TRANSCRIPT(test_nobody),
    TRANSCRIPT(test_no_reply),
    TRANSCRIPT(test_second_reply),
    TRANSCRIPT(test_spoofed_replies),
    TRANSCRIPT(test_spoofed_bus),
    TRANSCRIPT(test_callee_dies),
    TRANSCRIPT(test_callee_answers_and_dies),
    TRANSCRIPT(test_caller_dies),
    TRANSCRIPT(test_caller_dies_with_unread_answers),
    TRANSCRIPT(test_deadline),
    TRANSCRIPT_PLAIN(test_many_deadlines),
    {.name = "test_default_deadline",
     .run = test_default_deadline,
     .args = BUSD_ARGS("--limit", "call_timeout=50"),
     .plain_only = true},
    TRANSCRIPT(test_longest_deadline),
    TRANSCRIPT(test_cancel),
    TRANSCRIPT(test_forged_reason),
    TRANSCRIPT(test_duplicate_id),
    TRANSCRIPT(test_duplicate_id_at_the_bus),
    TRANSCRIPT(test_pipelined),
    TRANSCRIPT(test_chain_breaks),
    TRANSCRIPT(test_stats_count_calls),
};

int main(void)
{
    return TRANSCRIPTS_RUN("calls", transcripts);
}
