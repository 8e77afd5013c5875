/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "tools/busctl-lite/body.h"
#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/members.h"
#include "tools/busctl-lite/names.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/print.h"
#include "tools/busctl-lite/report.h"

#define NAME_WIDTH_MAX 32

static int name_width(const json_t *methods)
{
    const json_t *method;
    size_t index;
    int width = 0;

    json_array_foreach(methods, index, method)
    {
        int own = print_width(string_at(method, "name"));

        if (own <= NAME_WIDTH_MAX)
            width = own > width ? own : width;
    }
    return width;
}

static int print_arguments(const struct cli *cli, const json_t *arguments, int indent)
{
    CLEANUP(owned_text) char *text = NULL;

    if (json_object_size(arguments) == 0)
        return STATUS_OK;
    text = json_dumps(arguments, JSON_COMPACT);
    if (!text)
        return report_no_memory();
    printf("%*s", indent, "");
    print_json_inline(cli, text, strlen(text), INT_MAX);
    fputc('\n', stdout);
    return STATUS_OK;
}

static int print_readable(const struct cli *cli, const char *name, const json_t *description)
{
    const json_t *methods = json_object_get(description, "methods");
    const char *sentence = string_at(description, "description");
    int width = name_width(methods);
    const json_t *method;
    size_t index;
    int r = STATUS_OK;

    print_styled(cli, STYLE_HEADING, name, 0);
    if (sentence[0]) {
        fputs("  ", stdout);
        print_styled(cli, STYLE_DIM, sentence, 0);
    }
    fputc('\n', stdout);
    json_array_foreach(methods, index, method)
    {
        const char *method_name = string_at(method, "name");
        const char *text = string_at(method, "description");

        fputs("  ", stdout);
        print_styled(cli, STYLE_TOPIC, method_name, text[0] ? width + 2 : 0);
        print_styled(cli, STYLE_DIM, text, 0);
        if (json_is_true(json_object_get(method, "more")))
            print_styled(cli, STYLE_DIM, " (several replies)", 0);
        fputc('\n', stdout);
        r = r ? r : print_arguments(cli, json_object_get(method, "arguments"), width + 4);
    }
    return r ? r : print_flush();
}

static int run(struct cli *cli, const struct arguments *arguments)
{
    CLEANUP(owned_bus) struct bus *bus = NULL;
    CLEANUP(owned_message) struct bus_message *reply = NULL;
    struct bus_error error = BUS_ERROR_INIT;
    const char *name = arguments->operands[0];
    const char *text;
    size_t size;
    int r;

    r = check_peer(cli->verb, name);
    if (!r)
        r = cli_connect(cli, &bus);
    if (r)
        return r;
    r = bus_call_text(bus, name, "Introspect", "{}", BUS_NUL_TERMINATED, cli_call_timeout(cli),
                      &error, &reply);
    if (r < 0)
        return report_error(cli, name, &error, r);
    if (cli->output == OUTPUT_READABLE && json_is_object(bus_message_body(reply)))
        return print_readable(cli, name, bus_message_body(reply));
    r = body_of_message(reply, "the body of the reply", &text, &size);
    return r ? r : print_json_text(cli, text, size);
}

const struct command command_introspect = {
    .name = "introspect",
    .synopsis = "NAME",
    .summary = "list the methods of a service",
    .help = "Asks a service (or 'bus', the bus itself) for its methods.\n"
            "\n"
            "Examples:\n"
            "  busctl-lite introspect bus\n"
            "  busctl-lite introspect org.example.AddressBook | jq -r '.methods[].name'\n",
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
