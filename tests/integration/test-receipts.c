/* SPDX-License-Identifier: MIT */
/*
 * Receipts: what became of an event, told when it has been queued for everybody and
 * nobody it was queued for is behind; once each, whoever comes and goes meanwhile.
 */
#include <inttypes.h>
#include <string.h>

#include "tests/support/json.h"
#include "tests/support/transcript.h"

#define SIZE 1000

static void subscribe(struct client *client, const char *pattern)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(client->session, "{'topic':'%s'}", pattern);

    json_decref(client_ask_json(client, "Subscribe", body));
}

/* An event of some SIZE bytes. */
static void publish(struct client *client, const char *topic, uint64_t id)
{
    static char filler[SIZE + 1];

    memset(filler, 'x', SIZE);
    if (id > 0)
        client_send(client, "{'type':'event','topic':'%s','id':%" PRIu64 ",'body':'%s'}", topic, id,
                    filler);
    else
        client_send(client, "{'type':'event','topic':'%s','body':'%s'}", topic, filler);
}

static void expect_receipt(struct client *client, uint64_t id, unsigned matched, unsigned queued,
                           unsigned dropped)
{
    client_expect(client,
                  "{'sender':'bus','type':'reply','id':%" PRIu64
                  ",'body':{'matched':%u,'queued':%u,'dropped':%u}}",
                  id, matched, queued, dropped);
}

/* The next message, which is an event of this sender; its id (0: none). */
static uint64_t next_event(struct client *client)
{
    struct message *message = client_next(client);

    assert_non_null(message);
    assert_string_equal(json_string_value(json_object_get(message->json, "type")), "event");
    assert_string_not_equal(json_string_value(json_object_get(message->json, "sender")), "bus");
    uint64_t id = (uint64_t)json_integer_value(json_object_get(message->json, "id"));
    message_free(message);
    return id;
}

/* How much waits for the client; `asker` has nothing to read but the answer. */
static json_int_t unread(struct client *asker, const char *name)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(asker->session, "{'name':'$%s'}", name);
    json_t *stats = client_ask_json(asker, "Stats", body);
    json_t *queued = json_object_get(json_object_get(stats, "bytes"), "queued");

    assert_true(json_is_integer(queued));
    json_int_t bytes = json_integer_value(queued);
    json_decref(stats);
    return bytes;
}

/* The receiver, which does not read, gets more than this to read. */
static void fall_behind(struct client *publisher, const char *topic, struct client *asker,
                        const char *receiver, json_int_t bytes)
{
    while (unread(asker, receiver) <= bytes) {
        for (unsigned i = 0; i < 20; i++)
            publish(publisher, topic, 0);
        client_ask(publisher, "Ping", "{}", "{}");
    }
}

/* How many receipts the publisher waits for. */
static unsigned outstanding(struct client *asker, const char *name)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(asker->session, "{'name':'$%s'}", name);
    json_t *stats = client_ask_json(asker, "Stats", body);
    json_t *receipts = json_object_get(stats, "receipts");

    assert_true(json_is_integer(receipts));
    unsigned count = (unsigned)json_integer_value(receipts);
    json_decref(stats);
    return count;
}

/* ------------------------------------------------------- nobody is behind */

static void test_counts(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    client_send(a, "{'type':'event','topic':'t','id':1}");
    expect_receipt(a, 1, 0, 0, 0);
    subscribe(b, "t");
    subscribe(b, "#");
    client_send(a, "{'type':'event','topic':'t','id':2}");
    expect_receipt(a, 2, 1, 1, 0);
    client_expect(b, "{'sender':'$A','type':'event','topic':'t','id':2}");
    subscribe(c, "*");
    subscribe(a, "t");
    client_send(a, "{'type':'event','topic':'t','id':9007199254740991}");
    client_expect(a, "{'sender':'$A','type':'event','topic':'t','id':9007199254740991}");
    expect_receipt(a, 9007199254740991, 3, 3, 0);
    client_expect(b, "{'sender':'$A','type':'event','topic':'t','id':9007199254740991}");
    client_expect(c, "{'sender':'$A','type':'event','topic':'t','id':9007199254740991}");
    /* Without an id there is none, and an answered id is free again. */
    client_send(a, "{'type':'event','topic':'u'}");
    client_send(a, "{'type':'event','topic':'u','id':2}");
    expect_receipt(a, 2, 2, 2, 0);
    for (struct client *client = b;; client = c) {
        client_expect(client, "{'sender':'$A','type':'event','topic':'u'}");
        client_expect(client, "{'sender':'$A','type':'event','topic':'u','id':2}");
        if (client == c)
            break;
    }
}

static void test_sender_filter(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    CLEANUP(cleanup_free)
    char *body = client_expand(session, "{'topic':'#','sender':'$A'}");

    json_decref(client_ask_json(c, "Subscribe", body));
    client_send(b, "{'type':'event','topic':'t','id':1}");
    expect_receipt(b, 1, 0, 0, 0);
    client_send(a, "{'type':'event','topic':'t','id':1}");
    expect_receipt(a, 1, 1, 1, 0);
    client_expect(c, "{'sender':'$A','type':'event','topic':'t','id':1}");
}

static void test_addressed(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_send(a, "{'type':'event','topic':'t','id':7,'to':'$B'}");
    expect_receipt(a, 7, 1, 1, 0);
    client_expect(b, "{'sender':'$A','type':'event','topic':'t','id':7,'to':'$B'}");
    client_send(a, "{'type':'event','topic':'t','id':7,'to':':999'}");
    client_expect_error(a, 7, "bus.NameUnknown");
    client_send(a, "{'type':'event','topic':'t','id':8,'to':'bus'}");
    client_expect_error(a, 8, "bus.NameUnknown");
}

/* A monitor is nobody whom an event is for. */
static void test_monitored(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *m = session_connect(session, "M");

    client_ask(m, "Monitor", "{'topic':'#'}", "{}");
    client_send(a, "{'type':'event','topic':'t','id':7}");
    expect_receipt(a, 7, 0, 0, 0);
    client_expect(m, "{'sender':'bus','type':'event','topic':'bus.monitor','body':'*'}");
}

static void test_refused(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    subscribe(b, "#");
    client_ask(b, "RequestName", "{'name':'org.b'}", "{'state':'owner'}");
    client_send(a, "{'type':'event','topic':'org.b.x','id':1}");
    client_expect_error(a, 1, "bus.AccessDenied");
    client_send(a, "{'type':'event','topic':'bus.x','id':2}");
    client_expect_error(a, 2, "bus.AccessDenied");
    client_send(a, "{'type':'event','topic':'secret.x','id':3}");
    client_expect_error(a, 3, "bus.AccessDenied");
    client_send(a, "{'type':'event','topic':'secret.x'}");
    client_expect_complaint(a, "bus.AccessDenied", "{'type':'event','topic':'secret.x'}");
    /* Who may not have it is not counted. */
    client_send(a, "{'type':'event','topic':'hidden.x','id':4}");
    expect_receipt(a, 4, 0, 0, 0);
    client_send(a, "{'type':'event','topic':'hidden.x','id':5,'to':'$B'}");
    client_expect_error(a, 5, "bus.AccessDenied");
}

/* Calls and events share their numbering. */
static void test_ids(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_send(a, "{'type':'call','id':5,'to':'$B','method':'M'}");
    client_expect(b, "{'sender':'$A','type':'call','id':5,'to':'$B','method':'M'}");
    client_send(a, "{'type':'event','topic':'t','id':5}");
    client_expect_complaint(a, "bus.InvalidMessage", "{'type':'event','topic':'t','id':5}");
    client_send(b, "{'type':'reply','to':'$A','id':5}");
    client_expect(a, "{'sender':'$B','type':'reply','to':'$A','id':5}");
    client_send(a, "{'type':'event','topic':'t','id':5}");
    expect_receipt(a, 5, 0, 0, 0);
}

/* ------------------------------------------------------- somebody is behind */

/* The receipt waits until what there was to read has been read, and for all of them. */
static void test_waits(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    struct client *d = session_connect(session, "D");

    subscribe(b, "t");
    subscribe(c, "t");
    subscribe(d, "t");
    fall_behind(a, "t", a, "B", 70000);
    for (uint64_t id = 1; id <= 50; id++)
        publish(a, "t", id);
    assert_int_equal(outstanding(a, "A"), 50);
    while (next_event(d) < 50)
        ;
    while (next_event(b) < 50)
        ;
    client_ask(a, "Ping", "{}", "{}");
    assert_int_equal(outstanding(a, "A"), 50);
    while (next_event(c) < 50)
        ;
    for (uint64_t id = 1; id <= 50; id++)
        expect_receipt(a, id, 3, 3, 0);
    assert_int_equal(outstanding(a, "A"), 0);
}

/* What others send to the same receiver, and do not wait for, does not hold it up. */
static void test_flooded(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    subscribe(b, "t");
    fall_behind(c, "t", c, "B", 70000);
    publish(a, "t", 1);
    assert_int_equal(outstanding(a, "A"), 1);
    fall_behind(c, "t", c, "B", 400000);
    while (next_event(b) != 1)
        ;
    expect_receipt(a, 1, 1, 1, 0);
    assert_true(unread(c, "B") > 65536);
    publish(a, "t", 2);
    assert_int_equal(outstanding(a, "A"), 1);
    while (next_event(b) != 2)
        ;
    expect_receipt(a, 2, 1, 1, 0);
}

/* Outstanding receipts are outstanding calls. */
static void test_ids_outstanding(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    subscribe(b, "t");
    fall_behind(a, "t", a, "B", 70000);
    publish(a, "t", 5);
    client_send(a, "{'type':'event','topic':'u','id':5}");
    client_expect_complaint(a, "bus.InvalidMessage", "{'type':'event','topic':'u','id':5}");
    client_send(a, "{'type':'call','id':5,'to':'$B','method':'M'}");
    client_expect_complaint(a, "bus.InvalidMessage", "{'type':'call','to':'$B','id':5}");
    client_send(a, "{'type':'call','id':5,'to':'bus','method':'Ping'}");
    client_expect_complaint(a, "bus.InvalidMessage", "{'type':'call','to':'bus','id':5}");
    /* Nobody but the bus may answer it, and it cannot be taken back. */
    client_send(a, "{'type':'cancel','to':'$B','id':5}");
    client_expect_complaint(a, "bus.NoSuchCall", "{'type':'cancel','to':'$B','id':5}");
    while (next_event(b) != 5)
        ;
    expect_receipt(a, 5, 1, 1, 0);
    client_send(b, "{'type':'reply','to':'$A','id':5}");
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'$A','id':5}");
}

static void test_limit(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    subscribe(b, "t");
    fall_behind(a, "t", a, "B", 70000);
    for (uint64_t id = 1; id <= 3; id++)
        publish(a, "t", id);
    client_send(a, "{'type':'call','id':4,'to':'$C','method':'M'}");
    client_expect(c, "{'sender':'$A','type':'call','id':4,'to':'$C','method':'M'}");
    client_send(a, "{'type':'event','topic':'t','id':5}");
    client_expect_error(a, 5, "bus.LimitExceeded");
    client_send(a, "{'type':'call','id':6,'to':'$C','method':'M'}");
    client_expect_error(a, 6, "bus.LimitExceeded");
    /* The user has one more, the connection would have four. */
    publish(c, "t", 7);
    client_send(c, "{'type':'event','topic':'t','id':8}");
    client_expect_error(c, 8, "bus.LimitExceeded");
    client_send(c, "{'type':'reply','to':'$A','id':4}");
    client_expect(a, "{'sender':'$C','type':'reply','to':'$A','id':4}");
    publish(c, "t", 9);
    assert_int_equal(outstanding(c, "C"), 2);
    /* What was refused has gone to nobody. */
    uint64_t id, seen = 0;
    while ((id = next_event(b)) != 9)
        seen |= UINT64_C(1) << id;
    assert_int_equal(seen, 0x8f);
    for (id = 1; id <= 3; id++)
        expect_receipt(a, id, 1, 1, 0);
    expect_receipt(c, 7, 1, 1, 0);
    expect_receipt(c, 9, 1, 1, 0);
    client_send(a, "{'type':'event','topic':'u','id':5}");
    expect_receipt(a, 5, 0, 0, 0);
}

/* What is dropped is told by the receipts and by the notice alike. */
static void test_dropped(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    struct client *d = session_connect(session, "D");
    unsigned dropped = 0, queued = 0;
    struct message *message;

    subscribe(b, "t");
    subscribe(c, "t");
    fall_behind(a, "t", d, "B", 150000);
    for (uint64_t id = 1; id <= 300; id++) {
        publish(a, "t", id);
        while (next_event(c) != id)
            ;
    }
    /* First those come that nobody is waited for, because the event has been dropped. */
    for (unsigned i = 0; i < 300; i++) {
        if (i + outstanding(d, "A") == 300)
            break;
        message = client_next(a);
        json_t *body = json_object_get(message->json, "body");
        assert_int_equal(json_integer_value(json_object_get(body, "matched")), 2);
        assert_int_equal(json_integer_value(json_object_get(body, "queued")), 1);
        assert_int_equal(json_integer_value(json_object_get(body, "dropped")), 1);
        message_free(message);
        dropped++;
    }
    assert_in_range(dropped, 200, 290);
    while ((message = client_next(b)) && !strstr(message->line, "bus.overflow")) {
        queued += json_object_get(message->json, "id") != NULL;
        message_free(message);
    }
    json_t *body = json_object_get(message->json, "body");
    assert_int_equal(json_integer_value(json_object_get(body, "lost")), dropped);
    message_free(message);
    assert_int_equal(queued + dropped, 300);
    for (uint64_t id = 1; id <= queued; id++)
        expect_receipt(a, id, 2, 2, 0);
    publish(a, "t", 1);
    expect_receipt(a, 1, 2, 2, 0);
    assert_int_equal(next_event(b), 1);
    assert_int_equal(next_event(c), 1);
}

/* Who reads nothing is not waited for for ever; who is waited for by nobody may take its
 * time. */
static void test_stalled(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    subscribe(b, "t");
    subscribe(c, "u");
    fall_behind(a, "u", a, "C", 70000);
    fall_behind(a, "t", a, "B", 70000);
    publish(a, "t", 1);
    expect_receipt(a, 1, 1, 1, 0);
    assert_true(busd_has_logged(&session->busd, "(stall_timeout)"));
    for (struct message *message; (message = client_next(b));)
        message_free(message);
    client_close(b);
    publish(a, "u", 2);
    while (next_event(c) != 2)
        ;
    expect_receipt(a, 2, 1, 1, 0);
}

/* --------------------------------------------------------- coming and going */

static void test_receiver_goes(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    subscribe(b, "t");
    subscribe(c, "t");
    fall_behind(a, "t", a, "B", 70000);
    for (uint64_t id = 1; id <= 200; id++)
        publish(a, "t", id);
    client_ask(a, "Ping", "{}", "{}");
    client_close(b);
    session_wait_for_connections(session, a, 2);
    assert_int_equal(outstanding(a, "A"), 200);
    client_close(c);
    for (uint64_t id = 1; id <= 200; id++)
        expect_receipt(a, id, 2, 2, 0);
    publish(a, "t", 1);
    expect_receipt(a, 1, 0, 0, 0);
}

static void test_publisher_goes(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    subscribe(b, "t");
    subscribe(c, "t");
    fall_behind(a, "t", a, "B", 70000);
    for (uint64_t id = 1; id <= 200; id++)
        publish(a, "t", id);
    client_ask(a, "Ping", "{}", "{}");
    client_close(a);
    while (next_event(b) < 200)
        ;
    while (next_event(c) < 200)
        ;
    a = session_connect(session, "A2");
    publish(a, "t", 1);
    expect_receipt(a, 1, 2, 2, 0);
    assert_int_equal(next_event(b), 1);
    assert_int_equal(next_event(c), 1);
}

#define PUBLISHERS 3
#define READERS    4

/* One who publishes with receipts: each id is answered once. */
struct publisher {
    struct client *client;
    uint64_t sent;
    bool answered[400];
};

static void take_receipts(struct publisher *publisher)
{
    struct message *message;

    client_read_available(publisher->client);
    while (client_peek(publisher->client) && (message = client_next(publisher->client))) {
        uint64_t id = (uint64_t)json_integer_value(json_object_get(message->json, "id"));
        assert_string_equal(json_string_value(json_object_get(message->json, "type")), "reply");
        json_t *body = json_object_get(message->json, "body");
        assert_in_range(id, 1, publisher->sent);
        assert_false(publisher->answered[id]);
        publisher->answered[id] = true;
        assert_int_equal(json_integer_value(json_object_get(body, "matched")),
                         json_integer_value(json_object_get(body, "queued")) +
                             json_integer_value(json_object_get(body, "dropped")));
        message_free(message);
    }
}

static void publisher_replace(struct session *session, struct publisher *publisher, unsigned number)
{
    char name[8];

    snprintf(name, sizeof(name), "P%u", number);
    if (publisher->client)
        client_free(publisher->client);
    *publisher = (struct publisher){.client = session_connect(session, name)};
}

static void reader_replace(struct session *session, struct client **reader, unsigned number)
{
    char name[8];

    snprintf(name, sizeof(name), "R%u", number);
    if (*reader)
        client_free(*reader);
    *reader = session_connect(session, name);
    subscribe(*reader, "t");
}

/* Everybody comes, goes, reads a bit or nothing at all while receipts wait for them. */
static void test_race(struct session *session)
{
    struct random *random = &session->random;
    struct publisher publishers[PUBLISHERS] = {{0}};
    struct client *readers[READERS] = {0};
    unsigned last = 0, late = 0;

    for (unsigned i = 0; i < PUBLISHERS; i++)
        publisher_replace(session, &publishers[i], ++last);
    for (unsigned i = 0; i < READERS; i++)
        reader_replace(session, &readers[i], ++last);
    for (unsigned step = 0; step < 1500; step++) {
        struct publisher *publisher = &publishers[random_below(random, PUBLISHERS)];
        struct client **reader = &readers[random_below(random, READERS)];
        if (random_one_in(random, 60) || publisher->sent >= 390)
            publisher_replace(session, publisher, ++last);
        else if (random_one_in(random, 60))
            reader_replace(session, reader, ++last);
        for (unsigned n = random_below(random, 8); n > 0; n--)
            publish(publisher->client, "t", ++publisher->sent);
        take_receipts(publisher);
        late += publisher->sent > 20 && !publisher->answered[publisher->sent - 20];
        if (!random_one_in(random, 40))
            continue;
        client_read_available(*reader);
        while (client_peek(*reader))
            message_free(client_next(*reader));
    }
    assert_true(late > 100);
    /* Nobody is left to be waited for. */
    for (unsigned i = 0; i < READERS; i++)
        client_free(readers[i]);
    for (unsigned i = 0; i < PUBLISHERS; i++) {
        for (uint64_t id = 1; id <= publishers[i].sent; id++) {
            while (!publishers[i].answered[id]) {
                client_read_more(publishers[i].client, "a receipt");
                take_receipts(&publishers[i]);
            }
        }
    }
}

#define L "--limit"
#define LIMITED(function, ...)                                                                     \
    {                                                                                              \
        .name = #function, .run = function, .args = BUSD_ARGS(__VA_ARGS__), .plain_only = true     \
    }
#define SOFT "queue_soft_bytes=65536"

static const char policy[] = "{'listeners':[{'address':'unix:DIR/bus'}],'policy':["
                             "{'deny':'publish','topic':'secret.#'},"
                             "{'deny':'subscribe','topic':'hidden.#'},"
                             "{'allow':'*'}]}";

static const struct transcript transcripts[] = {
    TRANSCRIPT(test_counts),
    TRANSCRIPT(test_sender_filter),
    TRANSCRIPT(test_addressed),
    TRANSCRIPT(test_monitored),
    TRANSCRIPT_CONFIGURED(test_refused, policy),
    TRANSCRIPT(test_ids),
    LIMITED(test_waits, L, SOFT),
    LIMITED(test_flooded, L, SOFT),
    LIMITED(test_ids_outstanding, L, SOFT),
    LIMITED(test_limit, L, SOFT, L, "calls=4", L, "calls_per_user=5"),
    LIMITED(test_dropped, L, SOFT, L, "queue_bytes=200000"),
    LIMITED(test_stalled, L, SOFT, L, "stall_timeout=1000"),
    LIMITED(test_receiver_goes, L, SOFT),
    LIMITED(test_publisher_goes, L, SOFT),
    LIMITED(test_race, L, "queue_soft_bytes=2000", L, "queue_bytes=100000"),
};

int main(void)
{
    return TRANSCRIPTS_RUN("receipts", transcripts);
}
