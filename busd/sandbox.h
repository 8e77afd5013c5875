/* SPDX-License-Identifier: MIT */
/*
 * A seccomp filter for the running broker: whoever takes it over by a bug gets a process
 * that can serve its sockets, and nothing else. No files are opened, no programs run, no
 * memory made executable, nobody traced, no messages peeked at and no urgent bytes
 * taken; a system call that is not on the list ends the process at once. It holds for
 * all threads and cannot be undone.
 */
#ifndef BUSD_SANDBOX_H
#define BUSD_SANDBOX_H

#include "libbus/base/log.h"

/* To be called when everything has been opened and all threads run. 0 or -errno; the log
 * says why. -EOPNOTSUPP when this build knows no seccomp. */
int sandbox_enter(struct log *log);

#endif
