/* SPDX-License-Identifier: MIT */
/*
 * A bystander: another user's process with a service and a caller of it, that does
 * one call after the other while clients of a test do their worst. It notes how many and
 * how long the longest took, and whatever is not as it should be: a lost connection, an
 * answer that is none.
 *
 * Start it before clients connect, or it inherits their sockets. As its own user when
 * the test is root; else as the same one.
 */
#ifndef TESTS_SUPPORT_BYSTANDER_H
#define TESTS_SUPPORT_BYSTANDER_H

#include <stdint.h>
#include <sys/types.h>

#include "tests/support/transcript.h"

#define BYSTANDER_UID         12900
#define BYSTANDER_CONNECTIONS 2

struct bystander_notes;

struct bystander {
    pid_t pid;
    struct bystander_notes *notes; /* shared with the process */
};

/* Fails the test unless calls go on. */
void bystander_start(struct bystander *bystander, struct session *session);

/* It is unharmed, and does more calls from now on. */
void bystander_check(struct bystander *bystander);

/* Milliseconds that its longest call took since this was last asked. */
uint64_t bystander_longest(struct bystander *bystander);

/* Checks, and makes it leave; then busd has `more` file descriptors open on top of those
 * at its start, within a second. */
void bystander_stop(struct bystander *bystander, struct session *session, unsigned more);

#endif
