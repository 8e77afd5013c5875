/* SPDX-License-Identifier: MIT */
/*
 * Processes: starting and ending them, on which cores they run, and what the kernel
 * says they have used. A process that cannot be asked any more has used 0.
 */
#ifndef TESTS_BENCH_PROCESS_H
#define TESTS_BENCH_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Remembers which cores we may use, and takes all the file descriptors we may have. */
void process_init(void);

/* How many cores that are. */
unsigned process_cores(void);

/* A child that dies with us. Ends the program when there can be none. */
pid_t process_fork(void);

/* Sends the signal and waits; after two seconds it is killed. 0 is let pass. */
void process_end(pid_t pid, int signal);

/* Lets a process (0: this one) and its threads run on the first core, or on all. */
void process_pin(pid_t pid, bool pinned);

/* Microseconds of all its threads, user and system. */
double process_cpu(pid_t pid);

/* Kilobytes that are resident. */
double process_resident(pid_t pid);

/* Context switches of all its threads. */
uint64_t process_switches(pid_t pid);

/* As execvp(), with standard output and error going nowhere unless $BENCH_VERBOSE is
 * set. Does not return. */
void process_exec(const char *const *arguments) __attribute__((noreturn));

#endif
