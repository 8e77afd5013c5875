/* SPDX-License-Identifier: MIT */
#include "tests/support/busd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "tests/support/process.h"

#define START_MS 20000
#define STOP_MS  20000
#define BACK_MS  1000
#define ARGS_MAX 32

const char *busd_binary(void)
{
    const char *binary = getenv("BUSD_BINARY");

    return binary ? binary : BUSD_BINARY;
}

static void config_path(const struct busd *busd, char *path, size_t size)
{
    snprintf(path, size, "%s/config.json", busd->directory);
}

static int failed(const struct busd *busd, const char *what)
{
    fprintf(stderr, "busd (pid %d): %s\n", (int)busd->pid, what);
    busd_print_log(busd);
    return -1;
}

static _Noreturn void run(const struct busd *busd, const char *const *args, int ready_fd)
{
    const char *argv[ARGS_MAX] = {busd_binary(), "--address", busd->path};
    char option[32], config[80];
    size_t count = 3;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (busd->configured) {
        config_path(busd, config, sizeof(config));
        argv[1] = "--config";
        argv[2] = config;
    }
    snprintf(option, sizeof(option), "--print-address=%d", ready_fd);
    argv[count++] = option;
    const char *more = getenv("BUSD_TEST_OPTION");
    if (more)
        argv[count++] = more;
    while (args && *args && count < ARGS_MAX - 1)
        argv[count++] = *args++;
    int fd = open(busd->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
        _exit(126);
    fcntl(ready_fd, F_SETFD, 0);
    execv(argv[0], (char **)(uintptr_t)argv);
    dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

/* The address it prints, up to the newline. */
static int read_address(struct busd *busd, int fd)
{
    uint64_t end = process_now() + START_MS;
    size_t size = 0;

    while (size < sizeof(busd->address)) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        uint64_t now = process_now();
        if (now >= end || poll(&wait, 1, (int)(end - now)) <= 0)
            return failed(busd, "did not print its address in time");
        ssize_t n = read(fd, busd->address + size, sizeof(busd->address) - size);
        if (n <= 0)
            return failed(busd, "ended without printing its address");
        size += (size_t)n;
        if (busd->address[size - 1] == '\n') {
            busd->address[size - 1] = '\0';
            return 0;
        }
    }
    return failed(busd, "printed an address that is too long");
}

/* It closes what it has printed its address to; only then is what it has open what it
 * keeps. */
static int wait_for_end(const struct busd *busd, int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    char more[256];

    /* Its other addresses, if it has any, and the end. */
    while (poll(&wait, 1, START_MS) > 0)
        if (read(fd, more, sizeof(more)) <= 0)
            return 0;
    return failed(busd, "keeps what it has printed its address to open");
}

int busd_configure(const struct busd *busd, const char *config)
{
    char path[80];

    config_path(busd, path, sizeof(path));
    FILE *file = fopen(path, "we");
    if (!file) {
        perror(path);
        return -1;
    }
    for (const char *p = config; *p; p++) {
        if (strncmp(p, "DIR", 3) == 0) {
            fputs(busd->directory, file);
            p += 2;
        } else {
            fputc(*p == '\'' ? '"' : *p, file);
        }
    }
    return fclose(file) == 0 ? 0 : -1;
}

/* Starts it in its directory, and waits until it listens. */
static int launch(struct busd *busd)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0) {
        perror("pipe2");
        return -1;
    }
    busd->pid = fork();
    if (busd->pid == 0)
        run(busd, busd->args, ends[1]);
    close(ends[1]);
    busd->ready_fd = ends[0];
    int r = busd->pid < 0 ? -1 : read_address(busd, ends[0]);
    if (r == 0)
        r = wait_for_end(busd, ends[0]);
    if (r < 0) {
        busd_kill(busd);
        return -1;
    }
    busd->fds = process_open_fds(busd->pid);
    return 0;
}

/* Ends it. 0 if it did as it should; else -1 and the reason on standard error. */
static int end(struct busd *busd, int signal)
{
    int status;

    kill(busd->pid, signal);
    if (!process_wait(busd->pid, STOP_MS, &status)) {
        kill(busd->pid, SIGKILL);
        process_wait(busd->pid, STOP_MS, &status);
        return failed(busd, "did not end after SIGTERM");
    }
    if (WIFSIGNALED(status) && signal != SIGKILL) {
        fprintf(stderr, "signal %d\n", WTERMSIG(status));
        return failed(busd, "was killed by a signal");
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
        fprintf(stderr, "status %d\n", WEXITSTATUS(status));
        return failed(busd, "ended with an error");
    }
    return 0;
}

int busd_start(struct busd *busd, const char *const *args)
{
    return busd_start_configured(busd, NULL, args);
}

int busd_start_configured(struct busd *busd, const char *config, const char *const *args)
{
    *busd = (struct busd){.directory = "/tmp/busd-test-XXXXXX",
                          .ready_fd = -1,
                          .args = args,
                          .configured = config != NULL};
    if (!mkdtemp(busd->directory)) {
        perror("busd_start");
        return -1;
    }
    snprintf(busd->path, sizeof(busd->path), "%s/bus", busd->directory);
    snprintf(busd->lock, sizeof(busd->lock), "%s.lock", busd->path);
    snprintf(busd->log, sizeof(busd->log), "%s/log", busd->directory);
    if (config && (chmod(busd->directory, 0711) < 0 || busd_configure(busd, config) < 0)) {
        perror("busd_start");
        return -1;
    }
    return launch(busd);
}

int busd_restart(struct busd *busd, int signal)
{
    int r = busd->pid > 0 ? end(busd, signal) : 0;

    busd->pid = 0;
    cleanup_close(&busd->ready_fd);
    busd->ready_fd = -1;
    return r < 0 ? r : launch(busd);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    return remove(path);
}

static void remove_state(const struct busd *busd)
{
    char path[80];

    snprintf(path, sizeof(path), "%s/state", busd->directory);
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Removes the directory; says so if more than the log was in it. */
static bool clean_up(struct busd *busd)
{
    DIR *directory = opendir(busd->directory);
    struct dirent *entry;
    bool clean = true;

    while (directory && (entry = readdir(directory))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (strcmp(entry->d_name, "state") == 0) {
            remove_state(busd);
            continue;
        }
        bool ours = strcmp(entry->d_name, "config.json") == 0 && busd->configured;
        if (strcmp(entry->d_name, "log") != 0 && !ours) {
            fprintf(stderr, "busd left %s behind\n", entry->d_name);
            clean = false;
        }
        unlinkat(dirfd(directory), entry->d_name, 0);
    }
    if (directory)
        closedir(directory);
    rmdir(busd->directory);
    cleanup_close(&busd->ready_fd);
    busd->ready_fd = -1;
    busd->pid = 0;
    return clean;
}

int busd_stop(struct busd *busd)
{
    int r = busd->pid > 0 ? end(busd, SIGTERM) : 0;

    return clean_up(busd) ? r : -1;
}

void busd_kill(struct busd *busd)
{
    int status;

    if (busd->pid > 0) {
        kill(busd->pid, SIGKILL);
        process_wait(busd->pid, STOP_MS, &status);
    }
    unlink(busd->path);
    unlink(busd->lock);
    clean_up(busd);
}

void busd_abandon(const struct busd *busd)
{
    if (busd->pid > 0)
        kill(busd->pid, SIGKILL);
    unlink(busd->path);
    unlink(busd->lock);
    unlink(busd->log);
    rmdir(busd->directory);
}

bool busd_fds_are_back(const struct busd *busd, unsigned more)
{
    uint64_t end = process_now() + BACK_MS;
    unsigned now;

    while ((now = process_open_fds(busd->pid)) > busd->fds + more) {
        if (process_now() >= end) {
            fprintf(stderr, "busd has %u file descriptors open instead of %u:\n", now,
                    busd->fds + more);
            process_print_fds(busd->pid);
            return false;
        }
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    return now > 0 || failed(busd, "has ended by itself") == 0;
}

static char *read_log(const struct busd *busd)
{
    CLEANUP(cleanup_close) int fd = open(busd->log, O_RDONLY | O_CLOEXEC);
    char *text = calloc(1, 65537);
    size_t size = 0;
    ssize_t n;

    while (text && fd >= 0 && size < 65536 && (n = read(fd, text + size, 65536 - size)) > 0)
        size += (size_t)n;
    return text;
}

void busd_print_log(const struct busd *busd)
{
    CLEANUP(cleanup_free) char *text = read_log(busd);

    if (text && *text)
        fprintf(stderr, "its log:\n%s\n", text);
}

bool busd_has_logged(const struct busd *busd, const char *text)
{
    CLEANUP(cleanup_free) char *log = read_log(busd);

    return log && strstr(log, text);
}
