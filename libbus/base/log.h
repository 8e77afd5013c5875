/* SPDX-License-Identifier: MIT */
/*
 * The daemon's log: one escaped line per event on standard error. Under a
 * service manager whose journal reads standard error (JOURNAL_STREAM is set) each
 * line begins with its priority as sd-daemon(3) says, else with the program's name.
 *
 * Writing never blocks for long, never fails for the caller, and never shows
 * message bodies. What a client can cause is logged through log_limited(): a
 * bucket of LOG_BURST lines, refilled by LOG_RATE a second, and a line that
 * counts what was left out.
 */
#ifndef LIBBUS_BASE_LOG_H
#define LIBBUS_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

/* The values are syslog's priorities. */
enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
};

#define LOG_BURST    50
#define LOG_RATE     5
#define LOG_LINE_MAX 1024

struct log {
    enum log_level level;
    bool journal;
    uint64_t refilled; /* monotonic milliseconds */
    unsigned tokens;
    uint64_t suppressed;
};

void log_init(struct log *log, enum log_level level);

/* Longer lines are cut at LOG_LINE_MAX; control characters become '?'. */
void log_write(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void log_limited(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "error", "warning", "notice", "info", "debug"; false if it is none of them. */
bool log_level_parse(const char *name, enum log_level *ret_level);

#endif
