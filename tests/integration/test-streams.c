/* SPDX-License-Identifier: MIT */
/*
 * Calls with several replies: items in their order, one final answer, an end for both
 * sides whoever ends it, and a callee that is held up when the caller does not read.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/files.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"

#define NAME "org.example.Service"

/* Each item with this much beside its number. */
#define PADDING 1000

/* B serves NAME. */
static struct client *connect_service(struct session *session)
{
    struct client *b = session_connect(session, "B");

    client_ask(b, "RequestName", "{'name':'" NAME "'}", "{'state':'owner'}");
    return b;
}

/* A calls B and wants several replies; `more` is further keys. */
static void call(struct client *a, struct client *b, unsigned id, const char *more)
{
    client_send(a, "{'type':'call','id':%u,'to':'" NAME "','method':'M','more':true%s}", id, more);
    client_expect(b,
                  "{'sender':'$%s','type':'call','id':%u,'to':'" NAME "','method':'M','more':"
                  "true%s}",
                  a->name, id, more);
}

static void send_item(struct client *b, struct client *a, unsigned id, unsigned number)
{
    client_send(b, "{'type':'reply','to':'$%s','id':%u,'more':true,'body':%u}", a->name, id,
                number);
}

static void expect_item(struct client *a, struct client *b, unsigned id, unsigned number)
{
    client_expect(a, "{'sender':'$%s','type':'reply','to':'$%s','id':%u,'more':true,'body':%u}",
                  b->name, a->name, id, number);
}

static void item(struct client *b, struct client *a, unsigned id, unsigned number)
{
    send_item(b, a, id, number);
    expect_item(a, b, id, number);
}

static void final(struct client *b, struct client *a, unsigned id)
{
    client_send(b, "{'type':'reply','to':'$%s','id':%u,'body':'end'}", a->name, id);
    client_expect(a, "{'sender':'$%s','type':'reply','to':'$%s','id':%u,'body':'end'}", b->name,
                  a->name, id);
}

static void expect_cancel(struct client *b, const char *sender, unsigned id, const char *reason)
{
    client_expect(b, "{'sender':'%s','type':'cancel','id':%u,'reason':'%s'}", sender, id, reason);
}

/* The call has ended: nothing of it goes anywhere any more. */
static void expect_over(struct client *b, const char *caller, unsigned id)
{
    client_send(b, "{'type':'reply','to':'%s','id':%u,'more':true}", caller, id);
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'%s','id':%u}", caller, id);
    client_send(b, "{'type':'reply','to':'%s','id':%u}", caller, id);
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'%s','id':%u}", caller, id);
}

static void expect_flow(struct client *b, struct client *a, unsigned id, bool ready)
{
    client_expect(b,
                  "{'sender':'bus','type':'event','topic':'bus.flow','body':{'to':'$%s','id':%u,"
                  "'ready':%s}}",
                  a->name, id, ready ? "true" : "false");
}

#define PONG 999

static struct message *find_pong(struct client *client)
{
    LIST_FOREACH (node, &client->messages) {
        struct message *message = LIST_ENTRY(node, struct message, link);
        if (json_integer_value(json_object_get(message->json, "id")) == PONG)
            return message;
    }
    return NULL;
}

/* Whether anything has come to the client by the time that all it has sent was dealt
 * with; nobody else reads. */
static bool has_news(struct client *client)
{
    struct message *pong;

    client_send(client, "{'type':'call','id':%u,'to':'bus','method':'Ping'}", PONG);
    while (!(pong = find_pong(client)))
        client_read_more(client, "a reply to Ping");
    message_free(pong);
    return client_peek(client);
}

/* --------------------------------------------------------- items and ends */

static void test_items(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    client_send(a, "{'type':'call','id':7,'to':'" NAME "','method':'M','more':true}");
    client_expect_line(b, "{'sender':'$A','type':'call','id':7,'to':'" NAME "','method':'M',"
                          "'more':true}");
    client_send(b, "{'type':'reply','more':true,'to':'$A','id':7,'body':1,'trace':'t'}");
    client_expect_line(a, "{'sender':'$B','type':'reply','more':true,'to':'$A','id':7,'body':1,"
                          "'trace':'t'}");
    for (unsigned i = 0; i < 20; i++)
        send_item(b, a, 7, i);
    for (unsigned i = 0; i < 20; i++)
        expect_item(a, b, 7, i);
    final(b, a, 7);
    expect_over(b, "$A", 7);
    /* The id can be used again. */
    call(a, b, 7, "");
    item(b, a, 7, 1);
    final(b, a, 7);
}

static void test_none_at_all(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1, "");
    final(b, a, 1);
    call(a, b, 2, "");
    client_send(b, "{'type':'reply','to':'$A','id':2,'more':false,'body':1}");
    client_expect(a, "{'sender':'$B','type':'reply','to':'$A','id':2,'more':false,'body':1}");
    expect_over(b, "$A", 2);
}

static void test_error_at_the_end(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1, "");
    item(b, a, 1, 1);
    client_send(b, "{'type':'error','to':'$A','id':1,'error':'org.example.Full'}");
    client_expect(a, "{'sender':'$B','type':'error','to':'$A','id':1,'error':'org.example.Full'}");
    expect_over(b, "$A", 1);
}

/* Several at a time, of several callers, and one to oneself. */
static void test_side_by_side(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *c = session_connect(session, "C");
    struct client *b = connect_service(session);

    call(a, b, 1, "");
    call(a, b, 2, "");
    call(c, b, 1, "");
    call(b, b, 1, "");
    for (unsigned i = 0; i < 10; i++) {
        item(b, a, 1, i);
        item(b, c, 1, 100 + i);
        item(b, a, 2, 200 + i);
        item(b, b, 1, 300 + i);
    }
    final(b, a, 2);
    item(b, a, 1, 10);
    final(b, b, 1);
    final(b, c, 1);
    final(b, a, 1);
}

static void test_not_asked_for(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    client_send(a, "{'type':'call','id':1,'to':'" NAME "','method':'M'}");
    client_expect(b, "{'sender':'$A','type':'call','id':1,'to':'" NAME "','method':'M'}");
    send_item(b, a, 1, 1);
    client_expect_complaint(b, "bus.InvalidMessage", "{'type':'reply','to':'$A','id':1}");
    client_expect_nothing(a);
    /* It is still to be answered. */
    final(b, a, 1);

    client_send(a, "{'type':'call','id':1,'to':'" NAME "','method':'M','more':true,'no_reply':"
                   "true}");
    client_expect_complaint(a, "bus.InvalidMessage", "{'type':'call','to':'" NAME "','id':1}");
    client_expect_nothing(b);
}

/* The bus has one answer to everything. */
static void test_of_the_bus(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_send(a, "{'type':'call','id':1,'to':'bus','method':'Ping','more':true}");
    client_expect(a, "{'sender':'bus','type':'reply','id':1,'body':{}}");
    client_send(a, "{'type':'call','id':1,'to':'org.example.Nobody','method':'M','more':true}");
    client_expect_error(a, 1, "bus.NameUnknown");
}

static void test_nobody_else(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);
    struct client *c = session_connect(session, "C");

    call(a, b, 1, "");
    expect_over(c, "$A", 1);
    expect_over(a, "$A", 1);
    item(b, a, 1, 1);
    expect_over(c, "$A", 1);
    final(b, a, 1);
}

static void test_cancel(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    for (unsigned items = 0; items < 3; items++) {
        call(a, b, 1, "");
        for (unsigned i = 0; i < items; i++)
            item(b, a, 1, i);
        client_send(a, "{'type':'cancel','to':'" NAME "','id':1}");
        expect_cancel(b, "$A", 1, "cancelled");
        client_expect_error(a, 1, "bus.Cancelled");
        expect_over(b, "$A", 1);
        client_expect_nothing(a);
    }
}

static void test_caller_dies(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1, "");
    item(b, a, 1, 1);
    send_item(b, a, 1, 2);
    assert_false(has_news(b));
    client_close(a);
    expect_cancel(b, ":1", 1, "disconnected");
    expect_over(b, ":1", 1);
}

static void test_callee_dies(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1, "");
    item(b, a, 1, 1);
    send_item(b, a, 1, 2);
    client_close(b);
    client_expect(a, "{'sender':':2','type':'reply','to':'$A','id':1,'more':true,'body':2}");
    client_expect_error(a, 1, "bus.NoReply");
}

/* It is counted from the last item. */
static void test_deadline(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1, ",'timeout':400");
    for (unsigned i = 0; i < 5; i++) {
        usleep(150000);
        item(b, a, 1, i);
    }
    uint64_t last = process_now();
    client_expect_error(a, 1, "bus.Timeout");
    assert_in_range(process_now() - last, 350, 5000);
    expect_cancel(b, "$A", 1, "timeout");
    expect_over(b, "$A", 1);
    /* Without any. */
    call(a, b, 1, ",'timeout':50");
    client_expect_error(a, 1, "bus.Timeout");
    expect_cancel(b, "$A", 1, "timeout");
}

/* ------------------------------------------------------- file descriptors */

static void send_fds(struct client *b, unsigned count, unsigned number)
{
    int fd[20];

    files_open(fd, count, number);
    client_send_fds(b, fd, count,
                    "{'type':'reply','to':'$A','id':1,'more':true,'fds':%u,'body':%u}", count,
                    number);
    files_close(fd, count);
}

static void expect_fds(struct client *a, unsigned count, unsigned number)
{
    int fd[20];

    client_expect_fds(a, fd, count,
                      "{'sender':'$B','type':'reply','to':'$A','id':1,'more':true,'body':%u}",
                      number);
    files_expect(fd, count, number);
}

static void test_fds(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1, "");
    for (unsigned i = 1; i < 10; i++) {
        send_fds(b, i, 10 * i);
        send_item(b, a, 1, i);
        expect_fds(a, i, 10 * i);
        expect_item(a, b, 1, i);
    }
    /* Unread for a while. */
    for (unsigned i = 1; i < 10; i++)
        send_fds(b, 1, i);
    assert_false(has_news(b));
    for (unsigned i = 1; i < 10; i++)
        expect_fds(a, 1, i);
    final(b, a, 1);
    session_expect_fds(session, 2);
}

/* An item whose fds cannot be taken is lost, and nothing may be lost unsaid. */
static void test_too_many_fds(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1, "");
    send_fds(b, 2, 1);
    expect_fds(a, 2, 1);
    send_fds(b, 9, 1);
    client_expect_complaint(b, "bus.LimitExceeded", "{'type':'reply','to':'$A','id':1}");
    expect_cancel(b, "$A", 1, "limit");
    client_expect_error(a, 1, "bus.LimitExceeded");
    expect_over(b, "$A", 1);

    /* To a call that asks for no items this is none of its answers. */
    client_send(a, "{'type':'call','id':1,'to':'" NAME "','method':'M'}");
    client_expect(b, "{'sender':'$A','type':'call','id':1,'to':'" NAME "','method':'M'}");
    send_fds(b, 9, 1);
    client_expect_complaint(b, "bus.LimitExceeded", "{'type':'reply','to':'$A','id':1}");
    final(b, a, 1);
    session_expect_fds(session, 2);
}

/* Beyond half of what may be queued the callee is told to wait. */
static void test_unread_fds(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);
    unsigned sent = 0;

    call(a, b, 1, "");
    do {
        send_fds(b, 1, ++sent);
        CHECK(sent < 20, "B is not told that A does not read");
    } while (!has_news(b));
    expect_flow(b, a, 1, false);
    for (unsigned i = 1; i <= sent; i++)
        expect_fds(a, 1, i);
    expect_flow(b, a, 1, true);
    /* And one that goes on regardless loses the call. */
    for (unsigned i = 1; i <= 20; i++)
        send_fds(b, 1, i);
    expect_flow(b, a, 1, false);
    expect_cancel(b, "$A", 1, "limit");
    struct message *message;
    unsigned got = 0;
    while (message = client_next(a), message->count == 1) {
        files_expect(message->fd, 1, ++got);
        message->count = 0;
        message_free(message);
    }
    assert_non_null(strstr(message->line, "bus.LimitExceeded"));
    message_free(message);
    assert_in_range(got, 8, 19);
    for (unsigned i = got + 2; i <= 20; i++)
        client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'$A','id':1}");
    session_expect_fds(session, 2);
}

/* ----------------------------------------------------------- flow control */

static void send_padded(struct client *b, unsigned id, unsigned number)
{
    client_send(b, "{'type':'reply','to':'$A','id':%u,'more':true,'body':{'n':%u,'x':'%0*d'}}", id,
                number, PADDING, 0);
}

static void expect_padded(struct client *a, unsigned id, unsigned number)
{
    client_expect(a,
                  "{'sender':'$B','type':'reply','to':'$A','id':%u,'more':true,'body':{'n':%u,"
                  "'x':'*'}}",
                  id, number);
}

/* B sends items until it is told that A does not read. The number of items. */
static unsigned send_until_behind(struct client *b, unsigned id)
{
    unsigned sent = 0;

    do {
        send_padded(b, id, sent++);
        CHECK(sent < 5000, "B is not told that A does not read");
    } while (!has_news(b));
    return sent;
}

static void test_flow(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1, "");
    call(a, b, 2, "");
    for (unsigned round = 0; round < 3; round++) {
        unsigned sent = send_until_behind(b, 1);
        expect_flow(b, a, 1, false);
        /* What had been sent before it was read is taken, and said once is enough. */
        for (unsigned i = 0; i < 20; i++)
            send_padded(b, 1, sent++);
        assert_false(has_news(b));
        /* Each call hears of it when it is concerned. */
        send_padded(b, 2, 7);
        expect_flow(b, a, 2, false);
        for (unsigned i = 0; i < sent; i++)
            expect_padded(a, 1, i);
        expect_padded(a, 2, 7);
        expect_flow(b, a, 1, true);
        expect_flow(b, a, 2, true);
    }
    final(b, a, 1);
    final(b, a, 2);
}

/* A call that ends while it is held up: nothing more is said about it. */
static void test_ends_behind(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1, "");
    unsigned sent = send_until_behind(b, 1);
    expect_flow(b, a, 1, false);
    client_send(b, "{'type':'reply','to':'$A','id':1,'body':'end'}");
    for (unsigned i = 0; i < sent; i++)
        expect_padded(a, 1, i);
    client_expect(a, "{'sender':'$B','type':'reply','to':'$A','id':1,'body':'end'}");
    session_expect_nothing(session);

    call(a, b, 1, "");
    send_until_behind(b, 1);
    expect_flow(b, a, 1, false);
    client_close(a);
    expect_cancel(b, ":1", 1, "disconnected");
    client_expect_nothing(b);
}

/* Who does not heed it loses the call, and nobody loses more. */
static void test_too_much(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);
    unsigned sent = 0, got = 0;
    struct message *message;

    call(a, b, 1, "");
    call(a, b, 2, "");
    sent = send_until_behind(b, 1);
    expect_flow(b, a, 1, false);
    while (!has_news(b)) {
        send_padded(b, 1, sent++);
        CHECK(sent < 5000, "there is no end to what A leaves unread");
    }
    expect_cancel(b, "$A", 1, "limit");
    expect_over(b, "$A", 1);
    while (message = client_next(a), strstr(message->line, "\"more\":true")) {
        json_t *number = json_object_get(json_object_get(message->json, "body"), "n");
        assert_int_equal(json_integer_value(number), got++);
        message_free(message);
    }
    assert_int_equal(got, sent - 1);
    assert_non_null(strstr(message->line, "bus.LimitExceeded"));
    assert_int_equal(json_integer_value(json_object_get(message->json, "id")), 1);
    message_free(message);
    item(b, a, 2, 1);
    final(b, a, 2);
}

/* While the caller is behind, it is not the callee who is late; and the caller may take as
 * long as it likes, because nobody else waits for it. */
static void test_patience(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);

    call(a, b, 1, ",'timeout':300");
    unsigned sent = send_until_behind(b, 1);
    expect_flow(b, a, 1, false);
    usleep(900000);
    assert_false(has_news(b));
    for (unsigned i = 0; i < sent; i++)
        expect_padded(a, 1, i);
    expect_flow(b, a, 1, true);
    uint64_t start = process_now();
    client_expect_error(a, 1, "bus.Timeout");
    assert_in_range(process_now() - start, 250, 5000);
    expect_cancel(b, "$A", 1, "timeout");
}

/* It is for the one concerned only: others can see it if they may see everything. */
static void test_private(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);
    struct client *c = session_connect(session, "C");
    struct client *d = session_connect(session, "D");

    client_ask(c, "Subscribe", "{'topic':'bus.#'}", "{'subscription':1,'retained':5}");
    client_ask(d, "Monitor", "{'topic':'bus.flow'}", "{}");
    for (unsigned i = 0; i < 5; i++)
        message_free(client_next(c));
    client_send(c, "{'type':'event','topic':'bus.flow','to':'$B','body':{'to':'$A','id':1,'ready':"
                   "false}}");
    client_expect_complaint(c, "bus.AccessDenied", "{'type':'event','to':'$B','topic':'bus.flow'}");
    call(a, b, 1, "");
    unsigned sent = send_until_behind(b, 1);
    expect_flow(b, a, 1, false);
    client_expect_nothing(c);
    struct message *message = client_next(d);
    assert_non_null(strstr(message->line, "\"to\":[\""
                                          ":2"
                                          "\"]"));
    assert_non_null(strstr(message->line, "\"ready\":false"));
    message_free(message);
    for (unsigned i = 0; i < sent; i++)
        expect_padded(a, 1, i);
    expect_flow(b, a, 1, true);
    message_free(client_next(d));
    final(b, a, 1);
    session_expect_nothing(session);
}

#define SMALL "--limit", "queue_soft_bytes=65536", "--limit", "queue_bytes=1048576"

static const struct transcript transcripts[] = {
    TRANSCRIPT(test_items),
    TRANSCRIPT(test_none_at_all),
    TRANSCRIPT(test_error_at_the_end),
    TRANSCRIPT(test_side_by_side),
    TRANSCRIPT(test_not_asked_for),
    TRANSCRIPT(test_of_the_bus),
    TRANSCRIPT(test_nobody_else),
    TRANSCRIPT(test_cancel),
    TRANSCRIPT(test_caller_dies),
    TRANSCRIPT(test_callee_dies),
    TRANSCRIPT_PLAIN(test_deadline),
    TRANSCRIPT(test_fds),
    {.name = "test_too_many_fds",
     .run = test_too_many_fds,
     .args = BUSD_ARGS("--limit", "fds_per_message=8")},
    {.name = "test_unread_fds",
     .run = test_unread_fds,
     .args = BUSD_ARGS("--limit", "fds_queued=16"),
     .plain_only = true},
    {.name = "test_flow", .run = test_flow, .args = BUSD_ARGS(SMALL), .plain_only = true},
    {.name = "test_ends_behind",
     .run = test_ends_behind,
     .args = BUSD_ARGS(SMALL),
     .plain_only = true},
    {.name = "test_too_much", .run = test_too_much, .args = BUSD_ARGS(SMALL), .plain_only = true},
    {.name = "test_patience",
     .run = test_patience,
     .args = BUSD_ARGS(SMALL, "--limit", "stall_timeout=200"),
     .plain_only = true},
    {.name = "test_private", .run = test_private, .args = BUSD_ARGS(SMALL), .plain_only = true},
};

int main(void)
{
    return TRANSCRIPTS_RUN("streams", transcripts);
}
