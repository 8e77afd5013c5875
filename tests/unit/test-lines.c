/* SPDX-License-Identifier: MIT */
/*
 * Framing: the same stream cut in every way gives the same lines at the same
 * offsets, and what is too long is skipped and told once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/base/text.h"
#include "libbus/wire/lines.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

#define SEED 1848

/* Plays the caller of lines_next(): keeps what was not consumed, and nothing else.
 * What comes out is written down, one row a result. */
struct feed {
    struct lines lines;
    char *kept;
    size_t size;
    uint64_t fed;
    struct text log;
};

static void feed_init(struct feed *feed, size_t max)
{
    *feed = (struct feed){.log = TEXT_INIT};
    lines_init(&feed->lines, max);
}

static void feed_deinit(struct feed *feed)
{
    free(feed->kept);
    text_deinit(&feed->log);
}

static void feed_log(struct feed *feed, enum lines_result result, const struct line *line)
{
    if (result == LINES_LINE) {
        assert_int_equal(line->end - line->start, line->text.size + 1);
        text_printf(&feed->log, "%llu:", (unsigned long long)line->start);
        text_append_span(&feed->log, line->text);
        text_append_string(&feed->log, "\n");
    } else {
        assert_int_equal(result, LINES_TOO_LONG);
        assert_int_equal(line->text.size, 0);
        text_printf(&feed->log, "%llu-%llu too long\n", (unsigned long long)line->start,
                    (unsigned long long)line->end);
    }
}

static void feed_bytes(struct feed *feed, const char *data, size_t size)
{
    /* New memory of just the right size each time: a pointer kept would be seen. */
    char *bytes = malloc(feed->size + size + 1);
    size_t position = 0;

    if (feed->size > 0)
        memcpy(bytes, feed->kept, feed->size);
    memcpy(bytes + feed->size, data, size);
    size += feed->size;
    feed->fed += size - feed->size;
    free(feed->kept);
    for (;;) {
        struct line line;
        size_t consumed = SIZE_MAX;
        enum lines_result result =
            lines_next(&feed->lines, bytes + position, size - position, &consumed, &line);
        assert_in_range(consumed, 0, size - position);
        if (result != LINES_MORE)
            feed_log(feed, result, &line);
        position += consumed;
        assert_int_equal(feed->lines.position, feed->fed - (size - position));
        if (result == LINES_MORE)
            break;
    }
    feed->size = size - position;
    feed->kept = malloc(feed->size + 1);
    memcpy(feed->kept, bytes + position, feed->size);
    free(bytes);
    /* What is kept is the beginning of a line that may still be short enough. */
    assert_in_range(feed->size, 0, feed->lines.max);
}

static void check_whole(size_t max, const char *stream, const char *expected)
{
    CLEANUP(feed_deinit) struct feed feed;

    feed_init(&feed, max);
    feed_bytes(&feed, stream, strlen(stream));
    assert_string_equal(feed.log.data ? feed.log.data : "", expected);
}

static void check_chunked(size_t max, const char *stream, size_t chunk, const char *expected)
{
    CLEANUP(feed_deinit) struct feed feed;

    feed_init(&feed, max);
    for (size_t i = 0; i < strlen(stream); i += chunk)
        feed_bytes(&feed, stream + i, MIN(chunk, strlen(stream) - i));
    assert_string_equal(feed.log.data ? feed.log.data : "", expected);
}

static const struct {
    size_t max;
    const char *stream;
    const char *expected;
} cases[] = {
    {100, "", ""},
    {100, "abc", ""},
    {100, "abc\n", "0:abc\n"},
    {100, "abc\nde\n", "0:abc\n4:de\n"},
    {100, "abc\nde", "0:abc\n"},
    {100, "\n", ""},
    {100, "\n\n\n", ""},
    {100, " \n\t\r\n\r\n  \t \n", ""},
    {100, "\na\n\n b \n\n", "1:a\n4: b \n"},
    {100, "a\r\nb\r\n", "0:a\r\n3:b\r\n"},
    {100, "\v\n", "0:\v\n"},
    {100, "{}{}\n", "0:{}{}\n"},
    /* The limit counts the LF. */
    {4, "abc\n", "0:abc\n"},
    {4, "abcd\n", "0-5 too long\n"},
    {4, "abcde\nx\n", "0-6 too long\n6:x\n"},
    {4, "abcd", ""},
    {4, "abcdefgh", ""},
    {4, "ok\nabcdefgh\nok\nabcdefghijkl\nok\n",
     "0:ok\n3-12 too long\n12:ok\n15-28 too long\n28:ok\n"},
    {4, "abcdefgh\nabcdefgh\n", "0-9 too long\n9-18 too long\n"},
    /* Too long and blank is too long: it had to be held as anything else. */
    {4, "        \nx\n", "0-9 too long\n9:x\n"},
    {4, "   \nx\n", "4:x\n"},
    {1, "\n\n", ""},
    {1, "a\n", "0-2 too long\n"},
    {2, "a\nbc\nd\n", "0:a\n2-5 too long\n5:d\n"},
};

static void test_whole(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        check_whole(cases[i].max, cases[i].stream, cases[i].expected);
}

static void test_chunks(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        for (size_t chunk = 1; chunk <= 12; chunk++)
            check_chunked(cases[i].max, cases[i].stream, chunk, cases[i].expected);
}

static void random_stream(struct random *random, struct text *stream)
{
    for (unsigned n = 3 + random_below(random, 10); n > 0; n--) {
        unsigned length =
            random_one_in(random, 5) ? random_below(random, 60) : random_below(random, 14);
        for (unsigned i = 0; i < length; i++)
            text_append(stream, &"ab \r\t{}\""[random_below(random, 8)], 1);
        text_append_string(stream, "\n");
    }
}

/* The plain way: find each LF in the whole stream. */
static void expect_lines(const struct text *stream, size_t max, struct text *expected)
{
    size_t start = 0;

    for (size_t i = 0; i < stream->size; i++) {
        if (stream->data[i] != '\n')
            continue;
        size_t length = i - start, blank = strspn(stream->data + start, " \t\r");
        if (length + 1 > max) {
            text_printf(expected, "%zu-%zu too long\n", start, i + 1);
        } else if (blank < length) {
            text_printf(expected, "%zu:", start);
            text_append(expected, stream->data + start, length + 1);
        }
        start = i + 1;
    }
}

static void test_random_splits(void **state)
{
    struct random random = {.state = SEED};

    for (unsigned round = 0; round < 5000; round++) {
        CLEANUP(text_deinit) struct text stream = TEXT_INIT, expected = TEXT_INIT;
        CLEANUP(feed_deinit) struct feed feed;
        size_t max = 1 + random_below(&random, 30);

        random_stream(&random, &stream);
        expect_lines(&stream, max, &expected);
        feed_init(&feed, max);
        for (size_t at = 0; at < stream.size;) {
            unsigned wanted = 1 + random_below(&random, 20);
            size_t size = MIN(wanted, stream.size - at);
            feed_bytes(&feed, stream.data + at, size);
            at += size;
        }
        CHECK(span_equal(text_span(&feed.log), text_span(&expected)),
              "seed %d round %u, max %zu: got\n%.*s\nexpected\n%.*s", SEED, round, max,
              SPAN_ARGS(text_span(&feed.log)), SPAN_ARGS(text_span(&expected)));
    }
}

/* Nothing of a line far too long is kept, and each byte is looked at once: else
 * this would take minutes. */
static void test_endless_line(void **state)
{
    static char block[65536];
    CLEANUP(feed_deinit) struct feed feed;

    memset(block, 'x', sizeof(block));
    feed_init(&feed, 1024);
    for (unsigned i = 0; i < 2000; i++) {
        feed_bytes(&feed, block, sizeof(block));
        assert_int_equal(feed.size, 0);
    }
    assert_null(feed.log.data);
    feed_bytes(&feed, "\nok\n", 4);
    assert_string_equal(feed.log.data, "0-131072001 too long\n131072001:ok\n");
}

/* A long line that comes in byte by byte is searched once, not at each byte. */
static void test_slow_line(void **state)
{
    size_t size = 1u << 20;
    CLEANUP(cleanup_free) char *bytes = malloc(size);
    struct lines lines;
    struct line line;
    size_t consumed;

    memset(bytes, 'x', size);
    bytes[size - 1] = '\n';
    lines_init(&lines, size);
    for (size_t i = 1; i < size; i++) {
        assert_int_equal(lines_next(&lines, bytes, i, &consumed, &line), LINES_MORE);
        assert_int_equal(consumed, 0);
        assert_int_equal(lines.searched, i);
    }
    assert_int_equal(lines_next(&lines, bytes, size, &consumed, &line), LINES_LINE);
    assert_int_equal(line.text.size, size - 1);
    assert_int_equal(consumed, size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),         cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_random_splits), cmocka_unit_test(test_endless_line),
        cmocka_unit_test(test_slow_line),
    };

    return cmocka_run_group_tests_name("lines", tests, NULL, NULL);
}
