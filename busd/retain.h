/* SPDX-License-Identifier: MIT */
/*
 * Last values, as peers set and lose them. What ends without anybody's having cleared it
 * ends with a null event: in the name of who published it as long as that is connected
 * and could publish it, and else from the bus. It is so when the publisher leaves (level
 * `connection`), when the value's time is over (`ttl`), and when a new policy takes from the
 * publisher the right to publish the topic (level `connection` again: the others are the bus's by
 * then, to be cleared by whoever may).
 */
#ifndef BUSD_RETAIN_H
#define BUSD_RETAIN_H

#include "busd/announce.h"
#include "busd/answer.h"

/* An event with `retain`, which the sender may publish: keeps it, or ends what was kept.
 * `guarded`: a name that the topic begins with is the sender's. False: it has been refused,
 * and nothing has changed. */
bool retain_event(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                  bool guarded);

/* The time of a value is over. */
void retain_expire(struct hub *hub, struct deadline *deadline);

/* Lets go of one value of a peer that leaves; false when it has none left. */
bool retain_leave(struct hub *hub, struct peer *peer);

/* A new policy is in force for the peer's values. */
void retain_review(struct hub *hub, struct peer *peer);

/* Whether a value is there to be seen by this peer: it has not come to its end, the peer
 * may have its topic, and whoever owns a name that it begins with could have published
 * it. */
bool retain_is_seen(struct hub *hub, const struct peer *peer, const struct retained_value *value);

#endif
