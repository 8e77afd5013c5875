/* SPDX-License-Identifier: MIT */
/*
 * Last values of the level `disk`: what clients publish goes from the registry
 * (busd/retained.h) to the store (busd/store.h), and what the store says goes back to them.
 *
 * An event whose value is for the disk is taken and delivered like any other, whatever
 * comes of the disk; its receipt waits until the value is there. If that fails, the
 * publisher gets bus.StorageFailed instead of the receipt, or, without an id, with `about`.
 * That error always means the same: the event has been delivered, its value is the
 * topic's and lasts as long as the bus; on the disk there is what was there before, or,
 * if nobody can tell, perhaps the new one. A bus without a state folder says it at once.
 *
 * An event is refused, with bus.LimitExceeded and nothing done, when too much of its
 * user's waits for the disk already.
 */
#ifndef BUSD_PERSIST_H
#define BUSD_PERSIST_H

#include "busd/answer.h"

/* How many waiters are told in one turn. */
#define PERSIST_TOLD 256

/* One who waits for the disk. */
struct persist_ticket;

/* Makes ready; `wake` is called on another thread when persist_turn() has something to
 * do. */
void persist_init(struct hub *hub, void (*wake)(void *userdata), void *userdata);

/* Takes the folder, and brings back the values that are there: see store_open(). */
int persist_open(struct hub *hub, struct statedir *dir, bool sealed);

/* Waits for `timeout` milliseconds at most. */
void persist_deinit(struct hub *hub, uint64_t timeout);

/* An event with `retain` is going to be kept. False: it has been refused. A ticket is for
 * one of the following; NULL: it does not have to wait. */
bool persist_begin(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                   struct persist_ticket **ret_ticket);

/* It has been kept: the receipt (NULL: none is wanted) waits from now on. */
void persist_await(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                   struct persist_ticket *ticket, struct receipt *receipt);

/* It has not. */
void persist_cancel(struct persist_ticket *ticket);

/* Once a turn. True if there is more to do. */
bool persist_turn(struct hub *hub);

#endif
