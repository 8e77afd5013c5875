/* SPDX-License-Identifier: MIT */
/*
 * The help, on stdout: one screen for all of it, one page a verb, and pages
 * about what several verbs have in common.
 */
#ifndef BUSCTL_HELP_H
#define BUSCTL_HELP_H

struct command;

int help_overview(void);
int help_command(const struct command *command);
int help_version(void);

#endif
