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
#include "tools/busctl-lite/report.h"

struct publisher {
    struct loop loop;
    const char *topic;
    enum bus_retain retain;
    uint64_t ttl; /* milliseconds; 0: none */
    struct lines lines;
    int refused; /* the status of the first refusal */
};

static int report_unsent(const struct publisher *publisher, int r)
{
    switch (r) {
    case -ECONNRESET:
        return report_disconnected(publisher->loop.cli, publisher->loop.bus);
    case -ENOMEM:
        return report_no_memory();
    case -EMSGSIZE:
        return report_failure(STATUS_LIMIT, "the event is larger than the bus takes");
    default:
        return report_failure(STATUS_ERROR, "cannot publish: %s", strerror(-r));
    }
}

/* An event has no answer: what the bus refuses comes here, whenever it comes. */
static void on_error(struct bus *bus, const struct bus_error *error, void *userdata)
{
    struct publisher *publisher = userdata;

    if (publisher->refused)
        return;
    publisher->refused = report_error(publisher->loop.cli, publisher->topic, error, -EREMOTEIO);
    loop_end(&publisher->loop, publisher->refused);
}

/* Sends one body: 0 or -errno. */
static int send_event(const struct publisher *publisher, const char *body, size_t size)
{
    CLEANUP(owned_message) struct bus_message *event = NULL;
    int r;

    if (publisher->retain == BUS_RETAIN_NO)
        return bus_publish_text(publisher->loop.bus, publisher->topic, body, size);
    r = bus_message_new_event(publisher->loop.bus, publisher->topic, &event);
    if (r == 0)
        r = bus_message_set_retain(event, publisher->retain);
    if (r == 0 && publisher->ttl > 0)
        r = bus_message_set_ttl(event, publisher->ttl);
    if (r == 0)
        r = bus_message_set_body_text(event, body, size);
    return r == 0 ? bus_send(event) : r;
}

static int report_line(const struct publisher *publisher, const char *line, size_t size)
{
    char what[64];
    size_t offset = 0;
    const char *reason = bus_check_json(line, size, &offset);

    snprintf(what, sizeof(what), "line %" PRIu64 " of stdin", publisher->lines.number);
    return report_bad_json(what, line, size, offset, reason ? reason : "it is no JSON value");
}

static bool is_blank(const char *line, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (!strchr(" \t\r", line[i]) || line[i] == '\0')
            return false;
    }
    return true;
}

/* Publishes the lines that are there, until the connection's output is full: then
 * stdin has to wait too, until the output is writable again. */
static void publish_lines(struct publisher *publisher)
{
    const char *line;
    size_t size;

    while (!publisher->loop.done && lines_first(&publisher->lines, &line, &size)) {
        int r = 0;

        if (!is_blank(line, size))
            r = send_event(publisher, line, size);
        if (r == -EAGAIN) {
            publisher->loop.fd = -1;
            return;
        }
        if (r == -EBADMSG)
            loop_end(&publisher->loop, report_line(publisher, line, size));
        else if (r < 0)
            loop_end(&publisher->loop, report_unsent(publisher, r));
        lines_drop(&publisher->lines, size);
    }
    if (publisher->lines.ended)
        loop_end(&publisher->loop, STATUS_OK);
    publisher->loop.fd = STDIN_FILENO;
}

static void on_writable(struct bus *bus, void *userdata)
{
    publish_lines(userdata);
}

static void on_input(void *userdata)
{
    struct publisher *publisher = userdata;
    int r = lines_read(&publisher->lines, STDIN_FILENO);

    if (r == -EFBIG)
        loop_end(&publisher->loop,
                 report_failure(STATUS_LIMIT, "line %" PRIu64 " of stdin is longer than %zu bytes",
                                publisher->lines.number, LINE_SIZE_MAX));
    else if (r < 0)
        loop_end(&publisher->loop,
                 report_failure(STATUS_USAGE, "cannot read stdin: %s", strerror(-r)));
    else
        publish_lines(publisher);
}

/* Makes sure that the bus has seen everything: what it had to say against it has
 * come before its answer to a call that we make after it. */
static int confirm(struct publisher *publisher)
{
    struct bus_error error = BUS_ERROR_INIT;
    struct bus *bus = publisher->loop.bus;
    int r;

    r = bus_call_text(bus, "bus", "Ping", "{}", BUS_NUL_TERMINATED,
                      cli_call_timeout(publisher->loop.cli), &error, NULL);
    while (bus_process(bus) > 0)
        ;
    if (publisher->refused || publisher->loop.status)
        return publisher->refused ? publisher->refused : publisher->loop.status;
    return r < 0 ? report_error(publisher->loop.cli, "bus", &error, r) : STATUS_OK;
}

static int publish_stdin(struct publisher *publisher)
{
    int r;

    lines_init(&publisher->lines);
    publisher->loop.fd = STDIN_FILENO;
    publisher->loop.ready = on_input;
    publisher->loop.userdata = publisher;
    publisher->loop.deadline = UINT64_MAX; /* the input may take its time */
    bus_set_writable_handler(publisher->loop.bus, on_writable, publisher);
    r = loop_run(&publisher->loop);
    if (r != STATUS_CONNECTION)
        r = confirm(publisher);
    lines_deinit(&publisher->lines);
    return r;
}

static int publish_one(struct publisher *publisher, const char *body, size_t size)
{
    int r = send_event(publisher, body, size);

    return r < 0 ? report_unsent(publisher, r) : confirm(publisher);
}

static int read_retain(const struct cli *cli, const struct arguments *arguments,
                       struct publisher *publisher)
{
    static const char *const levels[] = {"no", "connection", "bus", "disk"};
    const char *level = arguments_value(arguments, "retain");
    const char *ttl = arguments_value(arguments, "ttl");
    size_t i = 0;

    while (level && i < ARRAY_SIZE(levels) && strcmp(levels[i], level) != 0)
        i++;
    if (i == ARRAY_SIZE(levels))
        return report_usage(cli->verb, "--retain '%s': it must be no, connection, bus or disk",
                            level);
    publisher->retain = (enum bus_retain)i;
    if (!ttl)
        return STATUS_OK;
    if (i == 0)
        return report_usage(cli->verb, "--ttl is for values that are kept: it needs --retain");
    int r = cli_seconds(cli->verb, "ttl", ttl, "", &publisher->ttl);
    if (!r && publisher->ttl == 0)
        r = report_usage(cli->verb, "--ttl 0: a value that is over at once is none");
    return r;
}

static int run(struct cli *cli, const struct arguments *arguments)
{
    CLEANUP(owned_text) char *body = NULL;
    struct publisher publisher = {.topic = arguments->operands[0]};
    bool lines = arguments_has(arguments, "lines");
    size_t size = 0;
    int r;

    if (lines && arguments->operand_count > 1)
        return report_usage(cli->verb, "with --lines the bodies come from stdin: '%s' is too much",
                            arguments->operands[1]);
    r = check_topic(cli->verb, publisher.topic);
    if (!r)
        r = read_retain(cli, arguments, &publisher);
    if (!r && !lines)
        r = body_from_operands(cli->verb, arguments->operands + 1, arguments->operand_count - 1,
                               &body, &size);
    if (r)
        return r;
    r = loop_init(&publisher.loop, cli);
    if (!r) {
        bus_set_error_handler(publisher.loop.bus, on_error, &publisher);
        r = lines ? publish_stdin(&publisher) : publish_one(&publisher, body, size);
    }
    bus_close(publisher.loop.bus);
    return r;
}

const struct command command_publish = {
    .name = "publish",
    .synopsis = "TOPIC [BODY...]",
    .summary = "publish an event, or one for each line of stdin",
    .help = "Publishes an event and makes sure that the bus has taken it. For the forms of\n"
            "BODY see 'help body'.\n"
            "\n"
            "  --lines          each line of stdin is the body of an event; blank lines are\n"
            "                   passed over, the first line that is not JSON ends it\n"
            "  --retain LEVEL   keep the body as the topic's last value, for whoever comes\n"
            "                   later: as long as this connection lives, as long as the bus\n"
            "                   does, or for ever (connection, bus, disk); null ends it\n"
            "  --ttl SEC        but not longer than that\n"
            "\n"
            "Examples:\n"
            "  busctl-lite publish org.example.lamp.on level:=80 room=kitchen\n"
            "  seq 1000 | busctl-lite publish org.example.count --lines\n",
    .options =
        (const struct option_row[]){
            {"lines", NULL}, {"retain", "LEVEL"}, {"ttl", "SEC"}, {NULL, NULL}},
    .operands_min = 1,
    .operands_max = SIZE_MAX,
    .run = run,
};
