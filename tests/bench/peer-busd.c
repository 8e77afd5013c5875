/* SPDX-License-Identifier: MIT */
/* busd with libbus at both ends. */
#include <bus/bus.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/crew.h"
#include "tests/bench/drivers.h"
#include "tests/bench/process.h"

struct busd_client {
    struct client base;
    struct bus *bus;
    struct bus *channel; /* where its calls go; NULL: `bus` */
    int memory;          /* of the last body handed over … */
    size_t memory_size;
};

static struct bus *bus_of(struct client *client)
{
    return ((struct busd_client *)client)->bus;
}

/* Where calls go. */
static struct bus *way_of(struct client *client)
{
    struct busd_client *own = (struct busd_client *)client;

    return own->channel ? own->channel : own->bus;
}

static void check(int r, const char *what)
{
    if (r < 0)
        fail("libbus: %s: %s", what, strerror(-r));
}

static int busd_start(struct broker *broker)
{
    snprintf(broker->address, sizeof(broker->address), "%s/bus", broker->folder);
    broker->pid = process_fork();
    if (broker->pid == 0) {
        const char *program = getenv("BUSD");
        process_exec((const char *[]){program ? program : BUSD_BINARY,
                                      "--address",
                                      broker->address,
                                      "--limit",
                                      "connections=100000",
                                      "--limit",
                                      "subscriptions=1000000",
                                      "--limit",
                                      "names=100000",
                                      "--limit",
                                      "message_bytes=4194304",
                                      "--limit",
                                      "queue_bytes=67108864",
                                      "--limit",
                                      "connections_per_user=100000",
                                      "--limit",
                                      "unproven_per_user=100000",
                                      "--limit",
                                      "subscriptions_per_user=1000000",
                                      "--limit",
                                      "names_per_user=100000",
                                      "--limit",
                                      "bytes_per_user=1073741824",
                                      NULL});
    }
    return 0;
}

static struct client *busd_connect(const struct broker *broker)
{
    struct bus *bus;

    int r = bus_connect(&bus, broker->address);
    if (r == -ENOENT || r == -ECONNREFUSED)
        return NULL;
    check(r, "connect");
    if (!bus_unique_name(bus))
        fail("busd: %s", bus_disconnect_error(bus)->message);
    struct busd_client *client = client_new(sizeof(*client));
    client->bus = bus;
    return &client->base;
}

static void busd_close(struct client *client)
{
    bus_close(((struct busd_client *)client)->channel);
    bus_close(bus_of(client));
    free(client);
}

static void busd_ping(struct client *client)
{
    check(bus_call_text(bus_of(client), "bus", "Ping", NULL, 0, BUS_TIMEOUT_DEFAULT, NULL, NULL),
          "Ping");
}

static int on_call(struct bus_message *call, void *userdata)
{
    size_t size;
    const char *text = bus_message_body_text(call, &size);

    return bus_reply_text(call, text, size);
}

/* Reads a byte of each page, or of the first and the last. */
static int look_at(struct bus_message *call, size_t step)
{
    size_t size;
    const char *text = bus_message_body_text(call, &size);
    unsigned spaces = 0;

    if (!text || text[0] != '"' || text[size - 1] != '"')
        return -EINVAL;
    for (size_t i = step; i < size; i += step)
        spaces += text[i] == ' ';
    return spaces > 0 ? -EINVAL : bus_reply_text(call, NULL, 0);
}

static int on_look(struct bus_message *call, void *userdata)
{
    return look_at(call, SIZE_MAX / 2);
}

static int on_read(struct bus_message *call, void *userdata)
{
    return look_at(call, 4096);
}

static void busd_serve(struct client *client, const char *name)
{
    static const struct bus_method methods[] = {{"Echo", on_call, 0, NULL},
                                                {"Look", on_look, 0, NULL},
                                                {"Read", on_read, 0, NULL},
                                                BUS_METHOD_END};
    struct bus_error error = BUS_ERROR_INIT;

    const struct bus_service_options options = {.channels = BUS_CHANNELS_DEFAULT};

    if (bus_serve_with(bus_of(client), name, &options, methods, NULL, NULL, &error) < 0)
        fail("libbus: serve %s: %s", name, error.message);
}

static void busd_call(struct client *client, const char *name, const char *body, size_t size)
{
    struct bus_error error = BUS_ERROR_INIT;
    struct bus_message *reply;
    size_t got;

    if (bus_call_text(way_of(client), name, "Echo", body, size, BUS_TIMEOUT_DEFAULT, &error,
                      &reply) < 0)
        fail("libbus: call: %s", error.message);
    bus_message_body_text(reply, &got);
    check_answer(client, got, size);
    bus_message_unref(reply);
}

static void busd_go_direct(struct client *client, const char *name)
{
    struct busd_client *own = (struct busd_client *)client;
    struct bus_error error = BUS_ERROR_INIT;

    if (bus_channel_open(own->bus, name, BUS_TIMEOUT_DEFAULT, &own->channel, &error) != 1)
        fail("libbus: no channel: %s", error.message);
}

/* Makes the body of so many bytes, once. */
static void make_memory(struct busd_client *client, size_t size)
{
    struct bus_message *message;
    void *memory;

    if (client->memory_size == size)
        return;
    check(bus_message_new_event(client->bus, "bench", &message), "event");
    check(bus_message_map_body(message, size, &memory), "memory");
    memset(memory, 'x', size);
    ((char *)memory)[0] = ((char *)memory)[size - 1] = '"';
    check(bus_message_seal_body(message, size), "seal");
    client->memory = fcntl(bus_message_body_fd(message), F_DUPFD_CLOEXEC, 3);
    check(client->memory, "memory");
    client->memory_size = size;
    bus_message_unref(message);
}

static void busd_hand_over(struct client *client, const char *name, size_t size, bool whole)
{
    struct busd_client *own = (struct busd_client *)client;
    struct bus_error error = BUS_ERROR_INIT;
    struct bus_message *call;

    make_memory(own, size);
    check(bus_message_new_call(own->bus, name, whole ? "Read" : "Look", &call), "call");
    check(bus_message_set_body_fd(call, own->memory), "body");
    if (bus_call_message(call, &error, NULL) < 0)
        fail("libbus: call: %s", error.message);
    bus_message_unref(call);
}

static void on_answer(struct bus_message *reply, void *userdata)
{
    struct client *client = userdata;
    struct bus_error error = BUS_ERROR_INIT;
    size_t size;

    if (bus_message_get_error(reply, &error) < 0)
        fail("libbus: call: %s", error.message);
    bus_message_body_text(reply, &size);
    client->on_answer(client, size);
}

static void busd_call_start(struct client *client, const char *name, const char *body, size_t size)
{
    check(bus_call_text_async(bus_of(client), name, "Echo", body, size, BUS_TIMEOUT_DEFAULT,
                              on_answer, client, NULL),
          "call");
}

static void on_event(struct bus_message *event, void *userdata)
{
    struct client *client = userdata;
    struct bus_error error = BUS_ERROR_INIT;
    size_t size;

    if (bus_message_get_error(event, &error) < 0)
        fail("libbus: subscribe: %s", error.message);
    bus_message_body_text(event, &size);
    client->on_event(client, bus_message_topic(event), size);
}

static void busd_subscribe(struct client *client, const char *pattern)
{
    check(bus_subscribe_async(bus_of(client), pattern, NULL, on_event, client, NULL), "subscribe");
}

static void busd_publish(struct client *client, const char *topic, const char *body, size_t size)
{
    int r;

    while ((r = bus_publish_text(bus_of(client), topic, body, size)) == -EAGAIN)
        check(bus_flush(bus_of(client), BUS_TIMEOUT_DEFAULT), "flush");
    check(r, "publish");
}

static void busd_flush(struct client *client)
{
    check(bus_flush(bus_of(client), BUS_TIMEOUT_DEFAULT), "flush");
}

static void busd_process(struct client *client)
{
    check(bus_process(bus_of(client)), "process");
}

/* The library's own loop, one turn of it. */
static void busd_wait(struct client *client, int timeout_ms)
{
    int r = bus_process(bus_of(client));

    if (r == 0)
        r = bus_wait(bus_of(client), timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms);
    if (r != -EINTR)
        check(r, "wait");
}

static int busd_fd(struct client *client)
{
    return bus_get_fd(bus_of(client));
}

const struct peer peer_busd = {
    .name = "busd",
    .transport = "unix socket",
    .client = "libbus",
    .program = BUSD_BINARY,
    .version_argument = "--version",
    .start = busd_start,
    .connect = busd_connect,
    .close = busd_close,
    .ping = busd_ping,
    .serve = busd_serve,
    .call = busd_call,
    .call_start = busd_call_start,
    .hand_over = busd_hand_over,
    .go_direct = busd_go_direct,
    .subscribe = busd_subscribe,
    .publish = busd_publish,
    .flush = busd_flush,
    .wait = busd_wait,
    .fd = busd_fd,
    .process = busd_process,
};
