/* SPDX-License-Identifier: MIT */
#include "libbus/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/base/utf8.h"
#include "libbus/wire/errors.h"

void bus_error_clear(struct bus_error *error)
{
    if (error) {
        error->name[0] = '\0';
        error->message[0] = '\0';
    }
}

static void copy_text(char *target, size_t capacity, struct span text)
{
    size_t size = MIN(text.size, capacity - 1);

    if (size < text.size)
        while (size > 0 && utf8_is_continuation(text.data[size]))
            size--;
    if (size > 0)
        memcpy(target, text.data, size);
    target[size] = '\0';
}

void bus_error_copy(struct bus_error *error, struct span name, struct span message)
{
    if (!error)
        return;
    copy_text(error->name, sizeof(error->name), name);
    copy_text(error->message, sizeof(error->message), message);
}

/* One byte more than a message holds tells whether it was cut, and where a
 * character would be cut in two. */
static void format_message(struct bus_error *error, const char *name, const char *format,
                           va_list args)
{
    char message[sizeof(error->message) + 1];

    vsnprintf(message, sizeof(message), format, args);
    bus_error_copy(error, span_from(name), span_from(message));
}

void bus_error_set(struct bus_error *error, const char *name, const char *format, ...)
{
    va_list args;

    if (!error)
        return;
    va_start(args, format);
    format_message(error, name, format, args);
    va_end(args);
}

void errno_name(int number, char buffer[ERRNO_NAME_SIZE])
{
    const char *name = strerrorname_np(number);

    if (name)
        snprintf(buffer, ERRNO_NAME_SIZE, "errno.%s", name);
    else
        snprintf(buffer, ERRNO_NAME_SIZE, "errno.E%d", number);
}

int bus_error_set_errno(struct bus_error *error, int result, const char *format, ...)
{
    char buffer[ERRNO_NAME_SIZE];
    const char *name = NULL;
    va_list args;

    if (!error)
        return result;
    for (enum wire_error e = WIRE_OK + 1; e < WIRE_ERROR_COUNT && !name; e++)
        if (wire_error_errno(span_from(wire_error_name(e))) == -result)
            name = wire_error_name(e);
    if (!name) {
        errno_name(-result, buffer);
        name = buffer;
    }
    va_start(args, format);
    format_message(error, name, format, args);
    va_end(args);
    return result;
}
