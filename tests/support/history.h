/* SPDX-License-Identifier: MIT */
/*
 * A publisher whose history is known, and what a subscriber may see of it. The publisher
 * is a process of its own, which writes as fast as it can:
 *
 *     {"type":"event","topic":"h.3","retain":"bus","n":17,"body":17}
 *
 * For each of its topics n counts from 1, and each HISTORY_CLEARED th body is null. A view
 * that begins with the last values and goes on with the events is right if for each topic
 * the first thing that it sees is the value there was, and everything after it the next
 * one in the history, without a gap and without a double.
 *
 * How far the publisher may be ahead of the slowest subscriber is up to the test, so that
 * nothing is lost for want of room.
 */
#ifndef TESTS_SUPPORT_HISTORY_H
#define TESTS_SUPPORT_HISTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define HISTORY_TOPICS  8
#define HISTORY_CLEARED 5
/* So many events a step. */
#define HISTORY_STEP 64

struct history {
    pid_t pid;
    int steps_fd; /* a byte for each step that it may make */
};

/* Starts the publisher at the socket `path`. */
void history_begin(struct history *history, const char *path);

/* Lets it go on. */
void history_allow(struct history *history, unsigned steps);

/* Ends it, when it has made the steps it was allowed. */
void history_end(struct history *history);

/* What is known of each topic. */
struct view {
    uint64_t last[HISTORY_TOPICS]; /* the n seen last … */
    bool known[HISTORY_TOPICS];    /* … or, if it is 0, that there was no value */
    unsigned missing;              /* a bit for each topic whose value is still to come */
    uint64_t seen;                 /* values and events */
};

/* The last values of these topics (a bit each) come; at the end those that have not come
 * have none. What is known of a topic must be still so. */
void view_begin(struct view *view, unsigned topics);
void view_value(struct view *view, unsigned topic, uint64_t n);
void view_end(struct view *view);

void view_event(struct view *view, unsigned topic, uint64_t n);

/* Nobody tells of the topic any more. */
void view_forget(struct view *view, unsigned topic);

#endif
