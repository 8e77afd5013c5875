/* SPDX-License-Identifier: MIT */
/*
 * From bytes to messages: what is done with a line when it is read, in the order of
 * the stream and whoever reads, and the turns that blocking functions take. No
 * code of the program runs here.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/client.h"
#include "libbus/error.h"
#include "libbus/wire/errors.h"
#include "libbus/wire/grammar.h"
#include "libbus/wire/sockio.h"

/* Loses a connection whose stream no longer makes sense. */
static void client_garbled(struct bus *bus, const char *name, const char *reason, size_t offset)
{
    bus->deaf = true;
    client_lose(bus, false, name, "what the bus sent cannot be read: %s (at byte %zu)", reason,
                offset);
}

static void greet(struct bus *bus, struct bus_message *message)
{
    const char *name, *id;
    json_int_t bytes = 0;

    if (json_unpack(bus_message_body(message), "{s:s, s:s, s?{s?I}}", "name", &name, "bus", &id,
                    "limits", "message_bytes", &bytes) < 0 ||
        grammar_unique_name(span_from(name)) == 0 || strlen(id) >= sizeof(bus->id)) {
        client_garbled(bus, BUS_ERROR_INVALID_MESSAGE, "a greeting without a name for us", 0);
        return;
    }
    strcpy(bus->unique_name, name);
    strcpy(bus->id, id);
    bus->message_bytes = bytes > 0 ? (size_t)bytes : 0;
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
    if (!bus->greeted && span_is(envelope->topic, "bus.welcome") &&
        span_is(envelope->sender, "bus")) {
        greet(bus, message);
        bus_message_unref(message);
        return;
    }
    if (envelope->retained)
        subscriptions_claim(bus, message);
    client_queue(bus, message);
}

void client_queue(struct bus *bus, struct bus_message *message)
{
    list_append(&bus->backlog, &message->link);
}

/* The kernel has kept a message's fds back, because our own table is full or by a
 * security module's will. Whoever cares about the message is told; the rest of the
 * stream is in step. Takes the message. */
static void lost_fds(struct bus *bus, struct bus_message *message)
{
    static const char text[] = "the file descriptors of a message could not be received";
    struct bus_message *error;

    if (message->envelope.type == MESSAGE_CALL) {
        struct outgoing answer = {
            .type = MESSAGE_ERROR,
            .error = span_from(BUS_ERROR_FD_MISMATCH),
            .message = span_from(text),
            .own = true,
        };
        call_answer(message, &answer, NULL);
        bus_message_unref(message);
        return;
    }
    error = message_new_error(bus, message->envelope.id, BUS_ERROR_FD_MISMATCH, text);
    bus_message_unref(message);
    if (error)
        intake(bus, error);
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
    int r = envelope_parse_next(&bus->input.head, &message->envelope, line->text.data,
                                line->text.size, ENVELOPE_FROM_BROKER, &fault);
    if (r) {
        client_garbled(bus, wire_error_name((enum wire_error)r), fault.reason, fault.offset);
        bus_message_unref(message);
        return;
    }
    note_goodbye(bus, message);
    switch (fdqueue_take(&bus->input.fds, line, message->envelope.fds, &message->fds)) {
    case FDQUEUE_OK:
        intake(bus, message);
        break;
    case FDQUEUE_TRUNCATED:
        lost_fds(bus, message);
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
    client_garbled(bus, BUS_ERROR_TOO_LARGE, "a line without an end", INPUT_LINE_MAX);
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
            client_lose(bus, true, BUS_ERROR_DISCONNECTED, "the bus takes no more messages");
        return 0;
    }
    if (n == -ENOMEM)
        client_lose(bus, false, "errno.ENOMEM", "out of memory");
    else if (n == 0 || n == -ECONNRESET)
        client_lose(bus, true, BUS_ERROR_DISCONNECTED, "the bus closed the connection");
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
    output->next_write = output_size(output) + OUTPUT_BATCH;
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

    if (bus->message_bytes && size > bus->message_bytes)
        return refuse(bus, size, error, -EMSGSIZE, "is longer than the bus's message_bytes,",
                      bus->message_bytes);
    if (message->own || output_size(output) <= bus->output_limit)
        return 0;
    while (!output->blocked && output_size(output) > size)
        if (output_write(output, bus->fd, output_size(output) - size) < 0)
            break;
    loop_watch(bus);
    if (output_size(output) == size || output_size(output) <= bus->output_limit)
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
                                   bus->lost.message[0] ? bus->lost.message : "the bus hung up");
    size_t before = output_size(output);
    int r = output_append(output, message, error);
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
    if (message->fd_count > 0) {
        r = output_attach(output, message, size);
        if (r < 0) {
            output_undo(output, size);
            return bus_error_set_errno(error, r, "out of memory");
        }
    }
    if (message->draft)
        message_sent(message->draft);
    if (output_size(output) >= output->next_write)
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
