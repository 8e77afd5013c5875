/* SPDX-License-Identifier: MIT */
/*
 * Growing texts, and that any bytes at all become a valid JSON string.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/base/text.h"
#include "libbus/base/utf8.h"
#include "libbus/wire/scan.h"
#include "tests/support/padded.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

static void test_append(void **state)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;

    text_append(&text, "ab", 2);
    text_append_string(&text, "");
    text_append_string(&text, "cd");
    text_append_span(&text, (struct span){"efgh", 2});
    text_append_span(&text, (struct span){NULL, 0});
    text_printf(&text, "-%d-%s", -7, "x");
    assert_string_equal(text.data, "abcdef--7-x");
    assert_int_equal(text.size, strlen(text.data));
    assert_true(span_is(text_span(&text), "abcdef--7-x"));
    assert_false(text.failed);
    text_deinit(&text);
    assert_null(text.data);
    assert_int_equal(text.size, 0);
}

/* Across every reallocation, and always with its NUL. */
static void test_growth(void **state)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;

    for (unsigned i = 0; i < 5000; i++) {
        text_append(&text, &"0123456789"[i % 10], 1);
        assert_int_equal(text.size, i + 1);
        assert_int_equal(text.data[i + 1], '\0');
    }
    for (unsigned i = 0; i < 5000; i++)
        assert_int_equal(text.data[i], '0' + i % 10);
    text_printf(&text, "%*s", 100000, "end");
    assert_int_equal(text.size, 105000);
    assert_string_equal(text.data + 104997, "end");
}

static void test_numbers(void **state)
{
    static const struct {
        uint64_t value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {7, "7"},
        {10, "10"},
        {9007199254740991, "9007199254740991"},
        {UINT64_MAX, "18446744073709551615"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(text_deinit) struct text text = TEXT_INIT;
        text_append_unsigned(&text, cases[i].value);
        assert_string_equal(text.data, cases[i].text);
    }
}

/* No memory is remembered, whatever is appended after it. */
static void test_failure(void **state)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;

    text_append_string(&text, "kept");
    text.failed = true;
    text_append_string(&text, "x");
    text_append_unsigned(&text, 1);
    text_printf(&text, "%d", 1);
    text_append_json_string(&text, SPAN("x"));
    assert_string_equal(text.data, "kept");
    assert_true(text.failed);
}

static void check_json(const char *bytes, size_t size, const char *expected)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;

    text_append_json_string(&text, (struct span){bytes, size});
    assert_string_equal(text.data, expected);
}

static void test_json_strings(void **state)
{
    check_json("", 0, "\"\"");
    check_json("abc", 3, "\"abc\"");
    check_json("a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\"");
    check_json("\n\t\r\x1f", 4, "\"\\u000a\\u0009\\u000d\\u001f\"");
    check_json("a\0b", 3, "\"a\\u0000b\"");
    check_json("\x7f", 1, "\"\x7f\"");
    check_json("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9,
               "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
    check_json("\xff", 1, "\"\xef\xbf\xbd\"");
    check_json("a\xc3", 2, "\"a\xef\xbf\xbd\"");
    check_json("\xc3(", 2, "\"\xef\xbf\xbd(\"");
    check_json("\xe2\x82", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"");
}

/* Escapes may be written one way or another; what they mean may not differ. */
static void test_random_json_strings(void **state)
{
    struct random random = {.state = 5};

    for (unsigned round = 0; round < 20000; round++) {
        CLEANUP(text_deinit) struct text text = TEXT_INIT;
        unsigned size = random_below(&random, 30);
        CLEANUP(cleanup_free) char *bytes = malloc(size + 1);
        struct scan_fault fault;
        bool ascii = random_one_in(&random, 2);

        for (unsigned i = 0; i < size; i++)
            bytes[i] = (char)random_below(&random, ascii ? 128 : 256);
        text_append_json_string(&text, (struct span){bytes, size});
        CLEANUP(cleanup_free) char *line = padded_new(text.data, text.size);
        CHECK(scan_text(line, text.size, &fault), "%s: %s", text.data, fault.reason);
        if (ascii) {
            json_t *string =
                json_loadb(text.data, text.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
            assert_non_null(string);
            assert_int_equal(json_string_length(string), size);
            assert_memory_equal(json_string_value(string), bytes, size);
            json_decref(string);
        }
    }
}

/* Every sequence of up to four bytes' first two, and the borders of the later ones,
 * against the definition by code points. */
static bool is_utf8(const unsigned char *p, size_t size)
{
    static const unsigned first[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned lead = p[0], code;

    if (size == 1)
        return lead < 0x80;
    code = lead & (0xffu >> (size + 1));
    if ((lead & (0xff00u >> size & 0xff)) != (0xff00u >> size & 0xff) ||
        (lead & (0x80u >> size)) != 0)
        return false;
    for (size_t i = 1; i < size; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return false;
        code = code << 6 | (p[i] & 0x3f);
    }
    return code >= first[size] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

static void test_utf8(void **state)
{
    static const unsigned char later[] = {0x00, 0x41, 0x7f, 0x80, 0xbf, 0xc0, 0xff};

    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < 256; b++)
            for (size_t c = 0; c < sizeof(later); c++)
                for (size_t d = 0; d < sizeof(later); d++) {
                    unsigned char bytes[4] = {(unsigned char)a, (unsigned char)b, later[c],
                                              later[d]};
                    size_t expected = 0;
                    for (size_t size = 1; size <= 4 && expected == 0; size++)
                        expected = is_utf8(bytes, size) ? size : 0;
                    for (size_t left = 1; left <= 4; left++)
                        if (utf8_sequence((char *)bytes, left) != (expected <= left ? expected : 0))
                            fail_msg("%02x %02x %02x %02x, %zu left: %zu", a, b, bytes[2], bytes[3],
                                     left, utf8_sequence((char *)bytes, left));
                }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),       cmocka_unit_test(test_growth),
        cmocka_unit_test(test_numbers),      cmocka_unit_test(test_failure),
        cmocka_unit_test(test_json_strings), cmocka_unit_test(test_random_json_strings),
        cmocka_unit_test(test_utf8),
    };

    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
