/* SPDX-License-Identifier: MIT */
/*
 * A bus of one's own for as long as a command runs: a private directory with the
 * socket, and a busd that listens there. If we die, busd is told to end.
 */
#ifndef BUSCTL_SESSION_H
#define BUSCTL_SESSION_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

struct session {
    char *directory; /* NULL: not made yet */
    char *address;
    pid_t busd; /* 0: not running */
};

/* Starts busd (NULL: the one that belongs to us, see session_find_busd()) and
 * waits until it listens. `mask` is the signals that it is to block. What signals
 * arrive at `signal_fd` in the meantime, other than SIGCHLD, give up. The session
 * needs session_stop() whatever the result. */
int session_start(struct session *session, const char *busd, const sigset_t *mask, int signal_fd);

/* Whether busd has ended on its own; says so, once. */
void session_check(struct session *session);

/* Ends busd and removes the directory. */
void session_stop(struct session *session);

#endif
