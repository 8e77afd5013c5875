/* SPDX-License-Identifier: MIT */
/*
 * Last values: what a subscription begins with, what takes a value's place, and how a
 * value ends.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/support/policy.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"

/* There is no disk here: what is for it is kept, and the publisher told. */
static void set(struct client *client, const char *topic, const char *level, int body)
{
    client_send(client, "{'type':'event','topic':'%s','retain':'%s','body':%d}", topic, level,
                body);
    if (strcmp(level, "disk") == 0)
        client_expect_complaint(client, "bus.StorageFailed", "{'type':'event','topic':'%s'}",
                                topic);
}

static void clear(struct client *client, const char *topic)
{
    client_send(client, "{'type':'event','topic':'%s','retain':'bus','body':null}", topic);
}

/* The last value, as a subscription begins with it … */
static void expect_last(struct client *client, const char *sender, const char *topic,
                        const char *level, int body)
{
    client_expect(client,
                  "{'sender':'$%s','retained':true,'type':'event','topic':'%s','retain':'%s',"
                  "'body':%d}",
                  sender, topic, level, body);
}

/* … and as an event. */
static void expect_change(struct client *client, const char *sender, const char *topic,
                          const char *level, int body)
{
    client_expect(client, "{'sender':'$%s','type':'event','topic':'%s','retain':'%s','body':%d}",
                  sender, topic, level, body);
}

static void expect_end(struct client *client, const char *sender, const char *topic)
{
    client_expect(client, "{'sender':'%s','type':'event','topic':'%s','body':null}", sender, topic);
}

static void subscribe(struct client *client, const char *pattern, unsigned retained)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(client->session, "{'topic':'%s'}", pattern);
    json_t *reply = client_ask_json(client, "Subscribe", body);

    assert_int_equal(json_integer_value(json_object_get(reply, "retained")), retained);
    json_decref(reply);
}

/* What a pattern has now, without subscribing. */
static void look(struct client *client, const char *pattern, unsigned retained)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(client->session, "{'topic':'%s','retained':'only'}", pattern);
    CLEANUP(cleanup_free)
    char *reply = client_expand(client->session, "{'retained':%u}", retained);

    client_ask(client, "Subscribe", body, reply);
}

static void own(struct client *client, const char *name)
{
    CLEANUP(cleanup_free) char *body = client_expand(client->session, "{'name':'%s'}", name);

    client_ask(client, "RequestName", body, "{'state':'owner'}");
}

/* ---------------------------------------------------------- what there is */

/* The client's own bytes, with the bus's two keys before them; live as any event. */
static void test_value(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    subscribe(b, "t", 0);
    client_send(a, "{ 'topic':'t' , 'x':[1, 2], 'retain':'bus','type':'event','body':{'a': 1}}");
    client_expect_line(b, "{'sender':'$A', 'topic':'t' , 'x':[1, 2], 'retain':'bus',"
                          "'type':'event','body':{'a': 1}}");
    client_send(c, "{'type':'call','id':1,'to':'bus','method':'Subscribe','body':{'topic':'t'}}");
    client_expect_line(c, "{'sender':'bus','type':'reply','id':1,'body':{'subscription':1,"
                          "'retained':1}}");
    client_expect_line(c, "{'sender':'$A','retained':true, 'topic':'t' , 'x':[1, 2],"
                          " 'retain':'bus','type':'event','body':{'a': 1}}");
    /* What is not to be kept leaves what is. */
    client_send(a, "{'type':'event','topic':'t','body':2}");
    client_expect(b, "{'sender':'$A','type':'event','topic':'t','body':2}");
    client_expect(c, "{'sender':'$A','type':'event','topic':'t','body':2}");
    look(b, "t", 1);
    client_expect(b, "{'sender':'$A','retained':true,'topic':'t','x':[1,2],'retain':'bus',"
                     "'type':'event','body':{'a':1}}");
}

static void test_clear(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    subscribe(b, "#", 0);
    set(a, "t", "bus", 1);
    set(a, "u", "disk", 2);
    clear(a, "t");
    client_send(a, "{'type':'event','topic':'u','retain':'connection'}");
    clear(a, "never.there");
    expect_change(b, "A", "t", "bus", 1);
    expect_change(b, "A", "u", "disk", 2);
    client_expect(b, "{'sender':'$A','type':'event','topic':'t','retain':'bus','body':null}");
    client_expect(b, "{'sender':'$A','type':'event','topic':'u','retain':'connection'}");
    client_expect(b, "{'sender':'$A','type':'event','topic':'never.there','retain':'bus',"
                     "'body':null}");
    look(b, "#", 0);
    client_ask(
        b, "Stats", "{'name':'$A'}",
        "{'name':'$A','uid':'*','pid':'*','connected':'*','names':[],'subscriptions':[],"
        "'calls':'*','receipts':0,'retained':{'topics':0,'bytes':0},'messages':'*','bytes':'*',"
        "'monitor':false}");
}

static void test_patterns(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    static const char *const topics[] = {"a", "a.b", "a.b.c", "a.d", "busy", "d.b"};

    for (unsigned i = ARRAY_SIZE(topics); i-- > 0;)
        set(a, topics[i], "bus", (int)i);
    session_settle(session);
    look(b, "#", 6);
    for (unsigned i = 0; i < ARRAY_SIZE(topics); i++)
        expect_last(b, "A", topics[i], "bus", (int)i);
    look(b, "a.#", 4);
    for (unsigned i = 0; i < 4; i++)
        expect_last(b, "A", topics[i], "bus", (int)i);
    look(b, "*.b", 2);
    expect_last(b, "A", "a.b", "bus", 1);
    expect_last(b, "A", "d.b", "bus", 5);
    look(b, "*.*.*", 1);
    expect_last(b, "A", "a.b.c", "bus", 2);
    look(b, "x.#", 0);
    look(b, "bus.#", 2);
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.peer.@A','retained':true,"
                     "'body':'*'}");
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.peer.@B','retained':true,"
                     "'body':'*'}");
}

/* Each subscription has its own beginning, and events come once. */
static void test_modes(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    set(a, "t", "bus", 1);
    client_ask(a, "Ping", "{}", "{}");
    client_ask(b, "Subscribe", "{'topic':'t','retained':false}", "{'subscription':1,'retained':0}");
    client_ask(b, "Subscribe", "{'topic':'t','retained':true}", "{'subscription':2,'retained':1}");
    expect_last(b, "A", "t", "bus", 1);
    client_ask(b, "Subscribe", "{'topic':'#'}", "{'subscription':3,'retained':1}");
    expect_last(b, "A", "t", "bus", 1);
    set(a, "t", "bus", 2);
    expect_change(b, "A", "t", "bus", 2);
    client_ask(b, "Subscribe", "{'topic':'bus.name.org.example.X','retained':false}",
               "{'subscription':4,'retained':0}");
    own(a, "org.example.X");
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.name.org.example.X',"
                     "'body':{'owner':'$A'}}");
    client_ask(a, "Subscribe", "{'topic':'bus.#','retained':false}",
               "{'subscription':1,'retained':0}");
    look(b, "bus.name.org.example.X", 1);
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.name.org.example.X',"
                     "'retained':true,'body':{'owner':'$A'}}");
    look(b, "bus.peer.@A", 1);
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.peer.@A','retained':true,"
                     "'body':'*'}");
    look(b, "bus.peer.4711", 0);
    look(b, "bus.name.org.example.Y", 0);
    /* It left nothing behind. */
    client_ask_error(a, "Unsubscribe", "{'subscription':2}", "bus.NoSuchSubscription");
}

static void test_senders(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    set(a, "t.a", "bus", 1);
    set(b, "t.b", "bus", 2);
    own(b, "org.example.B");
    client_ask(a, "Ping", "{}", "{}");
    client_ask(c, "Subscribe", "{'topic':'t.#','sender':'$A','retained':'only'}", "{'retained':1}");
    expect_last(c, "A", "t.a", "bus", 1);
    client_ask(c, "Subscribe", "{'topic':'t.#','sender':'org.example.B','retained':'only'}",
               "{'retained':1}");
    expect_last(c, "B", "t.b", "bus", 2);
    client_ask(c, "Subscribe", "{'topic':'#','sender':'bus','retained':'only'}", "{'retained':0}");
    /* Who has gone is known by its unique name alone. */
    client_close(b);
    session_wait_for_connections(session, a, 2);
    client_ask(c, "Subscribe", "{'topic':'t.#','sender':'org.example.B','retained':'only'}",
               "{'retained':0}");
    client_ask(c, "Subscribe", "{'topic':'t.#','sender':'$B','retained':'only'}", "{'retained':1}");
    expect_last(c, "B", "t.b", "bus", 2);
}

static void test_not_for_values(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    subscribe(b, "#", 0);
    client_send(a, "{'type':'event','topic':'t','retain':'bus','to':'$B','body':1}");
    client_expect_complaint(a, "bus.InvalidMessage", "{'type':'event','to':'$B','topic':'t'}");
    client_send(a, "{'type':'event','topic':'t','ttl':5,'body':1}");
    client_expect_complaint(a, "bus.InvalidMessage", "{'type':'event','topic':'t'}");
    client_send(a, "{'type':'event','topic':'t','retain':'for ever','body':1}");
    client_expect_complaint(a, "bus.InvalidMessage", "{'type':'event','topic':'t'}");
    client_send_fds(a, (int[]){0}, 1, "{'type':'event','topic':'t','retain':'bus','fds':1}");
    client_expect_complaint(a, "bus.InvalidMessage", "{'type':'event','topic':'t'}");
    client_send(a, "{'type':'event','topic':'bus.t','retain':'bus','body':1}");
    client_expect_complaint(a, "bus.AccessDenied", "{'type':'event','topic':'bus.t'}");
    look(b, "#", 0);
}

/* ------------------------------------------------------- whose value it is */

static void test_overwritten(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    set(a, "t", "connection", 1);
    client_ask(a, "Ping", "{}", "{}");
    set(b, "t", "bus", 2);
    client_ask(b, "Ping", "{}", "{}");
    client_close(a);
    session_wait_for_connections(session, b, 2);
    look(c, "t", 1);
    expect_last(c, "B", "t", "bus", 2);
    set(b, "t", "connection", 3);
    client_ask(b, "Ping", "{}", "{}");
    subscribe(c, "#", 1);
    expect_last(c, "B", "t", "connection", 3);
    client_close(b);
    expect_end(c, "$B", "t");
    look(c, "t", 0);
}

/* The values of a connection end with it, in its name, the others stay. */
static void test_leaving(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    own(a, "org.example.A");
    client_ask(b, "Subscribe", "{'topic':'bus.name.#'}", "{'subscription':1,'retained':1}");
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.name.org.example.A',"
                     "'retained':true,'body':{'owner':'$A'}}");
    client_ask(b, "Subscribe", "{'topic':'t.#','sender':'org.example.A'}",
               "{'subscription':2,'retained':0}");
    set(a, "t.one", "connection", 1);
    set(a, "t.two", "bus", 2);
    set(a, "t.three", "disk", 3);
    set(a, "t.four", "connection", 4);
    expect_change(b, "A", "t.one", "connection", 1);
    expect_change(b, "A", "t.two", "bus", 2);
    expect_change(b, "A", "t.three", "disk", 3);
    expect_change(b, "A", "t.four", "connection", 4);
    client_close(a);
    expect_end(b, "$A", "t.one");
    expect_end(b, "$A", "t.four");
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.name.org.example.A',"
                     "'body':null}");
    look(b, "#", 2);
    expect_last(b, "A", "t.three", "disk", 3);
    expect_last(b, "A", "t.two", "bus", 2);
}

static void test_ttl(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    subscribe(b, "t.#", 0);
    client_send(a, "{'type':'event','topic':'t.a','retain':'bus','ttl':300,'body':1}");
    client_send(a, "{'type':'event','topic':'t.b','retain':'bus','ttl':200,'body':2}");
    client_send(a, "{'type':'event','topic':'t.c','retain':'bus','ttl':10,'body':3}");
    client_send(a, "{'type':'event','topic':'t.c','retain':'bus','body':4}");
    for (unsigned i = 0; i < 4; i++)
        message_free(client_next(b));
    uint64_t begun = process_now();
    client_close(a);
    expect_end(b, "bus", "t.b");
    expect_end(b, "bus", "t.a");
    CHECK(process_now() - begun < 5000, "it took %u ms", (unsigned)(process_now() - begun));
    look(b, "#", 1);
    expect_last(b, "A", "t.c", "bus", 4);
    struct client *c = session_connect(session, "C");
    client_send(c, "{'type':'event','topic':'t.c','retain':'disk','ttl':1,'body':5}");
    client_expect(b, "{'sender':'$C','type':'event','topic':'t.c','retain':'disk','ttl':1,"
                     "'body':5}");
    client_expect_complaint(c, "bus.StorageFailed", "{'type':'event','topic':'t.c'}");
    expect_end(b, "$C", "t.c");
}

/* What somebody had left below a name is hidden while another has that name. */
static void test_guard(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    set(a, "org.example.S.x", "connection", 1);
    client_ask(a, "Ping", "{}", "{}");
    look(c, "#", 1);
    expect_last(c, "A", "org.example.S.x", "connection", 1);
    own(b, "org.example.S");
    look(c, "#", 0);
    client_ask(c, "Retained", "{'topic':'#'}", "{'topics':[]}");
    set(a, "org.example.S.x", "bus", 2);
    client_expect_complaint(a, "bus.AccessDenied", "{'type':'event','topic':'org.example.S.x'}");
    client_ask(b, "ReleaseName", "{'name':'org.example.S'}", "{}");
    look(c, "#", 1);
    expect_last(c, "A", "org.example.S.x", "connection", 1);
    own(a, "org.example.S");
    look(c, "#", 1);
    expect_last(c, "A", "org.example.S.x", "connection", 1);
    client_ask(a, "ReleaseName", "{'name':'org.example.S'}", "{}");

    /* It ends, but not in its publisher's name. */
    own(b, "org.example.S");
    subscribe(c, "org.example.#", 0);
    client_close(a);
    expect_end(c, "bus", "org.example.S.x");

    /* What the owner sets outlives it, for the next one. */
    set(b, "org.example.S.x", "bus", 3);
    expect_change(c, "B", "org.example.S.x", "bus", 3);
    client_close(b);
    session_wait_for_connections(session, c, 1);
    struct client *d = session_connect(session, "D");
    own(d, "org.example.S");
    look(c, "#", 1);
    expect_last(c, "B", "org.example.S.x", "bus", 3);
}

/* ---------------------------------------------------------------- the list */

static void test_list(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    set(a, "t.a", "connection", 1);
    set(a, "t.b", "disk", 2);
    client_send(a, "{'type':'event','topic':'u','retain':'bus','ttl':100000,'body':3}");
    client_ask(a, "Ping", "{}", "{}");
    client_ask(b, "Retained", "{'topic':'t.*'}",
               "{'topics':[{'topic':'t.a','sender':'$A','level':'connection','size':'*'},"
               "{'topic':'t.b','sender':'$A','level':'disk','size':'*'}]}");
    json_t *reply = client_ask_json(b, "Retained", "{'topic':'u'}");
    const json_t *u = json_array_get(json_object_get(reply, "topics"), 0);
    double left = json_real_value(json_object_get(u, "expires")) - (double)time(NULL);
    CHECK(left > 50 && left < 102, "it expires in %f s", left);
    json_decref(reply);
    look(b, "u", 1);
    struct message *value = client_next(b);
    reply = client_ask_json(b, "Retained", "{'topic':'u'}");
    u = json_array_get(json_object_get(reply, "topics"), 0);
    assert_int_equal(json_integer_value(json_object_get(u, "size")), value->size + 1);
    json_decref(reply);
    message_free(value);
    reply = client_ask_json(b, "Stats", "{}");
    const json_t *stats = json_object_get(reply, "retained");
    assert_int_equal(json_integer_value(json_object_get(stats, "topics")), 3);
    assert_true(json_integer_value(json_object_get(stats, "bytes")) > 300);
    json_decref(reply);
}

static void test_list_too_long(struct session *session)
{
    struct client *a = session_connect(session, "A");

    for (int i = 0; i < 30; i++) {
        char topic[32];
        snprintf(topic, sizeof(topic), "t%d.x", i);
        set(a, topic, "bus", i);
    }
    client_ask_error(a, "Retained", "{'topic':'#'}", "bus.LimitExceeded");
    json_t *reply = client_ask_json(a, "Retained", "{'topic':'t3.*'}");
    assert_int_equal(json_array_size(json_object_get(reply, "topics")), 1);
    json_decref(reply);
}

/* ------------------------------------------------------------------ limits */

/* Over the limit nothing is delivered either, and what there was stays. */
static void test_limit_of_bytes(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    char large[2001];

    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    set(a, "t", "bus", 1);
    client_ask(a, "Ping", "{}", "{}");
    subscribe(b, "#", 1);
    expect_last(b, "A", "t", "bus", 1);
    client_send(a, "{'type':'event','topic':'t','id':7,'retain':'bus','body':'%s'}", large);
    client_expect(a, "{'sender':'bus','type':'error','error':'bus.LimitExceeded','id':7,"
                     "'message':'with this value your connection would have more retained than "
                     "it may: 1000 (retained_bytes)'}");
    client_send(a, "{'type':'event','topic':'u','retain':'bus','body':'%s'}", large);
    client_expect_complaint(a, "bus.LimitExceeded", "{'type':'event','topic':'u'}");
    look(b, "#", 1);
    expect_last(b, "A", "t", "bus", 1);
    client_send(a, "{'type':'event','topic':'t','body':'%s'}", large);
    client_expect(b, "{'sender':'$A','type':'event','topic':'t','body':'%s'}", large);
}

static void test_limit_of_user_bytes(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    for (int i = 0; i < 4; i++) {
        char topic[32];
        snprintf(topic, sizeof(topic), "t%d", i);
        set(i % 2 ? b : a, topic, "bus", i);
    }
    session_expect_nothing(session);
    client_send(b, "{'type':'event','topic':'t4','id':7,'retain':'bus','body':4}");
    client_expect_error(b, 7, "bus.LimitExceeded");
    /* It is the user's, also when the connection has gone. */
    client_close(a);
    session_wait_for_connections(session, b, 1);
    client_send(b, "{'type':'event','topic':'t4','id':8,'retain':'bus','body':4}");
    client_expect_error(b, 8, "bus.LimitExceeded");
    clear(b, "t0");
    set(b, "t4", "bus", 4);
    look(b, "t4", 1);
    expect_last(b, "B", "t4", "bus", 4);
}

/* What does not fit into the receiver's queue is refused as a whole. */
static void test_too_much(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    char large[3001];

    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    for (int i = 0; i < 5; i++)
        client_send(a, "{'type':'event','topic':'t.%d','retain':'bus','body':'%s'}", i, large);
    client_ask(a, "Ping", "{}", "{}");
    client_ask_error(b, "Subscribe", "{'topic':'t.#'}", "bus.LimitExceeded");
    client_ask_error(b, "Subscribe", "{'topic':'#','retained':'only'}", "bus.LimitExceeded");
    client_ask(
        b, "Stats", "{'name':'$B'}",
        "{'name':'$B','uid':'*','pid':'*','connected':'*','names':[],'subscriptions':[],"
        "'calls':'*','receipts':0,'retained':'*','messages':'*','bytes':'*','monitor':false}");
    client_ask(b, "Subscribe", "{'topic':'t.#','retained':false}",
               "{'subscription':2,'retained':0}");
    client_ask(b, "Subscribe", "{'topic':'t.3'}", "{'subscription':3,'retained':1}");
    client_expect(b,
                  "{'sender':'$A','retained':true,'type':'event','topic':'t.3','retain':'bus',"
                  "'body':'%s'}",
                  large);
}

/* ------------------------------------------------------- others who look on */

static void test_monitor(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *m = session_connect(session, "M");

    set(a, "t", "connection", 1);
    client_ask(a, "Ping", "{}", "{}");
    client_ask(m, "Monitor", "{'topic':'t'}", "{}");
    subscribe(b, "t", 1);
    expect_last(b, "A", "t", "connection", 1);
    client_expect(m, "{'sender':'bus','type':'event','topic':'bus.monitor','body':{'time':'*',"
                     "'monotonic':'*','from':'$A','to':['$B'],'fds':0,'message':{'sender':'$A',"
                     "'retained':true,'type':'event','topic':'t','retain':'connection',"
                     "'body':1}}}");
    client_close(a);
    expect_end(b, "$A", "t");
    client_expect(m, "{'sender':'bus','type':'event','topic':'bus.monitor','body':{'time':'*',"
                     "'monotonic':'*','from':'$A','to':['$B'],'fds':0,'message':{'sender':'$A',"
                     "'type':'event','topic':'t','body':null}}}");
}

/* ------------------------------------------------------------------ policy */

#define OPEN POLICY("{'allow':'*'}")

static void test_policy(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    set(a, "t.open", "bus", 1);
    set(a, "t.secret", "bus", 2);
    client_ask(a, "Ping", "{}", "{}");
    look(g, "#", 1);
    expect_last(g, "A", "t.open", "bus", 1);
    client_ask_error(g, "Subscribe", "{'topic':'t.secret','retained':'only'}", "bus.AccessDenied");
    client_ask_error(g, "Retained", "{'topic':'t.secret'}", "bus.AccessDenied");
    client_ask(g, "Retained", "{'topic':'#'}",
               "{'topics':[{'topic':'t.open','sender':'$A','level':'bus','size':'*'}]}");
    client_send(g, "{'type':'event','topic':'w','id':5,'retain':'bus','body':1}");
    client_expect_error(g, 5, "bus.AccessDenied");
    look(a, "w", 0);
}

/* With the right to publish a connection's values go, but not those of the bus. */
static void test_revoked(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    set(g, "t.a", "connection", 1);
    set(g, "t.b", "bus", 2);
    set(g, "u", "connection", 3);
    client_ask(g, "Ping", "{}", "{}");
    subscribe(a, "#", 3);
    expect_last(a, "G", "t.a", "connection", 1);
    expect_last(a, "G", "t.b", "bus", 2);
    expect_last(a, "G", "u", "connection", 3);
    client_send(a, "{'type':'call','id':1,'to':'bus','method':'Ping'}");
    client_expect(a, "{'sender':'bus','type':'reply','id':1,'body':{}}");
    assert_int_equal(busd_configure(&session->busd, POLICY("{'deny':'publish'," GUEST
                                                           ",'topic':'t.#'},{'allow':'*'}")),
                     0);
    client_send(a, "{'type':'call','id':2,'to':'bus','method':'Reload'}");
    expect_end(a, "$G", "t.a");
    client_expect(a, "{'sender':'bus','type':'reply','id':2,'body':{}}");
    look(a, "#", 2);
    expect_last(a, "G", "t.b", "bus", 2);
    expect_last(a, "G", "u", "connection", 3);
    policy_reload(a, POLICY("{'deny':'subscribe'," GUEST ",'topic':'u'},{'allow':'*'}"));
    look(g, "#", 1);
    expect_last(g, "G", "t.b", "bus", 2);
}

/* ------------------------------------------------------------ many of them */

/* The end of a connection with many values, which nobody may see from then on. */
static void test_many(struct session *session)
{
    enum { MANY = 16000 };
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    unsigned values = 0, ends = 0;

    for (int i = 0; i < MANY; i++)
        client_send(a, "{'type':'event','topic':'t.%d','retain':'connection','body':1}", i);
    client_ask(a, "Ping", "{}", "{}");
    subscribe(b, "#", MANY);
    for (unsigned i = 0; i < MANY; i++)
        message_free(client_next(b));
    client_close(a);
    for (struct message *message; ends == 0 && (message = client_next(b));) {
        ends += json_is_null(json_object_get(message->json, "body"));
        message_free(message);
    }
    /* The first has ended, so it is known that A has gone: nothing of it is there. */
    look(c, "#", 0);
    while (ends < MANY) {
        struct message *message = client_next(b);
        values += !json_is_null(json_object_get(message->json, "body"));
        ends++;
        message_free(message);
    }
    assert_int_equal(values, 0);
    session_wait_for_connections(session, b, 2);
}

/* All at once: others are served meanwhile, and each ends once. */
static void test_many_ends(struct session *session)
{
    enum { MANY = 3000 };
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    for (int i = 0; i < MANY; i++)
        client_send(a, "{'type':'event','topic':'t.%d','retain':'bus','ttl':%d,'body':1}", i,
                    1000 - i % 3);
    client_ask(a, "Ping", "{}", "{}");
    client_ask(b, "Subscribe", "{'topic':'#','retained':false}", "{'subscription':1,'retained':0}");
    for (unsigned i = 0; i < MANY; i++) {
        struct message *message = client_next(b);
        assert_true(json_is_null(json_object_get(message->json, "body")));
        message_free(message);
    }
    look(b, "#", 0);
}

#define L "--limit"
#define LIMITED(function, ...)                                                                     \
    {                                                                                              \
        .name = #function, .run = function, .args = BUSD_ARGS(__VA_ARGS__)                         \
    }

static const struct transcript transcripts[] = {
    TRANSCRIPT(test_value),
    TRANSCRIPT(test_clear),
    TRANSCRIPT(test_patterns),
    TRANSCRIPT(test_modes),
    TRANSCRIPT(test_senders),
    TRANSCRIPT(test_not_for_values),
    TRANSCRIPT(test_overwritten),
    TRANSCRIPT(test_leaving),
    TRANSCRIPT_PLAIN(test_ttl),
    TRANSCRIPT(test_guard),
    TRANSCRIPT_PLAIN(test_list),
    LIMITED(test_list_too_long, L, "message_bytes=1000"),
    LIMITED(test_limit_of_bytes, L, "retained_bytes=1000"),
    LIMITED(test_limit_of_user_bytes, L, "retained_bytes_per_user=1400"),
    LIMITED(test_limit_of_user_bytes, L, "retained_bytes_in_all=2800"),
    LIMITED(test_too_much, L, "queue_bytes=4096"),
    TRANSCRIPT(test_monitor),
    TRANSCRIPT_CONFIGURED(test_policy,
                          POLICY("{'deny':'subscribe'," GUEST ",'topic':'t.secret'},"
                                 "{'deny':'publish'," GUEST ",'topic':'w'},{'allow':'*'}")),
    TRANSCRIPT_CONFIGURED(test_revoked, OPEN),
    TRANSCRIPT_PLAIN(test_many),
    TRANSCRIPT_PLAIN(test_many_ends),
};

int main(void)
{
    return TRANSCRIPTS_RUN("retained", transcripts);
}
