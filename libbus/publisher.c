/* SPDX-License-Identifier: MIT */
/*
 * Publishing in bulk, with so many events under way and no more. An event is confirmed when
 * its receipt has come, or that of a later one: the bus takes our messages one after the
 * other. So only some ask for a receipt: the first of each topic in a row, because others
 * listen to it than to the one before, and then one every quarter of the window.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/client.h"
#include "libbus/error.h"
#include "libbus/wire/grammar.h"

#define WINDOW       1024
#define WINDOW_EXACT 256
/* However few the events are: their bytes lie in the queues of whoever is behind. */
#define WINDOW_BYTES (256u * 1024)

struct bus_publisher {
    struct bus *bus;  /* pinned */
    struct list link; /* bus->publishers */
    unsigned window;
    unsigned every; /* how many events a receipt stands for */
    bool choked;    /* one was refused for want of room */
    bool told;      /* the handler knows of the first failure */
    bus_publisher_handler handler;
    void *userdata;
    uint64_t sent;      /* events … */
    uint64_t asked;     /* … as of the last that has asked for a receipt … */
    uint64_t confirmed; /* … and of the last that needs no receipt any more */
    uint64_t sent_bytes;
    uint64_t asked_bytes;
    uint64_t confirmed_bytes;
    struct list all;    /* struct question.link */
    struct list open;   /* struct question.by_state, in order */
    struct list unused; /* the same */
    struct bus_receipt totals;
    uint64_t fewest; /* for whom an event was queued */
    int result;      /* the first failure: 0 or -errno … */
    struct bus_error error;
    size_t topic_size;
    char topic[GRAMMAR_NAME_MAX];
};

/* An event that has asked for a receipt. */
struct question {
    struct pending pending;
    struct list link;
    struct list by_state; /* in no list: answered, and the answer is still to be dispatched */
    struct bus_publisher *publisher;
    uint64_t sent;
    uint64_t sent_bytes;
    bool answered;
};

int bus_publisher_new(struct bus *bus, unsigned window, unsigned flags,
                      struct bus_publisher **ret_publisher)
{
    bool exact = flags & BUS_PUBLISHER_EXACT;

    if (flags & ~(unsigned)BUS_PUBLISHER_EXACT)
        return -EINVAL;
    struct bus_publisher *publisher = calloc(1, sizeof(*publisher));
    if (!publisher)
        return -ENOMEM;
    publisher->bus = bus;
    client_pin(bus);
    list_init(&publisher->link);
    list_append(&bus->publishers, &publisher->link);
    publisher->window = window > 0 ? window : exact ? WINDOW_EXACT : WINDOW;
    publisher->every = exact ? 1 : MAX(publisher->window / 4, 1u);
    publisher->fewest = UINT64_MAX;
    list_init(&publisher->all);
    list_init(&publisher->open);
    list_init(&publisher->unused);
    *ret_publisher = publisher;
    return 0;
}

struct bus_publisher *bus_publisher_free(struct bus_publisher *publisher)
{
    if (!publisher)
        return NULL;
    LIST_FOREACH_SAFE (node, &publisher->all) {
        struct question *question = LIST_ENTRY(node, struct question, link);
        pending_remove(publisher->bus, &question->pending);
        free(question);
    }
    list_remove(&publisher->link);
    client_unpin(publisher->bus);
    free(publisher);
    return NULL;
}

static bool is_full(const struct bus_publisher *publisher)
{
    return !list_is_empty(&publisher->open) &&
           (publisher->sent - publisher->confirmed >= publisher->window ||
            publisher->sent_bytes - publisher->confirmed_bytes >= WINDOW_BYTES);
}

static bool is_half_free(const struct bus_publisher *publisher)
{
    const struct bus *bus = publisher->bus;

    if (output_size(&bus->output) > bus->output_limit / 2)
        return false;
    return list_is_empty(&publisher->open) ||
           (publisher->sent - publisher->confirmed <= publisher->window / 2 &&
            publisher->sent_bytes - publisher->confirmed_bytes <= WINDOW_BYTES / 2);
}

/* -------------------------------------------------------------- receipts */

static void fail(struct bus_publisher *publisher, int result, const struct bus_error *error)
{
    if (publisher->result < 0)
        return;
    publisher->result = result;
    publisher->error = *error;
}

static void count(struct bus_publisher *publisher, struct bus_message *answer)
{
    struct bus_error error = BUS_ERROR_INIT;
    struct bus_receipt receipt;
    int r = answer ? bus_message_get_error(answer, &error) : -ECONNRESET;

    if (r == 0)
        r = bus_message_get_receipt(answer, &receipt);
    if (r < 0) {
        if (!error.name[0])
            bus_error_set_errno(&error, r,
                                answer ? "what the bus has answered is no receipt"
                                       : "the connection was closed on this side");
        fail(publisher, r, &error);
        return;
    }
    publisher->totals.matched += receipt.matched;
    publisher->totals.queued += receipt.queued;
    publisher->totals.dropped += receipt.dropped;
    publisher->fewest = MIN(publisher->fewest, receipt.queued);
}

/* It can be used again, once its answer is in nobody's hands. */
static void retire(struct question *question)
{
    list_remove(&question->by_state);
    if (list_is_empty(&question->pending.link))
        list_append(&question->publisher->unused, &question->by_state);
}

/* The answer has come; with those before it, its event is confirmed. */
static void take_answer(struct question *question, struct bus_message *answer)
{
    struct bus_publisher *publisher = question->publisher;
    struct list *first;

    question->answered = true;
    count(publisher, answer);
    while ((first = list_first(&publisher->open))) {
        question = LIST_ENTRY(first, struct question, by_state);
        if (!question->answered)
            break;
        publisher->confirmed = question->sent;
        publisher->confirmed_bytes = question->sent_bytes;
        retire(question);
    }
}

/* In blocking functions, too, which run no callbacks: so the answer is taken as soon as it
 * has been read, and comes once more if there is somebody to be called then. */
static bool on_intake(struct pending *pending, struct bus_message *answer)
{
    struct question *question = CONTAINER_OF(pending, struct question, pending);
    struct bus_publisher *publisher = question->publisher;
    bool refused = bus_message_type(answer) == BUS_MESSAGE_ERROR;
    bool calls = publisher->handler && (publisher->choked || (refused && !publisher->told));

    if (!calls)
        pending_remove(answer->bus, pending);
    take_answer(question, answer);
    return !calls;
}

/* Whether the handler has been called; it may have freed the publisher. */
static bool tell_if_ready(struct bus_publisher *publisher)
{
    bool failed = publisher->result < 0;
    bool ready = publisher->choked && (failed || is_half_free(publisher));

    if (!publisher->handler || !client_is_live(publisher->bus) ||
        !(ready || (failed && !publisher->told)))
        return false;
    publisher->choked = false;
    publisher->told = failed;
    publisher->handler(publisher, publisher->userdata);
    return true;
}

static void on_answered(struct pending *pending, struct bus_message *answer)
{
    struct question *question = CONTAINER_OF(pending, struct question, pending);
    struct bus_publisher *publisher = question->publisher;

    if (!question->answered)
        take_answer(question, answer);
    else if (list_is_empty(&question->by_state))
        retire(question);
    tell_if_ready(publisher);
}

void publishers_tell(struct bus *bus)
{
    struct list *node = bus->publishers.next;

    while (client_is_live(bus) && node != &bus->publishers) {
        struct bus_publisher *publisher = LIST_ENTRY(node, struct bus_publisher, link);
        /* The handler may free any of them, but who has been told is not told again. */
        node = tell_if_ready(publisher) ? bus->publishers.next : node->next;
    }
}

static struct question *question_new(struct bus_publisher *publisher)
{
    struct list *unused = list_first(&publisher->unused);
    struct question *question =
        unused ? LIST_ENTRY(unused, struct question, by_state) : malloc(sizeof(*question));

    if (!question)
        return NULL;
    if (unused) {
        list_remove(&question->by_state);
        list_remove(&question->link);
    }
    *question = (struct question){.publisher = publisher};
    question->pending.intake = on_intake;
    question->pending.answered = on_answered;
    list_init(&question->pending.link);
    list_init(&question->link);
    list_init(&question->by_state);
    list_append(&publisher->all, &question->link);
    return question;
}

/* --------------------------------------------------------------- sending */

static bool must_ask(const struct bus_publisher *publisher, const struct outgoing *event)
{
    struct span topic = {publisher->topic, publisher->topic_size};

    return publisher->sent + 1 - publisher->asked >= publisher->every ||
           publisher->sent_bytes + event->body.size - publisher->asked_bytes >= WINDOW_BYTES / 4 ||
           event->to.size > 0 || event->headers || !span_equal(topic, event->topic);
}

/* Where the next byte will stand in all that has been sent. */
static uint64_t output_end(const struct bus *bus)
{
    return bus->output.position + output_size(&bus->output);
}

static void note_sent(struct bus_publisher *publisher, const struct outgoing *event, uint64_t bytes)
{
    publisher->sent++;
    publisher->sent_bytes += bytes;
    publisher->topic_size = event->topic.size;
    memcpy(publisher->topic, event->topic.data, event->topic.size);
}

static int send_event(struct bus_publisher *publisher, struct outgoing *event)
{
    struct bus *bus = publisher->bus;
    struct question *question = NULL;
    int r = client_can_send(bus) ? 0 : -ECONNRESET;

    if (r == 0 && must_ask(publisher, event)) {
        question = question_new(publisher);
        r = question ? pending_add(bus, &question->pending, 0) : -ENOMEM;
    }
    uint64_t begin = output_end(bus);
    if (question)
        event->id = question->pending.id;
    if (r == 0)
        r = client_send(bus, event, NULL);
    if (r < 0) {
        if (question) {
            pending_remove(bus, &question->pending);
            retire(question);
        }
        return r;
    }
    note_sent(publisher, event, output_end(bus) - begin);
    if (question) {
        question->sent = publisher->asked = publisher->sent;
        question->sent_bytes = publisher->asked_bytes = publisher->sent_bytes;
        list_append(&publisher->open, &question->by_state);
    }
    return 0;
}

static int publish(struct bus_publisher *publisher, struct outgoing *event)
{
    int r = publisher->result;

    if (r == 0)
        r = is_full(publisher) ? -EAGAIN : send_event(publisher, event);
    publisher->choked |= r == -EAGAIN;
    return r;
}

int bus_publisher_send_text(struct bus_publisher *publisher, const char *topic, const char *text,
                            size_t size)
{
    struct outgoing event = {
        .type = MESSAGE_EVENT,
        .topic = span_from(topic),
        .body = span_from(NULL),
    };

    if (text)
        event.body = size == BUS_NUL_TERMINATED ? span_from(text) : (struct span){text, size};
    return publish(publisher, &event);
}

int bus_publisher_send(struct bus_publisher *publisher, struct bus_message *event)
{
    struct outgoing outgoing;
    int r = client_check_draft(event, MESSAGE_EVENT, NULL);

    if (r == 0 && event->bus != publisher->bus)
        r = -EINVAL;
    if (r < 0)
        return r;
    message_outgoing(event, &outgoing);
    if (list_is_empty(outgoing.headers))
        outgoing.headers = NULL;
    return publish(publisher, &outgoing);
}

void bus_publisher_set_ready_handler(struct bus_publisher *publisher, bus_publisher_handler handler,
                                     void *userdata)
{
    publisher->handler = handler;
    publisher->userdata = userdata;
}

/* --------------------------------------------------------------- waiting */

static uint64_t deadline_after(uint64_t timeout_ms)
{
    uint64_t now = client_now();

    return timeout_ms < UINT64_MAX - now ? now + timeout_ms : UINT64_MAX;
}

/* Takes turns until there is enough. 0, -ETIMEDOUT or -ECONNRESET. */
static int wait_until(struct bus_publisher *publisher,
                      bool (*is_enough)(const struct bus_publisher *publisher), uint64_t deadline)
{
    struct bus *bus = publisher->bus;
    int r = 0;

    if (!client_is_live(bus))
        return -ECONNRESET;
    client_enter(bus);
    /* In a callback there may be receipts that have been read and not been taken in. */
    client_stash(bus);
    while (r == 0 && publisher->result == 0 && !is_enough(publisher))
        r = client_turn(bus, deadline);
    client_leave(bus);
    return r;
}

int bus_publisher_wait(struct bus_publisher *publisher, uint64_t timeout_ms)
{
    int r = wait_until(publisher, is_half_free, deadline_after(timeout_ms));

    if (publisher->result < 0)
        return publisher->result;
    publisher->choked &= r < 0;
    return r;
}

/* What comes after the last receipt has been dealt with when the bus answers anything that
 * comes later. */
static int ping(struct bus *bus, uint64_t deadline, struct bus_error *error)
{
    struct outgoing call = {.type = MESSAGE_CALL, .to = SPAN("bus"), .method = SPAN("Ping")};
    uint64_t now = client_now();
    uint64_t timeout = deadline == UINT64_MAX ? BUS_TIMEOUT_NEVER
                       : deadline > now       ? deadline - now
                                              : 1;
    int r = client_call(bus, &call, timeout, error, NULL);

    return r == -ETIMEDOUT || !client_can_send(bus) ? r : 0;
}

static bool is_answered(const struct bus_publisher *publisher)
{
    return list_is_empty(&publisher->open);
}

int bus_publisher_finish(struct bus_publisher *publisher, uint64_t timeout_ms,
                         struct bus_error *error)
{
    struct bus *bus = publisher->bus;
    uint64_t deadline = deadline_after(timeout_ms);
    int r = wait_until(publisher, is_answered, deadline);

    if (r == -ETIMEDOUT)
        bus_error_set_errno(error, r, "somebody has still much to read");
    else if (r < 0)
        bus_error_set(error, BUS_ERROR_DISCONNECTED, "%s", bus->lost.message);
    else if (publisher->result == 0 && publisher->sent > publisher->asked)
        r = ping(bus, deadline, error);
    if (publisher->result == 0)
        return r;
    if (error)
        *error = publisher->error;
    return publisher->result;
}

uint64_t bus_publisher_get_fewest(const struct bus_publisher *publisher)
{
    return publisher->fewest;
}

void bus_publisher_get_receipt(const struct bus_publisher *publisher,
                               struct bus_receipt *ret_receipt)
{
    *ret_receipt = publisher->totals;
}
