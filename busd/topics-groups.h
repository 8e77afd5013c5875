/* SPDX-License-Identifier: MIT */
/*
 * A part of busd/topics.h, and for it alone: which members of which queue groups an event
 * on a topic is for. They are collected one by one, as the trie is walked, and then
 * arranged by group, in as many steps as there are members.
 */
#ifndef BUSD_TOPICS_GROUPS_H
#define BUSD_TOPICS_GROUPS_H

#include "busd/topics.h"

/* Forgets what has been found before. */
void route_groups_begin(struct route_groups *groups);

/* A subscription with a group that fits. False: out of memory. */
bool route_groups_add(struct route_groups *groups, const struct subscription *subscription);

/* When all have been added. A subscriber is a member once, or once for each filter. Takes
 * marks. False: out of memory. */
bool route_groups_arrange(struct topics *topics, struct route_groups *groups);

void route_groups_deinit(struct route_groups *groups);

/* The memory that is held. */
size_t route_groups_bytes(const struct route_groups *groups);

#endif
