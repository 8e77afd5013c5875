/* SPDX-License-Identifier: MIT */
/*
 * NATS with nats.c over TCP on the loopback interface, which is all it has. Reading,
 * writing and handlers are the library's threads; handlers share one, so that many
 * subscriptions do not mean many threads.
 */
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>

#include "libbus/base/macros.h"
#include "tests/bench/crew.h"
#include "tests/bench/drivers.h"
#include "tests/bench/process.h"

#define CALL_TIME 60000

struct nats_client {
    struct client base;
    natsConnection *connection;
    natsInbox *inbox;
    char address[100];
    bool at_once; /* writes are not gathered */
    /* Handlers run on another thread: what wait() waits for. */
    _Atomic uint32_t activity;
    _Atomic uint32_t sleeping;
    uint32_t seen;
};

static void check(natsStatus status, const char *what)
{
    if (status != NATS_OK)
        fail("nats.c: %s: %s", what, natsStatus_GetText(status));
}

static int nats_start(struct broker *broker)
{
    char path[128];
    int port = free_port();

    if (port < 0)
        return -1;
    snprintf(broker->address, sizeof(broker->address), "nats://127.0.0.1:%d", port);
    write_config(broker, path, sizeof(path),
                 "host: 127.0.0.1\nport: %d\nmax_payload: 8MB\nmax_pending: 1GB\n"
                 "max_connections: 100000\n",
                 port);
    broker->pid = process_fork();
    if (broker->pid == 0)
        process_exec((const char *[]){"nats-server", "-c", path, NULL});
    return 0;
}

static void on_error(natsConnection *connection, natsSubscription *subscription, natsStatus status,
                     void *userdata)
{
    check(status, "connection");
}

/* NULL: nobody listens. */
static natsConnection *open_connection(const char *address, bool at_once)
{
    natsConnection *connection;
    natsOptions *options;

    check(natsOptions_Create(&options), "options");
    check(natsOptions_SetURL(options, address), "options");
    check(natsOptions_SetSendAsap(options, at_once), "options");
    check(natsOptions_SetAllowReconnect(options, false), "options");
    check(natsOptions_UseGlobalMessageDelivery(options, true), "options");
    check(natsOptions_SetErrorHandler(options, on_error, NULL), "options");
    natsStatus status = natsConnection_Connect(&connection, options);
    natsOptions_Destroy(options);
    return status == NATS_OK ? connection : NULL;
}

static struct client *nats_connect(const struct broker *broker)
{
    natsConnection *connection = open_connection(broker->address, false);

    if (!connection)
        return NULL;
    struct nats_client *client = client_new(sizeof(*client));
    client->connection = connection;
    snprintf(client->address, sizeof(client->address), "%s", broker->address);
    return &client->base;
}

/* The library gathers for up to a millisecond what is published: right for events, not
 * for questions and answers. It is an option of the connection. */
static void send_at_once(struct nats_client *client)
{
    if (client->at_once)
        return;
    natsConnection_Destroy(client->connection);
    client->connection = open_connection(client->address, true);
    client->at_once = true;
    if (!client->connection)
        fail("nats.c: no second connection");
}

static void nats_close(struct client *base)
{
    struct nats_client *client = (struct nats_client *)base;

    natsConnection_Destroy(client->connection);
    free(client);
}

static void nats_ping(struct client *base)
{
    check(natsConnection_Flush(((struct nats_client *)base)->connection), "flush");
}

static void wake(struct nats_client *client)
{
    client->activity++;
    if (client->sleeping)
        futex_wake(&client->activity);
}

static void on_call(natsConnection *connection, natsSubscription *subscription, natsMsg *message,
                    void *userdata)
{
    check(natsConnection_Publish(connection, natsMsg_GetReply(message), natsMsg_GetData(message),
                                 natsMsg_GetDataLength(message)),
          "reply");
    natsMsg_Destroy(message);
}

static void nats_serve(struct client *base, const char *name)
{
    struct nats_client *client = (struct nats_client *)base;
    natsSubscription *subscription;

    send_at_once(client);
    check(natsConnection_Subscribe(&subscription, client->connection, name, on_call, base),
          "subscribe");
}

static void nats_call(struct client *base, const char *name, const char *body, size_t size)
{
    natsMsg *reply;

    check(natsConnection_Request(&reply, ((struct nats_client *)base)->connection, name, body,
                                 (int)size, CALL_TIME),
          "request");
    check_answer(base, (size_t)natsMsg_GetDataLength(reply), size);
    natsMsg_Destroy(reply);
}

static void on_answer(natsConnection *connection, natsSubscription *subscription, natsMsg *message,
                      void *userdata)
{
    struct nats_client *client = userdata;

    client->base.on_answer(&client->base, (size_t)natsMsg_GetDataLength(message));
    natsMsg_Destroy(message);
    wake(client);
}

static void nats_call_start(struct client *base, const char *name, const char *body, size_t size)
{
    struct nats_client *client = (struct nats_client *)base;
    natsSubscription *subscription;

    if (!client->inbox) {
        send_at_once(client);
        check(natsInbox_Create(&client->inbox), "inbox");
        check(natsConnection_Subscribe(&subscription, client->connection, client->inbox, on_answer,
                                       client),
              "subscribe");
    }
    check(natsConnection_PublishRequest(client->connection, name, client->inbox, body, (int)size),
          "request");
}

static void on_message(natsConnection *connection, natsSubscription *subscription, natsMsg *message,
                       void *userdata)
{
    struct nats_client *client = userdata;

    client->base.on_event(&client->base, natsMsg_GetSubject(message),
                          (size_t)natsMsg_GetDataLength(message));
    natsMsg_Destroy(message);
    wake(client);
}

static void nats_subscribe(struct client *base, const char *pattern)
{
    natsSubscription *subscription;

    check(natsConnection_Subscribe(&subscription, ((struct nats_client *)base)->connection,
                                   translate(pattern, '.', '*', '>'), on_message, base),
          "subscribe");
}

static void nats_publish(struct client *base, const char *topic, const char *body, size_t size)
{
    check(natsConnection_Publish(((struct nats_client *)base)->connection, topic, body, (int)size),
          "publish");
}

/* The library's own thread writes, as soon as it gets to it. */
static void nats_flush(struct client *base)
{
}

static void nats_wait(struct client *base, int timeout_ms)
{
    struct nats_client *client = (struct nats_client *)base;

    client->sleeping = 1;
    futex_wait(&client->activity, client->seen, timeout_ms);
    client->sleeping = 0;
    client->seen = client->activity;
}

const struct peer peer_nats = {
    .name = "nats",
    .transport = "TCP loopback",
    .client = "nats.c",
    .program = "nats-server",
    .version_argument = "--version",
    .start = nats_start,
    .connect = nats_connect,
    .close = nats_close,
    .ping = nats_ping,
    .serve = nats_serve,
    .call = nats_call,
    .call_start = nats_call_start,
    .subscribe = nats_subscribe,
    .publish = nats_publish,
    .flush = nats_flush,
    .wait = nats_wait,
};
