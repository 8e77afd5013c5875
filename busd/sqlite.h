/* SPDX-License-Identifier: MIT */
/*
 * The functions of SQLite that the daemon uses, from a library that is loaded when the
 * first value goes to the disk: a bus that keeps none there does not pay for it, and
 * most never do.
 */
#ifndef BUSD_SQLITE_H
#define BUSD_SQLITE_H

#include <sqlite3.h>
#include <stddef.h>

/* X(name, without its sqlite3_) */
#define SQLITE_FUNCTIONS(X)                                                                        \
    X(bind_blob)                                                                                   \
    X(bind_int64)                                                                                  \
    X(bind_text)                                                                                   \
    X(clear_bindings)                                                                              \
    X(close_v2)                                                                                    \
    X(column_blob)                                                                                 \
    X(column_bytes)                                                                                \
    X(column_int64)                                                                                \
    X(column_text)                                                                                 \
    X(column_type)                                                                                 \
    X(db_readonly)                                                                                 \
    X(errmsg)                                                                                      \
    X(exec)                                                                                        \
    X(extended_errcode)                                                                            \
    X(extended_result_codes)                                                                       \
    X(file_control)                                                                                \
    X(finalize)                                                                                    \
    X(open_v2)                                                                                     \
    X(prepare_v2)                                                                                  \
    X(randomness)                                                                                  \
    X(reset)                                                                                       \
    X(step)                                                                                        \
    X(system_errno)                                                                                \
    X(wal_checkpoint_v2)

struct sqlite {
#define X(name) __typeof__(sqlite3_##name) *name;
    SQLITE_FUNCTIONS(X)
#undef X
};

/* Loads it the first time, and keeps it for the life of the process. Not for two threads
 * at once. NULL with a sentence in `reason`. */
const struct sqlite *sqlite_load(char *reason, size_t size);

#endif
