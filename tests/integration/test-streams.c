/* SPDX-License-Identifier: MIT */
/*
 * Calls with several replies: items in their order, one final answer, and an end for both
 * sides whoever ends it.
 */
#include "tests/integration/streams.h"

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
};

int main(void)
{
    return TRANSCRIPTS_RUN("streams", transcripts);
}
