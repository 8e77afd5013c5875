/* SPDX-License-Identifier: MIT */
/*
 * Names, topics, patterns and methods that a person typed, checked before they
 * reach the bus: a usage error then points at the wrong character.
 */
#ifndef BUSCTL_NAMES_H
#define BUSCTL_NAMES_H

#include <stdbool.h>

/* Whom one can call: a well-known name, a unique name such as ":3", or "bus". */
int check_peer(const char *verb, const char *name);

/* Only a well-known name, which one can own. */
int check_name(const char *verb, const char *name);

int check_topic(const char *verb, const char *topic);
int check_pattern(const char *verb, const char *pattern);
int check_method(const char *verb, const char *method);
int check_group(const char *verb, const char *group);

bool is_unique_name(const char *name);

#endif
