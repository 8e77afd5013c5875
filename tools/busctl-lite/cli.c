/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/busctl-lite/arguments.h"
#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/report.h"
#include "tools/busctl-lite/style.h"

#define TIMEOUT_MAX_SECONDS 1e9 /* thirty years, and far from any overflow */

int cli_seconds(const char *verb, const char *option, const char *value, const char *more,
                uint64_t *ret_milliseconds)
{
    double seconds;
    char *end;

    seconds = strtod(value, &end);
    if (!(isdigit((unsigned char)value[0]) || value[0] == '.') || *end ||
        !(seconds >= 0 && seconds <= TIMEOUT_MAX_SECONDS))
        return report_usage(verb, "--%s '%s': it must be a number of seconds, such as 5 or 0.25%s",
                            option, value, more);
    *ret_milliseconds = (uint64_t)(seconds * (double)MS_PER_SECOND + 0.999); /* never 0 for less */
    return STATUS_OK;
}

static int set_timeout(struct cli *cli, const char *value)
{
    cli->timeout_given = true;
    return cli_seconds(cli->verb, "timeout", value, " (0: wait for ever)", &cli->timeout);
}

static int set_output(struct cli *cli, const char *form)
{
    if (!form || strcmp(form, "short") == 0)
        cli->output = OUTPUT_SHORT;
    else if (strcmp(form, "pretty") == 0)
        cli->output = OUTPUT_PRETTY;
    else if (strcmp(form, "off") == 0)
        cli->output = OUTPUT_READABLE;
    else
        return report_usage(cli->verb, "--json='%s': it must be short, pretty or off", form);
    cli->json_errors = cli->output != OUTPUT_READABLE;
    return STATUS_OK;
}

int cli_init(struct cli *cli, const struct arguments *arguments)
{
    bool user = arguments_has_flag(arguments, "user");
    int r = STATUS_OK;

    *cli = (struct cli){
        .verb = arguments->command ? arguments->command->name : NULL,
        .address = arguments_value(arguments, "address"),
        .system = arguments_has(arguments, "system"),
        .quiet = arguments_has(arguments, "quiet"),
        .json_errors = !isatty(STDERR_FILENO),
        .output = isatty(STDOUT_FILENO) ? OUTPUT_READABLE : OUTPUT_SHORT,
    };
    if (user + cli->system + !!cli->address > 1)
        return report_usage(cli->verb, "--user, --system and --address each name a bus: give one");
    for (size_t i = 0; i < arguments->option_count && !r; i++) {
        const struct given_option *option = &arguments->options[i];

        if (strcmp(option->name, "timeout") == 0)
            r = set_timeout(cli, option->value);
        else if (strcmp(option->name, "json") == 0)
            r = set_output(cli, option->value);
    }
    cli->colour = cli->output != OUTPUT_SHORT && style_wanted(STDOUT_FILENO);
    return r;
}

uint64_t cli_call_timeout(const struct cli *cli)
{
    return cli->timeout_given ? cli->timeout : BUS_TIMEOUT_DEFAULT;
}

uint64_t clock_milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * MS_PER_SECOND + (uint64_t)now.tv_nsec / NS_PER_MS;
}

uint64_t cli_deadline(const struct cli *cli)
{
    return cli->timeout_given && cli->timeout > 0 ? clock_milliseconds() + cli->timeout
                                                  : UINT64_MAX;
}

int cli_address(const struct cli *cli, char **ret_address)
{
    char *address = NULL;
    int r;

    if (cli->address) {
        address = strdup(cli->address);
        if (!address)
            return report_no_memory();
        *ret_address = address;
        return STATUS_OK;
    }
    r = bus_default_address(cli->system, &address);
    if (r == -ENXIO)
        return report_failure(STATUS_CONNECTION,
                              "nothing says which bus: neither BUSD_ADDRESS nor XDG_RUNTIME_DIR is "
                              "set; give --address ADDR or try 'busctl-lite run-session -- ...'");
    if (r < 0)
        return report_failure(STATUS_CONNECTION, "cannot tell the address of the bus: %s",
                              strerror(-r));
    *ret_address = address;
    return STATUS_OK;
}

static int report_connect(const struct cli *cli, const char *address, int error)
{
    const char *start = cli->system ? "Start one with 'busd --system'"
                                    : "Start one with 'busd --user' or try "
                                      "'busctl-lite run-session -- ...'";

    switch (error) {
    case EINVAL:
        return report_failure(
            STATUS_CONNECTION,
            "cannot connect to '%s': that is no address; write unix:/path, /path, "
            "unix:@name or fd:N",
            address);
    case ENAMETOOLONG:
        return report_failure(STATUS_CONNECTION,
                              "cannot connect to %s: the path is too long for a socket (at most "
                              "107 bytes)",
                              address);
    case EACCES:
    case EPERM:
        return report_failure(STATUS_DENIED,
                              "cannot connect to %s: permission denied: the socket's or a "
                              "directory's mode keeps you out",
                              address);
    case ENOENT:
        return report_failure(STATUS_CONNECTION,
                              "cannot connect to %s: no such file: is busd running? %s", address,
                              start);
    case ECONNREFUSED:
        return report_failure(STATUS_CONNECTION,
                              "cannot connect to %s: nobody listens there: is busd running? %s",
                              address, start);
    default:
        return report_failure(STATUS_CONNECTION, "cannot connect to %s: %s", address,
                              strerror(error));
    }
}

int cli_connect(const struct cli *cli, struct bus **ret_bus)
{
    CLEANUP(owned_text) char *address = NULL;
    int r;

    r = cli_address(cli, &address);
    if (r)
        return r;
    r = bus_connect(ret_bus, address);
    return r < 0 ? report_connect(cli, address, -r) : STATUS_OK;
}

int cli_call_bus(const struct cli *cli, struct bus *bus, const char *method, json_t *body,
                 const char *subject, json_t **ret_body)
{
    CLEANUP(owned_message) struct bus_message *reply = NULL;
    struct bus_error error = BUS_ERROR_INIT;
    json_t *tree;
    int r;

    if (!body)
        return report_no_memory();
    r = bus_call_take(bus, "bus", method, body, cli_call_timeout(cli), &error, &reply);
    if (r < 0)
        return report_error(cli, subject, &error, r);
    tree = bus_message_body(reply);
    if (!json_is_object(tree))
        return report_failure(STATUS_INVALID,
                              "the bus answered %s with something that is no object", method);
    *ret_body = json_incref(tree);
    return STATUS_OK;
}
