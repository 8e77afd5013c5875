/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/json.h"
#include "tools/busctl-lite/loop.h"
#include "tools/busctl-lite/names.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/print.h"
#include "tools/busctl-lite/report.h"

#define TOPIC_WIDTH 24

struct getter {
    struct loop loop;
    bool several; /* the topic has to be told, too */
    int left;     /* values still to come */
};

/* {"topic":..,"body":..} */
static int print_value(const struct cli *cli, struct bus_message *value)
{
    CLEANUP(owned_text) char *text = NULL;
    size_t size = 0, body_size;
    const char *body = bus_message_body_text(value, &body_size);

    if (cli->output == OUTPUT_READABLE) {
        print_styled(cli, STYLE_TOPIC, bus_message_topic(value), TOPIC_WIDTH);
        fputs("  ", stdout);
        print_json_inline(cli, body, body_size, INT_MAX);
        fputc('\n', stdout);
        return print_flush();
    }
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return report_no_memory();
    /* Topics have no character that JSON would escape. */
    fprintf(out, "{\"topic\":\"%s\",\"body\":", bus_message_topic(value));
    json_write(out, body, body_size, JSON_ONE_LINE, false);
    fputc('}', out);
    if (fclose(out) != 0)
        return report_no_memory();
    return print_json_text(cli, text, size);
}

static void on_value(struct bus_message *value, void *userdata)
{
    struct getter *getter = userdata;
    const struct cli *cli = getter->loop.cli;
    const char *body;
    size_t size;
    int r;

    if (getter->loop.done)
        return;
    body = bus_message_body_text(value, &size);
    r = getter->several ? print_value(cli, value) : print_json_text(cli, body, size);
    if (r || --getter->left == 0)
        loop_end(&getter->loop, r);
}

static int get(struct getter *getter, const char *pattern, const char *sender)
{
    const struct bus_subscription_options options = {.sender = sender,
                                                     .retained = BUS_RETAINED_ONLY};
    struct bus_error error = BUS_ERROR_INIT;
    int r = bus_subscribe_with(getter->loop.bus, pattern, &options, on_value, getter, NULL, &error);

    if (r < 0)
        return report_error(getter->loop.cli, pattern, &error, r);
    if (r == 0)
        return report_failure(STATUS_UNKNOWN, "there is no value of '%s'", pattern);
    getter->left = r;
    r = loop_run(&getter->loop);
    if (!r && !getter->loop.in_time)
        r = report_failure(STATUS_TIMEOUT, "the time is up: %d values have not come", getter->left);
    return r;
}

static int run(struct cli *cli, const struct arguments *arguments)
{
    const char *sender = arguments_value(arguments, "sender");
    const char *pattern = arguments->operands[0];
    struct getter getter = {.several = strpbrk(pattern, "*#")};
    int r;

    r = check_pattern(cli->verb, pattern);
    if (!r && sender)
        r = check_peer(cli->verb, sender);
    if (r)
        return r;
    r = loop_init(&getter.loop, cli);
    getter.loop.prints = true;
    if (!r)
        r = get(&getter, pattern, sender);
    bus_close(getter.loop.bus);
    return r;
}

const struct command command_get = {
    .name = "get",
    .synopsis = "TOPIC",
    .summary = "print the last value of a topic",
    .help = "Prints the value that is kept of TOPIC (see 'set', and --retain of 'publish').\n"
            "With a pattern it prints all that match, as {\"topic\":..,\"body\":..}. Exit 4 if\n"
            "there is none. A property of a service is the last value of SERVICE.NAME.\n"
            "\n"
            "  --sender NAME   only a value that NAME has published\n"
            "\n"
            "Examples:\n"
            "  busctl-lite get org.example.lamp\n"
            "  busctl-lite get 'org.example.#'\n"
            "  busctl-lite get org.example.Lamp.level\n"
            "  busctl-lite get bus.subscribers.org.example.lamp\n",
    .options = (const struct option_row[]){{"sender", "NAME"}, {NULL, NULL}},
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
