/* SPDX-License-Identifier: MIT */
/*
 * The event loop of the verbs that wait: one poll(2) over the connection, over
 * stdout if the verb prints (its reader may go while we have nothing to write: we end
 * then as if we had written), and over one file descriptor of the verb's own.
 */
#ifndef BUSCTL_LOOP_H
#define BUSCTL_LOOP_H

#include <bus/bus.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/busctl-lite/cli.h"

struct loop {
    const struct cli *cli;
    struct bus *bus;
    uint64_t deadline; /* as clock_milliseconds(); UINT64_MAX: none */
    bool done;         /* set by any callback to end the loop */
    int status;        /* what the loop then returns */
    bool prints;       /* whether stdout matters */
    bool in_time;      /* false once the deadline ended the loop */

    int fd; /* -1: none */
    void (*ready)(void *userdata);
    void *userdata;
};

/* Connects, with --timeout as the deadline. `loop->bus` is the caller's to close,
 * on failure too. */
int loop_init(struct loop *loop, const struct cli *cli);

/* Runs until done or the deadline passes (the status is STATUS_OK then, and
 * in_time false), or the connection is lost, which is reported. */
int loop_run(struct loop *loop);

/* From a callback: ends the loop. */
void loop_end(struct loop *loop, int status);

#endif
