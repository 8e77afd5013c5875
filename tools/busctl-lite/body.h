/* SPDX-License-Identifier: MIT */
/*
 * Bodies from the command line: nothing (null), JSON text, @FILE, - for stdin, or
 * key=value and key:=json pairs that make an object.
 */
#ifndef BUSCTL_BODY_H
#define BUSCTL_BODY_H

#include <bus/bus.h>
#include <stddef.h>

/* *ret_text is malloc'ed, *ret_size bytes, and has been checked: it is one JSON
 * value. What is not one is reported: STATUS_INVALID. */
int body_from_operands(const char *verb, char *const *operands, size_t count, char **ret_text,
                       size_t *ret_size);

/* The body of a message that came. A big one has been checked by nobody before: `what` it
 * is begins the report when it is no JSON, STATUS_INVALID. Borrowed. */
int body_of_message(struct bus_message *message, const char *what, const char **ret_text,
                    size_t *ret_size);

/* Why the body of a message that came is no JSON, at *ret_offset; NULL if it is. */
const char *body_fault(struct bus_message *message, size_t *ret_offset);

/* The whole of a file; malloc'ed, with a NUL behind it. 0 or -errno. */
int read_whole(int fd, char **ret_text, size_t *ret_size);

#endif
