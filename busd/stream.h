/* SPDX-License-Identifier: MIT */
/*
 * Calls with several replies (`more`): their items, which are the replies that say that
 * another follows, on their way to the caller.
 *
 * A caller that does not read as fast as the callee sends is not cut, and what waits for it
 * does not grow. When an item is queued for a caller that is then behind
 * (`queue_soft_bytes`, or half of `fds_queued`), the callee is told with the event bus.flow,
 * and once more when half of that is left. In between the call's deadline stands still: the
 * caller may take its time, for nobody but this call waits for it. A callee that goes on
 * regardless comes to the caller's hard limits (`queue_bytes`, `fds_queued`). That ends the
 * call, and nothing but the call: bus.LimitExceeded for the caller, a cancel with the
 * reason `limit` for the callee.
 */
#ifndef BUSD_STREAM_H
#define BUSD_STREAM_H

#include "busd/announce.h"
#include "busd/answer.h"

/* The caller's queue has been written: tells the callees that wait for it, `max` at most.
 * Returns how many. */
unsigned stream_wake(struct peer *caller, unsigned max);

/* An item that the callee of this call has sent; both may be gone afterwards. */
void stream_item(struct hub *hub, struct call *call, const struct envelope *envelope,
                 struct fds *fds);

/* Ends a call because an item cannot be delivered; `message` is for the caller. */
void stream_break(struct hub *hub, struct call *call, enum wire_error error, const char *message);

/* The final answer, or the end, of a call of which an item has been lost on the way
 * (call->broken). */
void stream_end_broken(struct hub *hub, struct call *call);

/* Whether the piece, whose fds the kernel would not take and which has left the queue, was
 * an item; then its call does not end well. May be called in the middle of a delivery. */
bool stream_refused(struct hub *hub, struct peer *receiver, const struct piece *piece);

#endif
