/* SPDX-License-Identifier: MIT */
/*
 * A line as the scanner wants it: the text, its LF, SCAN_PADDING bytes, and not one
 * byte more, so that AddressSanitizer sees every read that goes too far. The
 * padding is filled with bytes that would mislead a scanner that looks at them.
 */
#ifndef TESTS_SUPPORT_PADDED_H
#define TESTS_SUPPORT_PADDED_H

#include <stddef.h>

/* malloc'ed; never NULL. */
char *padded_new(const void *text, size_t size);

#endif
