/* SPDX-License-Identifier: MIT */
/*
 * What a command writes, line by line, as the items of a call with several replies: JSON
 * as it is, anything else as a string. No more is read than the caller takes.
 */
#ifndef BUSCTL_ITEMS_H
#define BUSCTL_ITEMS_H

#include <bus/bus.h>
#include <stdbool.h>

#include "tools/busctl-lite/lines.h"

enum items_state {
    ITEMS_WAIT, /* for the command to write more */
    ITEMS_HELD, /* until the call's ready handler is called */
    ITEMS_END,  /* everything has been sent */
    ITEMS_LOST, /* nobody listens, or a line is longer than can be sent */
};

struct items {
    struct bus_message *call; /* borrowed */
    struct lines lines;
    bool too_large;
};

void items_init(struct items *items, struct bus_message *call);
void items_deinit(struct items *items);

/* Sends what has been read already: ITEMS_WAIT if that is all. */
enum items_state items_send(struct items *items);

/* Reads on and sends. */
enum items_state items_move(struct items *items, int fd);

/* There will be nothing more to read, though the pipe has not come to its end. */
void items_finish(struct items *items);

#endif
