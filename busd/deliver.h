/* SPDX-License-Identifier: MIT */
/*
 * The one way out: lays lines out once for all receivers, puts them into queues,
 * applies the queue limits, shows them to monitors, and makes the broker's own
 * messages. Every error that a client gets to see is made here.
 *
 * What happens beyond the hard limit of a receiver's queue (`queue_bytes`) depends
 * on what it is: an event is dropped and counted, and the receiver told with
 * bus.overflow as soon as it reads again; a call is refused; an answer may go
 * beyond by as much again, and then the receiver is cut, for it does not read what
 * it asked for. The same goes for `fds_queued`, but that an answer whose fds do not
 * fit is replaced by an error.
 */
#ifndef BUSD_DELIVER_H
#define BUSD_DELIVER_H

#include "busd/hub.h"
#include "libbus/wire/envelope.h"

enum delivery {
    DELIVER_EVENT,
    DELIVER_CALL,
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

/* A client's event to all whom the route names. */
void deliver_event(struct hub *hub, struct peer *sender, struct route *route,
                   const struct envelope *envelope, struct fds *fds);

/* Shows monitors a call to the broker itself. */
void deliver_to_broker(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                       struct fds *fds);

/* An event of the broker's own; `body` is JSON text. To one receiver … */
void deliver_notice(struct hub *hub, struct peer *receiver, struct span topic, struct span body,
                    bool retained);
/* … or to its subscribers. */
void deliver_broker_event(struct hub *hub, struct span topic, struct span body);

/* The answer to a call of the broker's own methods. `fds` are borrowed. */
void deliver_reply(struct hub *hub, struct peer *caller, uint64_t id, struct span body,
                   struct fds *fds);

/* The error that answers the call `id` of this caller. NULL as format: the error's
 * own sentence. */
void deliver_call_error(struct hub *hub, struct peer *caller, uint64_t id, enum wire_error error,
                        const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The error about a message that was read: by its id if it is a call or an event
 * with an id, none for a call that wants no reply, else with `about`. */
void deliver_error(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                   enum wire_error error, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* The error about a line that could not be read; `envelope` (may be NULL) is what
 * could be, `offset` the byte where it went wrong. */
void deliver_complaint(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                       const size_t *offset, enum wire_error error, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* The last line to a peer whose end has a reason: bus.Disconnected. */
void deliver_goodbye(struct hub *hub, struct peer *peer, const char *reason);

/* Tells the callee that a call has ended; `reason` is cancelled, disconnected or
 * timeout. */
void deliver_cancel(struct hub *hub, struct peer *caller, struct peer *callee, uint64_t id,
                    const char *reason);

/* Tells the subscribers of bus.name.<name>, if the owner has changed. */
void deliver_name_change(struct hub *hub, const struct name_change *change);

/* Tells the subscribers of bus.peer.<N>. */
void deliver_peer_change(struct hub *hub, const struct peer *peer, bool gone);

/* The bodies of those two, for snapshots too. Appended to `text`. */
void deliver_name_body(struct text *text, struct span owner, struct span old);
void deliver_peer_body(struct text *text, const struct peer *peer);

/* The notice about what a receiver has lost, if anything and if it reads again. */
void deliver_overflow(struct hub *hub, struct peer *receiver);

/* A message whose fds the kernel would not take has left the queue: tells those
 * whom it concerns. */
void deliver_refused(struct hub *hub, struct peer *receiver, const struct piece *piece);

#endif
