/* SPDX-License-Identifier: MIT */
/*
 * The envelope: vectors with the place of each fault, the values read, keys in every
 * order, every known key twice or escaped, what is left of a line that failed, and
 * lines that begin as the one before.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/base/text.h"
#include "libbus/wire/envelope.h"
#include "libbus/wire/scan.h"
#include "tests/support/envelopes.h"
#include "tests/support/padded.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"
#include "tests/support/vectors.h"

/* A parsed line and the memory that its spans point into. */
struct parsed {
    char *line;
    size_t size;
    int result;
    struct envelope envelope;
    struct envelope_fault fault;
};

static void parsed_deinit(struct parsed *parsed)
{
    free(parsed->line);
}

static struct parsed parse(const char *line, size_t size, enum envelope_origin origin)
{
    struct parsed parsed = {.line = padded_new(line, size), .size = size};

    parsed.fault = (struct envelope_fault){.offset = SIZE_MAX};
    parsed.result = envelope_parse(&parsed.envelope, parsed.line, size, origin, &parsed.fault);
    return parsed;
}

static struct parsed parse_client(const char *line)
{
    return parse(line, strlen(line), ENVELOPE_FROM_CLIENT);
}

static struct parsed parse_broker(const char *line)
{
    return parse(line, strlen(line), ENVELOPE_FROM_BROKER);
}

#define PARSED(name, line) CLEANUP(parsed_deinit) struct parsed name = parse_client(line)

static void expect_right(const struct vector *vector, void *userdata)
{
    enum envelope_origin origin = *(enum envelope_origin *)userdata;
    CLEANUP(parsed_deinit)
    struct parsed parsed = parse(vector->text, vector->size, origin);

    CHECK(parsed.result == 0, "%s: %s at %zu: %s", vector->where, wire_error_name(parsed.result),
          parsed.fault.offset, parsed.fault.reason);
    assert_int_not_equal(parsed.envelope.type, MESSAGE_NONE);

    /* From after the brace to the last brace, so that a prefix can go before. */
    const char *open = memchr(parsed.line, '{', parsed.size);
    struct span rest = parsed.envelope.rest;
    assert_ptr_equal(rest.data, open + 1);
    assert_int_equal(rest.data[rest.size - 1], '}');
    const char *end = scan_space(rest.data + rest.size);
    assert_ptr_equal(end, parsed.line + parsed.size);
}

static void expect_wrong(const struct vector *vector, void *userdata)
{
    enum envelope_origin origin = *(enum envelope_origin *)userdata;
    CLEANUP(parsed_deinit)
    struct parsed parsed = parse(vector->text, vector->size, origin);
    const char *key = parsed.fault.key ? parsed.fault.key : "-";

    CHECK(parsed.result > 0, "%s: accepted", vector->where);
    CHECK(strcmp(wire_error_name(parsed.result), vector->field[0]) == 0, "%s: %s at %zu: %s",
          vector->where, wire_error_name(parsed.result), parsed.fault.offset, parsed.fault.reason);
    CHECK(strcmp(key, vector->field[1]) == 0, "%s: the key is %s: %s", vector->where, key,
          parsed.fault.reason);
    vector_check_offset(vector, parsed.fault.offset, parsed.fault.reason);
    assert_in_range(parsed.fault.offset, 0, parsed.size);
    assert_true(strlen(parsed.fault.reason) > 5);
}

static void test_client_lines(void **state)
{
    enum envelope_origin origin = ENVELOPE_FROM_CLIENT;

    vectors_each("envelope/y_client.txt", 0, expect_right, &origin);
    vectors_each("envelope/n_client.txt", 2, expect_wrong, &origin);
}

static void test_broker_lines(void **state)
{
    enum envelope_origin origin = ENVELOPE_FROM_BROKER;

    vectors_each("envelope/y_broker.txt", 0, expect_right, &origin);
    vectors_each("envelope/n_broker.txt", 2, expect_wrong, &origin);
}

/* Whatever a client may send is what the broker may pass on with its prefix. */
static void expect_forwardable(const struct vector *vector, void *userdata)
{
    CLEANUP(parsed_deinit)
    struct parsed parsed = parse(vector->text, vector->size, ENVELOPE_FROM_CLIENT);
    CLEANUP(text_deinit) struct text forwarded = TEXT_INIT;

    text_append_string(&forwarded, "{\"sender\":\":7\",");
    text_append_span(&forwarded, parsed.envelope.rest);
    CLEANUP(parsed_deinit)
    struct parsed again = parse(forwarded.data, forwarded.size, ENVELOPE_FROM_BROKER);
    CHECK(again.result == 0, "%s: %s", vector->where, again.fault.reason);
    assert_true(span_is(again.envelope.sender, ":7"));
    assert_int_equal(again.envelope.type, parsed.envelope.type);
    assert_int_equal(again.envelope.id, parsed.envelope.id);
    assert_true(span_equal(again.envelope.to, parsed.envelope.to));
    assert_true(span_equal(again.envelope.topic, parsed.envelope.topic));
    assert_true(span_equal(again.envelope.body, parsed.envelope.body));
}

static void test_forwarding(void **state)
{
    vectors_each("envelope/y_client.txt", 0, expect_forwardable, NULL);
}

/* Cut anywhere before its last brace, a line is no JSON; the reader keeps within it. */
static void expect_no_prefix(const struct vector *vector, void *userdata)
{
    const char *last = memrchr(vector->text, '}', vector->size);

    if (vector->size > 400)
        return;
    for (size_t size = 1; size <= (size_t)(last - vector->text); size++) {
        CLEANUP(parsed_deinit)
        struct parsed parsed = parse(vector->text, size, ENVELOPE_FROM_CLIENT);
        CHECK(parsed.result == WIRE_PARSE_ERROR, "%s: cut after %zu bytes", vector->where, size);
        CHECK(parsed.fault.offset <= size, "%s: fault at %zu of %zu", vector->where,
              parsed.fault.offset, size);
    }
}

static void test_prefixes(void **state)
{
    vectors_each("envelope/y_client.txt", 0, expect_no_prefix, NULL);
}

static void test_call_values(void **state)
{
    PARSED(p,
           "{\"type\":\"call\",\"id\":9007199254740991,\"to\":\"org.example\",\"method\":\"Add\","
           "\"path\":\"/x\",\"body\": [1, 2] ,\"fds\":253,\"no_reply\":false,\"no_start\":true,"
           "\"timeout\":0,\"more\":true}");

    assert_int_equal(p.result, 0);
    assert_int_equal(p.envelope.type, MESSAGE_CALL);
    assert_int_equal(p.envelope.id, 9007199254740991);
    assert_true(span_is(p.envelope.to, "org.example"));
    assert_true(span_is(p.envelope.method, "Add"));
    assert_true(span_is(p.envelope.path, "/x"));
    assert_true(span_is(p.envelope.body, "[1, 2]"));
    assert_int_equal(p.envelope.fds, 253);
    assert_false(p.envelope.no_reply);
    assert_true(p.envelope.no_start);
    assert_true(p.envelope.more);
    assert_true(envelope_has(&p.envelope, KEY_TIMEOUT));
    assert_int_equal(p.envelope.timeout, 0);
    assert_false(envelope_has(&p.envelope, KEY_TOPIC));
    assert_false(envelope_has(&p.envelope, KEY_SENDER));
    assert_false(envelope_has(&p.envelope, KEY_BODY_FD));
    assert_null(p.envelope.topic.data);
}

static void test_no_reply(void **state)
{
    PARSED(p, "{\"type\":\"call\",\"to\":\"org.example\",\"method\":\"Add\",\"no_reply\":true,"
              "\"more\":false}");

    assert_int_equal(p.result, 0);
    assert_true(p.envelope.no_reply);
    assert_false(p.envelope.more);
    assert_int_equal(p.envelope.id, 0);
}

static void test_event_values(void **state)
{
    PARSED(p, "{\"topic\":\"a.b\",\"type\":\"event\",\"id\":1,\"retain\":\"disk\","
              "\"ttl\":5,\"body\":\"\\u0000\"}");
    PARSED(to, "{\"to\":\":7\",\"topic\":\"a\",\"type\":\"event\"}");
    PARSED(bare, "{\"type\":\"event\",\"topic\":\"a\"}");

    assert_int_equal(p.result, 0);
    assert_int_equal(p.envelope.type, MESSAGE_EVENT);
    assert_true(span_is(p.envelope.topic, "a.b"));
    assert_true(span_is(to.envelope.to, ":7"));
    assert_true(span_is(p.envelope.retain, "disk"));
    assert_true(span_is(p.envelope.body, "\"\\u0000\""));
    assert_int_equal(p.envelope.id, 1);
    assert_int_equal(p.envelope.ttl, 5);

    assert_int_equal(bare.result, 0);
    assert_int_equal(bare.envelope.keys, 1u << KEY_TYPE | 1u << KEY_TOPIC);
    assert_int_equal(bare.envelope.id, 0);
    assert_int_equal(bare.envelope.fds, 0);
    assert_false(bare.envelope.no_reply);
    assert_null(bare.envelope.body.data);
}

static void test_answer_values(void **state)
{
    PARSED(error,
           "{\"type\":\"error\",\"to\":\":1\",\"id\":3,\"error\":\"a.B\",\"message\":\"x\\ny\"}");
    PARSED(cancel, "{\"type\":\"cancel\",\"to\":\":1\",\"id\":4}");
    CLEANUP(parsed_deinit)
    struct parsed broker = parse_broker(
        "{\"sender\":\"bus\",\"type\":\"error\",\"error\":\"bus.ParseError\",\"offset\":17,"
        "\"about\":{\"id\":1}}");
    CLEANUP(parsed_deinit)
    struct parsed ended =
        parse_broker("{\"sender\":\":9\",\"type\":\"cancel\",\"id\":1,\"reason\":\"timeout\"}");

    assert_int_equal(error.result, 0);
    assert_int_equal(error.envelope.type, MESSAGE_ERROR);
    assert_true(span_is(error.envelope.error, "a.B"));
    assert_true(span_is(error.envelope.message, "\"x\\ny\""));
    assert_int_equal(cancel.result, 0);
    assert_int_equal(cancel.envelope.type, MESSAGE_CANCEL);
    assert_int_equal(cancel.envelope.id, 4);
    assert_int_equal(broker.result, 0);
    assert_int_equal(broker.envelope.offset, 17);
    assert_true(span_is(broker.envelope.about, "{\"id\":1}"));
    assert_true(span_is(broker.envelope.sender, "bus"));
    assert_int_equal(ended.result, 0);
    assert_true(span_is(ended.envelope.reason, "timeout"));
}

/* What could be read before the line went wrong, for the error's `about`. */
static void test_about(void **state)
{
    PARSED(cut,
           "{\"type\":\"call\",\"id\":7,\"to\":\"org.example\",\"method\":\"Add\",\"body\":[}");
    PARSED(forged, "{\"type\":\"event\",\"topic\":\"a.b\",\"sender\":\":1\"}");
    PARSED(early, "{\"id\":0,\"type\":\"reply\",\"to\":\":3\"}");
    PARSED(bad_type, "{\"type\":\"x\",\"id\":3,\"to\":\"bus\"}");
    PARSED(bad_topic, "{\"type\":\"event\",\"topic\":\"a..b\",\"to\":\":5\"}");
    PARSED(nothing, "rubbish");

    assert_int_equal(cut.result, WIRE_PARSE_ERROR);
    assert_int_equal(cut.envelope.type, MESSAGE_CALL);
    assert_int_equal(cut.envelope.id, 7);
    assert_true(span_is(cut.envelope.to, "org.example"));

    assert_int_equal(forged.result, WIRE_INVALID_MESSAGE);
    assert_int_equal(forged.envelope.type, MESSAGE_EVENT);
    assert_true(span_is(forged.envelope.topic, "a.b"));

    assert_int_equal(early.result, WIRE_INVALID_MESSAGE);
    assert_int_equal(early.envelope.type, MESSAGE_REPLY);
    assert_true(span_is(early.envelope.to, ":3"));
    assert_int_equal(early.envelope.id, 0);

    assert_int_equal(bad_type.envelope.type, MESSAGE_NONE);
    assert_int_equal(bad_type.envelope.id, 3);

    assert_int_equal(bad_topic.result, WIRE_INVALID_MESSAGE);
    assert_null(bad_topic.envelope.topic.data);
    assert_true(span_is(bad_topic.envelope.to, ":5"));

    assert_int_equal(nothing.result, WIRE_PARSE_ERROR);
    assert_int_equal(nothing.envelope.type, MESSAGE_NONE);
    assert_int_equal(nothing.envelope.keys, 0);
}

static const char *const call_members[] = {
    "\"type\":\"call\"",  "\"id\":12",          "\"to\":\"org.example\"",
    "\"method\":\"Add\"", "\"body\":{\"a\":1}", "\"timeout\":5",
    "\"x\":null",
};

static void check_order(const unsigned *order)
{
    CLEANUP(text_deinit) struct text line = TEXT_INIT;

    text_append_string(&line, "{");
    for (size_t i = 0; i < ARRAY_SIZE(call_members); i++) {
        text_append_string(&line, i > 0 ? "," : "");
        text_append_string(&line, call_members[order[i]]);
    }
    text_append_string(&line, "}");
    PARSED(p, line.data);
    CHECK(p.result == 0, "%s: %s", line.data, p.fault.reason);
    assert_int_equal(p.envelope.type, MESSAGE_CALL);
    assert_int_equal(p.envelope.id, 12);
    assert_int_equal(p.envelope.timeout, 5);
    assert_true(span_is(p.envelope.to, "org.example"));
    assert_true(span_is(p.envelope.method, "Add"));
    assert_true(span_is(p.envelope.body, "{\"a\":1}"));
}

static void permute(unsigned *order, size_t fixed)
{
    if (fixed == ARRAY_SIZE(call_members)) {
        check_order(order);
        return;
    }
    for (size_t i = fixed; i < ARRAY_SIZE(call_members); i++) {
        unsigned taken = order[i];
        order[i] = order[fixed];
        order[fixed] = taken;
        permute(order, fixed + 1);
        order[fixed] = order[i];
        order[i] = taken;
    }
}

static void test_every_order(void **state)
{
    unsigned order[ARRAY_SIZE(call_members)];

    for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
        order[i] = i;
    permute(order, 0);
}

static const char *const known_keys[] = {
    "type",   "to",    "id",      "method",   "path",     "topic",   "body",
    "fds",    "error", "message", "no_reply", "no_start", "timeout", "more",
    "retain", "ttl",   "body_fd", "sender",   "retained", "group",
};

/* A known key must not get past in disguise: any one character written as escape. */
static void test_escaped_keys(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(known_keys); i++) {
        for (size_t at = 0; at < strlen(known_keys[i]); at++) {
            CLEANUP(text_deinit) struct text line = TEXT_INIT;
            text_printf(&line, "{\"type\":\"event\",\"topic\":\"a\",\"%.*s\\u%04x%s\":\":1\"}",
                        (int)at, known_keys[i], (unsigned)known_keys[i][at],
                        known_keys[i] + at + 1);
            PARSED(p, line.data);
            CHECK(p.result == WIRE_INVALID_MESSAGE, "%s", line.data);
            assert_int_equal(p.fault.offset, strlen("{\"type\":\"event\",\"topic\":\"a\","));
            assert_non_null(strstr(p.fault.reason, "backslash"));
        }
    }
}

/* Twice is refused for every known key, whatever its values; the second is named. */
static void test_every_key_twice(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(known_keys); i++) {
        CLEANUP(text_deinit) struct text line = TEXT_INIT;
        text_printf(&line, "{\"%s\":0,\"%s\":[],\"x\":0,\"x\":0}", known_keys[i], known_keys[i]);
        PARSED(p, line.data);
        CHECK(p.result == WIRE_INVALID_MESSAGE, "%s", line.data);
    }
}

/* A key that only looks like a known one is none. */
static void test_near_keys(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(known_keys); i++) {
        const char *key = known_keys[i];
        CLEANUP(text_deinit) struct text line = TEXT_INIT;
        text_printf(
            &line, "{\"type\":\"event\",\"topic\":\"a\",\"%sx\":0,\"x%s\":0,\"%.*s\":0,\"%c%s\":0}",
            key, key, (int)strlen(key) - 1, key, key[0] - 'a' + 'A', key + 1);
        PARSED(p, line.data);
        CHECK(p.result == 0, "%s: %s", line.data, p.fault.reason);
        assert_int_equal(p.envelope.keys, 1u << KEY_TYPE | 1u << KEY_TOPIC);
    }
}

static void test_type_names(void **state)
{
    static const char *const names[] = {"call", "reply", "error", "event", "cancel"};

    for (enum message_type type = MESSAGE_CALL; type <= MESSAGE_CANCEL; type++) {
        assert_string_equal(message_type_name(type), names[type - MESSAGE_CALL]);
        assert_int_equal(message_type_from_name(span_from(message_type_name(type))), type);
    }
    assert_int_equal(message_type_from_name(SPAN("")), MESSAGE_NONE);
    assert_int_equal(message_type_from_name(SPAN("calls")), MESSAGE_NONE);
    assert_int_equal(message_type_from_name(SPAN("cal")), MESSAGE_NONE);
}

/* Mutated lines: never out of bounds, the fault always inside the line, and valid
 * JSON is told from invalid just as the scanner does. */
static void test_mutations(void **state)
{
    static const char seed_line[] =
        "{\"type\":\"call\",\"id\":12,\"to\":\"org.example\",\"method\":\"Add\",\"path\":\"/p\","
        "\"body\":{\"k\":[1,\"\\u00e9\"]},\"timeout\":5,\"x\":\"\xc3\xa9\"}";
    static const char bytes[] = "{}[]:,\"\\ 0159.e-tfn\xc3\xa9\x01";
    struct random random = {.state = 31337};
    unsigned valid = 0;

    for (unsigned round = 0; round < 100000; round++) {
        char line[sizeof(seed_line)];
        size_t size = sizeof(line) - 1;
        memcpy(line, seed_line, sizeof(line));
        for (unsigned n = 1 + random_below(&random, 3); n > 0; n--)
            line[random_below(&random, (unsigned)size)] =
                bytes[random_below(&random, sizeof(bytes) - 1)];
        if (random_one_in(&random, 8))
            size = random_below(&random, (unsigned)size);

        CLEANUP(parsed_deinit) struct parsed p = parse(line, size, ENVELOPE_FROM_CLIENT);
        struct scan_fault fault;
        bool json = scan_text(p.line, p.size, &fault);
        CHECK((p.result == WIRE_PARSE_ERROR) == !json, "round %u: %.*s", round, (int)size, line);
        if (p.result > 0)
            assert_in_range(p.fault.offset, 0, size);
        if (!json && p.line[0] == '{')
            assert_int_equal(p.fault.offset, fault.position - p.line);
        valid += p.result == 0;
    }
    assert_in_range(valid, 1000, 99000);
}

/* Parses a line as the next one after those that the head has seen: it must be as if
 * there had been none. */
static void expect_next(struct envelope_head *head, struct span text, enum envelope_origin origin)
{
    CLEANUP(parsed_deinit) struct parsed p = parse(text.data, text.size, origin);
    struct envelope_fault fault = {.offset = SIZE_MAX};
    struct envelope envelope;

    int r = envelope_parse_next(head, &envelope, p.line, p.size, origin, &fault);
    CHECK(r == p.result, "%.*s: %d, not %d", SPAN_ARGS(text), r, p.result);
    CHECK(envelopes_are_alike(&envelope, &p.envelope), "%.*s: it is read otherwise",
          SPAN_ARGS(text));
    assert_int_equal(fault.offset, p.fault.offset);
    assert_ptr_equal(fault.key, p.fault.key);
    assert_ptr_equal(fault.reason, p.fault.reason);
}

static void expect_next_of(const struct vector *vector, void *userdata)
{
    static const char *const begins[] = {
        "{\"type\":\"event\",\"topic\":\"a.b\",\"body\":",
        "{\"x\":{\"body\":1},\"topic\":\"a\" , \"type\":\"event\",\"body\" : ",
        "{\"type\":\"event\",\"topic\":\"a\",\"to\":\":1\",\"body\":",
        "{\"type\":\"event\",\"topic\":\"a\",\"id\":7,\"body\":",
        " {\"type\":\"event\",\"topic\":\"a\",\"body\":",
        "{\"topic\":\"a\",\"type\":\"event\",\"x\":",
        "{\"type\":\"call\",\"to\":\"bus\",\"method\":\"A\",\"id\":1,\"body\":",
        "{\"sender\":\":1\",\"type\":\"event\",\"topic\":\"a.b\",\"body\":",
    };
    static const char *const ends[] = {
        "}",
        "} ",
        " }",
        "",
        "}}",
        ",\"x\":1}",
        ",\"body\":1}",
        ",\"id\":1}",
        ",\"type\":\"call\"}",
        ",\"fds\":1}",
        ",",
        "]",
        "x}",
    };
    enum envelope_origin origin = *(enum envelope_origin *)userdata;

    for (size_t i = 0; i < ARRAY_SIZE(begins); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(ends); j++) {
            CLEANUP(text_deinit) struct text plain = TEXT_INIT;
            CLEANUP(text_deinit) struct text line = TEXT_INIT;
            struct envelope_head head = {0};
            text_printf(&plain, "%snull}", begins[i]);
            text_append_string(&line, begins[i]);
            text_append(&line, vector->text, vector->size);
            text_append_string(&line, ends[j]);
            expect_next(&head, text_span(&plain), origin);
            expect_next(&head, text_span(&line), origin);
            expect_next(&head, text_span(&plain), origin);
        }
    }
}

static void test_next(void **state)
{
    enum envelope_origin origins[] = {ENVELOPE_FROM_CLIENT, ENVELOPE_FROM_BROKER};

    for (size_t i = 0; i < ARRAY_SIZE(origins); i++) {
        vectors_each("scan/y_values.txt", 0, expect_next_of, &origins[i]);
        vectors_each("scan/n_values.txt", 0, expect_next_of, &origins[i]);
    }
}

/* Heads of every length, up to more than is kept. */
static void test_next_long(void **state)
{
    for (size_t size = 1; size < 2 * ENVELOPE_HEAD_MAX; size++) {
        struct envelope_head head = {0};
        CLEANUP(text_deinit) struct text line = TEXT_INIT;
        text_append_string(&line, "{\"type\":\"event\",\"topic\":\"a\",\"x\":\"");
        for (size_t i = 0; i < size; i++)
            text_append_string(&line, "x");
        text_append_string(&line, "\",\"body\":0}");
        expect_next(&head, text_span(&line), ENVELOPE_FROM_CLIENT);
        assert_int_equal(head.size > 0, line.size - 2 <= ENVELOPE_HEAD_MAX);
        expect_next(&head, text_span(&line), ENVELOPE_FROM_CLIENT);
        expect_next(&head, (struct span){line.data, line.size - 2}, ENVELOPE_FROM_CLIENT);
        expect_next(&head, (struct span){line.data, line.size / 2}, ENVELOPE_FROM_CLIENT);
    }
}

/* One byte is another. */
static void test_next_other(void **state)
{
    const char *const lines[] = {
        "{\"type\":\"event\",\"topic\":\"a.b\",\"body\":[1]}",
        "{\"sender\":\":2\",\"topic\":\"a.b\",\"type\":\"event\",\"body\":\"x\"}",
    };

    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        for (size_t at = 0; at < strlen(lines[i]); at++) {
            enum envelope_origin origin = i == 0 ? ENVELOPE_FROM_CLIENT : ENVELOPE_FROM_BROKER;
            struct envelope_head head = {0};
            CLEANUP(text_deinit) struct text line = TEXT_INIT;
            text_append_string(&line, lines[i]);
            expect_next(&head, text_span(&line), origin);
            assert_true(head.size > 0);
            line.data[at] ^= 3;
            expect_next(&head, text_span(&line), origin);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_lines), cmocka_unit_test(test_broker_lines),
        cmocka_unit_test(test_forwarding),   cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_call_values),  cmocka_unit_test(test_no_reply),
        cmocka_unit_test(test_event_values), cmocka_unit_test(test_answer_values),
        cmocka_unit_test(test_about),        cmocka_unit_test(test_every_order),
        cmocka_unit_test(test_escaped_keys), cmocka_unit_test(test_every_key_twice),
        cmocka_unit_test(test_near_keys),    cmocka_unit_test(test_type_names),
        cmocka_unit_test(test_mutations),    cmocka_unit_test(test_next),
        cmocka_unit_test(test_next_long),    cmocka_unit_test(test_next_other),
    };

    return cmocka_run_group_tests_name("envelope", tests, NULL, NULL);
}
