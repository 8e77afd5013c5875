/* SPDX-License-Identifier: MIT */
#include "busd/store.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/clock.h"
#include "libbus/base/macros.h"

/* SQLite is content with far less. */
#define STACK_SIZE (1024u * 1024)

struct store_change {
    struct list link;
    struct hash_node node;
    struct list waiters;
    struct charge charge;
    struct quota_user *user; /* a reference; NULL: nobody is charged */
    struct chunk *chunk;     /* a reference; NULL: a removal */
    struct database_value value;
    int error; /* what has become of it */
    char topic[];
};

/* ------------------------------------------------------------- lifetime */

static void batch_init(struct store_batch *batch)
{
    list_init(&batch->changes);
    hash_init(&batch->by_topic);
    batch->count = 0;
}

void store_init(struct store *store, struct log *log, struct quotas *quotas,
                void (*wake)(void *userdata), void *userdata)
{
    *store = (struct store){
        .log = log, .quotas = quotas, .dir = STATEDIR_NONE, .wake = wake, .userdata = userdata};
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->changed, NULL);
    batch_init(&store->batches[0]);
    batch_init(&store->batches[1]);
    store->gathered = &store->batches[0];
    store->written = &store->batches[1];
}

/* --------------------------------------------------------------- changes */

static void change_release(struct store_change *change)
{
    charge_give_back(&change->charge);
    change->user = quota_user_unref(change->user);
    change->chunk = chunk_unref(change->chunk);
}

static void change_free(struct store_batch *batch, struct store_change *change)
{
    assert(list_is_empty(&change->waiters));
    change_release(change);
    list_remove(&change->link);
    hash_remove(&batch->by_topic, &change->node);
    batch->count--;
    free(change);
}

static struct store_change *batch_find(const struct store_batch *batch, struct span topic)
{
    HASH_FOREACH (node, &batch->by_topic, hash_of(&batch->by_topic, topic.data, topic.size)) {
        struct store_change *change = CONTAINER_OF(node, struct store_change, node);
        if (span_equal(change->value.topic, topic))
            return change;
    }
    return NULL;
}

/* A removal of the topic. NULL: out of memory. */
static struct store_change *batch_add(struct store_batch *batch, struct span topic)
{
    struct store_change *change = calloc(1, sizeof(*change) + topic.size);

    if (!change)
        return NULL;
    memcpy(change->topic, topic.data, topic.size);
    change->value.topic = (struct span){change->topic, topic.size};
    if (hash_add(&batch->by_topic, &change->node,
                 hash_of(&batch->by_topic, topic.data, topic.size)) < 0) {
        free(change);
        return NULL;
    }
    list_init(&change->waiters);
    list_append(&batch->changes, &change->link);
    batch->count++;
    return change;
}

/* The change of the topic that has not been handed over yet. NULL: out of memory. */
static struct store_change *get_change(struct store *store, struct span topic)
{
    struct store_change *change = batch_find(store->gathered, topic);

    return change ? change : batch_add(store->gathered, topic);
}

static int put_removal(struct store *store, struct span topic)
{
    struct store_change *change = get_change(store, topic);

    if (!change)
        return -ENOMEM;
    change_release(change);
    change->value.value = (struct span){0};
    return 0;
}

int store_put(struct store *store, const struct database_value *value, struct chunk *chunk)
{
    if (!value->value.data)
        return put_removal(store, value->topic);
    struct quota_user *user = quotas_get_user(store->quotas, value->uid);
    struct store_change *change = user ? get_change(store, value->topic) : NULL;
    if (!change) {
        quota_user_unref(user);
        return -ENOMEM;
    }
    change_release(change);
    change->user = user;
    charge_init(&change->charge, user, QUOTA_UNSTORED);
    charge_set(&change->charge, STORE_CHANGE_BYTES + value->value.size);
    change->chunk = chunk_ref(chunk);
    struct span topic = change->value.topic;
    change->value = *value;
    change->value.topic = topic;
    return 0;
}

int store_admit(const struct store *store, struct quota_user *user, struct span topic, size_t size,
                struct store_waiter *waiter)
{
    const struct store_change *change = size > 0 ? batch_find(store->gathered, topic) : NULL;
    uint64_t own = change && change->user == user ? change->charge.amount : 0;
    uint64_t more = size > 0 ? STORE_CHANGE_BYTES + size : 0;

    list_init(&waiter->link);
    charge_init(&waiter->charge, user, QUOTA_UNSTORED);
    if (!charge_can_grow(&waiter->charge, STORE_WAITER_BYTES + more - MIN(more, own))) {
        waiter->charge.user = NULL;
        return WIRE_LIMIT_EXCEEDED;
    }
    user->refs++;
    charge_set(&waiter->charge, STORE_WAITER_BYTES);
    return 0;
}

int store_await(struct store *store, struct span topic, struct store_waiter *waiter)
{
    struct store_change *change = get_change(store, topic);

    if (!change)
        return -ENOMEM;
    list_append(&change->waiters, &waiter->link);
    return 0;
}

void store_forget(struct store_waiter *waiter)
{
    list_remove(&waiter->link);
    charge_give_back(&waiter->charge);
    waiter->charge.user = quota_user_unref(waiter->charge.user);
}

/* ---------------------------------------------------------------- thread */

static uint64_t real_time(void)
{
    struct timespec now = clock_now(CLOCK_REALTIME);

    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* 0, or -errno with `reason` set. */
static int open_all(struct store *store)
{
    int r = 0;

    if (store->database.handle)
        return 0;
    if (store->sealed && store->ready) {
        snprintf(store->reason, sizeof(store->reason),
                 "it could not be opened at the start, and files cannot be opened any more");
        return -EROFS;
    }
    r = statedir_open(&store->dir, store->reason);
    if (r < 0)
        return r;
    r = database_open(&store->database, &store->dir, store->sealed, store->notice);
    if (r < 0)
        memcpy(store->reason, store->database.reason, sizeof(store->reason));
    return r;
}

/* Writes `count` changes as one transaction, or, if that is too much, as two, so that what
 * does fit is not lost with what does not. Returns the one behind them. */
static struct list *write_changes(struct store *store, struct list *first, size_t count)
{
    struct database *database = &store->database;
    struct list *node = first;

    int r = database_begin(database);
    bool begun = r == 0;
    for (size_t i = 0; i < count && r == 0; i++, node = node->next)
        r = database_put(database, &LIST_ENTRY(node, struct store_change, link)->value);
    if (r == 0)
        r = database_commit(database, real_time());
    if (r < 0)
        memcpy(store->reason, database->reason, sizeof(store->reason));
    if (begun && count > 1 && database_is_scarce(r)) {
        node = write_changes(store, first, count / 2);
        return write_changes(store, node, count - count / 2);
    }
    for (node = first; count > 0; count--, node = node->next) {
        LIST_ENTRY(node, struct store_change, link)->error = r;
        store->failures += r < 0;
    }
    return node;
}

static void fail_all(struct store *store, struct store_batch *batch, int error)
{
    LIST_FOREACH (node, &batch->changes)
        LIST_ENTRY(node, struct store_change, link)->error = error;
    store->failures = batch->count;
}

static void write_batch(struct store *store, struct store_batch *batch)
{
    store->failures = 0;
    int r = open_all(store);
    if (r < 0)
        fail_all(store, batch, r);
    else
        write_changes(store, batch->changes.next, batch->count);
}

static void *run(void *userdata)
{
    struct store *store = userdata;

    pthread_mutex_lock(&store->mutex);
    store->ready = true;
    pthread_cond_broadcast(&store->changed);
    for (;;) {
        while (!store->work && !store->leaving)
            pthread_cond_wait(&store->changed, &store->mutex);
        struct store_batch *work = store->work;
        if (!work)
            break;
        pthread_mutex_unlock(&store->mutex);
        write_batch(store, work);
        pthread_mutex_lock(&store->mutex);
        store->work = NULL;
        if (!store->left)
            store->wake(store->userdata);
    }
    pthread_mutex_unlock(&store->mutex);
    return NULL;
}

/* Signals are the loop's. 0 or -errno. */
static int start_thread(struct store *store)
{
    pthread_attr_t attributes;
    sigset_t all, before;

    if (store->running)
        return 0;
    int r = pthread_attr_init(&attributes);
    if (r != 0)
        return -r;
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&store->thread, &attributes, run, store);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (r != 0)
        return -r;
    store->running = true;
    pthread_mutex_lock(&store->mutex);
    while (!store->ready)
        pthread_cond_wait(&store->changed, &store->mutex);
    pthread_mutex_unlock(&store->mutex);
    return 0;
}

/* ----------------------------------------------------------------- start */

static void say_notice(struct store *store)
{
    if (store->notice[0])
        log_write(store->log, LOG_LEVEL_WARNING, "%s", store->notice);
    store->notice[0] = '\0';
}

int store_open(struct store *store, struct statedir *dir, bool sealed)
{
    store->dir = *dir;
    *dir = STATEDIR_NONE;
    store->sealed = sealed;
    if (!store_is_there(store) || (!sealed && !statedir_has(&store->dir, DATABASE_NAME)))
        return 0;
    int r = open_all(store);
    say_notice(store);
    if (r < 0)
        log_write(store->log, LOG_LEVEL_ERROR, "%s", store->reason);
    if (r == -EBUSY)
        return r;
    r = sealed ? start_thread(store) : 0;
    if (r < 0)
        log_write(store->log, LOG_LEVEL_ERROR, "cannot start a thread: %s", strerror(-r));
    return r;
}

void store_read(struct store *store, database_show show, void *userdata)
{
    if (store->database.handle && database_read(&store->database, real_time(), show, userdata) < 0)
        log_write(store->log, LOG_LEVEL_ERROR, "%s", store->database.reason);
}

/* ------------------------------------------------------------------ turn */

static bool is_written(struct store *store)
{
    pthread_mutex_lock(&store->mutex);
    bool written = !store->work;
    pthread_mutex_unlock(&store->mutex);
    return written;
}

/* Once when it begins to fail, and once when that is over. */
static void say_outcome(struct store *store)
{
    bool fails = store->failures > 0;

    say_notice(store);
    if (fails && !store->failing)
        log_limited(store->log, LOG_LEVEL_ERROR,
                    "values do not reach the disk, and last as long as the bus: %s", store->reason);
    else if (!fails && store->failing)
        log_limited(store->log, LOG_LEVEL_NOTICE, "values reach the disk again");
    store->failing = fails;
}

/* Tells at most so many of those who wait, and how many it has told, the change as one of
 * them: it ends with the last. */
static unsigned tell(struct store_batch *batch, struct store_change *change, unsigned most)
{
    struct list *node;
    unsigned told = 0;

    while (told < most && (node = list_first(&change->waiters))) {
        struct store_waiter *waiter = LIST_ENTRY(node, struct store_waiter, link);
        store_forget(waiter);
        waiter->done(waiter, change->value.topic, change->error);
        told++;
    }
    if (told == most)
        return told;
    change_free(batch, change);
    return told + 1;
}

static void hand_over(struct store *store)
{
    struct store_batch *batch = store->gathered;

    store->gathered = store->written;
    store->written = batch;
    store->busy = true;
    int r = start_thread(store);
    if (r < 0) {
        snprintf(store->reason, sizeof(store->reason), "cannot start a thread: %s", strerror(-r));
        fail_all(store, batch, r);
        store->ended = true;
        say_outcome(store);
        return;
    }
    pthread_mutex_lock(&store->mutex);
    store->work = batch;
    pthread_cond_signal(&store->changed);
    pthread_mutex_unlock(&store->mutex);
}

bool store_turn(struct store *store, unsigned most)
{
    struct list *node;

    if (store->busy && !store->ended && is_written(store)) {
        store->ended = true;
        say_outcome(store);
    }
    while (store->ended && most > 0 && (node = list_first(&store->written->changes)))
        most -= tell(store->written, LIST_ENTRY(node, struct store_change, link), most);
    if (store->ended && list_is_empty(&store->written->changes))
        store->busy = store->ended = false;
    if (!store->busy && !list_is_empty(&store->gathered->changes))
        hand_over(store);
    return store->ended;
}

bool store_is_busy(const struct store *store)
{
    return store->busy || !list_is_empty(&store->gathered->changes);
}

/* ------------------------------------------------------------------- end */

/* Whatever it has been given is written before. False: it waits for the disk, and may do so
 * for ever. */
static bool end_thread(struct store *store, uint64_t timeout)
{
    struct timespec end = clock_now(CLOCK_REALTIME);

    if (!store->running)
        return true;
    pthread_mutex_lock(&store->mutex);
    store->leaving = true;
    pthread_cond_signal(&store->changed);
    pthread_mutex_unlock(&store->mutex);
    end.tv_sec += (time_t)((timeout + 999) / 1000);
    return pthread_timedjoin_np(store->thread, NULL, &end) == 0;
}

static void drop_batch(struct store_batch *batch)
{
    struct list *node;

    while ((node = list_first(&batch->changes)))
        tell(batch, LIST_ENTRY(node, struct store_change, link), UINT_MAX);
    hash_deinit(&batch->by_topic);
}

/* What a thread that does not end still looks at stays; nobody is charged for it. */
static void leave_behind(struct store *store)
{
    pthread_mutex_lock(&store->mutex);
    store->left = true;
    pthread_mutex_unlock(&store->mutex);
    LIST_FOREACH (node, &store->written->changes) {
        struct store_change *change = LIST_ENTRY(node, struct store_change, link);
        struct list *waiting;
        while ((waiting = list_first(&change->waiters))) {
            struct store_waiter *waiter = LIST_ENTRY(waiting, struct store_waiter, link);
            store_forget(waiter);
            waiter->done(waiter, change->value.topic, -ESHUTDOWN);
        }
        charge_give_back(&change->charge);
        change->user = quota_user_unref(change->user);
    }
}

void store_deinit(struct store *store, uint64_t timeout)
{
    bool ended = end_thread(store, timeout);

    fail_all(store, store->gathered, -ESHUTDOWN);
    drop_batch(store->gathered);
    if (!ended) {
        log_write(store->log, LOG_LEVEL_ERROR, "the disk has not taken the last %zu values in time",
                  store->written->count);
        leave_behind(store);
        return;
    }
    drop_batch(store->written);
    database_close(&store->database);
    statedir_deinit(&store->dir);
    pthread_cond_destroy(&store->changed);
    pthread_mutex_destroy(&store->mutex);
}
