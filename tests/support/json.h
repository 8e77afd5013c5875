/* SPDX-License-Identifier: MIT */
/*
 * Compares what came with what was expected, as JSON: the order of keys and spaces
 * do not matter, everything else does. In the expected value
 *     "*"         stands for any value,
 *     "...":0     as a key allows keys that are not mentioned.
 */
#ifndef TESTS_SUPPORT_JSON_H
#define TESTS_SUPPORT_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* `why` gets a sentence that names the first difference. */
bool json_matches(const json_t *expected, const json_t *got, char *why, size_t why_size);

#endif
