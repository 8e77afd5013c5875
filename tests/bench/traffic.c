/* SPDX-License-Identifier: MIT */
/*
 * Plain traffic for measurements of the broker, on the bus of BUSD_ADDRESS:
 *
 *     traffic serve              answers calls of Echo with what they bring
 *     traffic call N             makes N calls of Echo, one after the other
 *     traffic subscribe N        says "ready", ends when N events have come
 *     traffic publish N          publishes N events of a 128-byte body
 *     traffic bulk N             the same with receipts for some of them
 *     traffic exact N            the same with a receipt for each
 */
#include <bus/bus.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME      "org.busd.traffic.Echo"
#define TOPIC     "traffic.event"
#define BODY_SIZE 128

static int fail(const char *what, int r)
{
    fprintf(stderr, "traffic: %s: %s\n", what, strerror(-r));
    return EXIT_FAILURE;
}

static int on_echo(struct bus_message *call, void *userdata)
{
    size_t size;
    const char *text = bus_message_body_text(call, &size);

    return bus_reply_text(call, text, size);
}

static int serve(struct bus *bus)
{
    static const struct bus_method methods[] = {
        {"Echo", on_echo, 0, "Answers with what it was given"}, BUS_METHOD_END};

    int r = bus_serve(bus, NAME, methods, NULL, NULL, NULL);
    if (r < 0)
        return fail("serve", r);
    puts("ready");
    fflush(stdout);
    bus_run(bus);
    return EXIT_SUCCESS;
}

static int call(struct bus *bus, const char *body, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        int r = bus_call_text(bus, NAME, "Echo", body, BODY_SIZE, BUS_TIMEOUT_DEFAULT, NULL, NULL);
        if (r < 0)
            return fail("call", r);
    }
    return EXIT_SUCCESS;
}

static void on_event(struct bus_message *event, void *userdata)
{
    unsigned long *left = userdata;

    if (--*left == 0)
        bus_stop(bus_message_bus(event));
}

static int subscribe(struct bus *bus, unsigned long count)
{
    int r = bus_subscribe(bus, TOPIC, NULL, on_event, &count, NULL, NULL);
    if (r < 0)
        return fail("subscribe", r);
    puts("ready");
    fflush(stdout);
    r = bus_run(bus);
    return r < 0 ? fail("run", r) : EXIT_SUCCESS;
}

static int publish(struct bus *bus, const char *body, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        int r;
        while ((r = bus_publish_text(bus, TOPIC, body, BODY_SIZE)) == -EAGAIN)
            bus_flush(bus, UINT64_MAX);
        if (r < 0)
            return fail("publish", r);
    }
    int r = bus_flush(bus, UINT64_MAX);
    return r < 0 ? fail("flush", r) : EXIT_SUCCESS;
}

static int publish_bulk(struct bus *bus, const char *body, unsigned long count, unsigned flags)
{
    struct bus_publisher *publisher;

    int r = bus_publisher_new(bus, 0, flags, &publisher);
    for (unsigned long i = 0; r == 0 && i < count; i++)
        while ((r = bus_publisher_send_text(publisher, TOPIC, body, BODY_SIZE)) == -EAGAIN &&
               (r = bus_publisher_wait(publisher, UINT64_MAX)) == 0)
            ;
    if (r == 0)
        r = bus_publisher_finish(publisher, UINT64_MAX, NULL);
    bus_publisher_free(publisher);
    return r < 0 ? fail("bulk", r) : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    unsigned long count = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    const char *verb = argc > 1 ? argv[1] : "";
    char body[BODY_SIZE];
    struct bus *bus;
    int status = 2;

    memset(body, 'x', sizeof(body));
    body[0] = body[BODY_SIZE - 1] = '"';
    int r = bus_connect(&bus, NULL);
    if (r < 0)
        return fail("connect", r);
    if (strcmp(verb, "serve") == 0)
        status = serve(bus);
    else if (strcmp(verb, "call") == 0 && count > 0)
        status = call(bus, body, count);
    else if (strcmp(verb, "subscribe") == 0 && count > 0)
        status = subscribe(bus, count);
    else if (strcmp(verb, "publish") == 0 && count > 0)
        status = publish(bus, body, count);
    else if (strcmp(verb, "bulk") == 0 && count > 0)
        status = publish_bulk(bus, body, count, 0);
    else if (strcmp(verb, "exact") == 0 && count > 0)
        status = publish_bulk(bus, body, count, BUS_PUBLISHER_EXACT);
    else
        fputs("Usage: traffic serve | {call | subscribe | publish | bulk | exact} N\n", stderr);
    bus_close(bus);
    return status;
}
