/* SPDX-License-Identifier: MIT */
/*
 * One message, of either kind. A received one holds the block that its line lies
 * in, and the envelope, whose spans point into that line; nothing is copied until
 * a getter is asked for a C string, and the body becomes a tree at its first use.
 * A message that is being built has a draft instead.
 *
 * Messages come from a freelist of the connection, whose memory they pin. Strings
 * lie in the message itself as long as they fit. So steady traffic allocates
 * nothing.
 */
#ifndef LIBBUS_MESSAGE_H
#define LIBBUS_MESSAGE_H

#include "bus/bus.h"
#include "libbus/base/hash.h"
#include "libbus/base/list.h"
#include "libbus/input.h"
#include "libbus/output.h"
#include "libbus/sealed.h"
#include "libbus/wire/envelope.h"

#define MESSAGE_STRINGS_SIZE 256

/* So many unused messages are kept for the next ones. */
#define MESSAGE_FREE_MAX 64

enum message_string {
    STRING_SENDER,
    STRING_TO,
    STRING_TOPIC,
    STRING_METHOD,
    STRING_PATH,
    STRING_ERROR_NAME,
    STRING_ERROR_TEXT,
    STRING_GROUP,
    STRING_COUNT
};

/* What a message being built has beside its envelope. */
struct draft {
    struct bus_message *call; /* which it answers; a reference */
    char *body;               /* malloc'ed text that the envelope's body points to */
    struct list headers;      /* struct header */
    int *fd;
    unsigned fd_count;
    struct memory memory; /* the body, while the program writes it in place */
    bool has_timeout;
    bool sent;
};

struct bus_message {
    unsigned refs;
    struct bus *bus;  /* pinned */
    struct list link; /* the backlog or the freelist */
    struct block *block;
    struct span line;
    struct fds *fds;
    struct sealed sealed;    /* a big body: its fd is the first of fds, or the draft's own */
    uint64_t position;       /* stream offset of the end of its line */
    struct bus_slot *target; /* the one subscription it is for; a reference */
    struct draft *draft;     /* NULL: received */
    json_t *tree;
    bool tree_failed;

    /* An incoming call. */
    bool dispatched; /* has been given to a service: owes an answer */
    bool answered;
    bool cancelled;
    bool tracked;          /* in bus->calls */
    struct hash_node node; /* by sender and id */
    bus_message_handler cancel_handler;
    void *cancel_userdata;

    /* One with several replies. */
    bool behind;            /* its caller is, the bus says */
    bool starved;           /* an item of it was refused for the time being */
    struct list ready_link; /* bus->starved: it may go on */
    bus_message_handler ready_handler;
    void *ready_userdata;

    const char *strings[STRING_COUNT];
    size_t strings_used;
    struct envelope envelope;
    char storage[MESSAGE_STRINGS_SIZE];
};

/* An empty message with one reference, whose envelope is still to be filled in. NULL:
 * out of memory. */
struct bus_message *message_new(struct bus *bus);

/* A message made on this side, as if the bus had sent this line (no LF in it).
 * NULL: out of memory. */
struct bus_message *message_from_line(struct bus *bus, struct span line);

/* An error as the bus would send it; `id` 0: it answers no call. */
struct bus_message *message_new_error(struct bus *bus, uint64_t id, const char *name,
                                      const char *text);

/* Frees what the connection keeps for later. */
void message_free_unused(struct bus *bus);

/* Keeps a copy of `text` as one of the message's strings, in place of what was
 * there. NULL: out of memory. */
const char *message_store(struct bus_message *message, enum message_string which, struct span text);

/* A message being built, as it goes out. */
void message_outgoing(struct bus_message *message, struct outgoing *ret_outgoing);

/* Marks it as sent: its fds are no longer its own, nor, if `sealed`, its body. */
void message_sent(struct bus_message *message, bool sealed);

/* Lets go of a body in sealed memory. */
void message_drop_sealed(struct bus_message *message);

/* The levels of enum bus_retain by their names; NULL for none. */
extern const char *const retain_names[BUS_RETAIN_DISK + 1];

/* Whether a program may use the key for itself: it is none of the protocol's, and
 * can stand in a message. */
bool header_is_free(const char *key);

/* Frees a draft with its fds. NULL is let pass. */
void draft_free(struct draft *draft);

#endif
