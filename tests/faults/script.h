/* SPDX-License-Identifier: MIT */
/*
 * The traffic that faults are put into: a bit of everything that busd does for its
 * clients. What is done does not depend on what comes back.
 */
#ifndef TESTS_FAULTS_SCRIPT_H
#define TESTS_FAULTS_SCRIPT_H

#include "tests/faults/world.h"

/* Options that busd is to be started with, NULL-terminated. */
extern const char *const script_args[];

/* Makes the state folder (it is among the options), with a value from before in it. False
 * with the reason on standard error. */
bool script_make_state(void);
void script_remove_state(void);

/* A client that has been there before, and calls the bus all the while. */
struct actor *script_bystander(struct world *world);

void script_run(struct world *world, struct actor *bystander);

/* New clients do a full round. Complains if not all of it is as it should be. */
void script_round_trip(struct world *world);

#endif
