/* SPDX-License-Identifier: MIT */
/*
 * Every limit of the broker, in one table: its name in the configuration and in
 * the greeting, the defaults of a system bus and of a user bus, and what it
 * counts. Documentation and limit tests are made from this table.
 */
#ifndef BUSD_LIMITS_H
#define BUSD_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "libbus/base/span.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)

/* X(name, system bus, user bus, smallest, largest, what it counts) */
#define LIMITS(X)                                                                                  \
    X(connections, 4096, 4096, 1, 1000000, "connections in all")                                   \
    X(message_bytes, MIB, MIB, 256, 256 * MIB, "bytes of a line, newline included")                \
    X(queue_bytes, 4 * MIB, 16 * MIB, 4 * KIB, 1024 * MIB,                                         \
      "bytes a connection leaves unread before its events are dropped")                            \
    X(fds_per_message, 16, 64, 0, 253, "file descriptors in one message")                          \
    X(fds_queued, 64, 256, 0, 65536, "file descriptors a connection leaves unread")                \
    X(subscriptions, 512, 16384, 1, 1000000, "subscriptions of a connection")                      \
    X(names, 64, 512, 1, 1000000, "names a connection owns or waits for")                          \
    X(calls, 1024, 16384, 1, 1000000, "outstanding calls of a connection")                         \
    X(monitors, 16, 64, 1, 1000000, "monitor filters of a connection")                             \
    X(call_timeout, 25000, 25000, 1, UINT64_C(1) << 40,                                            \
      "milliseconds until a call without a timeout of its own ends")                               \
    X(invalid_lines, 16, 16, 1, 1000000,                                                           \
      "invalid lines with no valid one between them that end a connection")

struct limits {
#define X(name, system, user, smallest, largest, sentence) uint64_t name;
    LIMITS(X)
#undef X
};

void limits_init(struct limits *limits, bool system);

/* Sets one by its name. NULL, or a static sentence that says what is wrong; with
 * a bad value *ret_smallest and *ret_largest say what would be right. */
const char *limits_set(struct limits *limits, struct span name, uint64_t value,
                       uint64_t *ret_smallest, uint64_t *ret_largest);

/* Walks the table: the name and value of row `index`; false past its end. */
bool limits_get(const struct limits *limits, size_t index, const char **ret_name,
                uint64_t *ret_value);

#endif
