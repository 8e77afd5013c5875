/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/busctl-lite/child.h"
#include "tools/busctl-lite/cli.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/report.h"

#define DIRECTORY_NAME   "busd-session-XXXXXX"
#define DIRECTORY_MAX    96 /* so that the socket's path fits its 107 bytes */
#define START_TIMEOUT_MS 10000
#define STOP_TIMEOUT_MS  5000
#define STOP_STEP_NS     (2 * 1000 * 1000)

/* Our own directory's neighbours: installed programs lie side by side, built ones
 * in the folders of their sources. */
static const char *const neighbours[] = {"busd", "../../busd/busd", "../busd/busd"};

static int make_directory(struct session *session)
{
    const char *parents[] = {getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp"};
    int error = ENOENT;

    for (size_t i = 0; i < ARRAY_SIZE(parents); i++) {
        CLEANUP(owned_text) char *path = NULL;

        if (!parents[i] || parents[i][0] != '/' ||
            strlen(parents[i]) + sizeof("/" DIRECTORY_NAME) > DIRECTORY_MAX)
            continue;
        if (asprintf(&path, "%s/" DIRECTORY_NAME, parents[i]) < 0) {
            path = NULL;
            return report_no_memory();
        }
        if (mkdtemp(path)) {
            session->directory = TAKE(path);
            return STATUS_OK;
        }
        error = errno;
    }
    return report_failure(STATUS_ERROR, "cannot make a directory for the bus in /tmp: %s",
                          strerror(error));
}

/* The busd to run: $BUSD_BIN, a neighbour of ours, or whatever PATH finds. */
static char *find_busd(void)
{
    const char *chosen = getenv("BUSD_BIN");
    char own[PATH_MAX];
    ssize_t size;
    char *slash;

    if (chosen && chosen[0])
        return strdup(chosen);
    size = readlink("/proc/self/exe", own, sizeof(own) - 1);
    own[size > 0 ? size : 0] = '\0';
    slash = strrchr(own, '/');
    for (size_t i = 0; slash && i < ARRAY_SIZE(neighbours); i++) {
        char *path;
        struct stat state;

        if (asprintf(&path, "%.*s/%s", (int)(slash - own), own, neighbours[i]) < 0)
            return NULL;
        if (access(path, X_OK) == 0 && stat(path, &state) == 0 && S_ISREG(state.st_mode))
            return path;
        free(path);
    }
    return strdup("busd");
}

static int spawn_busd(struct session *session, char *busd, const sigset_t *mask, int *ret_ready_fd)
{
    CLEANUP(owned_text) char *print_option = NULL;
    CLEANUP(owned_fd) int read_end = -1;
    CLEANUP(owned_fd) int write_end = -1;
    struct child_setup setup = CHILD_SETUP_INIT;
    char address_option[] = "--address";
    int ends[2];
    int r;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return report_failure(STATUS_ERROR, "cannot make a pipe: %s", strerror(errno));
    read_end = ends[0];
    write_end = ends[1];
    if (asprintf(&print_option, "--print-address=%d", write_end) < 0) {
        print_option = NULL;
        return report_no_memory();
    }
    setup.argv = (char *[]){busd, address_option, session->address, print_option, NULL};
    setup.kept_fd = write_end;
    setup.mask = mask;
    setup.own_session = true; /* Ctrl-C is for the command, which still needs its bus */
    setup.death_signal = SIGTERM;
    r = child_spawn(&setup, &session->busd);
    if (r < 0)
        return report_failure(STATUS_CONNECTION,
                              "cannot run busd (%s): %s; name it with --busd PATH or BUSD_BIN",
                              busd, strerror(-r));
    *ret_ready_fd = TAKE_FD(read_end);
    return STATUS_OK;
}

/* Waits for the line that busd writes when it listens. */
static int wait_until_ready(const struct session *session, int ready_fd, int signal_fd)
{
    uint64_t deadline = clock_milliseconds() + START_TIMEOUT_MS;

    for (;;) {
        struct pollfd fds[] = {
            {.fd = ready_fd, .events = POLLIN},
            {.fd = signal_fd, .events = POLLIN},
        };
        uint64_t now = clock_milliseconds();
        int r = poll(fds, ARRAY_SIZE(fds), now < deadline ? (int)(deadline - now) : 0);

        if (r < 0 && errno != EINTR)
            return report_failure(STATUS_ERROR, "cannot poll: %s", strerror(errno));
        if (r == 0)
            return report_failure(STATUS_CONNECTION, "busd did not listen on %s within %d s",
                                  session->address, START_TIMEOUT_MS / 1000);
        if (r > 0 && fds[0].revents) {
            char byte;

            /* It writes the whole line at once; at the end of file it has ended. */
            if (read(ready_fd, &byte, 1) == 1)
                return STATUS_OK;
            return report_failure(STATUS_CONNECTION, "busd ended before it listened on %s",
                                  session->address);
        }
        if (r > 0 && fds[1].revents) {
            struct signalfd_siginfo info;

            if (read(signal_fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo != SIGCHLD)
                return 128 + (int)info.ssi_signo;
        }
    }
}

int session_start(struct session *session, const char *busd, const sigset_t *mask, int signal_fd)
{
    CLEANUP(owned_text) char *program = NULL;
    CLEANUP(owned_fd) int ready_fd = -1;
    int r;

    *session = (struct session){0};
    program = busd ? strdup(busd) : find_busd();
    if (!program)
        return report_no_memory();
    r = make_directory(session);
    if (r)
        return r;
    if (asprintf(&session->address, "unix:%s/bus", session->directory) < 0) {
        session->address = NULL;
        return report_no_memory();
    }
    r = spawn_busd(session, program, mask, &ready_fd);
    return r ? r : wait_until_ready(session, ready_fd, signal_fd);
}

void session_check(struct session *session)
{
    int wait_status;

    if (session->busd <= 0 || waitpid(session->busd, &wait_status, WNOHANG) <= 0)
        return;
    session->busd = 0;
    report_failure(STATUS_CONNECTION, "the bus ended early, with status %d",
                   child_exit_status(wait_status));
}

/* Removes what lies in the directory, which is ours alone and has no folders. */
static void remove_directory(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;

    while (directory && (entry = readdir(directory)))
        unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory)
        closedir(directory);
    rmdir(path);
}

void session_stop(struct session *session)
{
    uint64_t deadline = clock_milliseconds() + STOP_TIMEOUT_MS;

    if (session->busd > 0) {
        kill(session->busd, SIGTERM);
        while (waitpid(session->busd, NULL, WNOHANG) == 0) {
            struct timespec step = {.tv_nsec = STOP_STEP_NS};

            if (clock_milliseconds() >= deadline)
                kill(session->busd, SIGKILL);
            nanosleep(&step, NULL);
        }
    }
    if (session->directory)
        remove_directory(session->directory);
    free(session->directory);
    free(session->address);
}
