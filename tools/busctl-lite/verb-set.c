/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/command.h"
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

/* Setting is publishing what is to be kept. */
static int run(struct cli *cli, const struct arguments *arguments)
{
    struct arguments publishing = *arguments;
    struct given_option options[2] = {
        {"retain", arguments_has(arguments, "disk") ? "disk" : "bus"},
        {"ttl", arguments_value(arguments, "ttl")},
    };
    int r = check(cli, arguments);

    if (r)
        return r;
    publishing.options = options;
    publishing.option_count = options[1].value ? 2 : 1;
    return command_publish.run(cli, &publishing);
}

const struct command command_set = {
    .name = "set",
    .synopsis = "TOPIC BODY...",
    .summary = "set the last value of a topic",
    .help = "Publishes BODY and has it kept as the last value of TOPIC, which 'get' prints\n"
            "and whoever subscribes later gets first. For the forms of BODY see 'help body'.\n"
            "\n"
            "  --disk      keep it for longer than the bus lives, and wait until it is on\n"
            "              the disk\n"
            "  --ttl SEC   it is over after that time\n"
            "  --clear     end the value there is\n"
            "\n"
            "Examples:\n"
            "  busctl-lite set org.example.lamp level:=80 room=kitchen\n"
            "  busctl-lite set org.example.lamp --clear\n",
    .options =
        (const struct option_row[]){{"disk", NULL}, {"ttl", "SEC"}, {"clear", NULL}, {NULL, NULL}},
    .operands_min = 1,
    .operands_max = SIZE_MAX,
    .run = run,
};
