/* SPDX-License-Identifier: MIT */
/*
 * The envelope of one message: the top-level keys of a line, found and checked
 * in the same pass that validates the whole line, body included. Nothing is
 * copied: every span points into the line.
 *
 * The table of keys, who may send them and in which types of message stands in
 * envelope.c; it is protocol section 2.
 */
#ifndef LIBBUS_WIRE_ENVELOPE_H
#define LIBBUS_WIRE_ENVELOPE_H

#include <stdbool.h>
#include <stdint.h>

#include "libbus/base/span.h"
#include "libbus/wire/errors.h"

enum message_type {
    MESSAGE_NONE, /* only in an envelope whose type could not be read */
    MESSAGE_CALL,
    MESSAGE_REPLY,
    MESSAGE_ERROR,
    MESSAGE_EVENT,
    MESSAGE_CANCEL,
};

/* In the order of their names' lengths, by which they are found. */
enum envelope_key {
    KEY_TO,
    KEY_ID,
    KEY_FDS,
    KEY_TTL,
    KEY_TYPE,
    KEY_BODY,
    KEY_PATH,
    KEY_MORE,
    KEY_TOPIC,
    KEY_ERROR,
    KEY_ABOUT,
    KEY_GROUP,
    KEY_METHOD,
    KEY_SENDER,
    KEY_RETAIN,
    KEY_OFFSET,
    KEY_REASON,
    KEY_MESSAGE,
    KEY_TIMEOUT,
    KEY_BODY_FD,
    KEY_NO_REPLY,
    KEY_NO_START,
    KEY_RETAINED,
    KEY_COUNT
};

/* Whose line it is decides which keys may stand in it: a client may not send
 * those that the broker adds, and what comes from the broker has a sender. */
enum envelope_origin {
    ENVELOPE_FROM_CLIENT,
    ENVELOPE_FROM_BROKER,
};

struct envelope {
    enum message_type type;
    uint32_t keys;  /* 1u << KEY_X for each key that was there */
    struct span to; /* strings without their quotes; none has escapes … */
    struct span method;
    struct span path;
    struct span topic;
    struct span error;
    struct span sender;
    struct span retain;
    struct span reason;
    struct span group;
    struct span message; /* … but this one: JSON text with its quotes */
    struct span about;   /* JSON text */
    struct span body;    /* JSON text */
    uint64_t id;         /* 0: none */
    uint64_t timeout;    /* milliseconds; only if KEY_TIMEOUT is there */
    uint64_t ttl;        /* milliseconds; 0: none */
    uint64_t offset;
    uint32_t fds;
    bool no_reply;
    bool no_start;
    bool more;
    bool body_fd;
    bool retained;
    struct span rest; /* from after the opening brace to the closing one, included */
};

struct envelope_fault {
    size_t offset;      /* the byte of the line, from 0 */
    const char *reason; /* a static sentence without a full stop */
    const char *key;    /* the key it is about, or NULL; static */
};

static inline bool envelope_has(const struct envelope *envelope, enum envelope_key key)
{
    return envelope->keys & 1u << key;
}

/* Whether an event with `retain` ends what was kept: its body is null. */
static inline bool envelope_clears(const struct envelope *envelope)
{
    return envelope->body.size == 0 || span_equal(envelope->body, SPAN("null"));
}

/* `line` is one line without its LF; line[size] must be that LF, followed by
 * SCAN_PADDING readable bytes. Spaces and a CR around the object are allowed.
 *
 * Returns 0, WIRE_PARSE_ERROR (not JSON) or WIRE_INVALID_MESSAGE (JSON, but not
 * a message) with *ret_fault set. On failure the envelope holds what had been
 * read until then, for the error's `about`; a type or an id is only there when
 * it was valid. */
int envelope_parse(struct envelope *envelope, const char *line, size_t size,
                   enum envelope_origin origin, struct envelope_fault *ret_fault);

/* How the last event of a stream began: everything before its body. In a burst the
 * next one mostly begins with the same bytes, and then only its body is left to be
 * checked. All zero at first; for messages of one origin; stays where it is. */
#define ENVELOPE_HEAD_MAX 256

struct envelope_head {
    size_t size;              /* 0: nothing to compare with */
    struct envelope envelope; /* its sender, group and topic lie in the text */
    char text[ENVELOPE_HEAD_MAX];
};

/* The same as envelope_parse(), faster where an event begins as the one before it. */
int envelope_parse_next(struct envelope_head *head, struct envelope *envelope, const char *line,
                        size_t size, enum envelope_origin origin, struct envelope_fault *ret_fault);

/* "call", "reply", …; static. */
const char *message_type_name(enum message_type type);

/* MESSAGE_NONE when there is no such type. */
enum message_type message_type_from_name(struct span name);

#endif
