/* SPDX-License-Identifier: MIT */
#include "tests/bench/crew.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libbus/base/clock.h"
#include "tests/bench/process.h"

#define MEMBERS_MAX 64

struct board *board;

static pid_t members[MEMBERS_MAX];
static size_t members_count;
static bool members_pinned;

void crew_init(void)
{
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) {
        perror("bench: shared memory");
        exit(EXIT_FAILURE);
    }
}

void crew_begin(bool pinned, pid_t broker)
{
    memset(board, 0, sizeof(*board));
    members_pinned = pinned;
    if (broker)
        process_pin(broker, pinned);
}

void crew_end(void)
{
    for (size_t i = 0; i < members_count; i++)
        process_end(members[i], SIGKILL);
    members_count = 0;
}

pid_t crew_fork(void)
{
    pid_t pid = process_fork();

    if (pid == 0) {
        process_pin(0, members_pinned);
    } else if (members_count == MEMBERS_MAX) {
        fputs("bench: too many processes\n", stderr);
        exit(EXIT_FAILURE);
    } else {
        members[members_count++] = pid;
    }
    return pid;
}

void crew_meet(unsigned phase)
{
    uint32_t now;

    board->ready++;
    futex_wake(&board->ready);
    while ((now = board->phase) < phase)
        futex_wait(&board->phase, now, -1);
}

void crew_go(unsigned phase)
{
    board->ready = 0;
    board->phase = phase;
    futex_wake(&board->phase);
}

/* Takes note of members that have ended; false when one did not end well. */
static bool reap(void)
{
    bool well = true;

    for (size_t i = 0; i < members_count; i++) {
        int status;
        if (members[i] == 0 || waitpid(members[i], &status, WNOHANG) != members[i])
            continue;
        members[i] = 0;
        if (status == 0)
            continue;
        well = false;
        if (!board->failure[0])
            snprintf(board->failure, sizeof(board->failure), "a client ended with %s %d",
                     WIFSIGNALED(status) ? "signal" : "status",
                     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
    return well;
}

static bool time_is_up(double limit)
{
    if (clock_seconds(CLOCK_MONOTONIC) < limit)
        return false;
    snprintf(board->failure, sizeof(board->failure), "it took too long");
    return true;
}

bool crew_await_ready(unsigned count, double seconds)
{
    double limit = clock_seconds(CLOCK_MONOTONIC) + seconds;
    uint32_t now;

    while ((now = board->ready) < count) {
        if (!reap() || time_is_up(limit))
            return false;
        futex_wait(&board->ready, now, 20);
    }
    return true;
}

static bool is_member(pid_t pid)
{
    for (size_t i = 0; i < members_count; i++)
        if (members[i] == pid)
            return true;
    return false;
}

bool crew_await_end(const pid_t *pids, size_t count, double seconds)
{
    double limit = clock_seconds(CLOCK_MONOTONIC) + seconds;

    for (;;) {
        size_t left = 0;
        if (!reap())
            return false;
        for (size_t i = 0; i < count; i++)
            left += is_member(pids[i]);
        if (left == 0)
            return true;
        if (time_is_up(limit))
            return false;
        usleep(1000);
    }
}

void fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(board->failure, sizeof(board->failure), format, args);
    va_end(args);
    _exit(EXIT_FAILURE);
}

void futex_wait(_Atomic uint32_t *word, uint32_t value, int timeout_ms)
{
    struct timespec timeout = {.tv_sec = timeout_ms / 1000,
                               .tv_nsec = (long)(timeout_ms % 1000) * 1000000};

    syscall(SYS_futex, word, FUTEX_WAIT, value, timeout_ms < 0 ? NULL : &timeout, NULL, 0);
}

void futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
