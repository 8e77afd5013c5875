/* SPDX-License-Identifier: MIT */
/*
 * Queue groups in routes: whose members an event is for, of several users, against the
 * plainest model there is: a list of all subscriptions, each matched on its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "busd/topics.h"
#include "libbus/base/macros.h"
#include "libbus/wire/grammar.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"
#include "tests/support/users.h"

#define SEED        4006
#define SUBSCRIBERS 6
#define LIMIT       10000

static struct users users;
static struct quota_user *other;
static struct topics topics;
static struct subscriber subscribers[SUBSCRIBERS]; /* the last one is another user's */

static int setup(void **state)
{
    struct quota_user *user = users_begin(&users);

    other = quotas_get_user(&users.quotas, 1001);
    topics_init(&topics);
    for (unsigned i = 0; i < SUBSCRIBERS; i++)
        subscriber_init(&subscribers[i], i + 1 < SUBSCRIBERS ? user : other);
    return 0;
}

static int teardown(void **state)
{
    for (unsigned i = 0; i < SUBSCRIBERS; i++)
        topics_leave(&topics, &subscribers[i]);
    assert_int_equal(topics.groups.table.count, 0);
    topics_deinit(&topics);
    other = quota_user_unref(other);
    users_end(&users);
    return 0;
}

static uint64_t subscribe(unsigned who, const char *pattern, const char *sender, const char *group)
{
    const struct topics_request request = {span_from(pattern), span_from(sender), span_from(group),
                                           OVERFLOW_DROP};
    struct subscription *subscription = NULL;

    assert_int_equal(topics_subscribe(&topics, &subscribers[who], &request, LIMIT, &subscription),
                     0);
    assert_true(subscription->group ? span_is(group_name(subscription->group), group) : !group);
    return subscription->id;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Words, sorted and joined. */
struct words {
    char word[256][48];
    const char *sorted[256];
    size_t count;
    char text[8192];
};

static const char *words_join(struct words *words)
{
    size_t size = 0;

    for (size_t i = 0; i < words->count; i++)
        words->sorted[i] = words->word[i];
    qsort(words->sorted, words->count, sizeof(words->sorted[0]), compare_texts);
    words->text[0] = '\0';
    for (size_t i = 0; i < words->count; i++) {
        const char *word = words->sorted[i];
        /* With the same filter twice a member has two turns; that is no matter. */
        bool filtered = strchr(strchr(word, ':') + 1, ':') != NULL;
        if (!filtered || i == 0 || strcmp(word, words->sorted[i - 1]) != 0)
            size += (size_t)snprintf(words->text + size, sizeof(words->text) - size, "%s%s",
                                     size > 0 ? " " : "", word);
    }
    return words->text;
}

/* "1000/g:0": subscriber 0 is a member of user 1000's group g; with ":org.x" behind it for
 * events of that sender. Plain receivers are not told. */
static const char *members(const char *topic)
{
    static struct words words;
    struct route *route = topics_route(&topics, span_from(topic));

    assert_non_null(route);
    words.count = 0;
    for (size_t g = 0; g < route->groups.count; g++) {
        const struct route_group *group = &route->groups.groups[g];
        assert_true(group->count > 0);
        for (size_t i = 0; i < group->count; i++) {
            const struct route_member *member = &route->groups.members[group->first + i];
            assert_ptr_equal(member->group, group->group);
            snprintf(words.word[words.count++], sizeof(words.word[0]), "%u/%.*s:%d%s%.*s",
                     (unsigned)group->group->uid, SPAN_ARGS(group_name(group->group)),
                     (int)(member->subscriber - subscribers), member->filter ? ":" : "",
                     member->filter ? (int)member->filter->sender.size : 0,
                     member->filter ? member->filter->sender.data : "");
        }
    }
    return words_join(&words);
}

static void test_members(void **state)
{
    assert_string_equal(members("a.b"), "");
    subscribe(0, "a.b", NULL, "g");
    subscribe(1, "a.*", NULL, "g");
    subscribe(2, "#", NULL, "h");
    subscribe(3, "a.#", NULL, NULL);
    subscribe(4, "a.c", NULL, "g");
    assert_string_equal(members("a.b"), "1000/g:0 1000/g:1 1000/h:2");
    assert_string_equal(members("a.c"), "1000/g:1 1000/g:4 1000/h:2");
    assert_string_equal(members("b"), "1000/h:2");
    assert_string_equal(members("bus.x"), "");
    assert_int_equal(topics.groups.table.count, 2);
    /* Plain subscriptions are where they always were. */
    assert_int_equal(topics_route(&topics, SPAN("a.b"))->count, 1);
    assert_int_equal(topics_route(&topics, SPAN("b"))->count, 0);
}

static void test_users_apart(void **state)
{
    subscribe(0, "a", NULL, "g");
    subscribe(1, "a", NULL, "g");
    subscribe(5, "a", NULL, "g");
    assert_string_equal(members("a"), "1000/g:0 1000/g:1 1001/g:5");
    assert_int_equal(topics_route(&topics, SPAN("a"))->groups.count, 2);
}

/* Several subscriptions make no second member; a filter makes none of who needs none. */
static void test_once(void **state)
{
    subscribe(0, "a.b", NULL, "g");
    subscribe(0, "a.b", NULL, "g");
    subscribe(0, "a.*", NULL, "g");
    subscribe(0, "#", "org.x", "g");
    subscribe(1, "a.b", "org.x", "g");
    subscribe(1, "#", "org.y", "g");
    subscribe(0, "#", "org.x", "h");
    assert_string_equal(members("a.b"), "1000/g:0 1000/g:1:org.x 1000/g:1:org.y 1000/h:0:org.x");
    /* A plain subscription has nothing to do with it. */
    subscribe(1, "a.b", NULL, NULL);
    assert_string_equal(members("a.b"), "1000/g:0 1000/g:1:org.x 1000/g:1:org.y 1000/h:0:org.x");
}

/* Routes that have been made are made anew when members come and go. */
static void test_coming_and_going(void **state)
{
    uint64_t id = subscribe(0, "a", NULL, "g");

    assert_string_equal(members("a"), "1000/g:0");
    subscribe(1, "a", NULL, "g");
    assert_string_equal(members("a"), "1000/g:0 1000/g:1");
    assert_int_equal(topics_unsubscribe(&topics, &subscribers[0], id), 0);
    assert_string_equal(members("a"), "1000/g:1");
    topics_leave(&topics, &subscribers[1]);
    assert_string_equal(members("a"), "");
    assert_int_equal(topics.groups.table.count, 0);
    subscribe(0, "#", NULL, "g");
    assert_string_equal(members("a"), "1000/g:0");
}

/* What is counted for the cache is given back. */
static void test_cache_bytes(void **state)
{
    char topic[16];

    for (unsigned i = 0; i < SUBSCRIBERS; i++)
        subscribe(i, "#", NULL, i % 2 ? "g" : "h");
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(topic, sizeof(topic), "t%u", i);
        assert_non_null(topics_route(&topics, span_from(topic)));
    }
    assert_in_range(topics.cache_bytes, 1, TOPICS_CACHE_BYTES);
    assert_true(topics.routes.count < 100000);
}

/* ------------------------------------------------ against a model */

struct model {
    unsigned who;
    uint64_t id;
    const char *pattern;
    const char *sender;
    const char *group;
    bool live;
};

static bool is_double(const struct model *models, size_t i, size_t j, const char *topic)
{
    const struct model *a = &models[i], *b = &models[j];

    if (!b->live || !b->group || b->who != a->who || strcmp(a->group, b->group) != 0 ||
        !grammar_matches(span_from(b->pattern), span_from(topic)))
        return false;
    return a->sender ? !b->sender : !b->sender && j < i;
}

static const char *model_members(const struct model *models, size_t count, const char *topic)
{
    static struct words words;

    words.count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct model *model = &models[i];
        bool needless = !model->live || !model->group ||
                        !grammar_matches(span_from(model->pattern), span_from(topic));
        for (size_t j = 0; j < count && !needless; j++)
            needless = j != i && is_double(models, i, j, topic);
        if (!needless)
            snprintf(words.word[words.count++], sizeof(words.word[0]), "%d/%s:%u%s%s",
                     model->who + 1 < SUBSCRIBERS ? 1000 : 1001, model->group, model->who,
                     model->sender ? ":" : "", model->sender ? model->sender : "");
    }
    return words_join(&words);
}

static void test_random(void **state)
{
    static const char *const patterns[] = {"a", "a.b", "a.*", "#", "*.b", "a.#", "*"};
    static const char *const topic_names[] = {"a", "a.b", "b", "c.b", "a.b.c"};
    static const char *const senders[] = {NULL, NULL, "org.x", ":7"};
    static const char *const groups[] = {NULL, "g", "h"};
    static struct model models[60];
    struct random random = {.state = SEED};

    for (unsigned round = 0; round < 20000; round++) {
        struct model *model = &models[random_below(&random, ARRAY_SIZE(models))];
        if (model->live) {
            model->live = false;
            assert_int_equal(topics_unsubscribe(&topics, &subscribers[model->who], model->id), 0);
        } else {
            *model = (struct model){random_below(&random, SUBSCRIBERS),
                                    0,
                                    patterns[random_below(&random, ARRAY_SIZE(patterns))],
                                    senders[random_below(&random, ARRAY_SIZE(senders))],
                                    groups[random_below(&random, ARRAY_SIZE(groups))],
                                    true};
            model->id = subscribe(model->who, model->pattern, model->sender, model->group);
        }
        const char *topic = topic_names[random_below(&random, ARRAY_SIZE(topic_names))];
        const char *expected = model_members(models, ARRAY_SIZE(models), topic);
        const char *got = members(topic);
        CHECK(strcmp(got, expected) == 0, "seed %d round %u: '%s' instead of '%s'", SEED, round,
              got, expected);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_members),          TEST(test_users_apart), TEST(test_once),
        TEST(test_coming_and_going), TEST(test_cache_bytes), TEST(test_random),
    };

    return cmocka_run_group_tests_name("groups", tests, NULL, NULL);
}
