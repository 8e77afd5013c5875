/* SPDX-License-Identifier: MIT */
/*
 * Patterns and topics: the grammar, grammar_matches() and the trie of busd/topics.c
 * against a matcher that is written as the definition reads. The input is a text of
 * commands, one a line; K is a letter that stands for one of four subscribers:
 *
 *     +K PATTERN [SENDER]    subscribe
 *     -K NUMBER              unsubscribe
 *     !K                     leave
 *     ?TOPIC                 who gets it?
 *
 * No match may take long, and no route more steps than what is subscribed to allows.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "busd/topics.h"
#include "libbus/base/macros.h"
#include "libbus/wire/grammar.h"
#include "tests/fuzz/fuzz.h"

#define SUBSCRIBERS       4
#define SUBSCRIPTIONS_MAX 64
#define MATCH_MS_MAX      20.0

struct entry {
    unsigned subscriber;
    uint64_t id; /* 0: gone */
    struct span pattern;
    struct span sender;
};

struct world {
    struct topics topics;
    struct quota_user *user;
    struct subscriber subscribers[SUBSCRIBERS];
    struct entry entries[SUBSCRIPTIONS_MAX];
    size_t count;
};

/* ------------------------------------------------- as the definition reads */

static bool is_segment(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-';
        if (!fits)
            return false;
    }
    return text.size > 0;
}

/* Cuts the first segment off; false when it was the last one. */
static bool cut(struct span *text, struct span *ret_segment)
{
    const char *dot = text->size > 0 ? memchr(text->data, '.', text->size) : NULL;

    *ret_segment = (struct span){text->data, dot ? (size_t)(dot - text->data) : text->size};
    if (dot)
        *text = (struct span){dot + 1, text->size - ret_segment->size - 1};
    return dot != NULL;
}

static bool is_right(struct span text, bool pattern)
{
    struct span segment;
    bool more = true;

    if (text.size == 0 || text.size > 255)
        return false;
    while (more) {
        more = cut(&text, &segment);
        bool wildcard = pattern && (span_is(segment, "*") || (span_is(segment, "#") && !more));
        if (!wildcard && !is_segment(segment))
            return false;
    }
    return true;
}

static bool matches_rest(struct span pattern, struct span topic)
{
    struct span wanted, segment;

    bool more_wanted = cut(&pattern, &wanted);
    if (span_is(wanted, "#"))
        return true;
    bool more_there = cut(&topic, &segment);
    if (!span_is(wanted, "*") && !span_equal(wanted, segment))
        return false;
    if (more_wanted && !more_there)
        return span_is(pattern, "#");
    return more_wanted == more_there && (!more_wanted || matches_rest(pattern, topic));
}

static bool matches(struct span pattern, struct span topic)
{
    struct span copy = topic;
    struct span first;

    cut(&copy, &first);
    if ((pattern.data[0] == '*' || pattern.data[0] == '#') && span_is(first, "bus"))
        return false;
    return matches_rest(pattern, topic);
}

/* ------------------------------------------------------------------- checks */

static void check_match(struct span pattern, struct span topic, bool expected)
{
    double before = fuzz_cpu_ms();
    bool matched = grammar_matches(pattern, topic);

    FUZZ_CHECK(fuzz_cpu_ms() - before < MATCH_MS_MAX, "a match took too long");
    FUZZ_CHECK(matched == expected, "'%.*s' matches '%.*s': %d", SPAN_ARGS(pattern),
               SPAN_ARGS(topic), matched);
}

/* As many as the users' patterns allow (see busd/trie.h), one for each subscription and
 * one for each change that the route is compared with. */
static size_t max_steps(const struct world *world, struct span topic)
{
    size_t segments = 1;

    for (size_t i = 0; i < topic.size; i++)
        segments += topic.data[i] == '.';
    return 2 + 3 * segments + world->user->used[QUOTA_WILDCARDS] + world->topics.count +
           TOPICS_CHANGES;
}

/* How often a route names the subscriber: without a filter, and for this one. */
static size_t count_entries(const struct route *route, const struct subscriber *subscriber,
                            const struct entry *filter)
{
    size_t count = 0;

    for (size_t i = 0; i < route->count; i++) {
        const struct route_entry *entry = &route->entries[i];
        if (entry->subscriber == subscriber && !entry->filter == !filter)
            count += !filter || (span_equal(entry->filter->pattern, filter->pattern) &&
                                 span_equal(entry->filter->sender, filter->sender));
    }
    return count;
}

/* Of several subscriptions of one subscriber to the same a route has one. */
static bool has_twin(const struct world *world, size_t index)
{
    const struct entry *entry = &world->entries[index];

    for (size_t i = 0; i < index; i++) {
        const struct entry *other = &world->entries[i];
        if (other->id > 0 && other->subscriber == entry->subscriber &&
            span_equal(other->pattern, entry->pattern) && span_equal(other->sender, entry->sender))
            return true;
    }
    return false;
}

static void check_route(struct world *world, struct span topic)
{
    bool plain[SUBSCRIBERS] = {false};
    size_t total = 0;

    world->topics.steps = 0;
    const struct route *route = topics_route(&world->topics, topic);
    FUZZ_CHECK(route, "no route");
    FUZZ_CHECK(world->topics.steps <= max_steps(world, topic), "a route took %zu steps",
               world->topics.steps);
    for (size_t i = 0; i < world->count; i++) {
        const struct entry *entry = &world->entries[i];
        bool expected = entry->id > 0 && matches(entry->pattern, topic);
        if (entry->id > 0)
            check_match(entry->pattern, topic, expected);
        if (expected && entry->sender.size == 0)
            plain[entry->subscriber] = true;
    }
    for (unsigned k = 0; k < SUBSCRIBERS; k++) {
        size_t count = count_entries(route, &world->subscribers[k], NULL);
        FUZZ_CHECK(count == plain[k], "subscriber %u is there %zu times", k, count);
        total += count;
    }
    for (size_t i = 0; i < world->count; i++) {
        const struct entry *entry = &world->entries[i];
        if (entry->id == 0 || entry->sender.size == 0)
            continue;
        bool expected = !plain[entry->subscriber] && matches(entry->pattern, topic);
        size_t count = count_entries(route, &world->subscribers[entry->subscriber], entry);
        FUZZ_CHECK(count == expected, "filter %zu is there %zu times", i, count);
        total += has_twin(world, i) ? 0 : count;
    }
    FUZZ_CHECK(total == route->count, "%zu receivers, not %zu", route->count, total);
}

static void check_grammar(struct span text)
{
    size_t offset = SIZE_MAX;
    const char *wrong = grammar_check_topic(text, &offset);

    FUZZ_CHECK(!wrong == is_right(text, false), "topic '%.*s': %s", SPAN_ARGS(text),
               wrong ? wrong : "accepted");
    FUZZ_CHECK(!wrong || offset <= text.size, "a fault outside of the topic");
    offset = SIZE_MAX;
    wrong = grammar_check_pattern(text, &offset);
    FUZZ_CHECK(!wrong == is_right(text, true), "pattern '%.*s': %s", SPAN_ARGS(text),
               wrong ? wrong : "accepted");
    FUZZ_CHECK(!wrong || offset <= text.size, "a fault outside of the pattern");
}

/* ----------------------------------------------------------------- commands */

/* Cuts the first word off. */
static struct span next_word(struct span *text)
{
    const char *space = text->size > 0 ? memchr(text->data, ' ', text->size) : NULL;
    struct span word = {text->data, space ? (size_t)(space - text->data) : text->size};
    size_t used = word.size + (space ? 1 : 0);

    *text = (struct span){text->data + used, text->size - used};
    return word;
}

static void subscribe(struct world *world, unsigned k, struct span rest)
{
    struct subscription *subscription;
    struct span pattern = next_word(&rest);
    struct entry *entry = &world->entries[world->count];

    check_grammar(pattern);
    if (world->count == SUBSCRIPTIONS_MAX || grammar_check_pattern(pattern, NULL) ||
        (rest.size > 0 && grammar_check_destination(rest, NULL)))
        return;
    const struct topics_request request = {pattern, rest, {0}, OVERFLOW_DROP};
    FUZZ_CHECK(topics_subscribe(&world->topics, &world->subscribers[k], &request, SUBSCRIPTIONS_MAX,
                                &subscription) == 0,
               "a subscription was refused");
    *entry = (struct entry){k, subscription->id, pattern, rest};
    for (size_t i = 0; i < world->count; i++)
        FUZZ_CHECK(world->entries[i].subscriber != k || world->entries[i].id != entry->id,
                   "the id %" PRIu64 " is given twice", entry->id);
    world->count++;
}

static void unsubscribe(struct world *world, unsigned k, struct span number)
{
    uint64_t id = 0;
    bool known = false;

    for (size_t i = 0; i < number.size && i < 4 && number.data[i] >= '0' && number.data[i] <= '9';
         i++)
        id = id * 10 + (uint64_t)(number.data[i] - '0');
    for (size_t i = 0; i < world->count; i++) {
        struct entry *entry = &world->entries[i];
        if (id > 0 && entry->subscriber == k && entry->id == id) {
            entry->id = 0;
            known = true;
        }
    }
    int r = topics_unsubscribe(&world->topics, &world->subscribers[k], id);
    FUZZ_CHECK(r == (known ? 0 : WIRE_NO_SUCH_SUBSCRIPTION), "unsubscribe %" PRIu64 ": %d", id, r);
}

static void leave(struct world *world, unsigned k)
{
    topics_leave(&world->topics, &world->subscribers[k]);
    for (size_t i = 0; i < world->count; i++)
        if (world->entries[i].subscriber == k)
            world->entries[i].id = 0;
}

static void run(struct world *world, struct span line)
{
    char command = line.size > 0 ? line.data[0] : ' ';
    unsigned k = line.size > 1 ? (unsigned char)line.data[1] % SUBSCRIBERS : 0;
    size_t skip = MIN(line.size, command == '?' ? 1u : 3u);
    struct span rest = {line.data + skip, line.size - skip};

    if (command == '+') {
        subscribe(world, k, rest);
    } else if (command == '-') {
        unsubscribe(world, k, rest);
    } else if (command == '!') {
        leave(world, k);
    } else if (command == '?') {
        check_grammar(rest);
        if (!grammar_check_topic(rest, NULL))
            check_route(world, rest);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {(const char *)data, size};
    struct world world = {0};
    struct limits limits;
    struct quotas quotas;
    struct span line;

    limits_init(&limits, false);
    quotas_init(&quotas, &limits);
    world.user = quotas_get_user(&quotas, 1000);
    FUZZ_CHECK(world.user, "no user");
    topics_init(&world.topics);
    for (unsigned k = 0; k < SUBSCRIBERS; k++)
        subscriber_init(&world.subscribers[k], world.user);
    while (fuzz_line(&input, &line))
        run(&world, line);
    for (unsigned k = 0; k < SUBSCRIBERS; k++)
        leave(&world, k);
    topics_deinit(&world.topics);
    quota_user_unref(world.user);
    quotas_deinit(&quotas);
    return 0;
}
