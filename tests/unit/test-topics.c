/* SPDX-License-Identifier: MIT */
/*
 * Routing against the plainest model there is: a list of all subscriptions, each
 * matched on its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "busd/topics.h"
#include "libbus/base/macros.h"
#include "libbus/wire/errors.h"
#include "libbus/wire/grammar.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"
#include "tests/support/users.h"

#define SEED        90125
#define SUBSCRIBERS 12
#define LIMIT       10000

static struct users users;
static struct topics topics;
static struct subscriber subscribers[SUBSCRIBERS];

static int setup(void **state)
{
    struct quota_user *user = users_begin(&users);

    topics_init(&topics);
    for (unsigned i = 0; i < SUBSCRIBERS; i++)
        subscriber_init(&subscribers[i], user);
    return 0;
}

static int teardown(void **state)
{
    for (unsigned i = 0; i < SUBSCRIBERS; i++) {
        topics_leave(&topics, &subscribers[i]);
        assert_int_equal(subscribers[i].count, 0);
    }
    assert_int_equal(topics.count, 0);
    assert_int_equal(topics.count_broker, 0);
    assert_int_equal(topics.patterns.nodes.count, 0);
    topics_deinit(&topics);
    users_end(&users);
    return 0;
}

static int try_subscribe(struct subscriber *subscriber, struct span pattern, struct span sender,
                         size_t max, struct subscription **ret_subscription)
{
    const struct topics_request request = {pattern, sender, {0}, OVERFLOW_DROP};

    return topics_subscribe(&topics, subscriber, &request, max, ret_subscription);
}

static uint64_t subscribe(unsigned who, const char *pattern, const char *sender)
{
    struct subscription *subscription = NULL;

    assert_int_equal(try_subscribe(&subscribers[who], span_from(pattern), span_from(sender), LIMIT,
                                   &subscription),
                     0);
    assert_ptr_equal(subscription->subscriber, &subscribers[who]);
    assert_true(span_is(subscription->pattern, pattern));
    assert_true(span_equal(subscription->sender, span_from(sender)));
    return subscription->id;
}

/* "02 5:org.x": who gets it without a filter, and for which senders, sorted. */
static const char *route(const char *topic)
{
    static char text[4096];
    struct route *found = topics_route(&topics, span_from(topic));
    size_t size = 0;

    assert_non_null(found);
    text[0] = '\0';
    for (unsigned who = 0; who < SUBSCRIBERS; who++)
        for (size_t i = 0; i < found->count; i++) {
            const struct route_entry *entry = &found->entries[i];
            if (entry->subscriber != &subscribers[who])
                continue;
            size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%u%s%.*s",
                                     size > 0 ? " " : "", who, entry->filter ? ":" : "",
                                     entry->filter ? (int)entry->filter->sender.size : 0,
                                     entry->filter ? entry->filter->sender.data : "");
        }
    return text;
}

static void test_nobody(void **state)
{
    assert_string_equal(route("a.b"), "");
    subscribe(0, "x", NULL);
    assert_string_equal(route("a.b"), "");
}

static void test_patterns(void **state)
{
    subscribe(0, "a.b", NULL);
    subscribe(1, "a.*", NULL);
    subscribe(2, "a.#", NULL);
    subscribe(3, "#", NULL);
    subscribe(4, "*.b", NULL);
    subscribe(5, "*", NULL);
    subscribe(6, "a", NULL);
    subscribe(7, "*.*.#", NULL);
    subscribe(8, "bus.#", NULL);
    subscribe(9, "bus.name.*", NULL);

    assert_string_equal(route("a"), "2 3 5 6");
    assert_string_equal(route("a.b"), "0 1 2 3 4 7");
    assert_string_equal(route("a.c"), "1 2 3 7");
    assert_string_equal(route("a.b.c"), "2 3 7");
    assert_string_equal(route("b"), "3 5");
    assert_string_equal(route("ab"), "3 5");
    assert_string_equal(route("bus"), "8");
    assert_string_equal(route("bus.b"), "8");
    assert_string_equal(route("bus.name.x"), "8 9");
    assert_string_equal(route("busy.b"), "3 4 7");
    assert_int_equal(topics.count, 10);
    assert_int_equal(topics.count_broker, 2);
}

/* Once a connection, however many of its patterns match. */
static void test_once(void **state)
{
    for (unsigned i = 0; i < 5; i++)
        subscribe(0, "a.b", NULL);
    subscribe(0, "#", NULL);
    subscribe(0, "a.*", NULL);
    subscribe(0, "a.b", "org.x");
    assert_string_equal(route("a.b"), "0");
}

static void test_filters(void **state)
{
    subscribe(0, "a.b", "org.x");
    subscribe(0, "a.*", "org.y");
    subscribe(1, "a.#", ":7");
    subscribe(2, "a.b", NULL);
    assert_string_equal(route("a.b"), "0:org.x 0:org.y 1::7 2");
    assert_string_equal(route("a.c"), "0:org.y 1::7");
    uint64_t id = subscribe(0, "#", NULL);
    assert_string_equal(route("a.b"), "0 1::7 2");
    assert_int_equal(topics_unsubscribe(&topics, &subscribers[0], id), 0);
    assert_string_equal(route("a.b"), "0:org.x 0:org.y 1::7 2");
}

static uint64_t subscribe_for(unsigned who, const char *pattern, const char *sender,
                              enum overflow_policy overflow)
{
    const struct topics_request request = {span_from(pattern), span_from(sender), {0}, overflow};
    struct subscription *subscription = NULL;

    assert_int_equal(topics_subscribe(&topics, &subscribers[who], &request, LIMIT, &subscription),
                     0);
    return subscription->id;
}

/* What the route of a topic says of the one subscriber whom it goes to. */
static enum overflow_policy overflow(const char *topic)
{
    struct route *route = topics_route(&topics, span_from(topic));

    assert_non_null(route);
    assert_true(route->count > 0);
    for (size_t i = 1; i < route->count; i++)
        assert_int_equal(route->entries[i].overflow, route->entries[0].overflow);
    return (enum overflow_policy)route->entries[0].overflow;
}

/* The strongest promise of all that match holds, filtered or not. */
static void test_overflow(void **state)
{
    subscribe_for(0, "a.#", NULL, OVERFLOW_LATEST);
    assert_int_equal(overflow("a.b"), OVERFLOW_LATEST);
    uint64_t filtered = subscribe_for(0, "a.b", "org.x", OVERFLOW_DISCONNECT);
    subscribe_for(0, "a.b.*", NULL, OVERFLOW_DROP);
    subscribe_for(0, "a.*.c", NULL, OVERFLOW_LATEST);
    assert_int_equal(overflow("a.b"), OVERFLOW_DISCONNECT);
    assert_int_equal(overflow("a"), OVERFLOW_LATEST);
    assert_int_equal(overflow("a.b.c"), OVERFLOW_DROP);
    assert_int_equal(topics_unsubscribe(&topics, &subscribers[0], filtered), 0);
    assert_int_equal(overflow("a.b"), OVERFLOW_LATEST);
    /* Nothing but filters. */
    subscribe_for(0, "b", "org.x", OVERFLOW_LATEST);
    subscribe_for(0, "b", "org.y", OVERFLOW_DROP);
    assert_int_equal(overflow("b"), OVERFLOW_DROP);
    subscribe(0, "c", NULL);
    assert_int_equal(overflow("c"), OVERFLOW_DROP);
    /* The same but for that: neither stands for the other. */
    subscribe_for(0, "c", NULL, OVERFLOW_LATEST);
    uint64_t strong = subscribe_for(0, "c", NULL, OVERFLOW_DISCONNECT);
    assert_int_equal(overflow("c"), OVERFLOW_DISCONNECT);
    assert_int_equal(topics_unsubscribe(&topics, &subscribers[0], strong), 0);
    assert_int_equal(overflow("c"), OVERFLOW_DROP);
}

static void test_unsubscribe(void **state)
{
    uint64_t first = subscribe(0, "a.b", NULL), second = subscribe(0, "a.b", NULL);
    uint64_t other = subscribe(1, "a.*", NULL);

    assert_int_not_equal(first, second);
    assert_int_equal(topics_unsubscribe(&topics, &subscribers[0], 99), WIRE_NO_SUCH_SUBSCRIPTION);
    assert_int_equal(topics_unsubscribe(&topics, &subscribers[0], 0), WIRE_NO_SUCH_SUBSCRIPTION);
    assert_string_equal(route("a.b"), "0 1");
    assert_int_equal(topics_unsubscribe(&topics, &subscribers[0], first), 0);
    assert_string_equal(route("a.b"), "0 1");
    assert_int_equal(topics_unsubscribe(&topics, &subscribers[0], first),
                     WIRE_NO_SUCH_SUBSCRIPTION);
    assert_int_equal(topics_unsubscribe(&topics, &subscribers[0], second), 0);
    assert_string_equal(route("a.b"), "1");
    assert_int_equal(topics_unsubscribe(&topics, &subscribers[1], other), 0);
    assert_string_equal(route("a.b"), "");
    assert_int_equal(topics.patterns.nodes.count, 0);
    /* An id is not used again. */
    assert_int_not_equal(subscribe(0, "a.b", NULL), second);
}

static void test_ids_are_ones_own(void **state)
{
    uint64_t id = subscribe(0, "a.b", NULL);

    assert_int_equal(topics_unsubscribe(&topics, &subscribers[1], id), WIRE_NO_SUCH_SUBSCRIPTION);
    assert_string_equal(route("a.b"), "0");
}

static void test_limit(void **state)
{
    struct subscription *subscription;

    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(
            try_subscribe(&subscribers[0], SPAN("a"), (struct span){0}, 3, &subscription), 0);
    assert_int_equal(
        try_subscribe(&subscribers[0], SPAN("b.c"), (struct span){0}, 3, &subscription),
        WIRE_LIMIT_EXCEEDED);
    assert_int_equal(subscribers[0].count, 3);
    assert_int_equal(topics.patterns.nodes.count, 1);
    assert_int_equal(topics_unsubscribe(&topics, &subscribers[0], subscription->id), 0);
    assert_int_equal(
        try_subscribe(&subscribers[0], SPAN("b.c"), (struct span){0}, 3, &subscription), 0);
}

/* The longest patterns and topics there are. */
static void test_long(void **state)
{
    char topic[256] = "", stars[256] = "";

    for (unsigned i = 0; i < 128; i++) {
        strcat(topic, i > 0 ? ".a" : "a");
        strcat(stars, i > 0 ? ".*" : "*");
    }
    subscribe(0, stars, NULL);
    subscribe(1, topic, NULL);
    stars[254] = '#';
    subscribe(2, stars, NULL);
    assert_string_equal(route(topic), "0 1 2");
    topic[253] = '\0';
    assert_string_equal(route(topic), "2");
}

/* A route that is asked for again comes from the cache, until anything changes; the
 * cache stays within its bounds. */
static void test_cache(void **state)
{
    char topic[64];
    struct route *first;

    subscribe(0, "t.#", NULL);
    first = topics_route(&topics, SPAN("t.a"));
    assert_ptr_equal(topics_route(&topics, SPAN("t.a")), first);
    subscribe(1, "t.a", NULL);
    assert_string_equal(route("t.a"), "0 1");
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(topic, sizeof(topic), "t.some-quite-long-topic-name.%u", i);
        assert_int_equal(topics_route(&topics, span_from(topic))->count, 1);
        assert_in_range(topics.cache_bytes, 0, TOPICS_CACHE_BYTES);
    }
    assert_true(topics.cache_bytes > TOPICS_CACHE_BYTES / 2);
    assert_string_equal(route("t.a"), "0 1");
}

/* Only what fits the topic costs its route anything; that is made anew no sooner than it
 * is asked for. */
static void test_changes(void **state)
{
    uint64_t ids[TOPICS_CHANGES];

    subscribe(0, "t.a", NULL);
    topics_route(&topics, SPAN("t.a"));
    topics.steps = 0;
    /* Other topics. */
    subscribe(1, "t.b", NULL);
    topics_route(&topics, SPAN("t.a"));
    assert_int_equal(topics.steps, 0);
    /* Patterns that do not fit: as many as are remembered. */
    for (unsigned i = 0; i < TOPICS_CHANGES; i++)
        ids[i] = subscribe(2, i % 2 ? "*" : "*.b.#", i > 1 ? "org.x" : NULL);
    topics_route(&topics, SPAN("t.a"));
    assert_in_range(topics.steps, 1, TOPICS_CHANGES);
    topics.steps = 0;
    topics_route(&topics, SPAN("t.a"));
    assert_int_equal(topics.steps, 0);
    /* One that is there already, coming and going. */
    uint64_t twin = subscribe(2, "*", NULL);
    topics_unsubscribe(&topics, &subscribers[2], twin);
    topics_route(&topics, SPAN("t.a"));
    assert_int_equal(topics.steps, 0);
    /* Patterns that fit, first and last of what is remembered and further back. */
    for (unsigned after = 0; after < TOPICS_CHANGES + 2; after++) {
        uint64_t id = subscribe(3, "*.a", NULL);
        for (unsigned i = 0; i < after; i++)
            if (i % 2)
                subscribe(4, "*.c", NULL);
            else
                topics_leave(&topics, &subscribers[4]);
        assert_string_equal(route("t.a"), "0 3");
        topics_unsubscribe(&topics, &subscribers[3], id);
        assert_string_equal(route("t.a"), "0");
    }
    for (unsigned i = 0; i < TOPICS_CHANGES; i++)
        topics_unsubscribe(&topics, &subscribers[2], ids[i]);
    assert_string_equal(route("t.a"), "0");
    topics.steps = 0;
    topics_invalidate(&topics);
    topics_route(&topics, SPAN("t.a"));
    assert_in_range(topics.steps, 1, 9);
}

/* The same again costs a walk nothing, whichever of them goes first. */
static void test_twins(void **state)
{
    static const char *const senders[] = {NULL, "org.x"};
    uint64_t ids[2][5];

    for (unsigned s = 0; s < 2; s++)
        for (unsigned i = 0; i < 5; i++)
            ids[s][i] = subscribe(s, "a.*.b", senders[s]);
    assert_string_equal(route("a.a.b"), "0 1:org.x");
    topics.steps = 0;
    topics_invalidate(&topics);
    topics_route(&topics, SPAN("a.a.b"));
    assert_int_equal(topics.steps, 6);
    for (unsigned i = 0; i < 5; i++) {
        unsigned gone = (i * 2) % 5;
        assert_string_equal(route("a.a.b"), "0 1:org.x");
        for (unsigned s = 0; s < 2; s++)
            assert_int_equal(topics_unsubscribe(&topics, &subscribers[s], ids[s][gone]), 0);
    }
    assert_string_equal(route("a.a.b"), "");
}

/* Steps for a topic of so many segments, which has no route. */
static size_t count_steps(unsigned segments)
{
    char topic[GRAMMAR_NAME_MAX + 1];

    for (unsigned i = 0; i < segments; i++)
        memcpy(topic + 2 * i, "a.", 2);
    topics.steps = 0;
    topics_invalidate(&topics);
    topics_route(&topics, (struct span){topic, 2 * segments - 1});
    return topics.steps;
}

/* Patterns that end in their wildcard are as many as they like. */
static void test_cost_of_ends(void **state)
{
    char pattern[64];

    limits_init(&users.limits, true);
    users.limits.wildcards_per_user = 0;
    for (unsigned i = 0; i < 4000; i++) {
        snprintf(pattern, sizeof(pattern), i % 2 ? "a.a.t%u.*" : "a.a.t%u.#", i / 2);
        subscribe(i % SUBSCRIBERS, pattern, NULL);
    }
    assert_in_range(count_steps(4), 3, 14);
    assert_string_equal(route("a.a.t100.x"), "8 9");
}

static void test_wildcards_limit(void **state)
{
    struct subscription *first, *second, *none;
    struct span anybody = {0};

    users.limits.wildcards_per_user = 3;
    assert_int_equal(try_subscribe(&subscribers[0], SPAN("a.*.b.#"), anybody, LIMIT, &first), 0);
    assert_int_equal(users.first->used[QUOTA_WILDCARDS], 2);
    assert_int_equal(try_subscribe(&subscribers[1], SPAN("*.*.*"), anybody, LIMIT, &none),
                     WIRE_LIMIT_EXCEEDED);
    assert_int_equal(users.first->used[QUOTA_SUBSCRIPTIONS], 1);
    assert_int_equal(try_subscribe(&subscribers[1], SPAN("*.a"), anybody, LIMIT, &second), 0);
    assert_int_equal(try_subscribe(&subscribers[1], SPAN("*.#"), anybody, LIMIT, &none),
                     WIRE_LIMIT_EXCEEDED);
    assert_int_equal(try_subscribe(&subscribers[1], SPAN("a.b.*"), anybody, LIMIT, &none), 0);
    assert_int_equal(topics_unsubscribe(&topics, &subscribers[0], first->id), 0);
    assert_int_equal(try_subscribe(&subscribers[1], SPAN("*.*.*"), anybody, LIMIT, &none), 0);
}

static void test_marks(void **state)
{
    uint64_t mark = topics_new_mark(&topics);

    subscribe(0, "a", NULL);
    for (unsigned i = 0; i < SUBSCRIBERS; i++)
        assert_int_not_equal(subscribers[i].mark, mark);
    topics_route(&topics, SPAN("a"));
    uint64_t next = topics_new_mark(&topics);
    assert_int_not_equal(next, mark);
    for (unsigned i = 0; i < SUBSCRIBERS; i++)
        assert_int_not_equal(subscribers[i].mark, next);
}

/* ------------------------------------------------ against a model */

struct model {
    bool used;
    unsigned who;
    uint64_t id;
    char pattern[32];
    char sender[8];
};

static struct model models[60];

static void random_text(struct random *random, char *text, bool wildcards)
{
    static const char *const segments[] = {"a", "b", "c", "bus"};
    unsigned count = 1 + random_below(random, 4);

    *text = '\0';
    for (unsigned i = 0; i < count; i++) {
        const char *segment = segments[random_below(random, ARRAY_SIZE(segments))];
        if (wildcards && random_one_in(random, 3))
            segment = "*";
        if (wildcards && i + 1 == count && random_one_in(random, 4))
            segment = "#";
        strcat(text, i > 0 ? "." : "");
        strcat(text, segment);
    }
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Of several subscriptions of one subscriber to the same a route has one. */
static bool has_twin(const struct model *m)
{
    for (const struct model *other = models; other < m; other++)
        if (other->used && other->who == m->who && strcmp(other->pattern, m->pattern) == 0 &&
            strcmp(other->sender, m->sender) == 0)
            return true;
    return false;
}

/* The same text as route() makes, from the model. */
static const char *model_route(const char *topic)
{
    static char text[4096];

    text[0] = '\0';
    for (unsigned who = 0; who < SUBSCRIBERS; who++) {
        char parts[ARRAY_SIZE(models)][16];
        size_t count = 0;
        bool plain = false;
        for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
            const struct model *m = &models[i];
            if (!m->used || m->who != who ||
                !grammar_matches(span_from(m->pattern), span_from(topic)))
                continue;
            plain |= !m->sender[0];
            if (!has_twin(m))
                snprintf(parts[count++], sizeof(parts[0]), "%u:%s", who, m->sender);
        }
        if (plain)
            snprintf(parts[0], sizeof(parts[0]), "%u", who);
        qsort(parts, plain ? 1 : count, sizeof(parts[0]), compare_strings);
        for (size_t i = 0; i < (plain ? 1 : count); i++) {
            strcat(text, text[0] ? " " : "");
            strcat(text, parts[i]);
        }
    }
    return text;
}

/* Filters of one subscriber come in any order: put them as the model does. */
static const char *sorted(const char *text)
{
    static char result[4096];
    char parts[ARRAY_SIZE(models) * 2][16], copy[4096];
    size_t count = 0;

    strcpy(copy, text);
    result[0] = '\0';
    for (char *part = strtok(copy, " "); part; part = strtok(NULL, " "))
        snprintf(parts[count++], sizeof(parts[0]), "%s", part);
    qsort(parts, count, sizeof(parts[0]), compare_strings);
    for (size_t i = 0; i < count; i++) {
        strcat(result, i > 0 ? " " : "");
        strcat(result, parts[i]);
    }
    return result;
}

static void random_change(struct random *random)
{
    static const char *const senders[] = {"", "", "org.x", "org.y"};
    struct model *m = &models[random_below(random, ARRAY_SIZE(models))];

    if (m->used) {
        assert_int_equal(topics_unsubscribe(&topics, &subscribers[m->who], m->id), 0);
        m->used = false;
        return;
    }
    m->used = true;
    m->who = random_below(random, SUBSCRIBERS);
    random_text(random, m->pattern, true);
    strcpy(m->sender, senders[random_below(random, ARRAY_SIZE(senders))]);
    m->id = subscribe(m->who, m->pattern, m->sender[0] ? m->sender : NULL);
    if (random_one_in(random, 100)) {
        topics_leave(&topics, &subscribers[m->who]);
        for (size_t i = 0; i < ARRAY_SIZE(models); i++)
            models[i].used &= models[i].who != m->who;
    }
}

static void test_random(void **state)
{
    struct random random = {.state = SEED};
    unsigned received = 0;

    memset(models, 0, sizeof(models));
    for (unsigned round = 0; round < 30000; round++) {
        char topic[32], expected[4096];

        if (random_one_in(&random, 2))
            random_change(&random);
        random_text(&random, topic, false);
        strcpy(expected, sorted(model_route(topic)));
        const char *got = sorted(route(topic));
        CHECK(strcmp(got, expected) == 0, "seed %d round %u, %s: got '%s', expected '%s'", SEED,
              round, topic, got, expected);
        received += *expected != '\0';
    }
    assert_in_range(received, 3000, 29000);
}

/* However hostile the patterns are, a walk has no more steps than their users may have. */
static void test_steps(void **state)
{
    enum { DEPTH = 14, SEGMENTS_MAX = 1024 };
    struct limits limits;
    unsigned accepted = 0, refused = 0;
    char topic[2 * DEPTH];

    limits_init(&limits, true);
    limits.wildcards_per_user = SEGMENTS_MAX;
    limits.subscriptions_per_user = UINT64_C(1) << DEPTH;
    users.quotas.limits = &limits;
    for (unsigned bits = 0; bits < 1u << DEPTH; bits++) {
        struct subscription *subscription;
        char pattern[2 * DEPTH];
        for (unsigned i = 0; i < DEPTH; i++) {
            pattern[2 * i] = bits >> i & 1 ? '*' : 'a';
            pattern[2 * i + 1] = i + 1 < DEPTH ? '.' : '\0';
        }
        int r = try_subscribe(&subscribers[bits % SUBSCRIBERS], span_from(pattern),
                              (struct span){0}, 1u << DEPTH, &subscription);
        assert_true(r == 0 || r == WIRE_LIMIT_EXCEEDED);
        accepted += r == 0;
        refused += r != 0;
        if (bits == 0)
            strcpy(topic, pattern);
    }
    assert_in_range(accepted, SEGMENTS_MAX / DEPTH, SEGMENTS_MAX);
    assert_true(refused > 0);
    topics.steps = 0;
    assert_non_null(topics_route(&topics, span_from(topic)));
    assert_in_range(topics.steps, accepted, 2 + 3 * DEPTH + SEGMENTS_MAX + accepted);
    /* From then on it costs nothing … */
    topics.steps = 0;
    assert_non_null(topics_route(&topics, span_from(topic)));
    assert_int_equal(topics.steps, 0);
    /* … nor do subscriptions of others to something else, but for one comparison each … */
    subscribe(0, "b.*", NULL);
    subscribe(0, "c.*", NULL);
    assert_non_null(topics_route(&topics, span_from(topic)));
    assert_int_equal(topics.steps, 2);
    /* … or so many that they are not remembered. */
    topics.steps = 0;
    for (unsigned i = 0; i <= TOPICS_CHANGES; i++)
        assert_int_equal(topics_unsubscribe(&topics, &subscribers[0], subscribe(0, "d.*", NULL)),
                         0);
    assert_non_null(topics_route(&topics, span_from(topic)));
    assert_true(topics.steps >= accepted);
    for (unsigned i = 0; i < SUBSCRIBERS; i++)
        topics_leave(&topics, &subscribers[i]);
    users.quotas.limits = &users.limits;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nobody),       TEST(test_patterns),        TEST(test_once),
        TEST(test_filters),      TEST(test_unsubscribe),     TEST(test_ids_are_ones_own),
        TEST(test_limit),        TEST(test_steps),           TEST(test_long),
        TEST(test_cache),        TEST(test_changes),         TEST(test_twins),
        TEST(test_cost_of_ends), TEST(test_wildcards_limit), TEST(test_marks),
        TEST(test_overflow),     TEST(test_random),
    };

    return cmocka_run_group_tests_name("topics", tests, NULL, NULL);
}
