/* SPDX-License-Identifier: MIT */
/*
 * Clients of the bare relay. Around a body they put as many bytes as busd's envelope
 * has, with its length and topic, and nothing else: no names, no parsing, no checks.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "tests/bench/crew.h"
#include "tests/bench/drivers.h"
#include "tests/bench/process.h"
#include "tests/bench/relay.h"

#define BUFFER (64 * 1024) /* gathered before it is written, as libbus does */

struct header {
    uint32_t size; /* of the body */
    char topic[60];
};

struct relay_client {
    struct client base;
    int fd;
    bool serving, calling;
    struct pending pending;
    char *out;
    size_t out_size, out_capacity;
    char *in;
    size_t in_size, in_capacity;
};

static struct relay_client *self(struct client *client)
{
    return (struct relay_client *)client;
}

static int relay_start(struct broker *broker)
{
    snprintf(broker->address, sizeof(broker->address), "%s/relay", broker->folder);
    int listener = listen_at(broker->address);
    if (listener < 0)
        return -1;
    broker->pid = process_fork();
    if (broker->pid == 0)
        relay_run(listener);
    close(listener);
    return 0;
}

static struct client *relay_connect(const struct broker *broker)
{
    int fd = connect_to(broker->address);

    if (fd < 0)
        return NULL;
    struct relay_client *client = client_new(sizeof(*client));
    client->fd = fd;
    return &client->base;
}

static void relay_close(struct client *client)
{
    close(self(client)->fd);
    free(self(client)->out);
    free(self(client)->in);
    free(client);
}

/* Nobody answers, and nothing has to be known. */
static void relay_ping(struct client *client)
{
}

static void make_room(char **buffer, size_t *capacity, size_t size)
{
    if (size <= *capacity)
        return;
    *capacity = MAX(size, BUFFER);
    *buffer = realloc(*buffer, *capacity);
    if (!*buffer)
        fail("out of memory");
}

static void relay_flush(struct client *client)
{
    const char *data = self(client)->out;

    for (size_t left = self(client)->out_size; left > 0;) {
        ssize_t n = send(self(client)->fd, data, left, MSG_NOSIGNAL);
        if (n < 0)
            fail("relay: send: %s", strerror(errno));
        data += n;
        left -= (size_t)n;
    }
    self(client)->out_size = 0;
}

static void append(struct client *base, const char *topic, const char *body, size_t size)
{
    struct relay_client *client = self(base);
    struct header header = {.size = (uint32_t)size};

    if (client->out_size > 0 && client->out_size + sizeof(header) + size > BUFFER)
        relay_flush(base);
    make_room(&client->out, &client->out_capacity, client->out_size + sizeof(header) + size);
    memcpy(header.topic, topic, strnlen(topic, sizeof(header.topic) - 1));
    memcpy(client->out + client->out_size, &header, sizeof(header));
    memcpy(client->out + client->out_size + sizeof(header), body, size);
    client->out_size += sizeof(header) + size;
}

static void take(struct client *base, const struct header *header, const char *body)
{
    if (self(base)->serving)
        append(base, header->topic, body, header->size);
    else if (self(base)->calling)
        pending_answer(&self(base)->pending, base, header->size);
    else
        base->on_event(base, header->topic, header->size);
}

static void relay_process(struct client *base)
{
    struct relay_client *client = self(base);
    size_t done = 0;

    make_room(&client->in, &client->in_capacity, client->in_size + BUFFER / 2);
    ssize_t n =
        recv(client->fd, client->in + client->in_size, client->in_capacity - client->in_size, 0);
    /* A caller that has finished takes its service's connection along. */
    while (n == 0 && client->serving)
        pause();
    if (n <= 0)
        fail("relay: recv: %s", n < 0 ? strerror(errno) : "the end");
    client->in_size += (size_t)n;
    while (client->in_size - done >= sizeof(struct header)) {
        struct header header;
        memcpy(&header, client->in + done, sizeof(header));
        size_t size = sizeof(header) + header.size;
        if (client->in_size - done < size) {
            make_room(&client->in, &client->in_capacity, done + size);
            break;
        }
        take(base, &header, client->in + done + sizeof(header));
        done += size;
    }
    memmove(client->in, client->in + done, client->in_size - done);
    client->in_size -= done;
    if (client->out_size > 0)
        relay_flush(base);
}

static void relay_wait(struct client *client, int timeout_ms)
{
    if (timeout_ms < 0 || wait_readable(self(client)->fd, timeout_ms))
        relay_process(client);
}

static void relay_serve(struct client *client, const char *name)
{
    self(client)->serving = true;
}

static void relay_subscribe(struct client *client, const char *pattern)
{
}

static void relay_call_start(struct client *client, const char *name, const char *body, size_t size)
{
    self(client)->calling = true;
    append(client, name, body, size);
}

static void relay_call(struct client *client, const char *name, const char *body, size_t size)
{
    self(client)->pending.waiting = 1;
    relay_call_start(client, name, body, size);
    relay_flush(client);
    while (self(client)->pending.waiting > 0)
        relay_process(client);
    check_answer(client, self(client)->pending.size, size);
}

static int relay_fd(struct client *client)
{
    return self(client)->fd;
}

const struct peer peer_relay = {
    .name = "relay",
    .transport = "unix socket",
    .client = "none",
    .start = relay_start,
    .connect = relay_connect,
    .close = relay_close,
    .ping = relay_ping,
    .serve = relay_serve,
    .call = relay_call,
    .call_start = relay_call_start,
    .subscribe = relay_subscribe,
    .publish = append,
    .flush = relay_flush,
    .wait = relay_wait,
    .fd = relay_fd,
    .process = relay_process,
    .no_names = true,
    .no_1to_many = true,
    .no_fan_in = true,
};
