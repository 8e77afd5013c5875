/* SPDX-License-Identifier: MIT */
#include "libbus/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/base/text.h"
#include "libbus/error.h"
#include "libbus/sealed.h"
#include "libbus/wire/fdqueue.h"
#include "libbus/wire/grammar.h"
#include "libbus/wire/scan.h"
#include "libbus/wire/sockio.h"

#define OUTPUT_MIN 4096

/* Behind what is being written: a LF and what the scanner may read, or the end of
 * a message. */
#define OUTPUT_SLACK (SCAN_PADDING + 8)

/* More than all keys with their quotes, colons and numbers. */
#define OUTPUT_KEYS_MAX 256

void output_init(struct output *output)
{
    *output = (struct output){.next_write = OUTPUT_BATCH, .tree_max = SIZE_MAX};
    list_init(&output->marks);
}

static void mark_free(struct output *output, struct output_mark *mark)
{
    output->bodies -= mark->body_size;
    list_remove(&mark->link);
    fds_unref(mark->fds);
    free(mark);
}

void output_clear(struct output *output)
{
    size_t tree_max = output->tree_max;

    LIST_FOREACH_SAFE (node, &output->marks)
        mark_free(output, LIST_ENTRY(node, struct output_mark, link));
    free(output->data);
    output_init(output);
    output->tree_max = tree_max;
}

/* Room for `size` bytes and the slack. */
static int output_reserve(struct output *output, size_t size)
{
    size_t pending = output_size(output);
    size_t needed = size + OUTPUT_SLACK;

    if (output->capacity - output->tail >= needed)
        return 0;
    /* Moving pays only when it moves less than it frees. */
    if (output->head >= pending && output->capacity - pending >= needed) {
        memmove(output->data, output->data + output->head, pending);
        output->head = 0;
        output->tail = pending;
        return 0;
    }
    size_t capacity = MAX(output->capacity * 2, output->tail + needed);
    capacity = MAX(capacity, (size_t)OUTPUT_MIN);
    char *data = realloc(output->data, capacity);
    if (!data)
        return -ENOMEM;
    output->data = data;
    output->capacity = capacity;
    return 0;
}

void output_undo(struct output *output, size_t size)
{
    output->tail -= size;
}

/* LFs are allowed between the tokens of JSON but would end our line. Inside a
 * string a LF stays, for the scanner to refuse. */
static void flatten(char *text, size_t size)
{
    bool in_string = false;

    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"')
            in_string = !in_string;
        else if (text[i] == '\\' && in_string)
            i++;
        else if (text[i] == '\n' && !in_string)
            text[i] = ' ';
    }
}

const char *json_check(char *text, size_t size, size_t *ret_offset)
{
    struct scan_fault fault;

    text[size] = '\n';
    memset(text + size + 1, 0, SCAN_PADDING);
    if (memchr(text, '\n', size))
        flatten(text, size);

    /* Depth 1: the message is an object around it. */
    const char *p = scan_value(scan_space(text), 1, &fault);
    if (p) {
        p = scan_space(p);
        if (p == text + size)
            return NULL;
        fault = (struct scan_fault){p, "nothing may follow the value"};
    }
    if (ret_offset)
        *ret_offset = (size_t)(fault.position - text);
    return fault.position == text + size ? "the text ends too early" : fault.reason;
}

static inline char *put(char *p, struct span text)
{
    memcpy(p, text.data, text.size);
    return p + text.size;
}

static inline char *put_number(char *p, uint64_t value)
{
    char digits[20];
    size_t i = sizeof(digits);

    do {
        digits[--i] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    return put(p, (struct span){digits + i, sizeof(digits) - i});
}

/* `key` is such as `,"to":"`. */
static inline char *put_string(char *p, struct span key, struct span value)
{
    if (!value.data)
        return p;
    p = put(p, key);
    p = put(p, value);
    *p++ = '"';
    return p;
}

static int wrong_name(struct bus_error *error, const char *what, struct span text, size_t offset,
                      const char *reason)
{
    bus_error_set(error, BUS_ERROR_INVALID_ARGUMENTS, "'%.*s' is no %s: %s (at byte %zu)",
                  (int)MIN(text.size, (size_t)GRAMMAR_NAME_MAX), text.data, what, reason, offset);
    return -EINVAL;
}

/* A path has no grammar but that of a JSON string without escapes. */
const char *path_check(struct span path, size_t *ret_offset)
{
    char copy[GRAMMAR_NAME_MAX + 2 + SCAN_PADDING] = {0};
    struct scan_fault fault;
    bool escaped;

    if (ret_offset)
        *ret_offset = 0;
    if (path.size == 0)
        return "it is empty";
    if (path.size > GRAMMAR_NAME_MAX)
        return "it is longer than 255 bytes";
    memcpy(copy, path.data, path.size);
    copy[path.size] = '"';
    copy[path.size + 1] = '\n';
    const char *end = scan_string(copy, &escaped, &fault);
    if (!end) {
        if (ret_offset)
            *ret_offset = (size_t)(fault.position - copy);
        return fault.reason;
    }
    if (escaped || end != copy + path.size + 1)
        return "no quotes and no backslashes may stand here";
    return NULL;
}

static int check_names(const struct outgoing *message, struct bus_error *error)
{
    enum message_type type = message->type;
    const char *reason;
    size_t offset;

    if ((message->to.data || type == MESSAGE_CALL) &&
        (reason = grammar_check_destination(message->to, &offset)))
        return wrong_name(error, "name", message->to, offset, reason);
    if (type == MESSAGE_CALL && (reason = grammar_check_method(message->method, &offset)))
        return wrong_name(error, "method", message->method, offset, reason);
    if (type == MESSAGE_EVENT && (reason = grammar_check_topic(message->topic, &offset)))
        return wrong_name(error, "topic", message->topic, offset, reason);
    if (type == MESSAGE_ERROR && (reason = grammar_check_method(message->error, &offset)))
        return wrong_name(error, "error name", message->error, offset, reason);
    if (message->path.data && (reason = path_check(message->path, &offset)))
        return wrong_name(error, "path", message->path, offset, reason);
    return 0;
}

/* Everything that is short and of known size. */
static int append_keys(struct output *output, const struct outgoing *message)
{
    static const struct span types[] = {
        [MESSAGE_CALL] = SPAN("{\"type\":\"call\""),
        [MESSAGE_REPLY] = SPAN("{\"type\":\"reply\""),
        [MESSAGE_ERROR] = SPAN("{\"type\":\"error\""),
        [MESSAGE_EVENT] = SPAN("{\"type\":\"event\""),
        [MESSAGE_CANCEL] = SPAN("{\"type\":\"cancel\""),
    };
    unsigned fds = message->fd_count + (message->sealed ? 1 : 0);
    int r =
        output_reserve(output, OUTPUT_KEYS_MAX + message->to.size + message->method.size +
                                   message->path.size + message->topic.size + message->error.size);

    if (r < 0)
        return r;
    char *p = put(output->data + output->tail, types[message->type]);
    p = put_string(p, SPAN(",\"to\":\""), message->to);
    if (message->id)
        p = put_number(put(p, SPAN(",\"id\":")), message->id);
    p = put_string(p, SPAN(",\"method\":\""), message->method);
    p = put_string(p, SPAN(",\"path\":\""), message->path);
    p = put_string(p, SPAN(",\"topic\":\""), message->topic);
    p = put_string(p, SPAN(",\"error\":\""), message->error);
    p = put_string(p, SPAN(",\"retain\":\""), message->retain);
    if (message->ttl)
        p = put_number(put(p, SPAN(",\"ttl\":")), message->ttl);
    if (message->no_reply)
        p = put(p, SPAN(",\"no_reply\":true"));
    if (message->more)
        p = put(p, SPAN(",\"more\":true"));
    if (message->has_timeout)
        p = put_number(put(p, SPAN(",\"timeout\":")), message->timeout);
    if (fds)
        p = put_number(put(p, SPAN(",\"fds\":")), fds);
    if (message->sealed)
        p = put(p, SPAN(",\"body_fd\":true"));
    output->tail = (size_t)(p - output->data);
    return 0;
}

static int append_span(struct output *output, struct span text)
{
    int r = output_reserve(output, text.size);

    if (r < 0)
        return r;
    put(output->data + output->tail, text);
    output->tail += text.size;
    return 0;
}

static int append_message(struct output *output, struct span message)
{
    struct text text = TEXT_INIT;

    text_append_string(&text, ",\"message\":");
    text_append_json_string(&text, message);
    int r = text.failed ? -ENOMEM : append_span(output, text_span(&text));
    text_deinit(&text);
    return r;
}

static int append_headers(struct output *output, const struct list *headers)
{
    LIST_FOREACH (node, headers) {
        const struct header *header = LIST_ENTRY(node, struct header, link);
        int r = append_span(output, SPAN(","));
        if (r == 0)
            r = append_span(output, (struct span){header->text, header->size});
        if (r < 0)
            return r;
    }
    return 0;
}

int body_refuse_tree(struct bus_error *error)
{
    return bus_error_set_errno(error, -EBADMSG,
                               "the body cannot be written as JSON: it contains itself or a "
                               "string that is not UTF-8, or memory ran out");
}

int body_refuse_text(struct bus_error *error, const char *reason, size_t offset)
{
    return bus_error_set_errno(error, -EBADMSG, "the body is not valid JSON: %s (at byte %zu)",
                               reason, offset);
}

/* A tree that is being written as text. */
struct dump {
    struct output *output;
    size_t left;
    int result;
};

static int append_dumped(const char *data, size_t size, void *userdata)
{
    struct dump *dump = userdata;

    dump->result =
        size > dump->left ? -EFBIG : append_span(dump->output, (struct span){data, size});
    dump->left -= MIN(size, dump->left);
    return dump->result;
}

static int append_tree(struct output *output, const json_t *tree, struct bus_error *error)
{
    struct dump dump = {output, output->tree_max, 0};

    if (json_dump_callback(tree, append_dumped, &dump, BODY_DUMP_FLAGS) == 0)
        return 0;
    return dump.result < 0 ? dump.result : body_refuse_tree(error);
}

static int append_body(struct output *output, const struct outgoing *message,
                       struct bus_error *error)
{
    int r = append_span(output, SPAN(",\"body\":"));
    size_t start = output_size(output);

    if (r < 0)
        return r;
    r = message->body.data ? append_span(output, message->body)
                           : append_tree(output, message->tree, error);
    if (r < 0 || message->body_checked)
        return r;

    size_t offset;
    const char *reason =
        json_check(output->data + output->head + start, output_size(output) - start, &offset);
    if (reason)
        return body_refuse_text(error, reason, offset);
    return 0;
}

static int append_all(struct output *output, const struct outgoing *message,
                      struct bus_error *error)
{
    int r = append_keys(output, message);

    if (r == 0 && message->message.data)
        r = append_message(output, message->message);
    if (r == 0 && message->headers)
        r = append_headers(output, message->headers);
    if (r == 0 && (message->body.data || message->tree))
        r = append_body(output, message, error);
    if (r == 0)
        r = append_span(output, SPAN("}\n"));
    if (r == -ENOMEM)
        bus_error_set_errno(error, r, "out of memory");
    return r;
}

int output_append(struct output *output, const struct outgoing *message, struct bus_error *error)
{
    size_t before = output_size(output);
    int r = check_names(message, error);

    if (r < 0)
        return r;
    r = append_all(output, message, error);
    if (r < 0)
        output_undo(output, output_size(output) - before);
    return r;
}

static struct fds *collect_fds(const struct outgoing *message)
{
    int fd[FDS_MAX];
    unsigned count = 0;

    if (message->sealed)
        fd[count++] = message->sealed->fd;
    if (message->fd_count > 0)
        memcpy(fd + count, message->fd, message->fd_count * sizeof(*fd));
    return fds_new(fd, count + message->fd_count);
}

int output_attach(struct output *output, const struct outgoing *message, size_t size)
{
    struct output_mark *mark = calloc(1, sizeof(*mark));

    if (!mark)
        return -ENOMEM;
    mark->fds = collect_fds(message);
    if (!mark->fds) {
        free(mark);
        return -ENOMEM;
    }
    mark->body_size = message->sealed ? message->sealed->size : 0;
    output->bodies += mark->body_size;
    output->bodies_ever += mark->body_size;
    mark->start = output->position + output_size(output) - size;
    mark->size = size;
    mark->type = message->type;
    mark->id = message->id;
    if (message->to.size > 0 && message->to.size < sizeof(mark->to))
        memcpy(mark->to, message->to.data, message->to.size);
    list_append(&output->marks, &mark->link);
    return 0;
}

static void output_advance(struct output *output, size_t size)
{
    output->head += size;
    output->position += size;
    if (output->head < output->tail)
        return;
    output->head = 0;
    output->tail = 0;
    if (output->capacity > OUTPUT_KEEP) {
        free(output->data);
        output->data = NULL;
        output->capacity = 0;
    }
}

int output_write(struct output *output, int fd, size_t limit)
{
    struct list *first = list_first(&output->marks);
    struct output_mark *mark = LIST_ENTRY(first, struct output_mark, link);
    size_t size = MIN(output_size(output), limit);
    struct fds *fds = NULL;

    if (output_has_fds_first(output)) {
        fds = mark->fds;
        first = first->next == &output->marks ? NULL : first->next;
        mark = LIST_ENTRY(first, struct output_mark, link);
    }
    if (mark)
        size = MIN(size, (size_t)(mark->start - output->position));

    struct iovec iov = {output->data + output->head, size};
    ssize_t n = sockio_send(fd, &iov, 1, fds);
    if (n < 0) {
        output->blocked = n == -EAGAIN;
        return (int)n;
    }
    if (fds)
        mark_free(output, LIST_ENTRY(list_first(&output->marks), struct output_mark, link));
    output->blocked = (size_t)n < size;
    output_advance(output, (size_t)n);
    return output->blocked ? -EAGAIN : 0;
}

bool output_has_fds_first(const struct output *output)
{
    struct list *first = list_first(&output->marks);

    return first && LIST_ENTRY(first, struct output_mark, link)->start == output->position;
}

struct output_mark *output_drop_first(struct output *output)
{
    struct output_mark *mark = LIST_ENTRY(list_first(&output->marks), struct output_mark, link);

    list_remove(&mark->link);
    output->bodies -= mark->body_size;
    mark->fds = fds_unref(mark->fds);
    output_advance(output, mark->size);
    return mark;
}
