/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/names.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/print.h"
#include "tools/busctl-lite/report.h"

struct round_trips {
    uint64_t count;
    double least; /* milliseconds, all of them */
    double most;
    double sum;
};

static double milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int print_trip(const struct cli *cli, const char *name, uint64_t number, double time)
{
    char text[512];

    if (cli->output == OUTPUT_READABLE) {
        print_styled(cli, STYLE_TOPIC, name, 0);
        printf(" answered in %.3f ms\n", time);
        return print_flush();
    }
    /* A name has no character that JSON would escape. */
    snprintf(text, sizeof(text), "{\"name\":\"%s\",\"number\":%" PRIu64 ",\"milliseconds\":%.3f}",
             name, number, time);
    return print_json_text(cli, text, strlen(text));
}

static int ping_once(const struct cli *cli, struct bus *bus, const char *name,
                     struct round_trips *trips)
{
    struct bus_error error = BUS_ERROR_INIT;
    double start = milliseconds();
    double time;
    int r;

    r = bus_call_text(bus, name, "Ping", "{}", BUS_NUL_TERMINATED, cli_call_timeout(cli), &error,
                      NULL);
    if (r < 0)
        return report_error(cli, name, &error, r);
    time = milliseconds() - start;
    trips->least = trips->count == 0 || time < trips->least ? time : trips->least;
    trips->most = time > trips->most ? time : trips->most;
    trips->sum += time;
    trips->count++;
    return print_trip(cli, name, trips->count, time);
}

static int run(struct cli *cli, const struct arguments *arguments)
{
    CLEANUP(owned_bus) struct bus *bus = NULL;
    const char *name = arguments->operands[0] ? arguments->operands[0] : "bus";
    struct round_trips trips = {0};
    uint64_t count = 1;
    int r;

    r = arguments_number(arguments, "count", &count);
    if (!r)
        r = check_peer(cli->verb, name);
    if (!r)
        r = cli_connect(cli, &bus);
    /* The greeting is behind us before the clock starts. */
    if (!r && !bus_unique_name(bus))
        r = report_disconnected(cli, bus);
    while (!r && trips.count < count)
        r = ping_once(cli, bus, name, &trips);
    if (!r && count > 1 && cli->output == OUTPUT_READABLE) {
        printf("%" PRIu64 " round trips: least %.3f ms, mean %.3f ms, most %.3f ms\n", trips.count,
               trips.least, trips.sum / (double)trips.count, trips.most);
        r = print_flush();
    }
    return r;
}

const struct command command_ping = {
    .name = "ping",
    .synopsis = "[NAME] [--count N]",
    .summary = "measure the round trip to a service, or to the bus",
    .help = "Calls the method Ping, which every service made with libbus has, and prints\n"
            "how long the answer took.\n"
            "\n"
            "  --count N   as many times, one right after the other (default 1)\n"
            "\n"
            "Examples:\n"
            "  busctl-lite ping\n"
            "  busctl-lite ping org.example.AddressBook --count 10\n",
    .options = (const struct option_row[]){{"count", "N"}, {NULL, NULL}},
    .operands_max = 1,
    .run = run,
};
