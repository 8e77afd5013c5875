/* SPDX-License-Identifier: MIT */
/*
 * The JSON scanner, in its vector form and in its scalar form, which must agree on
 * everything down to the offset of a fault; with jansson as judge over generated
 * and mutated texts.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/base/text.h"
#include "libbus/wire/scan.h"
#include "tests/support/padded.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"
#include "tests/support/vectors.h"
#include "tests/unit/scan-scalar.h"

#define DIFFERENTIAL_SEED   20240229
#define DIFFERENTIAL_ROUNDS 60000

struct verdict {
    bool valid;
    size_t offset;
    const char *reason;
};

/* Both forms of the scanner over the same bytes. */
static struct verdict judge(const char *where, const void *text, size_t size)
{
    CLEANUP(cleanup_free) char *line = padded_new(text, size);
    struct scan_fault fault = {0}, scalar_fault = {0};
    struct verdict verdict = {.valid = scan_text(line, size, &fault)};
    bool scalar = scalar_scan_text(line, size, &scalar_fault);

    CHECK(verdict.valid == scalar, "%s: the scalar form says %d", where, scalar);
    if (verdict.valid)
        return verdict;
    assert_non_null(fault.position);
    assert_ptr_equal(fault.position, scalar_fault.position);
    assert_string_equal(fault.reason, scalar_fault.reason);
    assert_in_range(fault.position - line, 0, size);
    verdict.offset = (size_t)(fault.position - line);
    verdict.reason = fault.reason;
    assert_true(strlen(fault.reason) > 5);
    assert_true(fault.reason[strlen(fault.reason) - 1] != '.');
    return verdict;
}

static void check_valid(const struct vector *vector, void *userdata)
{
    struct verdict verdict = judge(vector->where, vector->text, vector->size);

    CHECK(verdict.valid, "%s: refused at %zu: %s", vector->where, verdict.offset, verdict.reason);
}

static void test_valid(void **state)
{
    assert_true(vectors_each("scan/y_values.txt", 0, check_valid, NULL) > 150);
}

static void check_invalid(const struct vector *vector, void *userdata)
{
    struct verdict verdict = judge(vector->where, vector->text, vector->size);

    CHECK(!verdict.valid, "%s: accepted", vector->where);
    vector_check_offset(vector, verdict.offset, verdict.reason);
}

static void test_invalid(void **state)
{
    assert_true(vectors_each("scan/n_values.txt", 0, check_invalid, NULL) > 250);
}

/* Whatever is cut off a container, a string or a literal leaves no text; what is
 * cut off leaves the scanner within its bounds. */
static void check_prefixes(const struct vector *vector, void *userdata)
{
    char last = vector->size ? vector->text[vector->size - 1] : ' ';

    if (vector->size > 300 || !strchr("]}\"", last))
        return;
    for (size_t size = 0; size < vector->size; size++)
        CHECK(!judge(vector->where, vector->text, size).valid,
              "%s: accepted when cut after %zu bytes", vector->where, size);
}

static void test_prefixes(void **state)
{
    vectors_each("scan/y_values.txt", 0, check_prefixes, NULL);
}

static struct verdict judge_string(size_t before, const char *special, size_t special_size,
                                   size_t after)
{
    char text[512];
    size_t size = 0;

    text[size++] = '"';
    memset(text + size, 'x', before);
    size += before;
    memcpy(text + size, special, special_size);
    size += special_size;
    memset(text + size, 'y', after);
    size += after;
    text[size++] = '"';
    return judge("a generated string", text, size);
}

/* Every length up to 200 with every kind of byte that stops the fast path, at every
 * place. */
static void test_string_positions(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        bool valid;
        bool at_first; /* a refusal is at the very byte */
    } specials[] = {
        {"z", 1, true, false},
        {" ", 1, true, false},
        {"\x7f", 1, true, false},
        {"\\n", 2, true, false},
        {"\\\\", 2, true, false},
        {"\\\"", 2, true, false},
        {"\\u00e9", 6, true, false},
        {"\\ud83d\\ude00", 12, true, false},
        {"\xc3\xa9", 2, true, false},
        {"\xe2\x82\xac", 3, true, false},
        {"\xf0\x9f\x98\x80", 4, true, false},
        {"\x1f", 1, false, true},
        {"\0", 1, false, true},
        {"\t", 1, false, true},
        {"\r", 1, false, true},
        {"\x80", 1, false, true},
        {"\xff", 1, false, true},
        {"\xc3", 1, false, false},
        {"\xe2\x82", 2, false, false},
        {"\xed\xa0\x80", 3, false, false},
        {"\\x", 2, false, false},
        {"\\ud800", 6, false, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(specials); i++) {
        for (size_t length = 0; length <= 200; length++) {
            for (size_t before = 0; before <= length; before++) {
                struct verdict verdict =
                    judge_string(before, specials[i].bytes, specials[i].size, length - before);
                if (verdict.valid != specials[i].valid ||
                    (!verdict.valid && (verdict.offset < before + 1 ||
                                        verdict.offset > before + 1 + specials[i].size ||
                                        (specials[i].at_first && verdict.offset != before + 1))))
                    fail_msg("special %zu after %zu of %zu bytes: %s, offset %zu", i, before,
                             length, verdict.valid ? "accepted" : verdict.reason, verdict.offset);
            }
        }
    }
}

/* A string whose quote never comes, of every length: the end is seen at the LF. */
static void test_string_without_end(void **state)
{
    char text[256];

    memset(text, 'x', sizeof(text));
    text[0] = '"';
    for (size_t size = 1; size <= sizeof(text); size++) {
        struct verdict verdict = judge("an open string", text, size);
        assert_false(verdict.valid);
        assert_int_equal(verdict.offset, size);
    }
}

static void test_string_result(void **state)
{
    static const struct {
        const char *text;
        size_t size;
        bool escaped;
    } cases[] = {
        {"\"", 1, false},
        {"a\"b\"", 2, false},
        {"a\\n\"", 4, true},
        {"\\\\\"\"", 3, true},
        {"\xc3\xa9\"", 3, false},
        {"0123456789abcdef\"", 17, false},
        {"0123456789abcdef\\/\"", 19, true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(cleanup_free) char *line = padded_new(cases[i].text, strlen(cases[i].text));
        struct scan_fault fault;
        bool escaped = !cases[i].escaped, scalar_escaped = !cases[i].escaped;

        assert_ptr_equal(scan_string(line, &escaped, &fault), line + cases[i].size);
        assert_ptr_equal(scalar_scan_string(line, &scalar_escaped, &fault), line + cases[i].size);
        assert_int_equal(escaped, cases[i].escaped);
        assert_int_equal(scalar_escaped, cases[i].escaped);
    }
}

/* scan_value() stops right after the value, whatever follows. */
static void test_value_end(void **state)
{
    static const struct {
        const char *text;
        size_t size;
    } cases[] = {
        {"1,", 1},    {"null}", 4}, {"true]", 4},       {"\"a\" :", 3},  {"[] []", 2},
        {"{}x", 2},   {"0x", 1},    {"-1.5e3 ", 6},     {"[1, 2 ],", 7}, {"\"\"\"", 2},
        {"nullx", 4}, {"00", 0},    {"{\"a\":[]}}", 8}, {"false\r", 5},  {"1.", 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(cleanup_free) char *line = padded_new(cases[i].text, strlen(cases[i].text));
        struct scan_fault fault;
        const char *end = scan_value(line, 0, &fault);

        assert_ptr_equal(scalar_scan_value(line, 0, &fault), end);
        if (cases[i].size > 0)
            assert_ptr_equal(end, line + cases[i].size);
        else
            assert_null(end);
    }
}

static void test_space(void **state)
{
    CLEANUP(cleanup_free) char *line = padded_new(" \t\r \v", 5);
    CLEANUP(cleanup_free) char *empty = padded_new("", 0);

    assert_ptr_equal(scan_space(line), line + 4);
    assert_ptr_equal(scan_space(line + 4), line + 4);
    assert_ptr_equal(scan_space(empty), empty);
}

static void append_nested(struct text *text, unsigned depth, const char *open, const char *close)
{
    for (unsigned i = 0; i < depth; i++)
        text_append_string(text, open);
    for (unsigned i = 0; i < depth; i++)
        text_append_string(text, close);
}

static bool nested_is_valid(unsigned depth, unsigned around, const char *open, const char *close)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;
    struct scan_fault fault, scalar_fault;

    append_nested(&text, depth, open, close);
    CLEANUP(cleanup_free) char *line = padded_new(text.data, text.size);
    const char *end = scan_value(line, around, &fault);
    assert_ptr_equal(scalar_scan_value(line, around, &scalar_fault), end);
    if (end)
        assert_ptr_equal(end, line + text.size);
    return end;
}

static void test_depth(void **state)
{
    static const char *const forms[][2] = {{"[", "]"}, {"[ ", " ]"}};

    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        const char *open = forms[i][0], *close = forms[i][1];
        assert_true(nested_is_valid(1, 0, open, close));
        assert_true(nested_is_valid(127, 0, open, close));
        assert_true(nested_is_valid(128, 0, open, close));
        assert_false(nested_is_valid(129, 0, open, close));
        assert_false(nested_is_valid(1000000, 0, open, close));
        /* What is around counts as well. */
        assert_true(nested_is_valid(127, 1, open, close));
        assert_false(nested_is_valid(128, 1, open, close));
        assert_true(nested_is_valid(1, 127, open, close));
        assert_false(nested_is_valid(1, 128, open, close));
    }
}

/* Arrays and objects in every order, so that each level's kind is remembered right. */
static void test_depth_mixed(void **state)
{
    struct random random = {.state = 7};

    for (unsigned round = 0; round < 2000; round++) {
        char text[2048], kinds[SCAN_DEPTH_MAX];
        unsigned depth = 1 + random_below(&random, SCAN_DEPTH_MAX), wrong = depth;
        size_t size = 0;

        for (unsigned i = 0; i < depth; i++) {
            kinds[i] = random_one_in(&random, 2) ? '{' : '[';
            text[size++] = kinds[i];
            if (kinds[i] == '{')
                size += (size_t)sprintf(text + size, "\"k\":");
        }
        text[size++] = '0';
        if (random_one_in(&random, 2))
            wrong = random_below(&random, depth);
        for (unsigned i = depth; i-- > 0;) {
            char close = kinds[i] == '{' ? '}' : ']';
            text[size++] = i == wrong ? (close == '}' ? ']' : '}') : close;
        }
        CHECK(judge("nested", text, size).valid == (wrong == depth), "round %u: %.*s", round,
              (int)size, text);
    }
}

/* ------------------------------------------------- jansson as judge */

/* *ret_comparable is false for texts on which the two may differ, by design: jansson
 * knows no numbers beyond its types, its depth limit is another, it takes no NUL in a
 * key, and a NUL after the value ends its input. */
static bool jansson_accepts(const char *text, size_t size, bool *ret_comparable)
{
    json_error_t error;
    json_t *value = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

    *ret_comparable = !memchr(text, 0, size);
    if (value) {
        json_decref(value);
        return true;
    }
    enum json_error_code code = json_error_code(&error);
    if (code == json_error_numeric_overflow || code == json_error_stack_overflow ||
        code == json_error_null_byte_in_key)
        *ret_comparable = false;
    return false;
}

static void generate_string(struct random *random, struct text *text)
{
    static const char *const pieces[] = {
        "a",
        "b ",
        "\\n",
        "\\\"",
        "\\\\",
        "\\u00e9",
        "\\ud83d\\ude00",
        "\\u0000",
        "\xc3\xa9",
        "\xe2\x82\xac",
        "\xf0\x9f\x98\x80",
        "0123456789abcdef",
        "\x7f",
        "/",
    };

    text_append_string(text, "\"");
    for (unsigned n = random_below(random, 6); n > 0; n--)
        text_append_string(text, pieces[random_below(random, ARRAY_SIZE(pieces))]);
    text_append_string(text, "\"");
}

static void generate_space(struct random *random, struct text *text)
{
    if (random_one_in(random, 6))
        text_append_string(text, (const char *[]){" ", "\t", "\r", "  "}[random_below(random, 4)]);
}

static void generate_value(struct random *random, struct text *text, unsigned depth)
{
    static const char *const scalars[] = {"null", "true",  "false",  "0",    "-0",
                                          "12",   "-3.25", "1.5e10", "2E-3", "9007199254740993"};
    unsigned kind = random_below(random, depth > 5 ? 2 : 4);
    unsigned count = random_below(random, 4);

    generate_space(random, text);
    if (kind == 0) {
        text_append_string(text, scalars[random_below(random, ARRAY_SIZE(scalars))]);
    } else if (kind == 1) {
        generate_string(random, text);
    } else {
        text_append_string(text, kind == 2 ? "[" : "{");
        for (unsigned i = 0; i < count; i++) {
            if (i > 0)
                text_append_string(text, ",");
            generate_space(random, text);
            if (kind == 3) {
                generate_string(random, text);
                generate_space(random, text);
                text_append_string(text, ":");
            }
            generate_value(random, text, depth + 1);
        }
        generate_space(random, text);
        text_append_string(text, kind == 2 ? "]" : "}");
    }
    generate_space(random, text);
}

/* Changes, drops, doubles or inserts bytes that matter to JSON. LF is left out: it
 * never stands inside a line. */
static void mutate(struct random *random, struct text *text)
{
    static const char bytes[] =
        "{}[]:,\"\\/ \t\r0123456789+-.eEaunltrfs\xc3\xa9\xed\xa0\x80\xf0\x9f"
        "\xff\x01\x1f\x7f";

    for (unsigned n = 1 + random_below(random, 3); n > 0 && text->size > 0; n--) {
        size_t at = random_below(random, (unsigned)text->size);
        char byte = bytes[random_below(random, sizeof(bytes) - 1)];

        switch (random_below(random, 4)) {
        case 0:
            text->data[at] = byte;
            break;
        case 1:
            memmove(text->data + at, text->data + at + 1, text->size - at - 1);
            text->size--;
            break;
        case 2:
            text_append(text, &byte, 1);
            memmove(text->data + at + 1, text->data + at, text->size - 1 - at);
            text->data[at] = byte;
            break;
        case 3:
            text->size = at;
            break;
        }
    }
}

static void compare_with_jansson(const struct text *text, unsigned round, unsigned *valid)
{
    bool comparable, theirs = jansson_accepts(text->data, text->size, &comparable);
    struct verdict ours = judge("differential", text->data, text->size);

    *valid += ours.valid;
    if (comparable && ours.valid != theirs)
        fail_msg("seed %d round %u: we say %s, jansson says %s: %.*s", DIFFERENTIAL_SEED, round,
                 ours.valid ? "valid" : ours.reason, theirs ? "valid" : "invalid", (int)text->size,
                 text->data);
}

static void test_differential(void **state)
{
    struct random random = {.state = DIFFERENTIAL_SEED};
    unsigned valid = 0;

    for (unsigned round = 0; round < DIFFERENTIAL_ROUNDS; round++) {
        CLEANUP(text_deinit) struct text text = TEXT_INIT;
        unsigned before = valid;

        generate_value(&random, &text, 0);
        assert_false(text.failed);
        compare_with_jansson(&text, round, &valid);
        CHECK(valid == before + 1, "round %u: a generated value was refused", round);
        mutate(&random, &text);
        compare_with_jansson(&text, round, &valid);
    }
    /* The mutations must hit and miss. */
    assert_in_range(valid, DIFFERENTIAL_ROUNDS * 11 / 10, DIFFERENTIAL_ROUNDS * 19 / 10);
}

static void check_vector_with_jansson(const struct vector *vector, void *userdata)
{
    bool comparable, theirs = jansson_accepts(vector->text, vector->size, &comparable);
    struct verdict ours = judge(vector->where, vector->text, vector->size);
    bool too_deep = !ours.valid && strstr(ours.reason, "deep");

    CHECK(!comparable || too_deep || ours.valid == theirs, "%s: jansson says %s", vector->where,
          theirs ? "valid" : "invalid");
}

static void test_vectors_with_jansson(void **state)
{
    vectors_each("scan/y_values.txt", 0, check_vector_with_jansson, NULL);
    vectors_each("scan/n_values.txt", 0, check_vector_with_jansson, NULL);
}

/* Bytes without any plan: nothing may be read out of bounds, both forms agree. */
static void test_random_bytes(void **state)
{
    struct random random = {.state = 99};

    for (unsigned round = 0; round < 50000; round++) {
        char bytes[80];
        unsigned size = random_below(&random, sizeof(bytes));

        for (unsigned i = 0; i < size; i++) {
            bytes[i] = (char)random_below(&random, 256);
            if (bytes[i] == '\n')
                bytes[i] = '"';
        }
        if (size > 0)
            bytes[0] = "\"[{1"[random_below(&random, 4)];
        judge("random bytes", bytes, size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),
        cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_string_positions),
        cmocka_unit_test(test_string_without_end),
        cmocka_unit_test(test_string_result),
        cmocka_unit_test(test_value_end),
        cmocka_unit_test(test_space),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_depth_mixed),
        cmocka_unit_test(test_vectors_with_jansson),
        cmocka_unit_test(test_differential),
        cmocka_unit_test(test_random_bytes),
    };

    return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
