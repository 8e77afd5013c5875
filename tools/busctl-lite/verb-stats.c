/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/print.h"
#include "tools/busctl-lite/report.h"

#define LABEL_WIDTH 22

static int print_counter(const struct cli *cli, const char *group, const char *key,
                         const json_t *value)
{
    CLEANUP(owned_text) char *label = NULL;
    CLEANUP(owned_text) char *text = NULL;

    if (asprintf(&label, "%s%s%s", group, group[0] ? " " : "", key) < 0)
        return report_no_memory();
    text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    if (!text)
        return report_no_memory();
    print_styled(cli, STYLE_DIM, label, LABEL_WIDTH);
    print_styled(cli, STYLE_NUMBER, json_is_string(value) ? json_string_value(value) : text, 0);
    fputc('\n', stdout);
    return STATUS_OK;
}

static int print_readable(const struct cli *cli, json_t *stats)
{
    const char *key;
    json_t *value;
    int r = STATUS_OK;

    json_object_foreach(stats, key, value)
    {
        const char *inner_key;
        json_t *inner;

        if (!json_is_object(value)) {
            r = r ? r : print_counter(cli, "", key, value);
            continue;
        }
        json_object_foreach(value, inner_key, inner) r =
            r ? r : print_counter(cli, key, inner_key, inner);
    }
    return r ? r : print_flush();
}

static int run(struct cli *cli, const struct arguments *arguments)
{
    CLEANUP(owned_bus) struct bus *bus = NULL;
    CLEANUP(owned_json) json_t *stats = NULL;
    int r;

    r = cli_connect(cli, &bus);
    if (!r)
        r = cli_call_bus(cli, bus, "Stats", json_object(), NULL, &stats);
    if (r)
        return r;
    return cli->output == OUTPUT_READABLE ? print_readable(cli, stats) : print_json(cli, stats);
}

const struct command command_stats = {
    .name = "stats",
    .synopsis = "",
    .summary = "the counters of the bus",
    .help = "Prints what the bus counts: connections, names, subscriptions, open calls,\n"
            "messages and bytes since it started.\n"
            "\n"
            "Example:\n"
            "  busctl-lite stats | jq .messages.dropped\n",
    .run = run,
};
