/* SPDX-License-Identifier: MIT */
/*
 * A configuration is read anew: all of it or nothing, and what is taken back ends at
 * once: subscriptions, what waits unread, calls without an answer yet, monitors and
 * connections.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/policy.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"

#define OPEN POLICY("{'allow':'*'}")

/* ------------------------------------------------------- all or nothing */

static void test_good_and_bad(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    client_ask(g, "RequestName", "{'name':'org.example.A'}", "{'state':'owner'}");
    policy_reload(a, POLICY("{'deny':'own'," GUEST ",'name':'org.example.B'},{'allow':'*'}"));
    client_ask_error(g, "RequestName", "{'name':'org.example.B'}", "bus.AccessDenied");
    policy_reload_fails(a, POLICY("{'allow':'*'},\n{'allow':'own','nmae':'x'}"),
                        "DIR/config.json:2:16: a rule has no 'nmae'");
    client_ask_error(g, "RequestName", "{'name':'org.example.B'}", "bus.AccessDenied");
    policy_reload_fails(a, "{", "DIR/config.json:1:");
    policy_reload_fails(a, "{'limits':{'names':0}}", "DIR/config.json:1:12: limit 'names'");
    policy_reload_fails(a, "{'state':'DIR/state'}", "state: the folder cannot change");
    client_ask_error(g, "RequestName", "{'name':'org.example.B'}", "bus.AccessDenied");
    assert_true(busd_has_logged(&session->busd, "the configuration stays as it was"));
    policy_reload(a, OPEN);
    client_ask(g, "RequestName", "{'name':'org.example.B'}", "{'state':'owner'}");
}

static void expect_soon(struct client *client, const char *question, bool allow)
{
    uint64_t end = process_now() + 10000;

    for (;;) {
        json_t *answer = client_ask_json(client, "Explain", question);
        bool now = json_is_true(json_object_get(answer, "allow"));
        json_decref(answer);
        if (now == allow)
            return;
        CHECK(process_now() < end, "%s does not become %d", question, allow);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

static void expect_logged_soon(struct session *session, const char *text)
{
    uint64_t end = process_now() + 10000;

    while (!busd_has_logged(&session->busd, text)) {
        CHECK(process_now() < end, "the log does not say: %s", text);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

static void test_sighup(struct session *session)
{
    struct client *a = session_connect(session, "A");
    static const char question[] = "{'verb':'own','name':'org.example.B'}";

    busd_configure(&session->busd, POLICY("{'deny':'own'},{'allow':'*'}"));
    kill(session->busd.pid, SIGHUP);
    expect_soon(a, question, false);
    busd_configure(&session->busd, POLICY("{'deny':'fly'},{'allow':'*'}"));
    kill(session->busd.pid, SIGHUP);
    expect_logged_soon(session, "'fly' is no verb");
    expect_soon(a, question, false);
    busd_configure(&session->busd, OPEN);
    kill(session->busd.pid, SIGHUP);
    expect_soon(a, question, true);
}

static void test_limits(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_ask(a, "RequestName", "{'name':'org.example.A'}", "{'state':'owner'}");
    policy_reload(a, "{'limits':{'names':1},'listeners':[" POLICY_LISTENERS "]}");
    client_ask_error(a, "RequestName", "{'name':'org.example.B'}", "bus.LimitExceeded");
    policy_reload(a, "{'limits':{'names':2},'listeners':[" POLICY_LISTENERS "]}");
    client_ask(a, "RequestName", "{'name':'org.example.B'}", "{'state':'owner'}");
}

/* Right and wrong ones in turn while traffic flows: nothing of it is lost, and who lost
 * nothing by it notices nothing. */
static void test_alternating(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *g = session_connect_as(session, "G", "guest", NULL);
    struct client *m = session_connect(session, "M");

    client_ask(b, "Subscribe", "{'topic':'t.#'}", "{'subscription':1,'retained':0}");
    client_ask(g, "Subscribe", "{'topic':'t.#'}", "{'subscription':1,'retained':0}");
    for (unsigned i = 0; i < 100; i++) {
        for (unsigned j = 0; j < 5; j++)
            client_send(a, "{'type':'event','topic':'t.x','body':[%u,%u]}", i, j);
        client_send(a, "{'type':'call','id':%u,'to':'$B','method':'M'}", i + 1);
        /* What has been sent before comes through under the policy before. */
        client_ask(a, "Ping", "{}", "{}");
        if (i % 4 == 1 || i % 4 == 3)
            policy_reload_fails(m, POLICY("{'allow':'*'},7"), "a rule must be an object");
        else
            policy_reload(
                m, i % 4 == 0 ? POLICY("{'deny':'subscribe'," GUEST ",'topic':'t.#'},{'allow':'*'}")
                              : OPEN);
        for (unsigned j = 0; j < 5; j++)
            client_expect(b, "{'sender':'$A','type':'event','topic':'t.x','body':[%u,%u]}", i, j);
        client_expect(b, "{'sender':'$A','type':'call','id':%u,'to':'$B','method':'M'}", i + 1);
        client_send(b, "{'type':'reply','to':'$A','id':%u}", i + 1);
        client_expect(a, "{'sender':'$B','type':'reply','to':'$A','id':%u}", i + 1);
        for (unsigned j = 0; j < 5 && (i % 4 == 0 || i % 4 == 3); j++)
            client_expect(g, "{'sender':'$A','type':'event','topic':'t.x','body':[%u,%u]}", i, j);
    }
    session_expect_fds(session, 4);
}

/* ---------------------------------------------- what has been there already */

static void test_subscriptions(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    client_ask(g, "Subscribe", "{'topic':'#'}", "{'subscription':1,'retained':0}");
    client_ask(g, "Subscribe", "{'topic':'secret.a'}", "{'subscription':2,'retained':0}");
    client_send(a, "{'type':'event','topic':'secret.a','body':1}");
    client_expect(g, "{'sender':'$A','type':'event','topic':'secret.a','body':1}");
    policy_reload(a, POLICY("{'deny':'subscribe'," GUEST ",'topic':'secret.#'},{'allow':'*'}"));
    client_send(a, "{'type':'event','topic':'secret.a','body':2}");
    client_send(a, "{'type':'event','topic':'open.a','body':2}");
    client_expect(g, "{'sender':'$A','type':'event','topic':'open.a','body':2}");
    /* What is given back is there again. */
    policy_reload(a, OPEN);
    client_send(a, "{'type':'event','topic':'secret.a','body':3}");
    client_expect(g, "{'sender':'$A','type':'event','topic':'secret.a','body':3}");
    /* The verdict about who publishes is not kept either. */
    policy_reload(a, POLICY("{'deny':'publish','topic':'secret.#'},{'allow':'*'}"));
    client_send(a, "{'type':'event','id':5,'topic':'secret.a'}");
    policy_expect_denied(a, 5, "you may not publish 'secret.a' (DIR/config.json, rule 1)");
}

#define FILLER_SIZE 20000
#define FILLERS     60

static const char *filler(void)
{
    static char text[FILLER_SIZE + 1];

    memset(text, 'x', FILLER_SIZE);
    return text;
}

/* Events that wait unread go, but for the one of which a part is on its way; what may
 * still be had stays, in order. */
static void test_queued_events(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);
    unsigned secret = 0, open = 0;

    client_ask(g, "Subscribe", "{'topic':'#'}", "{'subscription':1,'retained':0}");
    for (unsigned i = 0; i < FILLERS; i++) {
        client_send(a, "{'type':'event','topic':'secret.a','body':[%u,'%s']}", i, filler());
        client_send(a, "{'type':'event','topic':'open.a','body':[%u,'']}", i);
        client_send(a, "{'type':'event','topic':'secret.b','to':'$G','body':[%u,'']}", i);
    }
    policy_reload(a, POLICY("{'deny':'subscribe'," GUEST ",'topic':'secret.#'},{'allow':'*'}"));
    client_send(a, "{'type':'event','topic':'open.end'}");
    for (;;) {
        struct message *message = client_next(g);
        assert_non_null(message);
        const char *topic = json_string_value(json_object_get(message->json, "topic"));
        json_t *number = json_array_get(json_object_get(message->json, "body"), 0);
        bool end = strcmp(topic, "open.end") == 0;
        if (strcmp(topic, "secret.a") == 0)
            assert_int_equal(json_integer_value(number), secret++);
        else if (strcmp(topic, "open.a") == 0)
            assert_int_equal(json_integer_value(number), open++);
        message_free(message);
        if (end)
            break;
    }
    /* The socket holds some; far from all. */
    assert_int_equal(open, FILLERS);
    assert_in_range(secret, 1, FILLERS / 2);
}

/* Calls that wait unread go, and those that have been read are taken back; either way
 * the caller hears once, that it may not. */
static void test_queued_calls(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);
    struct client *m = session_connect(session, "M");
    bool answered[FILLERS + 1] = {false};
    unsigned calls = 0, cancels = 0;

    for (unsigned i = 1; i <= FILLERS; i++)
        client_send(a, "{'type':'call','id':%u,'to':'$G','method':'M','body':'%s'}", i, filler());
    client_send(a, "{'type':'call','no_reply':true,'to':'$G','method':'M'}");
    policy_reload(m, POLICY("{'allow':'*'," GUEST "},{'deny':'call','to':'#'},{'allow':'*'}"));
    for (unsigned i = 1; i <= FILLERS; i++) {
        struct message *message = client_next(a);
        const char *error = json_string_value(json_object_get(message->json, "error"));
        json_int_t id = json_integer_value(json_object_get(message->json, "id"));
        assert_non_null(error);
        assert_string_equal(error, "bus.AccessDenied");
        assert_in_range(id, 1, FILLERS);
        assert_false(answered[id]);
        answered[id] = true;
        message_free(message);
    }
    session_settle(session);
    while (!list_is_empty(&g->messages)) {
        struct message *message = client_next(g);
        const char *type = json_string_value(json_object_get(message->json, "type"));
        json_int_t id = json_integer_value(json_object_get(message->json, "id"));
        if (strcmp(type, "call") == 0)
            assert_int_equal(id, ++calls);
        else
            assert_int_equal(id, ++cancels);
        message_free(message);
    }
    /* The socket holds some; far from all. */
    assert_in_range(calls, 1, FILLERS / 2);
    assert_int_equal(cancels, calls);
}

/* A call that was cancelled unread, and its id used again for somebody else: that one
 * is not meant. */
static void test_queued_call_of_old(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    client_ask(g, "RequestName", "{'name':'org.example.G'}", "{'state':'owner'}");
    for (unsigned i = 0; i < FILLERS; i++)
        client_send(a, "{'type':'call','no_reply':true,'to':'$G','method':'M','body':'%s'}",
                    filler());
    client_send(a, "{'type':'call','id':1,'to':'$G','method':'M'}");
    client_send(a, "{'type':'cancel','to':'$G','id':1}");
    client_expect_error(a, 1, "bus.Cancelled");
    client_send(a, "{'type':'call','id':1,'to':'$B','method':'M'}");
    client_expect(b, "{'sender':'$A','type':'call','id':1,'to':'$B','method':'M'}");
    policy_reload(b, POLICY("{'deny':'call','to':'org.example.G'},{'allow':'*'}"));
    client_send(b, "{'type':'reply','to':'$A','id':1}");
    client_expect(a, "{'sender':'$B','type':'reply','to':'$A','id':1}");
    client_close(g);
}

static void test_outstanding_calls(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    client_send(g, "{'type':'call','id':1,'to':'$A','method':'M'}");
    client_expect(a, "{'sender':'$G','type':'call','id':1,'to':'$A','method':'M'}");
    client_send(g, "{'type':'call','id':2,'to':'$B','method':'M'}");
    client_expect(b, "{'sender':'$G','type':'call','id':2,'to':'$B','method':'M'}");
    client_send(b, "{'type':'call','id':3,'to':'$A','method':'M'}");
    client_expect(a, "{'sender':'$B','type':'call','id':3,'to':'$A','method':'M'}");
    client_ask(a, "RequestName", "{'name':'org.example.A'}", "{'state':'owner'}");
    policy_reload(b, POLICY("{'deny':'call'," GUEST ",'to':'org.example.A'},{'allow':'*'}"));
    policy_expect_denied(g, 1, "you may not call '$A' (DIR/config.json, rule 1)");
    client_expect(a, "{'sender':'$G','type':'cancel','id':1,'reason':'cancelled'}");
    client_send(a, "{'type':'reply','to':'$G','id':1}");
    client_expect_complaint(a, "bus.NoSuchCall", "{'type':'reply','to':'$G','id':1}");
    client_send(a, "{'type':'reply','to':'$B','id':3}");
    client_expect(b, "{'sender':'$A','type':'reply','to':'$B','id':3}");
    client_send(b, "{'type':'reply','to':'$G','id':2}");
    client_expect(g, "{'sender':'$B','type':'reply','to':'$G','id':2}");
}

/* As long as some method may be called, what has been called is not taken back: which
 * method that was is not known any more. */
static void test_outstanding_calls_of_some_method(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    client_send(g, "{'type':'call','id':1,'to':'$A','method':'M'}");
    client_expect(a, "{'sender':'$G','type':'call','id':1,'to':'$A','method':'M'}");
    policy_reload(a, POLICY("{'deny':'call'," GUEST ",'method':'M'},{'allow':'*'}"));
    client_send(a, "{'type':'reply','to':'$G','id':1}");
    client_expect(g, "{'sender':'$A','type':'reply','to':'$G','id':1}");
    client_send(g, "{'type':'call','id':1,'to':'$A','method':'M'}");
    policy_expect_denied(g, 1, "you may not call '$A' (DIR/config.json, rule 1)");
}

/* A watcher that may not watch any more sees nothing more, nor what waits for it. */
static void test_monitors(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);
    unsigned seen = 0;

    client_ask(g, "Monitor", "{'from':'$A'}", "{}");
    for (unsigned i = 0; i < FILLERS; i++)
        client_send(a, "{'type':'event','topic':'t','body':'%s'}", filler());
    policy_reload(a, POLICY("{'deny':'monitor'," GUEST "},{'allow':'*'}"));
    client_send(a, "{'type':'event','topic':'later'}");
    session_settle(session);
    while (!list_is_empty(&g->messages)) {
        struct message *message = client_next(g);
        assert_null(strstr(message->line, "later"));
        message_free(message);
        seen++;
    }
    assert_in_range(seen, 1, FILLERS / 2);
    client_ask_error(g, "Monitor", "{}", "bus.AccessDenied");
}

/* One that may still watch, but not all of it. */
static void test_monitor_topics(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);
    unsigned secret = 0, open = 0;

    client_ask(g, "Monitor", "{'type':'event'}", "{}");
    for (unsigned i = 0; i < FILLERS; i++) {
        client_send(a, "{'type':'event','topic':'secret','body':'%s'}", filler());
        client_send(a, "{'type':'event','topic':'open'}");
    }
    policy_reload(a, POLICY("{'deny':'subscribe'," GUEST ",'topic':'secret'},{'allow':'*'}"));
    session_settle(session);
    while (!list_is_empty(&g->messages)) {
        struct message *message = client_next(g);
        secret += strstr(message->line, "\"topic\":\"secret\"") != NULL;
        open += strstr(message->line, "\"topic\":\"open\"") != NULL;
        message_free(message);
    }
    assert_int_equal(open, FILLERS);
    assert_in_range(secret, 1, FILLERS / 2);
}

static void test_connections(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    client_ask(g, "RequestName", "{'name':'org.example.G'}", "{'state':'owner'}");
    client_ask(a, "Subscribe", "{'topic':'bus.name.org.example.G'}",
               "{'subscription':1,'retained':1}");
    client_expect(a, "{'sender':'bus','type':'event','topic':'bus.name.org.example.G',"
                     "'retained':true,'body':{'owner':'$G'}}");
    policy_reload(a, POLICY("{'deny':'connect'," GUEST ",'reason':'closed'},{'allow':'*'}"));
    client_expect_goodbye(g, "rule 1: closed");
    client_expect(a, "{'sender':'bus','type':'event','topic':'bus.name.org.example.G',"
                     "'body':null}");
}

/* Names are kept, and the log says so. */
static void test_names(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    client_ask(g, "RequestName", "{'name':'org.example.G'}", "{'state':'owner'}");
    policy_reload(a, POLICY("{'deny':'own'," GUEST "},{'allow':'*'}"));
    client_ask(a, "GetName", "{'name':'org.example.G'}",
               "{'name':'org.example.G','owner':'$G','queue':[]}");
    assert_true(busd_has_logged(&session->busd, "keeps 'org.example.G'"));
    client_ask(g, "ReleaseName", "{'name':'org.example.G'}", "{}");
    client_ask_error(g, "RequestName", "{'name':'org.example.G'}", "bus.AccessDenied");
}

/* --------------------------------------------------------------- listeners */

static mode_t mode_of(struct session *session, const char *name, uid_t *ret_uid, gid_t *ret_gid)
{
    char path[128];
    struct stat status;

    snprintf(path, sizeof(path), "%s/%s", session->busd.directory, name);
    if (stat(path, &status) < 0)
        return 0;
    assert_true(S_ISSOCK(status.st_mode));
    if (ret_uid)
        *ret_uid = status.st_uid;
    if (ret_gid)
        *ret_gid = status.st_gid;
    return status.st_mode & 0777;
}

#define WITH(listeners, rules)                                                                     \
    "{'listeners':[" POLICY_LISTENERS "," listeners "],'policy':[" rules "]}"

static void test_listener_comes_and_goes(struct session *session)
{
    struct client *a = session_connect(session, "A");

    assert_int_equal(mode_of(session, "more", NULL, NULL), 0);
    policy_reload(a, WITH("{'address':'unix:DIR/more','mode':'0620','label':'more'}",
                          "{'deny':'own','listener':'more'},{'allow':'*'}"));
    assert_int_equal(mode_of(session, "more", NULL, NULL), 0620);
    struct client *b = session_connect_as(session, "B", "more", NULL);
    client_ask_error(b, "RequestName", "{'name':'org.example.B'}", "bus.AccessDenied");
    /* The same one, written another way. */
    policy_reload(a, WITH("{'address':'DIR/more','mode':'0666','label':'more'}",
                          "{'deny':'own','listener':'more'},{'allow':'*'}"));
    assert_int_equal(mode_of(session, "more", NULL, NULL), 0666);
    client_ask_error(b, "RequestName", "{'name':'org.example.B'}", "bus.AccessDenied");
    /* With its listener go the rules about it, and so must they. */
    policy_reload(a, OPEN);
    client_expect_goodbye(b, "the listener 'more' that it came through is not there any more");
    assert_int_equal(mode_of(session, "more", NULL, NULL), 0);
    session_expect_fds(session, 1);
}

/* Who came through a listener without a label is nobody special. */
static void test_unlabelled_listener_goes(struct session *session)
{
    struct client *a = session_connect(session, "A");

    policy_reload(a, WITH("{'address':'unix:DIR/more','mode':'0666'}", "{'allow':'*'}"));
    struct client *b = session_connect_as(session, "B", "more", NULL);
    policy_reload(a, OPEN);
    client_ask(b, "Ping", "{}", "{}");
    session_expect_fds(session, 2);
}

/* Clients are held to what their listener is now. */
static void test_relabelled(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

#define RELABELLED(label)                                                                          \
    "{'listeners':[{'address':'unix:DIR/bus','mode':'0666'},"                                      \
    "{'address':'unix:DIR/guest','mode':'0666'" label "}],"                                        \
    "'policy':["
    policy_reload(a, RELABELLED(",'label':'visitor'") "{'deny':'own','listener':'visitor'},"
                                                      "{'allow':'*'}]}");
    client_ask_error(g, "RequestName", "{'name':'org.example.G'}", "bus.AccessDenied");
    struct client *h = session_connect_as(session, "H", "guest", NULL);
    client_ask_error(h, "RequestName", "{'name':'org.example.G'}", "bus.AccessDenied");
    policy_reload(a, RELABELLED("") "{'allow':'*'}]}");
    client_ask(g, "RequestName", "{'name':'org.example.G'}", "{'state':'owner'}");
    policy_reload(a, OPEN);
    policy_reload(a, POLICY("{'deny':'own'," GUEST "},{'allow':'*'}"));
    client_ask_error(h, "RequestName", "{'name':'org.example.H'}", "bus.AccessDenied");
}

/* One that cannot be opened: nothing of the new configuration is in force. */
static void test_listener_fails(struct session *session)
{
    struct client *a = session_connect(session, "A");

    policy_reload_fails(a,
                        "{'listeners':[{'address':'unix:DIR/bus','mode':'0600','label':'other'},"
                        "{'address':'unix:DIR/more'},{'address':'unix:DIR/none/more'}],"
                        "'limits':{'names':1},'policy':[{'deny':'own'},{'allow':'*'}]}",
                        "cannot listen on unix:DIR/none/more: No such file or directory");
    assert_int_equal(mode_of(session, "more", NULL, NULL), 0);
    assert_int_equal(mode_of(session, "bus", NULL, NULL), 0666);
    assert_int_equal(mode_of(session, "guest", NULL, NULL), 0666);
    client_ask(a, "RequestName", "{'name':'org.example.A'}", "{'state':'owner'}");
    client_ask(a, "RequestName", "{'name':'org.example.B'}", "{'state':'owner'}");
    client_ask(session_connect_as(session, "G", "guest", NULL), "Ping", "{}", "{}");
    session_expect_fds(session, 2);
}

/* Nor when it is one that stays which cannot be set right. */
static void test_access_fails(struct session *session)
{
    struct client *a = session_connect(session, "A");
    char path[128];

    snprintf(path, sizeof(path), "%s/guest", session->busd.directory);
    assert_int_equal(unlink(path), 0);
    policy_reload_fails(a,
                        "{'listeners':[{'address':'unix:DIR/bus','mode':'0600'},"
                        "{'address':'unix:DIR/guest','mode':'0600','label':'guest'},"
                        "{'address':'unix:DIR/more'}],'policy':[{'deny':'own'},{'allow':'*'}]}",
                        "cannot listen on unix:DIR/guest: No such file or directory");
    assert_int_equal(mode_of(session, "more", NULL, NULL), 0);
    assert_int_equal(mode_of(session, "bus", NULL, NULL), 0666);
    client_ask(a, "RequestName", "{'name':'org.example.A'}", "{'state':'owner'}");
    session_expect_fds(session, 1);
}

static void test_modes_and_owners(struct session *session)
{
    struct client *a = session_connect(session, "A");
    uid_t uid;
    gid_t gid;

    assert_int_equal(mode_of(session, "bus", &uid, &gid), 0666);
    assert_int_equal(uid, geteuid());
    assert_int_equal(gid, getegid());
    if (geteuid() != 0) {
        print_message("skipped: to give sockets away takes root\n");
        return;
    }
    policy_reload(a, WITH("{'address':'unix:DIR/more','mode':'0640','owner':12001,'group':12002}",
                          "{'allow':'*'}"));
    assert_int_equal(mode_of(session, "more", &uid, &gid), 0640);
    assert_int_equal(uid, 12001);
    assert_int_equal(gid, 12002);
    policy_reload(a,
                  WITH("{'address':'unix:DIR/more','mode':'0604','owner':12003}", "{'allow':'*'}"));
    assert_int_equal(mode_of(session, "more", &uid, &gid), 0604);
    assert_int_equal(uid, 12003);
    assert_int_equal(gid, getegid());
    policy_reload(a, OPEN);
}

/* A bus that is leaving does not open its doors again. */
static void test_not_while_draining(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    char path[128];

    client_ask(b, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
    for (unsigned i = 0; i < FILLERS; i++)
        client_send(a, "{'type':'event','topic':'t','body':'%s'}", filler());
    client_ask(a, "Ping", "{}", "{}");
    kill(session->busd.pid, SIGTERM);
    client_expect_goodbye(a, "the bus is shutting down");
    kill(session->busd.pid, SIGHUP);
    expect_logged_soon(session, "the bus is shutting down: the configuration stays as it was");
    snprintf(path, sizeof(path), "%s/bus", session->busd.directory);
    assert_int_equal(access(path, F_OK), -1);
    for (unsigned i = 0; i < FILLERS; i++)
        client_expect(b, "{'sender':'$A','type':'event','topic':'t','body':'%s'}", filler());
    client_expect_goodbye(b, "the bus is shutting down");
    int status;
    assert_true(process_wait(session->busd.pid, 10000, &status));
    assert_int_equal(status, 0);
    session->busd.pid = 0;
}

#define TRANSCRIPT_LARGE(function, text)                                                           \
    {                                                                                              \
        .name = #function, .run = function, .config = (text), .plain_only = true                   \
    }

/* A listener's own limits hold for those who come in there, on top of the bus's. */
#define NARROW(subscriptions)                                                                      \
    "{'limits':{'names':2},'listeners':[{'address':'unix:DIR/bus'},"                               \
    "{'address':'unix:DIR/guest','label':'guest','limits':{'subscriptions':" subscriptions         \
    "}}],'policy':[{'allow':'*'}]}"

static void test_listener_limits(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    client_ask(g, "Subscribe", "{'topic':'a'}", "{'subscription':1,'retained':0}");
    client_ask_error(g, "Subscribe", "{'topic':'b'}", "bus.LimitExceeded");
    client_ask(a, "Subscribe", "{'topic':'a'}", "{'subscription':1,'retained':0}");
    client_ask(a, "Subscribe", "{'topic':'b'}", "{'subscription':2,'retained':0}");
    for (unsigned n = 0; n < 2; n++) {
        struct client *client = n == 0 ? a : g;
        client_ask(client, "RequestName", n == 0 ? "{'name':'a.a'}" : "{'name':'g.a'}",
                   "{'state':'owner'}");
        client_ask(client, "RequestName", n == 0 ? "{'name':'a.b'}" : "{'name':'g.b'}",
                   "{'state':'owner'}");
        client_ask_error(client, "RequestName", "{'name':'c.c'}", "bus.LimitExceeded");
    }
    policy_reload(a, NARROW("2"));
    client_ask(g, "Subscribe", "{'topic':'b'}", "{'subscription':2,'retained':0}");
    client_ask_error(g, "Subscribe", "{'topic':'c'}", "bus.LimitExceeded");
}

int main(void)
{
    static const struct transcript transcripts[] = {
        TRANSCRIPT_CONFIGURED(test_listener_limits, NARROW("1")),
        TRANSCRIPT_CONFIGURED(test_good_and_bad, OPEN),
        TRANSCRIPT_LARGE(test_sighup, OPEN),
        TRANSCRIPT_LARGE(test_limits, OPEN),
        TRANSCRIPT_LARGE(test_alternating, OPEN),
        TRANSCRIPT_CONFIGURED(test_subscriptions, OPEN),
        TRANSCRIPT_LARGE(test_queued_events, OPEN),
        TRANSCRIPT_LARGE(test_queued_calls, OPEN),
        TRANSCRIPT_LARGE(test_queued_call_of_old, OPEN),
        TRANSCRIPT_CONFIGURED(test_outstanding_calls, OPEN),
        TRANSCRIPT_CONFIGURED(test_outstanding_calls_of_some_method, OPEN),
        TRANSCRIPT_LARGE(test_monitors, OPEN),
        TRANSCRIPT_LARGE(test_monitor_topics, OPEN),
        TRANSCRIPT_CONFIGURED(test_connections, OPEN),
        TRANSCRIPT_CONFIGURED(test_names, OPEN),
        TRANSCRIPT_LARGE(test_listener_comes_and_goes, OPEN),
        TRANSCRIPT_LARGE(test_unlabelled_listener_goes, OPEN),
        TRANSCRIPT_LARGE(test_relabelled, OPEN),
        TRANSCRIPT_LARGE(test_listener_fails, OPEN),
        TRANSCRIPT_LARGE(test_access_fails, OPEN),
        TRANSCRIPT_LARGE(test_modes_and_owners, OPEN),
        TRANSCRIPT_LARGE(test_not_while_draining, OPEN),
    };

    return TRANSCRIPTS_RUN("reload", transcripts);
}
