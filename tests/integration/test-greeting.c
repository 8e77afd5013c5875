/* SPDX-License-Identifier: MIT */
/*
 * The first line that a client gets, and the first one that it sends.
 */
#include <string.h>
#include <unistd.h>

#include "tests/support/transcript.h"

#define WELCOME                                                                                    \
    "{'sender':'bus','type':'event','topic':'bus.welcome','body':{"                                \
    "'name':'*','bus':'*','protocol':1,'version':'*','limits':'*'}}"

static void test_welcome(struct session *session)
{
    struct client *a = session_connect_silently(session, "A");
    struct message *welcome = client_next(a);
    json_t *body = json_object_get(welcome->json, "body");
    const char *id = json_string_value(json_object_get(body, "bus"));
    const char *name = json_string_value(json_object_get(body, "name"));
    json_t *limits = json_object_get(body, "limits");

    assert_int_equal(json_object_size(welcome->json), 4);
    assert_string_equal(json_string_value(json_object_get(welcome->json, "sender")), "bus");
    assert_string_equal(json_string_value(json_object_get(welcome->json, "topic")), "bus.welcome");
    assert_string_equal(json_string_value(json_object_get(welcome->json, "type")), "event");
    assert_int_equal(json_object_size(body), 5);
    assert_int_equal(json_integer_value(json_object_get(body, "protocol")), 1);
    assert_string_equal(json_string_value(json_object_get(body, "version")), BUSD_VERSION);
    assert_int_equal(strlen(id), 32);
    assert_int_equal(strspn(id, "0123456789abcdef"), 32);
    assert_int_equal(name[0], ':');
    assert_int_equal(json_integer_value(json_object_get(limits, "message_bytes")), 1 << 20);
    assert_true(json_is_integer(json_object_get(limits, "fds_per_message")));
    assert_true(json_is_integer(json_object_get(limits, "subscriptions")));
    /* Nothing before it and nothing else with it: the order of keys is the bus's. */
    assert_memory_equal(welcome->line, "{\"sender\":\"bus\",", 16);
    message_free(welcome);
}

/* The limits told are the limits set. */
static void test_limits_told(struct session *session)
{
    struct client *a = session_connect_silently(session, "A");
    struct message *welcome = client_next(a);
    json_t *limits = json_object_get(json_object_get(welcome->json, "body"), "limits");

    assert_int_equal(json_integer_value(json_object_get(limits, "message_bytes")), 4096);
    assert_int_equal(json_integer_value(json_object_get(limits, "names")), 3);
    message_free(welcome);
}

/* Unique names are counted up and never used again. */
static void test_unique_names(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    assert_string_equal(a->unique, ":1");
    assert_string_equal(b->unique, ":2");
    client_close(b);
    session_settle(session);
    struct client *c = session_connect(session, "C");
    assert_string_equal(c->unique, ":3");
}

/* The first message need not wait for the greeting. */
static void test_impatient(struct session *session)
{
    struct client *a = session_connect_silently(session, "A");

    client_send(a, "{'type':'call','id':1,'to':'bus','method':'Ping'}");
    client_expect(a, WELCOME);
    client_expect(a, "{'sender':'bus','type':'reply','id':1,'body':{}}");
}

/* The first message may be as long as any. */
static void test_long_first_message(struct session *session)
{
    struct client *a = session_connect_silently(session, "A");
    size_t size = (1 << 20) - 1;
    char *line = malloc(size + 1);
    int head =
        sprintf(line, "{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"Ping\",\"x\":\"");

    memset(line + head, 'x', size - (size_t)head);
    memcpy(line + size - 2, "\"}\n", 3);
    client_send_bytes(a, line, size + 1, NULL, 0);
    free(line);
    client_expect(a, WELCOME);
    client_expect(a, "{'sender':'bus','type':'reply','id':1,'body':{}}");
}

static void test_blank_lines_and_space(struct session *session)
{
    struct client *a = session_connect(session, "A");
    static const char text[] =
        "\n\r\n  \t \r\n"
        "  {\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"Ping\"} \r\n"
        "\n\n";

    client_send_bytes(a, text, sizeof(text) - 1, NULL, 0);
    client_expect(a, "{'sender':'bus','type':'reply','id':1,'body':{}}");
}

/* What is said before leaving is still heard by others. */
static void test_say_and_leave(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_ask(a, "Subscribe", "{'topic':'last.words'}", "{'subscription':1,'retained':0}");
    client_send(b, "{'type':'event','topic':'last.words','body':1}");
    client_send(b, "{'type':'event','topic':'last.words','body':2}");
    client_close(b);
    client_expect(a, "{'sender':':2','type':'event','topic':'last.words','body':1}");
    client_expect(a, "{'sender':':2','type':'event','topic':'last.words','body':2}");
}

/* A line that was not ended is no message. */
static void test_half_a_line(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    static const char text[] = "{\"type\":\"event\",\"topic\":\"t\"}";

    client_ask(a, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
    client_send_bytes(b, text, sizeof(text) - 1, NULL, 0);
    client_close(b);
    client_expect_nothing(a);
}

/* Connecting and leaving at once, many times over, leaves nothing. */
static void test_coming_and_going(struct session *session)
{
    struct client *a = session_connect(session, "A");

    for (unsigned i = 0; i < 500; i++) {
        char name[16];
        snprintf(name, sizeof(name), "C%u", i);
        client_free(session_connect_silently(session, name));
    }
    session_wait_for_connections(session, a, 1);
}

static const struct transcript transcripts[] = {
    TRANSCRIPT(test_welcome),
    {.name = "test_limits_told",
     .run = test_limits_told,
     .args = BUSD_ARGS("--limit", "message_bytes=4096", "--limit", "names=3"),
     .plain_only = true},
    TRANSCRIPT(test_unique_names),
    TRANSCRIPT(test_impatient),
    TRANSCRIPT(test_long_first_message),
    TRANSCRIPT(test_blank_lines_and_space),
    TRANSCRIPT(test_say_and_leave),
    TRANSCRIPT(test_half_a_line),
    TRANSCRIPT_PLAIN(test_coming_and_going),
};

int main(void)
{
    return TRANSCRIPTS_RUN("greeting", transcripts);
}
