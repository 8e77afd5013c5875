/* SPDX-License-Identifier: MIT */
/*
 * Asks the policy on behalf of peers, and puts its verdicts into words.
 *
 * Who may not subscribe to bus.name.<name> does not see that name, and who may not
 * subscribe to bus.peer.<N> does not see that connection: not in events, nor in lists,
 * nor by asking for it.
 */
#ifndef BUSD_ACCESS_H
#define BUSD_ACCESS_H

#include "busd/hub.h"

/* Each returns whether the peer may; *ret_verdict (where there is one) says why. */
bool access_verb(const struct peer *peer, enum policy_verb verb,
                 struct policy_verdict *ret_verdict);
bool access_own(const struct peer *peer, struct span name, struct policy_verdict *ret_verdict);

/* `name` as it was asked; `callee` may be NULL, for the bus or for nobody. */
bool access_call(const struct peer *caller, const struct peer *callee, struct span name,
                 struct span method, struct policy_verdict *ret_verdict);

/* Cached with the topic's route. */
bool access_publish(const struct peer *sender, struct route *route,
                    struct policy_verdict *ret_verdict);
/* The same of a topic without a route. */
bool access_publish_topic(const struct peer *sender, struct span topic,
                          struct policy_verdict *ret_verdict);
bool access_subscribe(const struct peer *peer, struct span topic,
                      struct policy_verdict *ret_verdict);

/* Whether the peer sees a well-known name, or another connection. */
bool access_sees_name(const struct peer *peer, struct span name);
bool access_sees_peer(const struct peer *peer, const struct peer *other);

/* The peer that a name stands for, if `peer` sees it; else NULL. */
struct peer *access_find_peer(struct hub *hub, const struct peer *peer, struct span name);

/* Drops the receivers from a fresh route that may not have its topic. */
void access_filter_route(struct hub *hub, struct route *route);

/* Appends "(/etc/busd/system.json, rule 3: reason)". */
void access_describe_rule(struct text *text, const struct policy_verdict *verdict);

/* Appends "you may not call 'org.example.A' (/etc/busd/system.json, rule 3: reason)". */
void access_describe(struct text *text, enum policy_verb verb, struct span what,
                     const struct policy_verdict *verdict);

#endif
