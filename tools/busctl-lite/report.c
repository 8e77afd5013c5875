/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tools/busctl-lite/json.h"

#define PROGRAM        "busctl-lite"
#define EXCERPT_BEFORE 50
#define EXCERPT_AFTER  20

static const struct {
    const char *name;
    int error;
    enum status status;
} statuses[] = {
    {BUS_ERROR_PARSE_ERROR, EBADMSG, STATUS_INVALID},
    {BUS_ERROR_INVALID_MESSAGE, EPROTO, STATUS_INVALID},
    {BUS_ERROR_FD_MISMATCH, EBADF, STATUS_INVALID},
    {BUS_ERROR_TOO_LARGE, EMSGSIZE, STATUS_LIMIT},
    {BUS_ERROR_LIMIT_EXCEEDED, EDQUOT, STATUS_LIMIT},
    {BUS_ERROR_NAME_UNKNOWN, ENXIO, STATUS_UNKNOWN},
    {BUS_ERROR_METHOD_UNKNOWN, EOPNOTSUPP, STATUS_UNKNOWN},
    {BUS_ERROR_ACCESS_DENIED, EACCES, STATUS_DENIED},
    {BUS_ERROR_TIMEOUT, ETIMEDOUT, STATUS_TIMEOUT},
    {BUS_ERROR_DISCONNECTED, ECONNRESET, STATUS_CONNECTION},
};

enum status status_of_error(const struct bus_error *error, int result)
{
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        if (error->name[0] ? strcmp(statuses[i].name, error->name) == 0
                           : statuses[i].error == -result)
            return statuses[i].status;
    }
    return STATUS_ERROR;
}

static void print_line(const char *format, va_list args)
{
    fputs(PROGRAM ": ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int report_usage(const char *verb, const char *format, ...)
{
    va_list args;

    fputs(PROGRAM ": ", stderr);
    if (verb)
        fprintf(stderr, "%s: ", verb);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (verb)
        fprintf(stderr, "\nSee '" PROGRAM " help %s'.\n", verb);
    else
        fputs("\nSee '" PROGRAM " --help'.\n", stderr);
    return STATUS_USAGE;
}

int report_failure(enum status status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    print_line(format, args);
    va_end(args);
    return (int)status;
}

int report_no_memory(void)
{
    return report_failure(STATUS_ERROR, "out of memory");
}

void report_note(const struct cli *cli, const char *format, ...)
{
    va_list args;

    if (cli->quiet)
        return;
    va_start(args, format);
    print_line(format, args);
    va_end(args);
}

int report_error(const struct cli *cli, const char *subject, const struct bus_error *error,
                 int result)
{
    const char *message = error->message[0] ? error->message : strerror(-result);
    const char *name = error->name[0] ? error->name : strerrorname_np(-result);

    if (cli->json_errors) {
        fputs("{\"error\":", stderr);
        json_write_string(stderr, name ? name : "", name ? strlen(name) : 0);
        fputs(",\"message\":", stderr);
        json_write_string(stderr, message, strlen(message));
        fputs("}\n", stderr);
    } else {
        fputs(PROGRAM ": ", stderr);
        if (subject && !strstr(message, subject))
            fprintf(stderr, "%s: ", subject);
        json_write_plain(stderr, message, strlen(message));
        if (name)
            fprintf(stderr, " (%s)", name);
        fputc('\n', stderr);
    }
    return (int)status_of_error(error, result);
}

int report_disconnected(const struct cli *cli, struct bus *bus)
{
    const struct bus_error *error = bus_disconnect_error(bus);

    if (error->name[0])
        report_error(cli, NULL, error, -ECONNRESET);
    else
        report_failure(STATUS_CONNECTION, "the bus closed the connection");
    return STATUS_CONNECTION;
}

static size_t count_characters(const char *text, size_t size)
{
    size_t count = 0;

    for (size_t i = 0; i < size; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

/* The surroundings of the byte at `offset` and a caret under it. */
static void print_excerpt(const char *line, size_t size, size_t offset)
{
    size_t start = offset > EXCERPT_BEFORE ? offset - EXCERPT_BEFORE : 0;
    size_t end = size - offset > EXCERPT_AFTER ? offset + EXCERPT_AFTER : size;

    while (start > 0 && ((unsigned char)line[start] & 0xc0) == 0x80)
        start--;
    while (end < size && ((unsigned char)line[end] & 0xc0) == 0x80)
        end++;
    fputs("  ", stderr);
    json_write_plain(stderr, line + start, end - start);
    fprintf(stderr, "\n  %*s^\n", (int)count_characters(line + start, offset - start), "");
}

int report_bad_json(const char *what, const char *text, size_t size, size_t offset,
                    const char *reason)
{
    size_t line_start = 0;
    size_t line_end = offset;
    size_t line_number = 1;

    for (size_t i = 0; i < offset; i++) {
        if (text[i] != '\n')
            continue;
        line_number++;
        line_start = i + 1;
    }
    while (line_end < size && text[line_end] != '\n')
        line_end++;
    fprintf(stderr, PROGRAM ": %s is not valid JSON: line %zu, column %zu (byte %zu): %s\n", what,
            line_number, count_characters(text + line_start, offset - line_start) + 1, offset,
            reason);
    print_excerpt(text + line_start, line_end - line_start, offset - line_start);
    return STATUS_INVALID;
}

int report_bad_name(const char *verb, const char *what, const char *text, size_t offset,
                    const char *problem)
{
    fprintf(stderr, PROGRAM ": %s: %s: %s\n", verb, what, problem);
    print_excerpt(text, strlen(text), offset);
    fprintf(stderr, "See '" PROGRAM " help %s'.\n", verb);
    return STATUS_USAGE;
}
