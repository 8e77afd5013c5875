/* SPDX-License-Identifier: MIT */
#include "busd/answer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "libbus/base/macros.h"

/* What it costs to make one, in the steps of CONNECTION_EFFORT. */
#define ANSWER_EFFORT 8

/* Sends the line in the hub's text. 0, WIRE_LIMIT_EXCEEDED or -ENOMEM. */
static int send_text(struct hub *hub, struct peer *receiver, enum message_type type,
                     struct fds *fds)
{
    hub->shared.effort += ANSWER_EFFORT;
    if (!hub->text.failed)
        return deliver_text(hub, receiver, type, (struct span){0}, text_span(&hub->text), fds);
    peer_doom(receiver, "out of memory for its answers");
    return -ENOMEM;
}

void answer_reply(struct hub *hub, struct peer *caller, uint64_t id, struct span body,
                  struct fds *fds)
{
    struct text *text = hub_text(hub);

    text_printf(text, "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":%" PRIu64, id);
    if (fds)
        text_printf(text, ",\"fds\":%u", fds->count);
    text_append_string(text, ",\"body\":");
    text_append_span(text, body);
    text_append_string(text, "}\n");
    if (send_text(hub, caller, MESSAGE_REPLY, fds) == WIRE_LIMIT_EXCEEDED)
        answer_call_error(hub, caller, id, WIRE_LIMIT_EXCEEDED,
                          "%" PRIu64 " unread file descriptors wait for you already",
                          (uint64_t)caller->connection.outq.fds);
}

/* It has no fds, so it is queued or its receiver is doomed. */
static void send_receipt(struct hub *hub, struct receipt *receipt)
{
    struct peer *publisher = peer_of_publisher(receipt->publisher);
    struct text *text = hub_text(hub);

    if (receipt->reason) {
        answer_call_error(hub, publisher, receipt->id, receipt->error, "%s", receipt->reason);
        return;
    }
    text_append_string(text, "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":");
    text_append_unsigned(text, receipt->id);
    text_append_string(text, ",\"body\":{\"matched\":");
    text_append_unsigned(text, receipt->matched);
    text_append_string(text, ",\"queued\":");
    text_append_unsigned(text, receipt->queued);
    text_append_string(text, ",\"dropped\":");
    text_append_unsigned(text, receipt->dropped);
    text_append_string(text, "}}\n");
    send_text(hub, publisher, MESSAGE_REPLY, NULL);
}

void answer_receipts(struct hub *hub)
{
    struct receipt *receipt;

    while ((receipt = receipts_first_due(&hub->receipts))) {
        send_receipt(hub, receipt);
        receipt_close(receipt);
    }
}

static void write_error_head(struct text *text, enum wire_error error)
{
    text_append_string(text, "{\"sender\":\"bus\",\"type\":\"error\"");
    text_append_string(text, ",\"error\":\"");
    text_append_string(text, wire_error_name(error));
    text_append_string(text, "\"");
}

static void write_error_message(struct text *text, enum wire_error error, const char *format,
                                va_list args)
{
    char *message = NULL;

    if (format && vasprintf(&message, format, args) < 0)
        message = NULL;
    text_append_string(text, ",\"message\":");
    text_append_json_string(text, span_from(message ? message : wire_error_sentence(error)));
    free(message);
}

static void send_call_error(struct hub *hub, struct peer *caller, uint64_t id,
                            enum wire_error error, const char *format, va_list args)
{
    struct text *text = hub_text(hub);

    write_error_head(text, error);
    text_printf(text, ",\"id\":%" PRIu64, id);
    write_error_message(text, error, format, args);
    text_append_string(text, "}\n");
    send_text(hub, caller, MESSAGE_ERROR, NULL);
}

void answer_call_error(struct hub *hub, struct peer *caller, uint64_t id, enum wire_error error,
                       const char *format, ...)
{
    va_list args;

    va_start(args, format);
    send_call_error(hub, caller, id, error, format, args);
    va_end(args);
}

static void write_about_text(struct text *text, const char *key, struct span value)
{
    if (value.size == 0)
        return;
    text_append_string(text, text->data[text->size - 1] == '{' ? "\"" : ",\"");
    text_append_string(text, key);
    text_append_string(text, "\":\"");
    text_append_span(text, value);
    text_append_string(text, "\"");
}

/* What could be read of the message. The texts have no escapes, by their grammar. */
static void write_about(struct text *text, const struct envelope *envelope)
{
    text_append_string(text, ",\"about\":{");
    if (envelope && !text->failed) {
        if (envelope->type)
            write_about_text(text, "type", span_from(message_type_name(envelope->type)));
        write_about_text(text, "to", envelope->to);
        write_about_text(text, "topic", envelope->topic);
        if (envelope->id > 0)
            text_printf(text, "%s\"id\":%" PRIu64, text->data[text->size - 1] == '{' ? "" : ",",
                        envelope->id);
    }
    text_append_string(text, "}");
}

static void send_complaint(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                           const size_t *offset, enum wire_error error, const char *format,
                           va_list args)
{
    struct text *text = hub_text(hub);

    write_error_head(text, error);
    write_error_message(text, error, format, args);
    if (offset)
        text_printf(text, ",\"offset\":%zu", *offset);
    write_about(text, envelope);
    text_append_string(text, "}\n");
    send_text(hub, sender, MESSAGE_ERROR, NULL);
}

void answer_complaint(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                      const size_t *offset, enum wire_error error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    send_complaint(hub, sender, envelope, offset, error, format, args);
    va_end(args);
}

void answer_error(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                  enum wire_error error, const char *format, ...)
{
    bool waits = envelope->type == MESSAGE_CALL || envelope->type == MESSAGE_EVENT;
    va_list args;

    if (envelope->no_reply)
        return;
    va_start(args, format);
    if (waits && envelope->id > 0)
        send_call_error(hub, sender, envelope->id, error, format, args);
    else
        send_complaint(hub, sender, envelope, NULL, error, format, args);
    va_end(args);
}

void answer_goodbye(struct hub *hub, struct peer *peer, const char *reason)
{
    struct text *text = hub_text(hub);

    write_error_head(text, WIRE_DISCONNECTED);
    text_append_string(text, ",\"message\":");
    text_append_json_string(text, span_from(reason));
    text_append_string(text, "}\n");
    if (!text->failed)
        deliver_last(hub, peer, text_span(text));
}

void answer_denied(struct hub *hub, struct peer *sender, const struct envelope *envelope,
                   enum policy_verb verb, struct span what, const struct policy_verdict *verdict)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;

    access_describe(&text, verb, what, verdict);
    const char *sentence = text.failed ? wire_error_sentence(WIRE_ACCESS_DENIED) : text.data;
    log_limited(hub->log, LOG_LEVEL_NOTICE, "denied %.*s (uid %" PRIu32 ", pid %d): %s",
                SPAN_ARGS(peer_name(sender)), (uint32_t)sender->credentials.uid,
                (int)sender->credentials.pid, sentence);
    answer_error(hub, sender, envelope, WIRE_ACCESS_DENIED, "%s", sentence);
}

void answer_cancel(struct hub *hub, struct peer *caller, struct peer *callee, uint64_t id,
                   const char *reason)
{
    struct text *text = hub_text(hub);

    text_append_span(text, peer_prefix(caller));
    text_printf(text, "\"type\":\"cancel\",\"id\":%" PRIu64 ",\"reason\":\"%s\"}\n", id, reason);
    send_text(hub, callee, MESSAGE_CANCEL, NULL);
}

void answer_refused(struct hub *hub, struct peer *receiver, const struct piece *piece)
{
    static const char reason[] = "the kernel takes no more file descriptors in flight";
    struct envelope envelope;
    struct envelope_fault fault;

    if (envelope_parse(&envelope, piece->chunk->data + piece->offset, piece->size - 1,
                       ENVELOPE_FROM_BROKER, &fault) != 0)
        return;
    struct peer *sender = hub_find_peer(hub, envelope.sender);
    switch (envelope.type) {
    case MESSAGE_EVENT:
        deliver_refused(hub, receiver, envelope.topic);
        break;
    case MESSAGE_CALL: {
        struct call *call = sender ? calls_find(&hub->calls, &sender->calls, envelope.id) : NULL;
        if (call && call->callee == &receiver->calls) {
            calls_remove(&hub->calls, call);
            answer_call_error(hub, sender, envelope.id, WIRE_LIMIT_EXCEEDED, reason);
        }
        break;
    }
    default:
        answer_call_error(hub, receiver, envelope.id, WIRE_LIMIT_EXCEEDED, reason);
        break;
    }
}
