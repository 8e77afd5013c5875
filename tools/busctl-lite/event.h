/* SPDX-License-Identifier: MIT */
/*
 * An event as it is printed, and as the command of `subscribe --exec` gets it:
 * {"topic":..,"sender":..,"body":..}, with "retained" and "fds" where they say
 * something.
 */
#ifndef BUSCTL_EVENT_H
#define BUSCTL_EVENT_H

#include <bus/bus.h>
#include <stdbool.h>
#include <stddef.h>

#include "tools/busctl-lite/cli.h"

/* Whether the body can be printed. If not, tells on stderr that the event is passed
 * over. */
bool event_check(const struct cli *cli, struct bus_message *event);

/* *ret_text is malloc'ed, JSON on one line without a newline. */
int event_text(struct bus_message *event, char **ret_text, size_t *ret_size);

int event_print(const struct cli *cli, struct bus_message *event);

/* Tells on stderr when the bus had to drop events for us. `cli` must outlive the
 * connection. */
int event_watch_losses(struct cli *cli, struct bus *bus);

#endif
