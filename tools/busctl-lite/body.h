/* SPDX-License-Identifier: MIT */
/*
 * Bodies from the command line: nothing (null), JSON text, @FILE, - for stdin, or
 * key=value and key:=json pairs that make an object.
 */
#ifndef BUSCTL_BODY_H
#define BUSCTL_BODY_H

#include <stddef.h>

/* *ret_text is malloc'ed, *ret_size bytes, and has been checked: it is one JSON
 * value. What is not one is reported: STATUS_INVALID. */
int body_from_operands(const char *verb, char *const *operands, size_t count, char **ret_text,
                       size_t *ret_size);

/* The whole of a file; malloc'ed, with a NUL behind it. 0 or -errno. */
int read_whole(int fd, char **ret_text, size_t *ret_size);

#endif
