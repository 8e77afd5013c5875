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

/* How long a receipt is waited for if nothing else is said. */
#define SETTLE_MS 25000

struct publisher {
    struct loop loop;
    const char *topic;
    enum bus_retain retain;
    uint64_t ttl;                /* milliseconds; 0: none */
    bool receipt;                /* to be printed */
    uint64_t required;           /* how many have to get it */
    struct bus_publisher *paced; /* NULL: nobody is waited for */
    uint64_t sent;
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

/* An event without receipt has no answer: what the bus refuses comes here, whenever it
 * comes. */
static void on_error(struct bus *bus, const struct bus_error *error, void *userdata)
{
    struct publisher *publisher = userdata;

    if (publisher->refused)
        return;
    publisher->refused = report_error(publisher->loop.cli, publisher->topic, error, -EREMOTEIO);
    loop_end(&publisher->loop, publisher->refused);
}

/* An event that asked for a receipt has been refused. */
static int report_refused(struct publisher *publisher)
{
    struct bus_error error = BUS_ERROR_INIT;
    int r = bus_publisher_finish(publisher->paced, 0, &error);

    publisher->refused = report_error(publisher->loop.cli, publisher->topic, &error, r);
    return publisher->refused;
}

static int send_text(const struct publisher *publisher, const char *body, size_t size)
{
    return publisher->paced
               ? bus_publisher_send_text(publisher->paced, publisher->topic, body, size)
               : bus_publish_text(publisher->loop.bus, publisher->topic, body, size);
}

/* Sends one body: 0 or -errno. */
static int send_event(const struct publisher *publisher, const char *body, size_t size)
{
    CLEANUP(owned_message) struct bus_message *event = NULL;
    int r;

    if (publisher->retain == BUS_RETAIN_NO)
        return send_text(publisher, body, size);
    r = bus_message_new_event(publisher->loop.bus, publisher->topic, &event);
    if (r == 0)
        r = bus_message_set_retain(event, publisher->retain);
    if (r == 0 && publisher->ttl > 0)
        r = bus_message_set_ttl(event, publisher->ttl);
    if (r == 0)
        r = bus_message_set_body_text(event, body, size);
    if (r < 0)
        return r;
    return publisher->paced ? bus_publisher_send(publisher->paced, event) : bus_send(event);
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

/* Publishes the lines that are there, until as many are under way as may be: then stdin
 * has to wait, too. */
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
        else
            publisher->sent += !is_blank(line, size);
        lines_drop(&publisher->lines, size);
    }
    if (publisher->lines.ended)
        loop_end(&publisher->loop, STATUS_OK);
    publisher->loop.fd = STDIN_FILENO;
}

/* There is room again, or the bus has refused an event. */
static void on_ready(struct bus_publisher *paced, void *userdata)
{
    struct publisher *publisher = userdata;

    if (bus_publisher_wait(paced, 0) < 0 && bus_is_connected(publisher->loop.bus))
        loop_end(&publisher->loop, report_refused(publisher));
    else
        publish_lines(publisher);
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

static int print_receipt(const struct publisher *publisher, const struct bus_receipt *receipt,
                         bool lines)
{
    char text[160];
    int size = 0;

    if (lines)
        size = snprintf(text, sizeof(text), "{\"events\":%" PRIu64 ",", publisher->sent);
    size += snprintf(text + size, sizeof(text) - (size_t)size,
                     "%s\"matched\":%" PRIu64 ",\"queued\":%" PRIu64 ",\"dropped\":%" PRIu64 "}",
                     lines ? "" : "{", receipt->matched, receipt->queued, receipt->dropped);
    return print_json_text(publisher->loop.cli, text, (size_t)size);
}

/* Waits until everything has been queued for everybody, and says what has become of it. */
static int settle(struct publisher *publisher, bool lines)
{
    const struct cli *cli = publisher->loop.cli;
    uint64_t timeout = cli->timeout_given ? cli->timeout : lines ? 0 : SETTLE_MS;
    struct bus_error error = BUS_ERROR_INIT;
    struct bus_receipt receipt;

    int r = bus_publisher_finish(publisher->paced, timeout > 0 ? timeout : UINT64_MAX, &error);
    while (bus_process(publisher->loop.bus) > 0)
        ;
    if (publisher->refused || publisher->loop.status)
        return publisher->refused ? publisher->refused : publisher->loop.status;
    if (r < 0)
        return report_error(cli, publisher->topic, &error, r);
    bus_publisher_get_receipt(publisher->paced, &receipt);
    if (publisher->receipt && (r = print_receipt(publisher, &receipt, lines)))
        return r;
    uint64_t fewest = bus_publisher_get_fewest(publisher->paced);
    if (fewest >= publisher->required)
        return STATUS_OK;
    char who[32] = "nobody";
    if (fewest > 0)
        snprintf(who, sizeof(who), "%" PRIu64, fewest);
    return report_failure(STATUS_NOBODY, "%s: %s%s got it, and %" PRIu64 " had to%s",
                          publisher->topic, lines ? "one of the events: " : "", who,
                          publisher->required,
                          receipt.dropped > 0 ? " (some do not read, and have lost it)" : "");
}

static int publish_stdin(struct publisher *publisher)
{
    int r;

    lines_init(&publisher->lines);
    publisher->loop.fd = STDIN_FILENO;
    publisher->loop.ready = on_input;
    publisher->loop.userdata = publisher;
    publisher->loop.deadline = UINT64_MAX; /* the input may take its time */
    bus_publisher_set_ready_handler(publisher->paced, on_ready, publisher);
    r = loop_run(&publisher->loop);
    bus_publisher_set_ready_handler(publisher->paced, NULL, NULL);
    if (r != STATUS_CONNECTION)
        r = settle(publisher, true);
    lines_deinit(&publisher->lines);
    return r;
}

static int publish_one(struct publisher *publisher, const char *body, size_t size)
{
    int r = send_event(publisher, body, size);

    if (r < 0)
        return report_unsent(publisher, r);
    return publisher->paced ? settle(publisher, false) : confirm(publisher);
}

/* Events of which somebody wants to know what becomes of them, and many in a row, wait for
 * those who get them; what is for the disk until it is there. */
static int start_pacing(struct publisher *publisher, bool lines)
{
    bool asks =
        publisher->receipt || publisher->required > 0 || publisher->retain == BUS_RETAIN_DISK;
    int r = 0;

    if (lines || asks)
        r = bus_publisher_new(publisher->loop.bus, 0, asks ? BUS_PUBLISHER_EXACT : 0,
                              &publisher->paced);
    return r < 0 ? report_no_memory() : STATUS_OK;
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
    if (!r)
        r = arguments_number(arguments, "require", &publisher.required);
    publisher.receipt = arguments_has(arguments, "receipt");
    if (!r && !lines)
        r = body_from_operands(cli->verb, arguments->operands + 1, arguments->operand_count - 1,
                               &body, &size);
    if (r)
        return r;
    r = loop_init(&publisher.loop, cli);
    if (!r) {
        bus_set_error_handler(publisher.loop.bus, on_error, &publisher);
        r = start_pacing(&publisher, lines);
    }
    if (!r)
        r = lines ? publish_stdin(&publisher) : publish_one(&publisher, body, size);
    bus_publisher_free(publisher.paced);
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
            "                   passed over, the first line that is not JSON ends it. It\n"
            "                   goes at the pace of the slowest who gets them, so that\n"
            "                   nobody loses any\n"
            "  --receipt        wait until it has been queued for all whom it is for, and\n"
            "                   print how many those were: {\"matched\":..,\"queued\":..,\n"
            "                   \"dropped\":..}; with --lines the sum over all events\n"
            "  --require N      exit 8 if fewer than N got it\n"
            "  --retain LEVEL   keep the body as the topic's last value, for whoever comes\n"
            "                   later: as long as this connection lives, as long as the bus\n"
            "                   does, or for ever (connection, bus, disk); null ends it.\n"
            "                   With disk it waits until the value is there\n"
            "  --ttl SEC        but not longer than that\n"
            "\n"
            "Examples:\n"
            "  busctl-lite publish org.example.lamp.on level:=80 room=kitchen\n"
            "  busctl-lite publish org.example.alarm --require 1 || mail -s alarm root\n"
            "  seq 1000 | busctl-lite publish org.example.count --lines\n",
    .options = (const struct option_row[]){{"lines", NULL},
                                           {"retain", "LEVEL"},
                                           {"ttl", "SEC"},
                                           {"receipt", NULL},
                                           {"require", "N"},
                                           {NULL, NULL}},
    .operands_min = 1,
    .operands_max = SIZE_MAX,
    .run = run,
};
