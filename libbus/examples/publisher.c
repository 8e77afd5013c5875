/* SPDX-License-Identifier: MIT */
/* Publishes its argument as an event: publisher TEXT */
#include <bus/bus.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct bus *bus;
    int r = bus_connect(&bus, NULL);

    if (r >= 0) {
        r = bus_publish_take(bus, "org.example.greeting",
                             json_string(argc > 1 ? argv[1] : "hello"));
        bus_close(bus);
    }
    if (r < 0)
        fprintf(stderr, "publisher: %s\n", strerror(-r));
    return r < 0;
}
