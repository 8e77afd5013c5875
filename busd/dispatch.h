/* SPDX-License-Identifier: MIT */
/*
 * What to do with a line from a client: reads its envelope, pairs it with its fds,
 * and routes it by type. Answers whatever is wrong; ends the client only where the
 * protocol says so.
 */
#ifndef BUSD_DISPATCH_H
#define BUSD_DISPATCH_H

#include "busd/announce.h"
#include "busd/answer.h"

void dispatch_line(struct peer *peer, enum lines_result result, const struct line *line);

/* Calls whose deadline has passed: bus.Timeout to the caller, cancel to the callee. */
void dispatch_deadlines(struct hub *hub, uint64_t now);

/* The peer is leaving: ends its calls, names, subscriptions and filters, and tells
 * those whom it concerns. At most *traces of them, which are counted down: true when
 * no registry knows the peer any more. */
bool dispatch_goodbye(struct hub *hub, struct peer *peer, unsigned *traces);

#endif
