/* SPDX-License-Identifier: MIT */
/*
 * Names with several owners: how they come to share one, who gets which call, and
 * what of an owner holds for each of them.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/support/policy.h"
#include "tests/support/transcript.h"

#define NAME "org.example.Name"

static void request(struct client *client, const char *options, const char *state)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(client->session, "{'name':'" NAME "'%s}", options);
    CLEANUP(cleanup_free) char *expected = client_expand(client->session, "{'state':'%s'}", state);

    client_ask(client, "RequestName", body, expected);
}

static void share(struct client *client)
{
    request(client, ",'shared':true", "shared");
}

static void refuse(struct client *client, const char *options)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(client->session, "{'name':'" NAME "'%s}", options);

    client_ask_error(client, "RequestName", body, "bus.NameTaken");
}

static void expect_name(struct client *client, const char *rest)
{
    CLEANUP(cleanup_free)
    char *expected = client_expand(client->session, "{'name':'" NAME "',%s}", rest);

    client_ask(client, "GetName", "{'name':'" NAME "'}", expected);
}

static void expect_change(struct client *client, const char *body)
{
    client_expect(client, "{'sender':'bus','type':'event','topic':'bus.name." NAME "','body':%s}",
                  body);
}

static void watch(struct client *client)
{
    client_ask(client, "Subscribe", "{'topic':'bus.name." NAME "'}",
               "{'subscription':1,'retained':0}");
}

/* A call of the caller's comes to this owner, who answers it. */
static void exchange(struct client *caller, const char *to, struct client *owner)
{
    static unsigned id = 100;

    id++;
    client_send(caller, "{'type':'call','id':%u,'to':'%s','method':'M'}", id, to);
    client_expect(owner, "{'sender':'%s','type':'call','id':%u,'to':'%s','method':'M'}",
                  caller->unique, id, to);
    client_send(owner, "{'type':'reply','to':'%s','id':%u}", caller->unique, id);
    client_expect(caller, "{'sender':'%s','type':'reply','to':'%s','id':%u}", owner->unique,
                  caller->unique, id);
}

/* ------------------------------------------------------------- who owns it */

static void test_coming_and_going(struct session *session)
{
    struct client *w = session_connect(session, "W");
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    watch(w);
    share(a);
    expect_name(c, "'owner':'$A','owners':['$A'],'shared':true,'queue':[]");
    share(b);
    share(b);
    share(c);
    expect_name(c, "'owner':'$A','owners':['$A','$B','$C'],'shared':true,'queue':[]");
    client_ask(b, "ReleaseName", "{'name':'" NAME "'}", "{}");
    client_ask_error(b, "ReleaseName", "{'name':'" NAME "'}", "bus.NotOwner");
    client_close(a);
    expect_change(w, "{'owner':'$A','owners':['$A']}");
    expect_change(w, "{'owner':'$A','owners':['$A','$B']}");
    expect_change(w, "{'owner':'$A','owners':['$A','$B','$C']}");
    expect_change(w, "{'owner':'$A','owners':['$A','$C']}");
    expect_change(w, "{'owner':'$C','owners':['$C'],'old':'$A'}");
    /* Who comes to know later learns the same. */
    client_ask(b, "Subscribe", "{'topic':'bus.name.#'}", "{'subscription':1,'retained':1}");
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.name." NAME "','retained':true,"
                     "'body':{'owner':'$C','owners':['$C']}}");
    client_ask(b, "ListNames", "{}",
               "{'names':[{'name':'" NAME "','owner':'$C','owners':['$C'],'shared':true,"
               "'queue':[]}],'connections':'*'}");
    client_ask(b, "Stats", "{'name':'" NAME "'}", "{'name':'$C','names':['" NAME "'],'...':0}");
    client_close(c);
    expect_change(w, "null");
    expect_change(b, "null");
}

static void test_alone_or_shared(struct session *session)
{
    struct client *w = session_connect(session, "W");
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    /* An owner that has not asked for company gets none. */
    watch(w);
    request(a, ",'allow_replacement':true", "owner");
    expect_change(w, "{'owner':'$A'}");
    refuse(b, ",'shared':true");
    request(b, ",'shared':true,'queue':true", "queued");
    expect_name(w, "'owner':'$A','queue':['$B']");
    request(c, ",'queue':true", "queued");
    /* It changes its mind: who waits for a share has it. */
    request(a, ",'shared':true", "shared");
    expect_change(w, "{'owner':'$A','owners':['$A','$B']}");
    expect_name(w, "'owner':'$A','owners':['$A','$B'],'shared':true,'queue':['$C']");
    /* Nobody is replaced, or pushed out by one of the owners. */
    refuse(c, ",'replace':true");
    refuse(a, "");
    refuse(a, ",'queue':true");
    request(c, ",'queue':true", "queued");
    client_ask(b, "ReleaseName", "{'name':'" NAME "'}", "{}");
    expect_change(w, "{'owner':'$A','owners':['$A']}");
    /* The only one may have it for itself again. */
    request(a, "", "owner");
    expect_change(w, "{'owner':'$A'}");
    refuse(b, ",'shared':true");
    client_close(a);
    expect_change(w, "{'owner':'$C','old':'$A'}");
    expect_name(w, "'owner':'$C','queue':[]");
}

/* ------------------------------------------------------------ who gets what */

static void test_turns(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    struct client *d = session_connect(session, "D");

    share(a);
    share(b);
    share(c);
    for (unsigned round = 0; round < 3; round++) {
        exchange(d, NAME, a);
        exchange(d, NAME, b);
        exchange(d, NAME, c);
    }
    /* By its own name each is to be had as ever. */
    exchange(d, b->unique, b);
    exchange(d, NAME, a);
    /* One goes whose turn it is, one comes. */
    client_ask(b, "ReleaseName", "{'name':'" NAME "'}", "{}");
    exchange(d, NAME, c);
    share(b);
    exchange(d, NAME, a);
    exchange(d, NAME, c);
    exchange(d, NAME, b);
    /* An owner calls the name: its turn comes like another's. */
    exchange(b, NAME, a);
    /* Events for the name take turns, too. */
    client_send(d, "{'type':'event','topic':'t','to':'" NAME "'}");
    client_expect(c, "{'sender':'$D','type':'event','topic':'t','to':'" NAME "'}");
    client_send(d, "{'type':'event','topic':'t','to':'" NAME "'}");
    client_expect(b, "{'sender':'$D','type':'event','topic':'t','to':'" NAME "'}");
}

/* Calls without answer go round with the others; a call stays with its callee. */
static void test_death(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *d = session_connect(session, "D");

    share(a);
    share(b);
    client_send(d, "{'type':'call','id':1,'to':'" NAME "','method':'M'}");
    client_send(d, "{'type':'call','id':2,'to':'" NAME "','method':'M'}");
    client_send(d, "{'type':'call','no_reply':true,'to':'" NAME "','method':'M'}");
    client_expect(a, "{'sender':'$D','type':'call','id':1,'to':'" NAME "','method':'M'}");
    client_expect(b, "{'sender':'$D','type':'call','id':2,'to':'" NAME "','method':'M'}");
    client_expect(a, "{'sender':'$D','type':'call','no_reply':true,'to':'" NAME "','method':'M'}");
    /* The other owner cannot answer for it, nor is its death the other's. */
    client_send(b, "{'type':'reply','to':'$D','id':1}");
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'$D','id':1}");
    client_close(a);
    client_expect_error(d, 1, "bus.NoReply");
    client_send(b, "{'type':'reply','to':'$D','id':2}");
    client_expect(d, "{'sender':'$B','type':'reply','to':'$D','id':2}");
    exchange(d, NAME, b);
    exchange(d, NAME, b);
    client_close(b);
    session_wait_for_connections(session, d, 1);
    client_send(d, "{'type':'call','id':3,'to':'" NAME "','method':'M'}");
    client_expect_error(d, 3, "bus.NameUnknown");
}

/* --------------------------------------------- what holds for each of them */

static void expect_guarded(struct client *client, const char *topic)
{
    client_send(client, "{'type':'event','topic':'%s'}", topic);
    client_expect_complaint(client, "bus.AccessDenied", "{'type':'event','topic':'%s'}", topic);
}

static void test_guard(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    struct client *s = session_connect(session, "S");

    client_ask(s, "Subscribe", "{'topic':'" NAME ".#'}", "{'subscription':1,'retained':0}");
    share(a);
    share(b);
    for (unsigned round = 0; round < 2; round++) {
        client_send(a, "{'type':'event','topic':'" NAME ".x'}");
        client_expect(s, "{'sender':'$A','type':'event','topic':'" NAME ".x'}");
        client_send(b, "{'type':'event','topic':'" NAME ".x'}");
        client_expect(s, "{'sender':'$B','type':'event','topic':'" NAME ".x'}");
        expect_guarded(c, NAME ".x");
    }
    /* Below another name both are needed: one that is shared, … */
    client_ask(c, "RequestName", "{'name':'" NAME ".Sub','shared':true}", "{'state':'shared'}");
    client_ask(b, "RequestName", "{'name':'" NAME ".Sub','shared':true}", "{'state':'shared'}");
    expect_guarded(a, NAME ".Sub.x");
    expect_guarded(c, NAME ".Sub.x");
    client_send(b, "{'type':'event','topic':'" NAME ".Sub.x'}");
    client_expect(s, "{'sender':'$B','type':'event','topic':'" NAME ".Sub.x'}");
    /* … or one that is not. */
    client_ask(a, "RequestName", "{'name':'" NAME ".Own'}", "{'state':'owner'}");
    client_ask(c, "RequestName", "{'name':'" NAME ".Foreign'}", "{'state':'owner'}");
    client_send(a, "{'type':'event','topic':'" NAME ".Own.x'}");
    client_expect(s, "{'sender':'$A','type':'event','topic':'" NAME ".Own.x'}");
    expect_guarded(b, NAME ".Own.x");
    expect_guarded(a, NAME ".Foreign.x");
    expect_guarded(c, NAME ".Foreign.x");
    /* Who has given its share back is no owner any more; nor does a share last. */
    client_ask(b, "ReleaseName", "{'name':'" NAME "'}", "{}");
    expect_guarded(b, NAME ".x");
    client_close(a);
    session_wait_for_connections(session, c, 3);
    client_send(b, "{'type':'event','topic':'" NAME ".x'}");
    client_expect(s, "{'sender':'$B','type':'event','topic':'" NAME ".x'}");
}

static void test_filters(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    struct client *s = session_connect(session, "S");
    struct client *m = session_connect(session, "M");

    client_ask(s, "Subscribe", "{'topic':'t','sender':'" NAME "'}",
               "{'subscription':1,'retained':0}");
    client_ask(m, "Monitor", "{'from':'" NAME "','type':'event'}", "{}");
    client_ask(m, "Monitor", "{'to':'" NAME "','type':'call'}", "{}");
    share(a);
    share(b);
    client_send(a, "{'type':'event','topic':'t'}");
    client_send(c, "{'type':'event','topic':'t'}");
    client_expect(s, "{'sender':'$A','type':'event','topic':'t'}");
    client_expect(m, "{'sender':'bus','type':'event','topic':'bus.monitor','body':"
                     "{'from':'$A','to':['$S'],'...':0}}");
    client_send(b, "{'type':'event','topic':'t'}");
    client_expect(s, "{'sender':'$B','type':'event','topic':'t'}");
    client_expect(m, "{'sender':'bus','type':'event','topic':'bus.monitor','body':"
                     "{'from':'$B','to':['$S'],'...':0}}");
    exchange(c, b->unique, b);
    client_expect(m, "{'sender':'bus','type':'event','topic':'bus.monitor','body':"
                     "{'from':'$C','to':['$B'],'...':0}}");
}

/* Rules about names mean each owner; and a call is not sent to the owner that it may
 * not be sent to while there is another one. */
static void test_policy(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    share(a);
    share(b);
    client_ask(a, "RequestName", "{'name':'org.example.Admin'}", "{'state':'owner'}");
    exchange(g, NAME, b);
    exchange(g, NAME, b);
    client_send(g, "{'type':'call','id':1,'to':'$A','method':'M'}");
    policy_expect_denied(g, 1, "you may not call '$A' (DIR/config.json, rule 1)");
    exchange(a, NAME, a);
    exchange(a, NAME, b);
    client_send(b, "{'type':'event','topic':'of.owners'}");
    client_send(a, "{'type':'event','topic':'of.owners'}");
    client_ask(b, "ReleaseName", "{'name':'" NAME "'}", "{}");
    client_send(b, "{'type':'event','topic':'of.owners'}");
    client_expect_complaint(b, "bus.AccessDenied", "{'type':'event','topic':'of.owners'}");
    /* The only one left may not be called. */
    client_send(g, "{'type':'call','id':2,'to':'" NAME "','method':'M'}");
    policy_expect_denied(g, 2, "you may not call '" NAME "' (DIR/config.json, rule 1)");
    client_ask_error(g, "RequestName", "{'name':'" NAME "','shared':true}", "bus.AccessDenied");
}

#define RULES                                                                                      \
    POLICY("{'deny':'call'," GUEST ",'to':'org.example.Admin'},{'deny':'own'," GUEST "},"          \
           "{'allow':'publish','topic':'of.owners','sender':'" NAME "'},"                          \
           "{'deny':'publish','topic':'of.owners'},{'allow':'*'}")

/* Whoever leaves much unread is passed over, until all of them do. */
static void test_slow_owner(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *d = session_connect(session, "D");
    CLEANUP(cleanup_free) char *body = malloc(10001);
    unsigned before_b = 0;

    memset(body, 'x', 10000);
    body[10000] = '\0';
    share(a);
    share(b);
    /* A does not read: the socket takes some, then its queue grows. */
    for (unsigned i = 0; i < 400; i++) {
        client_send(d, "{'type':'call','no_reply':true,'to':'$A','method':'M','body':'%s'}", body);
    }
    client_ask(d, "Ping", "{}", "{}");
    for (unsigned i = 0; i < 20; i++) {
        client_send(d, "{'type':'call','no_reply':true,'to':'" NAME "','method':'N'}");
        client_expect(b,
                      "{'sender':'$D','type':'call','no_reply':true,'to':'" NAME "','method':'N'}");
        before_b++;
    }
    assert_int_equal(before_b, 20);
    for (unsigned i = 0; i < 400; i++)
        message_free(client_next(a));
    /* It has caught up: it takes turns again. */
    session_settle(session);
    client_send(d, "{'type':'call','no_reply':true,'to':'" NAME "','method':'N'}");
    client_send(d, "{'type':'call','no_reply':true,'to':'" NAME "','method':'N'}");
    client_expect(a, "{'sender':'$D','type':'call','no_reply':true,'to':'" NAME "','method':'N'}");
    client_expect(b, "{'sender':'$D','type':'call','no_reply':true,'to':'" NAME "','method':'N'}");
}

static const struct transcript transcripts[] = {
    TRANSCRIPT(test_coming_and_going),
    TRANSCRIPT(test_alone_or_shared),
    TRANSCRIPT(test_turns),
    TRANSCRIPT(test_death),
    TRANSCRIPT(test_guard),
    TRANSCRIPT(test_filters),
    TRANSCRIPT_CONFIGURED(test_policy, RULES),
    {.name = "test_slow_owner",
     .run = test_slow_owner,
     .args = BUSD_ARGS("--limit", "queue_soft_bytes=1048576"),
     .plain_only = true},
};

int main(void)
{
    return TRANSCRIPTS_RUN("shared-names", transcripts);
}
