/* SPDX-License-Identifier: MIT */
#include "busd/persist.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "libbus/base/clock.h"
#include "libbus/base/macros.h"
#include "libbus/wire/scan.h"

struct persist_ticket {
    struct store_waiter waiter;
    struct hub *hub;
    struct receipt *receipt; /* held; NULL: none is wanted … */
    uint64_t publisher;      /* … and the failure goes to this connection */
};

/* ----------------------------------------------------------------- words */

#define LASTS ": the value lasts as long as the bus"

static const char without_folder[] = "the bus has no state folder (--state)" LASTS;

/* For clients, who need not know where the folder is; the log says more. */
static const char *reason_of(int error)
{
    switch (error) {
    case -ENOSPC:
    case -EDQUOT:
    case -EFBIG:
        return "the disk is full" LASTS;
    case -EROFS:
        return "the disk can only be read" LASTS;
    case -ENOMEM:
        return "the bus is out of memory" LASTS;
    case -ESHUTDOWN:
        return "the bus had to end before it was on the disk";
    default:
        return "writing to the disk has failed" LASTS;
    }
}

/* ---------------------------------------------------------------- keeper */

static struct hub *hub_of_keeper(struct retained_keeper *keeper)
{
    return CONTAINER_OF(keeper, struct hub, keeper);
}

static int keeper_put(struct retained_keeper *keeper, const struct retained_record *record)
{
    const struct database_value value = {
        .topic = record->topic,
        .value = record->rest,
        .uid = record->uid,
        .expiry = record->expires,
        .guarded = record->guarded,
    };

    return store_put(&hub_of_keeper(keeper)->store, &value, record->chunk);
}

static int keeper_clear(struct retained_keeper *keeper, struct span topic)
{
    const struct database_value value = {.topic = topic};

    return store_put(&hub_of_keeper(keeper)->store, &value, NULL);
}

/* --------------------------------------------------------------- tickets */

static void fail(struct hub *hub, struct peer *publisher, struct receipt *receipt,
                 struct span topic, const char *reason)
{
    const struct envelope about = {.type = MESSAGE_EVENT, .topic = topic};

    if (receipt)
        receipt_fail(receipt, WIRE_STORAGE_FAILED, reason);
    else if (publisher)
        answer_error(hub, publisher, &about, WIRE_STORAGE_FAILED, "%s", reason);
}

static void on_done(struct store_waiter *waiter, struct span topic, int error)
{
    struct persist_ticket *ticket = CONTAINER_OF(waiter, struct persist_ticket, waiter);
    struct peer *publisher = peers_find(&ticket->hub->peers, ticket->publisher);

    if (error < 0)
        fail(ticket->hub, publisher, ticket->receipt, topic, reason_of(error));
    if (ticket->receipt)
        receipt_release(ticket->receipt);
    free(ticket);
}

static bool is_for_disk(const struct envelope *envelope)
{
    return span_equal(envelope->retain, SPAN("disk"));
}

static void refuse(struct hub *hub, struct peer *sender, const struct envelope *envelope)
{
    uint64_t max;
    const char *limit = quota_limit(sender->user, QUOTA_UNSTORED, &max);

    answer_error(hub, sender, envelope, WIRE_LIMIT_EXCEEDED,
                 "too much of your user's waits for the disk: with this it would be more than "
                 "%" PRIu64 " bytes (%s)",
                 max, limit);
    hub_log_limit(hub, sender, limit, max);
}

bool persist_begin(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                   struct persist_ticket **ret_ticket)
{
    size_t size = envelope_clears(envelope) ? 0 : envelope->rest.size;

    *ret_ticket = NULL;
    if (!is_for_disk(envelope) || !store_is_there(&hub->store))
        return true;
    struct persist_ticket *ticket = calloc(1, sizeof(*ticket));
    if (!ticket) {
        answer_error(hub, sender, envelope, WIRE_LIMIT_EXCEEDED, "the bus is out of memory");
        return false;
    }
    if (store_admit(&hub->store, sender->user, envelope->topic, size, &ticket->waiter) != 0) {
        free(ticket);
        refuse(hub, sender, envelope);
        return false;
    }
    ticket->waiter.done = on_done;
    ticket->hub = hub;
    ticket->publisher = sender->id;
    *ret_ticket = ticket;
    return true;
}

void persist_cancel(struct persist_ticket *ticket)
{
    if (ticket)
        store_forget(&ticket->waiter);
    free(ticket);
}

void persist_await(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                   struct persist_ticket *ticket, struct receipt *receipt)
{
    if (!is_for_disk(envelope))
        return;
    if (!ticket) {
        if (!envelope_clears(envelope))
            fail(hub, sender, receipt, envelope->topic, without_folder);
        return;
    }
    if (store_await(&hub->store, envelope->topic, &ticket->waiter) < 0) {
        fail(hub, sender, receipt, envelope->topic, reason_of(-ENOMEM));
        persist_cancel(ticket);
        return;
    }
    ticket->receipt = receipt;
    if (receipt)
        receipt_hold(receipt);
}

bool persist_turn(struct hub *hub)
{
    bool more = store_turn(&hub->store, PERSIST_TOLD);

    answer_receipts(hub);
    return more;
}

/* ----------------------------------------------------------------- start */

/* What has been found at the start. */
struct finding {
    struct hub *hub;
    uint64_t now; /* milliseconds of real time */
    size_t count;
    size_t wrong;  /* that are no values */
    size_t excess; /* that are more than their users may have now */
};

/* Whether it is what a client may have said: the disk is not to be believed. */
static bool is_event(struct hub *hub, const struct database_value *value)
{
    static const char padding[SCAN_PADDING];
    struct text *text = hub_text(hub);
    struct envelope envelope;
    struct envelope_fault fault;

    text_append_string(text, "{");
    text_append_span(text, value->value);
    text_append_string(text, "\n");
    text_append(text, padding, sizeof(padding));
    return !text->failed &&
           envelope_parse(&envelope, text->data, 1 + value->value.size, ENVELOPE_FROM_CLIENT,
                          &fault) == 0 &&
           envelope.type == MESSAGE_EVENT && is_for_disk(&envelope) &&
           span_equal(envelope.topic, value->topic) && !grammar_is_reserved(envelope.topic);
}

static bool user_has_room(struct quota_user *user, const struct database_value *value)
{
    struct charge topic, bytes;

    charge_init(&topic, user, QUOTA_RETAINED);
    charge_init(&bytes, user, QUOTA_RETAINED_BYTES);
    return charge_can_grow(&topic, 1) && charge_can_grow(&bytes, value->value.size);
}

static void on_value(const struct database_value *value, void *userdata)
{
    struct finding *finding = userdata;
    struct hub *hub = finding->hub;
    const struct retained_record record = {
        .topic = value->topic,
        .rest = value->value,
        .uid = value->uid,
        .expires = value->expiry,
        .guarded = value->guarded,
    };
    uint64_t at = value->expiry > 0 ? hub_now(hub) + (value->expiry - finding->now) : 0;

    struct quota_user *user = quotas_get_user(&hub->quotas, value->uid);
    if (!is_event(hub, value))
        finding->wrong++;
    else if (!user || !user_has_room(user, value) ||
             retained_load(&hub->retained, user, &record, at) < 0)
        finding->excess++;
    else
        finding->count++;
    quota_user_unref(user);
}

void persist_init(struct hub *hub, void (*wake)(void *userdata), void *userdata)
{
    hub->keeper = (struct retained_keeper){.put = keeper_put, .clear = keeper_clear};
    store_init(&hub->store, hub->log, &hub->quotas, wake, userdata);
}

int persist_open(struct hub *hub, struct statedir *dir, bool sealed)
{
    struct finding finding = {.hub = hub, .now = (uint64_t)(clock_seconds(CLOCK_REALTIME) * 1000)};

    int r = store_open(&hub->store, dir, sealed);
    if (r < 0)
        return r;
    store_read(&hub->store, on_value, &finding);
    if (store_is_there(&hub->store))
        hub->retained.keeper = &hub->keeper;
    if (finding.count > 0)
        log_write(hub->log, LOG_LEVEL_INFO, "%zu values are there from before", finding.count);
    if (finding.wrong > 0)
        log_write(hub->log, LOG_LEVEL_WARNING,
                  DATABASE_NAME ": %zu values are none, and are passed over", finding.wrong);
    if (finding.excess > 0)
        log_write(hub->log, LOG_LEVEL_WARNING,
                  DATABASE_NAME
                  ": %zu values are more than their users may have (retained_per_user, "
                  "retained_bytes_per_user), and are passed over; they stay there",
                  finding.excess);
    return 0;
}

void persist_deinit(struct hub *hub, uint64_t timeout)
{
    hub->retained.keeper = NULL;
    store_deinit(&hub->store, timeout);
}
