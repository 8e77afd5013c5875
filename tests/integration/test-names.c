/* SPDX-License-Identifier: MIT */
/*
 * Well-known names: who owns them, who waits for them, and how the world is told.
 */
#include <string.h>
#include <unistd.h>

#include "tests/support/transcript.h"

#define NAME "org.example.Name"

static void request(struct client *client, const char *options, const char *expected)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(client->session, "{'name':'" NAME "'%s}", options);

    if (expected[0] == 'b')
        client_ask_error(client, "RequestName", body, expected);
    else
        client_ask(client, "RequestName", body,
                   strcmp(expected, "owner") == 0 ? "{'state':'owner'}" : "{'state':'queued'}");
}

static void release(struct client *client)
{
    client_ask(client, "ReleaseName", "{'name':'" NAME "'}", "{}");
}

static void expect_change(struct client *client, const char *body)
{
    client_expect(client, "{'sender':'bus','type':'event','topic':'bus.name." NAME "','body':%s}",
                  body);
}

static struct client *connect_watcher(struct session *session)
{
    struct client *watcher = session_connect(session, "W");

    client_ask(watcher, "Subscribe", "{'topic':'bus.name." NAME "'}",
               "{'subscription':1,'retained':0}");
    return watcher;
}

static void test_request_release(struct session *session)
{
    struct client *w = connect_watcher(session);
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_ask_error(b, "GetName", "{'name':'" NAME "'}", "bus.NameUnknown");
    request(a, "", "owner");
    client_ask(b, "GetName", "{'name':'" NAME "'}", "{'name':'" NAME "','owner':'$A','queue':[]}");
    request(a, "", "owner");
    request(b, "", "bus.NameTaken");
    client_ask_error(b, "ReleaseName", "{'name':'" NAME "'}", "bus.NotOwner");
    release(a);
    client_ask_error(a, "ReleaseName", "{'name':'" NAME "'}", "bus.NotOwner");
    client_ask_error(b, "GetName", "{'name':'" NAME "'}", "bus.NameUnknown");
    request(b, "", "owner");

    expect_change(w, "{'owner':'$A'}");
    expect_change(w, "null");
    expect_change(w, "{'owner':'$B'}");
}

static void test_queue_order(struct session *session)
{
    struct client *w = connect_watcher(session);
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    struct client *d = session_connect(session, "D");

    request(a, "", "owner");
    request(b, ",'queue':true", "queued");
    request(c, ",'queue':true", "queued");
    request(d, ",'queue':true", "queued");
    client_ask(d, "GetName", "{'name':'" NAME "'}",
               "{'name':'" NAME "','owner':'$A','queue':['$B','$C','$D']}");
    /* Giving up the place: by releasing, and by asking again without `queue`. */
    release(c);
    client_ask(d, "GetName", "{'name':'" NAME "'}",
               "{'name':'" NAME "','owner':'$A','queue':['$B','$D']}");
    release(a);
    release(b);
    client_ask(a, "GetName", "{'name':'" NAME "'}", "{'name':'" NAME "','owner':'$D','queue':[]}");
    expect_change(w, "{'owner':'$A'}");
    expect_change(w, "{'owner':'$B','old':'$A'}");
    expect_change(w, "{'owner':'$D','old':'$B'}");
}

static void test_giving_up_the_queue(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    request(a, "", "owner");
    request(b, ",'queue':true", "queued");
    request(b, "", "bus.NameTaken");
    client_ask(a, "GetName", "{'name':'" NAME "'}", "{'name':'" NAME "','owner':'$A','queue':[]}");
}

static void test_replace(struct session *session)
{
    struct client *w = connect_watcher(session);
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    request(a, "", "owner");
    request(b, ",'replace':true", "bus.NameTaken");
    request(a, ",'allow_replacement':true", "owner");
    request(b, "", "bus.NameTaken");
    request(b, ",'replace':true,'allow_replacement':true,'queue':true", "owner");
    /* A had not asked for the queue. */
    client_ask(c, "GetName", "{'name':'" NAME "'}", "{'name':'" NAME "','owner':'$B','queue':[]}");
    request(c, ",'replace':true", "owner");
    /* B had. */
    client_ask(c, "GetName", "{'name':'" NAME "'}",
               "{'name':'" NAME "','owner':'$C','queue':['$B']}");
    request(a, ",'replace':true", "bus.NameTaken");
    release(c);
    client_ask(a, "GetName", "{'name':'" NAME "'}", "{'name':'" NAME "','owner':'$B','queue':[]}");
    expect_change(w, "{'owner':'$A'}");
    expect_change(w, "{'owner':'$B','old':'$A'}");
    expect_change(w, "{'owner':'$C','old':'$B'}");
    expect_change(w, "{'owner':'$B','old':'$C'}");
}

static void test_disconnect(struct session *session)
{
    struct client *w = session_connect(session, "W");
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    request(a, "", "owner");
    request(b, ",'queue':true", "queued");
    request(c, ",'queue':true", "queued");
    client_close(b);
    session_wait_for_connections(session, w, 3);
    client_ask(w, "GetName", "{'name':'" NAME "'}",
               "{'name':'" NAME "','owner':'$A','queue':['$C']}");
    client_close(a);
    session_wait_for_connections(session, w, 2);
    client_ask(w, "GetName", "{'name':'" NAME "'}", "{'name':'" NAME "','owner':'$C','queue':[]}");
    client_close(c);
    session_wait_for_connections(session, w, 1);
    client_ask_error(w, "GetName", "{'name':'" NAME "'}", "bus.NameUnknown");
}

static void test_disconnect_events(struct session *session)
{
    struct client *w = connect_watcher(session);
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    request(a, "", "owner");
    request(b, ",'queue':true", "queued");
    client_close(a);
    expect_change(w, "{'owner':'$A'}");
    expect_change(w, "{'owner':'$B','old':'$A'}");
    client_close(b);
    expect_change(w, "null");
}

static void test_wrong_names(struct session *session)
{
    struct client *a = session_connect(session, "A");
    static const char *const invalid[] = {"",   "x",  "org",   "a..b",      ".a",  "a.1",
                                          ":1", ":0", "a b.c", "a.\\u00e9", "*.a", "bus"};

    for (size_t i = 0; i < ARRAY_SIZE(invalid); i++) {
        CLEANUP(cleanup_free) char *body = client_expand(session, "{'name':'%s'}", invalid[i]);
        client_ask_error(a, "RequestName", body, "bus.InvalidArguments");
    }
    client_ask_error(a, "RequestName", "{'name':'bus.example'}", "bus.AccessDenied");
}

/* A name may be as long as its topic allows. */
static void test_longest_name(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    char name[248];

    memset(name, 'n', sizeof(name));
    name[1] = '.';
    name[246] = '\0';
    CLEANUP(cleanup_free) char *body = client_expand(session, "{'name':'%s'}", name);
    CLEANUP(cleanup_free)
    char *topic = client_expand(session, "{'topic':'bus.name.%s'}", name);
    client_ask(b, "Subscribe", topic, "{'subscription':1,'retained':0}");
    client_ask(a, "RequestName", body, "{'state':'owner'}");
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.name.%s','body':{'owner':'$A'}}",
                  name);
    name[246] = 'n';
    name[247] = '\0';
    CLEANUP(cleanup_free) char *longer = client_expand(session, "{'name':'%s'}", name);
    client_ask_error(a, "RequestName", longer, "bus.InvalidArguments");
}

/* The event comes before anything that the new owner sends or gets under the name,
 * to whomever it goes. */
static void test_event_comes_first(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    /* A watches its own name: the event, then the reply. */
    client_ask(a, "Subscribe", "{'topic':'bus.name.#'}", "{'subscription':1,'retained':0}");
    client_ask(b, "Subscribe", "{'topic':'bus.name.#'}", "{'subscription':1,'retained':0}");
    client_ask(b, "Subscribe", "{'topic':'" NAME ".#'}", "{'subscription':2,'retained':0}");
    client_send(a, "{'type':'call','id':1,'to':'bus','method':'RequestName',"
                   "'body':{'name':'" NAME "'}}");
    client_send(a, "{'type':'event','topic':'" NAME ".ready'}");
    expect_change(a, "{'owner':'$A'}");
    client_expect(a, "{'sender':'bus','type':'reply','id':1,'body':{'state':'owner'}}");
    expect_change(b, "{'owner':'$A'}");
    client_expect(b, "{'sender':'$A','type':'event','topic':'" NAME ".ready'}");

    client_send(b, "{'type':'call','id':7,'to':'" NAME "','method':'Hello'}");
    client_expect(a, "{'sender':'$B','type':'call','id':7,'to':'" NAME "','method':'Hello'}");
    /* Before the answer to a call, the answering owner's loss of the name. */
    client_send(a, "{'type':'call','id':2,'to':'bus','method':'ReleaseName',"
                   "'body':{'name':'" NAME "'}}");
    client_send(a, "{'type':'reply','to':'$B','id':7}");
    expect_change(a, "null");
    client_expect(a, "{'sender':'bus','type':'reply','id':2,'body':{}}");
    expect_change(b, "null");
    client_expect(b, "{'sender':'$A','type':'reply','to':'$B','id':7}");
}

/* A queued client that becomes the owner because another one leaves learns it before
 * the first call under its name. */
static void test_inherited_name(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    client_ask(b, "Subscribe", "{'topic':'bus.name." NAME "'}", "{'subscription':1,'retained':0}");
    client_ask(c, "Subscribe", "{'topic':'bus.name." NAME "'}", "{'subscription':1,'retained':0}");
    request(a, "", "owner");
    expect_change(b, "{'owner':'$A'}");
    expect_change(c, "{'owner':'$A'}");
    request(b, ",'queue':true", "queued");
    client_close(a);
    expect_change(c, "{'owner':'$B','old':'$A'}");
    client_send(c, "{'type':'call','id':1,'to':'" NAME "','method':'Hello'}");
    expect_change(b, "{'owner':'$B','old':'$A'}");
    client_expect(b, "{'sender':'$C','type':'call','id':1,'to':'" NAME "','method':'Hello'}");
    client_send(b, "{'type':'reply','to':'$C','id':1}");
    client_expect(c, "{'sender':'$B','type':'reply','to':'$C','id':1}");
}

/* What is now comes with the mark, what changes comes without, with no gap between. */
static void test_snapshot(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_ask(a, "RequestName", "{'name':'org.example.One'}", "{'state':'owner'}");
    client_ask(b, "Subscribe", "{'topic':'bus.name.org.example.One'}",
               "{'subscription':1,'retained':1}");
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.name.org.example.One',"
                     "'retained':true,'body':{'owner':'$A'}}");
    client_ask(b, "Subscribe", "{'topic':'bus.name.org.example.Two'}",
               "{'subscription':2,'retained':0}");
    client_ask(a, "RequestName", "{'name':'org.example.Two'}", "{'state':'owner'}");
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.name.org.example.Two',"
                     "'body':{'owner':'$A'}}");
    client_ask(a, "ReleaseName", "{'name':'org.example.One'}", "{}");
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.name.org.example.One',"
                     "'body':null}");
}

static void test_snapshot_of_patterns(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    unsigned seen = 0;

    for (unsigned i = 0; i < 20; i++) {
        CLEANUP(cleanup_free)
        char *body = client_expand(session, "{'name':'org.%s.N%u'}", i % 2 ? "odd" : "even", i);
        client_ask(a, "RequestName", body, "{'state':'owner'}");
    }
    client_ask(b, "Subscribe", "{'topic':'bus.name.org.odd.*'}",
               "{'subscription':1,'retained':10}");
    for (unsigned i = 0; i < 10; i++) {
        struct message *message = client_next(b);
        unsigned number;
        assert_true(json_is_true(json_object_get(message->json, "retained")));
        assert_int_equal(sscanf(json_string_value(json_object_get(message->json, "topic")),
                                "bus.name.org.odd.N%u", &number),
                         1);
        assert_false(seen & 1u << number);
        seen |= 1u << number;
        message_free(message);
    }
    assert_int_equal(seen, 0xaaaaa);
    /* Another subscription gets them again, for itself. */
    client_ask(b, "Subscribe", "{'topic':'bus.name.org.even.N0'}",
               "{'subscription':2,'retained':1}");
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.name.org.even.N0',"
                     "'retained':true,'body':{'owner':'$A'}}");
    client_ask(b, "Subscribe", "{'topic':'bus.name.org.none.#'}",
               "{'subscription':3,'retained':0}");
    client_ask(b, "Subscribe", "{'topic':'bus.*.org.even.N2'}", "{'subscription':4,'retained':1}");
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.name.org.even.N2',"
                     "'retained':true,'body':{'owner':'$A'}}");
}

/* Pipelined with changes: each change is either in the snapshot or told after it. */
static void test_snapshot_without_gap(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_send(a, "{'type':'call','id':1,'to':'bus','method':'RequestName',"
                   "'body':{'name':'" NAME "'}}");
    client_send(a, "{'type':'call','id':2,'to':'bus','method':'Subscribe',"
                   "'body':{'topic':'bus.name.#'}}");
    client_send(a, "{'type':'call','id':3,'to':'bus','method':'ReleaseName',"
                   "'body':{'name':'" NAME "'}}");
    client_expect(a, "{'sender':'bus','type':'reply','id':1,'body':{'state':'owner'}}");
    client_expect(a, "{'sender':'bus','type':'reply','id':2,"
                     "'body':{'subscription':1,'retained':1}}");
    client_expect(a, "{'sender':'bus','type':'event','topic':'bus.name." NAME "',"
                     "'retained':true,'body':{'owner':'$A'}}");
    expect_change(a, "null");
    client_expect(a, "{'sender':'bus','type':'reply','id':3,'body':{}}");
}

static void test_peers(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_ask(a, "Subscribe", "{'topic':'bus.peer.*'}", "{'subscription':1,'retained':1}");
    client_expect(a,
                  "{'sender':'bus','type':'event','topic':'bus.peer.@A','retained':true,"
                  "'body':{'uid':%u,'pid':%d}}",
                  getuid(), getpid());
    struct client *b = session_connect(session, "B");
    client_expect(
        a, "{'sender':'bus','type':'event','topic':'bus.peer.@B','body':{'uid':%u,'pid':%d}}",
        getuid(), getpid());
    client_ask(b, "Subscribe", "{'topic':'bus.peer.@A'}", "{'subscription':1,'retained':1}");
    client_expect(b,
                  "{'sender':'bus','type':'event','topic':'bus.peer.1','retained':true,"
                  "'body':{'uid':%u,'pid':%d}}",
                  getuid(), getpid());
    client_close(a);
    client_expect(b, "{'sender':'bus','type':'event','topic':'bus.peer.1','body':null}");
}

static void test_peer_gone_is_last(struct session *session)
{
    struct client *w = session_connect(session, "W");
    struct client *a = session_connect(session, "A");

    request(a, "", "owner");
    client_ask(w, "Subscribe", "{'topic':'bus.peer.@A'}", "{'subscription':1,'retained':1}");
    client_expect(w, "{'sender':'bus','type':'event','topic':'bus.peer.@A','retained':true,"
                     "'body':'*'}");
    client_ask(w, "Subscribe", "{'topic':'bus.name." NAME "'}", "{'subscription':2,'retained':1}");
    client_expect(w, "{'sender':'bus','type':'event','topic':'bus.name." NAME "','retained':true,"
                     "'body':{'owner':'$A'}}");
    client_close(a);
    expect_change(w, "null");
    client_expect(w, "{'sender':'bus','type':'event','topic':'bus.peer.@A','body':null}");
}

/* A call by name goes to whoever owns it then. */
static void test_calls_follow_the_name(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");

    request(a, ",'allow_replacement':true", "owner");
    client_send(c, "{'type':'call','id':1,'to':'" NAME "','method':'M'}");
    client_expect(a, "{'sender':'$C','type':'call','id':1,'to':'" NAME "','method':'M'}");
    request(b, ",'replace':true", "owner");
    client_send(c, "{'type':'call','id':2,'to':'" NAME "','method':'M'}");
    client_expect(b, "{'sender':'$C','type':'call','id':2,'to':'" NAME "','method':'M'}");
    /* The first one is still A's to answer, and B's is not A's. */
    client_send(a, "{'type':'reply','to':'$C','id':2}");
    client_expect_complaint(a, "bus.NoSuchCall", "{'type':'reply','to':'$C','id':2}");
    client_send(a, "{'type':'reply','to':'$C','id':1,'body':'a'}");
    client_expect(c, "{'sender':'$A','type':'reply','to':'$C','id':1,'body':'a'}");
    client_send(b, "{'type':'reply','to':'$C','id':2,'body':'b'}");
    client_expect(c, "{'sender':'$B','type':'reply','to':'$C','id':2,'body':'b'}");
}

static const struct transcript transcripts[] = {
    TRANSCRIPT(test_request_release),
    TRANSCRIPT(test_queue_order),
    TRANSCRIPT(test_giving_up_the_queue),
    TRANSCRIPT(test_replace),
    TRANSCRIPT(test_disconnect),
    TRANSCRIPT(test_disconnect_events),
    TRANSCRIPT(test_wrong_names),
    TRANSCRIPT(test_longest_name),
    TRANSCRIPT(test_event_comes_first),
    TRANSCRIPT(test_inherited_name),
    TRANSCRIPT(test_snapshot),
    TRANSCRIPT(test_snapshot_of_patterns),
    TRANSCRIPT(test_snapshot_without_gap),
    TRANSCRIPT(test_peers),
    TRANSCRIPT(test_peer_gone_is_last),
    TRANSCRIPT(test_calls_follow_the_name),
};

int main(void)
{
    return TRANSCRIPTS_RUN("names", transcripts);
}
