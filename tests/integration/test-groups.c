/* SPDX-License-Identifier: MIT */
/*
 * Queue groups: who of the members gets which event. What becomes of those of a member
 * that goes is test-groups-handover.c's.
 */
#include <unistd.h>

#include "tests/support/group.h"

static void publish(struct client *client, const char *topic, unsigned number)
{
    client_send(client, "{'type':'event','topic':'%s','body':%u}", topic, number);
}

static void expect_shared(struct client *member, const struct client *from, const char *group,
                          const char *topic, unsigned number)
{
    client_expect(member, "{'sender':'%s','group':'%s','type':'event','topic':'%s','body':%u}",
                  from->unique, group, topic, number);
}

static void expect_plain(struct client *client, const struct client *from, const char *topic,
                         unsigned number)
{
    client_expect(client, "{'sender':'%s','type':'event','topic':'%s','body':%u}", from->unique,
                  topic, number);
}

/* -------------------------------------------------------------- the rules */

static void test_turns(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    struct client *p = session_connect(session, "P");
    struct client *s = session_connect(session, "S");
    struct client *const members[] = {a, b, c};

    for (unsigned i = 0; i < 3; i++)
        group_join(members[i], "job", "workers", 1);
    client_ask(s, "Subscribe", "{'topic':'#'}", "{'subscription':1,'retained':0}");
    for (unsigned i = 0; i < 9; i++) {
        publish(p, "job", i);
        expect_shared(members[i % 3], p, "workers", "job", i);
        expect_plain(s, p, "job", i);
    }
    /* The line has just the one key more, and in front. */
    client_send(p, "{'type':'event','topic':'job','x':[1, 2]}");
    client_expect_line(a, "{'sender':'$P','group':'workers','type':'event','topic':'job',"
                          "'x':[1, 2]}");
    client_expect_line(s, "{'sender':'$P','type':'event','topic':'job','x':[1, 2]}");
    /* Who leaves the group is out of it, who joins is in it. */
    client_ask(b, "Unsubscribe", "{'subscription':1}", "{}");
    for (unsigned i = 0; i < 4; i++) {
        publish(p, "job", i);
        expect_shared(i % 2 ? a : c, p, "workers", "job", i);
        expect_plain(s, p, "job", i);
    }
    client_close(a);
    session_wait_for_connections(session, s, 4);
    for (unsigned i = 0; i < 2; i++) {
        publish(p, "job", i);
        expect_shared(c, p, "workers", "job", i);
        expect_plain(s, p, "job", i);
    }
}

/* Topics have their turns together: few events on each are shared out all the same. */
static void test_many_topics(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *p = session_connect(session, "P");
    char topic[16];

    group_join(a, "job.*", "workers", 1);
    group_join(b, "job.#", "workers", 1);
    for (unsigned i = 0; i < 10; i++) {
        snprintf(topic, sizeof(topic), "job.%u", i);
        publish(p, topic, i);
        expect_shared(i % 2 ? a : b, p, "workers", topic, i);
    }
    /* The group is made of those whose patterns match. */
    publish(p, "job", 10);
    expect_shared(b, p, "workers", "job", 10);
    publish(p, "job.a.b", 11);
    expect_shared(b, p, "workers", "job.a.b", 11);
}

/* Groups do not know of each other, nor of other subscriptions of the same connection. */
static void test_other_subscriptions(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *p = session_connect(session, "P");

    group_join(a, "job", "one", 1);
    group_join(a, "job", "two", 2);
    group_join(b, "job", "one", 1);
    client_ask(a, "Subscribe", "{'topic':'job'}", "{'subscription':3,'retained':0}");
    publish(p, "job", 1);
    expect_plain(a, p, "job", 1);
    expect_shared(a, p, "one", "job", 1);
    expect_shared(a, p, "two", "job", 1);
    publish(p, "job", 2);
    expect_plain(a, p, "job", 2);
    expect_shared(b, p, "one", "job", 2);
    expect_shared(a, p, "two", "job", 2);
    /* With several patterns that match, a member has one turn nevertheless. */
    group_join(a, "#", "one", 4);
    group_join(a, "job", "one", 5);
    client_ask(a, "Unsubscribe", "{'subscription':3}", "{}");
    for (unsigned i = 3; i < 9; i++) {
        publish(p, "job", i);
        expect_shared(i % 2 ? a : b, p, "one", "job", i);
        expect_shared(a, p, "two", "job", i);
    }
    /* An event that is addressed is for the one it is addressed to. */
    client_send(p, "{'type':'event','topic':'job','to':'$B'}");
    client_expect(b, "{'sender':'$P','type':'event','topic':'job','to':'$B'}");
}

static void test_senders(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *p = session_connect(session, "P");
    struct client *q = session_connect(session, "Q");

    client_ask(q, "RequestName", "{'name':'org.example.Q'}", "{'state':'owner'}");
    CLEANUP(cleanup_free)
    char *from_p = client_expand(session, "{'topic':'job','group':'g','sender':'$P'}");
    client_ask(a, "Subscribe", from_p, "{'subscription':1,'retained':0}");
    client_ask(b, "Subscribe", "{'topic':'job','group':'g','sender':'org.example.Q'}",
               "{'subscription':1,'retained':0}");
    for (unsigned i = 0; i < 3; i++) {
        publish(p, "job", i);
        expect_shared(a, p, "g", "job", i);
        publish(q, "job", i);
        expect_shared(b, q, "g", "job", i);
    }
    /* Without a filter, a member's filters do not matter. */
    group_join(a, "*", "g", 2);
    publish(q, "job", 7);
    publish(q, "job", 8);
    expect_shared(a, q, "g", "job", 7);
    expect_shared(b, q, "g", "job", 8);
    client_ask(q, "ReleaseName", "{'name':'org.example.Q'}", "{}");
    publish(q, "job", 9);
    expect_shared(a, q, "g", "job", 9);
}

/* Among many members who wait for others' events the one whom it is for is found. */
static void test_many_senders(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *p = session_connect(session, "P");

    for (unsigned i = 0; i < 300; i++) {
        CLEANUP(cleanup_free)
        char *body = client_expand(session, "{'topic':'job','group':'g','sender':':%u'}", 1000 + i);
        json_decref(client_ask_json(a, "Subscribe", body));
    }
    CLEANUP(cleanup_free)
    char *body = client_expand(session, "{'topic':'job','group':'g','sender':'$P'}");
    client_ask(b, "Subscribe", body, "{'subscription':1,'retained':0}");
    for (unsigned i = 0; i < 3; i++) {
        publish(p, "job", i);
        expect_shared(b, p, "g", "job", i);
    }
    publish(a, "job", 3);
}

/* Nobody takes a share of what belongs to another user's group. */
static void test_users(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    if (geteuid() != 0)
        skip();
    struct client *x = session_connect_as_user(session, "X", 12001);
    group_join(a, "job", "g", 1);
    group_join(b, "job", "g", 1);
    group_join(x, "job", "g", 1);
    for (unsigned i = 0; i < 4; i++) {
        publish(a, "job", i);
        expect_shared(i % 2 ? b : a, a, "g", "job", i);
        expect_shared(x, a, "g", "job", i);
    }
    client_ask(a, "Stats", "{}", "{'groups':{'count':2,'handed_over':0,'dropped':0},'...':0}");
}

static void test_arguments(struct session *session)
{
    static const char *const wrong[] = {"",
                                        "a.b",
                                        "*",
                                        "#",
                                        "a b",
                                        "01234567890123456789012345678901234567890123"
                                        "456789012345678901234"};
    struct client *a = session_connect(session, "A");

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        CLEANUP(cleanup_free)
        char *body = client_expand(session, "{'topic':'t','group':'%s'}", wrong[i]);
        client_ask_error(a, "Subscribe", body, "bus.InvalidArguments");
    }
    client_ask_error(a, "Subscribe", "{'topic':'t','group':7}", "bus.InvalidArguments");
    client_ask_error(a, "Subscribe", "{'topic':'bus.name.*','group':'g'}", "bus.InvalidArguments");
    client_ask_error(a, "Subscribe", "{'topic':'t','group':'g','retained':'only'}",
                     "bus.InvalidArguments");
    client_ask_error(a, "Subscribe", "{'topic':'t','group':'g','overflow':'latest'}",
                     "bus.InvalidArguments");
    /* Only the bus says for which group an event is. */
    client_send(a, "{'type':'event','topic':'t','group':'g'}");
    client_expect_complaint(a, "bus.InvalidMessage", "{'type':'event','topic':'t'}");
    group_join(a, "t", "g-1_A", 1);
    client_ask(a, "Stats", "{'name':':1'}",
               "{'subscriptions':[{'subscription':1,'topic':'t','group':'g-1_A'}],'...':0}");
}

/* A group counts as one receiver. */
static void test_receipts(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *p = session_connect(session, "P");

    group_join(a, "job", "g", 1);
    group_join(b, "job", "g", 1);
    client_ask(b, "Subscribe", "{'topic':'job'}", "{'subscription':2,'retained':0}");
    client_send(p, "{'type':'event','id':1,'topic':'job','body':1}");
    client_expect(p, "{'sender':'bus','type':'reply','id':1,"
                     "'body':{'matched':2,'queued':2,'dropped':0}}");
    client_expect(b, "{'sender':'$P','type':'event','id':1,'topic':'job','body':1}");
    client_expect(a, "{'sender':'$P','group':'g','type':'event','id':1,'topic':'job','body':1}");
}

/* For publishers who want to know whether anybody listens it is one, too; and it does not
 * begin with last values. */
static void test_last_values_and_presence(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *p = session_connect(session, "P");

    client_send(p, "{'type':'event','topic':'job','retain':'connection','body':1}");
    client_ask(p, "Subscribe", "{'topic':'bus.subscribers.job'}",
               "{'subscription':1,'retained':1}");
    client_expect(p, "{'sender':'bus','type':'event','topic':'bus.subscribers.job',"
                     "'retained':true,'body':{'count':0}}");
    group_join(a, "job", "g", 1);
    client_expect(p, "{'sender':'bus','type':'event','topic':'bus.subscribers.job',"
                     "'body':{'count':1}}");
    group_join(b, "job", "g", 1);
    publish(p, "job", 2);
    expect_shared(a, p, "g", "job", 2);
    client_send(p, "{'type':'event','topic':'job','retain':'connection','body':3}");
    client_expect(b, "{'sender':'$P','group':'g','type':'event','topic':'job',"
                     "'retain':'connection','body':3}");
    client_close(a);
    client_close(b);
    client_expect(p, "{'sender':'bus','type':'event','topic':'bus.subscribers.job',"
                     "'body':{'count':0}}");
}

static void test_monitor(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *p = session_connect(session, "P");
    struct client *m = session_connect(session, "M");

    group_join(a, "job", "g", 1);
    client_ask(b, "Subscribe", "{'topic':'job'}", "{'subscription':1,'retained':0}");
    client_ask(m, "Monitor", "{'type':'event'}", "{}");
    publish(p, "job", 1);
    expect_plain(b, p, "job", 1);
    expect_shared(a, p, "g", "job", 1);
    client_expect(m, "{'sender':'bus','type':'event','topic':'bus.monitor','body':{'from':'$P',"
                     "'to':['$B','$A'],'message':{'sender':'$P','type':'event','topic':'job',"
                     "'body':1},'...':0}}");
}

static const struct transcript transcripts[] = {
    TRANSCRIPT(test_turns),
    TRANSCRIPT(test_many_topics),
    TRANSCRIPT(test_other_subscriptions),
    TRANSCRIPT(test_senders),
    TRANSCRIPT_PLAIN(test_many_senders),
    TRANSCRIPT(test_users),
    TRANSCRIPT(test_arguments),
    TRANSCRIPT(test_receipts),
    TRANSCRIPT(test_monitor),
    TRANSCRIPT_PLAIN(test_last_values_and_presence),
};

int main(void)
{
    return TRANSCRIPTS_RUN("groups", transcripts);
}
