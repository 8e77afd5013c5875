/* SPDX-License-Identifier: MIT */
/*
 * Redis publish and subscribe with hiredis over a Unix socket. A connection that has
 * subscribed can do nothing else, so a client that also sends has two. Calls are
 * messages on a channel for the service and one for the answer.
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/crew.h"
#include "tests/bench/drivers.h"
#include "tests/bench/process.h"

#define CALLS          "call."
#define REPLIES_UNREAD 1024 /* the count that each PUBLISH answers is read this late */

struct redis_client {
    struct client base;
    redisContext *commands;
    redisContext *events; /* opened with the first subscription */
    char path[128];
    char inbox[FRAME_TOPIC];
    struct pending pending;
    size_t replies_due;
    size_t acks_due;
};

static int redis_start(struct broker *broker)
{
    snprintf(broker->address, sizeof(broker->address), "%s/redis", broker->folder);
    broker->pid = process_fork();
    if (broker->pid == 0)
        process_exec((const char *[]){"redis-server", "--port", "0", "--unixsocket",
                                      broker->address, "--save", "", "--appendonly", "no", "--dir",
                                      broker->folder, "--maxclients", "15000",
                                      "--client-output-buffer-limit", "pubsub 0 0 0", NULL});
    return 0;
}

static void check(redisContext *context, int r, const char *what)
{
    if (r != REDIS_OK)
        fail("hiredis: %s: %s", what, context->errstr);
}

static redisContext *open_context(const char *path)
{
    redisContext *context = redisConnectUnix(path);

    if (context && !context->err)
        return context;
    if (context)
        redisFree(context);
    return NULL;
}

static void write_all(redisContext *context)
{
    int done = 0;

    while (!done)
        check(context, redisBufferWrite(context, &done), "write");
}

static void read_replies(struct redis_client *client, size_t leave)
{
    while (client->replies_due > leave) {
        redisReply *reply;
        check(client->commands, redisGetReply(client->commands, (void **)&reply), "reply");
        if (reply->type == REDIS_REPLY_ERROR)
            fail("redis: %s", reply->str);
        freeReplyObject(reply);
        client->replies_due--;
    }
}

static struct client *redis_connect(const struct broker *broker)
{
    redisContext *context = open_context(broker->address);

    if (!context)
        return NULL;
    struct redis_client *client = client_new(sizeof(*client));
    client->commands = context;
    snprintf(client->path, sizeof(client->path), "%s", broker->address);
    redisAppendCommand(context, "PING");
    client->replies_due = 1;
    read_replies(client, 0);
    return &client->base;
}

static void redis_close(struct client *base)
{
    struct redis_client *client = (struct redis_client *)base;

    redisFree(client->commands);
    if (client->events)
        redisFree(client->events);
    free(client);
}

static void publish_bytes(struct redis_client *client, const char *channel, const void *data,
                          size_t size)
{
    const char *arguments[] = {"PUBLISH", channel, data};
    size_t sizes[] = {strlen("PUBLISH"), strlen(channel), size};

    check(client->commands, redisAppendCommandArgv(client->commands, 3, arguments, sizes),
          "publish");
    client->replies_due++;
}

static void on_message(struct redis_client *client, const char *channel, const redisReply *payload)
{
    struct client *base = &client->base;

    if (client->inbox[0] && strcmp(channel, client->inbox) == 0)
        pending_answer(&client->pending, base, payload->len);
    else if (strncmp(channel, CALLS, strlen(CALLS)) == 0)
        publish_bytes(client, payload->str, payload->str + FRAME_TOPIC, payload->len - FRAME_TOPIC);
    else
        base->on_event(base, channel, payload->len);
}

/* What has been read so far. */
static void handle_all(struct redis_client *client)
{
    redisReply *reply;

    for (;;) {
        check(client->events, redisGetReplyFromReader(client->events, (void **)&reply), "event");
        if (!reply)
            break;
        if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 3)
            fail("redis: an event that is none: %s", reply->str ? reply->str : "");
        const char *kind = reply->element[0]->str;
        if (strcmp(kind, "message") == 0)
            on_message(client, reply->element[1]->str, reply->element[2]);
        else if (strcmp(kind, "pmessage") == 0)
            on_message(client, reply->element[2]->str, reply->element[3]);
        else
            client->acks_due--;
        freeReplyObject(reply);
    }
    if (client->commands->obuf[0]) {
        write_all(client->commands);
        read_replies(client, REPLIES_UNREAD);
    }
}

static void redis_process(struct client *base)
{
    struct redis_client *client = (struct redis_client *)base;

    check(client->events, redisBufferRead(client->events), "read");
    handle_all(client);
}

static void redis_wait(struct client *base, int timeout_ms)
{
    if (wait_readable(((struct redis_client *)base)->events->fd, timeout_ms))
        redis_process(base);
}

static void redis_ping(struct client *base)
{
    struct redis_client *client = (struct redis_client *)base;

    if (client->events)
        write_all(client->events);
    while (client->acks_due > 0)
        redis_wait(base, -1);
    redisAppendCommand(client->commands, "PING");
    client->replies_due++;
    write_all(client->commands);
    read_replies(client, 0);
}

static void subscribe_to(struct redis_client *client, const char *command, const char *channel)
{
    if (!client->events && !(client->events = open_context(client->path)))
        fail("hiredis: no second connection");
    redisAppendCommand(client->events, "%s %s", command, channel);
    client->acks_due++;
}

static void redis_subscribe(struct client *base, const char *pattern)
{
    bool exact = !strpbrk(pattern, "*#");

    /* "*" stands for any number of characters, dots included. */
    subscribe_to((struct redis_client *)base, exact ? "SUBSCRIBE" : "PSUBSCRIBE",
                 translate(pattern, '.', '*', '*'));
}

static void redis_serve(struct client *base, const char *name)
{
    char channel[256];

    snprintf(channel, sizeof(channel), CALLS "%s", name);
    subscribe_to((struct redis_client *)base, "SUBSCRIBE", channel);
}

static void redis_call_start(struct client *base, const char *name, const char *body, size_t size)
{
    struct redis_client *client = (struct redis_client *)base;
    char channel[256];

    if (!client->inbox[0]) {
        frame_topic(client->inbox);
        subscribe_to(client, "SUBSCRIBE", client->inbox);
        redis_ping(base);
    }
    snprintf(channel, sizeof(channel), CALLS "%s", name);
    const char *frame = frame_make(client->inbox, body, size, &size);
    publish_bytes(client, channel, frame, size);
}

static void redis_flush(struct client *base)
{
    struct redis_client *client = (struct redis_client *)base;

    write_all(client->commands);
    read_replies(client, REPLIES_UNREAD);
}

static void redis_call(struct client *base, const char *name, const char *body, size_t size)
{
    struct redis_client *client = (struct redis_client *)base;

    client->pending.waiting = 1;
    redis_call_start(base, name, body, size);
    redis_flush(base);
    while (client->pending.waiting > 0)
        redis_wait(base, -1);
    check_answer(base, client->pending.size, size);
}

static void redis_publish(struct client *base, const char *topic, const char *body, size_t size)
{
    publish_bytes((struct redis_client *)base, topic, body, size);
}

static int redis_fd(struct client *base)
{
    return ((struct redis_client *)base)->events->fd;
}

const struct peer peer_redis = {
    .name = "redis",
    .transport = "unix socket",
    .client = "hiredis",
    .program = "redis-server",
    .version_argument = "--version",
    .start = redis_start,
    .connect = redis_connect,
    .close = redis_close,
    .ping = redis_ping,
    .serve = redis_serve,
    .call = redis_call,
    .call_start = redis_call_start,
    .subscribe = redis_subscribe,
    .publish = redis_publish,
    .flush = redis_flush,
    .wait = redis_wait,
    .fd = redis_fd,
    .process = redis_process,
    .patterns_max = 10000,
};
