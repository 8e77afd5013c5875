/* SPDX-License-Identifier: MIT */
/*
 * Every limit at its value and one beyond it, who suffers from it (the one who
 * reached it, and nobody else), and that there is a way back.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/process.h"
#include "tests/support/transcript.h"

/* A line of just `size` bytes, LF included: an event, padded with x. */
static char *line_of(size_t size)
{
    static const char head[] = "{\"type\":\"event\",\"topic\":\"t\",\"body\":\"";
    char *line = malloc(size + 1);

    memset(line, 'x', size);
    memcpy(line, head, sizeof(head) - 1);
    memcpy(line + size - 3, "\"}\n", 4);
    return line;
}

static void test_message_bytes(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_ask(b, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
    for (size_t size = 295; size <= 305; size++) {
        CLEANUP(cleanup_free) char *line = line_of(size);
        client_send_bytes(a, line, size, NULL, 0);
        if (size <= 300)
            client_expect(b, "{'sender':'$A','type':'event','topic':'t','body':'*'}");
        else
            client_expect_complaint(a, "bus.TooLarge", "{}");
    }
    /* Far too long, then well again. */
    for (unsigned i = 0; i < 5; i++) {
        CLEANUP(cleanup_free) char *line = line_of(1000000);
        client_send_bytes(a, line, 1000000, NULL, 0);
        client_expect_complaint(a, "bus.TooLarge", "{}");
        client_ask(a, "Ping", "{}", "{}");
    }
}

/* A long line that is never ended is not kept. */
static void test_endless_line(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    CLEANUP(cleanup_free) char *block = malloc(1 << 20);
    uint64_t before;

    memset(block, 'x', 1 << 20);
    client_ask(b, "Ping", "{}", "{}");
    before = process_resident(session->busd.pid);
    for (unsigned i = 0; i < 64; i++)
        client_send_bytes(a, block, 1 << 20, NULL, 0);
    client_ask(b, "Ping", "{}", "{}");
#ifndef __SANITIZE_ADDRESS__
    assert_in_range(process_resident(session->busd.pid), 0, before + 4096);
#else
    (void)before;
#endif
    client_send_bytes(a, "\n", 1, NULL, 0);
    client_expect_complaint(a, "bus.TooLarge", "{}");
    client_ask(a, "Ping", "{}", "{}");
}

static void test_invalid_lines(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    static const char *const bad[] = {"x", "{}", "[]", "{'type':'call'}",
                                      "{'type':'event','topic':"
                                      "'t','sender':':1'}"};
    static const char *const about[] = {"{}", "{}", "{}", "{'type':'call'}",
                                        "{'type':'event','topic':'t'}"};
    static const char *const errors[] = {"bus.ParseError", "bus.InvalidMessage",
                                         "bus.InvalidMessage", "bus.InvalidMessage",
                                         "bus.InvalidMessage"};

    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < 15; i++) {
            client_send(a, "%s", bad[i % 5]);
            client_expect_complaint(a, errors[i % 5], "%s", about[i % 5]);
        }
        /* A valid one in between, and all is forgiven. */
        client_ask(a, "Ping", "{}", "{}");
    }
    for (unsigned i = 0; i < 16; i++) {
        client_send(a, "%s", bad[i % 5]);
        client_expect_complaint(a, errors[i % 5], "%s", about[i % 5]);
    }
    client_expect_goodbye(a, "invalid lines");
    client_ask(b, "Ping", "{}", "{}");
}

/* Lines that are too long count as well; valid messages that are refused do not. */
static void test_what_counts_as_invalid(struct session *session)
{
    struct client *a = session_connect(session, "A");
    CLEANUP(cleanup_free) char *line = line_of(400);

    for (unsigned i = 0; i < 5; i++) {
        client_send(a, "{'type':'reply','to':':9','id':1}");
        client_expect_complaint(a, "bus.NoSuchCall", "{'type':'reply','to':':9','id':1}");
        client_send(a, "{'type':'event','topic':'bus.x'}");
        client_expect_complaint(a, "bus.AccessDenied", "{'type':'event','topic':'bus.x'}");
        client_ask_error(a, "Nonsense", "{}", "bus.MethodUnknown");
    }
    /* Blank ones are nothing at all. */
    client_send_bytes(a, "\n\n \n\t\r\n\n\n\n", 10, NULL, 0);
    for (unsigned i = 0; i < 3; i++) {
        client_send_bytes(a, line, 400, NULL, 0);
        client_expect_complaint(a, "bus.TooLarge", "{}");
    }
    client_expect_goodbye(a, "invalid lines");
}

static void test_subscriptions(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    for (unsigned round = 0; round < 2; round++) {
        unsigned first = 1 + 3 * round;
        for (unsigned i = 0; i < 3; i++) {
            CLEANUP(cleanup_free)
            char *expected = client_expand(session, "{'subscription':%u,'retained':0}", first + i);
            client_ask(a, "Subscribe", "{'topic':'t.*'}", expected);
        }
        client_ask_error(a, "Subscribe", "{'topic':'u'}", "bus.LimitExceeded");
        client_send(b, "{'type':'event','topic':'u'}");
        client_send(b, "{'type':'event','topic':'t.x'}");
        client_expect(a, "{'sender':'$B','type':'event','topic':'t.x'}");
        for (unsigned i = 0; i < 3; i++) {
            CLEANUP(cleanup_free)
            char *body = client_expand(session, "{'subscription':%u}", first + i);
            client_ask(a, "Unsubscribe", body, "{}");
        }
        client_ask(b, "Subscribe", "{'topic':'b'}", "'*'");
    }
}

/* What makes others' events slow to route: all connections of a user have it together. */
static void test_wildcards(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_ask(a, "Subscribe", "{'topic':'a.*.b.#'}", "{'subscription':1,'retained':0}");
    client_ask_error(b, "Subscribe", "{'topic':'*.b.c'}", "bus.LimitExceeded");
    client_ask_error(b, "Subscribe", "{'topic':'*.*.*'}", "bus.LimitExceeded");
    client_ask(b, "Subscribe", "{'topic':'*.b'}", "{'subscription':1,'retained':0}");
    client_ask_error(b, "Subscribe", "{'topic':'*.b'}", "bus.LimitExceeded");
    assert_true(busd_has_logged(&session->busd, "wildcards_per_user is 3"));
    /* Where a wildcard comes last there may be any number. */
    client_ask(a, "Subscribe", "{'topic':'t.*'}", "{'subscription':2,'retained':0}");
    client_ask(a, "Subscribe", "{'topic':'t.u.#'}", "{'subscription':3,'retained':0}");
    client_send(b, "{'type':'event','topic':'a.x.b'}");
    client_expect(a, "{'sender':'$B','type':'event','topic':'a.x.b'}");
    client_ask(a, "Unsubscribe", "{'subscription':1}", "{}");
    client_ask(b, "Subscribe", "{'topic':'*.b.c'}", "{'subscription':2,'retained':0}");
}

static void test_names(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_ask(b, "RequestName", "{'name':'org.b'}", "{'state':'owner'}");
    client_ask(a, "RequestName", "{'name':'org.a1'}", "{'state':'owner'}");
    client_ask(a, "RequestName", "{'name':'org.b','queue':true}", "{'state':'queued'}");
    client_ask_error(a, "RequestName", "{'name':'org.a2'}", "bus.LimitExceeded");
    client_ask_error(a, "RequestName", "{'name':'org.b2','queue':true}", "bus.LimitExceeded");
    client_ask(a, "RequestName", "{'name':'org.a1'}", "{'state':'owner'}");
    client_ask_error(b, "GetName", "{'name':'org.a2'}", "bus.NameUnknown");
    client_ask(a, "ReleaseName", "{'name':'org.b'}", "{}");
    client_ask(a, "RequestName", "{'name':'org.a2'}", "{'state':'owner'}");
    client_ask_error(a, "RequestName", "{'name':'org.a3'}", "bus.LimitExceeded");
}

static void test_calls(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    for (unsigned id = 1; id <= 3; id++) {
        client_send(a, "{'type':'call','id':%u,'to':'$B','method':'M'}", id);
        client_expect(b, "{'sender':'$A','type':'call','id':%u,'to':'$B','method':'M'}", id);
    }
    client_send(a, "{'type':'call','id':4,'to':'$B','method':'M'}");
    client_expect_error(a, 4, "bus.LimitExceeded");
    /* Calls without reply, calls to the bus and other callers are not concerned. */
    client_send(a, "{'type':'call','to':'$B','method':'N','no_reply':true}");
    client_expect(b, "{'sender':'$A','type':'call','to':'$B','method':'N','no_reply':true}");
    client_ask(a, "Ping", "{}", "{}");
    client_send(b, "{'type':'call','id':1,'to':'$A','method':'M'}");
    client_expect(a, "{'sender':'$B','type':'call','id':1,'to':'$A','method':'M'}");
    client_send(b, "{'type':'reply','to':'$A','id':2}");
    client_expect(a, "{'sender':'$B','type':'reply','to':'$A','id':2}");
    client_send(a, "{'type':'call','id':4,'to':'$B','method':'M'}");
    client_expect(b, "{'sender':'$A','type':'call','id':4,'to':'$B','method':'M'}");
}

static void test_monitors(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_ask(a, "Monitor", "{'topic':'x'}", "{}");
    client_ask(a, "Monitor", "{'topic':'x'}", "{}");
    client_ask_error(a, "Monitor", "{'topic':'x'}", "bus.LimitExceeded");
}

static void test_connections(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    for (unsigned i = 0; i < 3; i++) {
        struct client *c = session_connect_silently(session, "C");
        client_expect(c, "{'sender':'bus','type':'error','error':'bus.LimitExceeded',"
                         "'message':'*'}");
        client_expect_end(c);
        client_free(c);
    }
    client_ask(a, "Ping", "{}", "{}");
    client_free(b);
    session_wait_for_connections(session, a, 1);
    b = session_connect(session, "B");
    client_ask(b, "Ping", "{}", "{}");
}

/* ---------------------------------------------- who does not read */

/* The client reads on: numbered events up to a notice that tells just what is
 * missing. Returns the number of the next event after the loss. */
static unsigned read_until_overflow(struct client *client, unsigned next, unsigned count)
{
    struct message *message;
    unsigned number;

    while (message = client_next(client), message && !strstr(message->line, "bus.overflow")) {
        const char *topic = json_string_value(json_object_get(message->json, "topic"));
        assert_int_equal(sscanf(topic, "t.%u", &number), 1);
        assert_int_equal(number, next);
        next++;
        message_free(message);
    }
    assert_non_null(message);

    json_t *body = json_object_get(message->json, "body");
    json_int_t lost = json_integer_value(json_object_get(body, "lost"));
    assert_string_equal(json_string_value(json_object_get(message->json, "sender")), "bus");
    assert_int_equal(sscanf(json_string_value(json_object_get(body, "first")), "t.%u", &number), 1);
    assert_int_equal(number, next);
    assert_int_equal(sscanf(json_string_value(json_object_get(body, "last")), "t.%u", &number), 1);
    assert_int_equal(number, next + lost - 1);
    assert_int_equal(number, count - 1);
    assert_true(json_number_value(json_object_get(body, "since")) > 1.5e9);
    assert_int_equal(json_object_size(body), 4);
    message_free(message);
    return number + 1;
}

#define FILLER_SIZE 1000

static void publish(struct client *client, unsigned from, unsigned to)
{
    static char filler[FILLER_SIZE + 1];

    memset(filler, 'x', FILLER_SIZE);
    for (unsigned n = from; n < to; n++) {
        client_send(client, "{'type':'event','topic':'t.%u','body':'%s'}", n, filler);
        /* Not too much at once: a fast reader must not lose anything, however long
         * busd is kept from running. */
        if (n % 20 == 19 || n + 1 == to)
            client_ask(client, "Ping", "{}", "{}");
    }
}

/* Past the limit events are dropped, counted to the last one, and told of as soon as
 * the client reads again. Others notice nothing. */
static void test_queue(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    unsigned next = 0;

    client_ask(b, "Subscribe", "{'topic':'t.#'}", "{'subscription':1,'retained':0}");
    client_ask(c, "Subscribe", "{'topic':'t.#'}", "{'subscription':1,'retained':0}");
    for (unsigned round = 0; round < 3; round++) {
        unsigned first = next, count = first + 2000;
        for (unsigned n = first; n < count; n += 20) {
            publish(a, n, n + 20);
            for (unsigned i = n; i < n + 20; i++)
                client_expect(c, "{'sender':'$A','type':'event','topic':'t.%u','body':'*'}", i);
        }
        next = read_until_overflow(b, first, count);
        assert_int_equal(next, count);
        session_expect_nothing(session);
    }
    json_t *stats = client_ask_json(a, "Stats", "{'name':'$B'}");
    assert_in_range(
        json_integer_value(json_object_get(json_object_get(stats, "messages"), "dropped")), 1000,
        6000);
    json_decref(stats);
}

/* More than the limit at once is no overflow while the receiver's socket has room: only
 * who does not read loses something. */
static void test_burst(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    char filler[501];

    memset(filler, 'x', 500);
    filler[500] = '\0';
    client_ask(b, "Subscribe", "{'topic':'t.#'}", "{'subscription':1,'retained':0}");
    kill(session->busd.pid, SIGSTOP);
    for (unsigned n = 0; n < 150; n++)
        client_send(a, "{'type':'event','topic':'t.%u','body':'%s'}", n, filler);
    kill(session->busd.pid, SIGCONT);
    for (unsigned n = 0; n < 150; n++)
        client_expect(b, "{'sender':'$A','type':'event','topic':'t.%u','body':'%s'}", n, filler);
}

/* What busd holds for one who does not read stays bounded. */
static void test_queue_memory(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_ask(b, "Subscribe", "{'topic':'t.#'}", "{'subscription':1,'retained':0}");
    publish(a, 0, 1000);
    json_t *stats = client_ask_json(a, "Stats", "{'name':'$B'}");
    assert_in_range(json_integer_value(json_object_get(json_object_get(stats, "bytes"), "queued")),
                    60000, 65536);
    json_decref(stats);
    uint64_t before = process_resident(session->busd.pid);
    publish(a, 1000, 20000);
#ifndef __SANITIZE_ADDRESS__
    /* 20 MB have passed; remembering so many topics costs a few. */
    assert_in_range(process_resident(session->busd.pid), 0, before + 8192);
#else
    (void)before;
#endif
    assert_int_equal(read_until_overflow(b, 0, 20000), 20000);
}

/* The notice comes after what was queued and before anything that is newer. */
static void test_overflow_then_news(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_ask(b, "Subscribe", "{'topic':'t.#'}", "{'subscription':1,'retained':0}");
    publish(a, 0, 1000);
    /* B reads a little: perhaps not enough for anything new. */
    for (unsigned n = 0; n < 10; n++)
        client_expect(b, "{'sender':'$A','type':'event','topic':'t.%u','body':'*'}", n);
    publish(a, 1000, 1010);
    unsigned next = read_until_overflow(b, 10, 1010);
    assert_int_equal(next, 1010);
    publish(a, 1010, 1020);
    for (unsigned n = 1010; n < 1020; n++)
        client_expect(b, "{'sender':'$A','type':'event','topic':'t.%u','body':'*'}", n);
}

/* Calls are never dropped: the caller of one who does not read is told. */
static void test_callee_does_not_read(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    CLEANUP(cleanup_free) char *filler = malloc(10001);
    unsigned count = 100, taken = 0, refused = 0;

    memset(filler, 'x', 10000);
    filler[10000] = '\0';
    for (unsigned id = 1; id <= count; id++)
        client_send(a, "{'type':'call','id':%u,'to':'$B','method':'M','body':'%s'}", id, filler);
    json_t *stats;
    client_send(a, "{'type':'call','id':5000,'to':'bus','method':'Stats'}");
    struct message *message;
    while (message = client_next(a),
           json_integer_value(json_object_get(message->json, "id")) != 5000) {
        assert_string_equal(json_string_value(json_object_get(message->json, "error")),
                            "bus.LimitExceeded");
        refused++;
        message_free(message);
    }
    stats = json_object_get(message->json, "body");
    taken = (unsigned)json_integer_value(json_object_get(stats, "calls"));
    message_free(message);
    assert_int_equal(taken + refused, count);
    assert_in_range(refused, 1, count - 1);

    for (unsigned n = 0; n < taken; n++) {
        message = client_next(b);
        json_int_t id = json_integer_value(json_object_get(message->json, "id"));
        client_send(b, "{'type':'reply','to':'$A','id':%d}", (int)id);
        client_expect(a, "{'sender':'$B','type':'reply','to':'$A','id':%d}", (int)id);
        message_free(message);
    }
    client_send(a, "{'type':'call','id':1,'to':'$B','method':'Again'}");
    client_expect(b, "{'sender':'$A','type':'call','id':1,'to':'$B','method':'Again'}");
}

/* Reads all there is, up to the end of the connection. It may be cut inside of a line:
 * for the bus's last words there was no room. */
static void read_to_the_end(struct client *client)
{
    struct message *message;

    while ((message = client_next(client)))
        message_free(message);
    client_close(client);
    assert_true(busd_has_logged(&client->session->busd, "does not read its answers"));
}

/* A caller that does not read its answers is cut, alone, and the log says why. */
static void test_caller_does_not_read(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    for (unsigned n = 0; n < 100000 && !a->broken; n++) {
        client_send(a, "{'type':'call','id':1,'to':'bus','method':'Introspect'}");
        if (n % 100 == 0) {
            client_send(b, "{'type':'call','id':1,'to':'$C','method':'M'}");
            client_expect(c, "{'sender':'$B','type':'call','id':1,'to':'$C','method':'M'}");
            client_send(c, "{'type':'reply','to':'$B','id':1}");
            client_expect(b, "{'sender':'$C','type':'reply','to':'$B','id':1}");
        }
    }
    assert_true(a->broken);
    read_to_the_end(a);
    session_wait_for_connections(session, b, 2);
}

/* The answers of another client are answers, too. */
static void test_caller_does_not_read_a_service(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    CLEANUP(cleanup_free) char *filler = malloc(20001);
    struct message *message;

    memset(filler, 'x', 20000);
    filler[20000] = '\0';
    for (unsigned id = 1; id <= 200; id++)
        client_send(a, "{'type':'call','id':%u,'to':'$B','method':'M'}", id);
    while (message = client_next(b), !strstr(message->line, "cancel")) {
        json_int_t id = json_integer_value(json_object_get(message->json, "id"));
        if (json_object_get(message->json, "method"))
            client_send(b, "{'type':'reply','to':'$A','id':%d,'body':'%s'}", (int)id, filler);
        message_free(message);
    }
    message_free(message);
    read_to_the_end(a);
    /* B learns of every call that it need not answer any more. */
    session_wait_for_connections(session, c, 2);
    session_settle(session);
    while (!list_is_empty(&b->messages))
        message_free(client_next(b));
}

#define LIMITED(function, ...)                                                                     \
    {                                                                                              \
        .name = #function, .run = function, .args = BUSD_ARGS(__VA_ARGS__)                         \
    }
#define LIMITED_PLAIN(function, ...)                                                               \
    {                                                                                              \
        .name = #function, .run = function, .args = BUSD_ARGS(__VA_ARGS__), .plain_only = true     \
    }

static const struct transcript transcripts[] = {
    LIMITED(test_message_bytes, "--limit", "message_bytes=300"),
    LIMITED_PLAIN(test_endless_line, "--limit", "message_bytes=65536"),
    TRANSCRIPT(test_invalid_lines),
    LIMITED(test_what_counts_as_invalid, "--limit", "message_bytes=300", "--limit",
            "invalid_lines=3"),
    LIMITED(test_subscriptions, "--limit", "subscriptions=3"),
    LIMITED(test_wildcards, "--limit", "wildcards_per_user=3"),
    LIMITED(test_names, "--limit", "names=2"),
    LIMITED(test_calls, "--limit", "calls=3"),
    LIMITED(test_monitors, "--limit", "monitors=2"),
    LIMITED(test_connections, "--limit", "connections=2"),
    LIMITED_PLAIN(test_queue, "--limit", "queue_bytes=65536"),
    LIMITED_PLAIN(test_burst, "--limit", "queue_bytes=32768"),
    LIMITED_PLAIN(test_queue_memory, "--limit", "queue_bytes=65536"),
    LIMITED_PLAIN(test_overflow_then_news, "--limit", "queue_bytes=65536"),
    LIMITED_PLAIN(test_callee_does_not_read, "--limit", "queue_bytes=65536"),
    LIMITED_PLAIN(test_caller_does_not_read, "--limit", "queue_bytes=65536"),
    LIMITED_PLAIN(test_caller_does_not_read_a_service, "--limit", "queue_bytes=65536"),
};

int main(void)
{
    return TRANSCRIPTS_RUN("limits", transcripts);
}
