/* SPDX-License-Identifier: MIT */
/* The side of the service: takes channels, and gives each its turn. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "libbus/base/macros.h"
#include "libbus/channel.h"
#include "libbus/credentials.h"
#include "libbus/error.h"

/* So many are looked at for each turn; the kernel begins with the others next time. */
#define EVENTS_MAX 64

/* A call of OpenChannel that waits for the bus to say who the caller is. */
struct opening {
    struct pending pending;
    struct bus_slot *service; /* a reference */
    struct bus_message *call; /* a reference */
};

static struct bus *of_link(struct list *node)
{
    /* The one that has this `struct channel`. */
    return LIST_ENTRY(node, struct channel, link)->self;
}

/* --------------------------------------------------------------- opening */

/* The service's end and the one for the caller. */
static int make_pair(int ret_fd[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_fd) < 0 ? -errno
                                                                                          : 0;
}

static int reply_with(struct bus_message *call, int fd)
{
    const struct bus *bus = call->bus;
    struct bus_message *reply;
    char body[96];

    int r = bus_message_new_reply(call, &reply);
    if (r < 0)
        return r;
    int size =
        snprintf(body, sizeof(body), "{\"message_bytes\":%zu,\"fds_per_message\":%u}",
                 bus->message_bytes ? bus->message_bytes : INPUT_LINE_MAX, bus->fds_per_message);
    r = bus_message_set_body_text(reply, body, (size_t)size);
    if (r == 0)
        r = bus_message_push_dup_fd(reply, fd);
    if (r == 0)
        r = bus_send(reply);
    bus_message_unref(reply);
    return r;
}

/* Enters it into the parent's loop and lists. 0, or -errno with nothing changed. */
static int enlist(struct bus *channel, struct service *service, struct bus *parent)
{
    int r = bus_get_fd(parent);

    if (r < 0)
        return r;
    channel->channel->serving = true;
    channel->channel->parent = parent;
    channel->channel->service = service;
    list_append(&parent->channels, &channel->channel->link);
    service->channel_count++;
    loop_watch(channel);
    return channel->interest ? 0 : -ENOMEM;
}

/* The library's reference goes. */
static void delist(struct bus *bus)
{
    struct channel *channel = bus->channel;

    list_remove(&channel->link);
    list_remove(&channel->ready);
    if (channel->service)
        channel->service->channel_count--;
    channel->service = NULL;
    loop_forget(bus);
    channel->parent = NULL;
    bus_unref(bus);
}

/* Makes the channel, now that it is known who wants it. */
static int establish(struct service *service, struct bus_message *call,
                     struct bus_credentials *credentials)
{
    struct bus *parent = call->bus;
    CLEANUP(cleanup_close) int theirs = -1;
    struct bus *channel;
    int fd[2];

    int r = make_pair(fd);
    if (r < 0)
        return r;
    theirs = fd[1];
    channel =
        channel_new(parent, fd[0], bus_message_sender(call), bus_message_to(call), credentials);
    if (!channel) {
        close(fd[0]);
        return -ENOMEM;
    }
    credentials->pidfd = -1;
    r = enlist(channel, service, parent);
    if (r == 0)
        r = reply_with(call, theirs);
    if (r < 0) {
        delist(channel);
        return r;
    }
    if (service->channel_opened)
        service->channel_opened(channel, service->slot.userdata);
    return 0;
}

static bool is_full(const struct service *service)
{
    return service->channel_count + service->channels_opening >= service->channels_max;
}

static int refuse_full(const struct service *service, struct bus_message *call)
{
    return bus_reply_error(
        call, BUS_ERROR_LIMIT_EXCEEDED, "%s has as many direct channels as it takes, %u",
        service->name ? service->name : "this connection", service->channels_max);
}

/* The bus has said who it is. */
static void opening_answered(struct pending *pending, struct bus_message *answer)
{
    struct opening *opening = CONTAINER_OF(pending, struct opening, pending);
    struct service *service = CONTAINER_OF(opening->service, struct service, slot);
    CLEANUP(credentials_deinit) struct bus_credentials credentials = {.pidfd = -1};
    struct bus_error error = BUS_ERROR_INIT;
    struct bus_message *call = opening->call;

    service->channels_opening--;
    if (answer && service->slot.bus && !bus_message_is_cancelled(call)) {
        int r = bus_message_get_error(answer, &error);
        if (r == 0)
            r = credentials_read(answer, &credentials, &error);
        if (r == 0) {
            r = establish(service, call, &credentials);
            bus_error_set(&error, "", "%s", strerrordesc_np(-r));
        }
        if (r < 0)
            bus_reply_error(call, BUS_ERROR_LIMIT_EXCEEDED, "no channel can be made: %s",
                            error.message);
    }
    /* Unanswered, it is answered so. */
    bus_message_unref(call);
    slot_unref(opening->service);
    free(opening);
}

int channels_open(struct service *service, struct bus_message *call)
{
    struct bus *bus = call->bus;
    char body[CREDENTIALS_BODY_SIZE];
    struct outgoing ask;

    /* Nobody would get it. */
    if (!call_is_wanted(call))
        return 0;
    if (is_full(service))
        return refuse_full(service, call);
    struct opening *opening = calloc(1, sizeof(*opening));
    if (!opening)
        return -ENOMEM;
    list_init(&opening->pending.link);
    opening->pending.answered = opening_answered;
    credentials_ask(&ask, bus_message_sender(call), body);
    int r = pending_add(bus, &opening->pending, pending_patience(bus, BUS_TIMEOUT_DEFAULT));
    ask.id = opening->pending.id;
    if (r == 0)
        r = client_send(bus, &ask, NULL);
    if (r < 0) {
        pending_remove(bus, &opening->pending);
        free(opening);
        return r;
    }
    opening->service = slot_ref(&service->slot);
    opening->call = bus_message_ref(call);
    service->channels_opening++;
    return 0;
}

/* ---------------------------------------------------------------- their end */

static void end(struct bus *bus, const char *reason)
{
    client_lose(bus, false, BUS_ERROR_DISCONNECTED, "%s", reason);
    /* Its turn is for telling its program. */
    channel_want_turn(bus);
}

void channels_end(struct bus *parent, struct service *service)
{
    LIST_FOREACH_SAFE (node, &parent->channels) {
        struct bus *channel = of_link(node);
        if (channel->channel->service != service)
            continue;
        channel->channel->service = NULL;
        end(channel, "the service has ended");
    }
}

void channels_finish(struct bus *parent)
{
    bool stopping = parent->stopping;

    LIST_FOREACH_SAFE (node, &parent->channels)
        end(of_link(node), "the connection to the bus that it was opened through is lost");
    while (client_is_live(parent) && channels_are_open(parent)) {
        parent->stopping = false;
        channels_process(parent);
        stopping |= parent->stopping;
    }
    parent->stopping = stopping;
}

void channels_tear_down(struct bus *parent)
{
    while (channels_are_open(parent)) {
        struct bus *channel = bus_ref(of_link(list_first(&parent->channels)));
        client_lose(channel, false, BUS_ERROR_DISCONNECTED, "%s",
                    "the connection that it was taken on was closed");
        while (!list_is_empty(&channel->pending))
            pending_answer(channel, LIST_ENTRY(list_first(&channel->pending), struct pending, link),
                           NULL);
        channel->state = CLIENT_CLOSED;
        delist(channel);
        bus_unref(channel);
    }
}

/* ---------------------------------------------------------------- their turns */

bool channels_collect(struct bus *parent)
{
    struct epoll_event event[EVENTS_MAX];
    int count = epoll_wait(parent->loop.epoll_fd, event, EVENTS_MAX, 0);
    bool own = false;

    for (int i = 0; i < count; i++) {
        struct bus *bus = event[i].data.ptr;
        own |= bus == parent;
        /* The timer and the wake-ups have none. */
        if (bus)
            channel_want_turn(bus);
    }
    return own;
}

static bool process(struct bus *channel)
{
    bus_ref(channel);
    client_enter(channel);
    bool did = client_process(channel, true);
    client_leave(channel);
    if (channel->state == CLIENT_CLOSED && channel->channel->parent)
        delist(channel);
    bus_unref(channel);
    return did;
}

bool channels_process(struct bus *parent)
{
    size_t turns = 0;
    bool did = false;
    struct list *node;

    /* Those that want another turn stand at the end by then. */
    LIST_FOREACH (ready, &parent->ready_channels)
        turns++;
    while (turns-- > 0 && client_is_live(parent) && !parent->stopping &&
           (node = list_first(&parent->ready_channels))) {
        struct bus *channel = LIST_ENTRY(node, struct channel, ready)->self;
        list_remove(node);
        did |= process(channel);
    }
    return did;
}

void channels_stash(struct bus *parent)
{
    LIST_FOREACH (node, &parent->channels) {
        struct bus *channel = of_link(node);
        if (channel->depth == 0)
            continue;
        client_stash(channel);
        if (client_has_work(channel))
            channel_want_turn(channel);
    }
}
