/* SPDX-License-Identifier: MIT */
/*
 * How long the bus waits for a client that does not go on: with its first valid
 * message (`unproven_timeout`), with the rest of a line or of what was to come with
 * its file descriptors (`line_timeout`), with reading when more than `queue_bytes`
 * or any file descriptors wait for it, or events have been dropped, or somebody waits until
 * it has caught up (`stall_timeout`). File descriptors in its socket do not wait. What counts
 * is progress:
 * a client that sends or reads, however slowly, is not cut.
 */
#ifndef BUSD_PATIENCE_H
#define BUSD_PATIENCE_H

#include "busd/hub.h"

/* A connection has begun. */
void patience_await_message(struct hub *hub, struct peer *peer);

/* It has sent its first valid message. */
void patience_prove(struct hub *hub, struct peer *peer);

/* It has begun a line, or has ended the one it had begun. */
void patience_await_line(struct hub *hub, struct peer *peer);

/* Its queue, or what has been lost, is more or less than before. */
void patience_await_reading(struct hub *hub, struct peer *peer);

/* One of its deadlines (any but that of a call) has passed. */
void patience_expire(struct hub *hub, struct deadline *deadline);

/* It has gone: nobody waits for it any more. */
void patience_leave(struct hub *hub, struct peer *peer);

#endif
