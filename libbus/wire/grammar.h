/* SPDX-License-Identifier: MIT */
/*
 * The grammars of protocol section 2: names, topics, patterns, methods.
 *
 *     unique name      ':' digits, no leading zero, 1 … 2^53-1
 *     well-known name  two or more segments [A-Za-z_][A-Za-z0-9_-]* joined by dots
 *     topic            one or more segments [A-Za-z0-9_-]+ joined by dots
 *     pattern          a topic in which '*' may stand for one segment and a
 *                      final '#' for zero or more
 *     method, error    one or more segments as in well-known names
 *     group            one segment as in topics, at most GRAMMAR_GROUP_MAX bytes
 *     path             1 … 255 bytes without escapes
 *
 * Each is at most GRAMMAR_NAME_MAX bytes; a well-known name at most
 * GRAMMAR_WELL_KNOWN_MAX, so that bus.name.<name> is still a topic. A
 * grammar_check_*() returns NULL when the text is right, or else a static sentence
 * that says what is wrong, with *ret_offset (may be NULL) at the first wrong byte.
 */
#ifndef LIBBUS_WIRE_GRAMMAR_H
#define LIBBUS_WIRE_GRAMMAR_H

#include <stdbool.h>
#include <stdint.h>

#include "libbus/base/span.h"

#define GRAMMAR_NAME_MAX       255
#define GRAMMAR_WELL_KNOWN_MAX (GRAMMAR_NAME_MAX - (sizeof("bus.name.") - 1))
#define GRAMMAR_GROUP_MAX      64
#define GRAMMAR_INTEGER_MAX    ((UINT64_C(1) << 53) - 1)

const char *grammar_check_name(struct span name, size_t *ret_offset);
const char *grammar_check_topic(struct span topic, size_t *ret_offset);
const char *grammar_check_pattern(struct span pattern, size_t *ret_offset);
const char *grammar_check_method(struct span method, size_t *ret_offset);
const char *grammar_check_group(struct span group, size_t *ret_offset);

/* The N of ":N"; 0 when the text is not a unique name. */
uint64_t grammar_unique_name(struct span name);

/* Who a message may be sent to: a well-known name, a unique name or "bus". */
const char *grammar_check_destination(struct span name, size_t *ret_offset);

/* Whether the first segment is "bus": those names and topics are the broker's. */
bool grammar_is_reserved(struct span text);

/* Whether the pattern has a wildcard, that is, is not simply a topic. */
bool grammar_has_wildcard(struct span pattern);

/* Both arguments must be valid. A wildcard in the first segment does not match
 * the broker's own topics. */
bool grammar_matches(struct span pattern, struct span topic);

/* The same for all topics, the broker's own and unique names among them: for patterns
 * that speak of all there is, as rules of a policy do. */
bool grammar_covers(struct span pattern, struct span topic);

#endif
