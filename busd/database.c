/* SPDX-License-Identifier: MIT */
#include "busd/database.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "libbus/base/clock.h"
#include "libbus/base/macros.h"

/* "busd", and the layout below. */
#define APPLICATION_ID 0x62757364
#define VERSION        1

#define TABLE                                                                                      \
    "CREATE TABLE retained(topic TEXT NOT NULL PRIMARY KEY,value BLOB NOT NULL,"                   \
    "uid INTEGER NOT NULL,expiry INTEGER NOT NULL,guarded INTEGER NOT NULL)"
#define INDEX "CREATE INDEX expiries ON retained(expiry) WHERE expiry>0"

#define TEXT_OF(number)  TEXT_OF_(number)
#define TEXT_OF_(number) #number

/* It all fits a few hundred KiB of memory. The other threads of the process have nothing
 * to do with the file, and other processes are kept out of it, so that what they would
 * share need not be mapped. */
static const char settings[] = "PRAGMA locking_mode=EXCLUSIVE;"
                               "PRAGMA journal_mode=WAL;"
                               "PRAGMA synchronous=FULL;"
                               "PRAGMA temp_store=MEMORY;"
                               "PRAGMA mmap_size=0;"
                               "PRAGMA cache_size=-256;"
                               "PRAGMA wal_autocheckpoint=256;"
                               "PRAGMA journal_size_limit=1048576;"
                               "PRAGMA cell_size_check=ON;"
                               "PRAGMA trusted_schema=OFF;";

static const char layout[] = "BEGIN IMMEDIATE;" TABLE ";" INDEX ";PRAGMA application_id=" TEXT_OF(
    APPLICATION_ID) ";PRAGMA user_version=" TEXT_OF(VERSION) ";COMMIT";

static const char *const statement_texts[DATABASE_STATEMENTS] = {
    [DATABASE_BEGIN] = "BEGIN IMMEDIATE",
    [DATABASE_PUT] = ("INSERT INTO retained(topic,value,uid,expiry,guarded) VALUES(?1,?2,?3,?4,?5)"
                      " ON CONFLICT(topic) DO UPDATE SET value=?2,uid=?3,expiry=?4,guarded=?5"),
    [DATABASE_REMOVE] = "DELETE FROM retained WHERE topic=?1",
    [DATABASE_PURGE] = "DELETE FROM retained WHERE expiry>0 AND expiry<=?1",
    [DATABASE_COMMIT] = "COMMIT",
};

/* --------------------------------------------------------------- errors */

/* What the kernel has said about writing: the log's file knows that, or the database's, but
 * by now errno may be about something else. */
static int write_errno(const struct sqlite *sqlite, sqlite3 *handle)
{
    sqlite3_file *log = NULL;
    int error = 0;

    sqlite->file_control(handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    if (log && log->pMethods)
        log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &error);
    if (error == 0)
        sqlite->file_control(handle, "main", SQLITE_FCNTL_LAST_ERRNO, &error);
    return error;
}

static int errno_of(const struct sqlite *sqlite, sqlite3 *handle, int code)
{
    int error =
        code == SQLITE_IOERR_WRITE ? write_errno(sqlite, handle) : sqlite->system_errno(handle);

    switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EBADMSG;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_TOOBIG:
        return -EFBIG;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_BUSY:
        return -EBUSY;
    default:
        if (code == SQLITE_IOERR_NOMEM)
            return -ENOMEM;
        return error > 0 ? -error : -EIO;
    }
}

/* Says what the last call has met. */
static int fail(struct database *database, const char *doing)
{
    const struct sqlite *sqlite = database->sqlite;

    if (!database->handle) {
        snprintf(database->reason, sizeof(database->reason), "%s: %s", doing, strerror(ENOMEM));
        return -ENOMEM;
    }
    int code = sqlite->extended_errcode(database->handle);
    int r = errno_of(sqlite, database->handle, code);
    snprintf(database->reason, sizeof(database->reason), "%s: %s (%s, SQLite's error %d)", doing,
             r == -EBADMSG ? "it is damaged" : strerror(-r), sqlite->errmsg(database->handle),
             code);
    return r;
}

/* ------------------------------------------------------------ statements */

static int execute(struct database *database, const char *text)
{
    return database->sqlite->exec(database->handle, text, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : fail(database, "cannot use " DATABASE_NAME);
}

/* The first value of the first row, as text; empty if there is none. */
static int query(struct database *database, const char *text, char *ret_answer, size_t size)
{
    const struct sqlite *sqlite = database->sqlite;
    sqlite3_stmt *statement;

    if (sqlite->prepare_v2(database->handle, text, -1, &statement, NULL) != SQLITE_OK)
        return fail(database, "cannot read " DATABASE_NAME);
    int code = sqlite->step(statement);
    const unsigned char *answer = code == SQLITE_ROW ? sqlite->column_text(statement, 0) : NULL;
    snprintf(ret_answer, size, "%s", answer ? (const char *)answer : "");
    int r = code == SQLITE_ROW || code == SQLITE_DONE
                ? 0
                : fail(database, "cannot read " DATABASE_NAME);
    sqlite->finalize(statement);
    return r;
}

/* Runs a statement that has no rows. */
static int run(struct database *database, enum database_statement which)
{
    const struct sqlite *sqlite = database->sqlite;
    sqlite3_stmt *statement = database->statements[which];

    int r = sqlite->step(statement) == SQLITE_DONE
                ? 0
                : fail(database, "cannot write to " DATABASE_NAME);
    sqlite->reset(statement);
    sqlite->clear_bindings(statement);
    return r;
}

/* ------------------------------------------------------------------ open */

static int prepare(struct database *database)
{
    const struct sqlite *sqlite = database->sqlite;

    for (unsigned i = 0; i < DATABASE_STATEMENTS; i++)
        if (sqlite->prepare_v2(database->handle, statement_texts[i], -1, &database->statements[i],
                               NULL) != SQLITE_OK)
            return fail(database, "cannot use " DATABASE_NAME);
    return 0;
}

static int damaged(struct database *database, const char *why)
{
    snprintf(database->reason, sizeof(database->reason), "cannot use " DATABASE_NAME ": %s", why);
    return -EBADMSG;
}

/* What the check has found. A page that could not be read, for want of memory or because the
 * disk says so, is not a damaged one: it may be all right the next time. */
static int judge(struct database *database, const char *finding)
{
    static const char unread[] = "error code=";
    const char *found = strstr(finding, unread);
    long code = found ? strtol(found + sizeof(unread) - 1, NULL, 10) : SQLITE_CORRUPT;
    bool scarce = (code & 0xff) == SQLITE_NOMEM || code == SQLITE_IOERR_NOMEM;

    if (!scarce && (code & 0xff) != SQLITE_IOERR)
        return damaged(database, finding);
    snprintf(database->reason, sizeof(database->reason), "cannot read " DATABASE_NAME ": %s",
             finding);
    return scarce ? -ENOMEM : -EIO;
}

/* That it is ours and whole, or new. */
static int check(struct database *database)
{
    static const char expected[] = TEXT_OF(APPLICATION_ID) "/" TEXT_OF(VERSION) ";" INDEX ";" TABLE;
    char found[sizeof(expected) + 64];

    int r = query(database,
                  "SELECT printf('0x%x/%d',application_id,user_version)||';'||"
                  "coalesce((SELECT group_concat(sql,';') FROM"
                  " (SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name)),'')"
                  " FROM pragma_application_id,pragma_user_version",
                  found, sizeof(found));
    if (r < 0)
        return r;
    if (strcmp(found, "0x0/0;") == 0)
        return database->read_only ? damaged(database, "it is empty") : execute(database, layout);
    if (strcmp(found, expected) != 0)
        return damaged(database, "it has another layout than this busd's");
    r = query(database, "PRAGMA quick_check(1)", found, sizeof(found));
    return r == 0 && strcmp(found, "ok") != 0 ? judge(database, found) : r;
}

static int settle(struct database *database)
{
    if (database->settled)
        return 0;
    if (database->sqlite->wal_checkpoint_v2(database->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE,
                                            NULL, NULL) != SQLITE_OK)
        return fail(database, "cannot write to " DATABASE_NAME);
    database->settled = true;
    return 0;
}

/* What is only opened with the first write: the log, its folder to be synced, and the
 * source of random numbers. */
static int exercise(struct database *database)
{
    char random;

    database->sqlite->randomness(sizeof(random), &random);
    return execute(database, "PRAGMA user_version=" TEXT_OF(VERSION));
}

/* Without write access there are no locks to be had; the one on the folder must do. */
static int open_file(struct database *database, const char *path)
{
    const struct sqlite *sqlite = database->sqlite;
    int flags =
        database->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    char mode[16];
    int persistent = 1;

    if (sqlite->open_v2(path, &database->handle, flags | SQLITE_OPEN_NOMUTEX,
                        database->read_only ? "unix-none" : NULL) != SQLITE_OK)
        return fail(database, "cannot open " DATABASE_NAME);
    if (!database->read_only && sqlite->db_readonly(database->handle, "main")) {
        snprintf(database->reason, sizeof(database->reason), "cannot open " DATABASE_NAME ": %s",
                 strerror(EROFS));
        return -EROFS;
    }
    sqlite->extended_result_codes(database->handle, 1);
    /* Removing the log at the end and making it anew is more than has to be done. */
    sqlite->file_control(database->handle, "main", SQLITE_FCNTL_PERSIST_WAL, &persistent);
    int r = execute(database, settings);
    if (r == 0)
        r = query(database, "PRAGMA journal_mode", mode, sizeof(mode));
    if (r == 0 && strcmp(mode, "wal") != 0)
        r = damaged(database, "it has no write-ahead log");
    if (r == 0)
        r = check(database);
    return r == 0 ? prepare(database) : r;
}

/* Anything but a plain file would be a surprise to SQLite. */
static bool is_other(const struct statedir *dir)
{
    struct stat status;

    return fstatat(dir->fd, DATABASE_NAME, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           !S_ISREG(status.st_mode);
}

static int open_attempt(struct database *database, const struct statedir *dir)
{
    char path[PATH_MAX];

    database_close(database);
    if (is_other(dir))
        return damaged(database, "it is no plain file");
    if (snprintf(path, sizeof(path), "%s/" DATABASE_NAME, dir->path) >= (int)sizeof(path)) {
        snprintf(database->reason, sizeof(database->reason), "the path of the state folder: %s",
                 strerror(ENAMETOOLONG));
        return -ENAMETOOLONG;
    }
    int r = open_file(database, path);
    if (r < 0)
        database_close(database);
    return r;
}

/* Renames it and what belongs to it. */
static int set_aside(struct database *database, const struct statedir *dir, char *ret_notice)
{
    static const char *const suffixes[] = {"", "-wal", "-journal", "-shm"};
    time_t now = clock_now(CLOCK_REALTIME).tv_sec;
    char from[64], to[96], stamp[48];
    struct tm parts;

    gmtime_r(&now, &parts);
    for (unsigned n = 0;; n++) {
        size_t size = strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &parts);
        if (n > 0)
            snprintf(stamp + size, sizeof(stamp) - size, ".%u", n);
        snprintf(to, sizeof(to), DATABASE_NAME ".damaged-%s", stamp);
        if (faccessat(dir->fd, to, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
            break;
    }
    for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
        snprintf(from, sizeof(from), DATABASE_NAME "%s", suffixes[i]);
        snprintf(to, sizeof(to), DATABASE_NAME ".damaged-%s%s", stamp, suffixes[i]);
        if (renameat(dir->fd, from, dir->fd, to) < 0 && errno != ENOENT) {
            int error = errno;
            snprintf(database->reason, sizeof(database->reason),
                     "cannot rename the damaged %s/%s: %s", dir->path, from, strerror(error));
            return -error;
        }
    }
    snprintf(ret_notice, DATABASE_REASON_SIZE,
             "%.300s; it is now %.100s/" DATABASE_NAME ".damaged-%s, and a new one is begun",
             database->reason, dir->path, stamp);
    return 0;
}

int database_open(struct database *database, const struct statedir *dir, bool sealed,
                  char *ret_notice)
{
    *ret_notice = '\0';
    *database =
        (struct database){.sqlite = sqlite_load(database->reason, sizeof(database->reason))};
    if (!database->sqlite)
        return -ELIBACC;
    int r = open_attempt(database, dir);
    if (r == -EBADMSG && set_aside(database, dir, ret_notice) == 0)
        r = open_attempt(database, dir);
    if (r == -EROFS || r == -EACCES || r == -EPERM) {
        database->read_only = true;
        r = open_attempt(database, dir);
        if (r == 0)
            snprintf(ret_notice, DATABASE_REASON_SIZE,
                     "%.300s/" DATABASE_NAME " can be read, but not written", dir->path);
    }
    if (r == 0 && sealed && !database->read_only)
        r = exercise(database);
    if (r < 0)
        database_close(database);
    return r;
}

void database_close(struct database *database)
{
    const struct sqlite *sqlite = database->sqlite;

    if (!database->handle)
        return;
    for (unsigned i = 0; i < DATABASE_STATEMENTS; i++)
        sqlite->finalize(TAKE(database->statements[i]));
    sqlite->close_v2(TAKE(database->handle));
    database->settled = false;
}

/* ------------------------------------------------------------------ read */

int database_read(struct database *database, uint64_t now, database_show show, void *userdata)
{
    const struct sqlite *sqlite = database->sqlite;
    sqlite3_stmt *statement;
    bool expired = false;
    int code;

    if (sqlite->prepare_v2(database->handle, "SELECT topic,value,uid,expiry,guarded FROM retained",
                           -1, &statement, NULL) != SQLITE_OK)
        return fail(database, "cannot read " DATABASE_NAME);
    while ((code = sqlite->step(statement)) == SQLITE_ROW) {
        const unsigned char *topic = sqlite->column_text(statement, 0);
        const void *data = sqlite->column_blob(statement, 1);
        struct database_value value = {
            .topic = {(const char *)topic, (size_t)sqlite->column_bytes(statement, 0)},
            .value = {data, (size_t)sqlite->column_bytes(statement, 1)},
            .uid = (uid_t)sqlite->column_int64(statement, 2),
            .expiry = (uint64_t)sqlite->column_int64(statement, 3),
            .guarded = sqlite->column_int64(statement, 4) != 0,
        };
        if (!topic || !data)
            break;
        if (value.expiry > 0 && value.expiry <= now)
            expired = true;
        else
            show(&value, userdata);
    }
    int r = code == SQLITE_DONE ? 0 : fail(database, "cannot read " DATABASE_NAME);
    sqlite->finalize(statement);
    if (r == 0 && expired && !database->read_only && (r = database_begin(database)) == 0)
        r = database_commit(database, now);
    return r;
}

/* ----------------------------------------------------------------- write */

/* Back to where it was. What had been written before a failure that is not just for want of
 * room, the kernel may take for written. */
static int roll_back(struct database *database, int r)
{
    if (!database_is_scarce(r))
        database->settled = false;
    database->sqlite->exec(database->handle, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

bool database_is_scarce(int error)
{
    return error == -ENOSPC || error == -EDQUOT || error == -EFBIG || error == -ENOMEM;
}

int database_begin(struct database *database)
{
    int r = settle(database);

    return r == 0 ? run(database, DATABASE_BEGIN) : r;
}

int database_put(struct database *database, const struct database_value *value)
{
    const struct sqlite *sqlite = database->sqlite;
    bool removes = !value->value.data;
    enum database_statement which = removes ? DATABASE_REMOVE : DATABASE_PUT;
    sqlite3_stmt *statement = database->statements[which];
    const sqlite3_int64 numbers[] = {(sqlite3_int64)value->uid, (sqlite3_int64)value->expiry,
                                     value->guarded};

    int code =
        sqlite->bind_text(statement, 1, value->topic.data, (int)value->topic.size, SQLITE_STATIC);
    if (code == SQLITE_OK && !removes)
        code = sqlite->bind_blob(statement, 2, value->value.data, (int)value->value.size,
                                 SQLITE_STATIC);
    for (size_t i = 0; i < ARRAY_SIZE(numbers) && code == SQLITE_OK && !removes; i++)
        code = sqlite->bind_int64(statement, 3 + (int)i, numbers[i]);
    int r =
        code == SQLITE_OK ? run(database, which) : fail(database, "cannot write to " DATABASE_NAME);
    return r == 0 ? 0 : roll_back(database, r);
}

int database_commit(struct database *database, uint64_t now)
{
    const struct sqlite *sqlite = database->sqlite;
    sqlite3_stmt *purge = database->statements[DATABASE_PURGE];
    int r = sqlite->bind_int64(purge, 1, (sqlite3_int64)now) == SQLITE_OK
                ? run(database, DATABASE_PURGE)
                : fail(database, "cannot write to " DATABASE_NAME);

    if (r == 0)
        r = run(database, DATABASE_COMMIT);
    return r == 0 ? 0 : roll_back(database, r);
}
