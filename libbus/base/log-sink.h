/* SPDX-License-Identifier: MIT */
/*
 * Where the lines of a log go: a file descriptor, or the journal's socket. A sink never
 * waits, whatever is at the other end: a pipe that nobody reads, a terminal that has
 * been stopped, a journal that hangs. What it cannot take at once is lost, and the
 * caller told.
 *
 * The file descriptor is shared with other programs, so it is left as it is: for pipes
 * and terminals a way of its own to the same end is opened.
 */
#ifndef LIBBUS_BASE_LOG_SINK_H
#define LIBBUS_BASE_LOG_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

enum log_sink_kind {
    LOG_SINK_FILE,   /* write(2) does not wait, or is non-blocking */
    LOG_SINK_SOCKET, /* send(2) with MSG_DONTWAIT */
    LOG_SINK_POLLED, /* write(2) once poll(2) says that there is room */
};

struct log_sink {
    enum log_sink_kind kind;
    int fd;
    bool owned;
    bool torn;  /* the last line was taken in part: the next one begins with a newline */
    int socket; /* for the journal; -1: there is none */
    struct sockaddr_un journal;
    socklen_t journal_size;
};

/* `fd` is borrowed. */
void log_sink_init(struct log_sink *sink, int fd);
void log_sink_deinit(struct log_sink *sink);

/* Whether $JOURNAL_STREAM says that this file descriptor leads to the journal. */
bool log_sink_is_journal(int fd);

/* Sends to the journal at this path from now on. False if there is no socket to be had
 * for it. */
bool log_sink_open_journal(struct log_sink *sink, const char *path);

/* One line with its newline. False: it is lost. */
bool log_sink_write(struct log_sink *sink, const char *line, size_t size);

/* One record of the journal's native protocol. 0, or -errno: -EAGAIN, and the record is
 * lost, or the journal is not there. */
int log_sink_send(struct log_sink *sink, const void *record, size_t size);

#endif
