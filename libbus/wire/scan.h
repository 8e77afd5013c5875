/* SPDX-License-Identifier: MIT */
/*
 * The validating JSON scanner: strict RFC 8259 over UTF-8, iterative, no
 * allocation, no tree. It says where a value ends or where and why it is wrong.
 *
 * It works on one line. The byte after the text must be a LF: LF never occurs
 * inside a line, so that it serves as sentinel and every loop needs only one
 * test per step. SCAN_PADDING bytes after that LF must be readable (their
 * values do not matter), because strings are skipped 16 bytes a step.
 *
 * Strings: no bytes below 0x20, valid UTF-8 (no overlong forms, no surrogates,
 * nothing above U+10FFFF), escapes as in RFC 8259 section 7, \u surrogates only
 * in pairs. Numbers may have any length. Nesting is limited to SCAN_DEPTH_MAX
 * counting every array and object.
 */
#ifndef LIBBUS_WIRE_SCAN_H
#define LIBBUS_WIRE_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#define SCAN_DEPTH_MAX 128
#define SCAN_PADDING   64

struct scan_fault {
    const char *position; /* the first byte that cannot be right */
    const char *reason;   /* a static sentence */
};

/* Skips spaces, tabs and CRs; stops at the LF at the latest. */
static inline const char *scan_space(const char *p)
{
    while (*p == ' ' || *p == '\t' || *p == '\r')
        p++;
    return p;
}

/* `p` is at the first byte of a value (no space before it), `depth` the number
 * of arrays and objects around it. Returns the byte after the value, or NULL
 * with *ret_fault set. */
const char *scan_value(const char *p, unsigned depth, struct scan_fault *ret_fault);

/* `p` is just after the opening quote. Returns the byte after the closing
 * quote, or NULL with *ret_fault set; *ret_escaped tells whether there was a
 * backslash in between. */
const char *scan_string(const char *p, bool *ret_escaped, struct scan_fault *ret_fault);

/* Whether text[0..size) is exactly one value with optional space around it;
 * text[size] must be a LF followed by SCAN_PADDING readable bytes. */
bool scan_text(const char *text, size_t size, struct scan_fault *ret_fault);

#endif
