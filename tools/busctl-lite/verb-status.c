/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/members.h"
#include "tools/busctl-lite/names.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/people.h"
#include "tools/busctl-lite/print.h"
#include "tools/busctl-lite/report.h"

static void print_integer(const struct cli *cli, const char *label, const json_t *object,
                          const char *key)
{
    if (json_object_get(object, key))
        print_field(cli, label, "%" PRId64, integer_at(object, key));
}

static void print_duration(const struct cli *cli, const char *label, const json_t *seconds)
{
    CLEANUP(owned_text) char *text = duration_text(json_number_value(seconds));

    print_field(cli, label, "%s", text ? text : "?");
}

static void print_traffic(const struct cli *cli, const json_t *stats)
{
    const json_t *messages = json_object_get(stats, "messages");
    const json_t *bytes = json_object_get(stats, "bytes");

    print_field(cli, "messages",
                "%" PRId64 " received, %" PRId64 " delivered, %" PRId64 " dropped, %" PRId64
                " invalid",
                integer_at(messages, "received"), integer_at(messages, "delivered"),
                integer_at(messages, "dropped"), integer_at(messages, "invalid"));
    print_field(cli, "bytes", "%" PRId64 " received, %" PRId64 " sent, %" PRId64 " queued",
                integer_at(bytes, "received"), integer_at(bytes, "sent"),
                integer_at(bytes, "queued"));
}

static int print_bus(const struct cli *cli, const json_t *status)
{
    print_field(cli, "address", "%s", string_at(status, "address"));
    print_field(cli, "id", "%s", string_at(status, "id"));
    print_field(cli, "version", "%s", string_at(status, "version"));
    print_duration(cli, "up for", json_object_get(status, "uptime"));
    print_integer(cli, "connections", status, "connections");
    print_integer(cli, "names", status, "names");
    print_integer(cli, "subscriptions", status, "subscriptions");
    print_integer(cli, "open calls", status, "calls");
    print_integer(cli, "monitors", status, "monitors");
    print_traffic(cli, status);
    return print_flush();
}

static void print_group(const struct cli *cli, const char *label, int64_t gid)
{
    CLEANUP(owned_text) char *name = group_name(gid);

    print_field(cli, label, "%s (%" PRId64 ")", name ? name : "?", gid);
}

/* The main group, and the others. */
static void print_groups(const struct cli *cli, const json_t *status)
{
    int64_t main_gid = integer_at(status, "gid");
    const json_t *gid;
    size_t index;

    print_group(cli, "groups", main_gid);
    json_array_foreach(json_object_get(status, "gids"), index, gid)
    {
        if ((int64_t)json_integer_value(gid) != main_gid)
            print_group(cli, "", (int64_t)json_integer_value(gid));
    }
}

static void print_subscriptions(const struct cli *cli, const json_t *subscriptions)
{
    const json_t *item;
    size_t index;

    json_array_foreach(subscriptions, index, item)
    {
        const char *sender = string_at(item, "sender");
        const char *group = string_at(item, "group");

        print_field(cli, index ? "" : "subscriptions", "%s%s%s%s%s", string_at(item, "topic"),
                    sender[0] ? " from " : "", sender, group[0] ? " as one of " : "", group);
    }
}

static int print_peer(const struct cli *cli, const json_t *status)
{
    CLEANUP(owned_text) char *command = process_command(integer_at(status, "pid"));
    CLEANUP(owned_text) char *user = user_name(integer_at(status, "uid"));
    const json_t *calls = json_object_get(status, "calls");
    const json_t *name;
    size_t index;

    print_field(cli, "unique name", "%s", string_at(status, "name"));
    json_array_foreach(json_object_get(status, "names"), index, name)
        print_field(cli, index ? "" : "names", "%s", json_string_value(name));
    print_styled(cli, STYLE_DIM, "process", 15);
    printf("%" PRId64 " ", integer_at(status, "pid"));
    print_styled(cli, STYLE_HEADING, command ? command : "", 0);
    fputc('\n', stdout);
    print_field(cli, "user", "%s (%" PRId64 ")", user ? user : "?", integer_at(status, "uid"));
    print_groups(cli, status);
    print_duration(cli, "connected for", json_object_get(status, "connected"));
    print_subscriptions(cli, json_object_get(status, "subscriptions"));
    print_field(cli, "open calls", "%" PRId64 " made, %" PRId64 " to answer",
                integer_at(calls, "made"), integer_at(calls, "received"));
    print_traffic(cli, status);
    if (json_is_true(json_object_get(status, "monitor")))
        print_field(cli, "monitor", "yes, it sees what passes");
    return print_flush();
}

/* What the bus counts about the peer, with its credentials added. */
static int fetch_peer(const struct cli *cli, struct bus *bus, const char *name, json_t **ret_status)
{
    CLEANUP(owned_json) json_t *status = NULL;
    CLEANUP(owned_json) json_t *credentials = NULL;
    int r;

    r = cli_call_bus(cli, bus, "Stats", json_pack("{s:s}", "name", name), name, &status);
    if (!r)
        r = cli_call_bus(cli, bus, "GetCredentials", json_pack("{s:s}", "name", name), name,
                         &credentials);
    if (r)
        return r;
    if (json_object_update_missing(status, credentials) < 0)
        return report_no_memory();
    *ret_status = TAKE(status);
    return STATUS_OK;
}

static int fetch_bus(const struct cli *cli, struct bus *bus, json_t **ret_status)
{
    CLEANUP(owned_json) json_t *status = NULL;
    CLEANUP(owned_text) char *address = NULL;
    int r;

    r = cli_address(cli, &address);
    if (!r)
        r = cli_call_bus(cli, bus, "Stats", json_object(), NULL, &status);
    if (r)
        return r;
    if (json_object_set_new(status, "address", json_string(address)) < 0)
        return report_no_memory();
    *ret_status = TAKE(status);
    return STATUS_OK;
}

static int run(struct cli *cli, const struct arguments *arguments)
{
    CLEANUP(owned_bus) struct bus *bus = NULL;
    CLEANUP(owned_json) json_t *status = NULL;
    const char *name = arguments->operands[0];
    bool of_bus = !name || strcmp(name, "bus") == 0;
    int r;

    r = of_bus ? STATUS_OK : check_peer(cli->verb, name);
    if (!r)
        r = cli_connect(cli, &bus);
    if (!r)
        r = of_bus ? fetch_bus(cli, bus, &status) : fetch_peer(cli, bus, name, &status);
    if (r)
        return r;
    if (cli->output != OUTPUT_READABLE)
        return print_json(cli, status);
    return of_bus ? print_bus(cli, status) : print_peer(cli, status);
}

const struct command command_status = {
    .name = "status",
    .synopsis = "[NAME]",
    .summary = "one peer: process, user, subscriptions; or the bus itself",
    .help = "Shows the connection that owns NAME (a well-known or a unique name), or\n"
            "without NAME the bus itself.\n"
            "\n"
            "Examples:\n"
            "  busctl-lite status\n"
            "  busctl-lite status org.example.AddressBook\n",
    .operands_max = 1,
    .run = run,
};
