/* SPDX-License-Identifier: MIT */
#include "libbus/base/log-sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libbus/base/macros.h"

/* An open file of our own, so that O_NONBLOCK is nobody else's business. -1 where that
 * cannot be had: another user's pipe, or no /proc. */
static int reopen(int fd)
{
    char path[32];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

void log_sink_init(struct log_sink *sink, int fd)
{
    struct stat status;
    int flags = fcntl(fd, F_GETFL);

    *sink = (struct log_sink){.kind = LOG_SINK_FILE, .fd = fd, .socket = -1};
    /* No rights are won by opening: what is for reading stays so. */
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || fstat(fd, &status) < 0)
        return;
    if (S_ISSOCK(status.st_mode)) {
        sink->kind = LOG_SINK_SOCKET;
    } else if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) {
        int own = reopen(fd);
        if (own >= 0) {
            sink->fd = own;
            sink->owned = true;
        } else {
            sink->kind = LOG_SINK_POLLED;
        }
    }
}

void log_sink_deinit(struct log_sink *sink)
{
    if (sink->owned)
        close(TAKE_FD(sink->fd));
    sink->owned = false;
    if (sink->socket >= 0)
        close(TAKE_FD(sink->socket));
}

bool log_sink_is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat status;

    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(fd, &status) == 0 &&
           status.st_dev == device && status.st_ino == inode;
}

bool log_sink_open_journal(struct log_sink *sink, const char *path)
{
    size_t size = strlen(path);

    if (size >= sizeof(sink->journal.sun_path))
        return false;
    sink->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sink->socket < 0)
        return false;
    sink->journal = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(sink->journal.sun_path, path, size);
    sink->journal_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + 1);
    return true;
}

static ssize_t write_now(const struct log_sink *sink, const char *data, size_t size)
{
    struct pollfd room = {.fd = sink->fd, .events = POLLOUT};

    if (sink->kind == LOG_SINK_SOCKET)
        return send(sink->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    /* A pipe that is writable takes PIPE_BUF bytes, unless another writer is quicker. */
    if (sink->kind == LOG_SINK_POLLED && (poll(&room, 1, 0) != 1 || !(room.revents & POLLOUT)))
        return -1;
    return write(sink->fd, data, size);
}

bool log_sink_write(struct log_sink *sink, const char *line, size_t size)
{
    if (sink->torn && write_now(sink, "\n", 1) != 1)
        return false;
    sink->torn = false;
    ssize_t n = write_now(sink, line, size);
    sink->torn = n > 0 && (size_t)n < size;
    return n == (ssize_t)size;
}

int log_sink_send(struct log_sink *sink, const void *record, size_t size)
{
    /* With its address each time, because the journal can be restarted. */
    ssize_t n = sendto(sink->socket, record, size, MSG_DONTWAIT | MSG_NOSIGNAL,
                       (const struct sockaddr *)&sink->journal, sink->journal_size);
    return n < 0 ? -errno : 0;
}
