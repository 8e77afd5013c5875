/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/members.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/people.h"
#include "tools/busctl-lite/print.h"
#include "tools/busctl-lite/report.h"
#include "tools/busctl-lite/table.h"

static const struct table_column columns[] = {
    {"NAME", STYLE_TOPIC}, {"OWNER", STYLE_NAME},  {"PID", STYLE_NUMBER},
    {"USER", STYLE_DIM},   {"COMMAND", STYLE_DIM}, {"QUEUE", STYLE_NAME},
};

static const json_t *connection_named(const json_t *connections, const char *name)
{
    const json_t *connection;
    size_t index;

    json_array_foreach(connections, index, connection)
    {
        if (strcmp(string_at(connection, "name"), name) == 0)
            return connection;
    }
    return NULL;
}

/* A row of the output: a name, with what is known of the connection that owns it, of
 * several the first. `item` is what the bus says of the name, NULL for a unique one. A
 * new object, or NULL without memory. */
static json_t *describe(const char *name, const char *owner, const json_t *connection,
                        const json_t *item)
{
    json_t *queue = json_object_get(item, "queue");
    json_t *owners = json_object_get(item, "owners");
    CLEANUP(owned_text) char *user = NULL;
    CLEANUP(owned_text) char *command = NULL;
    int64_t pid = integer_at(connection, "pid");
    int64_t uid = integer_at(connection, "uid");

    user = connection ? user_name(uid) : strdup("");
    command = process_command(pid);
    if (!user || !command)
        return NULL;
    return json_pack("{s:s, s:s, s:O*, s:I, s:I, s:s, s:s%, s:o}", "name", name, "owner", owner,
                     "owners", owners, "pid", (json_int_t)pid, "uid", (json_int_t)uid, "user", user,
                     "command", command, strlen(command), "queue",
                     json_is_array(queue) ? json_incref(queue) : json_array());
}

/* Well-known names by the alphabet before unique ones by their number. */
static int compare_rows(const void *a, const void *b)
{
    const char *left = string_at(*(json_t *const *)a, "name");
    const char *right = string_at(*(json_t *const *)b, "name");

    if (left[0] == ':' && right[0] == ':') {
        unsigned long long left_number = strtoull(left + 1, NULL, 10);
        unsigned long long right_number = strtoull(right + 1, NULL, 10);

        return left_number < right_number ? -1 : left_number > right_number;
    }
    if (left[0] == ':' || right[0] == ':')
        return left[0] == ':' ? 1 : -1;
    return strcmp(left, right);
}

struct rows {
    json_t **row;
    size_t count;
};

static void rows_deinit(struct rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        json_decref(rows->row[i]);
    free(rows->row);
}

static int rows_add(struct rows *rows, json_t *row)
{
    if (!row)
        return report_no_memory();
    rows->row[rows->count++] = row;
    return STATUS_OK;
}

static int collect(struct rows *rows, const json_t *body, bool acquired, bool unique)
{
    const json_t *names = json_object_get(body, "names");
    const json_t *connections = json_object_get(body, "connections");
    const json_t *item;
    size_t index;
    int r = STATUS_OK;

    rows->row =
        calloc(json_array_size(names) + json_array_size(connections) + 1, sizeof(*rows->row));
    if (!rows->row)
        return report_no_memory();
    json_array_foreach(names, index, item)
    {
        const char *owner = string_at(item, "owner");

        if (acquired && !r)
            r = rows_add(rows, describe(string_at(item, "name"), owner,
                                        connection_named(connections, owner), item));
    }
    json_array_foreach(connections, index, item)
    {
        const char *name = string_at(item, "name");

        if (unique && !r)
            r = rows_add(rows, describe(name, name, item, NULL));
    }
    qsort(rows->row, rows->count, sizeof(*rows->row), compare_rows);
    return r;
}

static char *join(const json_t *strings)
{
    char *joined = strdup("");
    const json_t *string;
    size_t index;

    json_array_foreach(strings, index, string)
    {
        CLEANUP(owned_text) char *before = joined;

        if (!joined ||
            asprintf(&joined, "%s%s%s", before, index ? " " : "", json_string_value(string)) < 0)
            return NULL;
    }
    return joined;
}

static char *number_cell(int64_t number)
{
    char *text;

    return asprintf(&text, "%" PRId64, number) < 0 ? NULL : text;
}

static int print_table(const struct cli *cli, const struct rows *rows)
{
    struct table table;
    int r = STATUS_OK;

    table_init(&table, columns, ARRAY_SIZE(columns));
    for (size_t i = 0; i < rows->count && !r; i++) {
        const json_t *row = rows->row[i];
        char *cells[] = {
            strdup(string_at(row, "name")),
            json_object_get(row, "owners") ? join(json_object_get(row, "owners"))
                                           : strdup(string_at(row, "owner")),
            number_cell(integer_at(row, "pid")),
            strdup(string_at(row, "user")),
            strdup(string_at(row, "command")),
            join(json_object_get(row, "queue")),
        };

        for (size_t column = 0; column < ARRAY_SIZE(cells); column++) {
            if (r)
                free(cells[column]);
            else
                r = table_add(&table, cells[column]);
        }
    }
    if (!r)
        r = table_print(&table, cli);
    table_deinit(&table);
    return r;
}

static int run(struct cli *cli, const struct arguments *arguments)
{
    CLEANUP(owned_bus) struct bus *bus = NULL;
    CLEANUP(owned_json) json_t *body = NULL;
    CLEANUP(rows_deinit) struct rows rows = {0};
    bool acquired = arguments_has(arguments, "acquired");
    bool unique = arguments_has(arguments, "unique");
    int r;

    r = cli_connect(cli, &bus);
    if (!r)
        r = cli_call_bus(cli, bus, "ListNames", json_object(), NULL, &body);
    if (!r)
        r = collect(&rows, body, acquired || !unique, unique || !acquired);
    if (!r && cli->output == OUTPUT_READABLE)
        return print_table(cli, &rows);
    for (size_t i = 0; i < rows.count && !r; i++)
        r = print_json(cli, rows.row[i]);
    return r;
}

const struct command command_list = {
    .name = "list",
    .synopsis = "[--acquired] [--unique]",
    .summary = "names on the bus: owner, process, user, command, queue",
    .help = "Lists the well-known names, then the connections by their unique names.\n"
            "QUEUE is who waits to own a name next. Of those who share a name the process\n"
            "is the first one's.\n"
            "\n"
            "  --acquired   only well-known names\n"
            "  --unique     only unique names\n"
            "\n"
            "Examples:\n"
            "  busctl-lite list\n"
            "  busctl-lite list --acquired | jq -r .name\n",
    .options = (const struct option_row[]){{"acquired", NULL}, {"unique", NULL}, {NULL, NULL}},
    .operands_max = 0,
    .run = run,
};
