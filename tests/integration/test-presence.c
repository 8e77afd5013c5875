/* SPDX-License-Identifier: MIT */
/*
 * bus.subscribers.<topic>: how many listen to a topic now, and each time that this is
 * another number.
 */
#include <string.h>

#include "libbus/base/text.h"
#include "tests/support/policy.h"
#include "tests/support/transcript.h"

static void subscribe(struct client *client, const char *pattern)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(client->session, "{'topic':'%s'}", pattern);

    json_decref(client_ask_json(client, "Subscribe", body));
}

static void unsubscribe(struct client *client, unsigned id)
{
    CLEANUP(cleanup_free) char *body = client_expand(client->session, "{'subscription':%u}", id);

    client_ask(client, "Unsubscribe", body, "{}");
}

static void expect_count(struct client *client, const char *topic, unsigned count)
{
    client_expect(client,
                  "{'sender':'bus','type':'event','topic':'bus.subscribers.%s',"
                  "'body':{'count':%u}}",
                  topic, count);
}

/* Subscribes to the number, which is this one now. */
static void watch(struct client *client, const char *topic, unsigned count)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(client->session, "{'topic':'bus.subscribers.%s'}", topic);
    json_t *reply = client_ask_json(client, "Subscribe", body);

    assert_int_equal(json_integer_value(json_object_get(reply, "retained")), 1);
    json_decref(reply);
    client_expect(client,
                  "{'sender':'bus','type':'event','topic':'bus.subscribers.%s','retained':true,"
                  "'body':{'count':%u}}",
                  topic, count);
}

static void test_count(struct session *session)
{
    struct client *p = session_connect(session, "P");
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    watch(p, "t.x", 0);
    subscribe(a, "t.x");
    expect_count(p, "t.x", 1);
    /* Connections are counted, not subscriptions. */
    subscribe(a, "t.*");
    subscribe(a, "other");
    session_expect_nothing(session);
    subscribe(b, "#");
    expect_count(p, "t.x", 2);
    unsubscribe(a, 1);
    session_expect_nothing(session);
    unsubscribe(a, 2);
    expect_count(p, "t.x", 1);
    client_close(b);
    expect_count(p, "t.x", 0);
    subscribe(p, "t.x");
    expect_count(p, "t.x", 1);
    unsubscribe(p, 2);
    expect_count(p, "t.x", 0);
    unsubscribe(p, 1);
    subscribe(a, "t.x");
    session_expect_nothing(session);
}

/* Whoever asks later finds the number that the others know. */
static void test_several(struct session *session)
{
    struct client *p = session_connect(session, "P");
    struct client *q = session_connect(session, "Q");
    struct client *a = session_connect(session, "A");

    watch(p, "t", 0);
    subscribe(a, "t");
    watch(q, "t", 1);
    expect_count(p, "t", 1);
    watch(q, "u", 0);
    client_ask(q, "Subscribe", "{'topic':'bus.subscribers.t','retained':'only'}", "{'retained':1}");
    client_expect(q, "{'sender':'bus','type':'event','topic':'bus.subscribers.t','retained':true,"
                     "'body':{'count':1}}");
    client_ask(q, "Subscribe", "{'topic':'bus.subscribers.t','retained':false}",
               "{'subscription':3,'retained':0}");
    unsubscribe(q, 1);
    unsubscribe(a, 1);
    expect_count(p, "t", 0);
    expect_count(q, "t", 0);
    subscribe(a, "u");
    expect_count(q, "u", 1);
}

/* One look at a topic that nobody watches. */
static void test_only(struct session *session)
{
    struct client *p = session_connect(session, "P");
    struct client *a = session_connect(session, "A");

    subscribe(a, "t.#");
    client_ask(p, "Subscribe", "{'topic':'bus.subscribers.t.x','retained':'only'}",
               "{'retained':1}");
    client_expect(p, "{'sender':'bus','type':'event','topic':'bus.subscribers.t.x',"
                     "'retained':true,'body':{'count':1}}");
    subscribe(a, "t.x");
    client_ask(p, "Subscribe", "{'topic':'bus.subscribers.t.x','retained':false}",
               "{'subscription':1,'retained':0}");
    session_expect_nothing(session);
    client_close(a);
    expect_count(p, "t.x", 0);
}

#define CALL(method, body)                                                                         \
    "{\"type\":\"call\",\"to\":\"bus\",\"no_reply\":true,\"method\":\"" method "\",\"body\":" body \
    "}\n"

/* Many changes in one turn are told once. */
static void test_once_a_turn(struct session *session)
{
    struct client *p = session_connect(session, "P");
    struct client *a = session_connect(session, "A");
    CLEANUP(text_deinit) struct text text = TEXT_INIT;

    watch(p, "t", 0);
    for (unsigned id = 1; id <= 10; id++) {
        text_printf(&text, CALL("Subscribe", "{\"topic\":\"t\"}"));
        if (id < 10)
            text_printf(&text, CALL("Unsubscribe", "{\"subscription\":%u}"), id);
    }
    assert_int_equal(client_send_at_once(a, text.data, text.size, NULL, 0), text.size);
    expect_count(p, "t", 1);
    session_expect_nothing(session);
}

/* Those with filters listen, too: it is not known who will publish. */
static void test_filters(struct session *session)
{
    struct client *p = session_connect(session, "P");
    struct client *a = session_connect(session, "A");

    watch(p, "t", 0);
    client_ask(a, "Subscribe", "{'topic':'t','sender':'$P'}", "{'subscription':1,'retained':0}");
    expect_count(p, "t", 1);
    client_ask(a, "Subscribe", "{'topic':'*','sender':'org.example.X'}",
               "{'subscription':2,'retained':0}");
    unsubscribe(a, 1);
    session_expect_nothing(session);
    unsubscribe(a, 2);
    expect_count(p, "t", 0);
}

/* The bus's own topics, these among them. */
static void test_of_the_bus(struct session *session)
{
    struct client *p = session_connect(session, "P");
    struct client *q = session_connect(session, "Q");

    watch(p, "bus.name.org.example.X", 0);
    subscribe(q, "#");
    session_expect_nothing(session);
    subscribe(q, "bus.name.#");
    expect_count(p, "bus.name.org.example.X", 1);
    watch(p, "bus.subscribers.t", 0);
    watch(q, "t", 1);
    expect_count(p, "bus.subscribers.t", 1);
    /* A pattern meets what is watched. */
    json_t *reply = client_ask_json(p, "Subscribe", "{'topic':'bus.*.t','retained':'only'}");
    assert_int_equal(json_integer_value(json_object_get(reply, "retained")), 1);
    json_decref(reply);
    client_expect(p, "{'sender':'bus','type':'event','topic':'bus.subscribers.t','retained':true,"
                     "'body':{'count':1}}");
}

static void test_patterns(struct session *session)
{
    struct client *p = session_connect(session, "P");

    client_ask_error(p, "Subscribe", "{'topic':'bus.subscribers.#'}", "bus.InvalidArguments");
    client_ask_error(p, "Subscribe", "{'topic':'bus.subscribers.a.*','retained':false}",
                     "bus.InvalidArguments");
    client_ask(p, "Subscribe", "{'topic':'bus.subscribers'}", "{'subscription':1,'retained':0}");
    subscribe(p, "t");
    session_expect_nothing(session);
}

#define OPEN POLICY("{'allow':'*'}")

/* Who may not have the topic does not listen. */
static void test_policy(struct session *session)
{
    struct client *p = session_connect(session, "P");
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    watch(p, "t.x", 0);
    subscribe(a, "t.#");
    expect_count(p, "t.x", 1);
    subscribe(g, "t.#");
    expect_count(p, "t.x", 2);
    client_ask(a, "Ping", "{}", "{}");
    policy_reload(a, POLICY("{'deny':'subscribe'," GUEST ",'topic':'t.x'},{'allow':'*'}"));
    expect_count(p, "t.x", 1);
    policy_reload(a, OPEN);
    expect_count(p, "t.x", 2);
    policy_reload(a, POLICY("{'deny':'subscribe'," GUEST ",'topic':'bus.subscribers.#'},"
                            "{'allow':'*'}"));
    client_ask_error(g, "Subscribe", "{'topic':'bus.subscribers.t.x'}", "bus.AccessDenied");
}

/* Rights that come with a name come and go with it. */
static void test_policy_by_name(struct session *session)
{
    struct client *p = session_connect(session, "P");
    struct client *a = session_connect(session, "A");

    watch(p, "t.x", 0);
    subscribe(a, "t.#");
    session_expect_nothing(session);
    client_ask(a, "RequestName", "{'name':'org.example.A'}", "{'state':'owner'}");
    expect_count(p, "t.x", 1);
    client_ask(a, "ReleaseName", "{'name':'org.example.A'}", "{}");
    expect_count(p, "t.x", 0);
}

static const struct transcript transcripts[] = {
    TRANSCRIPT(test_count),
    TRANSCRIPT(test_several),
    TRANSCRIPT(test_only),
    TRANSCRIPT_PLAIN(test_once_a_turn),
    TRANSCRIPT(test_filters),
    TRANSCRIPT(test_of_the_bus),
    TRANSCRIPT(test_patterns),
    TRANSCRIPT_CONFIGURED(test_policy, OPEN),
    TRANSCRIPT_CONFIGURED(test_policy_by_name,
                          POLICY("{'allow':'subscribe','topic':'t.#','sender':'org.example.A'},"
                                 "{'deny':'subscribe','topic':'t.x'},{'allow':'*'}")),
};

int main(void)
{
    return TRANSCRIPTS_RUN("presence", transcripts);
}
