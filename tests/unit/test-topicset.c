/* SPDX-License-Identifier: MIT */
/*
 * Walks against the plainest model there is: every topic matched on its own. And that
 * they do not look at what cannot match.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "busd/topicset.h"
#include "libbus/base/macros.h"
#include "libbus/wire/grammar.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

#define SEED   4711
#define TOPICS 400
#define ROUNDS 3000
#define MANY   20000

static struct topicset set;

static int setup(void **state)
{
    topicset_init(&set);
    return 0;
}

static int teardown(void **state)
{
    topicset_deinit(&set);
    return 0;
}

/* All that the pattern matches, as "a b.c", in the order of the walk. */
static const char *walk(const char *pattern)
{
    static char text[1024];
    struct topicset_walk walk;
    struct topicset_entry *entry;
    size_t size = 0;

    text[0] = '\0';
    topicset_walk_init(&walk, &set, span_from(pattern));
    while ((entry = topicset_walk_next(&walk)))
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%.*s", size > 0 ? " " : "",
                                 SPAN_ARGS(entry->topic));
    return text;
}

static void test_walks(void **state)
{
    static const char *const topics[] = {"org.b", "org",   "bus.x", "org.a-", "org.a.x.y",
                                         "a",     "org.a", "bus",   "org.ab", "org.a.x"};
    struct topicset_entry entries[ARRAY_SIZE(topics)];

    assert_string_equal(walk("#"), "");
    assert_null(topicset_find(&set, SPAN("org")));
    for (size_t i = 0; i < ARRAY_SIZE(topics); i++) {
        entries[i].topic = span_from(topics[i]);
        assert_int_equal(topicset_add(&set, &entries[i]), 0);
    }
    assert_ptr_equal(topicset_find(&set, SPAN("org.a")), &entries[6]);
    assert_null(topicset_find(&set, SPAN("org.")));
    assert_string_equal(walk("#"), "a org org.a org.a.x org.a.x.y org.a- org.ab org.b");
    assert_string_equal(walk("bus.#"), "bus bus.x");
    assert_string_equal(walk("org"), "org");
    assert_string_equal(walk("org.#"), "org org.a org.a.x org.a.x.y org.a- org.ab org.b");
    assert_string_equal(walk("org.a.#"), "org.a org.a.x org.a.x.y");
    assert_string_equal(walk("*"), "a org");
    assert_string_equal(walk("*.*"), "org.a org.a- org.ab org.b");
    assert_string_equal(walk("*.*.x"), "org.a.x");
    assert_string_equal(walk("*.*.*.#"), "org.a.x org.a.x.y");
    assert_string_equal(walk("org.*.*.z"), "");
    assert_string_equal(walk("z"), "");
    for (size_t i = 0; i < ARRAY_SIZE(topics); i++)
        topicset_remove(&set, &entries[i]);
    assert_string_equal(walk("#"), "");
}

/* Few segments of few letters, so that they often match. */
static void make(struct random *random, char text[32], bool pattern)
{
    static const char *const segments[] = {"a", "b", "a-", "ab", "bus", "_", "*", "#"};
    unsigned count = 1 + random_below(random, 4);

    text[0] = '\0';
    for (unsigned i = 0; i < count; i++) {
        unsigned kinds = !pattern ? 6 : i + 1 < count ? 7 : 8;
        snprintf(text + strlen(text), 32 - strlen(text), "%s%s", i > 0 ? "." : "",
                 segments[random_below(random, kinds)]);
    }
}

static void compare_with_model(const char *pattern, struct topicset_entry *const *there)
{
    struct topicset_walk walk;
    struct topicset_entry *entry;
    size_t wanted = 0, found = 0;

    for (size_t i = 0; i < TOPICS; i++)
        wanted += there[i] && grammar_matches(span_from(pattern), there[i]->topic);
    topicset_walk_init(&walk, &set, span_from(pattern));
    for (struct span last = SPAN(""); (entry = topicset_walk_next(&walk)); last = entry->topic) {
        CHECK(grammar_matches(span_from(pattern), entry->topic), "seed %d: '%s' found '%.*s'", SEED,
              pattern, SPAN_ARGS(entry->topic));
        CHECK(!span_equal(last, entry->topic), "seed %d: '%s' found '%.*s' twice", SEED, pattern,
              SPAN_ARGS(last));
        found++;
    }
    CHECK(found == wanted, "seed %d: '%s' found %zu, not %zu", SEED, pattern, found, wanted);
}

static void test_random(void **state)
{
    static struct {
        struct topicset_entry entry;
        char text[32];
    } topics[TOPICS];
    struct topicset_entry *there[TOPICS] = {0};
    struct random random = {.state = SEED};
    char pattern[32];

    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned i = random_below(&random, TOPICS);
        if (there[i]) {
            topicset_remove(&set, there[i]);
            there[i] = NULL;
        } else {
            make(&random, topics[i].text, false);
            topics[i].entry.topic = span_from(topics[i].text);
            if (!topicset_find(&set, topics[i].entry.topic)) {
                assert_int_equal(topicset_add(&set, &topics[i].entry), 0);
                there[i] = &topics[i].entry;
            }
        }
        make(&random, pattern, true);
        compare_with_model(pattern, there);
    }
    for (unsigned i = 0; i < TOPICS; i++)
        if (there[i])
            topicset_remove(&set, there[i]);
}

static unsigned effort_of(const char *pattern, size_t found)
{
    struct topicset_walk walk;
    size_t count = 0;

    topicset_walk_init(&walk, &set, span_from(pattern));
    while (topicset_walk_next(&walk))
        count++;
    CHECK(count == found, "'%s' found %zu, not %zu", pattern, count, found);
    return walk.effort;
}

/* 10 × 20 × 100 topics g0.m0.t0: what a walk looks at goes by what it finds, and by what
 * stands for the wildcards before the segment that decides. */
static void test_effort(void **state)
{
    static struct {
        struct topicset_entry entry;
        char text[32];
    } topics[MANY];

    for (unsigned i = 0; i < MANY; i++) {
        snprintf(topics[i].text, sizeof(topics[i].text), "g%u.m%u.t%u", i % 10, i / 10 % 20,
                 i / 200);
        topics[i].entry.topic = span_from(topics[i].text);
        assert_int_equal(topicset_add(&set, &topics[i].entry), 0);
    }
    assert_true(effort_of("g3.m4.t5", 1) < 20);
    assert_true(effort_of("g3.m4.none", 0) < 20);
    assert_true(effort_of("other.#", 0) < 20);
    assert_true(effort_of("g3.m4.*", 100) < 120);
    assert_true(effort_of("g3.m4.#", 100) < 120);
    assert_true(effort_of("g3.*.t5", 20) < 500);
    assert_true(effort_of("*.m4.t5", 10) < 250);
    assert_true(effort_of("*.*.none", 0) < 2500);
    assert_true(effort_of("*.none.#", 0) < 150);
    assert_true(effort_of("*.*", 0) < 2500);
    assert_true(effort_of("#", MANY) <= MANY + 20);
    for (unsigned i = 0; i < MANY; i++)
        topicset_remove(&set, &topics[i].entry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_walks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
        cmocka_unit_test_setup_teardown(test_effort, setup, teardown),
    };

    return cmocka_run_group_tests_name("topicset", tests, NULL, NULL);
}
