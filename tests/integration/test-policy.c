/* SPDX-License-Identifier: MIT */
/*
 * Who may do what: what is denied and how that is said, what is hidden, and what
 * reaches nobody. How a new policy comes into force is test-reload.c's.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/files.h"
#include "tests/support/policy.h"
#include "tests/support/transcript.h"

static const struct identity alice = {12001, 12001, 12100};
static const struct identity bob = {12002, 12002, 12200};

/* --------------------------------------------------------------- denials */

/* Each verb, and how the rule is named. */
static void test_denials(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    client_send(g, "{'type':'call','id':1,'to':'bus','method':'RequestName',"
                   "'body':{'name':'org.example.A'}}");
    policy_expect_denied(g, 1,
                         "you may not own 'org.example.A' (DIR/config.json, rule 1: no names)");
    client_send(g, "{'type':'call','id':2,'to':'$A','method':'M'}");
    policy_expect_denied(g, 2, "you may not call '$A' (DIR/config.json, rule 2)");
    client_send(g, "{'type':'event','topic':'a.b'}");
    client_expect_complaint(g, "bus.AccessDenied", "{'type':'event','topic':'a.b'}");
    client_send(g, "{'type':'event','id':3,'topic':'a.b'}");
    policy_expect_denied(g, 3, "you may not publish 'a.b' (DIR/config.json, rule 2)");
    client_send(g, "{'type':'call','id':4,'to':'bus','method':'Subscribe','body':{'topic':'a.b'}}");
    policy_expect_denied(g, 4, "you may not subscribe to 'a.b' (DIR/config.json, rule 3)");
    client_send(g, "{'type':'call','id':5,'to':'bus','method':'Monitor'}");
    policy_expect_denied(g, 5, "you may not monitor (no rule of the policy allows it)");
    client_send(g, "{'type':'call','id':6,'to':'bus','method':'Reload'}");
    policy_expect_denied(g, 6, "you may not manage (no rule of the policy allows it)");
    client_send(g, "{'type':'call','id':7,'to':'bus','method':'GetId'}");
    policy_expect_denied(g, 7, "you may not call 'bus' (DIR/config.json, rule 4: not this one)");
    /* Nobody has heard of any of it, and others may. */
    client_ask(a, "RequestName", "{'name':'org.example.A'}", "{'state':'owner'}");
    client_ask(a, "Subscribe", "{'topic':'a.b'}", "{'subscription':1,'retained':0}");
    assert_true(busd_has_logged(&session->busd, "you may not own 'org.example.A'"));
    assert_true(busd_has_logged(&session->busd, "rule 1: no names"));
}

#define DENIALS                                                                                    \
    POLICY("{'deny':'own'," GUEST ",'reason':'no names'},"                                         \
           "{'deny':['call','publish']," GUEST "},"                                                \
           "{'deny':'subscribe'," GUEST ",'topic':'a.#'},"                                         \
           "{'deny':'call'," GUEST ",'to':'bus','method':'GetId','reason':'not this one'},"        \
           "{'allow':['connect','subscribe']," GUEST "},"                                          \
           "{'allow':['connect','own','subscribe']}")

static void test_connect_denied(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_silently_as(session, "G", "guest", NULL);
    CLEANUP(cleanup_free)
    char *expected = policy_text(
        session, "uid %u: you may not connect (DIR/config.json, rule 1: members only)", geteuid());

    client_expect(g, "{'sender':'bus','type':'error','error':'bus.AccessDenied','message':'*'}");
    client_expect_end(g);
    assert_true(busd_has_logged(&session->busd, expected));
    client_ask(a, "Ping", "{}", "{}");
}

/* The bus's own topics and names are its own under any policy. */
static void test_reserved_anyway(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_ask_error(a, "RequestName", "{'name':'bus.x'}", "bus.AccessDenied");
    client_send(a, "{'type':'event','topic':'bus.x'}");
    client_expect_complaint(a, "bus.AccessDenied", "{'type':'event','topic':'bus.x'}");
}

/* ------------------------------------------------------------ calls and fds */

/* What is denied reaches neither the callee nor anybody else, and its fds are closed. */
static void test_denied_calls_reach_nobody(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);
    int fd[3];

    client_ask(a, "RequestName", "{'name':'org.example.A'}", "{'state':'owner'}");
    files_open(fd, 3, 0);
    client_send_fds(g, fd, 3,
                    "{'type':'call','id':1,'to':'org.example.A','method':'Take','fds':3}");
    policy_expect_denied(g, 1, "you may not call 'org.example.A' (DIR/config.json, rule 1)");
    client_send_fds(g, fd, 3, "{'type':'call','no_reply':true,'to':'$A','method':'Take','fds':3}");
    client_send_fds(g, fd, 3, "{'type':'event','topic':'t','to':'$A','fds':3}");
    client_expect_complaint(g, "bus.AccessDenied", "{'type':'event','topic':'t','to':'$A'}");
    files_close(fd, 3);
    client_send(g, "{'type':'call','id':2,'to':'org.example.A','method':'Give'}");
    client_expect(a, "{'sender':'$G','type':'call','id':2,'to':'org.example.A','method':'Give'}");
    client_send(a, "{'type':'reply','to':'$G','id':2}");
    client_expect(g, "{'sender':'$A','type':'reply','to':'$G','id':2}");
    session_settle(session);
    session_expect_fds(session, 2);
}

#define CALLS                                                                                      \
    POLICY("{'deny':'call'," GUEST ",'method':'Take'},{'deny':'publish'," GUEST "},{'allow':'*'}")

/* A name is not walked around by another one, nor by the unique one; nor is a denial
 * told from nobody being there. */
static void test_other_names(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    client_ask(a, "RequestName", "{'name':'org.example.Public'}", "{'state':'owner'}");
    client_send(g, "{'type':'call','id':1,'to':'org.example.Public','method':'M'}");
    client_expect(a, "{'sender':'$G','type':'call','id':1,'to':'org.example.Public','method':'M'}");
    client_send(a, "{'type':'reply','to':'$G','id':1}");
    client_expect(g, "{'sender':'$A','type':'reply','to':'$G','id':1}");
    client_send(g, "{'type':'call','id':2,'to':'org.example.Admin','method':'M'}");
    policy_expect_denied(g, 2, "you may not call 'org.example.Admin' (DIR/config.json, rule 1)");
    client_ask(a, "RequestName", "{'name':'org.example.Admin'}", "{'state':'owner'}");
    client_send(g, "{'type':'call','id':2,'to':'org.example.Admin','method':'M'}");
    policy_expect_denied(g, 2, "you may not call 'org.example.Admin' (DIR/config.json, rule 1)");
    client_send(g, "{'type':'call','id':3,'to':'org.example.Public','method':'M'}");
    policy_expect_denied(g, 3, "you may not call 'org.example.Public' (DIR/config.json, rule 1)");
    client_send(g, "{'type':'call','id':4,'to':'$A','method':'M'}");
    policy_expect_denied(g, 4, "you may not call '$A' (DIR/config.json, rule 1)");
    client_send(g, "{'type':'call','id':5,'to':':999999','method':'M'}");
    policy_expect_denied(g, 5, "you may not call ':999999' (no rule of the policy allows it)");
}

#define OTHER_NAMES                                                                                \
    POLICY("{'deny':'call'," GUEST ",'to':'org.example.Admin'},"                                   \
           "{'allow':'call'," GUEST ",'to':'org.example.Public'},"                                 \
           "{'allow':['connect','own']}")

/* ---------------------------------------------------------------- events */

/* A pattern is judged topic by topic, as events pass. */
static void test_wildcards(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);
    struct client *h = session_connect(session, "H");

    client_ask(g, "Subscribe", "{'topic':'#'}", "{'subscription':1,'retained':0}");
    client_ask(g, "Subscribe", "{'topic':'secret.#'}", "{'subscription':2,'retained':0}");
    client_ask(g, "Subscribe", "{'topic':'secret.*','sender':'$A'}",
               "{'subscription':3,'retained':0}");
    client_ask(h, "Subscribe", "{'topic':'#'}", "{'subscription':1,'retained':0}");
    client_ask_error(g, "Subscribe", "{'topic':'secret.a'}", "bus.AccessDenied");
    for (unsigned i = 0; i < 3; i++) {
        client_send(a, "{'type':'event','topic':'secret.a'}");
        client_send(a, "{'type':'event','topic':'open.a'}");
        client_send(a, "{'type':'event','topic':'secret.but.this'}");
        client_expect(h, "{'sender':'$A','type':'event','topic':'secret.a'}");
        client_expect(h, "{'sender':'$A','type':'event','topic':'open.a'}");
        client_expect(h, "{'sender':'$A','type':'event','topic':'secret.but.this'}");
        client_expect(g, "{'sender':'$A','type':'event','topic':'open.a'}");
        client_expect(g, "{'sender':'$A','type':'event','topic':'secret.but.this'}");
    }
    /* Straight to it goes no more than by subscription. */
    client_send(a, "{'type':'event','id':9,'topic':'secret.a','to':'$G'}");
    policy_expect_denied(a, 9, "'$G' may not have 'secret.a' (DIR/config.json, rule 2)");
    client_send(a, "{'type':'event','topic':'open.a','to':'$G'}");
    client_expect(g, "{'sender':'$A','type':'event','topic':'open.a','to':'$G'}");
}

#define WILDCARDS                                                                                  \
    POLICY("{'allow':'subscribe'," GUEST ",'topic':'*.but.this'},"                                 \
           "{'deny':'subscribe'," GUEST ",'topic':'secret.#'},{'allow':'*'}")

/* Who may have nothing at all is told so at once. */
static void test_no_topic_ever(struct session *session)
{
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    client_ask_error(g, "Subscribe", "{'topic':'#'}", "bus.AccessDenied");
    client_ask_error(g, "Subscribe", "{'topic':'a.*'}", "bus.AccessDenied");
}

/* Rules about names that the client owns are asked anew each time. */
static void test_sender_rules(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    client_ask(a, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
    client_ask(g, "Subscribe", "{'topic':'#'}", "{'subscription':1,'retained':0}");
    for (unsigned i = 0; i < 2; i++) {
        client_send(g, "{'type':'event','topic':'t','id':1}");
        policy_expect_denied(g, 1, "you may not publish 't' (DIR/config.json, rule 3)");
        client_send(a, "{'type':'event','topic':'u'}");
        session_settle(session);
        client_ask(g, "RequestName", "{'name':'org.example.G'}", "{'state':'owner'}");
        client_send(g, "{'type':'event','topic':'t'}");
        client_expect(a, "{'sender':'$G','type':'event','topic':'t'}");
        client_send(a, "{'type':'event','topic':'u'}");
        client_expect(g, "{'sender':'$A','type':'event','topic':'u'}");
        client_ask(g, "ReleaseName", "{'name':'org.example.G'}", "{}");
    }
}

#define SENDERS                                                                                    \
    POLICY("{'allow':'publish'," GUEST ",'topic':'t','sender':'org.example.*'},"                   \
           "{'allow':'subscribe'," GUEST ",'topic':'u','sender':'org.example.G'},"                 \
           "{'deny':['publish','subscribe']," GUEST "},{'allow':'*'}")

/* ------------------------------------------------------------ what is hidden */

static void test_hidden_names(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    client_ask(a, "RequestName", "{'name':'org.open.A'}", "{'state':'owner'}");
    client_ask(a, "RequestName", "{'name':'org.secret.A'}", "{'state':'owner'}");
    client_ask(g, "ListNames", "{}",
               "{'names':[{'name':'org.open.A','owner':'$A','queue':[]}],"
               "'connections':[{'name':'$G','uid':'*','pid':'*'}]}");
    client_ask(g, "GetName", "{'name':'org.open.A'}",
               "{'name':'org.open.A','owner':'$A','queue':[]}");
    client_ask_error(g, "GetName", "{'name':'org.secret.A'}", "bus.NameUnknown");
    client_ask_error(g, "GetName", "{'name':'$A'}", "bus.NameUnknown");
    client_ask_error(g, "GetCredentials", "{'name':'org.secret.A'}", "bus.NameUnknown");
    client_ask_error(g, "GetCredentials", "{'name':'$A'}", "bus.NameUnknown");
    client_ask_error(g, "Stats", "{'name':'$A'}", "bus.NameUnknown");
    client_ask_error(g, "Explain", "{'verb':'connect','peer':'org.secret.A'}", "bus.NameUnknown");
    client_ask_error(g, "RequestName", "{'name':'org.secret.A'}", "bus.NameTaken");

    /* Of whom it sees under one name, it learns neither the others nor what it wants. */
    json_t *stats = client_ask_json(g, "Stats", "{'name':'org.open.A'}");
    json_t *names = json_object_get(stats, "names");
    assert_int_equal(json_array_size(names), 1);
    assert_string_equal(json_string_value(json_array_get(names, 0)), "org.open.A");
    assert_null(json_object_get(stats, "subscriptions"));
    json_decref(stats);
    stats = client_ask_json(g, "Stats", "{'name':'$G'}");
    assert_non_null(json_object_get(stats, "subscriptions"));
    json_decref(stats);
    stats = client_ask_json(a, "Stats", "{'name':'$A'}");
    assert_int_equal(json_array_size(json_object_get(stats, "names")), 2);
    json_decref(stats);
}

/* The values there are, and what changes. */
static void test_hidden_topics(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    client_ask(a, "RequestName", "{'name':'org.open.A'}", "{'state':'owner'}");
    client_ask(a, "RequestName", "{'name':'org.secret.A'}", "{'state':'owner'}");
    client_ask(g, "Subscribe", "{'topic':'bus.#'}", "{'subscription':1,'retained':1}");
    client_expect(g, "{'sender':'bus','type':'event','topic':'bus.name.org.open.A',"
                     "'retained':true,'body':{'owner':'$A'}}");
    client_ask_error(g, "Subscribe", "{'topic':'bus.name.org.secret.A'}", "bus.AccessDenied");
    client_ask_error(g, "Subscribe", "{'topic':'bus.peer.@A'}", "bus.AccessDenied");
    client_ask(g, "Subscribe", "{'topic':'bus.name.org.open.A'}",
               "{'subscription':2,'retained':1}");
    client_expect(g, "{'sender':'bus','type':'event','topic':'bus.name.org.open.A',"
                     "'retained':true,'body':{'owner':'$A'}}");
    client_ask(a, "ReleaseName", "{'name':'org.secret.A'}", "{}");
    client_ask(a, "ReleaseName", "{'name':'org.open.A'}", "{}");
    client_expect(g, "{'sender':'bus','type':'event','topic':'bus.name.org.open.A','body':null}");
    client_close(session_connect(session, "B"));
    client_ask(a, "Subscribe", "{'topic':'bus.peer.@A'}", "{'subscription':1,'retained':1}");
    client_expect(a, "{'sender':'bus','type':'event','topic':'bus.peer.@A','retained':true,"
                     "'body':'*'}");
}

#define HIDDEN                                                                                     \
    POLICY("{'deny':'subscribe'," GUEST ",'topic':'*.name.org.secret.#'},"                         \
           "{'deny':'subscribe'," GUEST ",'topic':'bus.peer.*'},{'deny':'monitor'," GUEST "},"     \
           "{'allow':'*'}")

/* -------------------------------------------------------------- monitors */

static void expect_seen(struct client *monitor, const char *message)
{
    client_expect(monitor,
                  "{'sender':'bus','type':'event','topic':'bus.monitor','body':{'...':0,"
                  "'message':%s}}",
                  message);
}

/* A monitor sees what passes between others, but no topic that it may not have. */
static void test_monitor(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    client_ask(a, "Subscribe", "{'topic':'#'}", "{'subscription':1,'retained':0}");
    client_ask(g, "Monitor", "{}", "{}");
    client_send(b, "{'type':'event','topic':'secret.a'}");
    client_send(b, "{'type':'event','topic':'open.a'}");
    client_send(b, "{'type':'event','topic':'secret.b','to':'$A'}");
    client_expect(a, "{'sender':'$B','type':'event','topic':'secret.a'}");
    client_expect(a, "{'sender':'$B','type':'event','topic':'open.a'}");
    client_expect(a, "{'sender':'$B','type':'event','topic':'secret.b','to':'$A'}");
    expect_seen(g, "{'sender':'$B','type':'event','topic':'open.a'}");
    client_send(b, "{'type':'call','id':1,'to':'$A','method':'M'}");
    client_expect(a, "{'sender':'$B','type':'call','id':1,'to':'$A','method':'M'}");
    expect_seen(g, "{'sender':'$B','type':'call','id':1,'to':'$A','method':'M'}");
}

/* ------------------------------------------------------------ several users */

static void test_users(struct session *session)
{
    if (geteuid() != 0) {
        print_message("skipped: to be two users takes root\n");
        return;
    }
    struct client *r = session_connect(session, "R");
    struct client *a = session_connect_as(session, "A", "bus", &alice);
    struct client *b = session_connect_as(session, "B", "bus", &bob);
    struct client *c =
        session_connect_silently_as(session, "C", "bus", &(struct identity){12003, 12003, 12003});

    client_expect(c, "{'sender':'bus','type':'error','error':'bus.AccessDenied','message':'*'}");
    client_expect_end(c);
    json_t *credentials = client_ask_json(r, "Explain", "{'verb':'connect','uid':12003}");
    assert_true(json_is_false(json_object_get(credentials, "allow")));
    json_decref(credentials);

    client_ask(a, "RequestName", "{'name':'org.example.Alice'}", "{'state':'owner'}");
    client_ask_error(b, "RequestName", "{'name':'org.example.Alice'}", "bus.AccessDenied");
    client_ask_error(a, "RequestName", "{'name':'org.example.Group'}", "bus.AccessDenied");
    client_ask(b, "RequestName", "{'name':'org.example.Group'}", "{'state':'owner'}");
    client_send(b, "{'type':'call','id':1,'to':'org.example.Alice','method':'Read'}");
    client_expect(a, "{'sender':'$B','type':'call','id':1,'to':'org.example.Alice',"
                     "'method':'Read'}");
    client_send(a, "{'type':'reply','to':'$B','id':1}");
    client_expect(b, "{'sender':'$A','type':'reply','to':'$B','id':1}");
    client_send(b, "{'type':'call','id':2,'to':'org.example.Alice','method':'Write'}");
    policy_expect_denied(b, 2, "you may not call 'org.example.Alice' (DIR/config.json, rule 4)");
    client_send(r, "{'type':'call','id':3,'to':'org.example.Alice','method':'Write'}");
    client_expect(a, "{'sender':'$R','type':'call','id':3,'to':'org.example.Alice',"
                     "'method':'Write'}");
    client_ask_error(a, "Monitor", "{}", "bus.AccessDenied");
    client_ask_error(a, "Reload", "{}", "bus.AccessDenied");
    client_ask(r, "Reload", "{}", "{}");
    client_send(a, "{'type':'reply','to':'$R','id':3}");
    client_expect(r, "{'sender':'$A','type':'reply','to':'$R','id':3}");
}

#define USERS                                                                                      \
    POLICY("{'allow':'*','uid':0},{'allow':'own','name':'org.example.Alice','uid':12001},"         \
           "{'allow':'call','to':'org.example.#','method':'Read'},"                                \
           "{'deny':'call','to':'org.example.Alice'},"                                             \
           "{'allow':'own','name':'org.example.Group','gid':12200},"                               \
           "{'allow':'connect','gid':12100},{'allow':'connect','gid':12002},{'deny':'connect'}")

/* -------------------------------------------------------------- Explain */

static void expect_explained(struct client *client, const char *question, bool allow,
                             unsigned index)
{
    json_t *answer = client_ask_json(client, "Explain", question);
    json_t *rule = json_object_get(answer, "rule");
    json_int_t got = json_integer_value(json_object_get(rule, "index"));

    CHECK(json_is_boolean(json_object_get(answer, "allow")) &&
              json_is_true(json_object_get(answer, "allow")) == allow && got == index,
          "%s: rule %u was to say %d", question, index, allow);
    assert_int_equal(json_is_null(rule), index == 0);
    json_decref(answer);
}

static void test_explain(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *g = session_connect_as(session, "G", "guest", NULL);

    /* About oneself, another peer, and somebody who is not there. */
    expect_explained(a, "{'verb':'own','name':'org.example.A'}", true, 3);
    expect_explained(g, "{'verb':'own','name':'org.example.A'}", false, 1);
    expect_explained(a, "{'verb':'own','name':'org.example.A','peer':'$G'}", false, 1);
    expect_explained(a, "{'verb':'own','name':'org.example.A','uid':7}", true, 3);
    expect_explained(a, "{'verb':'own','name':'org.example.A','uid':7,'listener':'guest'}", false,
                     1);
    expect_explained(a, "{'verb':'call','to':'org.example.A','method':'M','uid':7}", true, 3);
    expect_explained(a, "{'verb':'call','to':'org.example.A','method':'M','uid':7,'gids':[1,12]}",
                     false, 2);
    expect_explained(a, "{'verb':'call','to':'org.example.A','method':'N','uid':7,'gids':[12]}",
                     true, 3);
    expect_explained(a, "{'verb':'call','to':'org.example.A','uid':7,'gids':[12]}", true, 3);
    expect_explained(a, "{'verb':'call','to':'bus','method':'Ping'}", true, 0);
    expect_explained(a, "{'verb':'subscribe','topic':'a.b'}", true, 3);
    expect_explained(a, "{'verb':'publish','topic':'a.b'}", true, 3);
    expect_explained(a, "{'verb':'monitor'}", true, 3);
    expect_explained(a, "{'verb':'manage'}", true, 3);
    expect_explained(a, "{'verb':'connect'}", true, 3);
    client_ask(g, "Explain", "{'verb':'own','name':'org.example.A'}",
               "{'allow':false,'rule':{'file':'*','index':1,'reason':'no'}}");

    client_ask_error(a, "Explain", "{}", "bus.InvalidArguments");
    client_ask_error(a, "Explain", "{'verb':'fly'}", "bus.InvalidArguments");
    client_ask_error(a, "Explain", "{'verb':'own'}", "bus.InvalidArguments");
    client_ask_error(a, "Explain", "{'verb':'call'}", "bus.InvalidArguments");
    client_ask_error(a, "Explain", "{'verb':'publish'}", "bus.InvalidArguments");
    client_ask_error(a, "Explain", "{'verb':'subscribe'}", "bus.InvalidArguments");
    client_ask_error(a, "Explain", "{'verb':'subscribe','topic':'a.*'}", "bus.InvalidArguments");
    client_ask_error(a, "Explain", "{'verb':'connect','uid':-1}", "bus.InvalidArguments");
    client_ask_error(a, "Explain", "{'verb':'connect','uid':4294967295}", "bus.InvalidArguments");
    client_ask_error(a, "Explain", "{'verb':'connect','uid':1,'gids':['x']}",
                     "bus.InvalidArguments");
    client_ask_error(a, "Explain", "{'verb':'connect','peer':':999'}", "bus.NameUnknown");
}

#define EXPLAIN                                                                                    \
    POLICY("{'deny':'own'," GUEST ",'reason':'no'},{'deny':'call','gid':12,'method':'M'},"         \
           "{'allow':'*'}")

/* ------------------------------------------------- the examples of conf/ */

/* This message is denied, by this rule. */
static void expect_rule(struct client *client, const char *message, const char *what,
                        const char *rule)
{
    CLEANUP(cleanup_free) char *expected = NULL;

    assert_true(asprintf(&expected, "%s %s", what, rule) > 0);
    client_send(client, "%s", message);
    policy_expect_denied(client, 1, expected);
}

static void test_dashboard(struct session *session)
{
    static const char rule[] =
        "(DIR/config.json, listener dashboard, rule 2: dashboards only look)";
    struct client *a = session_connect(session, "A");
    struct client *d = session_connect_as(session, "D", "dashboard", NULL);

    client_ask(a, "RequestName", "{'name':'org.example.A'}", "{'state':'owner'}");
    client_ask(d, "Subscribe", "{'topic':'#'}", "{'subscription':1,'retained':0}");
    client_ask(d, "Subscribe", "{'topic':'bus.name.*.*.*'}", "{'subscription':2,'retained':1}");
    client_expect(d, "{'sender':'bus','type':'event','topic':'bus.name.org.example.A',"
                     "'retained':true,'body':{'owner':'$A'}}");
    client_send(a, "{'type':'event','topic':'t'}");
    client_expect(d, "{'sender':'$A','type':'event','topic':'t'}");
    client_ask(a, "Subscribe", "{'topic':'#'}", "{'subscription':1,'retained':0}");
    expect_rule(d, "{'type':'event','id':1,'topic':'t'}", "you may not publish 't'", rule);
    expect_rule(d, "{'type':'call','id':1,'to':'org.example.A','method':'M'}",
                "you may not call 'org.example.A'", rule);
    expect_rule(d, "{'type':'call','id':1,'to':'$A','method':'M'}", "you may not call '$A'", rule);
    expect_rule(d,
                "{'type':'call','id':1,'to':'bus','method':'RequestName',"
                "'body':{'name':'org.example.D'}}",
                "you may not own 'org.example.D'", rule);
    expect_rule(d, "{'type':'call','id':1,'to':'bus','method':'Monitor'}", "you may not monitor",
                rule);
    expect_rule(d, "{'type':'call','id':1,'to':'bus','method':'Reload'}", "you may not manage",
                rule);
    client_ask(a, "Monitor", "{'type':'cancel'}", "{}");
}

static void test_sandbox(struct session *session)
{
    static const char rule[] = "(DIR/config.json, listener sandbox, rule 7: not from the sandbox)";
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *s = session_connect_as(session, "S", "sandbox", NULL);

    client_ask(s, "Subscribe", "{'topic':'bus.#'}", "{'subscription':1,'retained':0}");
    client_ask(s, "Subscribe", "{'topic':'#'}", "{'subscription':2,'retained':0}");
    client_ask(a, "RequestName", "{'name':'org.example.Clock'}", "{'state':'owner'}");
    client_expect(s, "{'sender':'bus','type':'event','topic':'bus.name.org.example.Clock',"
                     "'body':{'owner':'$A'}}");
    client_ask(b, "RequestName", "{'name':'org.example.Other'}", "{'state':'owner'}");
    client_ask(s, "ListNames", "{}",
               "{'names':[{'name':'org.example.Clock','owner':'$A','queue':[]}],"
               "'connections':[{'name':'$S','uid':'*','pid':'*'}]}");
    client_ask_error(s, "GetName", "{'name':'org.example.Other'}", "bus.NameUnknown");
    client_send(b, "{'type':'event','topic':'org.example.Other.tick'}");
    client_send(a, "{'type':'event','topic':'org.example.Clock.tick'}");
    client_expect(s, "{'sender':'$A','type':'event','topic':'org.example.Clock.tick'}");
    client_send(s, "{'type':'call','id':1,'to':'org.example.Clock','method':'Now'}");
    client_expect(a, "{'sender':'$S','type':'call','id':1,'to':'org.example.Clock',"
                     "'method':'Now'}");
    client_send(a, "{'type':'reply','to':'$S','id':1}");
    client_expect(s, "{'sender':'$A','type':'reply','to':'$S','id':1}");
    expect_rule(s, "{'type':'call','id':1,'to':'org.example.Other','method':'M'}",
                "you may not call 'org.example.Other'", rule);
    expect_rule(s, "{'type':'call','id':1,'to':'org.example.Notifier','method':'Reset'}",
                "you may not call 'org.example.Notifier'", rule);
    expect_rule(s, "{'type':'event','id':1,'topic':'t'}", "you may not publish 't'", rule);
    expect_rule(s,
                "{'type':'call','id':1,'to':'bus','method':'RequestName',"
                "'body':{'name':'org.example.Notifier'}}",
                "you may not own 'org.example.Notifier'", rule);
    expect_rule(s, "{'type':'call','id':1,'to':'bus','method':'Monitor'}", "you may not monitor",
                rule);
    /* To call a name that may be called and is not there is no denial. */
    client_send(s, "{'type':'call','id':1,'to':'org.example.Notifier','method':'Notify'}");
    client_expect_error(s, 1, "bus.NameUnknown");
}

/* The installed policy of a system bus, for root and for somebody. */
static void test_system(struct session *session)
{
    struct client *r = session_connect(session, "R");

    if (geteuid() != 0) {
        print_message("skipped: to be two users takes root\n");
        return;
    }
    struct client *a = session_connect_as(session, "A", "bus", &alice);
    client_ask(r, "RequestName", "{'name':'org.example.R'}", "{'state':'owner'}");
    client_send(a, "{'type':'call','id':1,'to':'org.example.R','method':'M'}");
    client_expect(r, "{'sender':'$A','type':'call','id':1,'to':'org.example.R','method':'M'}");
    client_send(r, "{'type':'reply','to':'$A','id':1}");
    client_expect(a, "{'sender':'$R','type':'reply','to':'$A','id':1}");
    client_ask(a, "Subscribe", "{'topic':'bus.name.org.example.R'}",
               "{'subscription':1,'retained':1}");
    client_expect(a, "{'sender':'bus','type':'event','topic':'bus.name.org.example.R',"
                     "'retained':true,'body':{'owner':'$R'}}");
    client_ask_error(a, "Subscribe", "{'topic':'t'}", "bus.AccessDenied");
    client_ask_error(a, "RequestName", "{'name':'org.example.A'}", "bus.AccessDenied");
    client_ask_error(a, "Monitor", "{}", "bus.AccessDenied");
    client_ask_error(a, "Reload", "{}", "bus.AccessDenied");
    client_send(a, "{'type':'event','topic':'t'}");
    client_expect_complaint(a, "bus.AccessDenied", "{'type':'event','topic':'t'}");
    client_ask(r, "Monitor", "{'type':'cancel'}", "{}");
    client_ask(r, "Subscribe", "{'topic':'#'}", "{'subscription':1,'retained':0}");
    client_send(r, "{'type':'event','topic':'t'}");
    client_expect(r, "{'sender':'$R','type':'event','topic':'t'}");
}

int main(void)
{
    CLEANUP(cleanup_free) char *dashboard = policy_read_example("dashboard.json");
    CLEANUP(cleanup_free) char *sandbox = policy_read_example("sandbox.json");
    CLEANUP(cleanup_free) char *system = policy_read_example("system.json");
    CLEANUP(cleanup_free) char *system_bus = NULL;

    /* The listener is the default one, which the file does not name. */
    if (!dashboard || !sandbox || !system ||
        asprintf(&system_bus, "{\"listeners\":[{\"address\":\"unix:DIR/bus\"}],%s",
                 strchr(system, '{') + 1) < 0)
        return 1;
    const struct transcript transcripts[] = {
        TRANSCRIPT_CONFIGURED(test_denials, DENIALS),
        TRANSCRIPT_CONFIGURED(test_connect_denied,
                              POLICY("{'deny':'connect'," GUEST ",'reason':'members only'},"
                                     "{'allow':'*'}")),
        TRANSCRIPT_CONFIGURED(test_reserved_anyway, POLICY("{'allow':'*'}")),
        TRANSCRIPT_CONFIGURED(test_denied_calls_reach_nobody, CALLS),
        TRANSCRIPT_CONFIGURED(test_other_names, OTHER_NAMES),
        TRANSCRIPT_CONFIGURED(test_wildcards, WILDCARDS),
        TRANSCRIPT_CONFIGURED(test_no_topic_ever,
                              POLICY("{'deny':'subscribe'," GUEST "},{'allow':'*'}")),
        TRANSCRIPT_CONFIGURED(test_sender_rules, SENDERS),
        TRANSCRIPT_CONFIGURED(test_hidden_names, HIDDEN),
        TRANSCRIPT_CONFIGURED(test_hidden_topics, HIDDEN),
        TRANSCRIPT_CONFIGURED(test_monitor,
                              POLICY("{'deny':'subscribe'," GUEST ",'topic':'secret.#'},"
                                     "{'allow':'*'}")),
        TRANSCRIPT_CONFIGURED(test_users, USERS),
        TRANSCRIPT_CONFIGURED(test_explain, EXPLAIN),
        TRANSCRIPT_CONFIGURED(test_dashboard, dashboard),
        TRANSCRIPT_CONFIGURED(test_sandbox, sandbox),
        {.name = "test_system",
         .run = test_system,
         .config = system_bus,
         .args = BUSD_ARGS("--system")},
    };

    return TRANSCRIPTS_RUN("policy", transcripts);
}
