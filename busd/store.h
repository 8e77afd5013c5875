/* SPDX-License-Identifier: MIT */
/*
 * Puts values on the disk without anybody waiting for it. The loop gathers what is to be
 * written; once a turn all of it is handed, as one transaction, to a thread that does
 * nothing else, while the next is gathered. Of several changes of one topic only the
 * newest is written. Each waiter is told once what has become of the change that it
 * waits for, or of a newer one of the same topic.
 *
 * If a transaction fails, what was in it is not on the disk, or nobody can tell; the
 * disk keeps what it had, and nothing is tried again: whoever wants the value to be kept
 * publishes it again. Where the disk is full, what does fit is written nevertheless.
 *
 * The thread, the library and the files are there from the first change on, but with a
 * database to be read at the start, or sealed, from then on. What waits for the disk is
 * charged to the user whose value it is (unstored_bytes_per_user). It knows neither peers
 * nor sockets nor JSON: values are bytes to it.
 */
#ifndef BUSD_STORE_H
#define BUSD_STORE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "busd/chunk.h"
#include "busd/database.h"
#include "busd/quota.h"
#include "busd/statedir.h"
#include "libbus/base/hash.h"
#include "libbus/base/list.h"
#include "libbus/base/log.h"
#include "libbus/base/span.h"

/* What a change and a waiter are charged with beside the bytes of the value. */
#define STORE_CHANGE_BYTES 256
#define STORE_WAITER_BYTES 128

/* Embedded in what waits for a change. */
struct store_waiter {
    struct list link;
    struct charge charge;
    /* The topic is as it was said to be on the disk: 0; or -errno. */
    void (*done)(struct store_waiter *waiter, struct span topic, int error);
};

struct store_batch {
    struct list changes; /* struct store_change */
    struct hash by_topic;
    size_t count;
};

struct store {
    struct log *log;
    struct quotas *quotas;
    struct statedir dir;
    struct store_batch batches[2];
    struct store_batch *gathered; /* one of them; the other one is written, or empty */
    struct store_batch *written;
    bool busy;    /* the other one has been handed to the thread */
    bool ended;   /* … and is its own matter no more: waiters are being told */
    bool failing; /* the last transaction has failed, and the log says so */
    bool sealed;  /* no file can be opened any more */
    bool running; /* there is a thread */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    void (*wake)(void *userdata);
    void *userdata;
    /* With the mutex: */
    bool ready;               /* the thread has begun */
    bool leaving;             /* it is to end … */
    bool left;                /* … and has not in time: nobody listens to it any more */
    struct store_batch *work; /* what it is to write; NULL once it has */
    /* The thread's while there is work; else the loop's: */
    struct database database;
    size_t failures;                   /* how many changes of the batch have failed … */
    char reason[DATABASE_REASON_SIZE]; /* … and why one of them has */
    char notice[DATABASE_REASON_SIZE]; /* what else there is to say; or empty */
};

/* `wake` is called on the thread when there is something for store_turn() to do. All is
 * borrowed. */
void store_init(struct store *store, struct log *log, struct quotas *quotas,
                void (*wake)(void *userdata), void *userdata);

/* Whoever still waits is told that it has failed, and a thread that has not ended after
 * `timeout` milliseconds is left behind. */
void store_deinit(struct store *store, uint64_t timeout);

/* Takes the folder: from now on there is a place for values. If there is a database
 * already, or if `sealed`, all is opened and started that otherwise waits for the first
 * change. What cannot be opened is tried again then, if it is not sealed; 0 therefore, or
 * -EBUSY if another busd uses the folder, or -ENOMEM; the log says what was wrong. */
int store_open(struct store *store, struct statedir *dir, bool sealed);

/* Shows what there is, see database_read(), which may be nothing: the log says why.
 * Only before the first change. */
void store_read(struct store *store, database_show show, void *userdata);

/* Whether there is a place for values at all. */
static inline bool store_is_there(const struct store *store)
{
    return store->dir.path;
}

/* Whether this user, who is charged with the waiter from now on, may have so many bytes
 * more wait as the value of this topic (0: it is a removal). 0 or WIRE_LIMIT_EXCEEDED. */
int store_admit(const struct store *store, struct quota_user *user, struct span topic, size_t size,
                struct store_waiter *waiter);

/* The topic has this value on the disk from now on (with data NULL: none). `chunk` is what
 * the value lies in, and stays as it is until then. Charged to the value's user, whatever
 * the limit says; a removal is charged to nobody, for there are no more of them than values.
 * 0 or -ENOMEM. */
int store_put(struct store *store, const struct database_value *value, struct chunk *chunk);

/* Waits for the newest change of the topic; if none waits to be written, for its removal,
 * which cannot do harm twice. 0 or -ENOMEM. */
int store_await(struct store *store, struct span topic, struct store_waiter *waiter);

/* Does not want to be told any more, or never did: gives the charge back. Idempotent. */
void store_forget(struct store_waiter *waiter);

/* Once a turn: hands over what has been gathered, and tells at most `most` waiters. True if
 * there are more to be told. */
bool store_turn(struct store *store, unsigned most);

/* Whether anything is gathered, is being written, or waits to be told. */
bool store_is_busy(const struct store *store);

#endif
