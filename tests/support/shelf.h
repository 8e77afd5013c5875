/* SPDX-License-Identifier: MIT */
/*
 * A store in a folder of its own, for as long as a test runs, and a script's view of it:
 * what is put there, what has become of it, and what is there when it is opened again.
 */
#ifndef TESTS_SUPPORT_SHELF_H
#define TESTS_SUPPORT_SHELF_H

#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "busd/store.h"

#define SHELF_UID 77

struct shelf {
    char folder[64]; /* the state folder, which is not there at first … */
    char above[48];  /* … in one that is */
    int saved_stderr;
    int messages[2]; /* what is logged */
    struct log log;
    struct limits limits;
    struct quotas quotas;
    struct quota_user *user; /* who puts things there */
    struct store store;
    sem_t woken;
    bool open;
    unsigned fds; /* open before */
};

/* Somebody who waits for a change. */
struct shelf_ticket {
    struct store_waiter waiter;
    bool done;
    int error;
};

/* For cmocka: *state is a struct shelf, nothing of it open. */
int shelf_setup(void **state);
int shelf_teardown(void **state);

/* Opens the store; what store_open() says. */
int shelf_open(struct shelf *shelf);
int shelf_open_sealed(struct shelf *shelf);
void shelf_close(struct shelf *shelf); /* idempotent */

void shelf_ticket_init(struct shelf_ticket *ticket);

/* Puts a value (NULL: none) there, with somebody waiting (or NULL). 0, or what the store
 * has said. */
int shelf_put(struct shelf *shelf, const char *topic, const char *value,
              struct shelf_ticket *ticket);
int shelf_put_until(struct shelf *shelf, const char *topic, const char *value, uint64_t expiry,
                    struct shelf_ticket *ticket);

/* Lets turns pass until nothing is busy. */
void shelf_settle(struct shelf *shelf);

/* The same, and the ticket has been told this. */
void shelf_expect(struct shelf *shelf, const struct shelf_ticket *ticket, int error);

/* Puts it and waits until it is there. */
void shelf_keep(struct shelf *shelf, const char *topic, const char *value);

/* Opens the store anew: there are just these, as "topic=value …" in the order of topics. */
void shelf_expect_all(struct shelf *shelf, const char *expected);

/* Opened, in the same order; the caller's to free(). */
char *shelf_read_all(struct shelf *shelf);

/* What has been logged since the last time; borrowed until the next call. */
const char *shelf_log(struct shelf *shelf);

/* How many files of the folder have names that begin so. */
unsigned shelf_files(const struct shelf *shelf, const char *prefix);

#endif
