/* SPDX-License-Identifier: MIT */
#include "libbus/body.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/error.h"
#include "libbus/wire/fdqueue.h"
#include "libbus/wire/scan.h"

/* Trees come in small pieces. */
#define DUMP_BUFFER_SIZE 16384

void bus_set_memfd_threshold(struct bus *bus, uint64_t bytes)
{
    bus->memfd_threshold = bytes < SIZE_MAX ? (size_t)bytes : SIZE_MAX;
    bus->output.tree_max = bus->memfd_threshold;
}

/* ------------------------------------------------------------- building */

/* What has been written becomes a body, if it is JSON. */
static int seal_checked(struct memory *memory, struct sealed *ret_sealed, struct bus_error *error)
{
    static const char slack[1 + SCAN_PADDING];
    size_t size = memory->size;
    size_t offset = 0;
    int fd;

    /* Written, not only mapped, for where there is no memory this fails. */
    int r = memory_write(memory, slack, sizeof(slack));
    if (r == 0)
        r = memory_map(memory, memory->size);
    if (r < 0)
        return r;
    const char *reason = json_check(memory->data, size, &offset);
    if (reason)
        return body_refuse_text(error, reason, offset);
    r = memory_seal(memory, size, &fd);
    if (r == 0)
        *ret_sealed = (struct sealed){.fd = fd, .size = size};
    return r;
}

static int seal_text(struct span text, struct sealed *ret_sealed, struct bus_error *error)
{
    CLEANUP(memory_close) struct memory memory = MEMORY_INIT;
    int r = memory_open(&memory);

    if (r == 0)
        r = memory_write(&memory, text.data, text.size);
    return r == 0 ? seal_checked(&memory, ret_sealed, error) : r;
}

struct dump {
    struct memory *memory;
    size_t size;
    int result;
    char buffer[DUMP_BUFFER_SIZE];
};

static int dump_flush(struct dump *dump)
{
    dump->result = memory_write(dump->memory, dump->buffer, dump->size);
    dump->size = 0;
    return dump->result;
}

static int dump_piece(const char *data, size_t size, void *userdata)
{
    struct dump *dump = userdata;

    if (size > sizeof(dump->buffer) - dump->size && dump_flush(dump) < 0)
        return dump->result;
    if (size > sizeof(dump->buffer)) {
        dump->result = memory_write(dump->memory, data, size);
    } else {
        memcpy(dump->buffer + dump->size, data, size);
        dump->size += size;
    }
    return dump->result;
}

static int seal_tree(const json_t *tree, struct sealed *ret_sealed, struct bus_error *error)
{
    CLEANUP(memory_close) struct memory memory = MEMORY_INIT;
    struct dump dump = {.memory = &memory};
    int r = memory_open(&memory);

    if (r < 0)
        return r;
    if (json_dump_callback(tree, dump_piece, &dump, BODY_DUMP_FLAGS) < 0)
        return dump.result < 0 ? dump.result : body_refuse_tree(error);
    r = dump_flush(&dump);
    return r == 0 ? seal_checked(&memory, ret_sealed, error) : r;
}

int body_seal_text(struct bus *bus, const char *text, size_t size, struct sealed *ret_sealed)
{
    if (size <= bus->memfd_threshold)
        return 0;
    int r = seal_text((struct span){text, size}, ret_sealed, NULL);
    /* Whatever else is in the way may not be in that of a line. */
    return r == -EBADMSG ? r : r == 0;
}

static int measure_piece(const char *data, size_t size, void *userdata)
{
    size_t *left = userdata;

    if (size > *left)
        return -1;
    *left -= size;
    return 0;
}

int body_seal_tree(struct bus *bus, const json_t *tree, struct sealed *ret_sealed)
{
    size_t left = bus->memfd_threshold;

    /* It ends at the threshold. */
    if (json_dump_callback(tree, measure_piece, &left, BODY_DUMP_FLAGS) == 0)
        return 0;
    int r = seal_tree(tree, ret_sealed, NULL);
    return r == -EBADMSG ? r : r == 0;
}

/* -------------------------------------------------------------- sending */

/* Whether a body may go as an fd beside the message's own. */
static bool may_seal(struct bus *bus, const struct outgoing *message)
{
    unsigned fds = message->fd_count + 1;

    if (message->own || message->retain.size > 0 || span_is(message->to, "bus") || fds > FDS_MAX)
        return false;
    return client_greeted(bus) && fds <= bus->fds_per_message;
}

static int send_sealed(struct bus *bus, const struct outgoing *message, const struct sealed *sealed,
                       struct bus_error *error)
{
    struct outgoing outgoing = *message;

    outgoing.body = (struct span){0};
    outgoing.tree = NULL;
    outgoing.sealed = sealed;
    outgoing.body_way = BODY_SEALED;
    return client_send(bus, &outgoing, error);
}

static int send_inline(struct bus *bus, const struct outgoing *message, struct span body,
                       struct bus_error *error)
{
    struct outgoing outgoing = *message;

    if (!client_greeted(bus))
        return bus_error_set_errno(error, -ECONNRESET, "the bus has not greeted us");
    if (bus->message_bytes && body.size > bus->message_bytes)
        return bus_error_set_errno(error, -EMSGSIZE,
                                   "the body of %zu bytes is longer than the bus's message_bytes, "
                                   "%zu, and cannot go as a file descriptor",
                                   body.size, bus->message_bytes);
    outgoing.body = body;
    outgoing.tree = NULL;
    outgoing.sealed = NULL;
    outgoing.body_way = BODY_INLINE;
    return client_send(bus, &outgoing, error);
}

/* A body that has been sealed, which the bus does not take so. */
static int send_unsealed(struct bus *bus, const struct outgoing *message, struct bus_error *error)
{
    struct sealed copy = *message->sealed;
    bool mapped = copy.text;
    const char *text = sealed_text(&copy);

    if (!text)
        return bus_error_set_errno(error, -ENOMEM, "out of memory");
    int r = send_inline(bus, message, (struct span){text, copy.size}, error);
    if (!mapped)
        sealed_unmap(&copy);
    return r;
}

/* Seals what is a text or a tree. */
static int seal(const struct outgoing *message, struct sealed *ret_sealed, struct bus_error *error)
{
    return message->tree ? seal_tree(message->tree, ret_sealed, error)
                         : seal_text(message->body, ret_sealed, error);
}

/* Whether it would be sealed in vain. */
static bool is_full(const struct bus *bus, const struct outgoing *message)
{
    const struct output *output = &bus->output;

    return !message->own && output->blocked && output_size(output) > 0 &&
           output_weight(output) + message->body.size > bus->output_limit;
}

int body_send(struct bus *bus, const struct outgoing *message, struct bus_error *error)
{
    CLEANUP(cleanup_free) char *dumped = NULL;
    struct sealed sealed;
    int r;

    if (may_seal(bus, message)) {
        if (message->sealed)
            return send_sealed(bus, message, message->sealed, error);
        if (is_full(bus, message)) {
            bus->choked = true;
            return bus_error_set_errno(error, -EAGAIN, "the output is full");
        }
        r = seal(message, &sealed, error);
        if (r == -EBADMSG)
            return r;
        if (r == 0) {
            r = send_sealed(bus, message, &sealed, error);
            if (r < 0)
                close(sealed.fd);
            return r;
        }
        /* Whatever is in the way of that is not in that of a line. */
    }
    if (message->sealed)
        return send_unsealed(bus, message, error);
    if (!message->tree)
        return send_inline(bus, message, message->body, error);
    dumped = json_dumps(message->tree, BODY_DUMP_FLAGS);
    return dumped ? send_inline(bus, message, span_from(dumped), error) : body_refuse_tree(error);
}

/* ------------------------------------------------------------ receiving */

int body_receive(struct bus_message *message)
{
    struct sealed sealed = {.fd = message->fds->fd[0]};
    int r = sealed_check(sealed.fd, &sealed.size);

    if (r == 0)
        message->sealed = sealed;
    return r;
}

static struct span body_of(struct bus_message *message)
{
    if (message->sealed.size > 0) {
        const char *text = sealed_text(&message->sealed);
        return (struct span){text, text ? message->sealed.size : 0};
    }
    return message->envelope.body.data ? message->envelope.body : SPAN("null");
}

const char *bus_message_body_text(struct bus_message *message, size_t *ret_size)
{
    struct span body = body_of(message);

    *ret_size = body.size;
    return body.data;
}

json_t *bus_message_body(struct bus_message *message)
{
    if (!message->tree && !message->tree_failed) {
        struct span body = body_of(message);
        if (body.data)
            message->tree =
                json_loadb(body.data, body.size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
        message->tree_failed = !message->tree;
    }
    return message->tree;
}

int bus_message_unpack(struct bus_message *message, struct bus_error *error, const char *format,
                       ...)
{
    json_t *body = bus_message_body(message);
    json_error_t fault;
    va_list args;

    if (!body) {
        bus_error_set(error, BUS_ERROR_INVALID_ARGUMENTS,
                      message->sealed.size > 0
                          ? "the body is not valid JSON, or holds a key twice, an integer beyond "
                            "64 bits or a NUL"
                          : "the body holds a key twice, an integer beyond 64 bits or a NUL");
        return -EINVAL;
    }
    va_start(args, format);
    int r = json_vunpack_ex(body, &fault, 0, format, args);
    va_end(args);
    if (r == 0)
        return 0;
    bus_error_set(error, BUS_ERROR_INVALID_ARGUMENTS, "%s", fault.text);
    return -EINVAL;
}

int bus_message_body_fd(const struct bus_message *message)
{
    return message->sealed.size > 0 && message->sealed.fd >= 0 ? message->sealed.fd : -ENODATA;
}
