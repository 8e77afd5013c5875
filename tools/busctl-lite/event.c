/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/event.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tools/busctl-lite/body.h"
#include "tools/busctl-lite/json.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/print.h"
#include "tools/busctl-lite/report.h"

#define TOPIC_WIDTH  24
#define SENDER_WIDTH 5

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

bool event_check(const struct cli *cli, struct bus_message *event)
{
    size_t offset;
    const char *fault = body_fault(event, &offset);

    if (fault)
        report_note(cli, "an event on %s from %s is passed over: its body, at byte %zu: %s",
                    or_empty(bus_message_topic(event)), or_empty(bus_message_sender(event)), offset,
                    fault);
    return !fault;
}

int event_text(struct bus_message *event, char **ret_text, size_t *ret_size)
{
    CLEANUP(owned_text) char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    unsigned fds = bus_message_fd_count(event);
    const char *body;
    size_t body_size;

    if (!out)
        return report_no_memory();
    body = bus_message_body_text(event, &body_size);
    /* Topics and names have no character that JSON would escape. */
    fprintf(out, "{\"topic\":\"%s\",\"sender\":\"%s\",", or_empty(bus_message_topic(event)),
            or_empty(bus_message_sender(event)));
    if (bus_message_is_retained(event))
        fputs("\"retained\":true,", out);
    if (fds > 0)
        fprintf(out, "\"fds\":%u,", fds);
    fputs("\"body\":", out);
    json_write(out, body, body_size, JSON_ONE_LINE, false);
    fputc('}', out);
    if (fclose(out) != 0)
        return report_no_memory();
    *ret_text = TAKE(text);
    *ret_size = size;
    return STATUS_OK;
}

static int print_readable(const struct cli *cli, struct bus_message *event)
{
    unsigned fds = bus_message_fd_count(event);
    struct timespec now;
    const char *body;
    size_t size;

    clock_gettime(CLOCK_REALTIME, &now);
    print_time(cli, (double)now.tv_sec + (double)now.tv_nsec / 1e9);
    fputs("  ", stdout);
    print_styled(cli, STYLE_TOPIC, or_empty(bus_message_topic(event)), TOPIC_WIDTH);
    fputs("  ", stdout);
    print_styled(cli, STYLE_NAME, or_empty(bus_message_sender(event)), SENDER_WIDTH);
    fputs("  ", stdout);
    if (bus_message_is_retained(event))
        print_styled(cli, STYLE_DIM, "retained  ", 0);
    if (fds > 0)
        printf("%u fd%s  ", fds, fds == 1 ? "" : "s");
    body = bus_message_body_text(event, &size);
    print_json_inline(cli, body, size, INT_MAX);
    fputc('\n', stdout);
    return print_flush();
}

int event_print(const struct cli *cli, struct bus_message *event)
{
    CLEANUP(owned_text) char *text = NULL;
    size_t size;
    int r;

    if (cli->output == OUTPUT_READABLE)
        return print_readable(cli, event);
    r = event_text(event, &text, &size);
    return r ? r : print_json_text(cli, text, size);
}

static void on_loss(struct bus_message *event, void *userdata)
{
    const struct cli *cli = userdata;
    json_int_t lost = 0;
    const char *first = "?";
    const char *last = "?";

    /* Our own subscription to the notices was agreed upon: no error comes here. */
    if (bus_message_unpack(event, NULL, "{s:I, s?s, s?s}", "lost", &lost, "first", &first, "last",
                           &last) < 0)
        return;
    report_note(cli, "%" PRIdMAX " events were lost, from %s to %s: we read too slowly",
                (intmax_t)lost, first, last);
}

int event_watch_losses(struct cli *cli, struct bus *bus)
{
    struct bus_error error = BUS_ERROR_INIT;
    int r = bus_subscribe(bus, "bus.overflow", NULL, on_loss, cli, NULL, &error);

    return r < 0 ? report_error(cli, "bus.overflow", &error, r) : STATUS_OK;
}
