/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/arguments.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/report.h"
#include "tools/busctl-lite/suggest.h"

#define OPTIONS_MAX  32
#define OPTION_FIRST 256 /* the values of long options, beyond those of letters */

static const struct option_row global_options[] = {
    {"user", NULL},  {"system", NULL}, {"address", "ADDR"}, {"timeout", "SEC"},
    {"quiet", NULL}, {"json", "FORM"}, {"version", NULL},   {"help", NULL},
};

/* Both tables of options as getopt_long() wants them. */
struct option_table {
    const struct option_row *rows[OPTIONS_MAX];
    struct option options[OPTIONS_MAX + 1];
    size_t count;
};

static void table_add(struct option_table *table, const struct option_row *row)
{
    int has_argument = row->argument ? required_argument : no_argument;

    if (strcmp(row->name, "json") == 0)
        has_argument = optional_argument;
    table->options[table->count] =
        (struct option){row->name, has_argument, NULL, OPTION_FIRST + (int)table->count};
    table->rows[table->count++] = row;
}

static bool is_in(const struct option_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->rows[i]->name, name) == 0)
            return true;
    return false;
}

/* Behind a verb an option of its own hides a global one of the same name. */
static void table_init(struct option_table *table, const struct command *command)
{
    memset(table, 0, sizeof(*table));
    for (const struct option_row *row = command ? command->options : NULL; row && row->name; row++)
        table_add(table, row);
    for (size_t i = 0; i < ARRAY_SIZE(global_options); i++)
        if (!is_in(table, global_options[i].name))
            table_add(table, &global_options[i]);
}

/* An option that getopt_long() does not know, or that is only half an option. */
static int report_option(const struct option_table *table, const struct command *command,
                         const char *typed)
{
    const char *verb = command ? command->name : NULL;
    const char *name = typed + strspn(typed, "-");
    size_t size = strcspn(name, "=");
    struct suggestion suggestion;

    suggestion_init(&suggestion, name, size);
    for (size_t i = 0; i < table->count; i++) {
        if (strlen(table->rows[i]->name) == size && strncmp(table->rows[i]->name, name, size) == 0)
            return report_usage(verb, "--%s takes no value", table->rows[i]->name);
        suggestion_consider(&suggestion, table->rows[i]->name);
    }
    if (suggestion.best)
        return report_usage(verb, "there is no option '%.*s': did you mean '--%s'?",
                            (int)(name - typed + (ptrdiff_t)size), typed, suggestion.best);
    return report_usage(verb, "there is no option '%s'%s", typed,
                        command ? "" : " that can stand before the verb");
}

static bool is_negative_number(const char *text)
{
    return text[0] == '-' && isdigit((unsigned char)text[1]);
}

static void add_option(struct arguments *arguments, const char *name, const char *value)
{
    arguments->options[arguments->option_count++] = (struct given_option){name, value};
}

/* Takes options, and operands if there is a verb to have them. Without one it
 * stops at the first operand. Leaves optind where it stopped. */
static int parse(struct arguments *arguments, const struct command *command, int argc, char **argv)
{
    struct option_table table;

    table_init(&table, command);
    opterr = 0;
    optind = 0; /* glibc: start afresh */
    for (bool first = true;; first = false) {
        int code;

        if (!first && optind < argc && command && is_negative_number(argv[optind])) {
            optarg = argv[optind++];
            code = 1;
        } else {
            code = getopt_long(argc, argv, "-:h", table.options, NULL);
        }
        if (code == -1)
            return STATUS_OK;
        if (code == 1) {
            if (!command ||
                (command->runs_command && arguments->operand_count == command->operands_max)) {
                optind--;
                return STATUS_OK;
            }
            arguments->operands[arguments->operand_count++] = optarg;
        } else if (code == ':') {
            const struct option_row *row = table.rows[optopt - OPTION_FIRST];

            return report_usage(command ? command->name : NULL, "--%s needs a value: --%s %s",
                                row->name, row->name, row->argument);
        } else if (code == 'h') {
            add_option(arguments, "help", NULL);
        } else if (code == '?') {
            char letter[] = {'-', (char)optopt, '\0'};
            bool is_letter = optopt > 0 && optopt < OPTION_FIRST;

            return report_option(&table, command, is_letter ? letter : argv[optind - 1]);
        } else {
            add_option(arguments, table.rows[code - OPTION_FIRST]->name, optarg);
        }
    }
}

/* What parse() left over: the command of a verb that runs one, or else the
 * operands behind "--". */
static void take_rest(struct arguments *arguments, char **rest, size_t count)
{
    if (arguments->command->runs_command) {
        arguments->to_run = count > 0 ? rest : NULL;
        return;
    }
    for (size_t i = 0; i < count; i++)
        arguments->operands[arguments->operand_count++] = rest[i];
}

int arguments_parse(struct arguments *arguments, int argc, char **argv)
{
    int verb_index;
    int r;

    memset(arguments, 0, sizeof(*arguments));
    arguments->options = calloc((size_t)argc + 1, sizeof(*arguments->options));
    arguments->operands = calloc((size_t)argc + 1, sizeof(*arguments->operands));
    if (!arguments->options || !arguments->operands)
        return report_no_memory();

    r = parse(arguments, NULL, argc, argv);
    verb_index = optind;
    if (r || verb_index >= argc)
        return r;
    r = command_find(argv[verb_index], &arguments->command);
    if (r)
        return r;
    r = parse(arguments, arguments->command, argc - verb_index, argv + verb_index);
    if (r)
        return r;
    take_rest(arguments, argv + verb_index + optind, (size_t)(argc - verb_index - optind));
    return STATUS_OK;
}

void arguments_deinit(struct arguments *arguments)
{
    free(arguments->options);
    free(arguments->operands);
}

int arguments_check_operands(const struct arguments *arguments)
{
    const struct command *command = arguments->command;
    size_t count = arguments->operand_count;

    if (count < command->operands_min)
        return report_usage(command->name, "%s: busctl-lite %s %s",
                            count == 0 ? "it needs to know what" : "something is missing",
                            command->name, command->synopsis);
    if (count > command->operands_max)
        return report_usage(command->name, "'%s' is one argument too many: busctl-lite %s %s",
                            arguments->operands[command->operands_max], command->name,
                            command->synopsis);
    if (command->runs_command && !arguments->to_run)
        return report_usage(command->name, "the command to run is missing: busctl-lite %s %s",
                            command->name, command->synopsis);
    return STATUS_OK;
}

bool arguments_has(const struct arguments *arguments, const char *name)
{
    for (size_t i = 0; i < arguments->option_count; i++) {
        if (strcmp(arguments->options[i].name, name) == 0)
            return true;
    }
    return false;
}

bool arguments_has_flag(const struct arguments *arguments, const char *name)
{
    for (size_t i = 0; i < arguments->option_count; i++) {
        if (!arguments->options[i].value && strcmp(arguments->options[i].name, name) == 0)
            return true;
    }
    return false;
}

const char *arguments_next_value(const struct arguments *arguments, const char *name,
                                 size_t *position)
{
    while (*position < arguments->option_count) {
        const struct given_option *option = &arguments->options[(*position)++];

        if (option->value && strcmp(option->name, name) == 0)
            return option->value;
    }
    return NULL;
}

const char *arguments_value(const struct arguments *arguments, const char *name)
{
    size_t position = 0;
    const char *found = NULL;
    const char *next;

    while ((next = arguments_next_value(arguments, name, &position)))
        found = next;
    return found;
}

int arguments_number(const struct arguments *arguments, const char *name, uint64_t *ret_number)
{
    const char *value = arguments_value(arguments, name);
    unsigned long long number;
    char *end;

    if (!value)
        return STATUS_OK;
    errno = 0;
    number = strtoull(value, &end, 10);
    if (!isdigit((unsigned char)value[0]) || *end || errno || number == 0)
        return report_usage(arguments->command->name,
                            "--%s '%s': it must be a whole number from 1 on", name, value);
    *ret_number = number;
    return STATUS_OK;
}
