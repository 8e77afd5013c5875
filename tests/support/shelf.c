/* SPDX-License-Identifier: MIT */
#include "tests/support/shelf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "tests/support/process.h"
#include "tests/support/unit.h"

#define PATIENCE_S 20

int shelf_setup(void **state)
{
    struct shelf *shelf = calloc(1, sizeof(*shelf));

    if (!shelf)
        return -1;
    shelf->fds = process_open_fds(getpid());
    snprintf(shelf->above, sizeof(shelf->above), "/tmp/busd-store-XXXXXX");
    if (!mkdtemp(shelf->above) || pipe2(shelf->messages, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    snprintf(shelf->folder, sizeof(shelf->folder), "%s/state", shelf->above);
    shelf->saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    dup2(shelf->messages[1], STDERR_FILENO);
    log_init(&shelf->log, LOG_LEVEL_NOTICE);
    limits_init(&shelf->limits, false);
    quotas_init(&shelf->quotas, &shelf->limits);
    shelf->user = quotas_get_user(&shelf->quotas, SHELF_UID);
    sem_init(&shelf->woken, 0, 0);
    *state = shelf;
    return shelf->user ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    return remove(path);
}

int shelf_teardown(void **state)
{
    struct shelf *shelf = *state;

    shelf_close(shelf);
    quota_user_unref(shelf->user);
    quotas_deinit(&shelf->quotas);
    log_deinit(&shelf->log);
    sem_destroy(&shelf->woken);
    dup2(shelf->saved_stderr, STDERR_FILENO);
    close(shelf->saved_stderr);
    close(shelf->messages[0]);
    close(shelf->messages[1]);
    nftw(shelf->above, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    unsigned fds = process_open_fds(getpid());
    if (fds != shelf->fds)
        process_print_fds(getpid());
    int r = fds == shelf->fds ? 0 : -1;
    free(shelf);
    return r;
}

static void wake(void *userdata)
{
    sem_post(&((struct shelf *)userdata)->woken);
}

static int open_store(struct shelf *shelf, bool sealed)
{
    struct statedir dir;

    assert_false(shelf->open);
    shelf->open = true;
    store_init(&shelf->store, &shelf->log, &shelf->quotas, wake, shelf);
    assert_int_equal(statedir_init(&dir, shelf->folder, false), 0);
    return store_open(&shelf->store, &dir, sealed);
}

int shelf_open(struct shelf *shelf)
{
    return open_store(shelf, false);
}

int shelf_open_sealed(struct shelf *shelf)
{
    return open_store(shelf, true);
}

void shelf_close(struct shelf *shelf)
{
    if (shelf->open)
        store_deinit(&shelf->store, PATIENCE_S * 1000);
    shelf->open = false;
}

static void on_done(struct store_waiter *waiter, struct span topic, int error)
{
    struct shelf_ticket *ticket = CONTAINER_OF(waiter, struct shelf_ticket, waiter);

    assert_false(ticket->done);
    assert_true(topic.size > 0);
    ticket->done = true;
    ticket->error = error;
}

void shelf_ticket_init(struct shelf_ticket *ticket)
{
    *ticket = (struct shelf_ticket){.waiter.done = on_done};
}

int shelf_put_until(struct shelf *shelf, const char *topic, const char *value, uint64_t expiry,
                    struct shelf_ticket *ticket)
{
    size_t size = value ? strlen(value) : 0;
    struct chunk *chunk = value ? chunk_new(size) : NULL;
    int r = 0;

    if (value)
        memcpy(chunk->data, value, size);
    if (ticket) {
        shelf_ticket_init(ticket);
        r = store_admit(&shelf->store, shelf->user, span_from(topic), size, &ticket->waiter);
    }
    struct database_value new = {
        .topic = span_from(topic),
        .value = {chunk ? chunk->data : NULL, size},
        .uid = shelf->user->uid,
        .expiry = expiry,
        .guarded = strlen(topic) % 2 == 0,
    };
    if (r == 0)
        r = store_put(&shelf->store, &new, chunk);
    chunk_unref(chunk);
    if (r == 0 && ticket)
        r = store_await(&shelf->store, span_from(topic), &ticket->waiter);
    if (r != 0 && ticket)
        store_forget(&ticket->waiter);
    return r;
}

int shelf_put(struct shelf *shelf, const char *topic, const char *value,
              struct shelf_ticket *ticket)
{
    return shelf_put_until(shelf, topic, value, 0, ticket);
}

void shelf_settle(struct shelf *shelf)
{
    struct timespec end;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE_S;
    for (;;) {
        while (store_turn(&shelf->store, 1))
            continue;
        if (!store_is_busy(&shelf->store))
            return;
        CHECK(sem_timedwait(&shelf->woken, &end) == 0, "the store is busy for ever");
    }
}

void shelf_expect(struct shelf *shelf, const struct shelf_ticket *ticket, int error)
{
    shelf_settle(shelf);
    assert_true(ticket->done);
    CHECK(ticket->error == error, "%s instead of %s", strerror(-ticket->error), strerror(-error));
}

void shelf_keep(struct shelf *shelf, const char *topic, const char *value)
{
    struct shelf_ticket ticket;

    assert_int_equal(shelf_put(shelf, topic, value, &ticket), 0);
    shelf_expect(shelf, &ticket, 0);
}

/* ------------------------------------------------------------------ read */

struct rows {
    char *items[4096];
    size_t count;
};

static void on_value(const struct database_value *value, void *userdata)
{
    struct rows *rows = userdata;

    assert_true(rows->count < ARRAY_SIZE(rows->items));
    assert_int_equal(value->uid, SHELF_UID);
    assert_int_equal(value->guarded, value->topic.size % 2 == 0);
    assert_true(asprintf(&rows->items[rows->count++], "%.*s=%.*s", SPAN_ARGS(value->topic),
                         SPAN_ARGS(value->value)) > 0);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *shelf_read_all(struct shelf *shelf)
{
    static struct rows rows;
    char *all = NULL;
    size_t size;

    FILE *file = open_memstream(&all, &size);
    rows.count = 0;
    store_read(&shelf->store, on_value, &rows);
    qsort(rows.items, rows.count, sizeof(rows.items[0]), compare);
    for (size_t i = 0; i < rows.count; i++) {
        fprintf(file, "%s%s", i > 0 ? " " : "", rows.items[i]);
        free(rows.items[i]);
    }
    fclose(file);
    return all;
}

void shelf_expect_all(struct shelf *shelf, const char *expected)
{
    shelf_close(shelf);
    assert_int_equal(shelf_open(shelf), 0);
    char *all = shelf_read_all(shelf);
    assert_string_equal(all, expected);
    free(all);
}

/* ----------------------------------------------------------------- files */

const char *shelf_log(struct shelf *shelf)
{
    static char text[8192];

    ssize_t n = read(shelf->messages[0], text, sizeof(text) - 1);
    text[MAX(n, 0)] = '\0';
    return text;
}

unsigned shelf_files(const struct shelf *shelf, const char *prefix)
{
    DIR *directory = opendir(shelf->folder);
    struct dirent *entry;
    unsigned count = 0;

    while (directory && (entry = readdir(directory)))
        count += entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    if (directory)
        closedir(directory);
    return count;
}
