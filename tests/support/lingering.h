/* SPDX-License-Identifier: MIT */
/*
 * Sockets whose close(2) takes long: something is left to be sent, nobody reads it, and
 * SO_LINGER says to wait for that.
 */
#ifndef TESTS_SUPPORT_LINGERING_H
#define TESTS_SUPPORT_LINGERING_H

/* One whose last close(2) takes so many seconds, or until lingering_release() is called
 * for *ret_other, its other end. Fails the test if there is none to be had. */
int lingering_open(int seconds, int *ret_other);

/* Lets its close(2) return, and closes the other end. */
void lingering_release(int other);

#endif
