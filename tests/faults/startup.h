/* SPDX-License-Identifier: MIT */
/*
 * The start of a busd in which a call fails: it must either say why on standard error
 * and exit with a status other than 0, or start and serve.
 */
#ifndef TESTS_FAULTS_STARTUP_H
#define TESTS_FAULTS_STARTUP_H

#include <stdbool.h>

#include "tests/faults/control.h"

#define STARTUP_COMPLAINT 512

/* Whether programs that are started from now on have the faults in them. */
void startup_preload(bool on);

/* `complaint` is left empty if all is well. */
void startup_run(struct fault_control *control, char complaint[STARTUP_COMPLAINT]);

#endif
