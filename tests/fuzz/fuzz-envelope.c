/* SPDX-License-Identifier: MIT */
/*
 * One line (up to the first LF), as from a client and as from the bus; what stands after
 * it is the end of another, which begins as the first does up to its body.
 *
 *   - It is a parse error exactly when the scanner refuses it, at the same byte.
 *   - jansson reads the same values from an accepted line.
 *   - What follows an event and begins as it does is read as if it came alone.
 *   - What a client sends is forwarded as prefix and rest: the other side accepts
 *     that, reads from it what the broker has read, and nobody can make it say
 *     another sender than the prefix does.
 */
#include <inttypes.h>
#include <jansson.h>

#include "libbus/base/macros.h"
#include "libbus/base/text.h"
#include "libbus/wire/envelope.h"
#include "libbus/wire/fdqueue.h"
#include "libbus/wire/grammar.h"
#include "libbus/wire/scan.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/envelopes.h"
#include "tests/support/padded.h"

#define PREFIX "{\"sender\":\":9007199254740991\","

static int parse(struct envelope *envelope, const char *line, size_t size,
                 enum envelope_origin origin)
{
    struct envelope_fault fault = {SIZE_MAX, NULL, NULL};
    struct scan_fault scan_fault;
    int r = envelope_parse(envelope, line, size, origin, &fault);
    bool json = scan_text(line, size, &scan_fault);

    FUZZ_CHECK((r == WIRE_PARSE_ERROR) == !json, "%d, but the scanner says %d", r, json);
    if (r == 0)
        return 0;
    FUZZ_CHECK(fault.offset <= size && fault.reason && fault.reason[0], "a fault without place");
    if (r == WIRE_PARSE_ERROR)
        FUZZ_CHECK(fault.offset == (size_t)(scan_fault.position - line),
                   "a parse error at %zu, for the scanner at %td", fault.offset,
                   scan_fault.position - line);
    return r;
}

/* ------------------------------------------------------ as jansson sees it */

static void check_string(json_t *tree, const char *key, struct span value, bool there)
{
    json_t *found = json_object_get(tree, key);

    FUZZ_CHECK(!found == !there, "%s: there for one of us only", key);
    if (!found)
        return;
    struct span text = {json_string_value(found), json_string_length(found)};
    FUZZ_CHECK(json_is_string(found) && span_equal(text, value), "%s is '%.*s', not '%.*s'", key,
               SPAN_ARGS(text), SPAN_ARGS(value));
}

static void check_integer(json_t *tree, const char *key, uint64_t value, bool there)
{
    json_t *found = json_object_get(tree, key);

    FUZZ_CHECK(!found == !there, "%s: there for one of us only", key);
    FUZZ_CHECK(!found || (json_is_integer(found) && (uint64_t)json_integer_value(found) == value),
               "%s is not %" PRIu64, key, value);
}

static void check_boolean(json_t *tree, const char *key, bool value)
{
    json_t *found = json_object_get(tree, key);

    FUZZ_CHECK(!found || json_is_boolean(found), "%s is no boolean", key);
    FUZZ_CHECK(json_is_true(found) == value, "%s is not %d", key, value);
}

static void check_tree(const struct envelope *e, json_t *tree)
{
    check_string(tree, "type", span_from(message_type_name(e->type)), true);
    check_string(tree, "to", e->to, envelope_has(e, KEY_TO));
    check_string(tree, "method", e->method, envelope_has(e, KEY_METHOD));
    check_string(tree, "path", e->path, envelope_has(e, KEY_PATH));
    check_string(tree, "topic", e->topic, envelope_has(e, KEY_TOPIC));
    check_string(tree, "error", e->error, envelope_has(e, KEY_ERROR));
    check_string(tree, "sender", e->sender, envelope_has(e, KEY_SENDER));
    check_string(tree, "retain", e->retain, envelope_has(e, KEY_RETAIN));
    check_string(tree, "group", e->group, envelope_has(e, KEY_GROUP));
    check_integer(tree, "id", e->id, envelope_has(e, KEY_ID));
    check_integer(tree, "timeout", e->timeout, envelope_has(e, KEY_TIMEOUT));
    check_integer(tree, "ttl", e->ttl, envelope_has(e, KEY_TTL));
    check_integer(tree, "fds", e->fds, envelope_has(e, KEY_FDS));
    check_boolean(tree, "no_reply", e->no_reply);
    check_boolean(tree, "no_start", e->no_start);
    check_boolean(tree, "more", e->more);
    check_boolean(tree, "body_fd", e->body_fd);
    check_boolean(tree, "retained", e->retained);
    FUZZ_CHECK(!json_object_get(tree, "body") == !envelope_has(e, KEY_BODY), "body");
}

/* What is said of the line must be so by the grammar, too. */
static void check_grammar(const struct envelope *e)
{
    FUZZ_CHECK(e->type >= MESSAGE_CALL && e->type <= MESSAGE_CANCEL, "no type");
    FUZZ_CHECK(e->id <= GRAMMAR_INTEGER_MAX && e->timeout <= GRAMMAR_INTEGER_MAX, "a large number");
    FUZZ_CHECK(e->fds <= FDS_MAX, "more fds than can be sent");
    FUZZ_CHECK(!e->to.size || !grammar_check_destination(e->to, NULL), "to");
    FUZZ_CHECK(!e->topic.size || !grammar_check_topic(e->topic, NULL), "topic");
    FUZZ_CHECK(!e->ttl || e->retain.size || envelope_has(e, KEY_SENDER), "ttl without retain");
    FUZZ_CHECK(!e->retain.size || envelope_has(e, KEY_SENDER) || (!e->to.size && !e->fds),
               "a value for one, or with fds");
    FUZZ_CHECK(!e->method.size || !grammar_check_method(e->method, NULL), "method");
}

/* Every key of the protocol is there once at most; the line is known to be an object. */
static void check_keys(const char *line)
{
    static const char *const keys[] = {
        "type",     "to",      "id",     "method", "path",    "topic",    "body",   "fds",
        "error",    "message", "more",   "retain", "ttl",     "body_fd",  "sender", "retained",
        "no_reply", "about",   "reason", "offset", "timeout", "no_start", "group",
    };
    unsigned count[ARRAY_SIZE(keys)] = {0};
    struct scan_fault fault;
    bool escaped;

    const char *p = scan_space(scan_space(line) + 1);
    while (*p == '"') {
        const char *end = scan_string(p + 1, &escaped, &fault);
        struct span key = {p + 1, (size_t)(end - p) - 2};
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
            FUZZ_CHECK(!span_is(key, keys[i]) || count[i]++ == 0, "%s is there twice", keys[i]);
        FUZZ_CHECK(!escaped, "a key with escapes");
        p = scan_space(scan_value(scan_space(scan_space(end) + 1), 1, &fault));
        p = *p == ',' ? scan_space(p + 1) : p;
    }
}

static void check_accepted(const struct envelope *envelope, const char *text, size_t size)
{
    struct span line = {text, size};
    json_error_t error = {0};
    json_t *tree = json_loadb(line.data, line.size, JSON_ALLOW_NUL, &error);
    enum json_error_code code = json_error_code(&error);

    check_grammar(envelope);
    check_keys(text);
    if (tree)
        check_tree(envelope, tree);
    else
        FUZZ_CHECK(code == json_error_numeric_overflow || code == json_error_null_byte_in_key,
                   "jansson refuses an accepted line: %s", error.text);
    json_decref(tree);
}

/* --------------------------------------------------------------- forwarding */

static void check_forwarded(const struct envelope *envelope)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;
    struct envelope seen;

    text_append_string(&text, PREFIX);
    text_append_span(&text, envelope->rest);
    CLEANUP(cleanup_free) char *line = padded_new(text.data, text.size);
    FUZZ_CHECK(parse(&seen, line, text.size, ENVELOPE_FROM_BROKER) == 0,
               "what is forwarded is refused: %.*s", SPAN_ARGS(text_span(&text)));
    check_accepted(&seen, line, text.size);
    FUZZ_CHECK(span_is(seen.sender, ":9007199254740991"), "a forged sender: '%.*s'",
               SPAN_ARGS(seen.sender));
    FUZZ_CHECK(seen.keys == (envelope->keys | 1u << KEY_SENDER) && seen.type == envelope->type &&
                   seen.id == envelope->id && seen.fds == envelope->fds &&
                   seen.timeout == envelope->timeout && span_equal(seen.to, envelope->to) &&
                   span_equal(seen.topic, envelope->topic) &&
                   span_equal(seen.method, envelope->method) &&
                   span_equal(seen.body, envelope->body),
               "the receiver reads something else than the broker");
}

/* ------------------------------------------------------------ the next line */

static void check_next(const char *before, size_t before_size, struct span after,
                       enum envelope_origin origin)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;
    struct envelope_head head = {0};
    struct envelope envelope, alone;
    struct envelope_fault fault;

    if (envelope_parse_next(&head, &envelope, before, before_size, origin, &fault) != 0)
        return;
    size_t begin = envelope.body.data ? (size_t)(envelope.body.data - before) : 0;
    text_append(&text, before, begin);
    text_append_span(&text, after);
    CLEANUP(cleanup_free) char *line = padded_new(text.data, text.size);
    int r = parse(&alone, line, text.size, origin);
    FUZZ_CHECK(envelope_parse_next(&head, &envelope, line, text.size, origin, &fault) == r,
               "another verdict on what follows");
    FUZZ_CHECK(envelopes_are_alike(&envelope, &alone), "what follows is read otherwise");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_first_line(data, size);
    CLEANUP(cleanup_free) char *line = padded_new(text.data, text.size);
    struct envelope envelope;

    if (parse(&envelope, line, text.size, ENVELOPE_FROM_BROKER) == 0) {
        check_accepted(&envelope, line, text.size);
        FUZZ_CHECK(envelope.sender.size > 0, "a message of the bus without sender");
    }
    if (parse(&envelope, line, text.size, ENVELOPE_FROM_CLIENT) == 0) {
        check_accepted(&envelope, line, text.size);
        check_forwarded(&envelope);
    }
    const char *end = size > 0 ? memchr(data, '\n', size) : NULL;
    if (end) {
        struct fuzz_input rest = {end + 1, size - text.size - 1};
        struct span after = {0};
        fuzz_line(&rest, &after);
        check_next(line, text.size, after, ENVELOPE_FROM_BROKER);
        check_next(line, text.size, after, ENVELOPE_FROM_CLIENT);
    }
    return 0;
}
