/* SPDX-License-Identifier: MIT */
/*
 * What goes to stderr: usage errors, failures of our own, errors of the other
 * side, and notes. Each function that reports a failure returns the exit status
 * that stands for it, so that callers can `return report_...`.
 */
#ifndef BUSCTL_REPORT_H
#define BUSCTL_REPORT_H

#include <bus/bus.h>

#include "tools/busctl-lite/cli.h"

/* Wrong use of the command line, with a pointer to the verb's help (NULL: to the
 * general one). STATUS_USAGE. */
int report_usage(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A failure of our own. Returns `status`. */
int report_failure(enum status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What was asked for did not happen for lack of memory. STATUS_ERROR. */
int report_no_memory(void);

/* What the other side said, or a call's failure on this side. `subject` (may be
 * NULL) is what it is about; `result` is the negative errno that came with it. */
int report_error(const struct cli *cli, const char *subject, const struct bus_error *error,
                 int result);

/* The connection was lost. */
int report_disconnected(const struct cli *cli, struct bus *bus);

/* A text that should have been JSON: where, why, and the place itself.
 * STATUS_INVALID. */
int report_bad_json(const char *what, const char *text, size_t size, size_t offset,
                    const char *reason);

/* A text that breaks a grammar of names; `problem` is the sentence of
 * bus_check_...(), `what` the argument's name. STATUS_USAGE. */
int report_bad_name(const char *verb, const char *what, const char *text, size_t offset,
                    const char *problem);

/* For people, unless --quiet. */
void report_note(const struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The exit status for an error. */
enum status status_of_error(const struct bus_error *error, int result);

#endif
