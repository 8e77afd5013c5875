/* SPDX-License-Identifier: MIT */
/*
 * Rubbish from one client, in any amount and cut anywhere, is that client's affair:
 * a bystander's calls go on unharmed all the while.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/support/files.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"

#define LINES 100000

/* A bystander and the service that it calls. */
struct bystander {
    struct client *a;
    struct client *b;
    unsigned calls;
};

static struct bystander connect_bystander(struct session *session)
{
    struct bystander bystander = {session_connect(session, "A"), session_connect(session, "B"), 0};

    client_ask(bystander.b, "RequestName", "{'name':'org.example.B'}", "{'state':'owner'}");
    return bystander;
}

static void call(struct bystander *bystander)
{
    unsigned id = ++bystander->calls;

    client_send(bystander->a, "{'type':'call','id':%u,'to':'org.example.B','method':'M','body':%u}",
                id, id);
    client_expect(bystander->b,
                  "{'sender':'$A','type':'call','id':%u,'to':'org.example.B','method':'M',"
                  "'body':%u}",
                  id, id);
    client_send(bystander->b, "{'type':'reply','to':'$A','id':%u,'body':[%u]}", id, id);
    client_expect(bystander->a, "{'sender':'$B','type':'reply','to':'$A','id':%u,'body':[%u]}", id,
                  id);
}

static const char *const valid_lines[] = {
    "{\"type\":\"call\",\"id\":7,\"to\":\"bus\",\"method\":\"Ping\",\"body\":{}}",
    "{\"type\":\"call\",\"id\":8,\"to\":\"org.example.B\",\"method\":\"M\",\"timeout\":5}",
    "{\"type\":\"event\",\"topic\":\"some.topic\",\"body\":{\"a\":[1,2.5e3,\"\\u00e9\"]}}",
    "{\"type\":\"reply\",\"to\":\":1\",\"id\":1,\"body\":null}",
    "{\"type\":\"error\",\"to\":\":1\",\"id\":1,\"error\":\"a.b\",\"message\":\"m\"}",
    "{\"type\":\"cancel\",\"to\":\"org.example.B\",\"id\":8}",
};

/* Random bytes, or a valid line with damage that cannot make another valid one; no LF.
 * Returns its length. */
static size_t make_garbage(struct random *random, char *line, size_t size_max)
{
    const char *valid = valid_lines[random_below(random, ARRAY_SIZE(valid_lines))];
    size_t size;

    if (random_one_in(random, 2)) {
        size = 1 + random_below(random, (unsigned)size_max);
        for (size_t i = 0; i < size; i++)
            line[i] = (char)random_next(random);
        line[0] = "{[\"x\xff\x00}"[random_below(random, 7)];
    } else {
        size = strlen(valid);
        memcpy(line, valid, size);
        if (random_one_in(random, 2))
            size = 1 + random_below(random, (unsigned)size - 1);
        else
            line[random_below(random, (unsigned)size)] =
                "\x01\x80\x1f\xff"[random_below(random, 4)];
    }
    for (size_t i = 0; i < size; i++)
        if (line[i] == '\n')
            line[i] = '\0';
    return size;
}

/* Reads up to the reply to the call with this id. What comes before it must be
 * complaints about lines; returns how many. */
static unsigned read_complaints(struct client *client, unsigned id)
{
    for (unsigned complaints = 0;; complaints++) {
        struct message *message = client_next(client);
        CHECK(message, "the connection has ended");
        const char *error = json_string_value(json_object_get(message->json, "error"));
        bool reply = json_integer_value(json_object_get(message->json, "id")) == id;
        CHECK(reply || (error && (strcmp(error, "bus.ParseError") == 0 ||
                                  strcmp(error, "bus.InvalidMessage") == 0)),
              "%s", message->line);
        message_free(message);
        if (reply)
            return complaints;
    }
}

/* 15 bad lines and a good one, over and over: the connection lives on, and every
 * line gets its answer. */
static void test_random_garbage(struct session *session)
{
    struct bystander bystander = connect_bystander(session);
    struct client *g = session_connect(session, "G");
    struct random random = {.state = 424242};

    for (unsigned round = 1; round <= LINES / 15 + 1; round++) {
        static char batch[16 * 300];
        size_t size = 0;

        for (unsigned i = 0; i < 15; i++) {
            size += make_garbage(&random, batch + size, 200);
            batch[size++] = '\n';
        }
        client_send_bytes(g, batch, size, NULL, 0);
        client_send(g, "{'type':'call','id':%u,'to':'bus','method':'GetId'}", round);
        assert_int_equal(read_complaints(g, round), 15);
        if (round % 20 == 0)
            call(&bystander);
    }
}

/* Nothing but rubbish: a new connection each time the bus has had enough. */
static void test_garbage_until_cut(struct session *session)
{
    struct bystander bystander = connect_bystander(session);
    struct random random = {.state = 99};

    for (unsigned round = 0; round < 500; round++) {
        struct client *g = session_connect(session, "G");
        char line[300];
        struct message *message;

        for (unsigned i = 0; i < 40 && !g->broken; i++) {
            size_t size = make_garbage(&random, line, 200);
            line[size++] = '\n';
            client_send_bytes(g, line, size, NULL, 0);
        }
        unsigned count = 0;
        while ((message = client_next(g))) {
            count++;
            message_free(message);
        }
        assert_int_equal(count, 17);
        client_free(g);
        if (round % 10 == 0)
            call(&bystander);
    }
}

/* One huge line of each kind of byte. */
static void test_monotonous(struct session *session)
{
    struct bystander bystander = connect_bystander(session);
    struct client *g = session_connect(session, "G");
    size_t size = 1 << 20;
    CLEANUP(cleanup_free) char *line = malloc(size);
    static const char bytes[] = "{[\"\\ \xff\x80\t0a:,}]";

    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bool blank = bytes[i] == ' ' || bytes[i] == '\t';
        memset(line, bytes[i], size);
        line[size - 1] = '\n';
        client_send_bytes(g, line, size, NULL, 0);
        client_send(g, "{'type':'call','id':%u,'to':'bus','method':'Ping'}", i + 1);
        assert_int_equal(read_complaints(g, i + 1), !blank);
        call(&bystander);
    }
}

/* A session as any client might have it, as one text. */
static char *valid_traffic(struct session *session)
{
    return client_expand(
        session,
        "{'type':'call','id':1,'to':'bus','method':'RequestName','body':{'name':'org.cut.Off'}}\n"
        "{'type':'call','id':2,'to':'bus','method':'Subscribe','body':{'topic':'cut.*'}}\n"
        "{'type':'event','topic':'cut.x','body':{'text':'\xc3\xa9\\u00e9','n':[1,2.5,-3e4]}}\r\n"
        "\n"
        "  {'type':'call','id':3,'to':'org.example.B','method':'X','no_reply':true}\n"
        "{'type':'call','id':4,'to':'bus','method':'Unsubscribe','body':{'subscription':1}}\n"
        "{'type':'call','id':5,'to':'bus','method':'ReleaseName','body':{'name':'org.cut.Off'}}\n");
}

static void drop_all(struct client *client)
{
    while (!list_is_empty(&client->messages))
        message_free(client_next(client));
}

static void assert_nothing_left(struct session *session, struct client *client)
{
    client_ask(client, "Stats", "{}",
               "{'id':'*','version':'*','uptime':'*','connections':2,'names':1,"
               "'subscriptions':0,'calls':0,'receipts':0,'monitors':0,"
               "'groups':{'count':0,'handed_over':0,'dropped':0},'retained':{'topics':0,'bytes':0},"
               "'messages':'*','bytes':'*'}");
}

/* Cut after every byte, and the client gone. */
static void test_cut_and_close(struct session *session)
{
    struct bystander bystander = connect_bystander(session);
    CLEANUP(cleanup_free) char *text = valid_traffic(session);

    for (size_t size = 0; size <= strlen(text); size++) {
        struct client *g = session_connect(session, "G");
        client_send_bytes(g, text, size, NULL, 0);
        client_free(g);
        session_wait_for_connections(session, bystander.a, 2);
        session_settle(session);
        drop_all(bystander.b);
        call(&bystander);
    }
    assert_nothing_left(session, bystander.a);
}

/* Cut after every byte, and a LF put there: at most that one line is lost. */
static void test_cut_and_go_on(struct session *session)
{
    struct bystander bystander = connect_bystander(session);
    CLEANUP(cleanup_free) char *text = valid_traffic(session);

    for (size_t size = 0; size <= strlen(text); size++) {
        struct client *g = session_connect(session, "G");
        unsigned complaints = 0;

        client_send_bytes(g, text, size, NULL, 0);
        client_send_bytes(g, "\n", 1, NULL, 0);
        client_send_bytes(g, text + size, strlen(text) - size, NULL, 0);
        client_send(g, "{'type':'call','id':99,'to':'bus','method':'Ping'}");
        struct message *message;
        while (message = client_next(g),
               json_integer_value(json_object_get(message->json, "id")) != 99) {
            const char *error = json_string_value(json_object_get(message->json, "error"));
            complaints += error && strcmp(error, "bus.ParseError") == 0;
            message_free(message);
        }
        message_free(message);
        assert_in_range(complaints, 0, 2);
        client_free(g);
        session_wait_for_connections(session, bystander.a, 2);
        session_settle(session);
        drop_all(bystander.b);
        call(&bystander);
    }
    assert_nothing_left(session, bystander.a);
}

/* The same with file descriptors on the way. */
static void test_cut_with_fds(struct session *session)
{
    struct bystander bystander = connect_bystander(session);
    CLEANUP(cleanup_free)
    char *text = client_expand(session, "{'type':'event','topic':'t','fds':3,'body':[1,2]}\n"
                                        "{'type':'event','topic':'t'}\n");
    int fd[3];

    for (size_t size = 1; size <= strlen(text); size++) {
        struct client *g = session_connect(session, "G");
        files_open(fd, 3, 0);
        client_send_bytes(g, text, size, fd, 3);
        files_close(fd, 3);
        client_free(g);
        if (size % 8 == 0)
            call(&bystander);
    }
    session_wait_for_connections(session, bystander.a, 2);
    session_expect_fds(session, 2);
}

/* Half a line, for as long as one likes, keeps nobody waiting. */
static void test_many_half_lines(struct session *session)
{
    struct bystander bystander = connect_bystander(session);
    static const char half[] = "{\"type\":\"event\",\"topic\":\"t\",\"body\":\"";

    for (unsigned i = 0; i < 200; i++) {
        char name[16];
        snprintf(name, sizeof(name), "H%u", i);
        struct client *client = session_connect(session, name);
        client_send_bytes(client, half, sizeof(half) - 1, NULL, 0);
        if (i % 10 == 0)
            call(&bystander);
    }
    LIST_FOREACH (node, &session->clients) {
        struct client *client = LIST_ENTRY(node, struct client, link);
        if (client->name[0] == 'H')
            client_close(client);
    }
    session_wait_for_connections(session, bystander.a, 2);
    call(&bystander);
}

static const struct transcript transcripts[] = {
    {.name = "test_random_garbage", .run = test_random_garbage, .plain_only = true, .seconds = 120},
    TRANSCRIPT_PLAIN(test_garbage_until_cut),
    TRANSCRIPT_PLAIN(test_monotonous),
    TRANSCRIPT_PLAIN(test_cut_and_close),
    TRANSCRIPT_PLAIN(test_cut_and_go_on),
    TRANSCRIPT(test_cut_with_fds),
    TRANSCRIPT_PLAIN(test_many_half_lines),
};

int main(void)
{
    return TRANSCRIPTS_RUN("garbage", transcripts);
}
