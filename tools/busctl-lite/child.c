/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/busctl-lite/owned.h"

static int redirect(int fd, int standard_fd)
{
    return fd < 0 || dup2(fd, standard_fd) >= 0 ? 0 : -1;
}

static int prepare(const struct child_setup *setup, pid_t parent)
{
    if (setup->death_signal) {
        if (prctl(PR_SET_PDEATHSIG, setup->death_signal) < 0)
            return -1;
        if (getppid() != parent) /* it died before we asked */
            _exit(EXIT_FAILURE);
    }
    if (setup->own_session && setsid() < 0)
        return -1;
    if (setup->own_group && setpgid(0, 0) < 0)
        return -1;
    if (redirect(setup->stdin_fd, STDIN_FILENO) < 0 ||
        redirect(setup->stdout_fd, STDOUT_FILENO) < 0 ||
        redirect(setup->stderr_fd, STDERR_FILENO) < 0)
        return -1;
    if (setup->kept_fd >= 0 && fcntl(setup->kept_fd, F_SETFD, 0) < 0)
        return -1;
    for (const struct child_variable *v = setup->variables; v && v->name; v++) {
        if (setenv(v->name, v->value, 1) < 0)
            return -1;
    }
    return setup->mask ? sigprocmask(SIG_SETMASK, setup->mask, NULL) : 0;
}

static void become(const struct child_setup *setup, pid_t parent, int error_fd)
{
    ssize_t written;
    int error;

    if (prepare(setup, parent) == 0)
        execvp(setup->argv[0], setup->argv);
    error = errno;
    written = write(error_fd, &error, sizeof(error));
    _exit(written == sizeof(error) ? EXIT_FAILURE : EXIT_FAILURE + 1);
}

int child_spawn(const struct child_setup *setup, pid_t *ret_pid)
{
    CLEANUP(owned_fd) int read_end = -1;
    CLEANUP(owned_fd) int write_end = -1;
    pid_t parent = getpid();
    int ends[2];
    int error = 0;
    ssize_t n;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    read_end = ends[0];
    write_end = ends[1];
    pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        become(setup, parent, write_end);
    close(TAKE_FD(write_end));
    /* The pipe closes when the program has been executed, or brings the reason. */
    do
        n = read(read_end, &error, sizeof(error));
    while (n < 0 && errno == EINTR);
    if (n == sizeof(error)) {
        child_wait(pid);
        return -error;
    }
    *ret_pid = pid;
    return 0;
}

int child_wait(pid_t pid)
{
    int wait_status = 0;

    while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR)
        ;
    return wait_status;
}

int child_exit_status(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

int memory_file(const char *text, size_t size)
{
    CLEANUP(owned_fd) int fd = memfd_create("busctl-lite", MFD_CLOEXEC);

    if (fd < 0)
        return -errno;
    while (size > 0) {
        ssize_t n = write(fd, text, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        text += n;
        size -= (size_t)n;
    }
    if (lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    return TAKE_FD(fd);
}
