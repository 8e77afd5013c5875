/* SPDX-License-Identifier: MIT */
#include "libbus/message.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/base/text.h"
#include "libbus/body.h"
#include "libbus/client.h"
#include "libbus/error.h"
#include "libbus/wire/errors.h"
#include "libbus/wire/fdqueue.h"
#include "libbus/wire/scan.h"

/* The one is the other's number. */
static_assert((int)BUS_MESSAGE_CALL == (int)MESSAGE_CALL, "the types are numbered alike");
static_assert((int)BUS_MESSAGE_CANCEL == (int)MESSAGE_CANCEL, "the types are numbered alike");

struct bus_message *message_new(struct bus *bus)
{
    struct list *unused = list_first(&bus->unused);
    struct bus_message *message;

    if (unused) {
        list_remove(unused);
        bus->unused_count--;
        message = LIST_ENTRY(unused, struct bus_message, link);
    } else {
        message = malloc(sizeof(*message));
        if (!message)
            return NULL;
    }
    /* All but the envelope of what is read, and the room for strings. */
    memset(message, 0, offsetof(struct bus_message, envelope));
    message->refs = 1;
    message->bus = bus;
    list_init(&message->link);
    list_init(&message->ready_link);
    client_pin(bus);
    return message;
}

void message_free_unused(struct bus *bus)
{
    LIST_FOREACH_SAFE (node, &bus->unused) {
        list_remove(node);
        free(LIST_ENTRY(node, struct bus_message, link));
    }
    bus->unused_count = 0;
}

static bool is_stored_inside(const struct bus_message *message, const char *string)
{
    return string >= message->storage && string < message->storage + sizeof(message->storage);
}

static void string_free(struct bus_message *message, enum message_string which)
{
    if (!is_stored_inside(message, message->strings[which]))
        free((char *)(uintptr_t)message->strings[which]);
    message->strings[which] = NULL;
}

void message_drop_sealed(struct bus_message *message)
{
    sealed_unmap(&message->sealed);
    /* That of a received one is among its fds. */
    if (message->draft && message->sealed.size > 0)
        cleanup_close(&message->sealed.fd);
    message->sealed = (struct sealed){0};
}

static void message_free(struct bus_message *message)
{
    struct bus *bus = message->bus;

    call_untrack(message);
    for (enum message_string which = 0; which < STRING_COUNT; which++)
        if (message->strings[which])
            string_free(message, which);
    json_decref(message->tree);
    message_drop_sealed(message);
    fds_unref(message->fds);
    block_unref(message->block);
    slot_unref(message->target);
    draft_free(message->draft);
    if (bus->owners > 0 && bus->unused_count < MESSAGE_FREE_MAX) {
        list_prepend(&bus->unused, &message->link);
        bus->unused_count++;
    } else {
        free(message);
    }
    client_unpin(bus);
}

struct bus_message *bus_message_ref(struct bus_message *message)
{
    if (message)
        message->refs++;
    return message;
}

struct bus_message *bus_message_unref(struct bus_message *message)
{
    if (!message || --message->refs > 0)
        return NULL;
    if (message->dispatched && !message->answered)
        call_abandon(message);
    message_free(message);
    return NULL;
}

struct bus_message *message_from_line(struct bus *bus, struct span line)
{
    struct bus_message *message = message_new(bus);
    struct envelope_fault fault;

    if (!message)
        return NULL;
    message->block = block_new(line.size + 1);
    if (!message->block) {
        message_free(message);
        return NULL;
    }
    char *data = message->block->data;
    memcpy(data, line.data, line.size);
    data[line.size] = '\n';
    message->line = (struct span){data, line.size};
    message->position = bus->input.lines.position;
    int r = envelope_parse(&message->envelope, data, line.size, ENVELOPE_FROM_BROKER, &fault);
    assert(r == 0);
    return message;
}

struct bus_message *message_new_error(struct bus *bus, uint64_t id, const char *name,
                                      const char *text)
{
    struct text line = TEXT_INIT;
    struct bus_message *message = NULL;

    text_append_string(&line, "{\"sender\":\"bus\",\"type\":\"error\"");
    if (id) {
        text_append_string(&line, ",\"id\":");
        text_append_unsigned(&line, id);
    }
    text_append_string(&line, ",\"error\":\"");
    text_append_string(&line, name);
    text_append_string(&line, "\",\"message\":");
    text_append_json_string(&line, span_from(text));
    text_append_string(&line, "}");
    if (!line.failed)
        message = message_from_line(bus, text_span(&line));
    text_deinit(&line);
    return message;
}

const char *message_store(struct bus_message *message, enum message_string which, struct span text)
{
    char *copy;

    if (text.size < sizeof(message->storage) - message->strings_used) {
        copy = message->storage + message->strings_used;
        message->strings_used += text.size + 1;
    } else {
        copy = malloc(text.size + 1);
        if (!copy)
            return NULL;
    }
    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    if (message->strings[which])
        string_free(message, which);
    message->strings[which] = copy;
    return copy;
}

struct bus *bus_message_bus(const struct bus_message *message)
{
    return message->bus;
}

enum bus_message_type bus_message_type(const struct bus_message *message)
{
    return (enum bus_message_type)message->envelope.type;
}

static const char *string_of(struct bus_message *message, enum message_string which,
                             struct span text)
{
    if (!text.data)
        return NULL;
    if (message->strings[which])
        return message->strings[which];
    return message_store(message, which, text);
}

const char *bus_message_sender(struct bus_message *message)
{
    return string_of(message, STRING_SENDER, message->envelope.sender);
}

const char *bus_message_to(struct bus_message *message)
{
    return string_of(message, STRING_TO, message->envelope.to);
}

const char *bus_message_topic(struct bus_message *message)
{
    return string_of(message, STRING_TOPIC, message->envelope.topic);
}

const char *bus_message_group(struct bus_message *message)
{
    return string_of(message, STRING_GROUP, message->envelope.group);
}

const char *bus_message_method(struct bus_message *message)
{
    return string_of(message, STRING_METHOD, message->envelope.method);
}

const char *bus_message_path(struct bus_message *message)
{
    return string_of(message, STRING_PATH, message->envelope.path);
}

const char *bus_message_error_name(struct bus_message *message)
{
    return string_of(message, STRING_ERROR_NAME, message->envelope.error);
}

const char *bus_message_error_text(struct bus_message *message)
{
    struct span quoted = message->envelope.message;

    if (!quoted.data || message->strings[STRING_ERROR_TEXT])
        return message->strings[STRING_ERROR_TEXT];
    if (!memchr(quoted.data, '\\', quoted.size))
        return message_store(message, STRING_ERROR_TEXT,
                             (struct span){quoted.data + 1, quoted.size - 2});

    json_t *string = json_loadb(quoted.data, quoted.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    /* A C string ends at a NUL, if somebody put one there. */
    const char *text =
        string ? message_store(message, STRING_ERROR_TEXT, span_from(json_string_value(string)))
               : NULL;
    json_decref(string);
    return text;
}

uint64_t bus_message_id(const struct bus_message *message)
{
    return message->envelope.id;
}

uint64_t bus_message_timeout(const struct bus_message *message)
{
    const struct envelope *envelope = &message->envelope;

    if (envelope->type != MESSAGE_CALL || envelope->no_reply)
        return 0;
    return envelope_has(envelope, KEY_TIMEOUT) ? envelope->timeout : CLIENT_TIMEOUT_DEFAULT;
}

bool bus_message_is_retained(const struct bus_message *message)
{
    return message->envelope.retained;
}

enum bus_retain bus_message_retain(const struct bus_message *message)
{
    struct span level = message->envelope.retain;
    unsigned i = BUS_RETAIN_DISK;

    while (i > BUS_RETAIN_NO && !(level.data && span_is(level, retain_names[i])))
        i--;
    return (enum bus_retain)i;
}

bool bus_message_no_reply(const struct bus_message *message)
{
    return message->envelope.no_reply;
}

bool bus_message_has_more(const struct bus_message *message)
{
    return message->envelope.type == MESSAGE_REPLY && message->envelope.more;
}

bool bus_message_wants_more(const struct bus_message *message)
{
    return message->envelope.type == MESSAGE_CALL && message->envelope.more;
}

/* Walks over the members of the line's object, which is known to be valid. */
const char *bus_message_header(struct bus_message *message, const char *key, size_t *ret_size)
{
    struct span rest = message->envelope.rest;
    size_t size = strlen(key);
    struct scan_fault fault;
    bool escaped;

    if (!rest.data || !header_is_free(key))
        return NULL;
    const char *p = scan_space(rest.data);
    while (*p == '"') {
        const char *name = p + 1;
        const char *end = scan_string(name, &escaped, &fault);
        const char *value = scan_space(scan_space(end) + 1);
        p = scan_value(value, 1, &fault);
        if ((size_t)(end - name) - 1 == size && memcmp(name, key, size) == 0) {
            *ret_size = (size_t)(p - value);
            return value;
        }
        p = scan_space(p);
        if (*p == ',')
            p = scan_space(p + 1);
    }
    return NULL;
}

const char *bus_message_line(struct bus_message *message, size_t *ret_size)
{
    *ret_size = message->line.size;
    return message->line.data;
}

int bus_message_get_error(struct bus_message *message, struct bus_error *error)
{
    struct span name = message->envelope.error;

    if (message->envelope.type != MESSAGE_ERROR)
        return 0;
    if (error) {
        const char *text = bus_message_error_text(message);
        bus_error_copy(error, name, span_from(text));
    }
    return -wire_error_errno(name);
}

unsigned bus_message_fd_count(const struct bus_message *message)
{
    if (message->draft)
        return message->draft->fd_count;
    return message->fds ? message->fds->count - body_hidden_fds(message) : 0;
}

/* Where the message keeps the fd; NULL: there is none, or it has been taken. */
static int *fd_at(const struct bus_message *message, unsigned index)
{
    int *fd = message->draft ? message->draft->fd : message->fds ? message->fds->fd : NULL;

    if (index >= bus_message_fd_count(message))
        return NULL;
    fd += index + body_hidden_fds(message);
    return *fd >= 0 ? fd : NULL;
}

int bus_message_peek_fd(struct bus_message *message, unsigned index)
{
    const int *fd = fd_at(message, index);

    return fd ? *fd : -ENODATA;
}

int bus_message_take_fd(struct bus_message *message, unsigned index)
{
    /* What is being built is sent with all its fds or with none. */
    int *fd = message->draft ? NULL : fd_at(message, index);

    return fd ? TAKE_FD(*fd) : -ENODATA;
}
