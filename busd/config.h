/* SPDX-License-Identifier: MIT */
/*
 * The configuration: a plain struct that is right in every part, or none at all. A
 * file is a JSON object; every key is optional and unknown keys are errors:
 *
 *     {"limits": {"connections": 100},
 *      "listeners": [{"address": "unix:/run/busd/bus", "mode": "0666",
 *                     "owner": "root", "group": "root", "label": "desktop",
 *                     "limits": {…}, "policy": […]}],
 *      "policy": [{"allow": "own", "name": "org.example.#", "user": "alice"},
 *                 {"deny": "*", "reason": "ask the administrator"}],
 *      "state": "/var/lib/busd"}
 *
 * Which files there are: the one that is named; else user.json or system.json in the
 * first folder that has it. Beside it, conf.d/ and policy.d/ of every folder hold more
 * of the same, read in the order of their names; a file in an earlier folder masks one
 * of the same name in a later one, and an empty file does nothing but that. A later
 * file's limits count; rules of these files stand before those of the main file, so
 * that they can make exceptions from its end, and a listener's own rules before all.
 */
#ifndef BUSD_CONFIG_H
#define BUSD_CONFIG_H

#include <stdbool.h>
#include <sys/types.h>

#include "busd/document.h"
#include "busd/limits.h"
#include "busd/policy.h"

#define CONFIG_REASON_SIZE DOCUMENT_REASON_SIZE

struct config_listener {
    char *address;
    char *label; /* of its clients' credentials; empty if it has none */
    mode_t mode;
    uid_t owner; /* (uid_t)-1 and (gid_t)-1: ours */
    gid_t group;
    struct limits limits; /* the bus's, with its own laid over them */
    json_t *own_limits;   /* until the bus's are known; NULL: none */
};

struct config {
    bool system;
    struct limits limits;
    struct config_listener *listeners;
    size_t listener_count;
    struct policy *policy;
    char *state;      /* the folder for what outlives the bus; NULL: nothing does */
    bool state_named; /* somebody has named it; else it is the usual one */
};

/* Where to read it from; all borrowed. */
struct config_source {
    bool system;
    const char *file;           /* NULL: looked for in the folders */
    const char *const *folders; /* the first has the first word */
    size_t folder_count;
    const char *const *limits; /* "NAME=VALUE", over all files */
    size_t limit_count;
    const char *const *addresses; /* instead of the files' listeners */
    size_t address_count;
    const char *address;     /* when neither says where to listen; or NULL */
    const char *state;       /* over all files; or NULL */
    const char *usual_state; /* of the bus that listens at `address`, if nobody has named one */
};

/* Reads it all anew. False with a sentence that names file, line, column and what
 * would be right, and nothing to be freed. */
bool config_load(struct config *ret_config, const struct config_source *source,
                 char reason[CONFIG_REASON_SIZE]);
void config_deinit(struct config *config);

/* Whether a text is NAME=VALUE of a limit there is. False with a sentence in `reason`. */
bool config_check_limit(const char *assignment, char reason[CONFIG_REASON_SIZE]);

#endif
