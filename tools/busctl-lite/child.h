/* SPDX-License-Identifier: MIT */
/*
 * Starting other programs.
 */
#ifndef BUSCTL_CHILD_H
#define BUSCTL_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct child_variable {
    const char *name;
    const char *value;
};

struct child_setup {
    char *const *argv;
    int stdin_fd; /* borrowed; -1: ours */
    int stdout_fd;
    int stderr_fd;
    int kept_fd;                            /* stays open under its number; -1: none */
    const sigset_t *mask;                   /* the signals it blocks; NULL: as we do */
    bool own_session;                       /* away from our terminal and its signals */
    bool own_group;                         /* can be killed together with its own children */
    int death_signal;                       /* it gets this when we die; 0: nothing */
    const struct child_variable *variables; /* ended by one without name; NULL: none */
};

#define CHILD_SETUP_INIT                                                                           \
    {                                                                                              \
        .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .kept_fd = -1                            \
    }

/* 0, or -errno also when the program itself could not be executed. */
int child_spawn(const struct child_setup *setup, pid_t *ret_pid);

/* Waits for the end; the status as waitpid() gives it. */
int child_wait(pid_t pid);

/* An exit status as shells give it: 128 + N for death by signal N. */
int child_exit_status(int wait_status);

/* A file in memory with these bytes, positioned at its start: something to read
 * for a child that may take its time. Or -errno. */
int memory_file(const char *text, size_t size);

#endif
