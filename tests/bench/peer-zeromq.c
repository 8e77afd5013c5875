/* SPDX-License-Identifier: MIT */
/*
 * ZeroMQ over ipc: the library is all there is, so the broker is the one that its
 * manual shows, a process that runs zmq_proxy(): XSUB and XPUB for events, ROUTER and
 * DEALER for calls. An event has two parts, topic and body. Queues have no bound.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "libbus/base/clock.h"
#include "libbus/base/macros.h"
#include "tests/bench/crew.h"
#include "tests/bench/drivers.h"
#include "tests/bench/process.h"

#define SOCKETS_MAX 20000

enum socket { EVENTS, PUBLISHER, CALLER, SERVICE, SOCKETS };

struct zeromq_client {
    struct client base;
    void *socket[SOCKETS];
    char address[128];
    struct pending pending;
    const char *ping; /* the topic that proves a subscription */
    bool answered;
};

static void *context;

static void check(int r, const char *what)
{
    if (r < 0)
        fail("libzmq: %s: %s", what, zmq_strerror(errno));
}

/* ------------------------------------------------------------- broker */

static void *new_socket(int type)
{
    void *socket = zmq_socket(context, type);
    int none = 0;

    check(socket ? 0 : -1, "socket");
    check(zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof(none)), "linger");
    check(zmq_setsockopt(socket, ZMQ_SNDHWM, &none, sizeof(none)), "sndhwm");
    check(zmq_setsockopt(socket, ZMQ_RCVHWM, &none, sizeof(none)), "rcvhwm");
    return socket;
}

static void *bound(int type, const char *folder, const char *name)
{
    void *socket = new_socket(type);
    char endpoint[160];

    snprintf(endpoint, sizeof(endpoint), "ipc://%s/%s", folder, name);
    check(zmq_bind(socket, endpoint), endpoint);
    return socket;
}

static void open_context(void)
{
    if (context)
        return;
    context = zmq_ctx_new();
    check(context ? 0 : -1, "context");
    check(zmq_ctx_set(context, ZMQ_MAX_SOCKETS, SOCKETS_MAX), "max_sockets");
}

static void carry_calls(void *folder)
{
    void *callers = bound(ZMQ_ROUTER, folder, "call");

    zmq_proxy(callers, bound(ZMQ_DEALER, folder, "serve"), NULL);
}

static int zeromq_start(struct broker *broker)
{
    snprintf(broker->address, sizeof(broker->address), "%s", broker->folder);
    broker->pid = process_fork();
    if (broker->pid == 0) {
        open_context();
        zmq_threadstart(carry_calls, broker->folder);
        void *publishers = bound(ZMQ_XSUB, broker->folder, "pub");
        zmq_proxy(publishers, bound(ZMQ_XPUB, broker->folder, "sub"), NULL);
        _exit(EXIT_SUCCESS);
    }
    return 0;
}

/* ------------------------------------------------------------- client */

/* Connects, and returns when both sides have shaken hands. */
static void *connected(struct zeromq_client *client, int type, const char *name)
{
    static unsigned count;
    void *socket = new_socket(type);
    void *monitor = zmq_socket(context, ZMQ_PAIR);
    char endpoint[160];

    snprintf(endpoint, sizeof(endpoint), "inproc://monitor%u", ++count);
    check(zmq_socket_monitor(socket, endpoint, ZMQ_EVENT_HANDSHAKE_SUCCEEDED), "monitor");
    check(zmq_connect(monitor, endpoint), "monitor");
    snprintf(endpoint, sizeof(endpoint), "ipc://%s/%s", client->address, name);
    check(zmq_connect(socket, endpoint), "connect");
    char event[256];
    check(zmq_recv(monitor, event, sizeof(event), 0), "monitor");
    check(zmq_recv(monitor, event, sizeof(event), 0), "monitor");
    check(zmq_socket_monitor(socket, NULL, 0), "monitor");
    check(zmq_close(monitor), "monitor");
    return socket;
}

static struct client *zeromq_connect(const struct broker *broker)
{
    char path[160];

    /* The last of the four that the broker opens. */
    snprintf(path, sizeof(path), "%s/sub", broker->address);
    if (access(path, F_OK) < 0)
        return NULL;
    struct zeromq_client *client = client_new(sizeof(*client));
    snprintf(client->address, sizeof(client->address), "%s", broker->address);
    open_context();
    client->socket[EVENTS] = connected(client, ZMQ_SUB, "sub");
    return &client->base;
}

static void *socket_of(struct client *base, enum socket which)
{
    struct zeromq_client *client = (struct zeromq_client *)base;

    if (!client->socket[which])
        client->socket[which] = which == PUBLISHER ? connected(client, ZMQ_PUB, "pub")
                                : which == CALLER  ? connected(client, ZMQ_DEALER, "call")
                                                   : connected(client, ZMQ_REP, "serve");
    return client->socket[which];
}

static void zeromq_close(struct client *base)
{
    struct zeromq_client *client = (struct zeromq_client *)base;

    for (size_t i = 0; i < SOCKETS; i++)
        if (client->socket[i])
            zmq_close(client->socket[i]);
    free(client);
}

/* The next part of a message; false when none has come. */
static bool receive(void *socket, zmq_msg_t *part)
{
    zmq_msg_init(part);
    if (zmq_msg_recv(part, socket, ZMQ_DONTWAIT) >= 0)
        return true;
    if (errno != EAGAIN)
        check(-1, "receive");
    zmq_msg_close(part);
    return false;
}

static void take_events(struct zeromq_client *client)
{
    zmq_msg_t topic, body;
    char text[256];

    while (receive(client->socket[EVENTS], &topic)) {
        size_t size = MIN(zmq_msg_size(&topic), sizeof(text) - 1);
        memcpy(text, zmq_msg_data(&topic), size);
        text[size] = '\0';
        if (!receive(client->socket[EVENTS], &body))
            fail("libzmq: half an event");
        if (client->ping && strcmp(text, client->ping) == 0)
            client->answered = true;
        else
            client->base.on_event(&client->base, text, zmq_msg_size(&body));
        zmq_msg_close(&topic);
        zmq_msg_close(&body);
    }
}

static void take_calls(void *socket)
{
    zmq_msg_t body;

    while (receive(socket, &body))
        check(zmq_msg_send(&body, socket, 0), "reply");
}

static void take_answers(struct zeromq_client *client)
{
    zmq_msg_t empty, body;

    while (receive(client->socket[CALLER], &empty)) {
        if (!receive(client->socket[CALLER], &body))
            fail("libzmq: half an answer");
        pending_answer(&client->pending, &client->base, zmq_msg_size(&body));
        zmq_msg_close(&empty);
        zmq_msg_close(&body);
    }
}

static void zeromq_process(struct client *base)
{
    struct zeromq_client *client = (struct zeromq_client *)base;

    take_events(client);
    if (client->socket[SERVICE])
        take_calls(client->socket[SERVICE]);
    if (client->socket[CALLER])
        take_answers(client);
}

static void zeromq_wait(struct client *base, int timeout_ms)
{
    struct zeromq_client *client = (struct zeromq_client *)base;
    static const enum socket inputs[] = {EVENTS, CALLER, SERVICE};
    zmq_pollitem_t items[SOCKETS];
    int count = 0;

    for (size_t i = 0; i < ARRAY_SIZE(inputs); i++)
        if (client->socket[inputs[i]])
            items[count++] =
                (zmq_pollitem_t){.socket = client->socket[inputs[i]], .events = ZMQ_POLLIN};
    if (zmq_poll(items, count, timeout_ms) > 0)
        zeromq_process(base);
}

static void zeromq_subscribe(struct client *base, const char *pattern)
{
    size_t size = strcspn(pattern, "*#");

    /* Subscriptions are prefixes: only wildcards at the end can be said. */
    if (pattern[size] && pattern[size + 1])
        fail("libzmq: %s is not a prefix", pattern);
    check(zmq_setsockopt(socket_of(base, EVENTS), ZMQ_SUBSCRIBE, pattern, size), "subscribe");
}

static void zeromq_publish(struct client *base, const char *topic, const char *body, size_t size)
{
    void *socket = socket_of(base, PUBLISHER);

    check(zmq_send(socket, topic, strlen(topic), ZMQ_SNDMORE), "publish");
    check(zmq_send(socket, body, size, 0), "publish");
}

static void zeromq_flush(struct client *base)
{
}

/* There is nobody to ask: a subscription is known when something has come by a later one. */
static void zeromq_ping(struct client *base)
{
    struct zeromq_client *client = (struct zeromq_client *)base;
    char topic[FRAME_TOPIC];

    frame_topic(topic);
    client->ping = topic;
    client->answered = false;
    zeromq_subscribe(base, topic);
    while (!client->answered) {
        zeromq_publish(base, topic, "", 0);
        zeromq_wait(base, 1);
    }
    client->ping = NULL;
    check(zmq_setsockopt(client->socket[EVENTS], ZMQ_UNSUBSCRIBE, topic, strlen(topic)), "ping");
}

static void zeromq_serve(struct client *base, const char *name)
{
    socket_of(base, SERVICE);
}

static void zeromq_call_start(struct client *base, const char *name, const char *body, size_t size)
{
    void *socket = socket_of(base, CALLER);

    check(zmq_send(socket, "", 0, ZMQ_SNDMORE), "call");
    check(zmq_send(socket, body, size, 0), "call");
}

static void zeromq_call(struct client *base, const char *name, const char *body, size_t size)
{
    struct zeromq_client *client = (struct zeromq_client *)base;

    client->pending.waiting = 1;
    zeromq_call_start(base, name, body, size);
    while (client->pending.waiting > 0)
        zeromq_wait(base, -1);
    check_answer(base, client->pending.size, size);
}

static int zeromq_fd(struct client *base)
{
    size_t size = sizeof(int);
    int fd;

    check(zmq_getsockopt(socket_of(base, EVENTS), ZMQ_FD, &fd, &size), "fd");
    return fd;
}

const struct peer peer_zeromq = {
    .name = "zeromq",
    .transport = "ipc (unix socket)",
    .client = "libzmq",
    .start = zeromq_start,
    .connect = zeromq_connect,
    .close = zeromq_close,
    .ping = zeromq_ping,
    .serve = zeromq_serve,
    .call = zeromq_call,
    .call_start = zeromq_call_start,
    .subscribe = zeromq_subscribe,
    .publish = zeromq_publish,
    .flush = zeromq_flush,
    .wait = zeromq_wait,
    .fd = zeromq_fd,
    .process = zeromq_process,
    .no_names = true,
    .no_first_wildcard = true,
};
