/* SPDX-License-Identifier: MIT */
/*
 * From bytes to messages: what is done with a line when it is read, in the order of
 * the stream and whoever reads, and the turns that blocking functions take. No
 * code of the program runs here.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/base/text.h"
#include "libbus/body.h"
#include "libbus/channel.h"
#include "libbus/client.h"
#include "libbus/error.h"
#include "libbus/wire/errors.h"
#include "libbus/wire/grammar.h"
#include "libbus/wire/sockio.h"

static const char *other_side(const struct bus *bus)
{
    return bus->channel ? "the other side" : "the bus";
}

/* Loses a connection whose stream no longer makes sense. */
static void client_garbled(struct bus *bus, const char *name, const char *reason, size_t offset)
{
    bus->deaf = true;
    client_lose(bus, false, name, "what %s sent cannot be read: %s (at byte %zu)", other_side(bus),
                reason, offset);
}

static void greet(struct bus *bus, struct bus_message *message)
{
    const char *name, *id;
    json_int_t bytes = 0;
    json_int_t fds = FDS_MAX;

    if (json_unpack(bus_message_body(message), "{s:s, s:s, s?{s?I, s?I}}", "name", &name, "bus",
                    &id, "limits", "message_bytes", &bytes, "fds_per_message", &fds) < 0 ||
        grammar_unique_name(span_from(name)) == 0 || strlen(id) >= sizeof(bus->id)) {
        client_garbled(bus, BUS_ERROR_INVALID_MESSAGE, "a greeting without a name for us", 0);
        return;
    }
    strcpy(bus->unique_name, name);
    strcpy(bus->id, id);
    bus->message_bytes = bytes > 0 ? (size_t)bytes : 0;
    bus->fds_per_message = fds > 0 ? (unsigned)MIN(fds, FDS_MAX) : 0;
    bus->greeted = true;
}

/* An error that answers nothing may be the last that the bus says to us. */
static void note_goodbye(struct bus *bus, struct bus_message *message)
{
    bus->said_goodbye = message->envelope.type == MESSAGE_ERROR && message->envelope.id == 0 &&
                        span_is(message->envelope.sender, "bus");
    if (bus->said_goodbye)
        bus_message_get_error(message, &bus->goodbye);
}

/* What the bus says to the library itself. */
static bool take_notice(struct bus *bus, struct bus_message *event)
{
    struct span topic = event->envelope.topic;

    if (!bus->greeted && span_is(topic, "bus.welcome"))
        greet(bus, event);
    else if (span_is(topic, "bus.flow"))
        items_take_flow(bus, event);
    else
        return false;
    return true;
}

/* Takes the message. */
static void intake(struct bus *bus, struct bus_message *message)
{
    const struct envelope *envelope = &message->envelope;
    bool answer = envelope->type == MESSAGE_REPLY || envelope->type == MESSAGE_ERROR;

    if (answer && envelope->id) {
        struct pending *pending = pending_find(bus, envelope->id);
        /* Too late, or cancelled: nobody waits for it. */
        if (!pending || (pending->intake && pending->intake(pending, message))) {
            bus_message_unref(message);
            return;
        }
    }
    if (!bus->greeted && envelope->type == MESSAGE_CALL) {
        /* The answer may have to wait for what only the greeting says. */
        client_garbled(bus, BUS_ERROR_INVALID_MESSAGE, "a call before the greeting", 0);
        bus_message_unref(message);
        return;
    }
    if (envelope->type == MESSAGE_EVENT && span_is(envelope->sender, "bus") &&
        take_notice(bus, message)) {
        bus_message_unref(message);
        return;
    }
    if (bus->channel && envelope->type == MESSAGE_EVENT && envelope->id)
        channel_acknowledge(bus, message);
    if (!envelope->retained || !subscriptions_claim(bus, message))
        client_queue(bus, message);
    if (bus->channel && !channel_keep(bus, message))
        client_lose(bus, false, BUS_ERROR_LIMIT_EXCEEDED,
                    "the other side sends more than is taken while something else is waited for");
}

void client_queue(struct bus *bus, struct bus_message *message)
{
    list_append(&bus->backlog, &message->link);
}

/* A message that cannot be handed out, though the rest of the stream is in step:
 * whoever cares about it is told. Takes the message. */
static void spoilt(struct bus *bus, struct bus_message *message, const char *name, const char *text)
{
    bool event = message->envelope.type == MESSAGE_EVENT;
    struct bus_message *error;

    if (message->envelope.type == MESSAGE_CALL) {
        struct outgoing answer = {
            .type = MESSAGE_ERROR,
            .error = span_from(name),
            .message = span_from(text),
            .own = true,
        };
        call_answer(message, &answer, NULL);
        bus_message_unref(message);
        return;
    }
    /* For us the call ends here: its callee shall not go on. */
    if (bus_message_has_more(message))
        call_send_cancel(bus, message->envelope.sender, message->envelope.id);
    error = message_new_error(bus, event ? 0 : message->envelope.id, name, text);
    bus_message_unref(message);
    if (error)
        intake(bus, error);
}

/* With its fds in hand. Takes the message. */
static void take_message(struct bus *bus, struct bus_message *message)
{
    if (message->envelope.body_fd && body_receive(message) < 0)
        spoilt(bus, message,
               message->envelope.type == MESSAGE_CALL ? BUS_ERROR_INVALID_ARGUMENTS
                                                      : BUS_ERROR_INVALID_MESSAGE,
               "the body of a message is not in sealed memory, or not all of it is there");
    else
        intake(bus, message);
}

static void take_line(struct bus *bus, const struct line *line)
{
    struct envelope_fault fault;
    struct bus_message *message = message_new(bus);

    if (!message) {
        bus->deaf = true;
        client_lose(bus, false, "errno.ENOMEM", "out of memory");
        return;
    }
    message->line = line->text;
    message->position = line->end;
    message->block = block_ref(bus->input.block);
    int r =
        envelope_parse_next(&bus->input.head, &message->envelope, line->text.data, line->text.size,
                            bus->channel ? ENVELOPE_FROM_CLIENT : ENVELOPE_FROM_BROKER, &fault);
    if (r) {
        client_garbled(bus, wire_error_name((enum wire_error)r), fault.reason, fault.offset);
        bus_message_unref(message);
        return;
    }
    const char *unfit = bus->channel ? channel_check_incoming(bus, &message->envelope) : NULL;
    if (unfit) {
        client_garbled(bus, BUS_ERROR_INVALID_MESSAGE, unfit, 0);
        bus_message_unref(message);
        return;
    }
    note_goodbye(bus, message);
    switch (fdqueue_take(&bus->input.fds, line, message->envelope.fds, &message->fds)) {
    case FDQUEUE_OK:
        take_message(bus, message);
        break;
    case FDQUEUE_TRUNCATED:
        /* Our own table is full, or a security module said no. */
        spoilt(bus, message, BUS_ERROR_FD_MISMATCH,
               "the file descriptors of a message could not be received");
        break;
    case FDQUEUE_MISMATCH:
        client_garbled(bus, BUS_ERROR_FD_MISMATCH, wire_error_sentence(WIRE_FD_MISMATCH), 0);
        bus_message_unref(message);
        break;
    }
}

int client_cut(struct bus *bus)
{
    struct line line;

    if (bus->deaf)
        return 0;
    switch (input_next(&bus->input, &line)) {
    case LINES_LINE:
        take_line(bus, &line);
        return 1;
    case LINES_TOO_LONG:
        break;
    case LINES_MORE:
        /* An unfinished line can claim one batch of fds: with more, somebody
         * wants to fill our table. */
        if (!bus->input.lines.skipping) {
            struct list *first = list_first(&bus->input.fds.batches);
            if (first && first->next != &bus->input.fds.batches)
                client_garbled(bus, BUS_ERROR_FD_MISMATCH, wire_error_sentence(WIRE_FD_MISMATCH),
                               0);
            return 0;
        }
        break;
    }
    client_garbled(bus, BUS_ERROR_TOO_LARGE, "a line that is too long", bus->input.lines.max);
    return 0;
}

void client_stash(struct bus *bus)
{
    while (client_cut(bus))
        ;
}

int client_read(struct bus *bus)
{
    /* Callbacks may process, too, and find lines that are not taken in yet. */
    client_stash(bus);
    if (bus->state != CLIENT_UP)
        return 0;

    ssize_t n = input_read(&bus->input, bus->fd);
    if (n > 0)
        return 1;
    if (n == -EAGAIN) {
        if (bus->broken)
            client_lose(bus, true, BUS_ERROR_DISCONNECTED, "%s takes no more messages",
                        other_side(bus));
        return 0;
    }
    if (n == -ENOMEM)
        client_lose(bus, false, "errno.ENOMEM", "out of memory");
    else if (n == 0 || n == -ECONNRESET)
        client_lose(bus, true, BUS_ERROR_DISCONNECTED, "%s closed the connection", other_side(bus));
    else
        client_lose(bus, true, BUS_ERROR_DISCONNECTED, "the connection broke: %s",
                    strerrordesc_np((int)-n));
    return 0;
}

int client_turn(struct bus *bus, uint64_t deadline)
{
    short events = POLLIN;

    if (!bus->output.blocked)
        client_flush(bus);
    if (bus->state != CLIENT_UP)
        return -ECONNRESET;
    if (!bus->broken) {
        if (bus->output.blocked)
            events |= POLLOUT;
        int r = client_poll(bus, events, deadline, true, &events);
        if (r <= 0)
            return r == 0 ? -ETIMEDOUT : r;
    }
    if (events & POLLOUT)
        client_flush(bus);
    if (events & ~POLLOUT) {
        client_read(bus);
        client_stash(bus);
    }
    return 0;
}

int client_wait(struct bus *bus, const bool *done, uint64_t deadline)
{
    client_stash(bus);
    while (!*done) {
        int r = client_turn(bus, deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

/* A call that has been answered by an error in the place of an item: its service is to
 * hear that nobody listens any more. */
static void end_call(struct bus *bus, const struct output_mark *mark)
{
    CLEANUP(text_deinit) struct text line = TEXT_INIT;
    struct bus_message *cancel = NULL;

    if (!call_find(bus, span_from(mark->to), mark->id))
        return;
    text_printf(&line,
                "{\"sender\":\"%s\",\"type\":\"cancel\",\"id\":%" PRIu64 ",\"reason\":\"limit\"}",
                mark->to, mark->id);
    if (!line.failed)
        cancel = message_from_line(bus, text_span(&line));
    if (cancel)
        client_queue(bus, cancel);
}

/* The kernel will not pass the fds of the first message on (too many are in flight
 * for this user, or the bus lets none in): takes the message back and tells whoever waits
 * for it. */
static void fds_refused(struct bus *bus, int refusal)
{
    const char *text = refusal == -EPERM
                           ? "the bus takes no file descriptors from this client"
                           : "the system passes no more file descriptors: too many are in flight";
    struct output_mark *mark = output_drop_first(&bus->output);

    if (mark->type == MESSAGE_CALL || mark->type == MESSAGE_EVENT) {
        uint64_t id = mark->type == MESSAGE_CALL ? mark->id : 0;
        struct bus_message *error = message_new_error(bus, id, BUS_ERROR_LIMIT_EXCEEDED, text);
        if (error)
            intake(bus, error);
    } else {
        struct outgoing answer = {
            .type = MESSAGE_ERROR,
            .to = span_from(mark->to),
            .id = mark->id,
            .error = span_from(BUS_ERROR_LIMIT_EXCEEDED),
            .message = span_from(text),
        };
        output_append(&bus->output, &answer, NULL);
        end_call(bus, mark);
    }
    free(mark);
}

void client_flush(struct bus *bus)
{
    struct output *output = &bus->output;

    while (output_size(output) > 0) {
        int r = output_write(output, bus->fd, SIZE_MAX);
        if (r == -ETOOMANYREFS || (r == -EPERM && output_has_fds_first(output))) {
            fds_refused(bus, r);
        } else if (r == -EAGAIN) {
            break;
        } else if (r < 0) {
            /* What the bus has still to say may tell why. */
            bus->broken = true;
            output_clear(output);
        }
    }
    output->next_write = output_weight(output) + OUTPUT_BATCH;
    loop_watch(bus);
}

static int refuse(struct bus *bus, size_t size, struct bus_error *error, int result,
                  const char *reason, size_t limit)
{
    output_undo(&bus->output, size);
    return bus_error_set_errno(error, result, "the message of %zu bytes %s %zu", size, reason,
                               limit);
}

/* Whether the last message, of `size` bytes, may stay. What is older goes out first
 * if that makes the room. */
static int check_limits(struct bus *bus, const struct outgoing *message, size_t size,
                        struct bus_error *error)
{
    struct output *output = &bus->output;
    size_t body = message->sealed ? message->sealed->size : 0;

    if (bus->message_bytes && size > bus->message_bytes)
        return refuse(bus, size, error, -EMSGSIZE, "is longer than the bus's message_bytes,",
                      bus->message_bytes);
    if (message->own || output_weight(output) + body <= bus->output_limit)
        return 0;
    while (!output->blocked && output_size(output) > size)
        if (output_write(output, bus->fd, output_size(output) - size) < 0)
            break;
    loop_watch(bus);
    if (output_size(output) == size || output_weight(output) + body <= bus->output_limit)
        return 0;
    bus->choked = true;
    return refuse(bus, size, error, -EAGAIN, "does not fit: the output is limited to",
                  bus->output_limit);
}

int client_send(struct bus *bus, const struct outgoing *message, struct bus_error *error)
{
    struct output *output = &bus->output;

    if (!client_can_send(bus))
        return bus_error_set_errno(error, -ECONNRESET, "not connected: %s",
                                   bus->lost.message[0] ? bus->lost.message : "nobody listens");
    if (bus->channel) {
        int unfit = channel_check_outgoing(bus, message, error);
        if (unfit < 0)
            return unfit;
    }
    if (body_is_undecided(bus, message))
        return body_send(bus, message, error);
    size_t before = output_size(output);
    int r = output_append(output, message, error);
    if (r == -EFBIG)
        return body_send(bus, message, error);
    if (r < 0)
        return r;
    size_t size = output_size(output) - before;
    if (!bus->greeted && (size > CLIENT_UNGREETED_BYTES || message->fd_count > 0)) {
        /* What the bus would skip as too long it could not answer by its id; and file
         * descriptors it may only take from those that it has let in. */
        output_undo(output, size);
        if (!client_greeted(bus))
            return bus_error_set_errno(error, -ECONNRESET, "the bus has not greeted us");
        return client_send(bus, message, error);
    }
    r = check_limits(bus, message, size, error);
    if (r < 0)
        return r;
    if (message->fd_count > 0 || message->sealed) {
        r = output_attach(output, message, size);
        if (r < 0) {
            output_undo(output, size);
            return bus_error_set_errno(error, r, "out of memory");
        }
    }
    if (message->draft)
        message_sent(message->draft, message->sealed);
    if (output_weight(output) >= output->next_write)
        client_flush(bus);
    if (bus->depth == 0 && client_has_work(bus))
        loop_wake(bus);
    return 0;
}

void client_tell_bus(struct bus *bus, const char *method, const char *format, ...)
{
    /* No name in such a body is longer than 255 bytes. */
    char body[1024];
    va_list args;

    va_start(args, format);
    int size = vsnprintf(body, sizeof(body), format, args);
    va_end(args);
    struct outgoing call = {
        .type = MESSAGE_CALL,
        .to = SPAN("bus"),
        .method = span_from(method),
        .body = {body, (size_t)size},
        .no_reply = true,
        .own = true,
    };
    client_send(bus, &call, NULL);
}
