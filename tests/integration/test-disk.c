/* SPDX-License-Identifier: MIT */
/*
 * Last values that outlive the bus: published with `retain` "disk", they are there after
 * it has ended or been killed; and what publishers are told when the disk does not take
 * them, while events go on as ever. That nothing is lost whenever it is killed is seen in
 * test-disk-kills.c.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/process.h"
#include "tests/support/transcript.h"

#define CONFIG "{'state':'DIR/state','listeners':[{'address':'unix:DIR/bus'}]}"

static void expect_receipt(struct client *client, unsigned id, unsigned matched)
{
    client_expect(client,
                  "{'sender':'bus','type':'reply','id':%u,"
                  "'body':{'matched':%u,'queued':%u,'dropped':0}}",
                  id, matched, matched);
}

/* Publishes, and waits until it is on the disk. */
static void keep(struct client *client, const char *topic, const char *body)
{
    client_send(client, "{'type':'event','topic':'%s','retain':'disk','id':77,'body':%s}", topic,
                body);
    expect_receipt(client, 77, 0);
}

/* A new client, who subscribes to t.# and is to get `values` of these. */
static struct client *subscribe(struct session *session, const char *name, unsigned values)
{
    struct client *client = session_connect(session, name);

    client_send(client, "{'type':'call','to':'bus','method':'Subscribe','id':1,"
                        "'body':{'topic':'t.#','retained':true}}");
    client_expect(client,
                  "{'sender':'bus','type':'reply','id':1,"
                  "'body':{'subscription':1,'retained':%u}}",
                  values);
    return client;
}

/* The files that have been opened meanwhile are not counted as forgotten. */
static void count_files(struct session *session)
{
    session->busd.fds = process_open_fds(session->busd.pid);
}

/* ------------------------------------------------------------ there again */

static void test_there_again(struct session *session)
{
    struct client *a = session_connect(session, "A");

    keep(a, "t.one", "1");
    keep(a, "t.two", "{'x':[1,2]}");
    keep(a, "t.two", "'newer'");
    keep(a, "t.gone", "5");
    keep(a, "t.gone", "null");
    keep(a, "t.bus", "6");
    client_send(a, "{'type':'event','topic':'t.bus','retain':'bus','id':78,'body':7}");
    expect_receipt(a, 78, 0);
    client_send(a, "{'type':'event','topic':'t.only','retain':'bus','body':8}");
    client_send(a, "{'x-trace':[1],'type':'event','topic':'t.rest','retain':'disk',"
                   "'ttl':3600000,'id':79,'body':9}");
    expect_receipt(a, 79, 0);
    /* Whatever has been taken has been written when the next receipt comes. */
    keep(a, "other", "0");
    session_restart(session, SIGKILL);

    struct client *b = subscribe(session, "B", 3);
    client_expect(b, "{'sender':'bus','retained':true,'type':'event','topic':'t.one',"
                     "'retain':'disk','id':77,'body':1}");
    client_expect(b, "{'sender':'bus','retained':true,'x-trace':[1],'type':'event',"
                     "'topic':'t.rest','retain':'disk','ttl':3600000,'id':79,'body':9}");
    client_expect(b, "{'sender':'bus','retained':true,'type':'event','topic':'t.two',"
                     "'retain':'disk','id':77,'body':'newer'}");
    /* They can be replaced and cleared as ever. */
    client_send(b, "{'type':'event','topic':'t.one','retain':'disk','id':2}");
    client_expect(b, "{'sender':'$B','type':'event','topic':'t.one','retain':'disk','id':2}");
    expect_receipt(b, 2, 1);
    client_send(b, "{'type':'event','topic':'t.two','retain':'disk','id':3,'body':10}");
    client_expect(b, "{'sender':'$B','type':'event','topic':'t.two','retain':'disk','id':3,"
                     "'body':10}");
    expect_receipt(b, 3, 1);
    session_restart(session, SIGTERM);

    struct client *c = subscribe(session, "C", 2);
    client_expect(c, "{'sender':'bus','retained':true,'x-trace':[1],'type':'event',"
                     "'topic':'t.rest','retain':'disk','ttl':3600000,'id':79,'body':9}");
    client_expect(c, "{'sender':'bus','retained':true,'type':'event','topic':'t.two',"
                     "'retain':'disk','id':3,'body':10}");
}

/* A value's time goes on while the bus does not run. */
static void test_ttl(struct session *session)
{
    struct client *a = session_connect(session, "A");

    client_send(a, "{'type':'event','topic':'t.soon','retain':'disk','ttl':1,'id':1,'body':1}");
    client_send(a, "{'type':'event','topic':'t.late','retain':'disk','ttl':3000,'id':2,'body':2}");
    expect_receipt(a, 1, 0);
    expect_receipt(a, 2, 0);
    session_restart(session, SIGKILL);
    struct client *b = subscribe(session, "B", 1);
    client_expect(b, "{'sender':'bus','retained':true,'type':'event','topic':'t.late',"
                     "'retain':'disk','ttl':3000,'id':2,'body':2}");
    client_expect(b, "{'sender':'bus','type':'event','topic':'t.late','body':null}");
    session_restart(session, SIGKILL);
    subscribe(session, "C", 0);
}

/* What has been sent when SIGTERM comes is written, and the receipts come before the
 * goodbye. */
static void test_sigterm(struct session *session)
{
    struct client *a = session_connect(session, "A");
    char topic[32];

    for (unsigned i = 1; i <= 100; i++)
        client_send(a, "{'type':'event','topic':'t.%u','retain':'disk','id':%u,'body':%u}", i, i,
                    i);
    kill(session->busd.pid, SIGTERM);
    for (unsigned i = 1; i <= 100; i++)
        expect_receipt(a, i, 0);
    client_expect_goodbye(a, "the bus is shutting down");
    int status;
    assert_true(process_wait(session->busd.pid, 20000, &status));
    assert_int_equal(status, 0);
    session->busd.pid = 0;
    session_restart(session, 0);
    struct client *b = subscribe(session, "B", 100);
    for (unsigned i = 1; i <= 100; i++) {
        struct message *message = client_next(b);
        snprintf(topic, sizeof(topic), "t.%d",
                 (int)json_integer_value(json_object_get(message->json, "body")));
        assert_string_equal(json_string_value(json_object_get(message->json, "topic")), topic);
        message_free(message);
    }
}

/* ------------------------------------------------------------- no disk */

/* Without a folder an event is what it is otherwise, and an error says the rest. */
static void test_no_folder(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = subscribe(session, "B", 0);

    client_send(a, "{'type':'event','topic':'t.x','retain':'disk','id':1,'body':1}");
    client_expect(b, "{'sender':'$A','type':'event','topic':'t.x','retain':'disk','id':1,"
                     "'body':1}");
    client_expect(a, "{'sender':'bus','type':'error','error':'bus.StorageFailed','id':1,"
                     "'message':'the bus has no state folder (--state): the value lasts as long "
                     "as the bus'}");
    client_send(a, "{'type':'event','topic':'t.x','retain':'disk','body':2}");
    client_expect(b, "{'sender':'$A','type':'event','topic':'t.x','retain':'disk','body':2}");
    client_expect_complaint(a, "bus.StorageFailed", "{'type':'event','topic':'t.x'}");
    struct client *c = subscribe(session, "C", 1);
    client_expect(c, "{'sender':'$A','retained':true,'type':'event','topic':'t.x',"
                     "'retain':'disk','body':2}");
    /* What is not there need not be removed. */
    client_send(a, "{'type':'event','topic':'t.x','retain':'disk','id':3,'body':null}");
    client_expect(b, "{'sender':'$A','type':'event','topic':'t.x','retain':'disk','id':3,"
                     "'body':null}");
    client_expect(c, "{'sender':'$A','type':'event','topic':'t.x','retain':'disk','id':3,"
                     "'body':null}");
    expect_receipt(a, 3, 2);
}

static void limit_files(const struct session *session, rlim_t size)
{
    struct rlimit limit = {size, RLIM_INFINITY};

    assert_int_equal(prlimit(session->busd.pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

/* A disk that is full: values last as long as the bus, what was there stays there, events
 * go on, and all is well when there is room again. */
static void test_full(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = subscribe(session, "B", 0);
    static char large[100001];

    memset(large, 'x', sizeof(large) - 1);
    client_send(a, "{'type':'event','topic':'t.x','retain':'disk','id':1,'body':'old'}");
    client_expect(b, "{'sender':'$A','type':'event','topic':'t.x','retain':'disk','id':1,"
                     "'body':'old'}");
    expect_receipt(a, 1, 1);
    count_files(session);
    limit_files(session, 65536);
    client_send(a, "{'type':'event','topic':'t.x','retain':'disk','id':2,'body':'%s'}", large);
    client_expect(b,
                  "{'sender':'$A','type':'event','topic':'t.x','retain':'disk','id':2,"
                  "'body':'%s'}",
                  large);
    client_expect(a, "{'sender':'bus','type':'error','error':'bus.StorageFailed','id':2,"
                     "'message':'the disk is full: the value lasts as long as the bus'}");
    client_send(a, "{'type':'event','topic':'t.x','retain':'disk','body':'%s'}", large);
    client_expect(b,
                  "{'sender':'$A','type':'event','topic':'t.x','retain':'disk',"
                  "'body':'%s'}",
                  large);
    client_expect_complaint(a, "bus.StorageFailed", "{'type':'event','topic':'t.x'}");
    assert_true(busd_has_logged(&session->busd, "values do not reach the disk, and last as long "
                                                "as the bus: cannot write to retained.db"));
    /* It is the topic's value nevertheless, as long as the bus lasts. */
    struct client *c = subscribe(session, "C", 1);
    client_expect(c,
                  "{'sender':'$A','retained':true,'type':'event','topic':'t.x',"
                  "'retain':'disk','body':'%s'}",
                  large);
    session_restart(session, SIGKILL);
    struct client *d = subscribe(session, "D", 1);
    client_expect(d, "{'sender':'bus','retained':true,'type':'event','topic':'t.x',"
                     "'retain':'disk','id':1,'body':'old'}");
    limit_files(session, 65536);
    client_send(d, "{'type':'event','topic':'u','retain':'disk','id':2,'body':'%s'}", large);
    client_expect_error(d, 2, "bus.StorageFailed");
    limit_files(session, RLIM_INFINITY);
    client_send(d, "{'type':'event','topic':'u','retain':'disk','id':2,'body':'%s'}", large);
    expect_receipt(d, 2, 0);
    assert_true(busd_has_logged(&session->busd, "values reach the disk again"));
}

/* ---------------------------------------------------------------- damage */

static void test_damage(struct session *session)
{
    struct client *a = session_connect(session, "A");
    char path[96];

    keep(a, "t.x", "1");
    session_restart(session, SIGTERM);
    snprintf(path, sizeof(path), "%s/state/retained.db", session->busd.directory);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(write(fd, "noise", 5), 5);
    close(fd);
    session_restart(session, SIGTERM);
    assert_true(busd_has_logged(&session->busd, "it is now "));
    struct client *b = subscribe(session, "B", 0);
    client_send(b, "{'type':'event','topic':'x','retain':'disk','id':1,'body':1}");
    expect_receipt(b, 1, 0);
    session_restart(session, SIGTERM);
}

/* ---------------------------------------------------------------- limits */

/* More than may wait for the disk is refused, and nothing comes of it. */
static void test_limit(struct session *session)
{
    struct client *a = session_connect(session, "A");
    static char large[5001];

    memset(large, 'x', sizeof(large) - 1);
    subscribe(session, "B", 0);
    client_send(a, "{'type':'event','topic':'t.x','retain':'disk','id':1,'body':'%s'}", large);
    client_expect_error(a, 1, "bus.LimitExceeded");
    client_send(a, "{'type':'event','topic':'t.x','retain':'disk','body':'%s'}", large);
    client_expect_complaint(a, "bus.LimitExceeded", "{'type':'event','topic':'t.x'}");
    keep(a, "fits", "1");
    subscribe(session, "C", 0);
    count_files(session);
}

/* What users may not have any more is not theirs, but not lost. */
static void test_fewer(struct session *session)
{
    struct client *a = session_connect(session, "A");

    keep(a, "t.1", "1");
    keep(a, "t.2", "2");
    keep(a, "t.3", "3");
    assert_int_equal(busd_configure(&session->busd,
                                    "{'state':'DIR/state','limits':{'retained_per_user':2},"
                                    "'listeners':[{'address':'unix:DIR/bus'}]}"),
                     0);
    session_restart(session, SIGTERM);
    assert_true(busd_has_logged(&session->busd, "1 values are more than their users may have"));
    struct client *b = subscribe(session, "B", 2);
    message_free(client_next(b));
    message_free(client_next(b));
    assert_int_equal(busd_configure(&session->busd, CONFIG), 0);
    session_restart(session, SIGTERM);
    struct client *c = subscribe(session, "C", 3);
    for (unsigned i = 0; i < 3; i++)
        message_free(client_next(c));
}

#define ON_DISK(function)                                                                          \
    {                                                                                              \
        .name = #function, .run = function, .config = CONFIG, .plain_only = true                   \
    }

int main(void)
{
    const struct transcript transcripts[] = {
        TRANSCRIPT_CONFIGURED(test_there_again, CONFIG),
        ON_DISK(test_ttl),
        ON_DISK(test_sigterm),
        TRANSCRIPT(test_no_folder),
        ON_DISK(test_full),
        ON_DISK(test_damage),
        {.name = "test_limit",
         .run = test_limit,
         .config = CONFIG,
         .args = BUSD_ARGS("--limit", "unstored_bytes_per_user=4096")},
        ON_DISK(test_fewer),
    };

    return TRANSCRIPTS_RUN("disk", transcripts);
}
