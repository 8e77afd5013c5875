/* SPDX-License-Identifier: MIT */
/*
 * A verb: its name, its place in the help, its options, and what it does. Every
 * verb is a file of its own, verb-NAME.c, that defines one of these; command.c
 * has the table of them.
 */
#ifndef BUSCTL_COMMAND_H
#define BUSCTL_COMMAND_H

#include <stddef.h>

#include "tools/busctl-lite/arguments.h"
#include "tools/busctl-lite/cli.h"

struct command {
    const char *name;
    const char *synopsis;             /* what follows the verb, such as "TOPIC [BODY...]" */
    const char *summary;              /* for the list of verbs, at most 56 characters */
    const char *help;                 /* the rest, whole lines */
    const struct option_row *options; /* ended by a row without name; NULL: none */

    /* How many operands; one more begins a command to run, as does "--". */
    size_t operands_min;
    size_t operands_max;
    bool runs_command;

    int (*run)(struct cli *cli, const struct arguments *arguments);
};

extern const struct command command_list;
extern const struct command command_status;
extern const struct command command_call;
extern const struct command command_channel;
extern const struct command command_publish;
extern const struct command command_subscribe;
extern const struct command command_get;
extern const struct command command_set;
extern const struct command command_monitor;
extern const struct command command_wait;
extern const struct command command_serve;
extern const struct command command_ping;
extern const struct command command_introspect;
extern const struct command command_stats;
extern const struct command command_explain;
extern const struct command command_reload;
extern const struct command command_run_session;
extern const struct command command_help;

/* The verbs in the order of the help; NULL at the end. */
const struct command *command_at(size_t index);

/* STATUS_OK, or a usage error that suggests the nearest verb. */
int command_find(const char *name, const struct command **ret_command);

#endif
