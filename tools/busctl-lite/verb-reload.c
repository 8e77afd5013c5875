/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/owned.h"

static int run(struct cli *cli, const struct arguments *arguments)
{
    CLEANUP(owned_bus) struct bus *bus = NULL;
    CLEANUP(owned_json) json_t *answer = NULL;
    int r;

    r = cli_connect(cli, &bus);
    return r ? r : cli_call_bus(cli, bus, "Reload", json_object(), NULL, &answer);
}

const struct command command_reload = {
    .name = "reload",
    .synopsis = "",
    .summary = "have the bus read its configuration anew",
    .help = "Has the bus read its configuration anew, as SIGHUP does, but says what is wrong\n"
            "with it: file, line and column. Then all stays as it was. It takes the right to\n"
            "'manage'.\n"
            "\n"
            "Example:\n"
            "  busctl-lite --system reload\n",
    .run = run,
};
