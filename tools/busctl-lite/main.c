/* SPDX-License-Identifier: MIT */
/*
 * busctl-lite: a bus from the command line.
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "tools/busctl-lite/arguments.h"
#include "tools/busctl-lite/cli.h"
#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/help.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/report.h"

static char stderr_buffer[BUFSIZ];

/* A closed standard descriptor must not become our connection to the bus. What
 * takes its place fails as a closed one does: stdin cannot be read, the others
 * cannot be written. */
static void fill_standard_fds(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            _exit(STATUS_ERROR);
    }
}

/* The dispositions that our parent may have changed decide how we end. */
static void restore_signals(void)
{
    sigset_t pipe_signal;

    signal(SIGPIPE, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigprocmask(SIG_UNBLOCK, &pipe_signal, NULL);
}

static int run(const struct arguments *arguments)
{
    struct cli cli;
    int r;

    if (arguments_has(arguments, "help"))
        return arguments->command ? help_command(arguments->command) : help_overview();
    if (arguments_has(arguments, "version"))
        return help_version();
    if (!arguments->command)
        return help_overview();
    r = cli_init(&cli, arguments);
    if (r)
        return r;
    r = arguments_check_operands(arguments);
    if (r)
        return r;
    return arguments->command->run(&cli, arguments);
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    int r;

    fill_standard_fds();
    restore_signals();
    setlocale(LC_CTYPE, "");
    setvbuf(stderr, stderr_buffer, _IOLBF, sizeof(stderr_buffer));

    r = arguments_parse(&arguments, argc, argv);
    if (!r)
        r = run(&arguments);
    arguments_deinit(&arguments);
    return r;
}
