/* SPDX-License-Identifier: MIT */
/*
 * The file in the state folder in which last values outlive the bus: one SQLite table
 * from topic to value, user, expiry and
 * whether the topic was guarded, in WAL mode. What database_write() has said 0 to
 * is on the disk and survives a power cut; of what it has said an error to, all or
 * nothing may be there, and what was there before stays.
 *
 * A file that is not such a database, or a damaged one, is renamed to
 * retained.db.damaged-TIME when it is found, with what belongs to it, and a new one is
 * begun. A file that may only be read is read; writing fails then.
 *
 * The kernel says once that a write has failed, and takes the bytes for written ever
 * after. So after such a failure, and at the beginning, whatever is in the log is brought
 * into the database itself, and that synced, before anything else is said to be there.
 *
 * Everything here waits for the disk. Used by one thread at a time.
 */
#ifndef BUSD_DATABASE_H
#define BUSD_DATABASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "busd/sqlite.h"
#include "busd/statedir.h"
#include "libbus/base/span.h"

#define DATABASE_NAME        "retained.db"
#define DATABASE_REASON_SIZE STATEDIR_REASON_SIZE

/* What a topic is to have from now on. */
struct database_value {
    struct span topic;
    struct span value; /* with data NULL: nothing */
    uid_t uid;
    uint64_t expiry; /* milliseconds of real time; 0: never */
    bool guarded;    /* the topic began with a name of the publisher's */
};

enum database_statement {
    DATABASE_BEGIN,
    DATABASE_PUT,
    DATABASE_REMOVE,
    DATABASE_PURGE,
    DATABASE_COMMIT,
    DATABASE_STATEMENTS
};

/* All zero: not open. */
struct database {
    const struct sqlite *sqlite;
    sqlite3 *handle; /* NULL: not open */
    sqlite3_stmt *statements[DATABASE_STATEMENTS];
    bool settled; /* nothing is in the log that the disk may not have */
    bool read_only;
    char reason[DATABASE_REASON_SIZE]; /* of the last failure, for the log */
};

/* Opens it in a folder that is open. `sealed`: from now on, no file will be opened any
 * more. 0, or -errno with `reason` set. Whatever comes of it, *ret_notice (size
 * DATABASE_REASON_SIZE) says what the administrator should know, or is empty. */
int database_open(struct database *database, const struct statedir *dir, bool sealed,
                  char *ret_notice);
void database_close(struct database *database); /* idempotent */

/* Shows all values that have not expired by `now`, and removes those that have. The spans
 * live as long as the call of `show`. 0 or -errno with `reason` set. */
typedef void (*database_show)(const struct database_value *value, void *userdata);
int database_read(struct database *database, uint64_t now, database_show show, void *userdata);

/* A transaction: begin, as many values as there are, and commit, which also removes what
 * has expired by `now`. 0, or -errno with `reason` set; after an error, and only then,
 * nothing is begun any more. */
int database_begin(struct database *database);
int database_put(struct database *database, const struct database_value *value);
int database_commit(struct database *database, uint64_t now);

/* Whether an error says that there is not enough room or memory, and less might do. */
bool database_is_scarce(int error);

#endif
