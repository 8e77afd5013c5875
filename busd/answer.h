/* SPDX-License-Identifier: MIT */
/*
 * What the broker itself says to one client: replies, cancels and errors. Every error
 * that a client gets to see is made here.
 */
#ifndef BUSD_ANSWER_H
#define BUSD_ANSWER_H

#include "busd/deliver.h"

/* The answer to a call of the broker's own methods; `body` is JSON text, `fds` are
 * borrowed. */
void answer_reply(struct hub *hub, struct peer *caller, uint64_t id, struct span body,
                  struct fds *fds);

/* Answers all receipts that are due. */
void answer_receipts(struct hub *hub);

/* The error that answers the call `id` of this caller. NULL as format: the error's
 * own sentence. */
void answer_call_error(struct hub *hub, struct peer *caller, uint64_t id, enum wire_error error,
                       const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The error about a message that was read: by its id if it is a call or an event
 * with an id, none for a call that wants no reply, else with `about`. */
void answer_error(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                  enum wire_error error, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* The error about a line that could not be read; `envelope` (may be NULL) is what
 * could be, `offset` the byte where it went wrong. */
void answer_complaint(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                      const size_t *offset, enum wire_error error, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* bus.AccessDenied about a message, with the rule that decided; logged too. */
void answer_denied(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                   enum policy_verb verb, struct span what, const struct policy_verdict *verdict);

/* The last line to a peer whose end has a reason: bus.Disconnected. */
void answer_goodbye(struct hub *hub, struct peer *peer, const char *reason);

/* Tells the callee that a call has ended; `reason` is cancelled, disconnected, timeout or
 * limit. */
void answer_cancel(struct hub *hub, struct peer *caller, struct peer *callee, uint64_t id,
                   const char *reason);

/* A message whose fds the kernel would not take has left the queue: tells those
 * whom it concerns. */
void answer_refused(struct hub *hub, struct peer *receiver, const struct piece *piece);

#endif
