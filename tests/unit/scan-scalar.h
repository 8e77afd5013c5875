/* SPDX-License-Identifier: MIT */
/*
 * The scanner as it is built where there is neither SSE2 nor NEON, under other
 * names, so that a test can hold it beside the usual one. The contract is that of
 * libbus/wire/scan.h.
 */
#ifndef TESTS_UNIT_SCAN_SCALAR_H
#define TESTS_UNIT_SCAN_SCALAR_H

#include <stdbool.h>
#include <stddef.h>

struct scan_fault;

const char *scalar_scan_value(const char *p, unsigned depth, struct scan_fault *ret_fault);
const char *scalar_scan_string(const char *p, bool *ret_escaped, struct scan_fault *ret_fault);
bool scalar_scan_text(const char *text, size_t size, struct scan_fault *ret_fault);

#endif
