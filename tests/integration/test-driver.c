/* SPDX-License-Identifier: MIT */
/*
 * The bus's own service: every method, and every way of calling it wrongly.
 */
#include <grp.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/support/transcript.h"

static const char *const methods[] = {"Subscribe", "Unsubscribe", "RequestName", "ReleaseName",
                                      "ListNames", "GetName",     "Ping",        "GetCredentials",
                                      "Monitor",   "Stats",       "GetId",       "Introspect",
                                      "Explain",   "Reload",      "Retained"};

static void test_ping(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_send(a, "{'type':'call','id':1,'to':'bus','method':'Ping'}");
    client_expect_line(a, "{'sender':'bus','type':'reply','id':1,'body':{}}");
    client_ask(a, "Ping", "null", "{}");
    client_ask(a, "Ping", "{}", "{}");
    client_ask(a, "Ping", " { } ", "{}");
    client_send(a, "{'type':'call','id':9007199254740991,'to':'bus','method':'Ping'}");
    client_expect(a, "{'sender':'bus','type':'reply','id':9007199254740991,'body':{}}");
}

static void test_no_reply(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_send(a, "{'type':'call','to':'bus','method':'Ping','no_reply':true}");
    client_send(a, "{'type':'call','to':'bus','method':'Nonsense','no_reply':true}");
    client_send(a, "{'type':'call','id':1,'to':'bus','method':'Subscribe','no_reply':true}");
    client_send(a, "{'type':'call','to':'bus','method':'RequestName','no_reply':true,"
                   "'body':{'name':'org.example.A'}}");
    client_ask(a, "GetName", "{'name':'org.example.A'}",
               "{'name':'org.example.A','owner':'$A','queue':[]}");
}

static void test_get_id(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    json_t *first = client_ask_json(a, "GetId", "{}"), *second = client_ask_json(b, "GetId", "{}");
    const char *id = json_string_value(json_object_get(first, "id"));

    assert_int_equal(json_object_size(first), 1);
    assert_int_equal(strlen(id), 32);
    assert_int_equal(strspn(id, "0123456789abcdef"), 32);
    assert_true(json_equal(first, second));
    json_decref(first);
    json_decref(second);
}

static void test_list_names(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    CLEANUP(cleanup_free) char *expected = NULL;

    client_ask(a, "ListNames", "{}",
               "{'names':[],'connections':[{'name':'$A','uid':'*','pid':'*'},"
               "{'name':'$B','uid':'*','pid':'*'}]}");
    client_ask(a, "RequestName", "{'name':'org.example.X'}", "{'state':'owner'}");
    client_ask(b, "RequestName", "{'name':'org.example.X','queue':true}", "{'state':'queued'}");
    expected = client_expand(session,
                             "{'names':[{'name':'org.example.X','owner':'$A','queue':['$B']}],"
                             "'connections':[{'name':'$A','uid':%u,'pid':%d},"
                             "{'name':'$B','uid':%u,'pid':%d}]}",
                             getuid(), getpid(), getuid(), getpid());
    client_ask(a, "ListNames", "{}", expected);
}

static void test_get_name(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_ask(a, "GetName", "{'name':'$A'}", "{'name':'$A','owner':'$A','queue':[]}");
    client_ask_error(a, "GetName", "{'name':':77'}", "bus.NameUnknown");
    client_ask_error(a, "GetName", "{'name':'org.example.Nobody'}", "bus.NameUnknown");
}

static void test_get_credentials(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    gid_t groups[256];
    int count = getgroups(256, groups);

    client_ask(b, "RequestName", "{'name':'org.example.B'}", "{'state':'owner'}");
    client_send(a, "{'type':'call','id':1,'to':'bus','method':'GetCredentials',"
                   "'body':{'name':'org.example.B'}}");
    struct message *message = client_next(a);
    json_t *body = json_object_get(message->json, "body");
    json_t *gids = json_object_get(body, "gids");

    assert_int_equal(json_object_size(body), 5);
    assert_string_equal(json_string_value(json_object_get(body, "name")), b->unique);
    assert_int_equal(json_integer_value(json_object_get(body, "pid")), getpid());
    assert_int_equal(json_integer_value(json_object_get(body, "uid")), getuid());
    assert_int_equal(json_integer_value(json_object_get(body, "gid")), getgid());
    assert_int_equal(json_array_size(gids), count);
    for (int i = 0; i < count; i++)
        assert_int_equal(json_integer_value(json_array_get(gids, (size_t)i)), groups[i]);
    if (message->count > 0) {
        /* A pidfd of ours: it takes signal 0, and we have not ended. */
        assert_int_equal(message->count, 1);
        assert_int_equal(syscall(SYS_pidfd_send_signal, message->fd[0], 0, NULL, 0), 0);
        struct pollfd ended = {.fd = message->fd[0], .events = POLLIN};
        assert_int_equal(poll(&ended, 1, 0), 0);
    }
    message_free(message);
    client_ask_error(a, "GetCredentials", "{'name':':77'}", "bus.NameUnknown");
}

static void test_stats(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    client_ask(b, "RequestName", "{'name':'org.example.B'}", "{'state':'owner'}");
    client_ask(b, "Subscribe", "{'topic':'a.*'}", "{'subscription':1,'retained':0}");
    client_ask(b, "Subscribe", "{'topic':'b','sender':'$A'}", "{'subscription':2,'retained':0}");
    client_ask(b, "Monitor", "{'topic':'never'}", "{}");
    client_send(a, "nonsense");
    client_expect_complaint(a, "bus.ParseError", "{}");
    for (unsigned i = 0; i < 3; i++) {
        client_send(a, "{'type':'event','topic':'a.x'}");
        client_expect(b, "{'sender':'$A','type':'event','topic':'a.x'}");
    }
    client_send(a, "{'type':'call','id':1,'to':'$B','method':'M'}");
    client_expect(b, "{'sender':'$A','type':'call','id':1,'to':'$B','method':'M'}");

    client_ask(a, "Stats", "{}",
               "{'id':'*','version':'" BUSD_VERSION "','uptime':'*','connections':2,'names':1,"
               "'subscriptions':2,'calls':1,'receipts':0,'monitors':1,"
               "'groups':{'count':0,'handed_over':0,'dropped':0},"
               "'retained':{'topics':0,'bytes':0},"
               "'messages':{'received':9,'delivered':'*','conflated':0,'dropped':0,'invalid':1},"
               "'bytes':{'received':'*','sent':'*','queued':'*'}}");
    CLEANUP(cleanup_free)
    char *of_b = client_expand(
        session,
        "{'name':'$B','uid':%u,'pid':%d,'connected':'*','names':['org.example.B'],"
        "'subscriptions':[{'subscription':1,'topic':'a.*'},"
        "{'subscription':2,'topic':'b','sender':'$A'}],'calls':{'made':0,'received':1},"
        "'receipts':0,'retained':{'topics':0,'bytes':0},"
        "'messages':{'received':4,'delivered':9,'conflated':0,'dropped':0,'invalid':0},"
        "'bytes':{'received':'*','sent':'*','queued':0},'monitor':true}",
        getuid(), getpid());
    client_ask(a, "Stats", "{'name':'$B'}", of_b);
    client_ask(a, "Stats", "{'name':'org.example.B'}", of_b);
    json_t *of_a = client_ask_json(a, "Stats", "{'name':'$A'}");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(of_a, "calls"), "made")),
                     1);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(of_a, "messages"), "invalid")), 1);
    assert_true(json_is_false(json_object_get(of_a, "monitor")));
    json_decref(of_a);
    client_ask_error(a, "Stats", "{'name':':77'}", "bus.NameUnknown");
}

static void test_introspect(struct session *session)
{
    struct client *a = session_connect(session, "A");
    json_t *result = client_ask_json(a, "Introspect", "{}");
    json_t *list = json_object_get(result, "methods");

    assert_string_equal(json_string_value(json_object_get(result, "name")), "bus");
    assert_int_equal(json_array_size(list), ARRAY_SIZE(methods));
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        bool found = false;
        for (size_t j = 0; j < json_array_size(list); j++) {
            json_t *method = json_array_get(list, j);
            if (strcmp(json_string_value(json_object_get(method, "name")), methods[i]) != 0)
                continue;
            found = true;
            assert_true(json_string_length(json_object_get(method, "description")) > 5);
            assert_true(json_is_object(json_object_get(method, "arguments")));
        }
        CHECK(found, "%s is not told", methods[i]);
    }
    json_decref(result);
}

static void test_unknown_methods(struct session *session)
{
    struct client *a = session_connect(session, "A");
    static const char *const unknown[] = {"ping", "Pin", "Pings", "bus.Ping", "Retain", "_"};

    for (size_t i = 0; i < ARRAY_SIZE(unknown); i++)
        client_ask_error(a, unknown[i], "{}", "bus.MethodUnknown");
}

/* Every method refuses an argument that it does not have, and bodies that are no
 * objects. */
static void test_unknown_arguments(struct session *session)
{
    struct client *a = session_connect(session, "A");
    static const char *const bodies[] = {
        "{'nonsense':1}",
        "{'name':'org.example.X','nonsense':1}",
        "{'topic':'t','Topic':'t'}",
        "{'subscription':1,'':0}",
        "[]",
        "[{}]",
        "0",
        "'text'",
        "true",
        "false",
    };

    for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
        for (size_t j = 0; j < ARRAY_SIZE(bodies); j++)
            client_ask_error(a, methods[i], bodies[j], "bus.InvalidArguments");
    client_ask(a, "ListNames", "{}",
               "{'names':[],'connections':[{'name':'$A','uid':'*',"
               "'pid':'*'}]}");
}

/* Arguments of later times are unknown now, not silently ignored. */
static void test_wrong_arguments(struct session *session)
{
    struct client *a = session_connect(session, "A");
    static const char *const cases[][2] = {
        {"Subscribe", "{}"},
        {"Subscribe", "null"},
        {"Subscribe", "{'topic':null}"},
        {"Subscribe", "{'topic':7}"},
        {"Subscribe", "{'topic':['t']}"},
        {"Subscribe", "{'topic':''}"},
        {"Subscribe", "{'topic':'a..b'}"},
        {"Subscribe", "{'topic':'a.#.b'}"},
        {"Subscribe", "{'topic':'a*'}"},
        {"Subscribe", "{'topic':'t\\u0000'}"},
        {"Subscribe", "{'topic':'t','topic':'u'}"},
        {"Subscribe", "{'sender':'$A'}"},
        {"Subscribe", "{'topic':'t','retained':'yes'}"},
        {"Subscribe", "{'topic':'t','retained':null}"},
        {"Subscribe", "{'topic':'t','retained':1}"},
        {"Subscribe", "{'topic':'bus.subscribers.#'}"},
        {"Subscribe", "{'topic':'bus.subscribers.a.*'}"},
        {"Retained", "{}"},
        {"Retained", "{'topic':'a..b'}"},
        {"Subscribe", "{'topic':'t','sender':'x'}"},
        {"Subscribe", "{'topic':'t','sender':':0'}"},
        {"Subscribe", "{'topic':'t','sender':7}"},
        {"Subscribe", "{'topic':'t','sender':null}"},
        {"Subscribe", "{'topic':'t','sender':''}"},
        {"Unsubscribe", "{}"},
        {"Unsubscribe", "{'subscription':'1'}"},
        {"Unsubscribe", "{'subscription':0}"},
        {"Unsubscribe", "{'subscription':-1}"},
        {"Unsubscribe", "{'subscription':1.0}"},
        {"Unsubscribe", "{'subscription':1.5}"},
        {"Unsubscribe", "{'subscription':null}"},
        {"Unsubscribe", "{'subscription':99999999999999999999}"},
        {"RequestName", "{}"},
        {"RequestName", "{'queue':true}"},
        {"RequestName", "{'name':7}"},
        {"RequestName", "{'name':'org.example.X','queue':1}"},
        {"RequestName", "{'name':'org.example.X','queue':'true'}"},
        {"RequestName", "{'name':'org.example.X','queue':null}"},
        {"RequestName", "{'name':'org.example.X','replace':0}"},
        {"RequestName", "{'name':'org.example.X','allow_replacement':[]}"},
        {"ReleaseName", "{}"},
        {"ReleaseName", "{'name':null}"},
        {"GetName", "{}"},
        {"GetName", "{'name':'x'}"},
        {"GetName", "{'name':[]}"},
        {"GetCredentials", "{}"},
        {"GetCredentials", "{'name':1}"},
        {"GetCredentials", "{'name':':x'}"},
        {"Monitor", "{'type':'signal'}"},
        {"Monitor", "{'type':''}"},
        {"Monitor", "{'type':1}"},
        {"Monitor", "{'topic':'..'}"},
        {"Monitor", "{'from':'x'}"},
        {"Monitor", "{'to':7}"},
        {"Stats", "{'name':'x'}"},
        {"Stats", "{'name':{}}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        client_ask_error(a, cases[i][0], cases[i][1], "bus.InvalidArguments");
    json_t *stats = client_ask_json(a, "Stats", "{}");
    assert_int_equal(json_integer_value(json_object_get(stats, "subscriptions")), 0);
    assert_int_equal(json_integer_value(json_object_get(stats, "names")), 0);
    assert_int_equal(json_integer_value(json_object_get(stats, "monitors")), 0);
    json_decref(stats);
}

/* The message says what was wrong and what would be right. */
static void test_helpful_messages(struct session *session)
{
    struct client *a = session_connect(session, "A");
    static const char *const cases[][4] = {
        {"Subscribe", "{'topic':'a..b'}", "topic", "segment"},
        {"Subscribe", "{}", "topic", "missing"},
        {"Subscribe", "{'topic':'t','colour':'g'}", "colour", "sender"},
        {"Subscribe", "{'topic':'t','group':'a.b'}", "group", "only letters"},
        {"Subscribe", "{'topic':'bus.name.*','group':'g'}", "group", "not shared out"},
        {"Unsubscribe", "{'subscription':'x'}", "subscription", "integer"},
        {"RequestName", "{'name':'org.example.X','queue':1}", "queue", "true or false"},
        {"Monitor", "{'type':'x'}", "type", "event"},
        {"Nonsense", "{}", "Nonsense", "Introspect"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(cleanup_free)
        char *line =
            client_expand(session, "{'type':'call','id':1,'to':'bus','method':'%s','body':%s}",
                          cases[i][0], cases[i][1]);
        client_send(a, "%s", line);
        struct message *message = client_next(a);
        const char *text = json_string_value(json_object_get(message->json, "message"));
        CHECK(text && strstr(text, cases[i][2]) && strstr(text, cases[i][3]), "%s", message->line);
        message_free(message);
    }
}

/* What is neither a call nor an event cannot be sent to the bus. */
static void test_other_types(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_send(a, "{'type':'reply','to':'bus','id':1}");
    client_expect_complaint(a, "bus.NoSuchCall", "{'type':'reply','to':'bus','id':1}");
    client_send(a, "{'type':'error','to':'bus','id':1,'error':'a.b'}");
    client_expect_complaint(a, "bus.NoSuchCall", "{'type':'error','to':'bus','id':1}");
    client_send(a, "{'type':'cancel','to':'bus','id':1}");
    client_expect_complaint(a, "bus.NoSuchCall", "{'type':'cancel','to':'bus','id':1}");
}

static const struct transcript transcripts[] = {
    TRANSCRIPT(test_ping),
    TRANSCRIPT(test_no_reply),
    TRANSCRIPT(test_get_id),
    TRANSCRIPT(test_list_names),
    TRANSCRIPT(test_get_name),
    TRANSCRIPT(test_get_credentials),
    TRANSCRIPT(test_stats),
    TRANSCRIPT(test_introspect),
    TRANSCRIPT(test_unknown_methods),
    TRANSCRIPT_PLAIN(test_unknown_arguments),
    TRANSCRIPT(test_wrong_arguments),
    TRANSCRIPT(test_helpful_messages),
    TRANSCRIPT(test_other_types),
};

int main(void)
{
    return TRANSCRIPTS_RUN("driver", transcripts);
}
