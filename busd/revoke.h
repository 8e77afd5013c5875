/* SPDX-License-Identifier: MIT */
/*
 * A new policy comes into force: for clients that are connected already, with what
 * they subscribe to, own, have asked for and have waiting.
 */
#ifndef BUSD_REVOKE_H
#define BUSD_REVOKE_H

#include "busd/announce.h"
#include "busd/answer.h"

/* Gives every peer its view of the policy and takes back what it may not have any
 * more: who may not connect is cut; events and calls that wait unread are taken out of
 * queues, calls that wait for an answer end with bus.AccessDenied, monitors see no
 * more. Names are kept, but the log says so. */
void revoke_apply(struct hub *hub, struct policy *policy);

#endif
