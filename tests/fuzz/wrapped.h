/* SPDX-License-Identifier: MIT */
/*
 * Instead of libuv's clock and its threads (by the linker's --wrap), for a broker in a
 * fuzz target: the same input must always take the same way.
 */
#ifndef TESTS_FUZZ_WRAPPED_H
#define TESTS_FUZZ_WRAPPED_H

#include <stdint.h>

/* Milliseconds on the clock of every loop. */
extern uint64_t wrapped_now;

#endif
