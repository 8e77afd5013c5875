/* SPDX-License-Identifier: MIT */
/*
 * Iterating over the replies of a call. They are taken when they are read, in the order of
 * the stream, and wait here. When many wait, the connection reads no more (bus->held), so
 * that the bus sees a caller that is behind, until half of them are gone.
 *
 * Blocking functions read all the same: the program waits for something else. What comes
 * for us in that time is kept up to a bound; beyond it the call is given up.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/client.h"
#include "libbus/error.h"

/* From so many on nothing more is read … */
#define STREAM_ITEMS_MAX 256
#define STREAM_BYTES_MAX ((size_t)1 << 20)
/* … and beyond this the call is given up. */
#define STREAM_KEPT_MAX ((size_t)64 << 20)

struct bus_stream {
    struct pending pending;
    struct bus *bus;   /* NULL when it has gone */
    struct list items; /* struct bus_message, each with a reference */
    size_t count;
    size_t bytes; /* which the items take, with all that belongs to them */
    bool full;    /* holds the connection up */
    bool news;    /* there is something to take */
    bool ended;
    struct bus_message *answer; /* the last one; NULL: none has come … */
    struct bus_error error;     /* … and that is why … */
    int result;                 /* … as errno */
    uint64_t timeout;
    char to[]; /* for the cancel */
};

static size_t cost_of(const struct bus_message *item)
{
    return sizeof(*item) + item->line.size;
}

/* Holds the connection up, or lets go of it. */
static void set_full(struct bus_stream *stream, bool full)
{
    struct bus *bus = stream->bus;

    if (stream->full == full)
        return;
    stream->full = full;
    if (full)
        bus->held++;
    else
        bus->held--;
    if (!full && bus->owners > 0 && bus->depth == 0)
        loop_settle(bus);
}

static void end(struct bus_stream *stream, struct bus_message *answer)
{
    stream->ended = true;
    stream->news = true;
    stream->answer = bus_message_ref(answer);
}

/* There will be no answer from the other side that we could wait for. */
static void give_up(struct bus_stream *stream, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void give_up(struct bus_stream *stream, int result, const char *format, ...)
{
    char message[sizeof(stream->error.message)];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    pending_remove(stream->bus, &stream->pending);
    end(stream, NULL);
    stream->result = bus_error_set_errno(&stream->error, result, "%s", message);
}

static void cancel(struct bus_stream *stream)
{
    call_send_cancel(stream->bus, span_from(stream->to), stream->pending.id);
}

static void keep(struct bus_stream *stream, struct bus_message *item)
{
    list_append(&stream->items, &bus_message_ref(item)->link);
    stream->count++;
    stream->bytes += cost_of(item);
    stream->news = true;
    if (stream->count >= STREAM_ITEMS_MAX || stream->bytes >= STREAM_BYTES_MAX)
        set_full(stream, true);
}

static bool stream_intake(struct pending *pending, struct bus_message *answer)
{
    struct bus_stream *stream = CONTAINER_OF(pending, struct bus_stream, pending);

    if (!bus_message_has_more(answer)) {
        pending_remove(answer->bus, pending);
        end(stream, answer);
    } else if (stream->bytes + cost_of(answer) > STREAM_KEPT_MAX) {
        cancel(stream);
        give_up(stream, -EDQUOT, "too many replies of %s wait unread", stream->to);
    } else {
        keep(stream, answer);
    }
    return true;
}

/* The connection is lost, or (NULL) it is being torn down. */
static void stream_answered(struct pending *pending, struct bus_message *answer)
{
    struct bus_stream *stream = CONTAINER_OF(pending, struct bus_stream, pending);

    set_full(stream, false);
    if (answer)
        end(stream, answer);
    else
        give_up(stream, -ECONNRESET, "the connection was closed on this side");
}

static void stream_free(struct bus_stream *stream)
{
    client_unpin(stream->bus);
    free(stream);
}

static int stream_new(struct bus *bus, const struct outgoing *call, uint64_t timeout,
                      struct bus_stream **ret_stream)
{
    struct bus_stream *stream = calloc(1, sizeof(*stream) + call->to.size + 1);

    if (!stream)
        return -ENOMEM;
    stream->bus = bus;
    stream->timeout = timeout;
    stream->pending.intake = stream_intake;
    stream->pending.answered = stream_answered;
    list_init(&stream->pending.link);
    list_init(&stream->items);
    memcpy(stream->to, call->to.data, call->to.size);
    client_pin(bus);
    int r = pending_add(bus, &stream->pending, 0);
    if (r < 0) {
        stream_free(stream);
        return r;
    }
    *ret_stream = stream;
    return 0;
}

int bus_stream_open(struct bus_message *call, struct bus_stream **ret_stream,
                    struct bus_error *error)
{
    struct bus_stream *stream;
    struct outgoing outgoing;
    int r = client_check_draft(call, MESSAGE_CALL, error);

    if (r < 0)
        return r;
    if (!call->envelope.more)
        return bus_error_set_errno(error, -EINVAL,
                                   "the call does not ask for several replies: see "
                                   "bus_message_set_more()");
    message_outgoing(call, &outgoing);
    r = call_set_timeout(&outgoing, call_timeout_of(call), error);
    if (r < 0)
        return r;
    r = stream_new(call->bus, &outgoing, call_timeout_of(call), &stream);
    if (r < 0)
        return bus_error_set_errno(error, r, "out of memory");
    outgoing.id = stream->pending.id;
    client_enter(call->bus);
    r = call_send(call->bus, &outgoing, pending_deadline(call->bus, stream->timeout), error);
    r = call_explain(call->bus, &outgoing, r, error);
    if (r < 0) {
        pending_remove(call->bus, &stream->pending);
        stream_free(stream);
    }
    client_leave(call->bus);
    if (r == 0)
        *ret_stream = stream;
    return r;
}

/* Waits for news, as long as the callee has for its next reply. */
static void wait_for_news(struct bus_stream *stream)
{
    struct bus *bus = stream->bus;

    client_enter(bus);
    stream->news = false;
    int r = client_wait(bus, &stream->news, pending_deadline(bus, stream->timeout));
    if (r == -ETIMEDOUT) {
        cancel(stream);
        give_up(stream, r, "no reply from %s came before the deadline", stream->to);
    } else if (r < 0) {
        give_up(stream, r, "%s", bus->lost.message);
    }
    client_leave(bus);
}

static struct bus_message *take_item(struct bus_stream *stream)
{
    struct bus_message *item = LIST_ENTRY(list_first(&stream->items), struct bus_message, link);

    list_remove(&item->link);
    stream->count--;
    stream->bytes -= cost_of(item);
    if (stream->full && stream->count <= STREAM_ITEMS_MAX / 2 &&
        stream->bytes <= STREAM_BYTES_MAX / 2)
        set_full(stream, false);
    return item;
}

int bus_stream_next(struct bus_stream *stream, struct bus_message **ret_message,
                    struct bus_error *error)
{
    if (list_is_empty(&stream->items) && !stream->ended)
        wait_for_news(stream);
    if (!list_is_empty(&stream->items)) {
        struct bus_message *item = take_item(stream);
        if (ret_message)
            *ret_message = item;
        else
            bus_message_unref(item);
        return 1;
    }
    if (!stream->answer) {
        if (error)
            *error = stream->error;
        return stream->result;
    }
    int r = bus_message_get_error(stream->answer, error);
    if (r == 0 && ret_message)
        *ret_message = bus_message_ref(stream->answer);
    return r;
}

struct bus_stream *bus_stream_close(struct bus_stream *stream)
{
    if (!stream)
        return NULL;
    struct bus *bus = stream->bus;
    set_full(stream, false);
    if (!stream->ended) {
        cancel(stream);
        pending_remove(bus, &stream->pending);
    }
    while (!list_is_empty(&stream->items)) {
        struct list *first = list_first(&stream->items);
        list_remove(first);
        bus_message_unref(LIST_ENTRY(first, struct bus_message, link));
    }
    bus_message_unref(stream->answer);
    stream_free(stream);
    return NULL;
}
