/* SPDX-License-Identifier: MIT */
/*
 * Whom a message to a name goes to. Those who share a name take turns; passed over is
 * who may not be sent the message, and who leaves much unread while somebody else
 * does not. When all of them do, it is the one who leaves the least.
 *
 * No more than SHARING_CANDIDATES owners are looked at for one message; the next
 * message goes on behind them.
 */
#ifndef BUSD_SHARING_H
#define BUSD_SHARING_H

#include "busd/access.h"
#include "libbus/wire/envelope.h"

#define SHARING_CANDIDATES 64

/* The receiver of a call, or of an event with `to`. Whether it may have that: the
 * verdict is the policy's about the call, or about the receiver and the topic.
 * *ret_peer is NULL if nobody has the name. */
bool sharing_choose(struct hub *hub, const struct peer *sender, const struct envelope *envelope,
                    struct peer **ret_peer, struct policy_verdict *ret_verdict);

#endif
