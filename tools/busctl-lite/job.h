/* SPDX-License-Identifier: MIT */
/*
 * One call that a command answers: it gets the call's body on its stdin, its
 * stdout becomes the reply, its failure an error. Nothing here waits: the owner
 * watches the pipes through the epoll descriptor that it gives along (the event's
 * pointer is the job) and asks for the end when SIGCHLD has come.
 */
#ifndef BUSCTL_JOB_H
#define BUSCTL_JOB_H

#include <bus/bus.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define JOB_OUTPUT_MAX ((size_t)16 << 20)
#define JOB_TAIL_MAX   400

struct job {
    struct job *next;
    struct bus_message *call;
    pid_t pid; /* 0: not running */
    int output_fd;
    int error_fd;
    char *output;
    size_t output_size;
    size_t output_capacity;
    bool overflow;               /* it wrote more than JOB_OUTPUT_MAX */
    char tail[JOB_TAIL_MAX * 2]; /* the end of what it wrote to stderr … */
    size_t tail_size;            /* … of which the last JOB_TAIL_MAX bytes are shown */
};

/* Keeps the call. NULL without memory. */
struct job *job_new(struct bus_message *call);

/* Kills the command if it still runs. */
void job_free(struct job *job);

/* Starts the command, with the signals in `mask` blocked. When that fails the
 * call is answered with an error, and false returned: the job is over. */
bool job_start(struct job *job, char *const *argv, const sigset_t *mask, int epoll_fd);

/* Reads what the command has written. */
void job_read(struct job *job);

/* Whether the command has ended; the call is answered then, and the job over. */
bool job_finish(struct job *job);

#endif
