/* SPDX-License-Identifier: MIT */
/*
 * Policies: the input's bytes choose rules, a client and questions (tests/support/verdicts.c),
 * and the broker's evaluator must decide as one does that goes through all rules.
 */
#include <stdlib.h>

#include "libbus/base/macros.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/verdicts.h"

#define QUESTIONS 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct random random = {.bytes = size > 0 ? data : (const uint8_t *)"", .size = size};
    CLEANUP(cleanup_free) char *wrong = verdicts_compare(&random, QUESTIONS);

    FUZZ_CHECK(!wrong, "%s", wrong);
    return 0;
}
