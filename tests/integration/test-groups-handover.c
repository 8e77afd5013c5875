/* SPDX-License-Identifier: MIT */
/*
 * Queue groups: that no event is lost when a member does not read, may not have it any
 * more, or goes. What happens at full speed is test-groups-race.c's.
 */
#include <string.h>
#include <sys/socket.h>

#include "tests/support/files.h"
#include "tests/support/group.h"
#include "tests/support/policy.h"

#define BODY_SIZE 2000

/* Events with numbers from `first` on, each of some size. */
static void publish_large(struct client *client, unsigned first, unsigned count)
{
    static char filling[BODY_SIZE];

    memset(filling, 'x', sizeof(filling));
    for (unsigned i = first; i < first + count; i++)
        client_send(client, "{'type':'event','topic':'job','n':%u,'body':'%.*s'}", i, BODY_SIZE,
                    filling);
}

static unsigned number_of(const struct message *message)
{
    return (unsigned)json_integer_value(json_object_get(message->json, "n"));
}

/* Takes what has come of those events, up to the end of the stream or a line that is no
 * event: each number once, in order. Returns how many. */
static unsigned take_large(struct client *client, bool *taken, unsigned max)
{
    unsigned count = 0;
    unsigned last = 0;

    while (count < max) {
        struct message *message = client_next(client);
        if (!message)
            break;
        if (!json_object_get(message->json, "n")) {
            message_free(message);
            break;
        }
        unsigned number = number_of(message);
        CHECK(!taken[number], "%s: number %u comes twice", client->name, number);
        CHECK(count == 0 || number > last, "%s: number %u comes after %u", client->name, number,
              last);
        taken[number] = true;
        last = number;
        count++;
        message_free(message);
    }
    return count;
}

/* Takes so many of them in whatever order: what is handed over comes when it can. */
static void take_any(struct client *client, bool *taken, unsigned count)
{
    while (count-- > 0) {
        struct message *message = client_next(client);
        unsigned number = number_of(message);
        CHECK(!taken[number], "%s: number %u comes twice", client->name, number);
        taken[number] = true;
        message_free(message);
    }
}

static void check_all(const bool *taken, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        CHECK(taken[i], "number %u has been lost", i);
}

#define EVENTS 1000

/* Takes all that has been queued for the client by now. */
static unsigned drain_large(struct client *client, bool *taken)
{
    client_send(client, "{'type':'call','id':7,'to':'bus','method':'Ping'}");
    return take_large(client, taken, EVENTS);
}

static void test_slow_member(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *p = session_connect(session, "P");
    bool taken[EVENTS] = {false};
    unsigned of_b = 0, batch = 0;

    /* B reads, A does not. */
    group_join(a, "job", "g", 1);
    group_join(b, "job", "g", 1);
    for (unsigned i = 0; i < EVENTS - 20; i += 20) {
        publish_large(p, i, 20);
        client_ask(p, "Ping", "{}", "{}");
        batch = drain_large(b, taken);
        of_b += batch;
        if (i == 0)
            assert_int_equal(batch, 10);
    }
    assert_int_equal(batch, 20);
    assert_in_range(of_b, EVENTS - 20 - 200, EVENTS - 20 - 50);
    assert_int_equal(drain_large(a, taken), EVENTS - 20 - of_b);
    check_all(taken, EVENTS - 20);
    /* A has caught up. */
    publish_large(p, EVENTS - 20, 20);
    client_ask(p, "Ping", "{}", "{}");
    assert_int_equal(drain_large(a, taken), 10);
    assert_int_equal(drain_large(b, taken), 10);
    check_all(taken, EVENTS);
}

/* When nobody has room an event is lost once, and one member is told. */
static void test_all_are_full(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *p = session_connect(session, "P");
    unsigned received = 0, dropped = 0, lost = 0;

    group_join(a, "job", "g", 1);
    group_join(b, "job", "g", 1);
    publish_large(p, 0, EVENTS - 1);
    client_ask(p, "Ping", "{}", "{}");
    json_t *stats = client_ask_json(p, "Stats", "{}");
    dropped = (unsigned)json_integer_value(
        json_object_get(json_object_get(stats, "messages"), "dropped"));
    json_decref(stats);
    assert_in_range(dropped, 10, EVENTS - 100);
    client_send(p, "{'type':'event','id':1,'topic':'job','body':'%.*s'}", BODY_SIZE,
                "0123456789012345678901234567890123456789");
    client_expect(p, "{'sender':'bus','type':'reply','id':1,"
                     "'body':{'matched':1,'queued':0,'dropped':1}}");
    dropped++;
    struct client *const members[] = {a, b};
    for (unsigned i = 0; i < 2; i++) {
        for (;;) {
            struct message *message = client_next(members[i]);
            assert_non_null(message);
            json_t *body = json_object_get(message->json, "body");
            bool notice = json_is_object(body);
            if (notice)
                lost += (unsigned)json_integer_value(json_object_get(body, "lost"));
            else
                received++;
            message_free(message);
            if (notice)
                break;
        }
    }
    assert_int_equal(lost, dropped);
    assert_int_equal(received + lost, EVENTS);
}

/* ------------------------------------------------------- members that go */

static void expect_handed_over(struct client *client, unsigned count, unsigned dropped)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(client->session,
                               "{'groups':{'count':'*','handed_over':%u,'dropped':%u},'...':0}",
                               count, dropped);
    client_ask(client, "Stats", "{}", body);
}

/* One that reads no more: what is in its socket is its own, the rest is another's. */
static void test_deaf_member(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *p = session_connect(session, "P");
    bool taken[EVENTS] = {false};

    group_join(a, "job", "g", 1);
    group_join(b, "job", "g", 1);
    publish_large(p, 0, 600);
    client_ask(p, "Ping", "{}", "{}");
    assert_int_equal(shutdown(a->fd, SHUT_RD), 0);
    publish_large(p, 600, EVENTS - 600);
    client_ask(p, "Ping", "{}", "{}");
    unsigned of_a = take_large(a, taken, EVENTS);
    assert_in_range(of_a, 1, 299);
    client_close(a);
    take_any(b, taken, EVENTS - of_a);
    check_all(taken, EVENTS);
}

static void test_death(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *p = session_connect(session, "P");
    bool taken[EVENTS] = {false};

    group_join(a, "job", "g", 1);
    group_join(b, "job", "g", 1);
    publish_large(p, 0, 600);
    client_ask(p, "Ping", "{}", "{}");
    assert_int_equal(take_large(b, taken, 300), 300);
    client_close(a);
    session_wait_for_connections(session, p, 2);
    json_t *stats = client_ask_json(p, "Stats", "{}");
    unsigned given = (unsigned)json_integer_value(
        json_object_get(json_object_get(stats, "groups"), "handed_over"));
    json_decref(stats);
    /* Its socket holds some, and no less than that. */
    assert_in_range(given, 100, 299);
    assert_int_equal(take_large(b, taken, given), given);
    /* The last ones of A's were not written, so they are all there. */
    unsigned i = 600;
    while (i > 0 && taken[i - 1])
        i--;
    assert_int_equal((i + 1) / 2 + given, 300);
}

/* One that is cut: what it is told of that comes right behind what it has been written. */
static void test_cut_member(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *p = session_connect(session, "P");
    bool taken[600] = {false};

    group_join(a, "job", "g", 1);
    group_join(b, "job", "g", 1);
    publish_large(p, 0, 600);
    client_ask(p, "Ping", "{}", "{}");
    for (unsigned i = 0; i < 16; i++)
        client_send(a, "no JSON");
    session_wait_for_connections(session, p, 2);
    unsigned of_b = 0;
    while (of_b < 300)
        of_b += take_large(b, taken, 300);
    unsigned of_a = 0;
    for (;;) {
        struct message *message = client_next(a);
        if (!message)
            break;
        if (json_object_get(message->json, "n")) {
            CHECK(!taken[number_of(message)], "number %u comes twice", number_of(message));
            taken[number_of(message)] = true;
            of_a++;
        }
        message_free(message);
    }
    client_close(a);
    assert_int_equal(take_large(b, taken, 300 - of_a), 300 - of_a);
    check_all(taken, 600);
}

static void wait_for_subscriptions(struct client *asker, size_t count)
{
    size_t now;

    do {
        json_t *stats = client_ask_json(asker, "Stats", "{}");
        now = (size_t)json_integer_value(json_object_get(stats, "subscriptions"));
        json_decref(stats);
    } while (now != count);
}

/* What has been queued before it has unsubscribed is its own, until it goes; and if then
 * nobody is left it is nobody's. */
static void test_last_member(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *p = session_connect(session, "P");
    bool taken[EVENTS] = {false};

    group_join(a, "job", "g", 1);
    publish_large(p, 0, 300);
    client_ask(p, "Ping", "{}", "{}");
    client_send(a, "{'type':'call','to':'bus','method':'Unsubscribe','no_reply':true,"
                   "'body':{'subscription':1}}");
    wait_for_subscriptions(p, 0);
    publish_large(p, 300, 10);
    client_ask(p, "Ping", "{}", "{}");
    assert_int_equal(take_large(a, taken, 300), 300);
    check_all(taken, 300);
    /* Nobody is left; and a member that has nothing to do with the topic is none. */
    group_join(a, "job", "g", 2);
    group_join(b, "other", "g", 1);
    publish_large(p, 400, 300);
    client_ask(p, "Ping", "{}", "{}");
    client_close(a);
    session_wait_for_connections(session, p, 2);
    json_t *stats = client_ask_json(p, "Stats", "{}");
    json_t *groups = json_object_get(stats, "groups");
    assert_int_equal(json_integer_value(json_object_get(groups, "handed_over")), 0);
    assert_in_range(json_integer_value(json_object_get(groups, "dropped")), 100, 299);
    json_decref(stats);
}

/* The one who had published has gone, with the name by which its events are filtered. */
static void test_sender_has_gone(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    struct client *p = session_connect(session, "P");
    bool taken[200] = {false};

    client_ask(p, "RequestName", "{'name':'org.example.P'}", "{'state':'owner'}");
    struct client *const members[] = {a, b};
    for (unsigned i = 0; i < 2; i++)
        client_ask(members[i], "Subscribe", "{'topic':'job','group':'g','sender':'org.example.P'}",
                   "{'subscription':1,'retained':0}");
    client_ask(c, "Subscribe", "{'topic':'job','group':'g','sender':'org.example.Q'}",
               "{'subscription':1,'retained':0}");
    publish_large(p, 0, 200);
    client_ask(p, "Ping", "{}", "{}");
    client_close(p);
    session_wait_for_connections(session, c, 3);
    assert_int_equal(shutdown(a->fd, SHUT_RD), 0);
    client_send(a, "{'type':'event','topic':'other'}");
    unsigned of_b = take_large(b, taken, 100);
    client_ask(c, "Ping", "{}", "{}");
    unsigned of_a = take_large(a, taken, 200);
    client_close(a);
    session_wait_for_connections(session, c, 2);
    assert_in_range(of_a, 1, 99);
    of_b += take_large(b, taken, 100 - of_a);
    assert_int_equal(of_a + of_b, 200);
    check_all(taken, 200);
}

/* Events with file descriptors are handed over with them. */
static void test_fds(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *p = session_connect(session, "P");
    int fd[2], got[2];

    group_join(a, "job", "g", 1);
    files_open(fd, 2, 0);
    /* The first lies in A's socket, and so the others wait for its being read. */
    for (unsigned i = 0; i < 5; i++)
        client_send_fds(p, fd, 2, "{'type':'event','topic':'job','fds':2,'body':%u}", i);
    client_ask(p, "Ping", "{}", "{}");
    group_join(b, "job", "g", 1);
    client_close(a);
    for (unsigned i = 1; i < 5; i++) {
        client_expect_fds(b, got, 2,
                          "{'sender':'$P','group':'g','type':'event','topic':'job','body':%u}", i);
        files_close(got, 2);
    }
    files_close(fd, 2);
    session_wait_for_connections(session, p, 2);
    expect_handed_over(p, 4, 0);
    session_expect_fds(session, 2);
}

/* Who may not have them any more, by a new policy: what it has not been written goes to one
 * who may. */
static void test_revoked(struct session *session)
{
    struct client *g = session_connect_as(session, "G", "guest", NULL);
    struct client *b = session_connect(session, "B");
    struct client *p = session_connect(session, "P");
    bool taken[EVENTS] = {false};

    group_join(g, "job", "g", 1);
    publish_large(p, 0, 300);
    client_ask(p, "Ping", "{}", "{}");
    group_join(b, "job", "g", 1);
    policy_reload(p, POLICY("{'deny':'subscribe','topic':'job'," GUEST "},{'allow':'*'}"));
    publish_large(p, 300, 20);
    /* What it was not written is handed over by and by. */
    unsigned of_g = drain_large(g, taken);
    assert_in_range(of_g, 1, 200);
    take_any(b, taken, 320 - of_g);
    check_all(taken, 320);
}

#define LIMITS BUSD_ARGS("--limit", "queue_soft_bytes=65536", "--limit", "queue_bytes=786432")
#define TRANSCRIPT_LIMITED(function)                                                               \
    {                                                                                              \
        .name = #function, .run = function, .args = LIMITS, .plain_only = true                     \
    }

static const struct transcript transcripts[] = {
    TRANSCRIPT_LIMITED(test_slow_member),
    TRANSCRIPT_LIMITED(test_all_are_full),
    TRANSCRIPT_PLAIN(test_deaf_member),
    TRANSCRIPT_PLAIN(test_death),
    TRANSCRIPT_PLAIN(test_cut_member),
    TRANSCRIPT_PLAIN(test_last_member),
    TRANSCRIPT_PLAIN(test_sender_has_gone),
    TRANSCRIPT_PLAIN(test_fds),
    {.name = "test_revoked",
     .run = test_revoked,
     .config = POLICY("{'allow':'*'}"),
     .plain_only = true},
};

int main(void)
{
    return TRANSCRIPTS_RUN("groups-handover", transcripts);
}
