/* SPDX-License-Identifier: MIT */
/*
 * The bytes that go out: one growing buffer that messages are formatted into, with
 * a mark for each message that has file descriptors. A message with fds begins a
 * sendmsg(2) of its own, because its fds must go with its first byte; everything
 * from there to the next mark goes in the same call.
 *
 * Whatever a caller passes as names, path and body is checked here, the last gate
 * before the wire: a body is scanned where it lies, and a message with anything
 * wrong in it is taken back as a whole. So no text of the program's can end a
 * line or smuggle a key into the envelope.
 *
 * It does no waiting and keeps no limits; the client does.
 */
#ifndef LIBBUS_OUTPUT_H
#define LIBBUS_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus/bus.h"
#include "libbus/base/list.h"
#include "libbus/base/span.h"
#include "libbus/wire/envelope.h"

struct bus_error;
struct bus_message;
struct fds;
struct sealed;

/* From so many bytes on, what sends writes straight away. */
#define OUTPUT_BATCH (64u * 1024)

/* An empty buffer larger than this is given back. */
#define OUTPUT_KEEP (256u * 1024)

/* How a body goes, see body.h. */
enum body_way {
    BODY_UNDECIDED,
    BODY_INLINE,
    BODY_SEALED,
};

/* One message to be written. Spans whose data is NULL are left out. */
struct outgoing {
    enum message_type type;
    struct span to;
    struct span method;
    struct span path;
    struct span topic;
    struct span error;
    struct span retain;
    struct span message;        /* plain text; becomes a JSON string here */
    struct span body;           /* JSON text */
    const json_t *tree;         /* the body, if there is no text */
    const struct list *headers; /* struct header; NULL: none */
    uint64_t id;                /* 0: none */
    uint64_t ttl;               /* 0: none */
    uint64_t timeout;           /* only if has_timeout */
    bool has_timeout;
    bool no_reply;
    bool more;
    bool body_checked; /* by json_check() already */
    bool own;          /* the library's own, for which the output limit does not hold */
    enum body_way body_way;
    const struct sealed *sealed; /* the body, if it goes as an fd before the others */
    const int *fd;
    unsigned fd_count;
    struct bus_message *draft; /* what this comes from, to be marked as sent; NULL: nothing */
};

/* A text as a body, `size` being as bus.h has it; it need not end with a NUL. NULL: none. */
static inline struct span body_span(const char *text, size_t size)
{
    return size == BUS_NUL_TERMINATED ? span_from(text) : (struct span){text, text ? size : 0};
}

/* A top-level key of the program's own, kept as it stands on the wire. */
struct header {
    struct list link;
    size_t key_size; /* with its quotes */
    size_t size;
    char text[]; /* "key":value, checked */
};

/* Where a message with fds begins, and what must be known if the kernel refuses
 * to pass them. */
struct output_mark {
    struct list link;
    uint64_t start;
    size_t size;
    size_t body_size; /* of what is sealed memory */
    enum message_type type;
    uint64_t id;
    char to[24]; /* of an answer: a unique name */
    struct fds *fds;
};

struct output {
    char *data;
    size_t head; /* data[head … tail) is still to be written */
    size_t tail;
    size_t capacity;
    uint64_t position;    /* stream offset of data[head] */
    size_t next_write;    /* when this many bytes have come together, write */
    size_t bodies;        /* bytes of sealed memory that wait, too … */
    uint64_t bodies_ever; /* … and that have been attached altogether */
    size_t tree_max;      /* a longer body is not made of a tree here */
    bool blocked;         /* the last write came back short: the socket is full */
    struct list marks;    /* struct output_mark, oldest first */
};

void output_init(struct output *output);

/* Drops what is not written; the output can be used again. */
void output_clear(struct output *output);

static inline size_t output_size(const struct output *output)
{
    return output->tail - output->head;
}

/* What waits altogether. */
static inline size_t output_weight(const struct output *output)
{
    return output_size(output) + output->bodies;
}

/* Formats a message, without its fds, at the end. 0, or with nothing changed:
 * -EINVAL (a name, method, topic or path), -EBADMSG (the body), -EFBIG (a tree is
 * longer than tree_max), -ENOMEM; *error (may be NULL) says what is wrong and where. */
int output_append(struct output *output, const struct outgoing *message, struct bus_error *error);

/* Attaches the message's fds to the last `size` bytes. Takes them, and that of sealed
 * memory, on success; 0 or -ENOMEM. */
int output_attach(struct output *output, const struct outgoing *message, size_t size);

/* Takes back the last `size` bytes, not attached to yet. */
void output_undo(struct output *output, size_t size);

/* One sendmsg(2): up to the next message with fds, at most `limit` bytes. 0 if all
 * of that has gone, -EAGAIN if the socket is full now, -ETOOMANYREFS or -EPERM if the
 * kernel refuses the fds of the first message, or what else sendmsg says. */
int output_write(struct output *output, int fd, size_t limit);

/* Whether the first message has fds that are still to be sent. */
bool output_has_fds_first(const struct output *output);

/* Drops the first message, which has fds; none of it may have gone. The caller
 * owns the mark, with fds closed. */
struct output_mark *output_drop_first(struct output *output);

/* Whether the text may be a call's path: NULL, or a static sentence and the offset
 * (may be NULL). */
const char *path_check(struct span path, size_t *ret_offset);

/* Whether text[0 … size) is one JSON value that fits into a message; text[size] is
 * overwritten with LF and the SCAN_PADDING bytes behind it with zeros. LFs between
 * tokens become spaces. NULL if so, else a static sentence and the offset. */
const char *json_check(char *text, size_t size, size_t *ret_offset);

/* How trees are written. */
#define BODY_DUMP_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY)

/* What is said of a tree that cannot be written, and of a text that json_check() has
 * refused: -EBADMSG. */
int body_refuse_tree(struct bus_error *error);
int body_refuse_text(struct bus_error *error, const char *reason, size_t offset);

#endif
