/* SPDX-License-Identifier: MIT */
/* Prints every event below org.example. */
#include <bus/bus.h>
#include <stdio.h>
#include <string.h>

static void print_event(struct bus_message *event, void *userdata)
{
    size_t size;
    const char *body = bus_message_body_text(event, &size);

    printf("%s %.*s\n", bus_message_topic(event), (int)size, body);
    fflush(stdout);
}

int main(void)
{
    struct bus *bus;
    int r = bus_connect(&bus, NULL);

    if (r >= 0) {
        r = bus_subscribe(bus, "org.example.#", NULL, print_event, NULL, NULL, NULL);
        if (r >= 0)
            r = bus_run(bus);
        bus_close(bus);
    }
    if (r < 0)
        fprintf(stderr, "subscriber: %s\n", strerror(-r));
    return r < 0;
}
