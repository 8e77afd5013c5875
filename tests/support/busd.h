/* SPDX-License-Identifier: MIT */
/*
 * A real busd as a child process, in a directory of its own, for as long as a test
 * runs. The program is $BUSD_BINARY, or what the build made; $BUSD_TEST_OPTION is added to
 * its options. It dies with the test.
 */
#ifndef TESTS_SUPPORT_BUSD_H
#define TESTS_SUPPORT_BUSD_H

#include <stdbool.h>
#include <sys/types.h>

struct busd {
    pid_t pid;
    char directory[64];
    char path[80];           /* of the socket … */
    char lock[88];           /* … the lock beside it … */
    char log[80];            /* … and what it writes to standard error */
    char address[128];       /* as busd printed it */
    int ready_fd;            /* where it prints its addresses to; kept open for it */
    unsigned fds;            /* open when it had started, see busd_fds_are_back() */
    const char *const *args; /* as busd_start() got them */
    bool configured; /* it reads config.json in its directory, and listens where that says */
};

/* Starts it with `args` (NULL-terminated; may be NULL) and waits until it listens.
 * 0, or -1 with the reason on standard error. */
int busd_start(struct busd *busd, const char *const *args);

/* The same with a configuration file, see busd_configure(); one of its listeners must be
 * unix:DIR/bus. Other users can enter the directory. */
int busd_start_configured(struct busd *busd, const char *config, const char *const *args);

/* Writes the configuration file anew: a text in which ' stands for " and DIR for the
 * directory. 0, or -1 with the reason on standard error. */
int busd_configure(const struct busd *busd, const char *config);

/* Ends it with SIGTERM (it must end with status 0) or SIGKILL, if that has not been done
 * and `pid` set to 0, and starts it again in the same directory. What it keeps between its lives is
 * in state/ there, which is removed with the directory. 0, or -1 with the reason on standard error.
 */
int busd_restart(struct busd *busd, int signal);

/* SIGTERM. 0 if it ended with status 0 and left nothing behind; else -1 and the
 * reason on standard error. With `pid` 0, whoever has ended it before, only looks what
 * is left behind. */
int busd_stop(struct busd *busd);

/* SIGKILL, and no questions asked. */
void busd_kill(struct busd *busd);

/* The same for a signal handler that is about to exit: does not wait. */
void busd_abandon(const struct busd *busd);

/* Whether within a second no more file descriptors are open than at the start and
 * `more` on top. Says on standard error which are left. */
bool busd_fds_are_back(const struct busd *busd, unsigned more);

/* Copies what it wrote to standard error to ours. */
void busd_print_log(const struct busd *busd);

/* Whether its standard error holds this text by now. */
bool busd_has_logged(const struct busd *busd, const char *text);

/* The program's path. */
const char *busd_binary(void);

#endif
