/* SPDX-License-Identifier: MIT */
/*
 * An evaluator of policies that knows nothing of views, patterns' fast paths or cached
 * verbs, and rules, clients and questions by chance to compare the broker's with.
 */
#ifndef TESTS_SUPPORT_VERDICTS_H
#define TESTS_SUPPORT_VERDICTS_H

#include "tests/support/random.h"

/* Makes up a policy, a client and another one, and asks so many questions. NULL if both
 * evaluators always agree, else what they do not agree on, malloc'ed. */
char *verdicts_compare(struct random *random, unsigned questions);

#endif
