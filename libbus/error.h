/* SPDX-License-Identifier: MIT */
/*
 * Filling `struct bus_error`. The error may always be NULL, which means that
 * nobody wants to know. Messages that do not fit are cut at a character.
 */
#ifndef LIBBUS_ERROR_H
#define LIBBUS_ERROR_H

#include "bus/bus.h"
#include "libbus/base/span.h"

void bus_error_clear(struct bus_error *error);

void bus_error_set(struct bus_error *error, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* With the name that stands for a negative errno: the bus's own where there is
 * one, else "errno.ENOMEM" and the like. Returns the errno. */
int bus_error_set_errno(struct bus_error *error, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void bus_error_copy(struct bus_error *error, struct span name, struct span message);

/* "errno.ENOENT" for a positive errno. */
#define ERRNO_NAME_SIZE 32
void errno_name(int number, char buffer[ERRNO_NAME_SIZE]);

#endif
