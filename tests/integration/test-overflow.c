/* SPDX-License-Identifier: MIT */
/*
 * What a subscription asks for when its subscriber does not keep up: that events are
 * dropped with a notice, that only the newest of each topic is kept, or to be disconnected.
 * Counted to the last one.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/support/files.h"
#include "tests/support/policy.h"
#include "tests/support/transcript.h"

#define SIZE       1000
#define TOPICS_MAX 2000

static void subscribe(struct client *client, const char *pattern, const char *overflow)
{
    CLEANUP(cleanup_free)
    char *body =
        client_expand(client->session, "{'topic':'%s','overflow':'%s'}", pattern, overflow);

    json_decref(client_ask_json(client, "Subscribe", body));
}

static void publish(struct client *client, const char *topic, unsigned number)
{
    static char filler[SIZE + 1];

    memset(filler, 'x', SIZE);
    client_send(client, "{'type':'event','topic':'%s','body':[%u,'%s']}", topic, number, filler);
}

/* Events number first … first+count-1, to the topics t.0 … t.(topics-1) in turn. */
static void publish_round(struct client *client, unsigned first, unsigned count, unsigned topics)
{
    for (unsigned i = first; i < first + count; i++) {
        char topic[16];
        snprintf(topic, sizeof(topic), "t.%u", i % topics);
        publish(client, topic, i);
        /* A fast reader is given the time to be one. */
        if (i % 20 == 19)
            client_ask(client, "Ping", "{}", "{}");
    }
    client_ask(client, "Ping", "{}", "{}");
}

/* What came: numbers that grow; of each topic the last. */
struct seen {
    unsigned count;
    unsigned in_a_row; /* 0 … in_a_row-1 */
    unsigned last;
    unsigned lost;
    unsigned topic_count;
    unsigned newest[TOPICS_MAX];
};

static void note_event(struct seen *seen, const struct message *message)
{
    json_t *body = json_object_get(message->json, "body");
    const char *topic = json_string_value(json_object_get(message->json, "topic"));
    unsigned number = (unsigned)json_integer_value(json_array_get(body, 0)), index;

    assert_true(seen->count == 0 || number > seen->last);
    seen->last = number;
    if (number == seen->count)
        seen->in_a_row = number + 1;
    seen->count++;
    if (sscanf(topic, "t.%u", &index) == 1 && index < TOPICS_MAX) {
        seen->newest[index] = number;
        seen->topic_count = MAX(seen->topic_count, index + 1);
    }
}

/* Reads up to the end that publish_end() makes. */
static void read_all(struct client *client, struct seen *seen)
{
    struct message *message;

    while (message = client_next(client), message && !strstr(message->line, "\"the.end\"")) {
        if (strstr(message->line, "bus.overflow"))
            seen->lost += (unsigned)json_integer_value(
                json_object_get(json_object_get(message->json, "body"), "lost"));
        else
            note_event(seen, message);
        message_free(message);
    }
    assert_non_null(message);
    message_free(message);
}

static void publish_end(struct client *from, struct client *to)
{
    client_send(from, "{'type':'call','no_reply':true,'to':'%s','method':'the.end'}", to->unique);
}

static json_int_t counter(struct client *asker, const char *name, const char *group,
                          const char *key)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(asker->session, "{'name':'$%s'}", name);
    json_t *stats = client_ask_json(asker, "Stats", body);
    json_t *value = json_object_get(json_object_get(stats, group), key);

    assert_true(json_is_integer(value));
    json_int_t number = json_integer_value(value);
    json_decref(stats);
    return number;
}

/* ----------------------------------------------------------------- latest */

/* Who keeps up sees every event. */
static void test_keeps_up(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    subscribe(b, "t.#", "latest");
    for (unsigned i = 0; i < 200; i++) {
        client_send(a, "{'type':'event','topic':'t.x','body':%u}", i);
        if (i % 7 == 0)
            client_ask(a, "Ping", "{}", "{}");
    }
    for (unsigned i = 0; i < 200; i++)
        client_expect(b, "{'sender':'$A','type':'event','topic':'t.x','body':%u}", i);
    assert_int_equal(counter(a, "B", "messages", "conflated"), 0);
}

/* Who does not read finds, after what was in its socket, the newest of each topic, in the
 * order in which they were published; again and again. */
static void test_latest(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    unsigned count = 3000, received = 0;

    subscribe(b, "t.#", "latest");
    subscribe(c, "t.#", "drop");
    for (unsigned round = 0; round < 3; round++) {
        struct seen seen = {0}, all = {0};
        for (unsigned i = 0; i < count; i += 100) {
            publish_round(a, i, 100, 10);
            publish_end(a, c);
            read_all(c, &all);
        }
        assert_int_equal(all.in_a_row, count);
        assert_in_range(counter(a, "B", "bytes", "queued"), 10 * SIZE, 100 * SIZE);
        publish_end(a, b);
        read_all(b, &seen);
        /* Those in the socket and the queue it had when that was full, and the rest once. */
        assert_in_range(seen.in_a_row, 50, 1500);
        assert_int_equal(seen.count, seen.in_a_row + 10);
        assert_int_equal(seen.lost, 0);
        assert_int_equal(seen.topic_count, 10);
        for (unsigned topic = 0; topic < 10; topic++)
            assert_int_equal(seen.newest[topic], count - 10 + topic);
        received += seen.count;
        assert_int_equal(counter(a, "B", "messages", "conflated"), (round + 1) * count - received);
    }
    assert_int_equal(counter(a, "C", "messages", "conflated"), 0);
}

/* More topics than fit: newer values take the place of older ones, and what finds no place is
 * told of. */
static void test_latest_limit(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct seen seen = {0};
    unsigned topics = 1500, count = 4 * topics;

    subscribe(b, "t.#", "latest");
    publish_round(a, 0, count, topics);
    publish_end(a, b);
    json_int_t conflated = counter(a, "B", "messages", "conflated");
    json_int_t dropped = counter(a, "B", "messages", "dropped");
    /* Much the same by bytes as without: never more than the limit. */
    assert_in_range(counter(a, "B", "bytes", "queued"), 150000, 200000);
    read_all(b, &seen);
    if (seen.lost == 0) {
        struct message *message = client_next(b);
        seen.lost = (unsigned)json_integer_value(
            json_object_get(json_object_get(message->json, "body"), "lost"));
        message_free(message);
    }
    assert_int_equal(seen.lost, dropped);
    assert_int_equal(seen.count + conflated + dropped, count);
    assert_true(conflated > 300 && dropped > 1000);
    /* Each topic in the queue when it became full has its newest value. */
    unsigned newest = 0;
    for (unsigned topic = 0; topic < topics; topic++)
        newest += seen.newest[topic] >= count - topics;
    assert_in_range(newest, 100, 250);
    /* It has read: all is as it was. */
    publish(a, "t.0", count);
    client_expect(b, "{'sender':'$A','type':'event','topic':'t.0','body':[%u,'*']}", count);
}

/* What somebody else hears of is another matter, and so is what is no event of a topic. */
static void test_latest_beside_others(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct message *message;
    unsigned to_b = 0, calls = 0, ours = 0;

    subscribe(b, "t.#", "latest");
    publish_round(a, 0, 1000, 10);
    for (unsigned i = 0; i < 50; i++) {
        client_send(a, "{'type':'event','topic':'t.1','to':'$B','body':[%u]}", i);
        client_send(a, "{'type':'call','no_reply':true,'to':'$B','method':'M'}");
        publish(a, "t.1", 1000 + i);
    }
    publish_end(a, b);
    while (message = client_next(b), !strstr(message->line, "the.end")) {
        to_b += strstr(message->line, "\"to\":") && strstr(message->line, "\"event\"");
        calls += strstr(message->line, "\"call\"") != NULL;
        ours +=
            json_integer_value(json_array_get(json_object_get(message->json, "body"), 0)) >= 1000;
        message_free(message);
    }
    message_free(message);
    assert_int_equal(to_b, 50);
    assert_int_equal(calls, 50);
    assert_int_equal(ours, 1);
}

/* A conflated event was queued, and its receipt comes when the queue is short again. */
static void test_latest_receipts(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct seen seen = {0};

    subscribe(b, "t.#", "latest");
    publish_round(a, 0, 1000, 10);
    for (unsigned i = 1; i <= 20; i++) {
        client_send(a, "{'type':'event','topic':'t.0','id':%u,'body':[%u]}", i, 1000 + i);
        client_expect(a,
                      "{'sender':'bus','type':'reply','id':%u,'body':{'matched':1,'queued':1,"
                      "'dropped':0}}",
                      i);
    }
    publish_end(a, b);
    read_all(b, &seen);
    assert_int_equal(seen.last, 1020);
    assert_int_equal(seen.newest[0], 1020);
}

/* The file descriptors of what gives way are closed. */
static void test_latest_fds(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    int fd[4], got[4];

    subscribe(b, "t", "latest");
    files_open(fd, 4, 1);
    /* One is in the socket, one waits because of that, and of the others the newest. */
    for (unsigned i = 0; i <= 10; i++) {
        client_send_fds(a, fd, 4, "{'type':'event','topic':'t','fds':4,'body':%u}", i);
        client_ask(a, "Ping", "{}", "{}");
    }
    session_expect_fds(session, 2 + 8);
    for (unsigned i = 0; i <= 10; i = i < 1 ? 1 : i + 9) {
        client_expect_fds(b, got, 4, "{'sender':'$A','type':'event','topic':'t','body':%u}", i);
        files_close(got, 4);
    }
    session_expect_fds(session, 2);
    files_close(fd, 4);
}

/* Whoever goes, or may not have it any more, takes what waits along. */
static void test_latest_goes(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    struct seen seen = {0};

    subscribe(b, "t.#", "latest");
    subscribe(c, "t.#", "latest");
    publish_round(a, 0, 1000, 10);
    client_close(b);
    publish_round(a, 1000, 100, 10);
    policy_reload(a, POLICY("{'deny':'subscribe','topic':'t.3'},{'allow':'*'}"));
    publish_round(a, 1100, 100, 10);
    publish_end(a, c);
    read_all(c, &seen);
    for (unsigned topic = 0; topic < 10; topic++)
        assert_true(topic == 3 ? seen.newest[topic] < 1000 : seen.newest[topic] == 1190 + topic);
    /* The policy is nothing that it has lost. */
    assert_int_equal(seen.lost, 0);
}

/* The bus's own events are events. */
static void test_latest_names(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct message *message;
    unsigned count = 0, last_owned = 0;

    subscribe(b, "bus.name.org.a", "latest");
    subscribe(b, "t", "drop");
    for (unsigned i = 0; i < 400; i++)
        publish(a, "t", i);
    client_ask(a, "Ping", "{}", "{}");
    assert_true(counter(a, "B", "bytes", "queued") > 0);
    for (unsigned i = 0; i < 20; i++) {
        client_ask(a, "RequestName", "{'name':'org.a'}", "{'state':'owner'}");
        client_ask(a, "ReleaseName", "{'name':'org.a'}", "{}");
    }
    client_ask(a, "RequestName", "{'name':'org.a'}", "{'state':'owner'}");
    publish_end(a, b);
    while (message = client_next(b), !strstr(message->line, "the.end")) {
        if (strstr(message->line, "bus.name.org.a")) {
            count++;
            last_owned = strstr(message->line, "owner") != NULL;
        }
        message_free(message);
    }
    message_free(message);
    assert_int_equal(count, 1);
    assert_int_equal(last_owned, 1);
}

/* ------------------------------------------------------------- disconnect */

/* All it gets to read was published in a row, and then it hears why. */
static void test_disconnect(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct message *message;
    unsigned next = 0;

    subscribe(b, "t.#", "disconnect");
    publish_round(a, 0, 1000, 10);
    while ((message = client_next(b)) && !strstr(message->line, "bus.Disconnected")) {
        json_t *body = json_object_get(message->json, "body");
        assert_int_equal(json_integer_value(json_array_get(body, 0)), next);
        next++;
        message_free(message);
    }
    if (message) {
        assert_non_null(strstr(message->line, "disconnected rather than lose 't."));
        message_free(message);
        assert_null(client_next(b));
    }
    client_close(b);
    assert_in_range(next, 100, 800);
    assert_true(busd_has_logged(&session->busd, "disconnected rather than lose 't."));
    client_ask(a, "Ping", "{}", "{}");
}

/* Its receipts say that it has not got the event. */
static void test_disconnect_receipt(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    json_int_t dropped = 0;
    unsigned id = 0;

    subscribe(b, "t", "disconnect");
    while (dropped == 0) {
        static char filler[SIZE + 1];
        memset(filler, 'x', SIZE);
        client_send(a, "{'type':'event','topic':'t','id':%u,'body':'%s'}", ++id, filler);
        struct message *message = client_next(a);
        json_t *body = json_object_get(message->json, "body");
        dropped = json_integer_value(json_object_get(body, "dropped"));
        assert_int_equal(json_integer_value(json_object_get(body, "matched")), 1);
        message_free(message);
    }
    client_send(a, "{'type':'event','topic':'t','id':1}");
    client_expect(a, "{'sender':'bus','type':'reply','id':1,'body':{'matched':0,'queued':0,"
                     "'dropped':0}}");
    client_close(b);
}

/* ------------------------------------------------- several subscriptions */

/* The strongest promise of all that match a topic holds for it, whoever publishes. */
static void test_strongest(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct seen seen = {0};

    subscribe(b, "t.#", "latest");
    subscribe(b, "t.1", "drop");
    CLEANUP(cleanup_free)
    char *body = client_expand(session, "{'topic':'t.2','sender':'org.nobody','overflow':'drop'}");
    json_decref(client_ask_json(b, "Subscribe", body));
    publish_round(a, 0, 1000, 10);
    publish_end(a, b);
    read_all(b, &seen);
    /* Two of ten topics are not conflated. */
    unsigned rest = 1000 - seen.in_a_row;
    assert_in_range(seen.count - seen.in_a_row, 8 + rest / 10 * 2, 8 + (rest / 10 + 1) * 2);
    assert_int_equal(seen.lost, 0);
}

/* Unsubscribing takes the promise along. */
static void test_unsubscribed(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct seen seen = {0};

    subscribe(b, "t.*", "latest");
    subscribe(b, "t.#", "disconnect");
    client_ask(b, "Unsubscribe", "{'subscription':2}", "{}");
    publish_round(a, 0, 2000, 10);
    publish_end(a, b);
    read_all(b, &seen);
    assert_int_equal(seen.count, seen.in_a_row + 10);
}

static void test_arguments(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_ask_error(a, "Subscribe", "{'topic':'t','overflow':'newest'}", "bus.InvalidArguments");
    client_ask_error(a, "Subscribe", "{'topic':'t','overflow':1}", "bus.InvalidArguments");
    subscribe(a, "a", "latest");
    subscribe(a, "b", "disconnect");
    subscribe(a, "c", "drop");
    json_t *stats = client_ask_json(a, "Stats", "{'name':'$A'}");
    json_t *expected = json_pack("[{s:i, s:s, s:s}, {s:i, s:s, s:s}, {s:i, s:s}]", "subscription",
                                 1, "topic", "a", "overflow", "latest", "subscription", 2, "topic",
                                 "b", "overflow", "disconnect", "subscription", 3, "topic", "c");
    assert_true(json_equal(json_object_get(stats, "subscriptions"), expected));
    json_decref(expected);
    json_decref(stats);
}

#define L "--limit"
#define LIMITED(function)                                                                          \
    {                                                                                              \
        .name = #function, .run = function, .args = BUSD_ARGS(L, "queue_bytes=200000"),            \
        .plain_only = true                                                                         \
    }

static const struct transcript transcripts[] = {
    TRANSCRIPT(test_keeps_up),
    TRANSCRIPT_PLAIN(test_latest),
    LIMITED(test_latest_limit),
    TRANSCRIPT_PLAIN(test_latest_beside_others),
    TRANSCRIPT_PLAIN(test_latest_receipts),
    TRANSCRIPT_PLAIN(test_latest_fds),
    {.name = "test_latest_goes",
     .run = test_latest_goes,
     .config = POLICY("{'allow':'*'}"),
     .plain_only = true},
    TRANSCRIPT_PLAIN(test_latest_names),
    LIMITED(test_disconnect),
    LIMITED(test_disconnect_receipt),
    TRANSCRIPT_PLAIN(test_strongest),
    TRANSCRIPT_PLAIN(test_unsubscribed),
    TRANSCRIPT(test_arguments),
};

int main(void)
{
    return TRANSCRIPTS_RUN("overflow", transcripts);
}
