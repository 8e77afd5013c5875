/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "tools/busctl-lite/body.h"
#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/names.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/report.h"

static int check(const struct cli *cli, const struct arguments *arguments)
{
    bool clears = arguments_has(arguments, "clear");

    if (!clears && arguments->operand_count == 1)
        return report_usage(cli->verb,
                            "which value? Give BODY, or --clear to end the one there is");
    if (clears && arguments->operand_count > 1)
        return report_usage(cli->verb, "--clear ends the value: '%s' is too much",
                            arguments->operands[1]);
    if (clears && (arguments_has(arguments, "disk") || arguments_has(arguments, "ttl")))
        return report_usage(cli->verb, "--clear ends the value, whatever was said of it before");
    return STATUS_OK;
}

/* Whether somebody owns the name, as far as we may know. Of names that are none, nobody. */
static bool is_owned(const struct cli *cli, struct bus *bus, const char *name)
{
    return !bus_check_name(name, NULL) &&
           bus_call_take(bus, "bus", "GetName", json_pack("{s:s}", "name", name),
                         cli_call_timeout(cli), NULL, NULL) == 0;
}

/* Whether the service says that it has properties. Who does not say has none. */
static bool has_properties(const struct cli *cli, struct bus *bus, const char *name)
{
    CLEANUP(owned_message) struct bus_message *reply = NULL;

    return bus_call_text(bus, name, "Introspect", "{}", BUS_NUL_TERMINATED, cli_call_timeout(cli),
                         NULL, &reply) == 0 &&
           json_array_size(json_object_get(bus_message_body(reply), "properties")) > 0;
}

static int set_property(const struct cli *cli, const struct arguments *arguments, struct bus *bus,
                        const char *name, const char *property)
{
    CLEANUP(owned_text) char *text = NULL;
    struct bus_error error = BUS_ERROR_INIT;
    size_t size;
    int r;

    if (arguments_has(arguments, "disk") || arguments_has(arguments, "ttl") ||
        arguments_has(arguments, "clear"))
        return report_usage(cli->verb,
                            "'%s' is a property of %s, which keeps it as it likes: --disk, --ttl "
                            "and --clear are not for it",
                            property, name);
    r = body_from_operands(cli->verb, arguments->operands + 1, arguments->operand_count - 1, &text,
                           &size);
    if (r)
        return r;
    r = bus_property_set_text(bus, name, property, text, size, cli_call_timeout(cli), &error);
    return r < 0 ? report_error(cli, name, &error, r) : STATUS_OK;
}

/* What is a property is not for us to publish: its service is asked. */
static int try_property(const struct cli *cli, const struct arguments *arguments, bool *ret_done)
{
    CLEANUP(owned_text) char *name = strdup(arguments->operands[0]);
    CLEANUP(owned_bus) struct bus *bus = NULL;
    char *dot;
    int r;

    *ret_done = false;
    if (!name)
        return report_no_memory();
    dot = strrchr(name, '.');
    if (!dot)
        return STATUS_OK;
    *dot = '\0';
    r = cli_connect(cli, &bus);
    if (r || !is_owned(cli, bus, name) || !has_properties(cli, bus, name))
        return r;
    *ret_done = true;
    return set_property(cli, arguments, bus, name, dot + 1);
}

/* Setting is publishing what is to be kept, where that is not the business of a service. */
static int run(struct cli *cli, const struct arguments *arguments)
{
    bool done;
    struct arguments publishing = *arguments;
    struct given_option options[2] = {
        {"retain", arguments_has(arguments, "disk") ? "disk" : "bus"},
        {"ttl", arguments_value(arguments, "ttl")},
    };
    int r = check(cli, arguments);

    if (!r)
        r = check_topic(cli->verb, arguments->operands[0]);
    if (!r)
        r = try_property(cli, arguments, &done);
    if (r || done)
        return r;
    publishing.options = options;
    publishing.option_count = options[1].value ? 2 : 1;
    return command_publish.run(cli, &publishing);
}

const struct command command_set = {
    .name = "set",
    .synopsis = "TOPIC BODY...",
    .summary = "set the last value of a topic, or a property",
    .help = "Publishes BODY and has it kept as the last value of TOPIC, which 'get' prints\n"
            "and whoever subscribes later gets first. For the forms of BODY see 'help body'.\n"
            "If TOPIC is a property, SERVICE.NAME, its service is asked to set it; that may\n"
            "refuse. Which there are, 'introspect SERVICE' shows.\n"
            "\n"
            "  --disk      keep it for longer than the bus lives, and wait until it is on\n"
            "              the disk\n"
            "  --ttl SEC   it is over after that time\n"
            "  --clear     end the value there is\n"
            "\n"
            "Examples:\n"
            "  busctl-lite set org.example.lamp level:=80 room=kitchen\n"
            "  busctl-lite set org.example.lamp --clear\n"
            "  busctl-lite set org.example.Lamp.level 20\n",
    .options =
        (const struct option_row[]){{"disk", NULL}, {"ttl", "SEC"}, {"clear", NULL}, {NULL, NULL}},
    .operands_min = 1,
    .operands_max = SIZE_MAX,
    .run = run,
};
