/* SPDX-License-Identifier: MIT */
/*
 * The daemon's log, on standard error: one line an event, of at most LOG_LINE_MAX bytes,
 * and nothing in it that could be taken for another line or for a terminal's commands:
 * what is not printable appears as \xNN, a backslash as two. What has to do with a client
 * has the form
 *
 *     busd: notice: cut: peer=:42 uid=1000 pid=77 reason="16 invalid lines in a row"
 *
 * Where standard error leads to the journal (JOURNAL_STREAM says so), the same goes to
 * the journal's own socket, with PRIORITY, PEER, UID, PID and REASON as fields; if that
 * is not there, as lines with a priority in front, as sd-daemon(3) says.
 *
 * Writing never waits, never fails for the caller and never shows message bodies. Lines
 * that clients cause are rationed, see libbus/base/ration.h: RATION_BURST for each user,
 * refilled by RATION_RATE a second, and a line that counts what was left out.
 */
#ifndef LIBBUS_BASE_LOG_H
#define LIBBUS_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libbus/base/log-sink.h"
#include "libbus/base/ration.h"
#include "libbus/base/span.h"

/* The values are syslog's priorities. */
enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
};

#define LOG_LINE_MAX 1024
#define LOG_JOURNAL  "/run/systemd/journal/socket"

struct log {
    enum log_level level;
    bool priorities; /* lines begin with "<5>", for a journal that reads standard error */
    struct log_sink sink;
    struct ration ration;
    uint64_t lost; /* lines that could not be written, not yet told */
};

/* Who a line is about. */
struct log_subject {
    struct span peer; /* its unique name; empty: it has none yet */
    uid_t uid;        /* (uid_t)-1: it is not known, and nor is the pid */
    pid_t pid;
};

/* Keeps JOURNAL_STREAM's word for its life. */
void log_init(struct log *log, enum log_level level);

/* Says what has been left out and not told yet. */
void log_deinit(struct log *log);

/* The daemon's own affairs: without a limit. */
void log_write(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What clients can cause but no one in particular is to blame for. */
void log_limited(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What has to do with a client, at the expense of its user. `event` is a word or two of
 * ours; the format is of the reason, and may be NULL. */
void log_about(struct log *log, enum log_level level, const struct log_subject *subject,
               const char *event, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* "error", "warning", "notice", "info", "debug"; false if it is none of them. */
bool log_level_parse(const char *name, enum log_level *ret_level);

#endif
