/* SPDX-License-Identifier: MIT */
/*
 * The one way out: lays lines out once for all receivers, puts them into queues,
 * applies the queue limits, and shows monitors what passes.
 *
 * What happens beyond the hard limit of a receiver's queue (`queue_bytes`) depends
 * on what it is: an event is dropped and counted, and the receiver told with
 * bus.overflow as soon as it reads again; a call is refused, and so is an item, one of
 * several replies; an answer may go beyond by as much again, and then the receiver is cut, for it
 * does not read what it asked for. The same goes for `fds_queued`, but that an answer whose fds do
 * not fit is replaced by an error. And the same goes for what the receiver's user may have
 * (`bytes_per_user`, `fds_per_user`), but that an answer then costs the connection of
 * this user that leaves the most unread.
 */
#ifndef BUSD_DELIVER_H
#define BUSD_DELIVER_H

#include "busd/access.h"
#include "libbus/wire/envelope.h"

enum delivery {
    DELIVER_EVENT,
    DELIVER_CALL,
    DELIVER_ITEM,   /* a reply that says that another follows */
    DELIVER_ANSWER, /* what is never dropped: replies, errors, cancels, notices */
};

/* Lays out a client's line with its sender in front. 0 or -ENOMEM; the piece is
 * borrowed until the next layout. `fds` is borrowed by the piece. */
int deliver_layout(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                   struct fds *fds, struct piece *ret_piece);

/* Queues a piece. `topic` is that of an event, for the notice if it is dropped.
 * 0, or WIRE_LIMIT_EXCEEDED: not queued (the receiver may be doomed now). */
int deliver_to(struct hub *hub, struct peer *receiver, const struct piece *piece,
               enum delivery delivery, struct span topic);

/* Makes the line of a client's event, call or answer and sends it to one receiver,
 * and to monitors. 0, WIRE_LIMIT_EXCEEDED or -ENOMEM. */
int deliver_message(struct hub *hub, struct peer *sender, struct peer *receiver,
                    const struct envelope *envelope, struct fds *fds, enum delivery delivery);

/* The receivers of a topic who may have it; as topics_route(). */
struct route *deliver_route(struct hub *hub, struct span topic);

/* A client's event to all whom the route names. */
void deliver_event(struct hub *hub, struct peer *sender, struct route *route,
                   const struct envelope *envelope, struct fds *fds);

/* Shows monitors a call that goes to no peer: to the broker itself, or to nobody. */
void deliver_nowhere(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                     struct fds *fds, bool to_broker);

/* A line that the broker made, newline included, to one receiver: 0,
 * WIRE_LIMIT_EXCEEDED or -ENOMEM (the receiver is doomed) … */
int deliver_text(struct hub *hub, struct peer *receiver, enum message_type type, struct span topic,
                 struct span line, struct fds *fds);
/* … or, an event, to the subscribers of its topic: 0 or -ENOMEM. */
int deliver_text_event(struct hub *hub, struct span topic, struct span line);

/* The very last line to a receiver, past every limit. */
void deliver_last(struct hub *hub, struct peer *receiver, struct span line);

/* Counts an event that a receiver does not get, for its notice. */
void deliver_lost(struct hub *hub, struct peer *receiver, struct span topic);

#endif
