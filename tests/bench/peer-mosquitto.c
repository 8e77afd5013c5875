/* SPDX-License-Identifier: MIT */
/*
 * mosquitto with libmosquitto over a Unix socket, QoS 0. Calls are messages on a topic
 * for the service and one for the answer.
 */
#include <mosquitto.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/crew.h"
#include "tests/bench/drivers.h"
#include "tests/bench/process.h"

#define CALLS     "call/"
#define KEEPALIVE 65535 /* seconds: none is due while we measure */

struct mosquitto_client {
    struct client base;
    struct mosquitto *mosquitto;
    char inbox[FRAME_TOPIC];
    struct pending pending;
    size_t acks_due;
    bool connected;
    bool heard; /* something came in this turn */
};

static int mosquitto_start(struct broker *broker)
{
    char path[128];

    snprintf(broker->address, sizeof(broker->address), "%s/mqtt", broker->folder);
    write_config(broker, path, sizeof(path),
                 "listener 0 %s\nallow_anonymous true\nuser root\npersistence false\n"
                 "max_queued_messages 0\nmax_inflight_messages 0\nlog_dest none\n",
                 broker->address);
    broker->pid = process_fork();
    if (broker->pid == 0)
        process_exec((const char *[]){"mosquitto", "-c", path, NULL});
    return 0;
}

static void check(int r, const char *what)
{
    if (r != MOSQ_ERR_SUCCESS)
        fail("libmosquitto: %s: %s", what, mosquitto_strerror(r));
}

static void write_all(struct mosquitto_client *client)
{
    while (mosquitto_want_write(client->mosquitto)) {
        struct pollfd fd = {.fd = mosquitto_socket(client->mosquitto), .events = POLLOUT};
        poll(&fd, 1, -1);
        check(mosquitto_loop_write(client->mosquitto, 1), "write");
    }
}

static void publish_bytes(struct mosquitto_client *client, const char *topic, const void *data,
                          size_t size)
{
    check(mosquitto_publish(client->mosquitto, NULL, topic, (int)size, data, 0, false), "publish");
}

static void on_message(struct mosquitto *mosquitto, void *userdata,
                       const struct mosquitto_message *message)
{
    struct mosquitto_client *client = userdata;
    size_t size = (size_t)message->payloadlen;

    client->heard = true;
    if (client->inbox[0] && strcmp(message->topic, client->inbox) == 0)
        pending_answer(&client->pending, &client->base, size);
    else if (strncmp(message->topic, CALLS, strlen(CALLS)) == 0)
        publish_bytes(client, message->payload, (const char *)message->payload + FRAME_TOPIC,
                      size - FRAME_TOPIC);
    else
        client->base.on_event(&client->base, translate_back(message->topic, '/'), size);
}

static void on_connect(struct mosquitto *mosquitto, void *userdata, int code)
{
    struct mosquitto_client *client = userdata;

    check(code, "connect");
    client->connected = true;
}

static void on_subscribe(struct mosquitto *mosquitto, void *userdata, int id, int count,
                         const int *granted)
{
    struct mosquitto_client *client = userdata;

    client->acks_due--;
    client->heard = true;
}

static void mosquitto_process(struct client *base)
{
    struct mosquitto_client *client = (struct mosquitto_client *)base;

    /* The library reads a packet a call. */
    do {
        client->heard = false;
        check(mosquitto_loop_read(client->mosquitto, 1), "read");
    } while (client->heard);
    write_all(client);
}

static void mosquitto_wait(struct client *base, int timeout_ms)
{
    if (wait_readable(mosquitto_socket(((struct mosquitto_client *)base)->mosquitto), timeout_ms))
        mosquitto_process(base);
}

static struct client *mosquitto_connect_to(const struct broker *broker)
{
    static bool initialised;
    struct mosquitto_client *client = client_new(sizeof(*client));

    if (!initialised)
        mosquitto_lib_init();
    initialised = true;
    client->mosquitto = mosquitto_new(NULL, true, client);
    if (!client->mosquitto)
        fail("libmosquitto: out of memory");
    mosquitto_connect_callback_set(client->mosquitto, on_connect);
    mosquitto_message_callback_set(client->mosquitto, on_message);
    mosquitto_subscribe_callback_set(client->mosquitto, on_subscribe);
    /* Port 0 says that the host is a path. */
    if (mosquitto_connect(client->mosquitto, broker->address, 0, KEEPALIVE) != MOSQ_ERR_SUCCESS) {
        mosquitto_destroy(client->mosquitto);
        free(client);
        return NULL;
    }
    while (!client->connected)
        mosquitto_wait(&client->base, -1);
    return &client->base;
}

static void mosquitto_close(struct client *base)
{
    struct mosquitto_client *client = (struct mosquitto_client *)base;

    mosquitto_disconnect(client->mosquitto);
    mosquitto_destroy(client->mosquitto);
    free(client);
}

static void subscribe_to(struct mosquitto_client *client, const char *pattern)
{
    check(mosquitto_subscribe(client->mosquitto, NULL, pattern, 0), "subscribe");
    client->acks_due++;
}

static void mosquitto_ping(struct client *base)
{
    struct mosquitto_client *client = (struct mosquitto_client *)base;

    /* The answers to subscriptions are the only ones a program gets to see. */
    if (client->acks_due == 0)
        subscribe_to(client, "ping");
    write_all(client);
    while (client->acks_due > 0)
        mosquitto_wait(base, -1);
}

static void mosquitto_subscribe_to(struct client *base, const char *pattern)
{
    subscribe_to((struct mosquitto_client *)base, translate(pattern, '/', '+', '#'));
}

static void mosquitto_publish_to(struct client *base, const char *topic, const char *body,
                                 size_t size)
{
    publish_bytes((struct mosquitto_client *)base, translate(topic, '/', '+', '#'), body, size);
}

static void mosquitto_flush(struct client *base)
{
    write_all((struct mosquitto_client *)base);
}

static void mosquitto_serve(struct client *base, const char *name)
{
    char topic[256];

    snprintf(topic, sizeof(topic), CALLS "%s", name);
    subscribe_to((struct mosquitto_client *)base, topic);
}

static void mosquitto_call_start(struct client *base, const char *name, const char *body,
                                 size_t size)
{
    struct mosquitto_client *client = (struct mosquitto_client *)base;
    char topic[256];

    if (!client->inbox[0]) {
        frame_topic(client->inbox);
        subscribe_to(client, client->inbox);
        mosquitto_ping(base);
    }
    snprintf(topic, sizeof(topic), CALLS "%s", name);
    const char *frame = frame_make(client->inbox, body, size, &size);
    publish_bytes(client, topic, frame, size);
}

static void mosquitto_call(struct client *base, const char *name, const char *body, size_t size)
{
    struct mosquitto_client *client = (struct mosquitto_client *)base;

    client->pending.waiting = 1;
    mosquitto_call_start(base, name, body, size);
    write_all(client);
    while (client->pending.waiting > 0)
        mosquitto_wait(base, -1);
    check_answer(base, client->pending.size, size);
}

static int mosquitto_fd(struct client *base)
{
    return mosquitto_socket(((struct mosquitto_client *)base)->mosquitto);
}

const struct peer peer_mosquitto = {
    .name = "mosquitto",
    .transport = "unix socket",
    .client = "libmosquitto",
    .program = "mosquitto",
    .version_argument = "-h",
    .start = mosquitto_start,
    .connect = mosquitto_connect_to,
    .close = mosquitto_close,
    .ping = mosquitto_ping,
    .serve = mosquitto_serve,
    .call = mosquitto_call,
    .call_start = mosquitto_call_start,
    .subscribe = mosquitto_subscribe_to,
    .publish = mosquitto_publish_to,
    .flush = mosquitto_flush,
    .wait = mosquitto_wait,
    .fd = mosquitto_fd,
    .process = mosquitto_process,
};
