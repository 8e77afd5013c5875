/* SPDX-License-Identifier: MIT */
/*
 * File descriptors that a call takes along (--fd) and those that come back
 * (--save-fd).
 */
#ifndef BUSCTL_FDS_H
#define BUSCTL_FDS_H

#include <bus/bus.h>

#include "tools/busctl-lite/cli.h"

/* Adds what --fd names: a file, which is opened for reading, or "@N" for the
 * descriptor N that we were started with. */
int fds_push(const struct cli *cli, struct bus_message *message, const char *what);

/* Makes the directory if it is missing, and makes sure that nothing in it is in
 * our way; to be called before the call, so that it is not made in vain. */
int fds_prepare_directory(const char *directory);

/* Copies what the message's file descriptors hold to fd-0, fd-1, … in the
 * directory: a regular file from its start, anything else to its end. Never
 * overwrites a file. */
int fds_save(const struct cli *cli, struct bus_message *message, const char *directory);

#endif
