/* SPDX-License-Identifier: MIT */
/*
 * The receipts that publishers wait for: each says what became of one event. Pure: it
 * knows neither sockets nor JSON nor peers. A `struct receipt_party` is embedded in a peer.
 *
 * A receipt is due when nothing holds it any more: neither whoever has opened it, nor one
 * of the receivers that were behind when the event was queued for them, nor anybody else
 * who has said so, like a store that is still writing. What is due stands in a list, from
 * which it is taken to be answered.
 *
 * Opening, finding and closing are O(1), and closed receipts are kept for reuse. To wait
 * for a receiver costs memory for each, but never for more than the events that lie in its
 * queue, where they count against it.
 */
#ifndef BUSD_RECEIPTS_H
#define BUSD_RECEIPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "busd/backlog.h"
#include "busd/quota.h"
#include "libbus/base/hash.h"
#include "libbus/base/list.h"
#include "libbus/wire/errors.h"

struct receipts {
    struct hash table; /* struct receipt by publisher and id */
    struct list due;   /* struct receipt.by_state */
    struct list spare; /* the same */
    size_t spare_count;
};

struct receipt_party {
    struct quota_user *user;
    struct list open; /* struct receipt.by_publisher, the due ones among them */
    size_t count;
};

struct receipt {
    struct hash_node node;
    struct list by_publisher;
    struct list by_state;
    struct list waits; /* struct receipt_wait.link */
    struct receipts *receipts;
    struct receipt_party *publisher; /* NULL: has gone */
    uint64_t id;
    unsigned holds;
    size_t matched;        /* those who were to have the event … */
    size_t queued;         /* … those of them for whom it was queued … */
    size_t dropped;        /* … and those for whom it was not */
    enum wire_error error; /* what went wrong instead … */
    const char *reason;    /* … in words that live for ever; NULL: nothing did */
    struct charge charge;
};

void receipts_init(struct receipts *receipts);
void receipts_deinit(struct receipts *receipts); /* asserts that no receipt is open */

/* The user, who is charged as for calls, is borrowed. */
void receipt_party_init(struct receipt_party *party, struct quota_user *user);

/* Opens a receipt and holds it once. 0, WIRE_INVALID_MESSAGE (the publisher has such an id
 * open), WIRE_LIMIT_EXCEEDED beyond `max` receipts of the publisher or what the user may
 * have, or -ENOMEM. */
int receipts_open(struct receipts *receipts, struct receipt_party *publisher, uint64_t id,
                  size_t max, struct receipt **ret_receipt);

/* NULL if there is none. */
struct receipt *receipts_find(const struct receipts *receipts,
                              const struct receipt_party *publisher, uint64_t id);

/* Each hold has to be released once; the receipt is good until the last. A publisher may
 * go meanwhile: then nobody is told. */
void receipt_hold(struct receipt *receipt);
void receipt_release(struct receipt *receipt);

/* Holds the receipt until the waiter, which is for the caller to place, is called. NULL:
 * out of memory. */
struct backlog_waiter *receipt_await(struct receipt *receipt);

/* It is to be answered by an error; the first one counts. The reason is static. */
void receipt_fail(struct receipt *receipt, enum wire_error error, const char *reason);

/* The one that has been due for longest, which is to be closed; NULL if none is. */
struct receipt *receipts_first_due(const struct receipts *receipts);
void receipt_close(struct receipt *receipt);

/* Removes one trace of a publisher that leaves; false when there is none left. */
bool receipts_leave(struct receipt_party *publisher);

#endif
