/* SPDX-License-Identifier: MIT */
#include "tests/support/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t process_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static DIR *open_fd_directory(pid_t pid)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    return opendir(path);
}

unsigned process_open_fds(pid_t pid)
{
    DIR *directory = open_fd_directory(pid);
    unsigned count = 0;

    if (!directory)
        return 0;
    while (readdir(directory))
        count++;
    closedir(directory);
    /* "." and "..", and the directory itself if it is our own. */
    return count - 2 - (pid == getpid());
}

bool process_limit_fds(pid_t pid, size_t room)
{
    struct rlimit limit;
    char path[64];
    rlim_t fd = 0;

    if (prlimit(pid, RLIMIT_NOFILE, NULL, &limit) < 0)
        return false;
    limit.rlim_cur = limit.rlim_max;
    if (room != SIZE_MAX) {
        /* There may be gaps: the limit is the number of the first one too many. */
        for (size_t free = 0; free <= room; fd++) {
            snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, (int)fd);
            free += faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0;
        }
        limit.rlim_cur = fd - 1;
    }
    return prlimit(pid, RLIMIT_NOFILE, &limit, NULL) == 0;
}

void process_print_fds(pid_t pid)
{
    DIR *directory = open_fd_directory(pid);
    struct dirent *entry;

    if (!directory)
        return;
    while ((entry = readdir(directory))) {
        char target[256];
        ssize_t size = readlinkat(dirfd(directory), entry->d_name, target, sizeof(target));
        if (size > 0)
            fprintf(stderr, "  fd %s: %.*s\n", entry->d_name, (int)size, target);
    }
    closedir(directory);
}

/* The sum of all numbers that follow one of two words at the start of a line. */
static uint64_t sum_fields(const char *path, const char *first, const char *second)
{
    FILE *file = fopen(path, "re");
    char line[256];
    uint64_t sum = 0;

    if (!file)
        return 0;
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, first, strlen(first)) == 0 || strncmp(line, second, strlen(second)) == 0)
            sum += strtoull(strchr(line, ':') + 1, NULL, 10);
    fclose(file);
    return sum;
}

uint64_t process_context_switches(pid_t pid)
{
    char path[320];
    uint64_t sum = 0;
    struct dirent *entry;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *directory = opendir(path);
    if (!directory)
        return 0;
    while ((entry = readdir(directory))) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%s/status", (int)pid, entry->d_name);
        sum += sum_fields(path, "voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:");
    }
    closedir(directory);
    return sum;
}

unsigned process_threads(pid_t pid)
{
    char path[320];

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    return (unsigned)sum_fields(path, "Threads:", "Threads:");
}

uint64_t process_cpu_ns(pid_t pid)
{
    struct timespec used = {0};
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) == 0)
        clock_gettime(clock, &used);
    return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

uint64_t process_resident(pid_t pid)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    return sum_fields(path, "VmRSS:", "VmRSS:");
}

bool process_wait(pid_t pid, uint64_t timeout_ms, int *ret_status)
{
    uint64_t end = process_now() + timeout_ms;

    for (;;) {
        pid_t result = waitpid(pid, ret_status, WNOHANG);
        if (result == pid)
            return true;
        if (result < 0 && errno != EINTR)
            return false;
        if (process_now() >= end)
            return false;
        nanosleep(&(struct timespec){0, 500000}, NULL);
    }
}
