/* SPDX-License-Identifier: MIT */
#include "busd/receipts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "libbus/base/macros.h"

/* Beyond this many, closed receipts are freed. */
#define SPARE_MAX 1024

/* A receiver that a receipt waits for. */
struct receipt_wait {
    struct backlog_waiter waiter;
    struct list link;
    struct receipt *receipt;
};

void receipts_init(struct receipts *receipts)
{
    *receipts = (struct receipts){0};
    hash_init(&receipts->table);
    list_init(&receipts->due);
    list_init(&receipts->spare);
}

void receipts_deinit(struct receipts *receipts)
{
    hash_deinit(&receipts->table);
    LIST_FOREACH_SAFE (node, &receipts->spare)
        free(LIST_ENTRY(node, struct receipt, by_state));
}

void receipt_party_init(struct receipt_party *party, struct quota_user *user)
{
    *party = (struct receipt_party){.user = user};
    list_init(&party->open);
}

static uint64_t receipt_hash(const struct receipts *receipts, const struct receipt_party *publisher,
                             uint64_t id)
{
    uint64_t key[2] = {(uintptr_t)publisher, id};

    return hash_of(&receipts->table, key, sizeof(key));
}

static struct receipt *find(const struct receipts *receipts, const struct receipt_party *publisher,
                            uint64_t id, uint64_t hash)
{
    HASH_FOREACH (node, &receipts->table, hash) {
        struct receipt *receipt = CONTAINER_OF(node, struct receipt, node);
        if (receipt->publisher == publisher && receipt->id == id)
            return receipt;
    }
    return NULL;
}

struct receipt *receipts_find(const struct receipts *receipts,
                              const struct receipt_party *publisher, uint64_t id)
{
    return find(receipts, publisher, id, receipt_hash(receipts, publisher, id));
}

static struct receipt *receipt_new(struct receipts *receipts)
{
    struct list *spare = list_first(&receipts->spare);

    if (!spare)
        return malloc(sizeof(struct receipt));
    list_remove(spare);
    receipts->spare_count--;
    return LIST_ENTRY(spare, struct receipt, by_state);
}

static void receipt_free(struct receipts *receipts, struct receipt *receipt)
{
    if (receipts->spare_count >= SPARE_MAX) {
        free(receipt);
        return;
    }
    list_prepend(&receipts->spare, &receipt->by_state);
    receipts->spare_count++;
}

int receipts_open(struct receipts *receipts, struct receipt_party *publisher, uint64_t id,
                  size_t max, struct receipt **ret_receipt)
{
    uint64_t hash = receipt_hash(receipts, publisher, id);
    struct charge charge;

    if (find(receipts, publisher, id, hash))
        return WIRE_INVALID_MESSAGE;
    if (publisher->count >= max || charge_one(&charge, publisher->user, QUOTA_CALLS) != 0)
        return WIRE_LIMIT_EXCEEDED;
    struct receipt *receipt = receipt_new(receipts);
    if (!receipt) {
        charge_give_back(&charge);
        return -ENOMEM;
    }
    *receipt = (struct receipt){
        .receipts = receipts, .publisher = publisher, .id = id, .holds = 1, .charge = charge};
    list_init(&receipt->by_publisher);
    list_init(&receipt->by_state);
    list_init(&receipt->waits);
    if (hash_add(&receipts->table, &receipt->node, hash) < 0) {
        charge_give_back(&receipt->charge);
        receipt_free(receipts, receipt);
        return -ENOMEM;
    }
    list_append(&publisher->open, &receipt->by_publisher);
    publisher->count++;
    *ret_receipt = receipt;
    return 0;
}

void receipt_hold(struct receipt *receipt)
{
    receipt->holds++;
}

void receipt_release(struct receipt *receipt)
{
    if (--receipt->holds > 0)
        return;
    if (receipt->publisher)
        list_append(&receipt->receipts->due, &receipt->by_state);
    else
        receipt_free(receipt->receipts, receipt);
}

static void wait_free(struct receipt_wait *wait)
{
    backlog_leave(&wait->waiter);
    list_remove(&wait->link);
    free(wait);
}

static void on_caught_up(struct backlog_waiter *waiter)
{
    struct receipt_wait *wait = CONTAINER_OF(waiter, struct receipt_wait, waiter);
    struct receipt *receipt = wait->receipt;

    wait_free(wait);
    receipt_release(receipt);
}

struct backlog_waiter *receipt_await(struct receipt *receipt)
{
    struct receipt_wait *wait = malloc(sizeof(*wait));

    if (!wait)
        return NULL;
    backlog_waiter_init(&wait->waiter, on_caught_up);
    wait->receipt = receipt;
    list_append(&receipt->waits, &wait->link);
    receipt_hold(receipt);
    return &wait->waiter;
}

void receipt_fail(struct receipt *receipt, enum wire_error error, const char *reason)
{
    if (receipt->reason)
        return;
    receipt->error = error;
    receipt->reason = reason;
}

struct receipt *receipts_first_due(const struct receipts *receipts)
{
    struct list *node = list_first(&receipts->due);

    return node ? LIST_ENTRY(node, struct receipt, by_state) : NULL;
}

/* Nobody will be told any more. */
static void detach(struct receipt *receipt)
{
    hash_remove(&receipt->receipts->table, &receipt->node);
    list_remove(&receipt->by_publisher);
    list_remove(&receipt->by_state);
    charge_give_back(&receipt->charge);
    receipt->publisher->count--;
    receipt->publisher = NULL;
}

void receipt_close(struct receipt *receipt)
{
    detach(receipt);
    receipt_free(receipt->receipts, receipt);
}

bool receipts_leave(struct receipt_party *publisher)
{
    struct list *node = list_first(&publisher->open);

    if (!node)
        return false;
    struct receipt *receipt = LIST_ENTRY(node, struct receipt, by_publisher);
    struct list *wait = list_first(&receipt->waits);
    if (wait) {
        wait_free(LIST_ENTRY(wait, struct receipt_wait, link));
        receipt_release(receipt);
        return true;
    }
    detach(receipt);
    if (receipt->holds == 0)
        receipt_free(receipt->receipts, receipt);
    return true;
}
