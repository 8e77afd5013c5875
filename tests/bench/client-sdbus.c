/* SPDX-License-Identifier: MIT */
#include "tests/bench/client-sdbus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "tests/bench/crew.h"

#define INTERFACE "org.busd.bench"
#define CALL_TIME (60 * UINT64_C(1000000))

struct sdbus_client {
    struct client base;
    sd_bus *bus;
    bool serving;
};

static sd_bus *bus_of(struct client *client)
{
    return ((struct sdbus_client *)client)->bus;
}

static int check(int r, const char *what)
{
    if (r < 0)
        fail("sd-bus: %s: %s", what, strerror(-r));
    return r;
}

struct client *sdbus_connect(const struct broker *broker)
{
    char address[sizeof(broker->address) + 16];
    sd_bus *bus;

    snprintf(address, sizeof(address), "unix:path=%s", broker->address);
    check(sd_bus_new(&bus), "new");
    check(sd_bus_set_address(bus, address), "address");
    check(sd_bus_set_bus_client(bus, 1), "client");
    if (sd_bus_start(bus) < 0) {
        sd_bus_unref(bus);
        return NULL;
    }
    const char *name;
    check(sd_bus_get_unique_name(bus, &name), "Hello");
    struct sdbus_client *client = client_new(sizeof(*client));
    client->bus = bus;
    return &client->base;
}

void sdbus_close(struct client *client)
{
    sd_bus_flush_close_unref(bus_of(client));
    free(client);
}

void sdbus_ping(struct client *client)
{
    check(sd_bus_call_method(bus_of(client), "org.freedesktop.DBus", "/org/freedesktop/DBus",
                             "org.freedesktop.DBus.Peer", "Ping", NULL, NULL, NULL),
          "Ping");
}

static int on_call(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    const char *body;

    if (check(sd_bus_message_is_method_call(call, INTERFACE, "Echo"), "message") == 0)
        return 0;
    check(sd_bus_message_read_basic(call, 's', &body), "read");
    check(sd_bus_reply_method_return(call, "s", body), "reply");
    return 1;
}

void sdbus_serve(struct client *client, const char *name)
{
    struct sdbus_client *self = (struct sdbus_client *)client;

    /* One handler, however many names there are. */
    if (!self->serving)
        check(sd_bus_add_object(self->bus, NULL, "/echo", on_call, NULL), "object");
    self->serving = true;
    check(sd_bus_request_name(self->bus, name, 0), "name");
}

static sd_bus_message *make_call(struct client *client, const char *name, const char *body)
{
    sd_bus_message *call;

    check(sd_bus_message_new_method_call(bus_of(client), &call, name, "/echo", INTERFACE, "Echo"),
          "call");
    check(sd_bus_message_append_basic(call, 's', body), "append");
    return call;
}

static size_t answer_size(sd_bus_message *answer)
{
    const char *body;

    if (sd_bus_message_is_method_error(answer, NULL))
        fail("sd-bus: call: %s", sd_bus_message_get_error(answer)->message);
    check(sd_bus_message_read_basic(answer, 's', &body), "read");
    return strlen(body);
}

void sdbus_call(struct client *client, const char *name, const char *body, size_t size)
{
    sd_bus_message *call = make_call(client, name, body);
    sd_bus_message *answer;

    check(sd_bus_call(bus_of(client), call, CALL_TIME, NULL, &answer), "call");
    check_answer(client, answer_size(answer), size);
    sd_bus_message_unref(answer);
    sd_bus_message_unref(call);
}

static int on_answer(sd_bus_message *answer, void *userdata, sd_bus_error *error)
{
    struct client *client = userdata;

    client->on_answer(client, answer_size(answer));
    return 0;
}

void sdbus_call_start(struct client *client, const char *name, const char *body, size_t size)
{
    sd_bus_message *call = make_call(client, name, body);

    check(sd_bus_call_async(bus_of(client), NULL, call, on_answer, client, CALL_TIME), "call");
    sd_bus_message_unref(call);
}

/* The topic is the object path of the signal: of what D-Bus can filter by, it alone
 * has segments, and a filter for all below. */
static int on_signal(sd_bus_message *signal, void *userdata, sd_bus_error *error)
{
    struct client *client = userdata;
    const char *path = sd_bus_message_get_path(signal);
    const char *body;

    check(sd_bus_message_read_basic(signal, 's', &body), "read");
    client->on_event(client, translate_back(path + 1, '/'), strlen(body));
    return 0;
}

void sdbus_subscribe(struct client *client, const char *pattern)
{
    size_t size = strcspn(pattern, "*#");
    char match[512];

    /* Only wildcards at the end, and "one segment" stands for "all below". */
    if (pattern[size] && (size < 2 || pattern[size + 1]))
        fail("sd-bus: there is no match rule for %s", pattern);
    const char *path = translate(pattern, '/', '*', '#');
    if (pattern[size])
        snprintf(match, sizeof(match), "type='signal',interface='%s',path_namespace='/%.*s'",
                 INTERFACE, (int)size - 1, path);
    else
        snprintf(match, sizeof(match), "type='signal',interface='%s',path='/%s'", INTERFACE, path);
    check(sd_bus_add_match_async(bus_of(client), NULL, match, on_signal, NULL, client), "match");
}

void sdbus_publish(struct client *client, const char *topic, const char *body, size_t size)
{
    char path[256] = "/";
    size_t i;

    for (i = 0; topic[i] && i < sizeof(path) - 2; i++)
        path[i + 1] = topic[i] == '.' ? '/' : topic[i];
    check(sd_bus_emit_signal(bus_of(client), path, INTERFACE, "Event", "s", body), "signal");
}

void sdbus_flush(struct client *client)
{
    check(sd_bus_flush(bus_of(client)), "flush");
}

void sdbus_wait(struct client *client, int timeout_ms)
{
    int r = check(sd_bus_process(bus_of(client), NULL), "process");

    if (r == 0) {
        r = sd_bus_wait(bus_of(client), timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms * 1000);
        if (r != -EINTR)
            check(r, "wait");
    }
}

int sdbus_fd(struct client *client)
{
    return sd_bus_get_fd(bus_of(client));
}

void sdbus_process(struct client *client)
{
    while (check(sd_bus_process(bus_of(client), NULL), "process") > 0)
        ;
}
