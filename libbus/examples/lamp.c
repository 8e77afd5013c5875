/* SPDX-License-Identifier: MIT */
/*
 * A lamp: a service with properties and nothing else. Read one with
 * `busctl-lite get org.example.Lamp.level`, watch it with `busctl-lite subscribe`, set it
 * with `busctl-lite set`.
 */
#include <bus/bus.h>
#include <stdio.h>
#include <string.h>

#define LAMP "org.example.Lamp"

struct lamp {
    struct bus_slot *slot;
    int changes;
};

/* 0 accepts the value; the library publishes it. */
static int set_level(struct bus_message *call, const char *property, const char *text, size_t size,
                     void *userdata)
{
    struct lamp *lamp = userdata;
    int level;

    if (sscanf(text, "%d", &level) != 1 || level < 0 || level > 100)
        return bus_reply_error(call, BUS_ERROR_INVALID_ARGUMENTS,
                               "'%s' is a number from 0 to 100, not %.*s", property, (int)size,
                               text);
    return bus_set_property_take(lamp->slot, "changes", json_integer(++lamp->changes));
}

static const struct bus_property properties[] = {
    {"level", 0, set_level, "80", "How bright it is, in percent."},
    {"changes", 0, NULL, "0", "How often somebody has set the level."},
    {"maker", BUS_PROPERTY_CONSTANT, NULL, "\"Example\"", "Who made it."},
    BUS_PROPERTY_END,
};

static const struct bus_method methods[] = {BUS_METHOD_END};

int main(void)
{
    const struct bus_service_options options = {.properties = properties};
    struct bus_error error = BUS_ERROR_INIT;
    struct lamp lamp = {0};
    struct bus *bus;
    int r = bus_connect(&bus, NULL);

    if (r < 0) {
        fprintf(stderr, "lamp: cannot connect to the bus: %s\n", strerror(-r));
        return 1;
    }
    r = bus_serve_with(bus, LAMP, &options, methods, &lamp, &lamp.slot, &error);
    if (r < 0) {
        fprintf(stderr, "lamp: cannot offer %s: %s\n", LAMP, error.message);
        bus_close(bus);
        return 1;
    }
    bus_slot_set_description(lamp.slot, "A lamp to be dimmed.");
    r = bus_run(bus);
    bus_slot_free(lamp.slot);
    bus_close(bus);
    return r < 0;
}
