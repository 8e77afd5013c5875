/* SPDX-License-Identifier: MIT */
#include "tests/faults/startup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "tests/faults/script.h"
#include "tests/support/busd.h"
#include "tests/support/process.h"

#define START_MS 20000
#define STOP_MS  20000

void startup_preload(bool on)
{
    const char *before = getenv("ASAN_OPTIONS");
    char sanitizer[512];

    if (!on) {
        unsetenv("LD_PRELOAD");
        return;
    }
    setenv("LD_PRELOAD", FAULTS_LIBRARY, 1);
    /* The sanitizer wants to be the first library, but it does as the second one, too. */
    if (!before || !strstr(before, "verify_asan_link_order")) {
        snprintf(sanitizer, sizeof(sanitizer), "%s%sverify_asan_link_order=0", before ? before : "",
                 before ? ":" : "");
        setenv("ASAN_OPTIONS", sanitizer, 1);
    }
}

struct start {
    char directory[64];
    char path[80];
    char log[80];
    pid_t pid;
    int ready_fd;
};

static _Noreturn void execute(const struct start *start, int ready_fd)
{
    char option[40];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(option, sizeof(option), "--print-address=%d", ready_fd);
    int fd = open(start->log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
        _exit(126);
    fcntl(ready_fd, F_SETFD, 0);
    startup_preload(true);
    const char *argv[] = {busd_binary(),  "--address",    start->path,    option, script_args[0],
                          script_args[1], script_args[2], script_args[3], NULL};
    execv(argv[0], (char **)(uintptr_t)argv);
    _exit(127);
}

static bool begin(struct start *start)
{
    int ends[2];

    *start = (struct start){.directory = "/tmp/busd-faults-XXXXXX"};
    if (!mkdtemp(start->directory) || pipe2(ends, O_CLOEXEC) < 0)
        return false;
    snprintf(start->path, sizeof(start->path), "%s/bus", start->directory);
    snprintf(start->log, sizeof(start->log), "%s/log", start->directory);
    start->pid = fork();
    if (start->pid == 0)
        execute(start, ends[1]);
    close(ends[1]);
    start->ready_fd = ends[0];
    return start->pid > 0;
}

/* Whether it has printed its address, rather than ended. */
static bool is_ready(const struct start *start)
{
    struct pollfd wait = {.fd = start->ready_fd, .events = POLLIN};
    char byte;

    return poll(&wait, 1, START_MS) > 0 && read(start->ready_fd, &byte, 1) == 1;
}

static bool has_logged(const struct start *start)
{
    char text[8];
    CLEANUP(cleanup_close) int fd = open(start->log, O_RDONLY | O_CLOEXEC);

    return read(fd, text, sizeof(text)) >= 5 && strncmp(text, "busd:", 5) == 0;
}

static void serve(const struct start *start, struct fault_control *control, char *complaint)
{
    struct world world;

    control->armed = false;
    world_init(&world, start->path, 5000);
    script_round_trip(&world);
    world_deinit(&world);
    snprintf(complaint, STARTUP_COMPLAINT, "%s", world.complaint);
    kill(start->pid, SIGTERM);
}

static void clean_up(const struct start *start, char *complaint)
{
    char lock[96];

    snprintf(lock, sizeof(lock), "%s.lock", start->path);
    unlink(start->log);
    /* A lock file alone is in nobody's way, but a socket is. */
    if (unlink(start->path) == 0 && !complaint[0])
        snprintf(complaint, STARTUP_COMPLAINT, "its socket was left behind");
    unlink(lock);
    rmdir(start->directory);
    close(start->ready_fd);
}

static void print_log(const struct start *start)
{
    char text[4096];
    CLEANUP(cleanup_close) int fd = open(start->log, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof(text));

    if (n > 0)
        fprintf(stderr, "its log:\n%.*s\n", (int)n, text);
}

void startup_run(struct fault_control *control, char complaint[STARTUP_COMPLAINT])
{
    struct start start;
    int status = 0;

    if (!begin(&start)) {
        snprintf(complaint, STARTUP_COMPLAINT, "cannot run busd: %s", strerror(errno));
        return;
    }
    bool ready = is_ready(&start);
    if (ready)
        serve(&start, control, complaint);
    if (!process_wait(start.pid, STOP_MS, &status)) {
        snprintf(complaint, STARTUP_COMPLAINT, "busd neither starts nor ends");
        kill(start.pid, SIGKILL);
        process_wait(start.pid, STOP_MS, &status);
    } else if (!WIFEXITED(status)) {
        snprintf(complaint, STARTUP_COMPLAINT, "busd was killed by signal %d", WTERMSIG(status));
    } else if (ready && WEXITSTATUS(status) != 0 && !complaint[0]) {
        snprintf(complaint, STARTUP_COMPLAINT, "busd ended with status %d", WEXITSTATUS(status));
    } else if (!ready && WEXITSTATUS(status) != 1) {
        snprintf(complaint, STARTUP_COMPLAINT, "busd did not start, and ended with status %d",
                 WEXITSTATUS(status));
    } else if (!ready && !has_logged(&start)) {
        snprintf(complaint, STARTUP_COMPLAINT, "busd did not start, and did not say why");
    }
    if (complaint[0])
        print_log(&start);
    clean_up(&start, complaint);
}
