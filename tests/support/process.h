/* SPDX-License-Identifier: MIT */
/*
 * What /proc tells about a process, and waiting for one with a limit.
 */
#ifndef TESTS_SUPPORT_PROCESS_H
#define TESTS_SUPPORT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Milliseconds on the monotonic clock. */
uint64_t process_now(void);

/* How many file descriptors are open, the one used for looking not counted. */
unsigned process_open_fds(pid_t pid);

/* Sets the process's limit of open files so that just `room` more fit; SIZE_MAX: to
 * what the hard limit allows. Returns false if that cannot be. */
bool process_limit_fds(pid_t pid, size_t room);

/* Writes what they are, one a line, to standard error. */
void process_print_fds(pid_t pid);

/* Voluntary and involuntary context switches of all its threads. */
uint64_t process_context_switches(pid_t pid);

/* How many threads it has. */
unsigned process_threads(pid_t pid);

/* Nanoseconds of processor time that it has used. */
uint64_t process_cpu_ns(pid_t pid);

/* Kilobytes of memory that are resident. */
uint64_t process_resident(pid_t pid);

/* Waits at most `timeout_ms` for a child to end; false if it has not. */
bool process_wait(pid_t pid, uint64_t timeout_ms, int *ret_status);

#endif
