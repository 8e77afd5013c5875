/* SPDX-License-Identifier: MIT */
/*
 * Policy rules as they stand in a configuration file:
 *
 *     {"allow": VERBS, …} or {"deny": VERBS, …}
 *
 * with VERBS one of connect, own, call, publish, subscribe, monitor, manage, an array
 * of them, or "*". Who: "user" or "uid", "group" or "gid", "listener", "sender". What:
 * "name" (own), "to" and "method" (call), "topic" (publish, subscribe). "reason" is for
 * the one who is denied. Names of users and groups become numbers here, once.
 */
#ifndef BUSD_RULES_H
#define BUSD_RULES_H

#include "busd/document.h"
#include "busd/policy.h"

/* Appends the rules of an array. With `label` (NULL: none) they are for the clients of
 * that listener. False with a sentence in `reason`. */
bool rules_read(struct policy *policy, const struct document *document,
                const struct document_step *step, const json_t *array, const char *label,
                char reason[DOCUMENT_REASON_SIZE]);

/* A user or group by name or number. */
bool rules_read_user(const struct document *document, const struct document_step *step,
                     const json_t *value, uid_t *ret_uid, char reason[DOCUMENT_REASON_SIZE]);
bool rules_read_group(const struct document *document, const struct document_step *step,
                      const json_t *value, gid_t *ret_gid, char reason[DOCUMENT_REASON_SIZE]);

#endif
