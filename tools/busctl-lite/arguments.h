/* SPDX-License-Identifier: MIT */
/*
 * The command line, taken apart: options (global ones and the verb's), operands,
 * and the command to run for the verbs that have one. Everything is borrowed from
 * argv; arguments_deinit() frees only the arrays.
 *
 * Global options may stand before or after the verb, options may stand between
 * operands, "--" ends them. A number with a minus sign is an operand.
 */
#ifndef BUSCTL_ARGUMENTS_H
#define BUSCTL_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct command;

struct option_row {
    const char *name;     /* without its dashes */
    const char *argument; /* what it takes, such as "N"; NULL: nothing */
};

struct given_option {
    const char *name;
    const char *value; /* NULL if none was given */
};

struct arguments {
    const struct command *command; /* NULL: no verb was given */
    struct given_option *options;
    size_t option_count;
    char **operands; /* ended by NULL */
    size_t operand_count;
    char **to_run; /* the command, ended by NULL; NULL: none was given */
};

/* *arguments needs arguments_deinit() whatever the result. */
int arguments_parse(struct arguments *arguments, int argc, char **argv);
void arguments_deinit(struct arguments *arguments);

/* Whether the number of operands suits the verb. */
int arguments_check_operands(const struct arguments *arguments);

bool arguments_has(const struct arguments *arguments, const char *name);

/* Whether it was given without a value: the global one, where a verb has its own. */
bool arguments_has_flag(const struct arguments *arguments, const char *name);

/* The value of the option as last given, or NULL. */
const char *arguments_value(const struct arguments *arguments, const char *name);

/* The values of an option that may be repeated, one after the other: *position
 * starts at 0; NULL at the end. */
const char *arguments_next_value(const struct arguments *arguments, const char *name,
                                 size_t *position);

/* The value as a number from 1 on; *ret_number is left alone when it was not
 * given. */
int arguments_number(const struct arguments *arguments, const char *name, uint64_t *ret_number);

#endif
