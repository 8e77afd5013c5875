/* SPDX-License-Identifier: MIT */
/*
 * What the transcripts of calls with several replies share: A calls the service of B.
 */
#ifndef TESTS_INTEGRATION_STREAMS_H
#define TESTS_INTEGRATION_STREAMS_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/files.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"

#define NAME "org.example.Service"

/* B serves NAME. */
static inline struct client *connect_service(struct session *session)
{
    struct client *b = session_connect(session, "B");

    client_ask(b, "RequestName", "{'name':'" NAME "'}", "{'state':'owner'}");
    return b;
}

/* A calls B and wants several replies; `more` is further keys. */
static inline void call(struct client *a, struct client *b, unsigned id, const char *more)
{
    client_send(a, "{'type':'call','id':%u,'to':'" NAME "','method':'M','more':true%s}", id, more);
    client_expect(b,
                  "{'sender':'$%s','type':'call','id':%u,'to':'" NAME "','method':'M','more':"
                  "true%s}",
                  a->name, id, more);
}

static inline void send_item(struct client *b, struct client *a, unsigned id, unsigned number)
{
    client_send(b, "{'type':'reply','to':'$%s','id':%u,'more':true,'body':%u}", a->name, id,
                number);
}

static inline void expect_item(struct client *a, struct client *b, unsigned id, unsigned number)
{
    client_expect(a, "{'sender':'$%s','type':'reply','to':'$%s','id':%u,'more':true,'body':%u}",
                  b->name, a->name, id, number);
}

static inline void item(struct client *b, struct client *a, unsigned id, unsigned number)
{
    send_item(b, a, id, number);
    expect_item(a, b, id, number);
}

static inline void final(struct client *b, struct client *a, unsigned id)
{
    client_send(b, "{'type':'reply','to':'$%s','id':%u,'body':'end'}", a->name, id);
    client_expect(a, "{'sender':'$%s','type':'reply','to':'$%s','id':%u,'body':'end'}", b->name,
                  a->name, id);
}

static inline void expect_cancel(struct client *b, const char *sender, unsigned id,
                                 const char *reason)
{
    client_expect(b, "{'sender':'%s','type':'cancel','id':%u,'reason':'%s'}", sender, id, reason);
}

/* The call has ended: nothing of it goes anywhere any more. */
static inline void expect_over(struct client *b, const char *caller, unsigned id)
{
    client_send(b, "{'type':'reply','to':'%s','id':%u,'more':true}", caller, id);
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'%s','id':%u}", caller, id);
    client_send(b, "{'type':'reply','to':'%s','id':%u}", caller, id);
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'%s','id':%u}", caller, id);
}

static inline void expect_flow(struct client *b, struct client *a, unsigned id, bool ready)
{
    client_expect(b,
                  "{'sender':'bus','type':'event','topic':'bus.flow','body':{'to':'$%s','id':%u,"
                  "'ready':%s}}",
                  a->name, id, ready ? "true" : "false");
}

#define PONG 999

static inline struct message *find_pong(struct client *client)
{
    LIST_FOREACH (node, &client->messages) {
        struct message *message = LIST_ENTRY(node, struct message, link);
        if (json_integer_value(json_object_get(message->json, "id")) == PONG)
            return message;
    }
    return NULL;
}

/* Whether anything has come to the client by the time that all it has sent was dealt
 * with; nobody else reads. */
static inline bool has_news(struct client *client)
{
    struct message *pong;

    client_send(client, "{'type':'call','id':%u,'to':'bus','method':'Ping'}", PONG);
    while (!(pong = find_pong(client)))
        client_read_more(client, "a reply to Ping");
    message_free(pong);
    return client_peek(client);
}

static inline void send_fds(struct client *b, unsigned count, unsigned number)
{
    int fd[20];

    files_open(fd, count, number);
    client_send_fds(b, fd, count,
                    "{'type':'reply','to':'$A','id':1,'more':true,'fds':%u,'body':%u}", count,
                    number);
    files_close(fd, count);
}

static inline void expect_fds(struct client *a, unsigned count, unsigned number)
{
    int fd[20];

    client_expect_fds(a, fd, count,
                      "{'sender':'$B','type':'reply','to':'$A','id':1,'more':true,'body':%u}",
                      number);
    files_expect(fd, count, number);
}

#endif
