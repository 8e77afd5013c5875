/* SPDX-License-Identifier: MIT */
/*
 * The events of the broker's own: who owns which name, who is connected, what a
 * receiver has lost. They cost nothing while nobody subscribes to them.
 */
#ifndef BUSD_ANNOUNCE_H
#define BUSD_ANNOUNCE_H

#include "busd/deliver.h"

/* An event; `body` is JSON text. To one receiver … */
void announce_to(struct hub *hub, struct peer *receiver, struct span topic, struct span body,
                 bool retained);
/* … or to its subscribers. */
void announce(struct hub *hub, struct span topic, struct span body);

/* How many bytes announce_to() sends for a last value. */
size_t announce_size(struct span topic, struct span body);

/* A null event in the name of `sender` (NULL: the bus): the topic has no value any more. */
void announce_cleared(struct hub *hub, struct peer *sender, struct span topic);

/* There was no memory for an event: its subscribers get notice. */
void announce_lost(struct hub *hub, struct span topic);

/* bus.name.<name>, if its owners have changed. */
void announce_name_change(struct hub *hub, const struct name_change *change);

/* bus.peer.<N>. */
void announce_peer_change(struct hub *hub, const struct peer *peer, bool gone);

/* The bodies of those two, for snapshots too, appended to `text`. A name that nobody
 * owns is NULL; `old` is the owner before, or empty. */
void announce_name_body(struct text *text, const struct name *name, struct span old);
/* The owners of a name, as a part of such a body and of others. */
void announce_name_owners(struct text *text, const struct name *name);
void announce_peer_body(struct text *text, const struct peer *peer);

/* bus.overflow: what the receiver has lost, if anything and if it reads again. */
void announce_overflow(struct hub *hub, struct peer *receiver);

#endif
