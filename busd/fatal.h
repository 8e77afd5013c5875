/* SPDX-License-Identifier: MIT */
/*
 * Which errors of a system call end the daemon: only those that prove that it has
 * lost track of its own file descriptors or memory, so that going on would mix up
 * clients. They are listed in fatal.c, and nowhere else.
 *
 * Whatever else a system call says, be it that something has run out, that a security
 * module has forbidden it, or what nobody has thought of, costs one client at most.
 */
#ifndef BUSD_FATAL_H
#define BUSD_FATAL_H

#include "libbus/base/log.h"

/* `error` is an errno, negative or positive. If it is on the list, says so and
 * aborts, so that there is a core to look at. */
void fatal_check(struct log *log, const char *doing, int error);

#endif
