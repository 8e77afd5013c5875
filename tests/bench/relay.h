/* SPDX-License-Identifier: MIT */
/*
 * The floor of every comparison: a relay that joins its clients in pairs, in the
 * order in which they come, and carries bytes from one to the other, with epoll, one
 * recv() and one send() a message, and no look at what it carries.
 */
#ifndef TESTS_BENCH_RELAY_H
#define TESTS_BENCH_RELAY_H

/* Does not return. */
void relay_run(int listener) __attribute__((noreturn));

#endif
