/* SPDX-License-Identifier: MIT */
/*
 * The floor of every comparison: a relay that reads from one client and writes to
 * the other, with epoll, one recv() and one send() a message, and no look at what it
 * carries.
 */
#ifndef TESTS_BENCH_RELAY_H
#define TESTS_BENCH_RELAY_H

/* Relays between the two connected sockets until one of them ends. */
void relay_run(int a, int b);

/* Sends whatever comes back to where it came from, until the end. */
void relay_echo(int fd);

#endif
