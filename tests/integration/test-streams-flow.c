/* SPDX-License-Identifier: MIT */
/*
 * A caller that does not read what it has asked for: whoever streams to it is held up, and
 * loses the call if it does not heed that; nobody loses more.
 */
#include "tests/integration/streams.h"

#include "tests/support/policy.h"

/* Each item with this much beside its number. */
#define PADDING 1000

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

/* Who may not call any more gets no more items: what was on its way, and the word. */
static void test_revoked(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_service(session);
    struct client *c = session_connect(session, "C");

    call(a, b, 1, "");
    unsigned sent = send_until_behind(b, 1);
    policy_reload(c, POLICY("{'deny':'call','to':'" NAME "'},{'allow':'*'}"));
    expect_flow(b, a, 1, false);
    expect_cancel(b, "$A", 1, "cancelled");
    expect_over(b, "$A", 1);
    for (unsigned i = 0; i < sent; i++)
        expect_padded(a, 1, i);
    client_expect_error(a, 1, "bus.AccessDenied");
    session_expect_nothing(session);
}

#define SMALL "--limit", "queue_soft_bytes=65536", "--limit", "queue_bytes=1048576"

static const struct transcript transcripts[] = {
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
    {.name = "test_revoked",
     .run = test_revoked,
     .config = POLICY("{'allow':'*'}"),
     .args = BUSD_ARGS(SMALL),
     .plain_only = true},
};

int main(void)
{
    return TRANSCRIPTS_RUN("streams that are held up", transcripts);
}
