/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/fds.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/report.h"

#define COPY_SIZE      65536
#define DIRECTORY_MODE 0700
#define FILE_MODE      0600

static int push_result(const struct cli *cli, const char *what, int r)
{
    if (r == -E2BIG)
        return report_usage(cli->verb, "--fd '%s': a message holds no more file descriptors", what);
    return r < 0 ? report_failure(STATUS_ERROR, "cannot add --fd %s: %s", what, strerror(-r))
                 : STATUS_OK;
}

static int push_number(const struct cli *cli, struct bus_message *message, const char *what)
{
    unsigned long number;
    char *end;

    errno = 0;
    number = strtoul(what + 1, &end, 10);
    if (!isdigit((unsigned char)what[1]) || *end || errno || number > INT32_MAX)
        return report_usage(cli->verb, "--fd '%s': @ is followed by a number, such as @3", what);
    if (fcntl((int)number, F_GETFD) < 0)
        return report_usage(cli->verb,
                            "--fd '%s': %lu is not open; the shell opens it with '%lu<FILE'", what,
                            number, number);
    return push_result(cli, what, bus_message_push_dup_fd(message, (int)number));
}

int fds_push(const struct cli *cli, struct bus_message *message, const char *what)
{
    int fd;

    if (what[0] == '@')
        return push_number(cli, message, what);
    fd = open(what, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return report_usage(cli->verb, "--fd: cannot open %s: %s", what, strerror(errno));
    return push_result(cli, what, bus_message_push_fd(message, fd));
}

int fds_prepare_directory(const char *directory)
{
    CLEANUP(owned_text) char *first = NULL;

    if (mkdir(directory, DIRECTORY_MODE) < 0 && errno != EEXIST)
        return report_failure(STATUS_ERROR, "cannot make the directory %s: %s", directory,
                              strerror(errno));
    if (asprintf(&first, "%s/fd-0", directory) < 0) {
        first = NULL;
        return report_no_memory();
    }
    if (access(first, F_OK) == 0)
        return report_failure(STATUS_ERROR, "%s is there already and would be overwritten", first);
    if (access(directory, W_OK | X_OK) < 0)
        return report_failure(STATUS_ERROR, "cannot write to the directory %s: %s", directory,
                              strerror(errno));
    return STATUS_OK;
}

static int write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Copies from the start of a regular file, whatever its offset says (it is shared
 * with whoever sent it), or else to the end of what comes. */
static int copy(int from, int to, bool regular, uint64_t *ret_size)
{
    CLEANUP(owned_text) char *buffer = malloc(COPY_SIZE);
    uint64_t size = 0;

    if (!buffer)
        return -ENOMEM;
    for (;;) {
        ssize_t n =
            regular ? pread(from, buffer, COPY_SIZE, (off_t)size) : read(from, buffer, COPY_SIZE);
        int r;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        r = write_all(to, buffer, (size_t)n);
        if (r < 0)
            return r;
        size += (uint64_t)n;
    }
    *ret_size = size;
    return 0;
}

static int save_one(const struct cli *cli, int fd, const char *path)
{
    CLEANUP(owned_fd) int file = -1;
    struct stat state;
    uint64_t size = 0;
    int r;

    if (fstat(fd, &state) < 0)
        return report_failure(STATUS_ERROR, "cannot tell what the bus passed for %s: %s", path,
                              strerror(errno));
    if (S_ISDIR(state.st_mode))
        return report_failure(STATUS_ERROR, "what came for %s is a directory: not saved", path);
    file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    if (file < 0 && errno == EEXIST)
        return report_failure(STATUS_ERROR, "%s is there already: not overwritten", path);
    if (file < 0)
        return report_failure(STATUS_ERROR, "cannot make %s: %s", path, strerror(errno));
    r = copy(fd, file, S_ISREG(state.st_mode), &size);
    if (r < 0) {
        unlink(path);
        return report_failure(STATUS_ERROR, "cannot copy what came to %s: %s", path, strerror(-r));
    }
    if (close(TAKE_FD(file)) < 0)
        return report_failure(STATUS_ERROR, "cannot write %s: %s", path, strerror(errno));
    report_note(cli, "saved %s, %" PRIu64 " bytes", path, size);
    return STATUS_OK;
}

int fds_save(const struct cli *cli, struct bus_message *message, const char *directory)
{
    unsigned count = bus_message_fd_count(message);
    int worst = STATUS_OK;

    for (unsigned i = 0; i < count; i++) {
        CLEANUP(owned_text) char *path = NULL;
        int r;

        if (asprintf(&path, "%s/fd-%u", directory, i) < 0) {
            path = NULL;
            return report_no_memory();
        }
        r = save_one(cli, bus_message_peek_fd(message, i), path);
        worst = r ? r : worst;
    }
    return worst;
}
