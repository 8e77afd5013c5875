/* SPDX-License-Identifier: MIT */
/*
 * Attacks by those who would like to be taken for somebody else: for the bus, for the one
 * who is asked, for the owner of a name. Nobody sees anything of it, and another user's
 * calls go on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/bus.h"
#include "tests/support/bystander.h"
#include "tests/support/policy.h"

#define MALLORY 12001
#define ALICE   12002

#define ALL_IDS (1u << 16)

/* ------------------------------------------------------------ forged messages */

/* What only the bus may send, each with the complaint that it earns. A has a call with
 * id 1 to S outstanding, and one with id 2 to nobody. */
static const struct {
    const char *line;
    const char *error;
} forged[] = {
    {"{'type':'event','topic':'bus.welcome','body':{'name':':1'}}", "bus.AccessDenied"},
    {"{'type':'event','topic':'bus.welcome','to':'$A','body':{'name':':1'}}", "bus.AccessDenied"},
    {"{'type':'event','topic':'bus.overflow','to':'$A','body':{'lost':9}}", "bus.AccessDenied"},
    {"{'type':'event','topic':'bus.monitor','to':'$A','body':{}}", "bus.AccessDenied"},
    {"{'type':'event','topic':'bus.name.org.example.S','body':{'owner':'$M','old':'$S'}}",
     "bus.AccessDenied"},
    {"{'type':'event','topic':'bus.name.org.example.S','to':'$A','body':null}", "bus.AccessDenied"},
    {"{'type':'event','topic':'bus.peer.@S','body':null}", "bus.AccessDenied"},
    {"{'type':'event','topic':'bus.subscribers.t','body':{'count':0}}", "bus.AccessDenied"},
    {"{'type':'event','topic':'bus','body':null}", "bus.AccessDenied"},
    {"{'type':'event','topic':'t.x','sender':'bus'}", "bus.InvalidMessage"},
    {"{'type':'event','topic':'t.x','sender':'$S'}", "bus.InvalidMessage"},
    {"{'type':'event','topic':'t.x','retained':true}", "bus.InvalidMessage"},
    {"{'type':'event','topic':'t.x','retained':false}", "bus.InvalidMessage"},
    {"{'type':'event','topic':'org.example.S.x','body':1}", "bus.AccessDenied"},
    {"{'type':'reply','to':'$A','id':1}", "bus.NoSuchCall"},
    {"{'type':'reply','to':'$A','id':1,'more':true}", "bus.NoSuchCall"},
    {"{'type':'reply','to':'$A','id':1,'sender':'$S'}", "bus.InvalidMessage"},
    {"{'type':'error','to':'$A','id':1,'error':'bus.NoReply'}", "bus.NoSuchCall"},
    {"{'type':'error','to':'$A','id':1,'error':'bus.Timeout','about':{}}", "bus.InvalidMessage"},
    {"{'type':'error','to':'$A','id':1,'error':'bus.Timeout','offset':1}", "bus.InvalidMessage"},
    {"{'type':'error','to':'$A','error':'bus.Timeout','message':'m'}", "bus.InvalidMessage"},
    {"{'type':'error','error':'bus.TooLarge','about':{}}", "bus.InvalidMessage"},
    {"{'type':'cancel','to':'$S','id':1}", "bus.NoSuchCall"},
    {"{'type':'cancel','to':'org.example.S','id':1}", "bus.NoSuchCall"},
    {"{'type':'cancel','to':'$S','id':1,'reason':'disconnected'}", "bus.InvalidMessage"},
    {"{'type':'cancel','to':'$S','id':1,'sender':'$A'}", "bus.InvalidMessage"},
    {"{'type':'welcome','to':'$A'}", "bus.InvalidMessage"},
    {"{'type':'call','id':1,'to':'$S','method':'M','sender':'$A'}", "bus.InvalidMessage"},
    {"{'type':'call','id':1,'to':'$S','method':'M','\\u0073ender':'$A'}", "bus.InvalidMessage"},
    {"{'type':'call','type':'event','topic':'t.x'}", "bus.InvalidMessage"},
};

static void test_forged_messages(struct session *session)
{
    struct bystander bystander;

    bystander_start(&bystander, session);
    struct client *a = session_connect_as_user(session, "A", ALICE);
    struct client *s = session_connect_as_user(session, "S", ALICE);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    client_ask(s, "RequestName", "{'name':'org.example.S'}", "{'state':'owner'}");
    client_ask(a, "Subscribe", "{'topic':'*.#'}", "{'subscription':1,'retained':0}");
    client_ask(a, "Subscribe", "{'topic':'bus.welcome'}", "{'subscription':2,'retained':0}");
    client_send(a, "{'type':'call','id':1,'to':'org.example.S','method':'M'}");
    client_expect(s, "{'sender':'$A','type':'call','id':1,'to':'org.example.S','method':'M'}");
    for (size_t i = 0; i < ARRAY_SIZE(forged); i++) {
        CLEANUP(cleanup_free) char *line = client_expand(session, "%s", forged[i].line);
        CLEANUP(cleanup_free) char *error = client_expand(session, "'error':'%s'", forged[i].error);
        client_send(m, "%s", forged[i].line);
        struct message *message = client_next(m);
        CHECK(message && strstr(message->line, error), "%s was answered with %s", line,
              message ? message->line : "the end");
        message_free(message);
        client_expect_nothing(a);
        client_expect_nothing(s);
        client_ask(m, "Ping", "{}", "{}");
    }
    client_send(s, "{'type':'reply','to':'$A','id':1,'body':'true'}");
    client_expect(a, "{'sender':'$S','type':'reply','to':'$A','id':1,'body':'true'}");
    bystander_stop(&bystander, session, 3);
}

/* Answers to every id that could be the one. */
static void test_all_ids(struct session *session)
{
    struct bystander bystander;
    CLEANUP(cleanup_free) char *block = malloc((size_t)ALL_IDS * 64);
    size_t size = 0;

    assert_non_null(block);
    bystander_start(&bystander, session);
    struct client *a = session_connect_as_user(session, "A", ALICE);
    struct client *s = session_connect_as_user(session, "S", ALICE);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    client_send(a, "{'type':'call','id':4711,'to':'$S','method':'M'}");
    client_expect(s, "{'sender':'$A','type':'call','id':4711,'to':'$S','method':'M'}");
    for (unsigned id = 1; id <= ALL_IDS; id++)
        size += (size_t)sprintf(block + size, "{\"type\":\"reply\",\"to\":\"%s\",\"id\":%u}\n",
                                a->unique, id);
    client_pour(m, block, size);
    client_send(s, "{'type':'reply','to':'$A','id':4711,'body':1}");
    client_expect(a, "{'sender':'$S','type':'reply','to':'$A','id':4711,'body':1}");
    client_expect_nothing(a);
    client_free(m);
    bystander_stop(&bystander, session, 2);
}

/* --------------------------------------------------------------- false owners */

/* Two users ask for a name at the same time, over and over; the policy lets only one of
 * them have it. */
static void test_squatting(struct session *session)
{
    struct bystander bystander;

    bystander_start(&bystander, session);
    struct client *a = session_connect_as_user(session, "A", ALICE);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    for (unsigned i = 0; i < 500; i++) {
        struct client *first = random_below(&session->random, 2) ? a : m;
        for (unsigned n = 0; n < 2; n++, first = first == a ? m : a)
            client_send(first,
                        "{'type':'call','id':%u,'to':'bus','method':'RequestName','body':"
                        "{'name':'org.alice.Service','queue':true,'replace':true}}",
                        i + 1);
        client_expect_error(m, i + 1, "bus.AccessDenied");
        client_expect(a, "{'sender':'bus','type':'reply','id':%u,'body':{'state':'owner'}}", i + 1);
        client_ask(a, "ReleaseName", "{'name':'org.alice.Service'}", "{}");
    }
    bystander_stop(&bystander, session, 2);
}

/* What a subscriber of the library has been shown: the bodies, one a word. */
struct shown {
    char bodies[256];
};

static void on_event(struct bus_message *message, void *userdata)
{
    struct shown *shown = userdata;
    size_t size, length = strlen(shown->bodies);
    const char *body = bus_message_body_text(message, &size);

    snprintf(shown->bodies + length, sizeof(shown->bodies) - length, "%.*s ", (int)size, body);
}

static void publish(struct client *client, const char *to, const char *body)
{
    client_send(client, "{'type':'event','topic':'t'%s,'body':'%s'}", to, body);
    client_ask(client, "Ping", "{}", "{}");
}

static void pump(struct bus *bus)
{
    while (bus_wait(bus, 100) == 1)
        assert_true(bus_process(bus) >= 0);
}

/* Events of the owner of a name, for a subscriber with the library: from one who is not
 * the owner yet, not any more, or never, to everybody and to the subscriber alone, none
 * is shown. */
static void test_false_owners(struct session *session)
{
    struct bystander bystander;
    struct shown shown = {0};
    struct bus *bus;
    char to[64];

    bystander_start(&bystander, session);
    struct client *a = session_connect_as_user(session, "A", ALICE);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    assert_int_equal(bus_connect(&bus, session->busd.address), 0);
    assert_int_equal(bus_subscribe(bus, "t", "org.example.Sensor", on_event, &shown, NULL, NULL),
                     0);
    snprintf(to, sizeof(to), ",'to':'%s'", bus_unique_name(bus));

    publish(m, "", "before");
    publish(m, to, "before-alone");
    client_ask(a, "RequestName", "{'name':'org.example.Sensor'}", "{'state':'owner'}");
    publish(a, "", "1");
    publish(m, "", "while");
    publish(m, to, "while-alone");
    publish(a, to, "2");
    client_ask(m, "RequestName", "{'name':'org.example.Sensor','queue':true}",
               "{'state':'queued'}");
    publish(m, to, "queued");
    client_ask(a, "ReleaseName", "{'name':'org.example.Sensor'}", "{}");
    publish(a, "", "after");
    publish(a, to, "after-alone");
    publish(m, to, "3");
    client_ask(m, "ReleaseName", "{'name':'org.example.Sensor'}", "{}");
    publish(m, "", "gone");
    publish(m, to, "gone-alone");
    pump(bus);
    assert_string_equal(shown.bodies, "\"1\" \"2\" \"3\" ");
    bus_close(bus);
    bystander_stop(&bystander, session, 2);
}

static const struct transcript transcripts[] = {
    TRANSCRIPT_PLAIN(test_forged_messages),
    TRANSCRIPT_PLAIN(test_all_ids),
    {.name = "test_squatting",
     .run = test_squatting,
     .config = POLICY("{'allow':'own','name':'org.alice.#','uid':12002},"
                      "{'deny':'own','name':'org.alice.#'},{'allow':'*'}"),
     .plain_only = true},
    TRANSCRIPT_PLAIN(test_false_owners),
};

int main(void)
{
    if (geteuid() != 0) {
        puts("skipped: it takes root to connect as several users");
        return 0;
    }
    return TRANSCRIPTS_RUN("attacks on identity", transcripts);
}
