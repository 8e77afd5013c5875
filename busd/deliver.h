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
 *
 * Whoever has asked to be disconnected rather than lose an event is cut then. And for whoever
 * wants the latest only, an event takes the place of the one before it of the same topic, at
 * the end of the queue: but not before something has been left unsent by a flush, so who
 * keeps up gets them all.
 */
#ifndef BUSD_DELIVER_H
#define BUSD_DELIVER_H

#include "busd/access.h"
#include "libbus/wire/envelope.h"

enum delivery {
    DELIVER_LATEST,     /* an event, for who has no use for older ones of its topic … */
    DELIVER_EVENT,      /* … for who may lose it … */
    DELIVER_DISCONNECT, /* … or for who had rather be cut than lose it */
    DELIVER_CALL,
    DELIVER_ITEM,   /* a reply that says that another follows */
    DELIVER_ANSWER, /* what is never dropped: replies, errors, cancels, notices */
};

/* Lays out a client's line with its sender in front, and then `key`, another member with
 * a comma (empty: none). 0 or -ENOMEM; the piece is borrowed until the next layout. `fds`
 * is borrowed by the piece. */
int deliver_layout(struct hub *hub, struct peer *sender, struct span key,
                   const struct envelope *envelope, struct fds *fds, struct piece *ret_piece);

/* Queues a piece. `topic` is that of an event, for the notice if it is dropped.
 * 0, or WIRE_LIMIT_EXCEEDED: not queued (the receiver may be doomed now). */
int deliver_to(struct hub *hub, struct peer *receiver, const struct piece *piece,
               enum delivery delivery, struct span topic);

/* Queues an event for a member of a group if there is room; else nothing is lost. 0 or
 * WIRE_LIMIT_EXCEEDED. `filter`: see busd/shares.h. */
int deliver_share(struct hub *hub, struct peer *receiver, const struct piece *piece,
                  struct group *group, uint64_t filter);

/* Makes the line of a client's event, call or answer and sends it to one receiver,
 * and to monitors. 0, WIRE_LIMIT_EXCEEDED or -ENOMEM. */
int deliver_message(struct hub *hub, struct peer *sender, struct peer *receiver,
                    const struct envelope *envelope, struct fds *fds, enum delivery delivery);

/* The receivers of a topic who may have it; as topics_route(). */
struct route *deliver_route(struct hub *hub, struct span topic);

/* A client's event to all whom the route names. What becomes of it is noted in the receipt
 * (NULL: nobody wants to know), which then waits for those of them who are behind. */
void deliver_event(struct hub *hub, struct peer *sender, struct route *route,
                   const struct envelope *envelope, struct fds *fds, struct receipt *receipt);

/* The same for an event that is for one receiver. 0 or -ENOMEM. */
int deliver_event_to(struct hub *hub, struct peer *sender, struct peer *receiver,
                     const struct envelope *envelope, struct fds *fds, struct receipt *receipt);

/* To one member of each queue group that the route names: the next in turn of those who may
 * have it, are not behind and have room; if all are behind, the next who has room; if none
 * has, one of them gets notice. With `to` also says who it was. Returns how many have got
 * it. */
size_t deliver_to_groups(struct hub *hub, struct peer *sender, const struct route *route,
                         const struct envelope *envelope, struct fds *fds, struct receipt *receipt,
                         struct peer **to);

/* Takes the oldest event of a group's that has not been written to the member yet, or with
 * `strewn` that its queue has let go of, and gives it to another member, in the same way.
 * False: there is none. */
bool deliver_again(struct hub *hub, struct peer *member, bool strewn);

/* Writes down whether the receiver gets the event; if it has much to read before, the
 * receipt waits for it. */
void deliver_note(struct receipt *receipt, struct peer *receiver, bool is_queued);

/* Shows monitors a call that goes to no peer: to the broker itself, or to nobody. */
void deliver_nowhere(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                     struct fds *fds, bool to_broker);

/* A line that the broker made, newline included, to one receiver: 0,
 * WIRE_LIMIT_EXCEEDED or -ENOMEM (the receiver is doomed) … */
int deliver_text(struct hub *hub, struct peer *receiver, enum message_type type, struct span topic,
                 struct span line, struct fds *fds);
/* … or, an event from `sender` (NULL: the bus itself), to the subscribers of its topic:
 * 0 or -ENOMEM. */
int deliver_text_event(struct hub *hub, struct peer *sender, struct span topic, struct span line);

/* Whether so many bytes of answers can be queued for the receiver at no one's cost. */
bool deliver_fits(const struct hub *hub, const struct peer *receiver, uint64_t bytes);

/* The last value of a topic, to one receiver, as part of an answer. `sender` as above. */
int deliver_value(struct hub *hub, struct peer *sender, struct peer *receiver, struct span topic,
                  const struct piece *piece);

/* The very last line to a receiver, past every limit. */
void deliver_last(struct hub *hub, struct peer *receiver, struct span line);

/* Counts an event that a receiver does not get, for its notice. */
void deliver_lost(struct hub *hub, struct peer *receiver, struct span topic);

/* The kernel will not take an event that has been queued for the receiver. */
void deliver_refused(struct hub *hub, struct peer *receiver, struct span topic);

#endif
