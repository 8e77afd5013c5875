/* SPDX-License-Identifier: MIT */
/*
 * Every way to fail, over and over, leaves busd no larger than it was: less than
 * GROWTH_KB after REPETITIONS of each. $BUSD_TEST_REPETITIONS sets another number;
 * tests/campaign does it a million times.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/files.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"

#define REPETITIONS 20000
#define GROWTH_KB   512
#define BLOCK       500
/* A connection takes so much longer than a line. */
#define SLOWER 20

static const char ping[] = "{'type':'call','id':1,'to':'bus','method':'Ping'}\n";

static unsigned repetitions(void)
{
    const char *number = getenv("BUSD_TEST_REPETITIONS");

    return number ? (unsigned)strtoul(number, NULL, 10) : REPETITIONS;
}

/* ------------------------------------------------- lines that are refused */

/* Lines, and whether they are invalid so that valid ones must come between them. */
static const struct {
    const char *name;
    const char *line;
    bool invalid;
} lines[] = {
    {"parse error", "{'type':'event','topic':}\n", true},
    {"no message", "{'type':'event'}\n", true},
    {"forged sender", "{'type':'event','topic':'t','sender':':1'}\n", true},
    {"too long", "{'type':'event','topic':'t','body':'%0600d'}\n", true},
    {"no such method", "{'type':'call','id':1,'to':'bus','method':'Nonsense'}\n", false},
    {"no such argument", "{'type':'call','id':1,'to':'bus','method':'Ping','body':{'a':1}}\n",
     false},
    {"bad pattern",
     "{'type':'call','id':1,'to':'bus','method':'Subscribe','body':{'topic':'a..b'}}\n", false},
    {"too many subscriptions",
     "{'type':'call','id':1,'to':'bus','method':'Subscribe','body':{'topic':'a.%u'}}\n", false},
    {"no such subscription",
     "{'type':'call','id':1,'to':'bus','method':'Unsubscribe','body':{'subscription':%u9}}\n",
     false},
    {"too many names",
     "{'type':'call','id':1,'to':'bus','method':'RequestName','body':{'name':'a.n%u'}}\n", false},
    {"name taken",
     "{'type':'call','id':1,'to':'bus','method':'RequestName','body':{'name':'org.taken'}}\n",
     false},
    {"not the owner",
     "{'type':'call','id':1,'to':'bus','method':'ReleaseName','body':{'name':'org.taken'}}\n",
     false},
    {"nobody", "{'type':'call','id':1,'to':'org.nobody.n%u','method':'M'}\n", false},
    {"too many calls", "{'type':'call','id':%u,'to':'org.taken','method':'M'}\n", false},
    {"no such call", "{'type':'reply','to':':1','id':%u}\n", false},
    {"nothing to cancel", "{'type':'cancel','to':':1','id':%u00000}\n", false},
    {"topic of the bus", "{'type':'event','topic':'bus.n%u'}\n", false},
    {"guarded topic", "{'type':'event','topic':'org.taken.x'}\n", false},
    {"event for nobody", "{'type':'event','topic':'t','to':'org.nobody'}\n", false},
    /* The last one: from here on it sees everything. */
    {"too many filters", "{'type':'call','id':1,'to':'bus','method':'Monitor'}\n", false},
};

/* One line of the row with a number in it, at the end of `text`. */
static size_t write_line(char *text, size_t row, unsigned number)
{
    const char *format = lines[row].line;
    const char *place = strchr(format, '%');
    bool padded = place && place[1] == '0';
    size_t head = place ? (size_t)(place - format) : strlen(format);
    size_t size = 0;

    memcpy(text, format, head);
    size = head;
    if (place) {
        size += (size_t)sprintf(text + size, padded ? "%0600u" : "%u", number);
        place += padded ? strlen("%0600d") : strlen("%u");
        size += (size_t)sprintf(text + size, "%s", place);
    }
    if (lines[row].invalid)
        size += (size_t)sprintf(text + size, "%s", ping);
    for (size_t i = 0; i < size; i++)
        if (text[i] == '\'')
            text[i] = '"';
    return size;
}

static void send_lines(struct client *client, size_t row, unsigned count)
{
    CLEANUP(cleanup_free) char *block = malloc((size_t)BLOCK * 1000);

    for (unsigned done = 0; done < count; done += BLOCK) {
        size_t size = 0;
        for (unsigned i = 0; i < BLOCK; i++)
            size += write_line(block + size, row, 1 + done + i);
        client_pour(client, block, size);
    }
}

/* ----------------------------------------------------- whole connections */

static void leave_half_a_line(struct session *session)
{
    struct client *client = session_connect(session, "X");
    int fd[2];

    files_open(fd, 2, 1);
    client_send_bytes(client, "{\"type\":\"event\",", 16, fd, 2);
    files_close(fd, 2);
    client_free(client);
}

static void be_out_of_step(struct session *session)
{
    struct client *client = session_connect(session, "X");
    int fd[2];

    files_open(fd, 2, 1);
    client_send_fds(client, fd, 2, "{'type':'event','topic':'t','fds':1}");
    files_close(fd, 2);
    struct message *message;
    while ((message = client_next(client)))
        message_free(message);
    client_free(client);
}

/* The last of them at least: those before may still be about to leave. */
static void be_turned_away(struct session *session)
{
    static const char *const names[] = {"V", "W", "X", "Y"};
    struct client *clients[ARRAY_SIZE(names)];

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        clients[i] = session_connect_silently(session, names[i]);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        message_free(client_next(clients[i]));
        client_free(clients[i]);
    }
}

/* With everything that can be had, and with events unread. */
static void leave_much(struct session *session)
{
    struct client *client = session_connect(session, "X");

    client_send(client, "{'type':'call','id':1,'to':'bus','method':'Subscribe','body':"
                        "{'topic':'*.#'}}");
    client_send(client, "{'type':'call','id':2,'to':'bus','method':'RequestName','body':"
                        "{'name':'org.left'}}");
    client_send(client, "{'type':'call','id':3,'to':'$C','method':'M'}");
    for (unsigned i = 0; i < 20; i++)
        client_send(client, "{'type':'event','topic':'t.x','body':%u}", i);
    client_free(client);
}

static const struct {
    const char *name;
    void (*run)(struct session *session);
} ends[] = {
    {"half a line", leave_half_a_line},
    {"out of step", be_out_of_step},
    {"turned away", be_turned_away},
    {"leaving much", leave_much},
};

/* ---------------------------------------------------------------- growth */

/* What has come by now is thrown away. */
static void clear(struct client *client)
{
    client_read_available(client);
    LIST_FOREACH_SAFE (node, &client->messages) {
        list_remove(node);
        message_free(LIST_ENTRY(node, struct message, link));
    }
}

/* Whoever has left has left for good: a socket counts until it is closed. */
static void settle(struct session *session)
{
    session_wait_for_connections(session, session_find(session, "A", 1), 3);
    session_expect_fds(session, 3);
    clear(session_find(session, "C", 1));
}

static void check_growth(const char *name, uint64_t before, uint64_t after, unsigned count)
{
    printf("%-24s %8u times: %lld KB\n", name, count, (long long)(after - before));
#ifndef __SANITIZE_ADDRESS__
    CHECK(after <= before + GROWTH_KB, "%s: busd has grown by %llu KB", name,
          (unsigned long long)(after - before));
#endif
}

static void test_flat(struct session *session)
{
    session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    unsigned count = repetitions();

    client_ask(c, "RequestName", "{'name':'org.taken'}", "{'state':'owner'}");
    for (size_t row = 0; row < ARRAY_SIZE(lines); row++) {
        /* A tenth first, for what is kept for further use. */
        send_lines(b, row, count / 10);
        uint64_t before = process_resident(session->busd.pid);
        send_lines(b, row, count);
        check_growth(lines[row].name, before, process_resident(session->busd.pid), count);
        clear(c);
    }
    client_free(b);
    b = session_connect(session, "B");
    for (size_t row = 0; row < ARRAY_SIZE(ends); row++) {
        for (unsigned i = 0; i < count / SLOWER / 10; i++) {
            ends[row].run(session);
            settle(session);
        }
        uint64_t before = process_resident(session->busd.pid);
        for (unsigned i = 0; i < count / SLOWER; i++) {
            ends[row].run(session);
            settle(session);
        }
        check_growth(ends[row].name, before, process_resident(session->busd.pid), count / SLOWER);
    }
    settle(session);
}

static const struct transcript transcripts[] = {
    {.name = "test_flat",
     .run = test_flat,
     .args = BUSD_ARGS("--limit", "subscriptions=5", "--limit", "names=5", "--limit", "calls=5",
                       "--limit", "monitors=5", "--limit", "message_bytes=500", "--limit",
                       "connections_per_user=6"),
     .seconds = 3600,
     .plain_only = true},
};

int main(void)
{
    return TRANSCRIPTS_RUN("flat", transcripts);
}
