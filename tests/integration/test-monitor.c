/* SPDX-License-Identifier: MIT */
/*
 * Monitors see what passes, as it was delivered, and nothing of their own.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/support/files.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"

/* The bus's event about one message; `to` and `message` are JSON. */
static void expect_seen(struct client *monitor, const char *from, const char *to, int fds,
                        const char *format, ...) __attribute__((format(printf, 5, 6)));

static void expect_seen(struct client *monitor, const char *from, const char *to, int fds,
                        const char *format, ...)
{
    CLEANUP(cleanup_free) char *message = NULL;
    va_list args;

    va_start(args, format);
    assert_true(vasprintf(&message, format, args) > 0);
    va_end(args);
    client_expect(monitor,
                  "{'sender':'bus','type':'event','topic':'bus.monitor','body':{'time':'*',"
                  "'monotonic':'*','from':'%s','to':%s,'fds':%d,'message':%s}}",
                  from, to, fds, message);
}

static struct client *connect_monitor(struct session *session, const char *filter)
{
    struct client *monitor = session_connect(session, "M");

    client_ask(monitor, "Monitor", filter, "{}");
    return monitor;
}

static void test_everything(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *m = connect_monitor(session, "{}");

    client_send(a, "{'type':'call','id':1,'to':'$B','method':'M','x':[1]}");
    client_expect(b, "{'sender':'$A','type':'call','id':1,'to':'$B','method':'M','x':[1]}");
    client_send(b, "{'type':'reply','to':'$A','id':1,'body':7}");
    client_expect(a, "{'sender':'$B','type':'reply','to':'$A','id':1,'body':7}");
    expect_seen(m, "$A", "['$B']", 0,
                "{'sender':'$A','type':'call','id':1,'to':'$B','method':'M','x':[1]}");
    expect_seen(m, "$B", "['$A']", 0, "{'sender':'$B','type':'reply','to':'$A','id':1,'body':7}");

    client_send(a, "{'type':'call','id':2,'to':'bus','method':'Subscribe','body':{'topic':'t'}}");
    client_expect(a, "{'sender':'bus','type':'reply','id':2,"
                     "'body':{'subscription':1,'retained':0}}");
    expect_seen(m, "$A", "['bus']", 0,
                "{'sender':'$A','type':'call','id':2,'to':'bus','method':'Subscribe',"
                "'body':{'topic':'t'}}");
    expect_seen(m, "bus", "['$A']", 0,
                "{'sender':'bus','type':'reply','id':2,'body':{'subscription':1,'retained':0}}");

    client_send(b, "{'type':'event','topic':'t','body':null}");
    client_expect(a, "{'sender':'$B','type':'event','topic':'t','body':null}");
    expect_seen(m, "$B", "['$A']", 0, "{'sender':'$B','type':'event','topic':'t','body':null}");
    client_send(b, "{'type':'event','topic':'nobody'}");
    expect_seen(m, "$B", "[]", 0, "{'sender':'$B','type':'event','topic':'nobody'}");
    client_send(b, "{'type':'event','topic':'t','to':'$A'}");
    client_expect(a, "{'sender':'$B','type':'event','topic':'t','to':'$A'}");
    expect_seen(m, "$B", "['$A']", 0, "{'sender':'$B','type':'event','topic':'t','to':'$A'}");
}

static void test_errors_and_cancels(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *m = connect_monitor(session, "{}");

    client_send(a, "{'type':'call','id':1,'to':'$B','method':'M'}");
    client_expect(b, "{'sender':'$A','type':'call','id':1,'to':'$B','method':'M'}");
    client_send(a, "{'type':'cancel','to':'$B','id':1}");
    client_expect(b, "{'sender':'$A','type':'cancel','id':1,'reason':'cancelled'}");
    client_expect_error(a, 1, "bus.Cancelled");
    client_send(a, "{'type':'call','id':2,'to':'org.example.No','method':'M'}");
    client_expect_error(a, 2, "bus.NameUnknown");

    expect_seen(m, "$A", "['$B']", 0,
                "{'sender':'$A','type':'call','id':1,'to':'$B','method':'M'}");
    client_expect(m, "{'sender':'bus','type':'event','topic':'bus.monitor','body':{'...':0,"
                     "'to':['$B'],'message':{'sender':'$A','type':'cancel','id':1,"
                     "'reason':'cancelled'}}}");
    expect_seen(m, "bus", "['$A']", 0,
                "{'sender':'bus','type':'error','id':1,'error':'bus.Cancelled','message':'*'}");
    expect_seen(m, "$A", "[]", 0,
                "{'sender':'$A','type':'call','id':2,'to':'org.example.No','method':'M'}");
    expect_seen(m, "bus", "['$A']", 0,
                "{'sender':'bus','type':'error','id':2,'error':'bus.NameUnknown','message':'*'}");
}

static void test_several_receivers(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    struct client *m;

    client_ask(b, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
    client_ask(c, "Subscribe", "{'topic':'#'}", "{'subscription':1,'retained':0}");
    m = connect_monitor(session, "{}");
    client_send(a, "{'type':'event','topic':'t'}");
    client_expect(b, "{'sender':'$A','type':'event','topic':'t'}");
    client_expect(c, "{'sender':'$A','type':'event','topic':'t'}");
    struct message *message = client_next(m);
    json_t *to = json_object_get(json_object_get(message->json, "body"), "to");
    assert_int_equal(json_array_size(to), 2);
    assert_string_not_equal(json_string_value(json_array_get(to, 0)),
                            json_string_value(json_array_get(to, 1)));
    message_free(message);
}

/* Nothing of its own: neither what it sends nor what it gets, nor what another
 * monitor gets about it. */
static void test_not_its_own(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *m = connect_monitor(session, "{}");

    client_ask(m, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
    client_send(m, "{'type':'event','topic':'t','body':1}");
    client_expect(m, "{'sender':'$M','type':'event','topic':'t','body':1}");
    client_send(m, "{'type':'call','id':1,'to':'$A','method':'X'}");
    client_expect(a, "{'sender':'$M','type':'call','id':1,'to':'$A','method':'X'}");
    client_send(a, "{'type':'reply','to':'$M','id':1}");
    client_expect(m, "{'sender':'$A','type':'reply','to':'$M','id':1}");
    client_send(a, "{'type':'event','topic':'t','body':2}");
    client_expect(m, "{'sender':'$A','type':'event','topic':'t','body':2}");
}

/* Two monitors do not feed on each other. */
static void test_two_monitors(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *m = connect_monitor(session, "{}");
    struct client *n = session_connect(session, "N");

    /* M sees N connect to nothing but the bus. */
    client_send(n, "{'type':'call','id':1,'to':'bus','method':'Monitor'}");
    client_expect(n, "{'sender':'bus','type':'reply','id':1,'body':{}}");
    struct message *message;
    while (message = client_next(m), !strstr(message->line, "\"reply\""))
        message_free(message);
    message_free(message);

    client_send(a, "{'type':'event','topic':'t'}");
    expect_seen(m, "$A", "[]", 0, "{'sender':'$A','type':'event','topic':'t'}");
    expect_seen(n, "$A", "[]", 0, "{'sender':'$A','type':'event','topic':'t'}");
}

static void test_fds(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *m = connect_monitor(session, "{}");
    int fd[3], received[3];

    files_open(fd, 3, 0);
    client_send_fds(a, fd, 3, "{'type':'event','topic':'t','to':'$B','fds':3}");
    files_close(fd, 3);
    client_expect_fds(b, received, 3, "{'sender':'$A','type':'event','topic':'t','to':'$B'}");
    files_expect(received, 3, 0);
    /* The number, and what the message said, but not the fds themselves. */
    expect_seen(m, "$A", "['$B']", 3,
                "{'sender':'$A','type':'event','topic':'t','to':'$B','fds':3}");
    client_send_fds(a, received, 0, "{'type':'event','topic':'t','to':'$B'}");
    client_expect(b, "{'sender':'$A','type':'event','topic':'t','to':'$B'}");
    expect_seen(m, "$A", "['$B']", 0, "{'sender':'$A','type':'event','topic':'t','to':'$B'}");
}

static void test_filter_type(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *m = connect_monitor(session, "{'type':'event'}");

    client_send(a, "{'type':'call','id':1,'to':'bus','method':'Ping'}");
    client_expect(a, "{'sender':'bus','type':'reply','id':1,'body':{}}");
    client_send(a, "{'type':'event','topic':'t'}");
    expect_seen(m, "$A", "[]", 0, "{'sender':'$A','type':'event','topic':'t'}");
}

static void test_filter_topic(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *m = connect_monitor(session, "{'topic':'a.*'}");

    client_send(a, "{'type':'event','topic':'b.b'}");
    client_send(a, "{'type':'event','topic':'a.b'}");
    client_send(a, "{'type':'event','topic':'a'}");
    expect_seen(m, "$A", "[]", 0, "{'sender':'$A','type':'event','topic':'a.b'}");
}

static void test_filter_names(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *m;

    client_ask(b, "RequestName", "{'name':'org.example.B'}", "{'state':'owner'}");
    m = connect_monitor(session, "{'type':'call','to':'org.example.B'}");
    client_ask(m, "Monitor", "{'from':'$B','type':'reply'}", "{}");
    client_send(a, "{'type':'call','id':1,'to':'org.example.B','method':'M'}");
    client_expect(b, "{'sender':'$A','type':'call','id':1,'to':'org.example.B','method':'M'}");
    client_send(a, "{'type':'call','id':2,'to':'$B','method':'M'}");
    client_expect(b, "{'sender':'$A','type':'call','id':2,'to':'$B','method':'M'}");
    client_send(b, "{'type':'reply','to':'$A','id':1}");
    client_expect(a, "{'sender':'$B','type':'reply','to':'$A','id':1}");
    client_send(b, "{'type':'error','to':'$A','id':2,'error':'a.b'}");
    client_expect(a, "{'sender':'$B','type':'error','to':'$A','id':2,'error':'a.b'}");
    /* Well-known or unique, it is the same connection. */
    expect_seen(m, "$A", "['$B']", 0,
                "{'sender':'$A','type':'call','id':1,'to':'org.example.B','method':'M'}");
    expect_seen(m, "$A", "['$B']", 0,
                "{'sender':'$A','type':'call','id':2,'to':'$B','method':'M'}");
    expect_seen(m, "$B", "['$A']", 0, "{'sender':'$B','type':'reply','to':'$A','id':1}");
}

static void test_filter_the_bus(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *m = connect_monitor(session, "{'from':'bus','type':'error'}");

    client_send(a, "{'type':'event','topic':'t','to':'$B'}");
    client_expect(b, "{'sender':'$A','type':'event','topic':'t','to':'$B'}");
    client_send(a, "{'type':'call','id':1,'to':'bus','method':'No'}");
    client_expect_error(a, 1, "bus.MethodUnknown");
    expect_seen(m, "bus", "['$A']", 0,
                "{'sender':'bus','type':'error','id':1,'error':'bus.MethodUnknown','message':'*'}");
}

/* Once, however many of its filters fit. */
static void test_several_filters(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *m = connect_monitor(session, "{'type':'event'}");

    client_ask(m, "Monitor", "{'topic':'#'}", "{}");
    client_ask(m, "Monitor", "{'topic':'t','from':'$A'}", "{}");
    client_send(a, "{'type':'event','topic':'t'}");
    expect_seen(m, "$A", "[]", 0, "{'sender':'$A','type':'event','topic':'t'}");
}

static void test_events_of_the_bus(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *m = connect_monitor(session, "{'topic':'bus.name.#'}");

    client_ask(a, "RequestName", "{'name':'org.example.A'}", "{'state':'owner'}");
    expect_seen(m, "bus", "[]", 0,
                "{'sender':'bus','type':'event','topic':'bus.name.org.example.A',"
                "'body':{'owner':'$A'}}");
}

/* Two clocks, both of them now. */
static void test_time(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *m = connect_monitor(session, "{}");
    double monotonic = (double)process_now() / 1000;

    client_send(a, "{'type':'event','topic':'t'}");
    struct message *message = client_next(m);
    json_t *body = json_object_get(message->json, "body");
    double difference = json_real_value(json_object_get(body, "monotonic")) - monotonic;
    assert_true(difference > -0.01 && difference < 10);
    difference = json_real_value(json_object_get(body, "time")) - (double)time(NULL);
    assert_true(difference > -2 && difference < 10);
    message_free(message);
}

/* A body that looks like the end of the event changes nothing. */
static void test_verbatim(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *m = connect_monitor(session, "{}");

    client_send(a, "{ 'type':'event' ,'topic':'t','body':'}}]\\u0022,\\'fds\\':9' }");
    struct message *message = client_next(m);
    CLEANUP(cleanup_free)
    char *tail = client_expand(session, "'message':{'sender':'$A', 'type':'event' ,'topic':'t',"
                                        "'body':'}}]\\u0022,\\'fds\\':9' }}}");
    assert_true(message->size > strlen(tail));
    assert_string_equal(message->line + message->size - strlen(tail), tail);
    message_free(message);
}

/* A monitor that does not read is told how much it missed, and holds up nobody. */
static void test_slow_monitor(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *m = connect_monitor(session, "{'topic':'t.#'}");
    CLEANUP(cleanup_free) char *filler = malloc(2001);
    unsigned seen = 0, count = 1000;

    memset(filler, 'x', 2000);
    filler[2000] = '\0';
    for (unsigned n = 0; n < count; n++) {
        client_send(a, "{'type':'event','topic':'t.%u','body':'%s'}", n, filler);
        if (n % 10 == 9)
            client_ask(a, "Ping", "{}", "{}");
    }
    struct message *message;
    while (message = client_next(m), !strstr(message->line, "bus.overflow")) {
        seen++;
        message_free(message);
    }
    assert_in_range(seen, 1, count - 1);
    json_t *body = json_object_get(message->json, "body");
    assert_string_equal(json_string_value(json_object_get(message->json, "topic")), "bus.overflow");
    assert_string_equal(json_string_value(json_object_get(body, "first")), "bus.monitor");
    assert_int_equal(json_integer_value(json_object_get(body, "lost")), count - seen);
    message_free(message);
}

static const struct transcript transcripts[] = {
    TRANSCRIPT(test_everything),
    TRANSCRIPT(test_errors_and_cancels),
    TRANSCRIPT(test_several_receivers),
    TRANSCRIPT(test_not_its_own),
    TRANSCRIPT(test_two_monitors),
    TRANSCRIPT(test_fds),
    TRANSCRIPT(test_filter_type),
    TRANSCRIPT(test_filter_topic),
    TRANSCRIPT(test_filter_names),
    TRANSCRIPT(test_filter_the_bus),
    TRANSCRIPT(test_several_filters),
    TRANSCRIPT(test_events_of_the_bus),
    TRANSCRIPT_PLAIN(test_time),
    TRANSCRIPT(test_verbatim),
    {.name = "test_slow_monitor",
     .run = test_slow_monitor,
     .args = BUSD_ARGS("--limit", "queue_bytes=65536"),
     .plain_only = true},
};

int main(void)
{
    return TRANSCRIPTS_RUN("monitor", transcripts);
}
