/* SPDX-License-Identifier: MIT */
/*
 * What the global options say: which bus, how long to wait, how to print. Filled
 * once by cli_init(), read by every verb. Also the one place that connects.
 *
 * Functions of this program that return `int` for success or failure return
 * STATUS_OK (0) or an exit status; whoever finds the failure has reported it on
 * stderr, callers only pass it on.
 */
#ifndef BUSCTL_CLI_H
#define BUSCTL_CLI_H

#include <bus/bus.h>
#include <stdbool.h>
#include <stdint.h>

struct arguments;

/* The exit statuses, stable; `busctl-lite help exit-status` documents them. */
enum status {
    STATUS_OK = 0,
    STATUS_ERROR = 1,
    STATUS_USAGE = 2,
    STATUS_CONNECTION = 3,
    STATUS_UNKNOWN = 4,
    STATUS_DENIED = 5,
    STATUS_TIMEOUT = 6,
    STATUS_LIMIT = 7,
    STATUS_NOBODY = 8,
    STATUS_INVALID = 9,
};

enum output {
    OUTPUT_READABLE,
    OUTPUT_SHORT,
    OUTPUT_PRETTY,
};

struct cli {
    const char *verb;
    const char *address; /* NULL: the user bus, or the system bus if `system` */
    bool system;
    bool quiet;
    bool colour;      /* on stdout */
    bool json_errors; /* what the other side says goes to stderr as JSON */
    enum output output;
    bool timeout_given;
    uint64_t timeout; /* milliseconds; 0: for ever */
};

int cli_init(struct cli *cli, const struct arguments *arguments);

/* The value of an option that is a time: seconds, as milliseconds. `more` is what is to be
 * said of it besides when it is wrong. */
int cli_seconds(const char *verb, const char *option, const char *value, const char *more,
                uint64_t *ret_milliseconds);

/* The timeout for one call: what --timeout says, else the bus's default. */
uint64_t cli_call_timeout(const struct cli *cli);

/* The end of a wait as clock_milliseconds() counts; UINT64_MAX: never. */
uint64_t cli_deadline(const struct cli *cli);

/* Milliseconds of the monotonic clock. */
uint64_t clock_milliseconds(void);

/* The address that cli_connect() uses; malloc'ed. */
int cli_address(const struct cli *cli, char **ret_address);

/* Connects; says where it tried and what to do when it cannot. */
int cli_connect(const struct cli *cli, struct bus **ret_bus);

/* Calls a method of the bus itself, with the body taken, and gives back the tree
 * of the reply's body, owned by the caller. */
int cli_call_bus(const struct cli *cli, struct bus *bus, const char *method, json_t *body,
                 const char *subject, json_t **ret_body);

#endif
