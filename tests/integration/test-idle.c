/* SPDX-License-Identifier: MIT */
/*
 * An idle bus does nothing at all, however many are connected.
 */
#include <stdio.h>
#include <unistd.h>

#include "tests/support/process.h"
#include "tests/support/transcript.h"

static void connect_twenty(struct session *session)
{
    for (unsigned i = 0; i < 20; i++) {
        char name[16], topic[64], owned[64];
        snprintf(name, sizeof(name), "C%u", i);
        snprintf(topic, sizeof(topic), "{'topic':'some.%u.#'}", i);
        snprintf(owned, sizeof(owned), "{'name':'org.example.N%u'}", i);
        struct client *client = session_connect(session, name);
        client_ask(client, "Subscribe", topic, "{'subscription':1,'retained':0}");
        client_ask(client, "RequestName", owned, "{'state':'owner'}");
    }
}

static void assert_asleep(struct session *session)
{
    /* What was to be done has been done, and what is closed apart has been closed. */
    session_settle(session);
    usleep(300000);
    uint64_t before = process_context_switches(session->busd.pid);
    usleep(2000000);
    assert_int_equal(process_context_switches(session->busd.pid) - before, 0);
    assert_true(before > 0);
}

static void test_twenty_clients(struct session *session)
{
    connect_twenty(session);
    assert_asleep(session);
}

/* Neither a call without a deadline, nor one that has ended, nor half a line keeps it
 * awake. */
static void test_after_work(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    connect_twenty(session);
    client_send(a, "{'type':'call','id':1,'to':'$B','method':'M','timeout':0}");
    client_expect(b, "{'sender':'$A','type':'call','id':1,'to':'$B','method':'M','timeout':0}");
    client_send(a, "{'type':'call','id':2,'to':'$B','method':'M','timeout':60}");
    client_expect(b, "{'sender':'$A','type':'call','id':2,'to':'$B','method':'M','timeout':60}");
    client_send(b, "{'type':'reply','to':'$A','id':2}");
    client_expect(a, "{'sender':'$B','type':'reply','to':'$A','id':2}");
    client_send(a, "{'type':'call','id':3,'to':'$B','method':'M','timeout':60}");
    client_expect(b, "{'sender':'$A','type':'call','id':3,'to':'$B','method':'M','timeout':60}");
    client_expect_error(a, 3, "bus.Timeout");
    client_expect(b, "{'sender':'$A','type':'cancel','id':3,'reason':'timeout'}");
    assert_asleep(session);
}

/* What has been waited for and has come is forgotten; what is waited for wakes it a few
 * times at most. */
static void test_waiting(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    static const char line[] = "{\"type\":\"event\",\"topic\":\"t\"}\n";

    client_send_bytes(a, line, 10, NULL, 0);
    client_ask(b, "Ping", "{}", "{}");
    usleep(300000);
    uint64_t before = process_context_switches(session->busd.pid);
    usleep(2000000);
    assert_in_range(process_context_switches(session->busd.pid) - before, 0, 4);
    client_send_bytes(a, line + 10, sizeof(line) - 1 - 10, NULL, 0);
    assert_asleep(session);
}

static const struct transcript transcripts[] = {
    TRANSCRIPT_PLAIN(test_twenty_clients),
    TRANSCRIPT_PLAIN(test_after_work),
    TRANSCRIPT_PLAIN(test_waiting),
};

int main(void)
{
    return TRANSCRIPTS_RUN("idle", transcripts);
}
