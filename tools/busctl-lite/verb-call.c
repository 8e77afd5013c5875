/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "tools/busctl-lite/body.h"
#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/fds.h"
#include "tools/busctl-lite/loop.h"
#include "tools/busctl-lite/names.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/print.h"
#include "tools/busctl-lite/report.h"

/* What the command line asks for, checked before we connect. */
struct request {
    const char *name;
    const char *method;
    const char *path;     /* NULL: none */
    const char *save_fds; /* NULL: close them */
    bool no_reply;
    bool more;
    char *body;
    size_t body_size;
};

static void request_deinit(struct request *request)
{
    free(request->body);
}

static int parse(struct request *request, const struct cli *cli, const struct arguments *arguments)
{
    int r;

    *request = (struct request){
        .name = arguments->operands[0],
        .method = arguments->operands[1],
        .path = arguments_value(arguments, "path"),
        .save_fds = arguments_value(arguments, "save-fd"),
        .no_reply = arguments_has(arguments, "no-reply"),
        .more = arguments_has(arguments, "more"),
    };
    if (request->no_reply && request->save_fds)
        return report_usage(cli->verb, "--save-fd needs a reply, and --no-reply wants none");
    if (request->no_reply && request->more)
        return report_usage(cli->verb, "--more wants replies, and --no-reply none");
    if (request->save_fds && request->more)
        return report_usage(cli->verb, "--save-fd is for one reply, and --more wants several");
    r = check_peer(cli->verb, request->name);
    if (!r)
        r = check_method(cli->verb, request->method);
    if (!r)
        r = body_from_operands(cli->verb, arguments->operands + 2, arguments->operand_count - 2,
                               &request->body, &request->body_size);
    if (!r && request->save_fds)
        r = fds_prepare_directory(request->save_fds);
    return r;
}

static int build(const struct request *request, const struct cli *cli,
                 const struct arguments *arguments, struct bus *bus,
                 struct bus_message **ret_message)
{
    CLEANUP(owned_message) struct bus_message *message = NULL;
    size_t position = 0;
    const char *fd;
    int r;

    r = bus_message_new_call(bus, request->name, request->method, &message);
    if (r >= 0)
        r = bus_message_set_body_text(message, request->body, request->body_size);
    if (r >= 0)
        r = bus_message_set_timeout(message, cli_call_timeout(cli));
    if (r >= 0 && request->more)
        r = bus_message_set_more(message, true);
    if (r < 0)
        return report_failure(STATUS_ERROR, "cannot make the call: %s", strerror(-r));
    if (request->path) {
        r = bus_message_set_path(message, request->path);
        if (r < 0)
            return report_usage(cli->verb, "--path '%s': %s", request->path,
                                r == -EINVAL ? "1 to 255 bytes without quotes, backslashes and "
                                               "control characters"
                                             : strerror(-r));
    }
    while ((fd = arguments_next_value(arguments, "fd", &position))) {
        r = fds_push(cli, message, fd);
        if (r)
            return r;
    }
    *ret_message = TAKE(message);
    return STATUS_OK;
}

static int report_send(int result)
{
    if (result == -EMSGSIZE)
        return report_failure(STATUS_LIMIT, "the call is larger than the bus takes");
    return report_failure(result == -ETIMEDOUT ? STATUS_TIMEOUT : STATUS_ERROR,
                          "cannot send the call: %s", strerror(-result));
}

static int send_only(const struct cli *cli, struct bus *bus, struct bus_message *message)
{
    uint64_t timeout = cli_call_timeout(cli);
    int r;

    r = bus_send(message);
    if (r >= 0)
        r = bus_flush(bus, timeout == BUS_TIMEOUT_NEVER ? UINT64_MAX : timeout);
    if (r == -ECONNRESET)
        return report_disconnected(cli, bus);
    return r < 0 ? report_send(r) : STATUS_OK;
}

static int handle_fds(const struct request *request, const struct cli *cli,
                      struct bus_message *reply)
{
    unsigned count = bus_message_fd_count(reply);

    if (request->save_fds)
        return fds_save(cli, reply, request->save_fds);
    if (count > 0)
        report_note(cli,
                    "%u file descriptor%s came with the reply and %s closed (--save-fd DIR "
                    "saves what they hold)",
                    count, count == 1 ? "" : "s", count == 1 ? "is" : "are");
    return STATUS_OK;
}

static int call_once(const struct request *request, const struct cli *cli,
                     const struct arguments *arguments)
{
    CLEANUP(owned_bus) struct bus *bus = NULL;
    CLEANUP(owned_message) struct bus_message *call = NULL;
    CLEANUP(owned_message) struct bus_message *reply = NULL;
    struct bus_error error = BUS_ERROR_INIT;
    const char *body;
    size_t size;
    int r;

    r = cli_connect(cli, &bus);
    if (!r)
        r = build(request, cli, arguments, bus, &call);
    if (r)
        return r;
    if (request->no_reply)
        return send_only(cli, bus, call);
    r = bus_call_message(call, &error, &reply);
    if (r < 0)
        return report_error(cli, request->name, &error, r);
    r = body_of_message(reply, "the body of the reply", &body, &size);
    if (!r)
        r = print_json_text(cli, body, size);
    return r ? r : handle_fds(request, cli, reply);
}

/* ------------------------------------------------------ several replies */

struct iteration {
    struct loop loop;
    const struct request *request;
};

static int print_line(const struct cli *cli, const char *text, size_t size)
{
    if (cli->output == OUTPUT_PRETTY)
        return print_json_text(cli, text, size);
    print_json_inline(cli, text, size, INT_MAX);
    fputc('\n', stdout);
    return print_flush();
}

static void on_reply(struct bus_message *reply, void *userdata)
{
    struct iteration *iteration = userdata;
    const struct cli *cli = iteration->loop.cli;
    struct bus_error error = BUS_ERROR_INIT;
    const char *body;
    size_t size;
    int r;

    if (iteration->loop.done)
        return;
    r = bus_message_get_error(reply, &error);
    if (r < 0) {
        loop_end(&iteration->loop, report_error(cli, iteration->request->name, &error, r));
        return;
    }
    r = body_of_message(reply, "the body of a reply", &body, &size);
    /* That there is nothing more to say is seldom something. */
    if (!r && (bus_message_has_more(reply) || size != 4 || memcmp(body, "null", 4) != 0))
        r = print_line(cli, body, size);
    if (!r)
        r = handle_fds(iteration->request, cli, reply);
    if (r || !bus_message_has_more(reply))
        loop_end(&iteration->loop, r);
}

static int iterate(const struct request *request, const struct cli *cli,
                   const struct arguments *arguments)
{
    struct iteration iteration = {.request = request};
    CLEANUP(owned_message) struct bus_message *call = NULL;
    int r;

    r = loop_init(&iteration.loop, cli);
    iteration.loop.prints = true;
    iteration.loop.deadline = UINT64_MAX; /* the call has one */
    if (!r)
        r = build(request, cli, arguments, iteration.loop.bus, &call);
    if (!r) {
        r = bus_call_async(call, on_reply, &iteration, NULL);
        r = r < 0 ? report_send(r) : loop_run(&iteration.loop);
    }
    bus_close(iteration.loop.bus);
    return r;
}

static int run(struct cli *cli, const struct arguments *arguments)
{
    CLEANUP(request_deinit) struct request request = {0};
    int r = parse(&request, cli, arguments);

    if (r)
        return r;
    return request.more ? iterate(&request, cli, arguments) : call_once(&request, cli, arguments);
}

const struct command command_call = {
    .name = "call",
    .synopsis = "NAME METHOD [BODY...]",
    .summary = "call a method and print the reply's body",
    .help = "Calls METHOD of the service NAME and prints the body of its reply. For the\n"
            "forms of BODY see 'help body'.\n"
            "\n"
            "  --path PATH     the object within the service\n"
            "  --timeout SEC   how long the service may take (default 25; 0: for ever)\n"
            "  --no-reply      do not wait for an answer; no error is reported either\n"
            "  --more          several replies are welcome: prints each as it comes, on a\n"
            "                  line, and the last one if it is more than null. The timeout\n"
            "                  is counted from one to the next\n"
            "  --fd FILE       pass this file, opened for reading; @N: our descriptor N.\n"
            "                  May be repeated\n"
            "  --save-fd DIR   save what received file descriptors hold as DIR/fd-0,\n"
            "                  DIR/fd-1, ...; never overwrites\n"
            "\n"
            "Examples:\n"
            "  busctl-lite call org.example.AddressBook Add name=Ada phone=555-1815\n"
            "  busctl-lite call bus GetCredentials name=:3 --save-fd ./received\n",
    .options = (const struct option_row[]){{"path", "PATH"},
                                           {"no-reply", NULL},
                                           {"more", NULL},
                                           {"fd", "FILE"},
                                           {"save-fd", "DIR"},
                                           {NULL, NULL}},
    .operands_min = 2,
    .operands_max = SIZE_MAX,
    .run = run,
};
