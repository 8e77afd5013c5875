/* SPDX-License-Identifier: MIT */
#include "libbus/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libbus/base/clock.h"
#include "libbus/base/macros.h"
#include "libbus/base/utf8.h"

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning", [LOG_LEVEL_NOTICE] = "notice",
    [LOG_LEVEL_INFO] = "info",   [LOG_LEVEL_DEBUG] = "debug",
};

/* ---------------------------------------------------------------- lines */

#define ELLIPSIS "..."
/* For the ellipsis, a closing quote and the newline. */
#define RESERVED (sizeof(ELLIPSIS) - 1 + 2)

struct line {
    size_t size;
    size_t message; /* where it begins, after "busd: notice: " */
    bool cut;
    char data[LOG_LINE_MAX];
};

/* All of it or nothing, and after that nothing more. */
static void put(struct line *line, const char *data, size_t size)
{
    line->cut = line->cut || size > sizeof(line->data) - RESERVED - line->size;
    if (line->cut)
        return;
    memcpy(line->data + line->size, data, size);
    line->size += size;
}

static void put_string(struct line *line, const char *string)
{
    put(line, string, strlen(string));
}

/* Whether a well-formed sequence may stand in a log: no control characters, of which
 * U+0080 to U+009F are some, no line separators, nothing that turns the direction of
 * writing around. */
static bool is_printable(const char *p, size_t size)
{
    const unsigned char *c = (const unsigned char *)p;

    if (size == 1)
        return c[0] >= 0x20 && c[0] != 0x7f;
    if (size == 2 && c[0] == 0xc2)
        return c[1] >= 0xa0;
    if (size == 3 && c[0] == 0xe2 && c[1] == 0x80)
        return !((c[2] >= 0x8e && c[2] <= 0x8f) || (c[2] >= 0xa8 && c[2] <= 0xae));
    return !(size == 3 && c[0] == 0xe2 && c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9);
}

static void put_escaped(struct line *line, struct span text, bool quoted)
{
    for (size_t i = 0; i < text.size && !line->cut;) {
        const char *p = text.data + i;
        size_t size = utf8_sequence(p, text.size - i);
        char escape[5];
        if (*p == '\\' || (*p == '"' && quoted)) {
            put(line, (const char[]){'\\', *p}, 2);
        } else if (size > 0 && is_printable(p, size)) {
            put(line, p, size);
        } else {
            /* Byte by byte, whatever the sequence. */
            snprintf(escape, sizeof(escape), "\\x%02x", (unsigned char)*p);
            put(line, escape, 4);
            size = 1;
        }
        i += size;
    }
}

static void put_number(struct line *line, const char *key, int64_t value)
{
    char text[64];

    put(line, text, (size_t)snprintf(text, sizeof(text), " %s=%" PRId64, key, value));
}

static void start_line(const struct log *log, struct line *line, enum log_level level)
{
    line->size = 0;
    line->cut = false;
    if (log->priorities) {
        put(line, (const char[]){'<', (char)('0' + level), '>'}, 3);
    } else {
        put_string(line, "busd: ");
        put_string(line, level_names[level]);
        put_string(line, ": ");
    }
    line->message = line->size;
}

/* What the format says; it may be cut, as the line will be. */
static struct span format_text(char text[LOG_LINE_MAX], const char *format, va_list args)
{
    int size = vsnprintf(text, LOG_LINE_MAX, format, args);

    return (struct span){text, size < 0 ? 0 : MIN((size_t)size, (size_t)LOG_LINE_MAX - 1)};
}

/* -------------------------------------------------------------- writing */

/* The journal takes KEY=VALUE lines; no value of ours has a newline in it. */
static bool send_record(struct log *log, enum log_level level, const struct line *line,
                        const struct log_subject *subject, struct span reason)
{
    char record[3 * LOG_LINE_MAX];
    struct line value = {0};

    int size = snprintf(record, sizeof(record),
                        "MESSAGE=%.*s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=busd\nSYSLOG_PID=%d\n",
                        (int)(line->size - line->message), line->data + line->message, level,
                        (int)getpid());
    if (subject) {
        if (subject->peer.size > 0)
            size += snprintf(record + size, sizeof(record) - (size_t)size, "PEER=%.*s\n",
                             (int)MIN(subject->peer.size, (size_t)64), subject->peer.data);
        size += snprintf(record + size, sizeof(record) - (size_t)size, "UID=%" PRIu32 "\nPID=%d\n",
                         (uint32_t)subject->uid, (int)subject->pid);
    }
    put_escaped(&value, reason, false);
    if (value.size > 0)
        size += snprintf(record + size, sizeof(record) - (size_t)size, "REASON=%.*s\n",
                         (int)value.size, value.data);

    int r = log_sink_send(&log->sink, record, (size_t)size);
    if (r < 0 && r != -EAGAIN)
        return false;
    log->lost += r < 0;
    return true;
}

static void write_line(struct log *log, enum log_level level, struct line *line,
                       const struct log_subject *subject, struct span reason)
{
    if (log->sink.socket >= 0 && send_record(log, level, line, subject, reason))
        return;
    line->data[line->size] = '\n';
    /* A log that cannot be written has nobody to be told, but later. */
    if (!log_sink_write(&log->sink, line->data, line->size + 1))
        log->lost++;
}

/* Ends a text that may have been cut. */
static void finish(struct line *line, const char *end)
{
    /* There is room: put() has kept it free. */
    if (line->cut) {
        memcpy(line->data + line->size, ELLIPSIS, sizeof(ELLIPSIS) - 1);
        line->size += sizeof(ELLIPSIS) - 1;
    }
    memcpy(line->data + line->size, end, strlen(end));
    line->size += strlen(end);
}

static void write_text(struct log *log, enum log_level level, const char *format, va_list args)
{
    char text[LOG_LINE_MAX];
    struct line line;

    start_line(log, &line, level);
    put_escaped(&line, format_text(text, format, args), false);
    finish(&line, "");
    write_line(log, level, &line, NULL, (struct span){0});
}

static void tell_left_out(struct log *log, uint64_t user, uint64_t count)
{
    struct line line;

    start_line(log, &line, LOG_LEVEL_WARNING);
    put_string(&line, "left out:");
    if (user < RATION_SHARED)
        put_number(&line, "uid", (int64_t)user);
    put_number(&line, "lines", (int64_t)count);
    write_line(log, LOG_LEVEL_WARNING, &line, NULL, (struct span){0});
}

/* Lines that are missing, now that lines can be written again. */
static void tell_gaps(struct log *log, bool all)
{
    uint64_t now = clock_monotonic_ms();
    uint64_t count = log->lost;
    uint64_t user;

    if (count > 0) {
        struct line line;
        log->lost = 0;
        start_line(log, &line, LOG_LEVEL_WARNING);
        put_string(&line, "lost, because nothing took them:");
        put_number(&line, "lines", (int64_t)count);
        write_line(log, LOG_LEVEL_WARNING, &line, NULL, (struct span){0});
        /* If that could not be written either, all of them are still to be told. */
        log->lost = log->lost > 0 ? count : 0;
    }
    while (ration_collect(&log->ration, now, all, &user, &count))
        tell_left_out(log, user, count);
}

/* ------------------------------------------------------------ interface */

void log_init(struct log *log, enum log_level level)
{
    *log = (struct log){.level = level};
    log_sink_init(&log->sink, STDERR_FILENO);
    if (log_sink_is_journal(STDERR_FILENO)) {
        log->priorities = true;
        log_sink_open_journal(&log->sink, LOG_JOURNAL);
    }
}

void log_deinit(struct log *log)
{
    tell_gaps(log, true);
    log_sink_deinit(&log->sink);
}

void log_write(struct log *log, enum log_level level, const char *format, ...)
{
    va_list args;

    if (level > log->level)
        return;
    tell_gaps(log, false);
    va_start(args, format);
    write_text(log, level, format, args);
    va_end(args);
}

/* Whether this user may have another line. */
static bool take(struct log *log, enum log_level level, uint64_t user)
{
    if (level > log->level || !ration_take(&log->ration, user, clock_monotonic_ms()))
        return false;
    tell_gaps(log, false);
    return true;
}

void log_limited(struct log *log, enum log_level level, const char *format, ...)
{
    va_list args;

    if (!take(log, level, RATION_NOBODY))
        return;
    va_start(args, format);
    write_text(log, level, format, args);
    va_end(args);
}

void log_about(struct log *log, enum log_level level, const struct log_subject *subject,
               const char *event, const char *format, ...)
{
    char text[LOG_LINE_MAX];
    struct span reason = {0};
    struct line line;
    va_list args;

    bool is_known = subject->uid != (uid_t)-1;
    if (!take(log, level, is_known ? subject->uid : RATION_NOBODY))
        return;
    if (format) {
        va_start(args, format);
        reason = format_text(text, format, args);
        va_end(args);
    }
    start_line(log, &line, level);
    put_string(&line, event);
    put_string(&line, ":");
    if (subject->peer.size > 0) {
        put_string(&line, " peer=");
        put_escaped(&line, subject->peer, false);
    }
    if (is_known) {
        put_number(&line, "uid", subject->uid);
        put_number(&line, "pid", subject->pid);
    }
    if (format) {
        put_string(&line, " reason=\"");
        put_escaped(&line, reason, true);
    }
    finish(&line, format ? "\"" : "");
    write_line(log, level, &line, is_known ? subject : NULL, reason);
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
