/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "tools/busctl-lite/child.h"
#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/event.h"
#include "tools/busctl-lite/loop.h"
#include "tools/busctl-lite/names.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/report.h"

struct subscriber {
    struct loop loop;
    const char *command; /* NULL: print */
    uint64_t wanted;     /* 0: as many as come */
    uint64_t seen;
    struct bus_message *last;
    struct bus_subscription_options options;
    uint64_t values; /* last values still to come; only where nothing else comes */
};

/* Runs the command with the event on its stdin and waits for its end: events are
 * dealt with in their order, and a slow command slows only us. */
static int run_command(const struct subscriber *subscriber, struct bus_message *event)
{
    CLEANUP(owned_text) char *text = NULL;
    CLEANUP(owned_text) char *command = strdup(subscriber->command);
    CLEANUP(owned_fd) int input = -1;
    char shell[] = "/bin/sh";
    char option[] = "-c";
    char *argv[] = {shell, option, command, NULL};
    const struct child_variable variables[] = {
        {"BUS_TOPIC", bus_message_topic(event)},
        {"BUS_SENDER", bus_message_sender(event)},
        {NULL, NULL},
    };
    struct child_setup setup = CHILD_SETUP_INIT;
    size_t size;
    pid_t pid;
    int r;

    if (!command)
        return report_no_memory();
    r = event_text(event, &text, &size);
    if (r)
        return r;
    text[size++] = '\n'; /* in the place of its NUL */
    input = memory_file(text, size);
    if (input < 0)
        return report_failure(STATUS_ERROR, "cannot keep an event for the command: %s",
                              strerror(-input));
    setup.argv = argv;
    setup.stdin_fd = input;
    setup.variables = variables;
    r = child_spawn(&setup, &pid);
    if (r < 0)
        return report_failure(STATUS_ERROR, "cannot run /bin/sh: %s", strerror(-r));
    r = child_exit_status(child_wait(pid));
    if (r)
        report_note(subscriber->loop.cli, "'%s' ended with status %d for an event on %s", command,
                    r, bus_message_topic(event));
    return STATUS_OK;
}

/* Whether all has come that can come. */
static bool is_last_value(struct subscriber *subscriber)
{
    return subscriber->options.retained == BUS_RETAINED_ONLY && --subscriber->values == 0;
}

static void on_event(struct bus_message *event, void *userdata)
{
    struct subscriber *subscriber = userdata;
    int r;

    /* An event that several of the patterns match comes once for each. */
    if (subscriber->loop.done || event == subscriber->last ||
        !event_check(subscriber->loop.cli, event))
        return;
    bus_message_unref(subscriber->last);
    subscriber->last = bus_message_ref(event);
    if (subscriber->command)
        r = run_command(subscriber, event);
    else
        r = event_print(subscriber->loop.cli, event);
    subscriber->seen++;
    if (r || subscriber->seen == subscriber->wanted || is_last_value(subscriber))
        loop_end(&subscriber->loop, r);
}

static int subscribe(struct subscriber *subscriber, const char *pattern)
{
    struct bus_error error = BUS_ERROR_INIT;
    int r = bus_subscribe_with(subscriber->loop.bus, pattern, &subscriber->options, on_event,
                               subscriber, NULL, &error);

    if (r < 0)
        return report_error(subscriber->loop.cli, pattern, &error, r);
    if (subscriber->options.retained == BUS_RETAINED_ONLY)
        subscriber->values += (uint64_t)r;
    return STATUS_OK;
}

static int read_retained(const struct cli *cli, const char *value, enum bus_retained *ret_retained)
{
    if (!value || strcmp(value, "yes") == 0)
        *ret_retained = BUS_RETAINED_FIRST;
    else if (strcmp(value, "no") == 0)
        *ret_retained = BUS_RETAINED_NO;
    else if (strcmp(value, "only") == 0)
        *ret_retained = BUS_RETAINED_ONLY;
    else
        return report_usage(cli->verb, "--retained '%s': it must be yes, no or only", value);
    return STATUS_OK;
}

static int read_overflow(const struct cli *cli, const struct arguments *arguments,
                         enum bus_overflow *ret_overflow)
{
    static const char *const names[] = {
        [BUS_OVERFLOW_DROP] = "drop",
        [BUS_OVERFLOW_LATEST] = "latest",
        [BUS_OVERFLOW_DISCONNECT] = "disconnect",
    };
    const char *name = arguments_value(arguments, "overflow");
    size_t i = 0;

    if (arguments_has(arguments, "latest")) {
        *ret_overflow = BUS_OVERFLOW_LATEST;
        return name ? report_usage(cli->verb, "--latest is --overflow latest: give one of them")
                    : STATUS_OK;
    }
    while (name && i < ARRAY_SIZE(names) && strcmp(names[i], name) != 0)
        i++;
    if (i == ARRAY_SIZE(names))
        return report_usage(cli->verb, "--overflow '%s': it must be drop, latest or disconnect",
                            name);
    *ret_overflow = (enum bus_overflow)i;
    return STATUS_OK;
}

static int finish(const struct subscriber *subscriber, int r)
{
    if (r || subscriber->loop.in_time || subscriber->wanted == 0)
        return r;
    return report_failure(STATUS_TIMEOUT,
                          "the time is up: %" PRIu64 " of %" PRIu64 " events have come",
                          subscriber->seen, subscriber->wanted);
}

static int run(struct cli *cli, const struct arguments *arguments)
{
    const char *sender = arguments_value(arguments, "sender");
    struct subscriber subscriber = {.command = arguments_value(arguments, "exec"),
                                    .options.sender = sender,
                                    .options.group = arguments_value(arguments, "group")};
    int r;

    r = read_retained(cli, arguments_value(arguments, "retained"), &subscriber.options.retained);
    if (!r)
        r = read_overflow(cli, arguments, &subscriber.options.overflow);
    if (!r)
        r = arguments_number(arguments, "count", &subscriber.wanted);
    if (!r && sender)
        r = check_peer(cli->verb, sender);
    if (!r && subscriber.options.group)
        r = check_group(cli->verb, subscriber.options.group);
    for (size_t i = 0; i < arguments->operand_count && !r; i++)
        r = check_pattern(cli->verb, arguments->operands[i]);
    if (r)
        return r;
    r = loop_init(&subscriber.loop, cli);
    subscriber.loop.prints = !subscriber.command;
    if (!r)
        r = event_watch_losses(cli, subscriber.loop.bus);
    for (size_t i = 0; i < arguments->operand_count && !r; i++)
        r = subscribe(&subscriber, arguments->operands[i]);
    bool nothing = subscriber.options.retained == BUS_RETAINED_ONLY && subscriber.values == 0;
    if (!r)
        r = finish(&subscriber, nothing ? STATUS_OK : loop_run(&subscriber.loop));
    bus_message_unref(subscriber.last);
    bus_close(subscriber.loop.bus);
    return r;
}

const struct command command_subscribe = {
    .name = "subscribe",
    .synopsis = "PATTERN...",
    .summary = "print events as they come",
    .help = "Prints the events whose topic matches a PATTERN, as {\"topic\":..,\"sender\":..,\n"
            "\"body\":..}. In a pattern * stands for one segment of the topic, a final # for\n"
            "any number of them; quote both for the shell.\n"
            "\n"
            "  --count N       end after N events\n"
            "  --timeout SEC   end after that time; with --count exit 6 if fewer have come\n"
            "  --sender NAME   only events that NAME has sent\n"
            "  --group GROUP   share the events with all who subscribe with this GROUP: each\n"
            "                  event goes to one of them\n"
            "  --retained yes|no|only\n"
            "                  whether the last values that are kept come first (yes), do\n"
            "                  not come, or are all that comes\n"
            "  --latest        if this is too slow, skip older events of a topic for newer\n"
            "  --overflow drop|latest|disconnect\n"
            "                  what happens if this is too slow: events are lost, and told of\n"
            "                  on stderr (drop); as --latest; or it ends with an error\n"
            "  --exec CMD      do not print: run CMD in a shell for each event, one after\n"
            "                  the other, with the event on its stdin and BUS_TOPIC and\n"
            "                  BUS_SENDER in its environment\n"
            "\n"
            "Examples:\n"
            "  busctl-lite subscribe 'org.example.#'\n"
            "  busctl-lite subscribe 'org.example.*.on' --count 1 --timeout 10\n"
            "  busctl-lite subscribe 'org.example.#' --exec 'logger \"$BUS_TOPIC\"'\n"
            "  busctl-lite subscribe org.example.job --group workers --exec ./work\n",
    .options = (const struct option_row[]){{"count", "N"},
                                           {"sender", "NAME"},
                                           {"exec", "CMD"},
                                           {"group", "GROUP"},
                                           {"retained", "WHICH"},
                                           {"latest", NULL},
                                           {"overflow", "POLICY"},
                                           {NULL, NULL}},
    .operands_min = 1,
    .operands_max = SIZE_MAX,
    .run = run,
};
