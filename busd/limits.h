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

/* X(name, system bus, user bus, smallest, largest, what it counts). What is _per_user
 * is shared by all connections of one user, see busd/quota.h. */
#define LIMITS(X)                                                                                  \
    X(connections, 4096, 4096, 1, 1000000, "connections in all")                                   \
    X(connections_per_user, 256, 1024, 1, 1000000, "connections of a user")                        \
    X(unproven_per_user, 64, 1024, 1, 1000000,                                                     \
      "connections of a user that have not sent a valid message yet")                              \
    X(unproven_timeout, 30000, 0, 0, UINT64_C(1) << 40,                                            \
      "milliseconds until a connection without a valid message is ended (0: never)")               \
    X(message_bytes, MIB, MIB, 256, 256 * MIB, "bytes of a line, newline included")                \
    X(line_timeout, 30000, 30000, 0, UINT64_C(1) << 40,                                            \
      "milliseconds without another byte until a connection with half a line is ended (0: never)") \
    X(queue_bytes, 4 * MIB, 16 * MIB, 4 * KIB, 1024 * MIB,                                         \
      "bytes a connection leaves unread before its events are dropped")                            \
    X(queue_soft_bytes, MIB, 4 * MIB, KIB, 1024 * MIB,                                             \
      "bytes a connection leaves unread before those who care about it wait")                      \
    X(stall_timeout, 30000, 30000, 0, UINT64_C(1) << 40,                                           \
      "milliseconds without reading until a connection beyond queue_bytes, or for which "          \
      "somebody or file descriptors wait, is ended (0: never)")                                    \
    X(bytes_per_user, 128 * MIB, 512 * MIB, 4 * KIB, UINT64_C(1) << 40,                            \
      "bytes the connections of a user leave unread or unfinished")                                \
    X(bytes, 512 * MIB, 1024 * MIB, 8 * KIB, UINT64_C(1) << 40,                                    \
      "the same of all users, of which each gets a fair share")                                    \
    X(fds_per_message, 16, 64, 0, 253, "file descriptors in one message")                          \
    X(fds_queued, 64, 256, 0, 65536, "file descriptors a connection leaves unread")                \
    X(fds_per_user, 128, 1024, 0, 1000000,                                                         \
      "file descriptors the connections of a user leave unread or unfinished")                     \
    X(fds, 2048, 4096, 0, 1000000, "the same of all users, of which each gets a fair share")       \
    X(subscriptions, 512, 16384, 1, 1000000, "subscriptions of a connection")                      \
    X(subscriptions_per_user, 4096, 65536, 1, 10000000, "subscriptions of a user")                 \
    X(segments_per_user, 32768, 1048576, 1, 100000000, "segments in the patterns of a user")       \
    X(wildcards_per_user, 1024, 65536, 0, 10000000,                                                \
      "segments behind the first `*` in the patterns of a user")                                   \
    X(names, 64, 512, 1, 1000000, "names a connection owns or waits for")                          \
    X(names_per_user, 512, 4096, 1, 10000000, "names a user owns or waits for")                    \
    X(calls, 1024, 16384, 1, 1000000, "outstanding calls and receipts of a connection")            \
    X(calls_per_user, 8192, 65536, 1, 10000000, "outstanding calls and receipts of a user")        \
    X(monitors, 16, 64, 1, 1000000, "monitor filters of a connection")                             \
    X(monitors_per_user, 64, 256, 1, 1000000, "monitor filters of a user")                         \
    X(retained, 1024, 16384, 0, 1000000, "topics with a last value of a connection")               \
    X(retained_per_user, 4096, 65536, 0, 10000000, "topics with a last value of a user")           \
    X(retained_bytes, 4 * MIB, 64 * MIB, 0, UINT64_C(1) << 40,                                     \
      "bytes of the last values of a connection, and of what it takes to find them")               \
    X(retained_bytes_per_user, 16 * MIB, 256 * MIB, 0, UINT64_C(1) << 40, "the same of a user")    \
    X(retained_bytes_in_all, 128 * MIB, 512 * MIB, 0, UINT64_C(1) << 40,                           \
      "the same of all users, of which each gets a fair share")                                    \
    X(unstored_bytes_per_user, 16 * MIB, 128 * MIB, 4 * KIB, UINT64_C(1) << 40,                    \
      "bytes of a user's values that are not on the disk yet")                                     \
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
