/* SPDX-License-Identifier: MIT */
/* Messages that are being built, until they are sent. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/body.h"
#include "libbus/client.h"
#include "libbus/error.h"
#include "libbus/wire/fdqueue.h"
#include "libbus/wire/grammar.h"
#include "libbus/wire/scan.h"

static struct bus_message *draft_new(struct bus *bus, enum message_type type)
{
    struct bus_message *message = message_new(bus);

    if (!message)
        return NULL;
    message->envelope = (struct envelope){.type = type};
    message->draft = calloc(1, sizeof(*message->draft));
    if (!message->draft)
        return bus_message_unref(message);
    list_init(&message->draft->headers);
    message->draft->memory = MEMORY_INIT;
    return message;
}

static void close_all(struct draft *draft)
{
    for (unsigned i = 0; i < draft->fd_count; i++)
        close(draft->fd[i]);
    draft->fd_count = 0;
}

void draft_free(struct draft *draft)
{
    if (!draft)
        return;
    close_all(draft);
    LIST_FOREACH_SAFE (node, &draft->headers) {
        list_remove(node);
        free(LIST_ENTRY(node, struct header, link));
    }
    bus_message_unref(draft->call);
    memory_close(&draft->memory);
    free(draft->body);
    free(draft->fd);
    free(draft);
}

/* Keeps a copy of the string in the message and has the envelope point to it. */
static int set_string(struct bus_message *message, enum message_string which, struct span *span,
                      const char *string)
{
    const char *copy = message_store(message, which, span_from(string));

    if (!copy)
        return -ENOMEM;
    *span = span_from(copy);
    return 0;
}

int bus_message_new_call(struct bus *bus, const char *to, const char *method,
                         struct bus_message **ret_message)
{
    struct bus_message *message;

    if (grammar_check_destination(span_from(to), NULL) ||
        grammar_check_method(span_from(method), NULL))
        return -EINVAL;
    message = draft_new(bus, MESSAGE_CALL);
    if (!message)
        return -ENOMEM;
    if (set_string(message, STRING_TO, &message->envelope.to, to) < 0 ||
        set_string(message, STRING_METHOD, &message->envelope.method, method) < 0) {
        bus_message_unref(message);
        return -ENOMEM;
    }
    *ret_message = message;
    return 0;
}

int bus_message_new_event(struct bus *bus, const char *topic, struct bus_message **ret_message)
{
    struct bus_message *message;

    if (grammar_check_topic(span_from(topic), NULL))
        return -EINVAL;
    message = draft_new(bus, MESSAGE_EVENT);
    if (!message)
        return -ENOMEM;
    if (set_string(message, STRING_TOPIC, &message->envelope.topic, topic) < 0) {
        bus_message_unref(message);
        return -ENOMEM;
    }
    *ret_message = message;
    return 0;
}

static int new_answer(struct bus_message *call, enum message_type type,
                      struct bus_message **ret_message)
{
    struct bus_message *message;

    if (call->envelope.type != MESSAGE_CALL || call->draft)
        return -EINVAL;
    message = draft_new(call->bus, type);
    if (!message)
        return -ENOMEM;
    message->draft->call = bus_message_ref(call);
    *ret_message = message;
    return 0;
}

int bus_message_new_reply(struct bus_message *call, struct bus_message **ret_message)
{
    return new_answer(call, MESSAGE_REPLY, ret_message);
}

int bus_message_new_error(struct bus_message *call, const char *name, const char *message,
                          struct bus_message **ret_message)
{
    struct bus_message *answer;

    if (grammar_check_method(span_from(name), NULL))
        return -EINVAL;
    int r = new_answer(call, MESSAGE_ERROR, &answer);
    if (r < 0)
        return r;
    r = set_string(answer, STRING_ERROR_NAME, &answer->envelope.error, name);
    /* The text itself, where a received message has its JSON form. */
    if (r == 0 && message)
        r = message_store(answer, STRING_ERROR_TEXT, span_from(message)) ? 0 : -ENOMEM;
    if (r < 0) {
        bus_message_unref(answer);
        return r;
    }
    *ret_message = answer;
    return 0;
}

static bool is_open(const struct bus_message *message)
{
    return message->draft && !message->draft->sent;
}

/* Without a body it takes one. */
static void drop_body(struct bus_message *message)
{
    free(message->draft->body);
    message->draft->body = NULL;
    memory_close(&message->draft->memory);
    message_drop_sealed(message);
    message->envelope.body = (struct span){0};
    json_decref(message->tree);
    message->tree = NULL;
    message->tree_failed = false;
}

/* Copies the text, for the line. */
static int set_inline_text(struct bus_message *message, const char *text, size_t size)
{
    CLEANUP(cleanup_free) char *copy = malloc(size + 1 + SCAN_PADDING);

    if (!copy)
        return -ENOMEM;
    memcpy(copy, text, size);
    if (json_check(copy, size, NULL))
        return -EBADMSG;
    drop_body(message);
    message->draft->body = TAKE(copy);
    message->envelope.body = (struct span){message->draft->body, size};
    return 0;
}

static void set_sealed(struct bus_message *message, const struct sealed *sealed)
{
    drop_body(message);
    message->sealed = *sealed;
}

int bus_message_set_body_text(struct bus_message *message, const char *text, size_t size)
{
    struct sealed sealed;

    if (!is_open(message))
        return -EINVAL;
    if (!text) {
        drop_body(message);
        return 0;
    }
    if (size == BUS_NUL_TERMINATED)
        size = strlen(text);
    int r = body_seal_text(message->bus, text, size, &sealed);
    if (r == 0)
        return set_inline_text(message, text, size);
    if (r > 0)
        set_sealed(message, &sealed);
    return MIN(r, 0);
}

int bus_message_set_body(struct bus_message *message, const json_t *body)
{
    struct sealed sealed;

    if (!is_open(message))
        return -EINVAL;
    int r = body_seal_tree(message->bus, body, &sealed);
    if (r == 0) {
        CLEANUP(cleanup_free) char *text = json_dumps(body, BODY_DUMP_FLAGS);
        return text ? set_inline_text(message, text, strlen(text)) : -EBADMSG;
    }
    if (r > 0)
        set_sealed(message, &sealed);
    return MIN(r, 0);
}

int bus_message_map_body(struct bus_message *message, size_t size, void **ret_memory)
{
    CLEANUP(memory_close) struct memory memory = MEMORY_INIT;

    if (!is_open(message) || size == 0 || size > PTRDIFF_MAX)
        return -EINVAL;
    int r = memory_open(&memory);
    if (r == 0)
        r = memory_map(&memory, size);
    if (r < 0)
        return r;
    drop_body(message);
    *ret_memory = memory.data;
    message->draft->memory = memory;
    memory = MEMORY_INIT;
    return 0;
}

int bus_message_seal_body(struct bus_message *message, size_t size)
{
    struct draft *draft = message->draft;
    struct sealed sealed = {.size = size};

    if (!is_open(message) || draft->memory.fd < 0 || size > draft->memory.capacity)
        return -EINVAL;
    int r = memory_seal(&draft->memory, size, &sealed.fd);
    if (r == 0)
        set_sealed(message, &sealed);
    return r;
}

int bus_message_set_body_fd(struct bus_message *message, int fd)
{
    struct sealed sealed = {0};

    if (!is_open(message))
        return -EINVAL;
    int r = sealed_check(fd, &sealed.size);
    if (r < 0)
        return r;
    sealed.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (sealed.fd < 0)
        return -errno;
    set_sealed(message, &sealed);
    return 0;
}

int bus_message_take_body(struct bus_message *message, json_t *body)
{
    int r = bus_message_set_body(message, body);

    json_decref(body);
    return r;
}

int bus_message_set_path(struct bus_message *message, const char *path)
{
    if (!is_open(message) || message->envelope.type != MESSAGE_CALL ||
        path_check(span_from(path), NULL))
        return -EINVAL;
    return set_string(message, STRING_PATH, &message->envelope.path, path);
}

int bus_message_set_timeout(struct bus_message *message, uint64_t timeout_ms)
{
    if (!is_open(message) || message->envelope.type != MESSAGE_CALL ||
        (timeout_ms > GRAMMAR_INTEGER_MAX && timeout_ms != BUS_TIMEOUT_DEFAULT))
        return -EINVAL;
    message->draft->has_timeout = timeout_ms != BUS_TIMEOUT_DEFAULT;
    message->envelope.timeout = timeout_ms;
    return 0;
}

int bus_message_set_more(struct bus_message *message, bool more)
{
    enum message_type type = message->envelope.type;

    if (!is_open(message) || (type != MESSAGE_CALL && type != MESSAGE_REPLY))
        return -EINVAL;
    message->envelope.more = more;
    return 0;
}

int bus_message_set_to(struct bus_message *message, const char *to)
{
    if (!is_open(message) || message->envelope.type != MESSAGE_EVENT ||
        grammar_check_destination(span_from(to), NULL))
        return -EINVAL;
    return set_string(message, STRING_TO, &message->envelope.to, to);
}

int bus_message_set_retain(struct bus_message *message, enum bus_retain level)
{
    if (!is_open(message) || message->envelope.type != MESSAGE_EVENT ||
        (unsigned)level > BUS_RETAIN_DISK)
        return -EINVAL;
    message->envelope.retain = span_from(retain_names[level]);
    return 0;
}

int bus_message_set_ttl(struct bus_message *message, uint64_t ttl_ms)
{
    if (!is_open(message) || message->envelope.type != MESSAGE_EVENT || ttl_ms == 0 ||
        ttl_ms > GRAMMAR_INTEGER_MAX)
        return -EINVAL;
    message->envelope.ttl = ttl_ms;
    return 0;
}

bool header_is_free(const char *key)
{
    static const char format[] =
        "{\"sender\":\"bus\",\"type\":\"event\",\"topic\":\"a\",\"%s\":null}\n";
    static const uint32_t others = 1u << KEY_SENDER | 1u << KEY_TYPE | 1u << KEY_TOPIC;
    CLEANUP(cleanup_free) char *line = NULL;
    struct envelope_fault fault;
    struct envelope envelope;

    /* With a quote or a LF in it the key could say more than its name. */
    if (strpbrk(key, "\"\\\n"))
        return false;
    /* Whether the protocol knows a key, nobody can say better than the envelope. */
    size_t size = sizeof(format) + strlen(key);
    line = calloc(1, size + SCAN_PADDING);
    if (!line)
        return false;
    int length = snprintf(line, size, format, key);
    return envelope_parse(&envelope, line, (size_t)length - 1, ENVELOPE_FROM_BROKER, &fault) == 0 &&
           envelope.keys == others;
}

/* The header of this key, or NULL. */
static struct header *find_header(const struct draft *draft, const char *key)
{
    size_t size = strlen(key);

    LIST_FOREACH (node, &draft->headers) {
        struct header *header = LIST_ENTRY(node, struct header, link);
        if (header->key_size == size + 2 && memcmp(header->text + 1, key, size) == 0)
            return header;
    }
    return NULL;
}

int bus_message_set_header(struct bus_message *message, const char *key, const char *value)
{
    if (!is_open(message) || !header_is_free(key))
        return -EINVAL;

    size_t key_size = strlen(key) + 2;
    size_t size = key_size + 1 + strlen(value);
    struct header *header = malloc(sizeof(*header) + size + 1 + SCAN_PADDING);
    if (!header)
        return -ENOMEM;
    header->key_size = key_size;
    header->size = size;
    snprintf(header->text, size + 1, "\"%s\":%s", key, value);
    if (json_check(header->text + key_size + 1, size - key_size - 1, NULL)) {
        free(header);
        return -EBADMSG;
    }

    struct header *old = find_header(message->draft, key);
    list_append(&message->draft->headers, &header->link);
    if (old) {
        list_remove(&old->link);
        free(old);
    }
    return 0;
}

int bus_message_push_fd(struct bus_message *message, int fd)
{
    struct draft *draft = message->draft;
    int r = 0;

    if (fd < 0)
        return -EBADF;
    if (!is_open(message)) {
        r = -EINVAL;
    } else if (draft->fd_count == FDS_MAX) {
        r = -E2BIG;
    } else {
        int *grown = realloc(draft->fd, (draft->fd_count + 1) * sizeof(*grown));
        if (grown) {
            draft->fd = grown;
            draft->fd[draft->fd_count++] = fd;
            return 0;
        }
        r = -ENOMEM;
    }
    close(fd);
    return r;
}

int bus_message_push_dup_fd(struct bus_message *message, int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

    return copy < 0 ? -errno : bus_message_push_fd(message, copy);
}

void message_outgoing(struct bus_message *message, struct outgoing *ret_outgoing)
{
    const struct envelope *envelope = &message->envelope;
    const struct draft *draft = message->draft;

    *ret_outgoing = (struct outgoing){
        .type = envelope->type,
        .to = envelope->to,
        .method = envelope->method,
        .path = envelope->path,
        .topic = envelope->topic,
        .error = envelope->error,
        .message = span_from(message->strings[STRING_ERROR_TEXT]),
        .retain = envelope->retain,
        .ttl = envelope->ttl,
        .body = envelope->body,
        .body_checked = true,
        .headers = &draft->headers,
        .sealed = message->sealed.size > 0 ? &message->sealed : NULL,
        .timeout = envelope->timeout,
        .has_timeout = draft->has_timeout,
        .more = envelope->more,
        .fd = draft->fd,
        .fd_count = draft->fd_count,
        .draft = message,
    };
}

void message_sent(struct bus_message *message, bool sealed)
{
    message->draft->sent = true;
    message->draft->fd_count = 0;
    /* If it has gone in the line, it is still ours. */
    if (sealed)
        message->sealed.fd = -1;
}

int bus_send(struct bus_message *message)
{
    struct draft *draft = message->draft;
    struct outgoing outgoing;

    if (!draft)
        return -EINVAL;
    if (draft->sent)
        return -EALREADY;
    if (draft->memory.fd >= 0)
        return -EBUSY;
    message_outgoing(message, &outgoing);
    if (!draft->call) {
        outgoing.no_reply = outgoing.type == MESSAGE_CALL;
        return outgoing.more ? -EINVAL : client_send(message->bus, &outgoing, NULL);
    }
    if (outgoing.more)
        return call_send_item(draft->call, &outgoing, NULL);
    int r = call_answer(draft->call, &outgoing, NULL);
    if (r == 0 && !draft->sent) {
        /* Nobody waits for this answer, so its fds go nowhere. */
        close_all(draft);
        draft->sent = true;
    }
    return r;
}
