/* SPDX-License-Identifier: MIT */
/*
 * Names, topics, patterns, methods and destinations by their vectors, every single
 * byte at every place of a segment, and matching against a matcher written another
 * way.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/wire/grammar.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"
#include "tests/support/vectors.h"

#define SEED 4711

typedef const char *checker(struct span text, size_t *ret_offset);

/* In memory of just the right size, for AddressSanitizer. */
static const char *check_exact(checker *check, const char *text, size_t size, size_t *ret_offset)
{
    CLEANUP(cleanup_free) char *copy = malloc(size ? size : 1);

    memcpy(copy, text, size);
    return check((struct span){copy, size}, ret_offset);
}

static void expect_right(const struct vector *vector, void *userdata)
{
    size_t offset = 12345;
    const char *reason = check_exact(*(checker **)userdata, vector->text, vector->size, &offset);

    CHECK(!reason, "%s: refused at %zu: %s", vector->where, offset, reason);
    assert_int_equal(offset, 12345);
}

static void expect_wrong(const struct vector *vector, void *userdata)
{
    checker *check = *(checker **)userdata;
    size_t offset = SIZE_MAX;
    const char *reason = check_exact(check, vector->text, vector->size, &offset);

    CHECK(reason, "%s: accepted", vector->where);
    vector_check_offset(vector, offset, reason);
    assert_in_range(offset, 0, vector->size);
    assert_true(reason[strlen(reason) - 1] != '.');
    assert_string_equal(check_exact(check, vector->text, vector->size, NULL), reason);
}

static void check_files(checker *check, const char *right, const char *wrong)
{
    vectors_each(right, 0, expect_right, &check);
    vectors_each(wrong, 0, expect_wrong, &check);
}

static void test_names(void **state)
{
    check_files(grammar_check_name, "grammar/y_names.txt", "grammar/n_names.txt");
}

static void test_topics(void **state)
{
    check_files(grammar_check_topic, "grammar/y_topics.txt", "grammar/n_topics.txt");
}

static void test_patterns(void **state)
{
    checker *check = grammar_check_pattern;

    check_files(check, "grammar/y_patterns.txt", "grammar/n_patterns.txt");
    vectors_each("grammar/y_topics.txt", 0, expect_right, &check);
}

static void test_methods(void **state)
{
    checker *check = grammar_check_method;

    check_files(check, "grammar/y_methods.txt", "grammar/n_methods.txt");
    vectors_each("grammar/y_names.txt", 0, expect_right, &check);
}

static void test_groups(void **state)
{
    check_files(grammar_check_group, "grammar/y_groups.txt", "grammar/n_groups.txt");
}

static void test_destinations(void **state)
{
    checker *check = grammar_check_destination;

    check_files(check, "grammar/y_destinations.txt", "grammar/n_destinations.txt");
    vectors_each("grammar/y_names.txt", 0, expect_right, &check);
}

/* Each of the 256 bytes, as the first and as a later one of a segment. */
static void test_every_byte(void **state)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
        bool later = letter || (byte >= '0' && byte <= '9') || byte == '-';
        char first[] = {'a', '.', (char)byte, 'b'};
        char second[] = {'a', '.', 'b', (char)byte, 'c'};
        struct span at_first = {first, sizeof(first)}, at_later = {second, sizeof(second)};

        if (byte == '.') {
            assert_non_null(grammar_check_name(at_first, NULL));
            assert_null(grammar_check_name(at_later, NULL));
            continue;
        }
        assert_int_equal(!grammar_check_name(at_first, NULL), letter);
        assert_int_equal(!grammar_check_name(at_later, NULL), later);
        assert_int_equal(!grammar_check_method(at_first, NULL), letter);
        assert_int_equal(!grammar_check_group((struct span){first + 2, 1}, NULL), later);
        assert_int_equal(!grammar_check_method(at_later, NULL), later);
        assert_int_equal(!grammar_check_topic(at_first, NULL), later);
        assert_int_equal(!grammar_check_topic(at_later, NULL), later);
        assert_int_equal(!grammar_check_pattern(at_first, NULL), later);
        assert_int_equal(!grammar_check_pattern(at_later, NULL), later);
    }
}

static void test_lengths(void **state)
{
    char text[GRAMMAR_NAME_MAX + 10];

    memset(text, 'x', sizeof(text));
    text[1] = '.';
    for (size_t size = 3; size <= sizeof(text); size++) {
        struct span span = {text, size};
        bool fits = size <= GRAMMAR_NAME_MAX, fits_name = size <= 246;
        assert_int_equal(!grammar_check_name(span, NULL), fits_name);
        assert_int_equal(!grammar_check_topic(span, NULL), fits);
        assert_int_equal(!grammar_check_pattern(span, NULL), fits);
        assert_int_equal(!grammar_check_method(span, NULL), fits);
        assert_int_equal(!grammar_check_destination(span, NULL), fits_name);
    }
}

static void test_unique_names(void **state)
{
    static const struct {
        const char *text;
        uint64_t number;
    } cases[] = {
        {":1", 1},
        {":9", 9},
        {":10", 10},
        {":42", 42},
        {":1234567890123456", 1234567890123456},
        {":9007199254740991", 9007199254740991},
        {":9007199254740992", 0},
        {":10000000000000000", 0},
        {":18446744073709551617", 0},
        {":0", 0},
        {":00", 0},
        {":01", 0},
        {":", 0},
        {"", 0},
        {"1", 0},
        {"42", 0},
        {":-1", 0},
        {": 1", 0},
        {":1 ", 0},
        {":1a", 0},
        {"::1", 0},
        {"bus", 0},
        {"org.example", 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        CHECK(grammar_unique_name(span_from(cases[i].text)) == cases[i].number, "%s",
              cases[i].text);
}

static void test_reserved(void **state)
{
    static const char *const reserved[] = {"bus", "bus.name", "bus.x.y", "bus.#", "bus.*"};
    static const char *const free[] = {"busy", "bu", "b", "bus-x.y", "a.bus", "Bus", "Bus.x", "*"};

    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
        assert_true(grammar_is_reserved(span_from(reserved[i])));
    for (size_t i = 0; i < ARRAY_SIZE(free); i++)
        assert_false(grammar_is_reserved(span_from(free[i])));
    assert_false(grammar_is_reserved((struct span){"bus", 2}));
    assert_true(grammar_is_reserved((struct span){"busy", 3}));
}

static void test_wildcards(void **state)
{
    static const char *const with[] = {"*", "#", "a.*", "*.a", "a.#", "a.*.b"};
    static const char *const without[] = {"a", "a.b", "bus.name", "-"};

    for (size_t i = 0; i < ARRAY_SIZE(with); i++)
        assert_true(grammar_has_wildcard(span_from(with[i])));
    for (size_t i = 0; i < ARRAY_SIZE(without); i++)
        assert_false(grammar_has_wildcard(span_from(without[i])));
    assert_false(grammar_has_wildcard((struct span){"a.*", 1}));
}

static void check_match(const struct vector *vector, void *userdata)
{
    const char *space = memchr(vector->text, ' ', vector->size);
    bool expected = strcmp(vector->field[0], "yes") == 0;

    assert_non_null(space);
    CHECK(expected || strcmp(vector->field[0], "no") == 0, "%s: not yes or no", vector->where);
    struct span pattern = {vector->text, (size_t)(space - vector->text)};
    struct span topic = {space + 1, vector->size - pattern.size - 1};
    CHECK(!grammar_check_pattern(pattern, NULL), "%s: not a pattern", vector->where);
    CHECK(!grammar_check_topic(topic, NULL), "%s: not a topic", vector->where);
    CHECK(grammar_matches(pattern, topic) == expected, "%s: expected %s", vector->where,
          vector->field[0]);
}

static void test_matches(void **state)
{
    assert_true(vectors_each("grammar/matches.txt", 1, check_match, NULL) > 80);
}

/* By recursion over the text, one byte after the other: slow and plain. */
static bool naive_matches(const char *pattern, const char *topic)
{
    if (*pattern == '#')
        return true;
    if (*pattern == '*') {
        while (*topic && *topic != '.')
            topic++;
        return naive_matches(pattern + 1, topic);
    }
    if (!*topic)
        return !*pattern || strcmp(pattern, ".#") == 0;
    return *pattern == *topic && naive_matches(pattern + 1, topic + 1);
}

static void random_text(struct random *random, char *text, bool wildcards)
{
    static const char *const segments[] = {"a", "b", "ab", "bus", "c"};
    unsigned count = 1 + random_below(random, 4);

    *text = '\0';
    for (unsigned i = 0; i < count; i++) {
        const char *segment = segments[random_below(random, ARRAY_SIZE(segments))];
        if (wildcards && random_one_in(random, 3))
            segment = "*";
        if (wildcards && i + 1 == count && random_one_in(random, 3))
            segment = "#";
        strcat(text, i > 0 ? "." : "");
        strcat(text, segment);
    }
}

static void test_matches_at_random(void **state)
{
    struct random random = {.state = SEED};
    unsigned matched = 0;

    for (unsigned round = 0; round < 200000; round++) {
        char pattern[64], topic[64];
        random_text(&random, pattern, true);
        random_text(&random, topic, false);

        bool own = strcmp(topic, "bus") == 0 || strncmp(topic, "bus.", 4) == 0;
        bool expected =
            naive_matches(pattern, topic) && !(own && (*pattern == '*' || *pattern == '#'));
        CHECK(grammar_matches(span_from(pattern), span_from(topic)) == expected,
              "seed %d: pattern %s, topic %s: expected %d", SEED, pattern, topic, expected);
        matched += expected;
    }
    assert_in_range(matched, 10000, 190000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_topics),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_destinations),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_unique_names),
        cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_wildcards),
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_matches_at_random),
    };

    return cmocka_run_group_tests_name("grammar", tests, NULL, NULL);
}
