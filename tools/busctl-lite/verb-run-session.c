/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/busctl-lite/child.h"
#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/report.h"
#include "tools/busctl-lite/session.h"

#define STATUS_NOT_EXECUTABLE 126
#define STATUS_NOT_FOUND      127

static int watch_signals(sigset_t *ret_mask, int *ret_fd)
{
    static const int signals[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t set;
    int fd;

    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        sigaddset(&set, signals[i]);
    sigprocmask(SIG_BLOCK, &set, ret_mask);
    fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (fd < 0)
        return report_failure(STATUS_ERROR, "cannot watch for signals: %s", strerror(errno));
    *ret_fd = fd;
    return STATUS_OK;
}

static int report_start(const char *program, int error)
{
    if (error == ENOENT)
        return report_failure(STATUS_NOT_FOUND, "cannot run %s: there is no such command", program);
    return report_failure(STATUS_NOT_EXECUTABLE, "cannot run %s: %s", program, strerror(error));
}

/* Waits for the command's end and passes signals on to it. */
static int wait_for_command(struct session *session, pid_t pid, int signal_fd)
{
    for (;;) {
        struct signalfd_siginfo info;
        int wait_status;

        if (waitpid(pid, &wait_status, WNOHANG) > 0)
            return child_exit_status(wait_status);
        session_check(session);
        if (read(signal_fd, &info, sizeof(info)) != sizeof(info))
            continue;
        /* What is typed on the terminal has reached the command already; its hang-up
         * has not if we lead the session. */
        if (info.ssi_signo != SIGCHLD && (info.ssi_code != SI_KERNEL || info.ssi_signo == SIGHUP))
            kill(pid, (int)info.ssi_signo);
    }
}

static int run_command(struct session *session, char *const *argv, const sigset_t *mask,
                       int signal_fd)
{
    const struct child_variable variables[] = {
        {"BUSD_ADDRESS", session->address},
        {NULL, NULL},
    };
    struct child_setup setup = CHILD_SETUP_INIT;
    pid_t pid;
    int r;

    setup.argv = argv;
    setup.mask = mask;
    setup.variables = variables;
    r = child_spawn(&setup, &pid);
    if (r < 0)
        return report_start(argv[0], -r);
    return wait_for_command(session, pid, signal_fd);
}

static int run(struct cli *cli, const struct arguments *arguments)
{
    CLEANUP(owned_fd) int signal_fd = -1;
    struct session session = {0};
    sigset_t mask;
    int r;

    r = watch_signals(&mask, &signal_fd);
    if (!r)
        r = session_start(&session, arguments_value(arguments, "busd"), &mask, signal_fd);
    if (!r)
        r = run_command(&session, arguments->to_run, &mask, signal_fd);
    session_stop(&session);
    return r;
}

const struct command command_run_session = {
    .name = "run-session",
    .synopsis = "[--busd PATH] -- CMD...",
    .summary = "run a command with a private bus of its own",
    .help = "Starts a bus in a new private directory, runs CMD with BUSD_ADDRESS set to\n"
            "it, and when CMD ends stops the bus and removes the directory. SIGINT,\n"
            "SIGTERM, SIGHUP and SIGQUIT are passed on to CMD.\n"
            "\n"
            "  --busd PATH   the daemon to start (default: $BUSD_BIN, the one that was\n"
            "                built or installed with this program, or the one in PATH)\n"
            "\n"
            "Exit status: that of CMD, 128 + N if signal N ended it; 127 if it was not\n"
            "found, 126 if it could not be run; 3 if the bus did not start.\n"
            "\n"
            "Examples:\n"
            "  busctl-lite run-session -- bash\n"
            "  busctl-lite run-session -- sh -c 'my-service & busctl-lite list'\n",
    .options = (const struct option_row[]){{"busd", "PATH"}, {NULL, NULL}},
    .runs_command = true,
    .run = run,
};
