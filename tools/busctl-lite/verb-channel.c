/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/busctl-lite/body.h"
#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/lines.h"
#include "tools/busctl-lite/loop.h"
#include "tools/busctl-lite/names.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/print.h"
#include "tools/busctl-lite/report.h"

struct conversation {
    struct loop loop; /* its bus is the channel, or the bus itself */
    const char *name;
    struct lines lines;
    int failed; /* the status of the first call that failed */
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Parts a line of stdin into the method, which is copied, and the body behind it. */
static int parse(const struct conversation *conversation, const char *line, size_t size,
                 char **ret_method, const char **ret_body, size_t *ret_size)
{
    CLEANUP(owned_text) char *method = NULL;
    size_t length = 0, offset = 0;
    char what[64];
    int r;

    while (length < size && !is_space(line[length]))
        length++;
    method = strndup(line, length);
    if (!method)
        return report_no_memory();
    r = check_method(conversation->loop.cli->verb, method);
    if (r)
        return r;
    while (length < size && is_space(line[length]))
        length++;
    *ret_body = length < size ? line + length : NULL;
    *ret_size = size - length;
    const char *fault = *ret_body ? bus_check_json(*ret_body, *ret_size, &offset) : NULL;
    snprintf(what, sizeof(what), "the body in line %" PRIu64 " of stdin",
             conversation->lines.number);
    if (fault)
        return report_bad_json(what, *ret_body, *ret_size, offset, fault);
    *ret_method = TAKE(method);
    return STATUS_OK;
}

static void failed(struct conversation *conversation, int status)
{
    if (!conversation->failed)
        conversation->failed = status;
}

/* Calls as the line says and prints the answer; an error is no reason to stop. */
static int converse(struct conversation *conversation, const char *line, size_t size)
{
    CLEANUP(owned_text) char *method = NULL;
    CLEANUP(owned_message) struct bus_message *reply = NULL;
    const struct cli *cli = conversation->loop.cli;
    struct bus_error error = BUS_ERROR_INIT;
    const char *body = NULL;
    size_t body_size = 0;
    int r;

    while (size > 0 && is_space(*line)) {
        line++;
        size--;
    }
    if (size == 0)
        return STATUS_OK;
    r = parse(conversation, line, size, &method, &body, &body_size);
    if (r)
        return r;
    r = bus_call_text(conversation->loop.bus, conversation->name, method, body, body_size,
                      cli_call_timeout(cli), &error, &reply);
    if (r < 0) {
        failed(conversation, report_error(cli, conversation->name, &error, r));
        return bus_is_connected(conversation->loop.bus) ? STATUS_OK : STATUS_CONNECTION;
    }
    r = body_of_message(reply, "the body of the reply", &body, &body_size);
    if (r == STATUS_INVALID) {
        failed(conversation, r);
        return STATUS_OK;
    }
    return r ? r : print_json_text(cli, body, body_size);
}

static void on_input(void *userdata)
{
    struct conversation *conversation = userdata;
    struct loop *loop = &conversation->loop;
    const char *line;
    size_t size;
    int r = lines_read(&conversation->lines, STDIN_FILENO);

    if (r == -EFBIG)
        loop_end(loop,
                 report_failure(STATUS_LIMIT, "line %" PRIu64 " of stdin is longer than %zu bytes",
                                conversation->lines.number, LINE_SIZE_MAX));
    else if (r < 0)
        loop_end(loop, report_failure(STATUS_USAGE, "cannot read stdin: %s", strerror(-r)));
    while (!loop->done && lines_first(&conversation->lines, &line, &size)) {
        r = converse(conversation, line, size);
        if (r)
            loop_end(loop, r);
        lines_drop(&conversation->lines, size);
    }
    if (conversation->lines.ended)
        loop_end(loop, conversation->failed);
}

/* Opens the channel in the place of the connection, which is the caller's to close. */
static int open_channel(struct conversation *conversation, const struct arguments *arguments)
{
    const struct cli *cli = conversation->loop.cli;
    struct bus_error error = BUS_ERROR_INIT;
    struct bus *channel;
    int r = bus_channel_open(conversation->loop.bus, conversation->name, cli_call_timeout(cli),
                             &channel, &error);

    if (r < 0)
        return report_error(cli, conversation->name, &error, r);
    if (r == 0 && arguments_has(arguments, "require")) {
        bus_channel_close(channel);
        return report_error(cli, conversation->name, &error, -EREMOTEIO);
    }
    if (r == 0)
        report_note(cli, "there is no direct channel to %s, calls go by the bus: %s",
                    conversation->name, error.message);
    conversation->loop.bus = channel;
    return STATUS_OK;
}

static int run(struct cli *cli, const struct arguments *arguments)
{
    CLEANUP(owned_bus) struct bus *bus = NULL;
    struct conversation conversation = {.name = arguments->operands[0]};
    struct loop *loop = &conversation.loop;
    int r;

    r = check_peer(cli->verb, conversation.name);
    if (r)
        return r;
    if (strcmp(conversation.name, "bus") == 0)
        return report_usage(cli->verb, "channels lead past the bus, to a service of it");
    r = loop_init(loop, cli);
    bus = loop->bus;
    if (!r)
        r = open_channel(&conversation, arguments);
    if (r)
        return r;
    lines_init(&conversation.lines);
    loop->prints = true;
    loop->fd = STDIN_FILENO;
    loop->ready = on_input;
    loop->userdata = &conversation;
    loop->deadline = UINT64_MAX; /* the input may take its time */
    r = loop_run(loop);
    lines_deinit(&conversation.lines);
    bus_channel_close(loop->bus);
    return r;
}

const struct command command_channel = {
    .name = "channel",
    .synopsis = "NAME",
    .summary = "call methods over a direct channel, one a line",
    .help = "Opens a direct channel to the service NAME, reads lines \"METHOD [BODY]\" from\n"
            "stdin, BODY being JSON, and prints the body of each reply. Errors go to stderr\n"
            "and end nothing; the exit status is that of the first. A service that offers no\n"
            "channels is called by way of the bus, which is said on stderr.\n"
            "\n"
            "  --require       without a direct channel, fail\n"
            "  --timeout SEC   how long each call may take (default 25; 0: for ever)\n"
            "\n"
            "Examples:\n"
            "  echo 'Find {\"text\":\"ada\"}' | busctl-lite channel org.example.AddressBook\n",
    .options = (const struct option_row[]){{"require", NULL}, {NULL, NULL}},
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
