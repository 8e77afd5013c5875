/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/event.h"
#include "tools/busctl-lite/loop.h"
#include "tools/busctl-lite/names.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/print.h"
#include "tools/busctl-lite/report.h"

static void on_event(struct bus_message *event, void *userdata)
{
    struct loop *loop = userdata;

    if (!loop->done && event_check(loop->cli, event))
        loop_end(loop, event_print(loop->cli, event));
}

static int print_owner(const struct cli *cli, const char *name, const char *owner)
{
    char text[600];

    if (cli->output == OUTPUT_READABLE) {
        print_styled(cli, STYLE_TOPIC, name, 0);
        fputs(" is owned by ", stdout);
        print_styled(cli, STYLE_NAME, owner, 0);
        fputc('\n', stdout);
        return print_flush();
    }
    /* Names have no character that JSON would escape. */
    snprintf(text, sizeof(text), "{\"name\":\"%s\",\"owner\":\"%s\"}", name, owner);
    return print_json_text(cli, text, strlen(text));
}

static void on_owner(struct bus *bus, const char *name, const char *owner, void *userdata)
{
    struct loop *loop = userdata;

    if (owner && !loop->done)
        loop_end(loop, print_owner(loop->cli, name, owner));
}

static int watch(struct loop *loop, const char *name, const char *pattern)
{
    struct bus_error error = BUS_ERROR_INIT;
    int r;

    if (name)
        r = bus_watch_name(loop->bus, name, on_owner, loop, NULL, &error);
    else
        r = bus_subscribe(loop->bus, pattern, NULL, on_event, loop, NULL, &error);
    return r < 0 ? report_error(loop->cli, name ? name : pattern, &error, r) : STATUS_OK;
}

static int run(struct cli *cli, const struct arguments *arguments)
{
    const char *name = arguments_value(arguments, "name");
    const char *pattern = arguments->operands[0];
    struct loop loop;
    int r;

    if (!name == !pattern)
        return report_usage(cli->verb, "give either a TOPIC or --name NAME");
    r = name ? check_name(cli->verb, name) : check_pattern(cli->verb, pattern);
    if (r)
        return r;
    r = loop_init(&loop, cli);
    loop.prints = true;
    if (!r)
        r = watch(&loop, name, pattern);
    if (!r)
        r = loop_run(&loop);
    if (!r && !loop.in_time)
        r = report_failure(STATUS_TIMEOUT, "the time is up: %s %s", name ? name : pattern,
                           name ? "has no owner yet" : "has not come");
    bus_close(loop.bus);
    return r;
}

const struct command command_wait = {
    .name = "wait",
    .synopsis = "TOPIC | --name NAME",
    .summary = "wait for an event, or for a name to have an owner",
    .help = "Waits for the first event on TOPIC (a pattern works too), prints it as\n"
            "'subscribe' does and ends.\n"
            "\n"
            "  --name NAME     wait until somebody owns NAME; at once if somebody does\n"
            "  --timeout SEC   exit 6 after that time\n"
            "\n"
            "Examples:\n"
            "  busctl-lite wait org.example.backup.done --timeout 3600\n"
            "  busctl-lite wait --name org.example.AddressBook --timeout 5\n",
    .options = (const struct option_row[]){{"name", "NAME"}, {NULL, NULL}},
    .operands_max = 1,
    .run = run,
};
