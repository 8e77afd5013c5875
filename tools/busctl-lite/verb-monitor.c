/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/event.h"
#include "tools/busctl-lite/loop.h"
#include "tools/busctl-lite/members.h"
#include "tools/busctl-lite/names.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/print.h"
#include "tools/busctl-lite/report.h"

#define FROM_WIDTH   5
#define TO_WIDTH     8
#define TYPE_WIDTH   7
#define WHAT_WIDTH   12
#define WIDTH_MAX    40 /* what is longer breaks its line's columns */
#define NUMBER_WIDTH 5
#define RECEIVERS    3 /* how many are shown by name */
#define PEERS_MAX    128

struct monitor {
    struct loop loop;
    uint64_t wanted; /* 0: as many as come */
    uint64_t seen;
    int to_width; /* of the columns, which widen as longer names pass */
    int what_width;
};

/* The column's width with this text in it, which it keeps from then on. */
static int widen(int *width, const char *text)
{
    int needed = (int)strlen(text);

    if (needed > *width && needed <= WIDTH_MAX)
        *width = needed;
    return *width;
}

/* Whom it went to: the name it was sent to, or those who got the event. */
static void describe_receivers(const json_t *body, const json_t *message, char *text, size_t size)
{
    const json_t *receivers = json_object_get(body, "to");
    const char *to = string_at(message, "to");
    size_t count = json_array_size(receivers);
    size_t used;

    if (to[0] || count == 0) {
        snprintf(text, size, "%s", to[0] ? to : "-");
        return;
    }
    used = (size_t)snprintf(text, size, "%s", json_string_value(json_array_get(receivers, 0)));
    for (size_t i = 1; i < count && i < RECEIVERS && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, ",%s",
                                 json_string_value(json_array_get(receivers, i)));
    if (count > RECEIVERS && used < size)
        snprintf(text + used, size - used, ",+%zu", count - RECEIVERS);
}

static const char *describe_subject(const json_t *message)
{
    static const char *const keys[] = {"method", "topic", "error", "reason"};

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (string_at(message, keys[i])[0])
            return string_at(message, keys[i]);
    }
    return json_is_true(json_object_get(message, "more")) ? "more" : "";
}

/* What comes last on the line, in the columns that are left. */
static void print_content(const struct cli *cli, const json_t *body, const json_t *message,
                          int columns)
{
    const json_t *content = json_object_get(message, "body");
    const char *sentence = string_at(message, "message");
    int64_t fds = integer_at(body, "fds");
    CLEANUP(owned_text) char *text = NULL;
    char count[32];

    if (fds > 0) {
        snprintf(count, sizeof(count), "%" PRId64 " fd%s  ", fds, fds == 1 ? "" : "s");
        columns -= print_styled(cli, STYLE_DIM, count, 0);
    }
    if (sentence[0]) {
        print_cut(cli, STYLE_ERROR, sentence, columns);
        return;
    }
    if (json_is_true(json_object_get(message, "body_fd")))
        print_styled(cli, STYLE_DIM, "body_fd", 0);
    text = content ? json_dumps(content, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (text)
        print_json_inline(cli, text, strlen(text), columns);
}

static int print_readable(struct monitor *monitor, const json_t *body)
{
    const struct cli *cli = monitor->loop.cli;
    const json_t *message = json_object_get(body, "message");
    const char *type = string_at(message, "type");
    bool is_error = strcmp(type, "error") == 0;
    const char *what = describe_subject(message);
    int64_t id = integer_at(message, "id");
    char to[PEERS_MAX];
    char number[32] = "";
    int used;

    describe_receivers(body, message, to, sizeof(to));
    if (id > 0)
        snprintf(number, sizeof(number), "#%" PRId64, id);
    used = print_time(cli, json_number_value(json_object_get(body, "time")));
    used += printf("  ");
    used += print_styled(cli, STYLE_NAME, string_at(body, "from"), FROM_WIDTH);
    used += printf(" -> ");
    used += print_styled(cli, STYLE_NAME, to, widen(&monitor->to_width, to));
    used += printf("  ");
    used += print_styled(cli, is_error ? STYLE_ERROR : STYLE_HEADING, type, TYPE_WIDTH);
    used += print_styled(cli, is_error ? STYLE_ERROR : STYLE_TOPIC, what,
                         widen(&monitor->what_width, what));
    used += printf("  ");
    used += print_styled(cli, STYLE_DIM, number, NUMBER_WIDTH);
    print_content(cli, body, message, print_columns() - used);
    fputc('\n', stdout);
    return print_flush();
}

static void on_message(struct bus_message *event, void *userdata)
{
    struct monitor *monitor = userdata;
    const struct cli *cli = monitor->loop.cli;
    const json_t *body = NULL;
    const char *text;
    size_t size;
    int r;

    if (monitor->loop.done)
        return;
    if (cli->output == OUTPUT_READABLE)
        body = bus_message_body(event);
    if (json_is_object(body)) {
        r = print_readable(monitor, body);
    } else {
        text = bus_message_body_text(event, &size);
        r = print_json_text(cli, text, size);
    }
    monitor->seen++;
    if (r || monitor->seen == monitor->wanted)
        loop_end(&monitor->loop, r);
}

static int check_type(const char *verb, const char *type)
{
    static const char *const types[] = {"call", "reply", "error", "event", "cancel"};

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (strcmp(types[i], type) == 0)
            return STATUS_OK;
    }
    return report_usage(verb, "type=%s: it must be call, reply, error, event or cancel", type);
}

/* One condition, such as "type=call"; changed in place. */
static int add_condition(const char *verb, char *condition, json_t *filter)
{
    char *value = strchr(condition, '=');
    int r;

    if (!value)
        return report_usage(verb, "'%s': a filter is type=, from=, to= or topic= with a value",
                            condition);
    *value++ = '\0';
    if (json_object_get(filter, condition))
        return report_usage(verb, "%s= is given twice", condition);
    if (strcmp(condition, "type") == 0)
        r = check_type(verb, value);
    else if (strcmp(condition, "from") == 0 || strcmp(condition, "to") == 0)
        r = check_peer(verb, value);
    else if (strcmp(condition, "topic") == 0)
        r = check_pattern(verb, value);
    else
        return report_usage(
            verb, "there is no filter '%s=': it must be type=, from=, to= or topic=", condition);
    if (!r && json_object_set_new(filter, condition, json_string(value)) < 0)
        r = report_no_memory();
    return r;
}

/* All conditions must hold; they may stand in one argument, with commas, or in
 * several. */
static int parse_filter(const char *verb, const struct arguments *arguments, json_t *filter)
{
    int r = STATUS_OK;

    for (size_t i = 0; i < arguments->operand_count && !r; i++) {
        CLEANUP(owned_text) char *copy = strdup(arguments->operands[i]);
        char *rest = copy;
        char *condition;

        if (!copy)
            return report_no_memory();
        while (!r && (condition = strsep(&rest, ",")))
            r = add_condition(verb, condition, filter);
    }
    return r;
}

static int start(struct monitor *monitor, struct cli *cli, const json_t *filter)
{
    struct bus_error error = BUS_ERROR_INIT;
    struct bus *bus = monitor->loop.bus;
    int r;

    r = event_watch_losses(cli, bus);
    if (r)
        return r;
    r = bus_subscribe(bus, "bus.monitor", "bus", on_message, monitor, NULL, &error);
    if (r >= 0)
        r = bus_call(bus, "bus", "Monitor", filter, cli_call_timeout(cli), &error, NULL);
    return r < 0 ? report_error(cli, "monitor", &error, r) : STATUS_OK;
}

static int finish(const struct monitor *monitor, int r)
{
    if (r || monitor->loop.in_time || monitor->wanted == 0)
        return r;
    return report_failure(STATUS_TIMEOUT,
                          "the time is up: %" PRIu64 " of %" PRIu64 " messages have passed",
                          monitor->seen, monitor->wanted);
}

static int run(struct cli *cli, const struct arguments *arguments)
{
    CLEANUP(owned_json) json_t *filter = json_object();
    struct monitor monitor = {.to_width = TO_WIDTH, .what_width = WHAT_WIDTH};
    int r;

    if (!filter)
        return report_no_memory();
    r = arguments_number(arguments, "count", &monitor.wanted);
    if (!r)
        r = parse_filter(cli->verb, arguments, filter);
    if (r)
        return r;
    r = loop_init(&monitor.loop, cli);
    monitor.loop.prints = true;
    if (!r)
        r = start(&monitor, cli, filter);
    if (!r)
        r = finish(&monitor, loop_run(&monitor.loop));
    bus_close(monitor.loop.bus);
    return r;
}

const struct command command_monitor = {
    .name = "monitor",
    .synopsis = "[type=TYPE] [from=NAME] [to=NAME] [topic=PATTERN]",
    .summary = "print everything that passes, or what a filter lets through",
    .help = "Prints the messages that pass over the bus, with the time, the sender and the\n"
            "receivers of each. Several filters, also written with commas between them,\n"
            "let through what fits all of them. TYPE is call, reply, error, event or\n"
            "cancel. File descriptors are counted, not shown. On a terminal each message\n"
            "is one line, cut where the line ends; --json=pretty shows the whole of it.\n"
            "\n"
            "  --count N       end after N messages\n"
            "  --timeout SEC   end after that time; with --count exit 6 if fewer passed\n"
            "\n"
            "Examples:\n"
            "  busctl-lite monitor\n"
            "  busctl-lite monitor type=call to=org.example.AddressBook\n"
            "  busctl-lite monitor type=event,topic='org.example.#'\n",
    .options = (const struct option_row[]){{"count", "N"}, {NULL, NULL}},
    .operands_max = SIZE_MAX,
    .run = run,
};
