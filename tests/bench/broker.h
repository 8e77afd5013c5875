/* SPDX-License-Identifier: MIT */
/*
 * Brokers as the harness runs them: each in a folder of its own, asleep while another
 * one is measured.
 */
#ifndef TESTS_BENCH_BROKER_H
#define TESTS_BENCH_BROKER_H

#include <stdbool.h>

#include "tests/bench/peer.h"

/* Starts it and waits until a client is served; false with the reason on the board.
 * *ret_us (may be NULL): from the start to the first answer. */
bool broker_start(struct broker *broker, const struct peer *peer, double *ret_us);
void broker_stop(struct broker *broker);

/* Stops all its threads where they are, and lets them go on. */
void broker_sleep(struct broker *broker);
void broker_wake(struct broker *broker);

/* For members of a crew: connects, or fails. */
struct client *broker_connect(const struct broker *broker);

#endif
