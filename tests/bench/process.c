/* SPDX-License-Identifier: MIT */
#include "tests/bench/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libbus/base/clock.h"

static cpu_set_t all_cores;

void process_init(void)
{
    struct rlimit files;

    sched_getaffinity(0, sizeof(all_cores), &all_cores);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

unsigned process_cores(void)
{
    return (unsigned)CPU_COUNT(&all_cores);
}

pid_t process_fork(void)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid < 0) {
        perror("bench: fork");
        exit(EXIT_FAILURE);
    }
    if (pid == 0) {
        /* The harness has handlers of its own. */
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(EXIT_FAILURE);
    }
    return pid;
}

void process_end(pid_t pid, int signal)
{
    if (pid <= 0)
        return;
    kill(pid, signal);
    kill(pid, SIGCONT);
    for (int i = 0; i < 2000; i++) {
        if (waitpid(pid, NULL, WNOHANG) != 0)
            return;
        usleep(1000);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static cpu_set_t first_core(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &all_cores)) {
            CPU_SET(i, &set);
            break;
        }
    }
    return set;
}

/* Calls `visit` for every thread of the process. */
static void each_thread(pid_t pid, void (*visit)(pid_t thread, void *userdata), void *userdata)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/task", (int)(pid ? pid : getpid()));
    DIR *directory = opendir(path);
    if (!directory)
        return;
    for (struct dirent *entry; (entry = readdir(directory));)
        if (entry->d_name[0] != '.')
            visit(atoi(entry->d_name), userdata);
    closedir(directory);
}

static void pin_thread(pid_t thread, void *userdata)
{
    sched_setaffinity(thread, sizeof(cpu_set_t), userdata);
}

void process_pin(pid_t pid, bool pinned)
{
    cpu_set_t set = pinned ? first_core() : all_cores;

    each_thread(pid, pin_thread, &set);
}

double process_cpu(pid_t pid)
{
    struct timespec used;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
        return 0;
    return (double)used.tv_sec * 1e6 + (double)used.tv_nsec / 1e3;
}

/* The sum of the numbers behind these keys in a file of "key: number" lines. */
static uint64_t read_keys(const char *path, const char *key1, const char *key2)
{
    uint64_t sum = 0;
    char line[256];
    FILE *file = fopen(path, "re");

    if (!file)
        return 0;
    while (fgets(line, sizeof(line), file)) {
        const char *colon = strchr(line, ':');
        size_t size = colon ? (size_t)(colon - line) : 0;
        if (colon && ((size == strlen(key1) && !memcmp(line, key1, size)) ||
                      (size == strlen(key2) && !memcmp(line, key2, size))))
            sum += strtoull(colon + 1, NULL, 10);
    }
    fclose(file);
    return sum;
}

double process_resident(pid_t pid)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    return (double)read_keys(path, "VmRSS", "");
}

static void add_switches(pid_t thread, void *userdata)
{
    uint64_t *sum = userdata;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/status", (int)thread);
    *sum += read_keys(path, "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches");
}

uint64_t process_switches(pid_t pid)
{
    uint64_t sum = 0;

    each_thread(pid, add_switches, &sum);
    return sum;
}

void process_exec(const char *const *arguments)
{
    char *copy[32];
    size_t count = 0;

    if (!getenv("BENCH_VERBOSE")) {
        int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(nowhere, STDOUT_FILENO);
        dup2(nowhere, STDERR_FILENO);
    }
    while (count < 31 && arguments[count]) {
        copy[count] = strdup(arguments[count]);
        count++;
    }
    copy[count] = NULL;
    execvp(copy[0], copy);
    perror(copy[0]);
    _exit(127);
}
