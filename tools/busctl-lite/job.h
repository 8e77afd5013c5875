/* SPDX-License-Identifier: MIT */
/*
 * One call that a command answers: it gets the call's body on its stdin, its
 * stdout becomes the reply, or line by line the replies, its failure an error. Nothing
 * here waits: the owner watches the pipes through the epoll descriptor that it gives
 * along (the event's pointer is the job) and asks for the end when SIGCHLD has come, and
 * after that whenever something has been read.
 */
#ifndef BUSCTL_JOB_H
#define BUSCTL_JOB_H

#include <bus/bus.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "tools/busctl-lite/items.h"

#define JOB_OUTPUT_MAX ((size_t)16 << 20)
#define JOB_TAIL_MAX   400

struct job {
    struct job *next;
    struct bus_message *call;
    pid_t pid; /* 0: not running */
    bool exited;
    int wait_status;
    bool streams; /* each line is an item */
    struct items items;
    int epoll_fd; /* borrowed */
    int output_fd;
    int error_fd;
    char *output;
    size_t output_size;
    size_t output_capacity;
    bool overflow;               /* it wrote more than JOB_OUTPUT_MAX */
    char tail[JOB_TAIL_MAX * 2]; /* the end of what it wrote to stderr … */
    size_t tail_size;            /* … of which the last JOB_TAIL_MAX bytes are shown */
};

/* Keeps the call. With `streams` each line is an item, if the caller wants several
 * replies. NULL without memory. */
struct job *job_new(struct bus_message *call, bool streams);

/* Kills the command if it still runs. */
void job_free(struct job *job);

/* Starts the command, with the signals in `mask` blocked. When that fails the
 * call is answered with an error, and false returned: the job is over. */
bool job_start(struct job *job, char *const *argv, const sigset_t *mask, int epoll_fd);

/* Reads what the command has written. */
void job_read(struct job *job);

/* Whether the command has ended, and all that it wrote has been sent; the call is
 * answered then, and the job over. */
bool job_finish(struct job *job);

#endif
