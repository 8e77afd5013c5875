/* SPDX-License-Identifier: MIT */
/*
 * Publishing and subscribing: patterns, sender filters, addressed events, the name
 * guard, the bus's own topics.
 */
#include <string.h>

#include "tests/support/transcript.h"

static void subscribe(struct client *client, const char *pattern)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(client->session, "{'topic':'%s'}", pattern);

    json_decref(client_ask_json(client, "Subscribe", body));
}

static void subscribe_from(struct client *client, const char *pattern, const char *sender)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(client->session, "{'topic':'%s','sender':'%s'}", pattern, sender);

    json_decref(client_ask_json(client, "Subscribe", body));
}

static void own(struct client *client, const char *name)
{
    CLEANUP(cleanup_free) char *body = client_expand(client->session, "{'name':'%s'}", name);

    client_ask(client, "RequestName", body, "{'state':'owner'}");
}

static void publish(struct client *client, const char *topic, int body)
{
    client_send(client, "{'type':'event','topic':'%s','body':%d}", topic, body);
}

static void expect_event(struct client *client, const char *sender, const char *topic, int body)
{
    client_expect(client, "{'sender':'$%s','type':'event','topic':'%s','body':%d}", sender, topic,
                  body);
}

static void test_publish(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    publish(a, "org.example.topic", 0);
    client_ask(b, "Subscribe", "{'topic':'org.example.topic'}", "{'subscription':1,'retained':0}");
    publish(a, "org.example.topic", 1);
    publish(a, "org.example.other", 2);
    publish(a, "org.example", 3);
    publish(a, "org.example.topic.deeper", 4);
    publish(a, "org.example.topic", 5);
    expect_event(b, "A", "org.example.topic", 1);
    expect_event(b, "A", "org.example.topic", 5);
}

/* The line goes on byte for byte, with the sender before it. */
static void test_untouched(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    subscribe(b, "#");
    client_send(a, "{'type':'event','topic':'t','body':{'b':1.0,'a':[1E5,-0,0.10,"
                   "123456789012345678901234567890,'\\u00e9\\/\\ud83d\\ude00','\xc3\xa9']}}");
    client_expect_line(b, "{'sender':'$A','type':'event','topic':'t','body':{'b':1.0,'a':[1E5,-0,"
                          "0.10,123456789012345678901234567890,'\\u00e9\\/\\ud83d\\ude00','\xc3\xa9"
                          "']}}");
    client_send(a, "{ 'body' : [ 1 , 2 ] , 'x-trace':'7','topic':'t' ,'type':'event' }");
    client_expect_line(b, "{'sender':'$A', 'body' : [ 1 , 2 ] , 'x-trace':'7','topic':'t' ,"
                          "'type':'event' }");
    /* Space around the object is no part of it. */
    client_send(a, "  {'type':'event','topic':'t'}  \r");
    client_expect_line(b, "{'sender':'$A','type':'event','topic':'t'}");
}

static void test_no_body(struct session *session)
{
    struct client *a = session_connect(session, "A");

    subscribe(a, "t");
    client_send(a, "{'type':'event','topic':'t'}");
    client_expect_line(a, "{'sender':'$A','type':'event','topic':'t'}");
}

static void test_patterns(struct session *session)
{
    static const char *const topics[] = {"a", "a.b", "a.c", "a.b.c", "b", "b.b", "busy"};
    static const struct {
        const char *name;
        const char *pattern;
        const char *expected; /* the topics, by their first letters of this list */
    } cases[] = {
        {"EXACT", "a.b", "1"},      {"STAR", "a.*", "12"}, {"HASH", "a.#", "0123"},
        {"ALL", "#", "0123456"},    {"ONE", "*", "046"},   {"TWO", "*.*", "125"},
        {"MIDDLE", "*.b.#", "135"}, {"LAST", "*.b", "15"}, {"NONE", "a.b.c.d", ""},
    };
    struct client *clients[ARRAY_SIZE(cases)];
    struct client *a = session_connect(session, "A");

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        clients[i] = session_connect(session, cases[i].name);
        subscribe(clients[i], cases[i].pattern);
    }
    for (size_t i = 0; i < ARRAY_SIZE(topics); i++)
        publish(a, topics[i], (int)i);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        for (const char *digit = cases[i].expected; *digit; digit++)
            expect_event(clients[i], "A", topics[*digit - '0'], *digit - '0');
}

/* To each connection once, however many of its patterns match. */
static void test_once(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    subscribe(b, "a.b");
    subscribe(b, "a.b");
    subscribe(b, "a.*");
    subscribe(b, "#");
    subscribe_from(b, "a.b", "$A");
    publish(a, "a.b", 1);
    expect_event(b, "A", "a.b", 1);
    publish(a, "a.c", 2);
    expect_event(b, "A", "a.c", 2);
}

static void test_oneself(struct session *session)
{
    struct client *a = session_connect(session, "A");

    subscribe(a, "mine.*");
    publish(a, "mine.x", 1);
    expect_event(a, "A", "mine.x", 1);
}

static void test_unsubscribe(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_ask(b, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
    client_ask(b, "Subscribe", "{'topic':'#'}", "{'subscription':2,'retained':0}");
    client_ask(b, "Unsubscribe", "{'subscription':1}", "{}");
    publish(a, "t", 1);
    expect_event(b, "A", "t", 1);
    client_ask_error(b, "Unsubscribe", "{'subscription':1}", "bus.NoSuchSubscription");
    client_ask_error(a, "Unsubscribe", "{'subscription':2}", "bus.NoSuchSubscription");
    client_ask(b, "Unsubscribe", "{'subscription':2}", "{}");
    publish(a, "t", 2);
}

/* Subscribed from the reply on, not one event earlier or later. */
static void test_exactly_from_the_reply_on(struct session *session)
{
    struct client *a = session_connect(session, "A");

    publish(a, "t", 1);
    client_send(a, "{'type':'call','id':1,'to':'bus','method':'Subscribe','body':{'topic':'t'}}");
    publish(a, "t", 2);
    client_send(a, "{'type':'call','id':2,'to':'bus','method':'Unsubscribe',"
                   "'body':{'subscription':1}}");
    publish(a, "t", 3);
    client_expect(a, "{'sender':'bus','type':'reply','id':1,"
                     "'body':{'subscription':1,'retained':0}}");
    expect_event(a, "A", "t", 2);
    client_expect(a, "{'sender':'bus','type':'reply','id':2,'body':{}}");
}

static void test_filter_by_unique_name(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    subscribe_from(c, "t", "$A");
    publish(b, "t", 1);
    publish(a, "t", 2);
    publish(b, "t", 3);
    session_settle(session);
    expect_event(c, "A", "t", 2);
}

/* A well-known name means whoever owns it when the event passes. */
static void test_filter_by_well_known_name(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    subscribe_from(c, "t.#", "org.example.Sensor");
    publish(a, "t", 1);
    own(a, "org.example.Sensor");
    publish(a, "t", 2);
    publish(a, "t.deeper", 3);
    session_settle(session);
    publish(b, "t", 4);
    session_settle(session);
    client_ask(a, "ReleaseName", "{'name':'org.example.Sensor'}", "{}");
    publish(a, "t", 5);
    session_settle(session);
    own(b, "org.example.Sensor");
    publish(b, "t", 6);
    session_settle(session);
    client_close(b);
    session_wait_for_connections(session, a, 2);
    publish(a, "t", 7);
    expect_event(c, "A", "t", 2);
    expect_event(c, "A", "t.deeper", 3);
    client_expect(c, "{'sender':':2','type':'event','topic':'t','body':6}");
}

static void test_several_filters(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    own(a, "org.example.X");
    own(a, "org.example.Y");
    subscribe_from(c, "t", "org.example.X");
    subscribe_from(c, "*", "org.example.Y");
    subscribe_from(c, "#", "$A");
    publish(a, "t", 1);
    expect_event(c, "A", "t", 1);
    publish(b, "t", 2);
    session_settle(session);
    subscribe_from(c, "t", "$B");
    publish(b, "t", 3);
    expect_event(c, "B", "t", 3);
}

/* What the bus itself says can be filtered for, too. */
static void test_filter_by_the_bus(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_ask(a, "Subscribe", "{'topic':'bus.name.#','sender':'bus'}",
               "{'subscription':1,'retained':0}");
    client_ask(a, "Subscribe", "{'topic':'bus.name.#','sender':'$B'}",
               "{'subscription':2,'retained':0}");
    own(b, "org.example.X");
    client_expect(a, "{'sender':'bus','type':'event','topic':'bus.name.org.example.X',"
                     "'body':{'owner':'$B'}}");
}

static void test_to(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    subscribe(c, "progress");
    client_send(a, "{'type':'event','topic':'progress','to':'$B','body':50}");
    client_expect_line(b, "{'sender':'$A','type':'event','topic':'progress','to':'$B','body':50}");
    own(c, "org.example.C");
    client_send(a, "{'type':'event','topic':'other','to':'org.example.C'}");
    client_expect(c, "{'sender':'$A','type':'event','topic':'other','to':'org.example.C'}");
    client_send(b, "{'type':'event','topic':'mine','to':'$B'}");
    client_expect(b, "{'sender':'$B','type':'event','topic':'mine','to':'$B'}");
}

static void test_to_nobody(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_send(a, "{'type':'event','topic':'t','to':'org.example.Nobody'}");
    client_expect_complaint(a, "bus.NameUnknown",
                            "{'type':'event','to':'org.example.Nobody','topic':'t'}");
    client_send(a, "{'type':'event','topic':'t','to':':999','id':7}");
    client_expect_error(a, 7, "bus.NameUnknown");
    client_send(a, "{'type':'event','topic':'t','to':'bus'}");
    client_expect_complaint(a, "bus.NameUnknown", "{'type':'event','to':'bus','topic':'t'}");
}

/* While a name is owned, its topics are its owner's. */
static void test_guard(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    subscribe(c, "#");
    publish(b, "org.example.S.x", 1);
    expect_event(c, "B", "org.example.S.x", 1);
    own(a, "org.example.S");
    publish(b, "org.example.S", 2);
    client_expect_complaint(b, "bus.AccessDenied", "{'type':'event','topic':'org.example.S'}");
    publish(b, "org.example.S.x", 3);
    client_expect_complaint(b, "bus.AccessDenied", "{'type':'event','topic':'org.example.S.x'}");
    client_send(b, "{'type':'event','topic':'org.example.S.x.y','id':9}");
    client_expect_error(b, 9, "bus.AccessDenied");
    client_send(b, "{'type':'event','topic':'org.example.S.x','to':'$C'}");
    client_expect_complaint(b, "bus.AccessDenied",
                            "{'type':'event','to':'$C','topic':'org.example.S.x'}");

    /* Only whole segments count. */
    publish(b, "org.example", 4);
    publish(b, "org.example.Service", 5);
    publish(b, "org.example.T", 6);
    expect_event(c, "B", "org.example", 4);
    expect_event(c, "B", "org.example.Service", 5);
    expect_event(c, "B", "org.example.T", 6);

    publish(a, "org.example.S", 7);
    publish(a, "org.example.S.x", 8);
    expect_event(c, "A", "org.example.S", 7);
    expect_event(c, "A", "org.example.S.x", 8);
    client_ask(a, "ReleaseName", "{'name':'org.example.S'}", "{}");
    publish(b, "org.example.S.x", 9);
    expect_event(c, "B", "org.example.S.x", 9);
}

static void test_guard_follows_the_name(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    own(a, "org.example.S");
    client_ask(b, "RequestName", "{'name':'org.example.S','queue':true}", "{'state':'queued'}");
    publish(b, "org.example.S.x", 1);
    client_expect_complaint(b, "bus.AccessDenied", "{'type':'event','topic':'org.example.S.x'}");
    client_ask(a, "ReleaseName", "{'name':'org.example.S'}", "{}");
    publish(b, "org.example.S.x", 2);
    publish(a, "org.example.S.x", 3);
    client_expect_complaint(a, "bus.AccessDenied", "{'type':'event','topic':'org.example.S.x'}");
    client_close(b);
    session_wait_for_connections(session, a, 1);
    publish(a, "org.example.S.x", 4);
}

/* One name inside of the other: both must be the publisher's. */
static void test_guard_nested(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    subscribe(c, "#");
    own(a, "org.example");
    own(b, "org.example.S");
    publish(a, "org.example.T", 1);
    expect_event(c, "A", "org.example.T", 1);
    publish(a, "org.example.S.x", 2);
    client_expect_complaint(a, "bus.AccessDenied", "{'type':'event','topic':'org.example.S.x'}");
    publish(b, "org.example.S.x", 3);
    client_expect_complaint(b, "bus.AccessDenied", "{'type':'event','topic':'org.example.S.x'}");
    client_ask(a, "ReleaseName", "{'name':'org.example'}", "{}");
    publish(b, "org.example.S.x", 4);
    expect_event(c, "B", "org.example.S.x", 4);
}

static void test_reserved_topics(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    subscribe(b, "bus.#");
    client_read_available(b);
    publish(a, "bus", 1);
    client_expect_complaint(a, "bus.AccessDenied", "{'type':'event','topic':'bus'}");
    publish(a, "bus.name.org.example.X", 2);
    client_expect_complaint(a, "bus.AccessDenied",
                            "{'type':'event','topic':'bus.name.org.example.X'}");
    client_send(a, "{'type':'event','topic':'bus.overflow','to':'$B'}");
    client_expect_complaint(a, "bus.AccessDenied",
                            "{'type':'event','to':'$B','topic':'bus.overflow'}");
    publish(a, "busy", 3);
    /* The snapshot: two peers. */
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.peer.@A','retained':true,"
                     "'body':'*'}");
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.peer.@B','retained':true,"
                     "'body':'*'}");
}

/* A leading wildcard does not see the bus's own topics. */
static void test_wildcards_do_not_see_the_bus(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    subscribe(b, "#");
    subscribe(b, "*.name.#");
    subscribe(b, "*.*");
    own(a, "org.example.X");
    client_close(a);
    session_wait_for_connections(session, b, 1);
}

/* Each subscriber sees one sender's events in their order, and all subscribers see
 * the same order of everything. */
static void test_order(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    struct client *d = session_connect(session, "D");

    subscribe(c, "#");
    subscribe(d, "n.*");
    for (int i = 0; i < 50; i++) {
        publish(a, "n.a", i);
        publish(b, "n.b", i);
    }
    int next_a = 0, next_b = 0;
    for (int i = 0; i < 100; i++) {
        struct message *at_c = client_next(c), *at_d = client_next(d);
        assert_string_equal(at_c->line, at_d->line);
        const char *topic = json_string_value(json_object_get(at_c->json, "topic"));
        int number = (int)json_integer_value(json_object_get(at_c->json, "body"));
        assert_int_equal(number, strcmp(topic, "n.a") == 0 ? next_a++ : next_b++);
        message_free(at_c);
        message_free(at_d);
    }
}

static void test_many_subscribers(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *clients[100];

    for (unsigned i = 0; i < ARRAY_SIZE(clients); i++) {
        char name[16];
        snprintf(name, sizeof(name), "S%u", i);
        clients[i] = session_connect(session, name);
        subscribe(clients[i], i % 2 ? "t.*" : "t.x");
    }
    for (int n = 0; n < 20; n++)
        publish(a, "t.x", n);
    for (unsigned i = 0; i < ARRAY_SIZE(clients); i++)
        for (int n = 0; n < 20; n++)
            expect_event(clients[i], "A", "t.x", n);
}

/* A subscriber that goes away in the middle of it all. */
static void test_subscriber_leaves(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    subscribe(b, "t");
    subscribe(c, "t");
    publish(a, "t", 1);
    expect_event(c, "A", "t", 1);
    client_close(b);
    publish(a, "t", 2);
    publish(a, "t", 3);
    expect_event(c, "A", "t", 2);
    expect_event(c, "A", "t", 3);
}

static void test_big_events(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    size_t size = 300000;
    CLEANUP(cleanup_free) char *text = malloc(size + 1);

    memset(text, 'x', size);
    text[size] = '\0';
    subscribe(b, "t");
    for (unsigned i = 0; i < 5; i++)
        client_send(a, "{'type':'event','topic':'t','body':'%s'}", text);
    for (unsigned i = 0; i < 5; i++)
        client_expect(b, "{'sender':'$A','type':'event','topic':'t','body':'%s'}", text);
}

static const struct transcript transcripts[] = {
    TRANSCRIPT(test_publish),
    TRANSCRIPT(test_untouched),
    TRANSCRIPT(test_no_body),
    TRANSCRIPT(test_patterns),
    TRANSCRIPT(test_once),
    TRANSCRIPT(test_oneself),
    TRANSCRIPT(test_unsubscribe),
    TRANSCRIPT(test_exactly_from_the_reply_on),
    TRANSCRIPT(test_filter_by_unique_name),
    TRANSCRIPT(test_filter_by_well_known_name),
    TRANSCRIPT(test_several_filters),
    TRANSCRIPT(test_filter_by_the_bus),
    TRANSCRIPT(test_to),
    TRANSCRIPT(test_to_nobody),
    TRANSCRIPT(test_guard),
    TRANSCRIPT(test_guard_follows_the_name),
    TRANSCRIPT(test_guard_nested),
    TRANSCRIPT(test_reserved_topics),
    TRANSCRIPT(test_wildcards_do_not_see_the_bus),
    TRANSCRIPT_PLAIN(test_order),
    TRANSCRIPT_PLAIN(test_many_subscribers),
    TRANSCRIPT(test_subscriber_leaves),
    TRANSCRIPT(test_big_events),
};

int main(void)
{
    return TRANSCRIPTS_RUN("events", transcripts);
}
