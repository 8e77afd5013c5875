/* SPDX-License-Identifier: MIT */
/*
 * Who listens to what, as those see it who want to know: every subscription comes and
 * goes through here, and once a turn bus.subscribers.<topic> tells its watchers how many
 * connections would get an event of the topic now, if that is another number than
 * before.
 */
#ifndef BUSD_AUDIENCE_H
#define BUSD_AUDIENCE_H

#include "busd/announce.h"

/* As topics_subscribe(), for a pattern that audience_check() lets pass. */
int audience_join(struct hub *hub, struct peer *peer, const struct topics_request *request,
                  struct subscription **ret_subscription);

/* NULL, or what is wrong with a pattern of the topics bus.subscribers.<topic>. */
const char *audience_check(struct span pattern);

void audience_leave(struct hub *hub, struct subscription *subscription);

/* The owners of a name have changed, and with it what those may have to whom the policy
 * gives by name. */
void audience_name_changed(struct hub *hub, const struct name_change *change);

/* The value of bus.subscribers.<topic>; its watchers know it, too, by then. 0 or -ENOMEM. */
int audience_ask(struct hub *hub, struct span topic, size_t *ret_count);

/* {"count":3}. Appended to `text`. */
void audience_write(struct text *text, size_t count);

/* Tells of what has changed, as far as one turn goes. */
void audience_announce(struct hub *hub);

#endif
