/* SPDX-License-Identifier: MIT */
#include "bus/bus.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libbus/address.h"
#include "libbus/base/macros.h"
#include "libbus/body.h"
#include "libbus/channel.h"
#include "libbus/client.h"
#include "libbus/error.h"

#define CLOSE_FLUSH_MS 1000

uint64_t client_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct bus *client_new(int fd)
{
    struct bus *bus = calloc(1, sizeof(*bus));

    if (!bus)
        return NULL;
    bus->owners = 1;
    bus->fd = fd;
    bus->output_limit = CLIENT_OUTPUT_LIMIT;
    loop_init(&bus->loop);
    input_init(&bus->input);
    output_init(&bus->output);
    bus_set_memfd_threshold(bus, BODY_MEMFD_THRESHOLD);
    list_init(&bus->backlog);
    list_init(&bus->unused);
    list_init(&bus->item_ping.link);
    list_init(&bus->channels);
    list_init(&bus->ready_channels);
    list_init(&bus->slots);
    list_init(&bus->pending);
    list_init(&bus->publishers);
    hash_init(&bus->pending_by_id);
    timers_init(&bus->timers);
    subscriptions_init(&bus->subscriptions);
    hash_init(&bus->services);
    hash_init(&bus->calls);
    list_init(&bus->starved);
    return bus;
}

static void drop_backlog(struct bus *bus)
{
    while (!list_is_empty(&bus->backlog)) {
        struct list *first = list_first(&bus->backlog);
        list_remove(first);
        bus_message_unref(LIST_ENTRY(first, struct bus_message, link));
    }
}

static void disconnect(struct bus *bus)
{
    if (bus->fd >= 0) {
        loop_forget(bus);
        close(bus->fd);
    }
    bus->fd = -1;
    output_clear(&bus->output);
}

/* All that the connection holds goes; messages and slots that the program has kept
 * stay what they are, without a connection. */
static void client_tear_down(struct bus *bus)
{
    bus->state = CLIENT_CLOSED;
    disconnect(bus);
    channels_tear_down(bus);
    loop_deinit(&bus->loop);
    while (!list_is_empty(&bus->slots))
        slot_end(LIST_ENTRY(list_first(&bus->slots), struct bus_slot, link), false);
    while (!list_is_empty(&bus->pending))
        pending_answer(bus, LIST_ENTRY(list_first(&bus->pending), struct pending, link), NULL);
    drop_backlog(bus);
    while (bus->calls.count > 0)
        call_untrack(CONTAINER_OF(hash_walk(&bus->calls, NULL), struct bus_message, node));
    subscriptions_deinit(&bus->subscriptions);
    hash_deinit(&bus->services);
    hash_deinit(&bus->calls);
    hash_deinit(&bus->pending_by_id);
    timers_deinit(&bus->timers);
    input_deinit(&bus->input);
    message_free_unused(bus);
    if (bus->channel)
        cleanup_close(&bus->channel->credentials.pidfd);
}

static void client_free(struct bus *bus)
{
    free(bus->channel);
    free(bus);
}

void client_pin(struct bus *bus)
{
    bus->pins++;
}

void client_unpin(struct bus *bus)
{
    if (--bus->pins == 0 && bus->owners == 0)
        client_free(bus);
}

void client_enter(struct bus *bus)
{
    bus->depth++;
    client_pin(bus);
}

void client_leave(struct bus *bus)
{
    if (--bus->depth == 0) {
        if (bus->owners == 0)
            client_tear_down(bus);
        else
            loop_settle(bus);
    }
    client_unpin(bus);
}

static int connect_to(const char *address, struct bus **ret_bus)
{
    int fd = address_connect(address);

    if (fd < 0)
        return fd;
    struct bus *bus = client_new(fd);
    if (!bus) {
        close(fd);
        return -ENOMEM;
    }
    *ret_bus = bus;
    return 0;
}

static int connect_default(bool system, struct bus **ret_bus)
{
    CLEANUP(cleanup_free) char *address = NULL;
    int r = bus_default_address(system, &address);

    return r < 0 ? r : connect_to(address, ret_bus);
}

int bus_connect(struct bus **ret_bus, const char *address)
{
    return address ? connect_to(address, ret_bus) : connect_default(false, ret_bus);
}

int bus_connect_system(struct bus **ret_bus)
{
    return connect_default(true, ret_bus);
}

struct bus *bus_ref(struct bus *bus)
{
    if (bus)
        bus->owners++;
    return bus;
}

struct bus *bus_unref(struct bus *bus)
{
    if (!bus)
        return NULL;
    /* Below one of our own functions client_leave() does the rest. */
    client_pin(bus);
    if (--bus->owners == 0 && bus->depth == 0)
        client_tear_down(bus);
    client_unpin(bus);
    return NULL;
}

void client_lose(struct bus *bus, bool by_bus, const char *name, const char *format, ...)
{
    char message[sizeof(bus->lost.message)];
    va_list args;

    if (bus->state != CLIENT_UP)
        return;
    bus->state = CLIENT_LOST;
    disconnect(bus);
    if (by_bus && bus->said_goodbye) {
        bus->lost = bus->goodbye;
        return;
    }
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    bus_error_set(&bus->lost, name, "%s", message);
}

struct bus *bus_close(struct bus *bus)
{
    if (!bus)
        return NULL;
    client_enter(bus);
    /* A service does not wait for one of its clients. */
    if (client_can_send(bus))
        bus_flush(bus, bus->channel && bus->channel->serving ? 0 : CLOSE_FLUSH_MS);
    client_lose(bus, false, BUS_ERROR_DISCONNECTED, "the connection was closed on this side");
    drop_backlog(bus);
    while (client_is_live(bus) && !list_is_empty(&bus->pending))
        pending_fail(bus, LIST_ENTRY(list_first(&bus->pending), struct pending, link),
                     BUS_ERROR_DISCONNECTED, bus->lost.message);
    bus->state = CLIENT_CLOSED;
    bus_unref(bus);
    client_leave(bus);
    return NULL;
}

bool client_greeted(struct bus *bus)
{
    if (!bus->greeted && bus->state == CLIENT_UP) {
        client_enter(bus);
        client_wait(bus, &bus->greeted, pending_deadline(bus, BUS_TIMEOUT_DEFAULT));
        client_leave(bus);
    }
    return bus->greeted;
}

const char *bus_unique_name(struct bus *bus)
{
    return client_greeted(bus) ? bus->unique_name : NULL;
}

const char *bus_id(struct bus *bus)
{
    return client_greeted(bus) ? bus->id : NULL;
}

bool bus_is_connected(const struct bus *bus)
{
    return client_can_send(bus);
}

void bus_set_disconnect_handler(struct bus *bus, bus_handler handler, void *userdata)
{
    bus->disconnect_handler = handler;
    bus->disconnect_userdata = userdata;
}

void bus_set_writable_handler(struct bus *bus, bus_handler handler, void *userdata)
{
    bus->writable_handler = handler;
    bus->writable_userdata = userdata;
}

void bus_set_error_handler(struct bus *bus, bus_error_handler handler, void *userdata)
{
    bus->error_handler = handler;
    bus->error_userdata = userdata;
}

const struct bus_error *bus_disconnect_error(const struct bus *bus)
{
    return &bus->lost;
}

void bus_set_output_limit(struct bus *bus, size_t bytes)
{
    bus->output_limit = bytes;
}

size_t bus_output_size(const struct bus *bus)
{
    return output_weight(&bus->output);
}
