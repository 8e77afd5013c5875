/* SPDX-License-Identifier: MIT */
/*
 * Writing JSON text that is known to be valid: on one line or indented, with or
 * without colour. No tree is built, so that numbers of any length and the order
 * of keys stay as they came. DEL and the C1 controls, which JSON lets stand in
 * strings, are written as escapes: a terminal would obey them.
 */
#ifndef BUSCTL_JSON_H
#define BUSCTL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum json_layout {
    JSON_ONE_LINE,
    JSON_INDENTED,
};

/* Without a newline at the end. */
void json_write(FILE *out, const char *text, size_t size, enum json_layout layout, bool colour);

/* Any bytes as a JSON string with its quotes; those that are not UTF-8 become
 * U+FFFD. */
void json_write_string(FILE *out, const char *text, size_t size);

/* The same, malloc'ed. NULL without memory. */
char *json_quote(const char *text, size_t size);

/* Any bytes for a person's eyes: without control characters and not cut. */
void json_write_plain(FILE *out, const char *text, size_t size);

/* The length of the UTF-8 sequence at the start of the text, 0 if it is none. */
size_t json_utf8_length(const char *text, size_t size);

#endif
