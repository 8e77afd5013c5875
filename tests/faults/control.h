/* SPDX-License-Identifier: MIT */
/*
 * What the campaign and the library that is preloaded into busd (inject.c) share, in
 * one page of memory: which call is to fail and how, and what has come of it. The
 * campaign makes it as a memfd and names it in $BUSD_FAULTS.
 */
#ifndef TESTS_FAULTS_CONTROL_H
#define TESTS_FAULTS_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FAULT_ENV         "BUSD_FAULTS"
#define FAULT_TRACE_DEPTH 12

enum fault_call {
    FAULT_ALLOCATION, /* malloc, calloc, realloc and what is made of them */
    FAULT_RECVMSG,
    FAULT_SENDMSG,
    FAULT_ACCEPT,
    FAULT_EPOLL_CTL, /* but for those that libuv would die of */
    FAULT_EPOLL_CREATE,
    FAULT_GETSOCKOPT,
    FAULT_SETSOCKOPT,
    FAULT_IOCTL,
    FAULT_THREAD, /* pthread_create */
    FAULT_OPEN,   /* open and socket: what makes a file descriptor at the start */
    FAULT_CALLS,
};

/* Instead of an errno: the call succeeds in part. */
#define FAULT_SHORT     (-1) /* sendmsg takes one byte */
#define FAULT_TRUNCATED (-2) /* recvmsg loses the file descriptors: MSG_CTRUNC */

struct fault_frame {
    char module[24];
    uint64_t offset;
};

struct fault_control {
    /* Set by the campaign before it arms. */
    enum fault_call call;
    int error;
    uint64_t at; /* the number of the call that fails, from 1; 0: none, only count */
    bool for_ever;
    atomic_bool armed;

    /* Set by busd. */
    atomic_uint_fast64_t calls; /* since it was armed */
    atomic_uint_fast64_t fired;
    /* Sockets that libuv was the first to put into its epoll set: it aborts if the
     * kernel has no room for one. */
    atomic_uint_fast64_t exposed;
    struct fault_frame trace[FAULT_TRACE_DEPTH]; /* of the first fault */
    unsigned depth;
};

#endif
