/* SPDX-License-Identifier: MIT */
#include "libbus/base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libbus/base/clock.h"
#include "libbus/base/macros.h"

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning", [LOG_LEVEL_NOTICE] = "notice",
    [LOG_LEVEL_INFO] = "info",   [LOG_LEVEL_DEBUG] = "debug",
};

void log_init(struct log *log, enum log_level level)
{
    *log = (struct log){
        .level = level,
        .journal = getenv("JOURNAL_STREAM") != NULL,
        .refilled = clock_monotonic_ms(),
        .tokens = LOG_BURST,
    };
}

static void log_line(const struct log *log, enum log_level level, const char *format, va_list args)
{
    char line[LOG_LINE_MAX];
    int prefix = log->journal ? snprintf(line, sizeof(line), "<%d>", level)
                              : snprintf(line, sizeof(line), "busd: %s: ", level_names[level]);
    int size = vsnprintf(line + prefix, sizeof(line) - (size_t)prefix, format, args);
    size_t end;

    if (size < 0)
        return;
    end = MIN((size_t)prefix + (size_t)size, sizeof(line) - 1);
    for (size_t i = 0; i < end; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[end] = '\n';
    /* A log that cannot be written has nobody to be told. */
    if (write(STDERR_FILENO, line, end + 1) < 0)
        return;
}

void log_write(struct log *log, enum log_level level, const char *format, ...)
{
    va_list args;

    if (level > log->level)
        return;
    va_start(args, format);
    log_line(log, level, format, args);
    va_end(args);
}

void log_limited(struct log *log, enum log_level level, const char *format, ...)
{
    va_list args;

    if (level > log->level)
        return;

    uint64_t now = clock_monotonic_ms();
    uint64_t refill = (now - log->refilled) * LOG_RATE / 1000;
    if (refill > 0) {
        log->tokens = (unsigned)MIN(log->tokens + refill, (uint64_t)LOG_BURST);
        log->refilled = now;
    }
    if (log->tokens == 0) {
        log->suppressed++;
        return;
    }
    log->tokens--;
    if (log->suppressed > 0) {
        log_write(log, level, "%" PRIu64 " lines like these were left out", log->suppressed);
        log->suppressed = 0;
    }
    va_start(args, format);
    log_line(log, level, format, args);
    va_end(args);
}

bool log_level_parse(const char *name, enum log_level *ret_level)
{
    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        if (strcmp(name, level_names[level]) == 0) {
            *ret_level = (enum log_level)level;
            return true;
        }
    }
    return false;
}
