/* SPDX-License-Identifier: MIT */
#include "libbus/wire/envelope.h"

#include "libbus/base/macros.h"
#include "libbus/wire/fdqueue.h"
#include "libbus/wire/grammar.h"
#include "libbus/wire/scan.h"

enum value_kind {
    VALUE_TYPE,
    VALUE_DESTINATION,
    VALUE_TOPIC,
    VALUE_METHOD,
    VALUE_PATH,
    VALUE_RETAIN,
    VALUE_WORD,     /* a string without escapes; only from the broker */
    VALUE_STRING,   /* any string, kept as JSON text */
    VALUE_ANY,      /* any value, kept as JSON text */
    VALUE_INTEGER,  /* 1 … 2^53-1 */
    VALUE_DURATION, /* 0 … 2^53-1 */
    VALUE_FDS,      /* 1 … 253 */
    VALUE_BOOLEAN,
};

#define IN(type)   (1u << MESSAGE_##type)
#define IN_ANSWERS (IN(REPLY) | IN(ERROR))
#define IN_BODIED  (IN(CALL) | IN_ANSWERS | IN(EVENT))
#define IN_ALL     (IN_BODIED | IN(CANCEL))

/* Protocol section 2: what each key holds, in which messages of a client it may
 * stand, in which of the broker's, and in which messages of a client it must. In the
 * order of enum envelope_key, which is that of the names' lengths. */
#define KEYS(X, arg)                                                                               \
    X(arg, TO, "to", VALUE_DESTINATION, IN_ALL, IN_ALL, IN_ALL & ~IN(EVENT))                       \
    X(arg, ID, "id", VALUE_INTEGER, IN_ALL, IN_ALL, IN_ANSWERS | IN(CANCEL))                       \
    X(arg, FDS, "fds", VALUE_FDS, IN_BODIED, IN_BODIED, 0)                                         \
    X(arg, TTL, "ttl", VALUE_INTEGER, IN(EVENT), IN(EVENT), 0)                                     \
    X(arg, TYPE, "type", VALUE_TYPE, IN_ALL, IN_ALL, IN_ALL)                                       \
    X(arg, BODY, "body", VALUE_ANY, IN_BODIED, IN_BODIED, 0)                                       \
    X(arg, PATH, "path", VALUE_PATH, IN(CALL), IN(CALL), 0)                                        \
    X(arg, MORE, "more", VALUE_BOOLEAN, IN(CALL) | IN(REPLY), IN(CALL) | IN(REPLY), 0)             \
    X(arg, TOPIC, "topic", VALUE_TOPIC, IN(EVENT), IN(EVENT), IN(EVENT))                           \
    X(arg, ERROR, "error", VALUE_METHOD, IN(ERROR), IN(ERROR), IN(ERROR))                          \
    X(arg, ABOUT, "about", VALUE_ANY, 0, IN(ERROR), 0)                                             \
    X(arg, GROUP, "group", VALUE_WORD, 0, IN(EVENT), 0)                                            \
    X(arg, METHOD, "method", VALUE_METHOD, IN(CALL), IN(CALL), IN(CALL))                           \
    X(arg, SENDER, "sender", VALUE_DESTINATION, 0, IN_ALL, 0)                                      \
    X(arg, RETAIN, "retain", VALUE_RETAIN, IN(EVENT), IN(EVENT), 0)                                \
    X(arg, OFFSET, "offset", VALUE_DURATION, 0, IN(ERROR), 0)                                      \
    X(arg, REASON, "reason", VALUE_WORD, 0, IN(CANCEL), 0)                                         \
    X(arg, MESSAGE, "message", VALUE_STRING, IN(ERROR), IN(ERROR), 0)                              \
    X(arg, TIMEOUT, "timeout", VALUE_DURATION, IN(CALL), IN(CALL), 0)                              \
    X(arg, BODY_FD, "body_fd", VALUE_BOOLEAN, IN_BODIED, IN_BODIED, 0)                             \
    X(arg, NO_REPLY, "no_reply", VALUE_BOOLEAN, IN(CALL), IN(CALL), 0)                             \
    X(arg, NO_START, "no_start", VALUE_BOOLEAN, IN(CALL), IN(CALL), 0)                             \
    X(arg, RETAINED, "retained", VALUE_BOOLEAN, 0, IN(EVENT), 0)

static const struct {
    struct span name;
    enum value_kind kind;
} keys[KEY_COUNT] = {
#define X(arg, symbol, name, kind, client, broker, required) [KEY_##symbol] = {SPAN(name), kind},
    KEYS(X, 0)
#undef X
};

/* The first key whose name is so long. */
#define KEY_LENGTH_MAX 8
static const unsigned char first_of_length[KEY_LENGTH_MAX + 2] = {
    [0] = 0,         [1] = 0,          [2] = KEY_TO,      [3] = KEY_FDS,      [4] = KEY_TYPE,
    [5] = KEY_TOPIC, [6] = KEY_METHOD, [7] = KEY_MESSAGE, [8] = KEY_NO_REPLY, [9] = KEY_COUNT,
};

/* The same by type of message: a bit for each key. */
#define CLIENT_BIT(type, symbol, name, kind, client, broker, required)                             \
    | ((client)&IN(type) ? 1u << KEY_##symbol : 0u)
#define BROKER_BIT(type, symbol, name, kind, client, broker, required)                             \
    | ((broker)&IN(type) ? 1u << KEY_##symbol : 0u)
#define REQUIRED_BIT(type, symbol, name, kind, client, broker, required)                           \
    | ((required)&IN(type) ? 1u << KEY_##symbol : 0u)
#define MASKS(type)                                                                                \
    [MESSAGE_##type] = {0u KEYS(CLIENT_BIT, type), 0u KEYS(BROKER_BIT, type),                      \
                        0u KEYS(REQUIRED_BIT, type)}

static const struct {
    uint32_t client;
    uint32_t broker;
    uint32_t required;
} masks[] = {MASKS(CALL), MASKS(REPLY), MASKS(ERROR), MASKS(EVENT), MASKS(CANCEL)};

/* Of the keys that only the broker sends. */
#define BROKER_KEYS                                                                                \
    (1u << KEY_ABOUT | 1u << KEY_GROUP | 1u << KEY_SENDER | 1u << KEY_OFFSET | 1u << KEY_REASON |  \
     1u << KEY_RETAINED)

static const struct span type_names[] = {
    [MESSAGE_NONE] = {"", 0},        [MESSAGE_CALL] = SPAN("call"),
    [MESSAGE_REPLY] = SPAN("reply"), [MESSAGE_ERROR] = SPAN("error"),
    [MESSAGE_EVENT] = SPAN("event"), [MESSAGE_CANCEL] = SPAN("cancel"),
};

const char *message_type_name(enum message_type type)
{
    return type_names[type].data;
}

enum message_type message_type_from_name(struct span name)
{
    for (enum message_type type = MESSAGE_CALL; type <= MESSAGE_CANCEL; type++)
        if (span_equal(name, type_names[type]))
            return type;
    return MESSAGE_NONE;
}

/* What is known while one line is read. */
struct reader {
    struct envelope *envelope;
    const char *line;
    struct envelope_fault *fault;
    int error;                 /* the first one that does not keep us from reading on */
    uint32_t seen;             /* 1u << KEY_X for each key, right or wrong */
    const char *at[KEY_COUNT]; /* where the keys seen are */
};

/* Remembers the first thing that is wrong with the message, though it is JSON;
 * the rest is still read, for what an error about it can tell. */
static void invalid(struct reader *reader, const char *position, const char *key,
                    const char *reason)
{
    if (reader->error)
        return;
    reader->error = WIRE_INVALID_MESSAGE;
    *reader->fault = (struct envelope_fault){(size_t)(position - reader->line), reason, key};
}

static const char *broken(struct reader *reader, const char *position, const char *reason)
{
    reader->error = WIRE_PARSE_ERROR;
    *reader->fault = (struct envelope_fault){(size_t)(position - reader->line), reason, NULL};
    return NULL;
}

static struct span *span_of(struct envelope *envelope, enum envelope_key key)
{
    switch (key) {
    case KEY_TO:
        return &envelope->to;
    case KEY_METHOD:
        return &envelope->method;
    case KEY_PATH:
        return &envelope->path;
    case KEY_TOPIC:
        return &envelope->topic;
    case KEY_ERROR:
        return &envelope->error;
    case KEY_SENDER:
        return &envelope->sender;
    case KEY_RETAIN:
        return &envelope->retain;
    case KEY_REASON:
        return &envelope->reason;
    case KEY_GROUP:
        return &envelope->group;
    case KEY_MESSAGE:
        return &envelope->message;
    case KEY_ABOUT:
        return &envelope->about;
    default:
        return &envelope->body;
    }
}

/* The text between the quotes against the key's grammar; NULL if it is right. */
static const char *check_text(struct envelope *envelope, enum value_kind kind, struct span text,
                              size_t *ret_offset)
{
    *ret_offset = 0;
    switch (kind) {
    case VALUE_TYPE:
        envelope->type = message_type_from_name(text);
        return envelope->type ? NULL : "it must be call, reply, error, event or cancel";
    case VALUE_DESTINATION:
        return grammar_check_destination(text, ret_offset);
    case VALUE_TOPIC:
        return grammar_check_topic(text, ret_offset);
    case VALUE_METHOD:
        return grammar_check_method(text, ret_offset);
    case VALUE_PATH:
        if (text.size == 0)
            return "it is empty";
        return text.size > GRAMMAR_NAME_MAX ? "it is longer than 255 bytes" : NULL;
    case VALUE_RETAIN:
        if (span_is(text, "connection") || span_is(text, "bus") || span_is(text, "disk"))
            return NULL;
        return "it must be connection, bus or disk";
    default:
        return NULL;
    }
}

static const char *read_text(struct reader *reader, enum envelope_key key, const char *p)
{
    struct envelope *envelope = reader->envelope;
    struct scan_fault fault;
    bool escaped;

    if (*p != '"') {
        invalid(reader, p, keys[key].name.data, "it must be a string");
        p = scan_value(p, 1, &fault);
        return p ? p : broken(reader, fault.position, fault.reason);
    }

    const char *end = scan_string(p + 1, &escaped, &fault);
    if (!end)
        return broken(reader, fault.position, fault.reason);
    struct span text = {p + 1, (size_t)(end - p) - 2};
    if (escaped) {
        invalid(reader, p, keys[key].name.data, "no escapes are accepted here");
        return end;
    }
    size_t offset;
    const char *reason = check_text(envelope, keys[key].kind, text, &offset);
    if (reason) {
        invalid(reader, text.data + offset, keys[key].name.data, reason);
        return end;
    }
    if (key != KEY_TYPE)
        *span_of(envelope, key) = text;
    envelope->keys |= 1u << key;
    return end;
}

static void store_integer(struct envelope *envelope, enum envelope_key key, uint64_t value)
{
    switch (key) {
    case KEY_ID:
        envelope->id = value;
        break;
    case KEY_TIMEOUT:
        envelope->timeout = value;
        break;
    case KEY_TTL:
        envelope->ttl = value;
        break;
    case KEY_OFFSET:
        envelope->offset = value;
        break;
    default:
        envelope->fds = (uint32_t)value;
        break;
    }
}

static const char *read_integer(struct reader *reader, enum envelope_key key, const char *p)
{
    enum value_kind kind = keys[key].kind;
    const char *reason = kind == VALUE_FDS        ? "it must be an integer from 1 to 253"
                         : kind == VALUE_DURATION ? "it must be an integer from 0 to 2^53-1"
                                                  : "it must be an integer from 1 to 2^53-1";
    uint64_t max = kind == VALUE_FDS ? FDS_MAX : GRAMMAR_INTEGER_MAX;
    uint64_t value = 0;
    struct scan_fault fault;

    const char *end = scan_value(p, 1, &fault);
    if (!end)
        return broken(reader, fault.position, fault.reason);
    for (const char *digit = p; digit < end; digit++) {
        /* Checking at each digit keeps the sum below 2^57. */
        if (*digit < '0' || *digit > '9' || value > max) {
            invalid(reader, p, keys[key].name.data, reason);
            return end;
        }
        value = value * 10 + (uint64_t)(*digit - '0');
    }
    if (value > max || (value == 0 && kind != VALUE_DURATION)) {
        invalid(reader, p, keys[key].name.data, reason);
        return end;
    }
    store_integer(reader->envelope, key, value);
    reader->envelope->keys |= 1u << key;
    return end;
}

static const char *read_boolean(struct reader *reader, enum envelope_key key, const char *p)
{
    struct envelope *envelope = reader->envelope;
    struct scan_fault fault;

    const char *end = scan_value(p, 1, &fault);
    if (!end)
        return broken(reader, fault.position, fault.reason);
    if (*p != 't' && *p != 'f') {
        invalid(reader, p, keys[key].name.data, "it must be true or false");
        return end;
    }
    bool value = *p == 't';
    envelope->no_reply |= key == KEY_NO_REPLY && value;
    envelope->no_start |= key == KEY_NO_START && value;
    envelope->more |= key == KEY_MORE && value;
    envelope->body_fd |= key == KEY_BODY_FD && value;
    envelope->retained |= key == KEY_RETAINED && value;
    envelope->keys |= 1u << key;
    return end;
}

static const char *read_json(struct reader *reader, enum envelope_key key, const char *p)
{
    struct scan_fault fault;

    const char *end = scan_value(p, 1, &fault);
    if (!end)
        return broken(reader, fault.position, fault.reason);
    if (keys[key].kind == VALUE_STRING && *p != '"') {
        invalid(reader, p, keys[key].name.data, "it must be a string");
        return end;
    }
    *span_of(reader->envelope, key) = (struct span){p, (size_t)(end - p)};
    reader->envelope->keys |= 1u << key;
    return end;
}

static const char *read_value(struct reader *reader, enum envelope_key key, const char *p)
{
    switch (keys[key].kind) {
    case VALUE_INTEGER:
    case VALUE_DURATION:
    case VALUE_FDS:
        return read_integer(reader, key, p);
    case VALUE_BOOLEAN:
        return read_boolean(reader, key, p);
    case VALUE_STRING:
    case VALUE_ANY:
        return read_json(reader, key, p);
    default:
        return read_text(reader, key, p);
    }
}

/* KEY_COUNT if the protocol does not know it. */
static enum envelope_key find_key(struct span name)
{
    if (name.size > KEY_LENGTH_MAX)
        return KEY_COUNT;
    for (unsigned key = first_of_length[name.size]; key < first_of_length[name.size + 1]; key++)
        if (keys[key].name.data[0] == name.data[0] &&
            memcmp(keys[key].name.data, name.data, name.size) == 0)
            return (enum envelope_key)key;
    return KEY_COUNT;
}

/* `p` is at the opening quote of a key; returns the byte after the value. */
static const char *read_member(struct reader *reader, const char *p)
{
    struct scan_fault fault;
    bool escaped;

    if (*p != '"')
        return broken(reader, p,
                      *p == '\n' ? "the line ends too early"
                                 : "a key in double quotes was expected");
    const char *end = scan_string(p + 1, &escaped, &fault);
    if (!end)
        return broken(reader, fault.position, fault.reason);
    if (escaped)
        invalid(reader, p, NULL, "a top-level key may hold no backslash");

    struct span name = {p + 1, (size_t)(end - p) - 2};
    enum envelope_key key = escaped || name.size == 0 ? KEY_COUNT : find_key(name);
    const char *value = scan_space(end);
    if (*value != ':')
        return broken(reader, value,
                      *value == '\n' ? "the line ends too early"
                                     : "a colon was expected after the key");
    value = scan_space(value + 1);
    if (key == KEY_COUNT) {
        end = scan_value(value, 1, &fault);
        return end ? end : broken(reader, fault.position, fault.reason);
    }
    if (reader->seen & 1u << key) {
        invalid(reader, p, keys[key].name.data, "it is there twice");
        end = scan_value(value, 1, &fault);
        return end ? end : broken(reader, fault.position, fault.reason);
    }
    reader->seen |= 1u << key;
    reader->at[key] = p;
    return read_value(reader, key, value);
}

/* `p` is at the opening brace; returns the byte after the closing one. */
static const char *read_object(struct reader *reader, const char *p)
{
    const char *start = p + 1;

    p = scan_space(start);
    if (*p == '}') {
        p++;
    } else {
        for (;;) {
            p = read_member(reader, p);
            if (!p)
                return NULL;
            p = scan_space(p);
            if (*p == '}') {
                p++;
                break;
            }
            if (*p != ',')
                return broken(reader, p,
                              *p == '\n' ? "the line ends too early"
                                         : "a comma or a closing brace was expected");
            p = scan_space(p + 1);
        }
    }
    reader->envelope->rest = (struct span){start, (size_t)(p - start)};
    return p;
}

/* A last value is for all who may have its topic, and for as long as it lasts. */
static void check_retain(struct reader *reader)
{
    uint32_t seen = reader->seen;

    if (!(seen & 1u << KEY_RETAIN))
        invalid(reader, reader->at[KEY_TTL], "ttl", "it is for retained values: it needs retain");
    else if (seen & 1u << KEY_TO)
        invalid(reader, reader->at[KEY_RETAIN], "retain", "it does not go with to");
    else if (seen & 1u << KEY_FDS)
        invalid(reader, reader->at[KEY_FDS], "fds",
                "a retained value cannot have file descriptors");
}

/* Whether the keys that are there are those that belong in such a message. */
static void check_keys(struct reader *reader, const char *end, enum envelope_origin origin)
{
    struct envelope *envelope = reader->envelope;
    bool from_client = origin == ENVELOPE_FROM_CLIENT;
    uint32_t seen = reader->seen;

    if (!(seen & 1u << KEY_TYPE)) {
        invalid(reader, end, "type", "it is missing");
        return;
    }
    if (!envelope->type)
        return;

    uint32_t allowed = from_client ? masks[envelope->type].client : masks[envelope->type].broker;
    uint32_t required = masks[envelope->type].required;
    if (!from_client) {
        /* What the broker sends is addressed by the connection it is sent on, and its
         * own errors need no id. */
        required &= ~(1u << KEY_TO);
        if (envelope->type == MESSAGE_ERROR)
            required &= ~(1u << KEY_ID);
        required |= 1u << KEY_SENDER;
    }
    uint32_t wrong = (seen & ~allowed) | (required & ~seen);
    if (UNLIKELY(wrong)) {
        unsigned key = (unsigned)__builtin_ctz(wrong);
        bool there = seen & 1u << key;
        invalid(reader, there ? reader->at[key] : end, keys[key].name.data,
                !there                                   ? "it is missing"
                : from_client && BROKER_KEYS & 1u << key ? "only the bus itself may send this key"
                                                         : "it does not belong in a message of "
                                                           "this type");
    }
    if (UNLIKELY(seen & (1u << KEY_RETAIN | 1u << KEY_TTL)) && from_client)
        check_retain(reader);
    if (envelope->type == MESSAGE_CALL && !(seen & 1u << KEY_ID) && !envelope->no_reply)
        invalid(reader, end, "id", "a call without it must be no_reply");
    if (envelope->more && envelope->no_reply)
        invalid(reader, reader->at[KEY_MORE], "more", "it does not go with no_reply");
    if (envelope->body_fd && envelope_has(envelope, KEY_BODY))
        invalid(reader, reader->at[KEY_BODY_FD], "body_fd", "it does not go with a body");
    if (envelope->body_fd && !(seen & 1u << KEY_FDS))
        invalid(reader, reader->at[KEY_BODY_FD], "body_fd", "it needs fds");
}

int envelope_parse(struct envelope *envelope, const char *line, size_t size,
                   enum envelope_origin origin, struct envelope_fault *ret_fault)
{
    struct reader reader;

    reader.envelope = envelope;
    reader.line = line;
    reader.fault = ret_fault;
    reader.error = 0;
    reader.seen = 0;
    *envelope = (struct envelope){0};
    const char *p = scan_space(line);
    if (*p != '{') {
        struct scan_fault fault;
        const char *end = scan_value(p, 0, &fault);
        if (!end)
            broken(&reader, fault.position, fault.reason);
        else if (scan_space(end) != line + size)
            broken(&reader, scan_space(end), "nothing may follow the value");
        else
            invalid(&reader, p, NULL, "a message is a JSON object");
        return reader.error;
    }
    p = read_object(&reader, p);
    if (!p)
        return reader.error;
    const char *end = scan_space(p);
    if (end != line + size) {
        broken(&reader, end, "nothing may follow the object");
        return reader.error;
    }
    check_keys(&reader, p - 1, origin);
    return reader.error;
}

/* The keys of an event that begins as others do. */
#define HEAD_KEYS                                                                                  \
    (1u << KEY_TYPE | 1u << KEY_SENDER | 1u << KEY_GROUP | 1u << KEY_TOPIC | 1u << KEY_BODY)

/* To the same place of another line. */
static void move_span(struct span *span, const char *from, const char *to)
{
    if (span->data)
        span->data = to + (span->data - from);
}

/* Keeps the beginning of an event if nothing but a brace follows its body. */
static void head_keep(struct envelope_head *head, const struct envelope *envelope, const char *line,
                      size_t size)
{
    size_t head_size = (size_t)(envelope->body.data - line);

    if (line[0] != '{' || head_size > ENVELOPE_HEAD_MAX ||
        envelope->body.data + envelope->body.size + 1 != line + size)
        return;
    memcpy(head->text, line, head_size);
    head->size = head_size;
    head->envelope = *envelope;
    move_span(&head->envelope.topic, line, head->text);
    move_span(&head->envelope.sender, line, head->text);
    move_span(&head->envelope.group, line, head->text);
}

static bool head_fits(const struct envelope_head *head, struct envelope *envelope, const char *line,
                      size_t size)
{
    struct scan_fault fault;

    if (head->size == 0 || size <= head->size || memcmp(line, head->text, head->size) != 0)
        return false;
    const char *body = line + head->size;
    const char *end = scan_value(body, 1, &fault);
    if (!end || *end != '}' || end + 1 != line + size)
        return false;
    *envelope = head->envelope;
    move_span(&envelope->topic, head->text, line);
    move_span(&envelope->sender, head->text, line);
    move_span(&envelope->group, head->text, line);
    envelope->body = (struct span){body, (size_t)(end - body)};
    envelope->rest = (struct span){line + 1, size - 1};
    return true;
}

int envelope_parse_next(struct envelope_head *head, struct envelope *envelope, const char *line,
                        size_t size, enum envelope_origin origin, struct envelope_fault *ret_fault)
{
    if (head_fits(head, envelope, line, size))
        return 0;
    int r = envelope_parse(envelope, line, size, origin, ret_fault);
    if (r == 0 && envelope->type == MESSAGE_EVENT && envelope_has(envelope, KEY_BODY) &&
        !(envelope->keys & ~HEAD_KEYS))
        head_keep(head, envelope, line, size);
    return r;
}
