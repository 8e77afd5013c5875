/* SPDX-License-Identifier: MIT */
/*
 * The folder where the bus keeps what outlives it. It must be a folder (not a link to
 * one) of ours in which nobody else can read or write, and one busd at a time has it:
 * it is locked while it is open. It is made when something is to be kept for the first
 * time, in a folder that is there.
 *
 * statedir_prepare() is for the start, with the rights that there are then; the rest can
 * be done at any time and on any thread, but by one at a time.
 */
#ifndef BUSD_STATEDIR_H
#define BUSD_STATEDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "libbus/base/log.h"

#define STATEDIR_REASON_SIZE 512

struct statedir {
    char *path;   /* NULL: there is none */
    bool parents; /* the folders above it may be made, too */
    int fd;       /* -1: it is not open */
};

#define STATEDIR_NONE ((struct statedir){.fd = -1})

/* Copies the path (may be NULL: no folder). 0 or -ENOMEM. */
int statedir_init(struct statedir *dir, const char *path, bool parents);

/* Unlocks it. */
void statedir_deinit(struct statedir *dir);

/* Looks at the folder if there is one, and whether it could be made if there is none. If
 * we are going to be somebody else ((uid_t)-1: we are not), it is made and given to that
 * user now. 0 or -errno; the log says what was wrong and what would be right. */
int statedir_prepare(const struct statedir *dir, uid_t user, gid_t group, struct log *log);

/* Whether there is something of this name in it. */
bool statedir_has(const struct statedir *dir, const char *name);

/* Makes it if need be, opens and locks it. 0 if it is open, -EBUSY if another busd has
 * it, or -errno; with a sentence in `reason`. */
int statedir_open(struct statedir *dir, char reason[STATEDIR_REASON_SIZE]);

#endif
