/* SPDX-License-Identifier: MIT */
/*
 * What a user may have: as much as the limit says and nothing more, whichever of its
 * connections asks; the error names the limit and the log the culprit; what is given
 * back can be had again; other users are not concerned. And those who do not go on,
 * with a line or with reading, are ended, alone.
 *
 * Connecting as another user takes root: without it these tests are skipped.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "busd/limits.h"
#include "tests/support/files.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"

#define ALICE 12001
#define BOB   12002

/* ------------------------------------------------- things that are counted */

/* `take` asks for one more: its number, by which it is given back, or 0 with the
 * error's message in `wrong`. `n` is a number never used before. */
struct resource {
    const char *limit;
    unsigned (*take)(struct client *client, unsigned n, char *wrong);
    void (*give_back)(struct client *client, unsigned number);
};

#define WRONG_SIZE 256

/* The body of the reply to a call with this id; NULL and the message of the error. Other
 * things that come are let go. */
static json_t *read_answer(struct client *client, uint64_t id, char *wrong)
{
    struct message *message;

    for (;;) {
        message = client_next(client);
        assert_non_null(message);
        if (json_integer_value(json_object_get(message->json, "id")) == (json_int_t)id)
            break;
        message_free(message);
    }
    const char *error = json_string_value(json_object_get(message->json, "error"));
    json_t *body = json_incref(json_object_get(message->json, "body"));
    if (error) {
        assert_string_equal(error, "bus.LimitExceeded");
        snprintf(wrong, WRONG_SIZE, "%s",
                 json_string_value(json_object_get(message->json, "message")));
    }
    message_free(message);
    return body;
}

static json_t *ask(struct client *client, const char *method, const char *body, char *wrong)
{
    uint64_t id = client->next_id++;

    client_send(client, "{'type':'call','id':%llu,'to':'bus','method':'%s','body':%s}",
                (unsigned long long)id, method, body);
    return read_answer(client, id, wrong);
}

static unsigned take_subscription(struct client *client, unsigned n, char *wrong)
{
    json_t *body = ask(client, "Subscribe", "{'topic':'some.*'}", wrong);
    unsigned number = (unsigned)json_integer_value(json_object_get(body, "subscription"));

    json_decref(body);
    return number;
}

static void give_subscription_back(struct client *client, unsigned number)
{
    char body[64];

    snprintf(body, sizeof(body), "{'subscription':%u}", number);
    client_ask(client, "Unsubscribe", body, "{}");
}

static unsigned take_name(struct client *client, unsigned n, char *wrong)
{
    char text[64];

    snprintf(text, sizeof(text), "{'name':'org.example.N%u'}", n);
    json_t *body = ask(client, "RequestName", text, wrong);
    bool taken = body != NULL;
    json_decref(body);
    return taken ? n : 0;
}

static void give_name_back(struct client *client, unsigned number)
{
    char body[64];

    snprintf(body, sizeof(body), "{'name':'org.example.N%u'}", number);
    client_ask(client, "ReleaseName", body, "{}");
}

/* Of S, which gets it and does not answer. */
static unsigned take_call(struct client *client, unsigned n, char *wrong)
{
    struct client *service = session_find(client->session, "S", 1);

    client_send(client, "{'type':'call','id':%u,'to':'$S','method':'M'}", n);
    session_settle(client->session);
    if (list_is_empty(&service->messages)) {
        json_decref(read_answer(client, n, wrong));
        return 0;
    }
    message_free(client_next(service));
    return n;
}

static void give_call_back(struct client *client, unsigned number)
{
    struct client *service = session_find(client->session, "S", 1);

    client_send(client, "{'type':'cancel','to':'$S','id':%u}", number);
    client_expect_error(client, number, "bus.Cancelled");
    message_free(client_next(service));
}

static unsigned take_monitor(struct client *client, unsigned n, char *wrong)
{
    json_t *body = ask(client, "Monitor", "{'topic':'nothing'}", wrong);
    bool taken = body != NULL;

    json_decref(body);
    return taken ? n : 0;
}

/* Events are not answered, but by errors. */
static unsigned take_value(struct client *client, unsigned n, char *wrong)
{
    uint64_t id = client->next_id++;
    bool refused = false;

    client_send(client, "{'type':'event','topic':'v.%u','retain':'connection','body':1}", n);
    client_send(client, "{'type':'call','id':%llu,'to':'bus','method':'Ping'}",
                (unsigned long long)id);
    for (bool done = false; !done;) {
        struct message *message = client_next(client);
        assert_non_null(message);
        if (json_object_get(message->json, "error")) {
            refused = true;
            snprintf(wrong, WRONG_SIZE, "%s",
                     json_string_value(json_object_get(message->json, "message")));
        }
        done = json_integer_value(json_object_get(message->json, "id")) == (json_int_t)id;
        message_free(message);
    }
    return refused ? 0 : n;
}

static void give_value_back(struct client *client, unsigned number)
{
    client_send(client, "{'type':'event','topic':'v.%u','retain':'connection'}", number);
    client_ask(client, "Ping", "{}", "{}");
}

static unsigned last_number;

static unsigned take(const struct resource *resource, struct client *client)
{
    char wrong[WRONG_SIZE] = "";
    unsigned number = resource->take(client, ++last_number, wrong);

    CHECK(number > 0, "%s: %s was refused: %s", resource->limit, client->name, wrong);
    return number;
}

/* Refused, because of this limit; and the log says who it was. */
static void take_too_much(const struct resource *resource, struct client *client, const char *limit,
                          unsigned value, unsigned uid)
{
    char wrong[WRONG_SIZE] = "", named[80], number[16];
    CLEANUP(cleanup_free)
    char *name = client_expand(client->session, "$%s", client->name);
    CLEANUP(cleanup_free)
    char *logged =
        client_expand(client->session, "%s (uid %u, pid %d) has all that it may have: %s is %u",
                      name, uid, (int)getpid(), limit, value);

    CHECK(resource->take(client, ++last_number, wrong) == 0, "%s: %s was not refused", limit,
          client->name);
    snprintf(named, sizeof(named), "(%s)", limit);
    snprintf(number, sizeof(number), "%u ", value);
    CHECK(strstr(wrong, named) && strstr(wrong, number), "%s: it says: %s", limit, wrong);
    CHECK(busd_has_logged(&client->session->busd, logged), "not logged: %s", logged);
}

/* With 3 for a connection and 5 for a user. */
static void test_resource(struct session *session, const struct resource *resource)
{
    char limit[64];
    struct client *s = session_connect(session, "S");
    struct client *a = session_connect_as_user(session, "A", ALICE);
    struct client *b = session_connect_as_user(session, "B", ALICE);
    struct client *c = session_connect_as_user(session, "C", BOB);

    snprintf(limit, sizeof(limit), "%s_per_user", resource->limit);
    for (unsigned round = 0; round < 3; round++) {
        unsigned of_a[3], of_b[3];
        for (unsigned i = 0; i < 3; i++)
            of_a[i] = take(resource, a);
        take_too_much(resource, a, resource->limit, 3, ALICE);
        of_b[0] = take(resource, b);
        of_b[1] = take(resource, b);
        take_too_much(resource, b, limit, 5, ALICE);
        for (unsigned i = 0; round == 0 && i < 3; i++)
            take(resource, c);
        take_too_much(resource, c, resource->limit, 3, BOB);
        if (!resource->give_back)
            break;
        /* What A gives back B can have. */
        resource->give_back(a, of_a[0]);
        of_b[2] = take(resource, b);
        take_too_much(resource, a, limit, 5, ALICE);
        for (unsigned i = 0; i < 3; i++)
            resource->give_back(b, of_b[i]);
        for (unsigned i = 1; i < 3; i++)
            resource->give_back(a, of_a[i]);
    }
    /* Whoever leaves leaves everything. */
    client_close(a);
    client_close(b);
    client_close(c);
    session_settle(session);
    while (!list_is_empty(&s->messages))
        message_free(client_next(s));
    session_wait_for_connections(session, s, 1);
    struct client *d = session_connect_as_user(session, "D", ALICE);
    for (unsigned i = 0; i < 3; i++)
        take(resource, d);
    client_close(d);
    session_settle(session);
    while (resource->take == take_call && list_is_empty(&s->messages))
        session_settle(session);
    while (!list_is_empty(&s->messages))
        message_free(client_next(s));
    session_wait_for_connections(session, s, 1);
}

#define RESOURCE_TEST(noun, take, give_back)                                                       \
    static void test_##noun(struct session *session)                                               \
    {                                                                                              \
        test_resource(session, &(struct resource){#noun, take, give_back});                        \
    }

RESOURCE_TEST(subscriptions, take_subscription, give_subscription_back)
RESOURCE_TEST(names, take_name, give_name_back)
RESOURCE_TEST(calls, take_call, give_call_back)
RESOURCE_TEST(monitors, take_monitor, NULL)
RESOURCE_TEST(retained, take_value, give_value_back)

static void subscribe(struct client *client, const char *pattern)
{
    char body[64];

    snprintf(body, sizeof(body), "{'topic':'%s'}", pattern);
    json_decref(client_ask_json(client, "Subscribe", body));
}

/* With 4 segments behind a `*`. */
static void test_wildcards(struct session *session)
{
    struct client *a = session_connect_as_user(session, "A", ALICE);
    struct client *b = session_connect_as_user(session, "B", ALICE);
    struct client *c = session_connect_as_user(session, "C", BOB);

    subscribe(a, "a.*");
    subscribe(a, "a.b.#");
    subscribe(a, "*.a.b.#");
    subscribe(b, "a.*.b");
    client_send(b, "{'type':'call','id':1,'to':'bus','method':'Subscribe','body':{'topic':'*.a'}}");
    struct message *message = client_next(b);
    const char *text = json_string_value(json_object_get(message->json, "message"));
    CHECK(text && strstr(text, "(wildcards_per_user)") && strstr(text, " 4 "), "it says: %s",
          message->line);
    message_free(message);
    assert_true(busd_has_logged(&session->busd, "wildcards_per_user is 4"));
    subscribe(b, "x.*");
    subscribe(c, "*.a");
    client_ask(a, "Unsubscribe", "{'subscription':3}", "{}");
    subscribe(b, "*.a");
}

/* With 9 in all. */
static void test_segments(struct session *session)
{
    struct client *a = session_connect_as_user(session, "A", ALICE);
    struct client *b = session_connect_as_user(session, "B", ALICE);
    struct client *c = session_connect_as_user(session, "C", BOB);

    subscribe(a, "a.b.c.d.#");
    subscribe(b, "a.b");
    client_send(b, "{'type':'call','id':1,'to':'bus','method':'Subscribe','body':"
                   "{'topic':'a.b.c'}}");
    struct message *message = client_next(b);
    const char *text = json_string_value(json_object_get(message->json, "message"));
    CHECK(text && strstr(text, "(segments_per_user)") && strstr(text, " 7 ") && strstr(text, " 9 "),
          "it says: %s", message->line);
    message_free(message);
    assert_true(busd_has_logged(&session->busd, "segments_per_user is 9"));
    subscribe(b, "x.y");
    subscribe(c, "a.b.c.d.e.f.g.h.i");
    client_ask(a, "Unsubscribe", "{'subscription':1}", "{}");
    subscribe(b, "a.b.c");
}

/* ---------------------------------------------------------- connections */

/* Connects, and is told why it cannot stay. */
static void connect_too_much(struct session *session, const char *name, uid_t uid,
                             const char *limit)
{
    assert_int_equal(seteuid(uid), 0);
    struct client *client = session_connect_silently(session, name);
    assert_int_equal(seteuid(0), 0);
    struct message *message = client_next(client);
    const char *text = json_string_value(json_object_get(message->json, "message"));

    assert_string_equal(json_string_value(json_object_get(message->json, "error")),
                        "bus.LimitExceeded");
    CHECK(strstr(text, limit), "it says: %s", text);
    CHECK(busd_has_logged(&session->busd, text), "not logged: %s", text);
    message_free(message);
    client_expect_end(client);
}

static void test_connections(struct session *session)
{
    struct client *a = session_connect_as_user(session, "A", ALICE);
    struct client *b = session_connect_as_user(session, "B", ALICE);

    client_ask(a, "Ping", "{}", "{}");
    client_ask(b, "Ping", "{}", "{}");
    connect_too_much(session, "C", ALICE, "(connections_per_user)");
    struct client *d = session_connect_as_user(session, "D", BOB);
    client_close(a);
    session_wait_for_connections(session, d, 2);
    struct client *e = session_connect_as_user(session, "E", ALICE);
    client_ask(e, "Ping", "{}", "{}");
    connect_too_much(session, "F", ALICE, "(connections_per_user)");
    session_connect_as_user(session, "G", BOB);
}

/* Connections that have not sent a valid message: others have room nevertheless, and
 * the first valid message makes room. */
static void test_unproven(struct session *session)
{
    struct client *a = session_connect_as_user(session, "A", ALICE);
    struct client *b = session_connect_as_user(session, "B", ALICE);

    connect_too_much(session, "C", ALICE, "(unproven_per_user)");
    client_send(a, "{'type':'event'}");
    client_expect_complaint(a, "bus.InvalidMessage", "{'type':'event'}");
    connect_too_much(session, "D", ALICE, "(unproven_per_user)");
    session_connect_as_user(session, "E", BOB);
    client_ask(b, "Ping", "{}", "{}");
    session_connect_as_user(session, "F", ALICE);
    connect_too_much(session, "G", ALICE, "(unproven_per_user)");
}

/* --------------------------------------------------------------- waiting */

static void pass(unsigned milliseconds)
{
    usleep(milliseconds * 1000);
}

static void test_unproven_timeout(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    client_ask(b, "Ping", "{}", "{}");
    /* What is not valid proves nothing. */
    client_send_bytes(c, "x\n", 2, NULL, 0);
    client_expect_complaint(c, "bus.ParseError", "{}");
    client_expect_goodbye(a, "(unproven_timeout)");
    client_expect_goodbye(c, "(unproven_timeout)");
    pass(700);
    client_ask(b, "Ping", "{}", "{}");
}

/* It is progress that counts: a line may take as long as it likes. */
static void test_line_timeout(struct session *session)
{
    static const char line[] = "{\"type\":\"call\",\"id\":7,\"to\":\"bus\",\"method\":\"Ping\"}\n";
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    struct client *d = session_connect(session, "D");
    int fd[2];

    client_ask(d, "Ping", "{}", "{}");
    files_open(fd, 2, 1);
    client_send_bytes(a, "{\"type\":", 8, fd, 2);
    client_send_bytes(c, "{\"type\":", 8, NULL, 0);
    for (size_t i = 0; i < sizeof(line) - 1; i++) {
        client_send_bytes(b, line + i, 1, NULL, 0);
        pass(20);
    }
    client_expect(b, "{'sender':'bus','type':'reply','id':7,'body':{}}");
    client_expect_goodbye(a, "(line_timeout)");
    client_expect_goodbye(c, "(line_timeout)");
    session_expect_fds(session, 2);
    files_close(fd, 2);
    /* Neither the end of a line nor none at all is waited for. */
    client_ask(b, "Ping", "{}", "{}");
    client_ask(d, "Ping", "{}", "{}");
}

/* A line that is too long has no end either, though nothing of it is kept. */
static void test_line_timeout_too_long(struct session *session)
{
    struct client *a = session_connect(session, "A");
    char block[1000];

    memset(block, 'x', sizeof(block));
    client_send_bytes(a, block, sizeof(block), NULL, 0);
    client_expect_goodbye(a, "(line_timeout)");
}

/* A file descriptor that comes in the middle of a line can belong to none. */
static void test_fds_within_a_line(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    int fd[2];

    files_open(fd, 2, 1);
    client_send_bytes(a, "{\"type\":", 8, fd, 1);
    client_ask(b, "Ping", "{}", "{}");
    client_send_bytes(a, "\"event\"", 7, fd + 1, 1);
    client_expect_goodbye(a, "out of step");
    files_close(fd, 2);
    session_expect_fds(session, 1);
    client_ask(b, "Ping", "{}", "{}");
}

static void publish(struct client *client, const char *topic, unsigned count, size_t size)
{
    CLEANUP(cleanup_free) char *filler = malloc(size + 1);

    memset(filler, 'x', size);
    filler[size] = '\0';
    for (unsigned i = 0; i < count; i++)
        client_send(client, "{'type':'event','topic':'%s','body':'%s'}", topic, filler);
}

/* Whether there is one more message that is no notice of a loss. */
static bool next_is_event(struct client *client)
{
    struct message *message = client_next(client);
    bool right = message && !strstr(message->line, "bus.overflow");

    message_free(message);
    return right;
}

static void read_to_the_end(struct client *client)
{
    struct message *message;

    while ((message = client_next(client)))
        message_free(message);
    client_close(client);
}

/* Who reads nothing is ended; who reads, however slowly, is not; and who has less than
 * queue_bytes to read may take as long as it likes. */
static void test_stall_timeout(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    struct client *d = session_connect(session, "D");

    client_ask(b, "Subscribe", "{'topic':'t.#'}", "{'subscription':1,'retained':0}");
    client_ask(c, "Subscribe", "{'topic':'t.#'}", "{'subscription':1,'retained':0}");
    client_ask(d, "Subscribe", "{'topic':'t.few'}", "{'subscription':1,'retained':0}");
    publish(a, "t.few", 60, 1000);
    publish(a, "t.many", 500, 1000);
    uint64_t begin = process_now();
    while (process_now() < begin + 1500 || !busd_has_logged(&session->busd, "(stall_timeout)")) {
        char buffer[2000];
        assert_true(process_now() < begin + 10000);
        assert_true(read(c->fd, buffer, sizeof(buffer)) > 0);
        pass(25);
    }
    read_to_the_end(b);
    for (unsigned i = 0; i < 60; i++)
        assert_true(next_is_event(d));
    session_wait_for_connections(session, a, 3);
    client_close(c);
}

/* ---------------------------------------------- what is left unread or unfinished */

/* What the queues of a client hold, as the bus sees it. */
static uint64_t queued(struct client *asker, const char *name)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(asker->session, "{'name':'%s'}", name);
    json_t *stats = client_ask_json(asker, "Stats", body);
    json_int_t size =
        json_integer_value(json_object_get(json_object_get(stats, "bytes"), "queued"));

    json_decref(stats);
    return (uint64_t)size;
}

#define HOGS 8

/* Eight clients that do not read, of one user or of four. */
static void connect_hogs(struct session *session, unsigned users, const char *topic)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(session, "{'topic':'%s'}", topic);

    for (unsigned i = 0; i < HOGS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "H%u", i);
        struct client *hog = session_connect_as_user(session, name, ALICE + 100 * (i % users));
        client_ask(hog, "Subscribe", body, "{'subscription':1,'retained':0}");
    }
}

static void close_hogs(struct session *session)
{
    for (unsigned i = 0; i < HOGS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "H%u", i);
        client_close(session_find(session, name, strlen(name)));
    }
}

/* The others of the user lose nothing, and all that is held is within the ceiling. */
static void test_unread_bytes(struct session *session, unsigned users)
{
    struct client *p = session_connect_as_user(session, "P", BOB);
    connect_hogs(session, users, "t.#");
    struct client *r = session_connect_as_user(session, "R", ALICE);

    client_ask(r, "Subscribe", "{'topic':'t.#'}", "{'subscription':1,'retained':0}");
    for (unsigned round = 0; round < 100; round++) {
        publish(p, "t.x", 20, 1000);
        for (unsigned i = 0; i < 20; i++)
            assert_true(next_is_event(r));
    }
    uint64_t sum = queued(p, "bus");
    /* How much of it depends on how much the sockets have taken. */
    assert_in_range(sum, 64 * 1024, 512 * 1024);
    /* Calls, too. */
    client_send(p, "{'type':'call','id':1,'to':'$R','method':'M'}");
    client_expect(r, "{'sender':'$P','type':'call','id':1,'to':'$R','method':'M'}");
    client_send(r, "{'type':'reply','to':'$P','id':1}");
    client_expect(p, "{'sender':'$R','type':'reply','to':'$P','id':1}");
    close_hogs(session);
    session_wait_for_connections(session, p, 2);
    assert_int_equal(queued(p, "bus"), 0);
}

static void test_bytes_of_a_user(struct session *session)
{
    test_unread_bytes(session, 1);
}

static void test_bytes_of_all(struct session *session)
{
    test_unread_bytes(session, 4);
}

/* Answers that are not read: the one that leaves the most is ended, and no other. */
static void test_unread_answers(struct session *session)
{
    struct client *a = session_connect_as_user(session, "A", ALICE);
    struct client *b = session_connect_as_user(session, "B", ALICE);
    struct client *c = session_connect_as_user(session, "C", BOB);

    for (unsigned n = 0; n < 100000 && !a->broken; n++) {
        client_send(a, "{'type':'call','id':1,'to':'bus','method':'Introspect'}");
        if (n % 100 == 0) {
            client_ask(b, "Ping", "{}", "{}");
            client_ask(c, "Ping", "{}", "{}");
        }
    }
    assert_true(a->broken);
    read_to_the_end(a);
    assert_true(busd_has_logged(&session->busd, "(bytes_per_user, 262144)"));
    session_wait_for_connections(session, b, 2);
}

/* Beginnings of lines that do not end. */
static void test_unfinished_bytes(struct session *session)
{
    struct client *a = session_connect_as_user(session, "A", ALICE);
    struct client *b = session_connect_as_user(session, "B", ALICE);
    struct client *c = session_connect_as_user(session, "C", BOB);
    CLEANUP(cleanup_free) char *block = calloc(1, 300000);

    memset(block, 'x', 300000);
    memcpy(block, "{\"a\":\"", 6);
    client_send_bytes(b, block, 20000, NULL, 0);
    client_send_bytes(a, block, 300000, NULL, 0);
    client_expect_goodbye(a, "bytes_per_user");
    client_ask(c, "Ping", "{}", "{}");
    client_send_bytes(b, "\"}\n", 3, NULL, 0);
    client_expect_complaint(b, "bus.InvalidMessage", "{}");
}

/* Receivers that do not take their file descriptors: all together they hold what they
 * may have, and others get theirs: those of the same user, and those of others. */
static void test_unread_fds(struct session *session, unsigned users)
{
    struct client *p = session_connect_as_user(session, "P", BOB);
    connect_hogs(session, users, "t.#");
    struct client *r = session_connect_as_user(session, "R", users == 1 ? ALICE : BOB + 1);
    struct client *q = session_connect_as_user(session, "Q", BOB);
    unsigned held = 0;

    client_ask(r, "Subscribe", "{'topic':'t.#'}", "{'subscription':1,'retained':0}");
    client_ask(q, "Subscribe", "{'topic':'t.#'}", "{'subscription':1,'retained':0}");
    for (unsigned n = 0; n < 40; n++) {
        int fd[2];
        files_open(fd, 2, n);
        client_send_fds(p, fd, 2, "{'type':'event','topic':'t.x','fds':2}");
        files_close(fd, 2);
        client_expect_fds(r, fd, 2, "{'sender':'$P','type':'event','topic':'t.x'}");
        files_expect(fd, 2, n);
        client_expect_fds(q, fd, 2, "{'sender':'$P','type':'event','topic':'t.x'}");
        files_expect(fd, 2, n);
    }
    for (unsigned i = 0; i < HOGS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "H%u", i);
        struct client *hog = session_find(session, name, strlen(name));
        struct message *message;
        while (message = client_next(hog), !strstr(message->line, "bus.overflow")) {
            held += message->count;
            message_free(message);
        }
        message_free(message);
    }
    assert_in_range(held, 8, 40);
    session_expect_fds(session, HOGS + 4);
}

static void test_fds_of_a_user(struct session *session)
{
    test_unread_fds(session, 1);
}

static void test_fds_of_all(struct session *session)
{
    test_unread_fds(session, 4);
}

/* File descriptors that came with half a line. */
static void test_unfinished_fds(struct session *session)
{
    struct client *a = session_connect_as_user(session, "A", ALICE);
    struct client *b = session_connect_as_user(session, "B", ALICE);
    int fd[16];

    files_open(fd, 16, 1);
    client_send_bytes(a, "{\"type\":\"event\",", 16, fd, 16);
    client_send_bytes(b, "{\"type\":\"event\",", 16, fd, 4);
    client_ask(session_connect(session, "C"), "Ping", "{}", "{}");
    session_expect_fds(session, 3 + 4);
    client_send_bytes(a, "\"topic\":\"t\",\"fds\":16}\n", 22, NULL, 0);
    client_expect_complaint(a, "bus.FdMismatch", "{'type':'event','topic':'t'}");
    client_send_bytes(b, "\"topic\":\"t\",\"fds\":4}\n", 21, NULL, 0);
    client_ask(b, "Ping", "{}", "{}");
    session_expect_fds(session, 3);
    /* All is in step again. */
    client_send_fds(a, fd, 2, "{'type':'event','topic':'t','fds':2}");
    client_ask(a, "Ping", "{}", "{}");
    files_close(fd, 16);
}

/* ------------------------------------------------------------- the table */

/* Limits that other tests are about. */
static const char *const others[] = {"connections",           "message_bytes",
                                     "queue_bytes",           "queue_soft_bytes",
                                     "fds_per_message",       "fds_queued",
                                     "call_timeout",          "invalid_lines",
                                     "retained_bytes",        "retained_bytes_per_user",
                                     "retained_bytes_in_all", "unstored_bytes_per_user"};
/* Limits that are set in this one. */
static const char *set_here(size_t index);

static void test_the_table(struct session *session)
{
    struct limits limits;
    const char *name, *tested;
    uint64_t value;

    limits_init(&limits, true);
    for (size_t i = 0; limits_get(&limits, i, &name, &value); i++) {
        bool found = false;
        for (size_t n = 0; n < ARRAY_SIZE(others); n++)
            found = found || strcmp(others[n], name) == 0;
        for (size_t n = 0; (tested = set_here(n)); n++)
            found =
                found || (strncmp(tested, name, strlen(name)) == 0 && tested[strlen(name)] == '=');
        CHECK(found, "no test for the limit %s", name);
    }
}

#define L "--limit"
#define LIMITED(function, ...)                                                                     \
    {                                                                                              \
        .name = #function, .run = function, .args = BUSD_ARGS(__VA_ARGS__), .plain_only = true     \
    }
#define COUNTED(noun)                                                                              \
    {                                                                                              \
        .name = "test_" #noun, .run = test_##noun,                                                 \
        .args = BUSD_ARGS(L, #noun "=3", L, #noun "_per_user=5")                                   \
    }

static const struct transcript transcripts[] = {
    COUNTED(subscriptions),
    COUNTED(names),
    COUNTED(calls),
    COUNTED(monitors),
    LIMITED(test_segments, L, "segments_per_user=9"),
    LIMITED(test_wildcards, L, "wildcards_per_user=4"),
    COUNTED(retained),
    LIMITED(test_connections, L, "connections_per_user=2"),
    LIMITED(test_unproven, L, "unproven_per_user=2"),
    LIMITED(test_unproven_timeout, L, "unproven_timeout=500"),
    LIMITED(test_line_timeout, L, "line_timeout=900"),
    LIMITED(test_line_timeout_too_long, L, "line_timeout=900", L, "message_bytes=500"),
    LIMITED(test_stall_timeout, L, "stall_timeout=1000", L, "queue_bytes=65536"),
    TRANSCRIPT_PLAIN(test_fds_within_a_line),
    LIMITED(test_bytes_of_a_user, L, "bytes_per_user=524288", L, "queue_bytes=200000"),
    LIMITED(test_bytes_of_all, L, "bytes=524288", L, "queue_bytes=200000"),
    LIMITED(test_unread_answers, L, "bytes_per_user=262144"),
    LIMITED(test_unfinished_bytes, L, "bytes_per_user=262144"),
    LIMITED(test_fds_of_a_user, L, "fds_per_user=40", L, "fds_queued=20"),
    LIMITED(test_fds_of_all, L, "fds=40", L, "fds_queued=20"),
    LIMITED(test_unfinished_fds, L, "fds_per_user=20"),
    TRANSCRIPT_PLAIN(test_the_table),
};

static const char *set_here(size_t index)
{
    for (size_t i = 0; i < ARRAY_SIZE(transcripts); i++)
        for (const char *const *arg = transcripts[i].args; arg && *arg; arg++)
            if (strcmp(*arg, L) != 0 && index-- == 0)
                return *arg;
    return NULL;
}

int main(void)
{
    if (geteuid() != 0) {
        puts("skipped: it takes root to connect as several users");
        return 0;
    }
    return TRANSCRIPTS_RUN("quota", transcripts);
}
