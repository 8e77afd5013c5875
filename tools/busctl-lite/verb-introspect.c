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
/* Of a value; `get` prints all of it. */
#define VALUE_COLUMNS 40

static int name_width(const json_t *rows)
{
    const json_t *row;
    size_t index;
    int width = 0;

    json_array_foreach(rows, index, row)
    {
        int own = print_width(string_at(row, "name"));

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

/* The value that it has just now, if one can be had. */
static void print_value(const struct cli *cli, struct bus *bus, const char *name,
                        const char *property)
{
    CLEANUP(owned_message) struct bus_message *value = NULL;
    const char *text;
    size_t size;

    if (bus_property_get(bus, name, property, NULL, &value) <= 0) {
        print_styled(cli, STYLE_DIM, "none", 0);
        return;
    }
    text = bus_message_body_text(value, &size);
    print_json_inline(cli, text, size, VALUE_COLUMNS);
}

static void print_properties(const struct cli *cli, struct bus *bus, const char *name,
                             const json_t *properties)
{
    int width = name_width(properties);
    const json_t *property;
    size_t index;

    json_array_foreach(properties, index, property)
    {
        const char *text = string_at(property, "description");

        fputs("  .", stdout);
        print_styled(cli, STYLE_TOPIC, string_at(property, "name"), width);
        fputs(" = ", stdout);
        print_value(cli, bus, name, string_at(property, "name"));
        if (text[0]) {
            fputs("  ", stdout);
            print_styled(cli, STYLE_DIM, text, 0);
        }
        if (json_is_true(json_object_get(property, "constant")))
            print_styled(cli, STYLE_DIM, " (constant)", 0);
        else if (json_is_true(json_object_get(property, "read_only")))
            print_styled(cli, STYLE_DIM, " (read-only)", 0);
        fputc('\n', stdout);
    }
}

static int print_readable(const struct cli *cli, struct bus *bus, const char *name,
                          const json_t *description)
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
    print_properties(cli, bus, name, json_object_get(description, "properties"));
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
        return print_readable(cli, bus, name, bus_message_body(reply));
    r = body_of_message(reply, "the body of the reply", &text, &size);
    return r ? r : print_json_text(cli, text, size);
}

const struct command command_introspect = {
    .name = "introspect",
    .synopsis = "NAME",
    .summary = "list the methods and properties of a service",
    .help = "Asks a service (or 'bus', the bus itself) for its methods and properties. With\n"
            "--json=off the properties come with their values, which otherwise are printed\n"
            "by 'get NAME.PROPERTY', or 'get NAME.*' for all of them.\n"
            "\n"
            "Examples:\n"
            "  busctl-lite introspect bus\n"
            "  busctl-lite introspect org.example.AddressBook | jq -r '.methods[].name'\n",
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
