/* SPDX-License-Identifier: MIT */
#include "busd/topicset.h"

#include <assert.h>

#include "libbus/base/macros.h"
#include "libbus/wire/grammar.h"

/* Dots come before all else that a topic is made of. */
static int weight(char c)
{
    return c == '.' ? 1 : (unsigned char)c;
}

/* What follows a prefix comes behind the prefix and all topics below it. */
#define BEHIND_DOT '\2'

static int compare(struct span a, struct span b)
{
    size_t size = MIN(a.size, b.size);
    size_t i = 0;

    while (i < size && a.data[i] == b.data[i])
        i++;
    if (i < size)
        return weight(a.data[i]) - weight(b.data[i]);
    return (a.size > b.size) - (a.size < b.size);
}

void topicset_init(struct topicset *set)
{
    *set = (struct topicset){0};
    hash_init(&set->table);
    list_init(&set->order);
}

void topicset_deinit(struct topicset *set)
{
    assert(!set->root);
    hash_deinit(&set->table);
}

static uint64_t hash(const struct topicset *set, struct span topic)
{
    return hash_of(&set->table, topic.data, topic.size);
}

struct topicset_entry *topicset_find(const struct topicset *set, struct span topic)
{
    if (set->table.count == 0)
        return NULL;
    HASH_FOREACH (node, &set->table, hash(set, topic)) {
        struct topicset_entry *entry = CONTAINER_OF(node, struct topicset_entry, node);
        if (span_equal(entry->topic, topic))
            return entry;
    }
    return NULL;
}

/* The least entry that does not come before the key. */
static struct topicset_entry *seek(const struct topicset *set, struct span key)
{
    struct topicset_entry *found = NULL;

    for (struct topicset_entry *at = set->root; at;) {
        if (compare(at->topic, key) < 0) {
            at = at->right;
        } else {
            found = at;
            at = at->left;
        }
    }
    return found;
}

/* Whether `a` is to stand above `b`: the hashes are as good as dice. */
static bool is_above(const struct topicset_entry *a, const struct topicset_entry *b)
{
    return a->node.hash > b->node.hash;
}

/* Parts a tree into what comes before the key and what does not. */
static void split(struct topicset_entry *at, struct span key, struct topicset_entry **left,
                  struct topicset_entry **right)
{
    while (at) {
        if (compare(at->topic, key) < 0) {
            *left = at;
            left = &at->right;
            at = at->right;
        } else {
            *right = at;
            right = &at->left;
            at = at->left;
        }
    }
    *left = NULL;
    *right = NULL;
}

/* Puts two trees together of which all of `a` comes before all of `b`. */
static void join(struct topicset_entry *a, struct topicset_entry *b, struct topicset_entry **link)
{
    while (a && b) {
        if (is_above(a, b)) {
            *link = a;
            link = &a->right;
            a = a->right;
        } else {
            *link = b;
            link = &b->left;
            b = b->left;
        }
    }
    *link = a ? a : b;
}

int topicset_add(struct topicset *set, struct topicset_entry *entry)
{
    struct topicset_entry **link = &set->root;

    int r = hash_add(&set->table, &entry->node, hash(set, entry->topic));
    if (r < 0)
        return r;
    struct topicset_entry *behind = seek(set, entry->topic);
    list_insert_before(behind ? &behind->order : &set->order, &entry->order);
    while (*link && is_above(*link, entry))
        link = compare((*link)->topic, entry->topic) < 0 ? &(*link)->right : &(*link)->left;
    split(*link, entry->topic, &entry->left, &entry->right);
    *link = entry;
    return 0;
}

void topicset_remove(struct topicset *set, struct topicset_entry *entry)
{
    struct topicset_entry **link = &set->root;

    while (*link != entry)
        link = compare((*link)->topic, entry->topic) < 0 ? &(*link)->right : &(*link)->left;
    join(entry->left, entry->right, link);
    list_remove(&entry->order);
    hash_remove(&set->table, &entry->node);
}

/* --------------------------------------------------------------- walks */

/* The key to leap to: what of a topic is kept, and what comes then. */
struct leap {
    size_t size;
    char text[2 * GRAMMAR_NAME_MAX + 2];
};

static void leap_set(struct leap *leap, struct span kept, struct span then)
{
    memcpy(leap->text, kept.data, kept.size);
    if (then.size > 0)
        memcpy(leap->text + kept.size, then.data, then.size);
    leap->size = kept.size + then.size;
}

static struct span segment_at(struct span text, size_t start)
{
    const char *dot = memchr(text.data + start, '.', text.size - start);
    size_t end = dot ? (size_t)(dot - text.data) : text.size;

    return (struct span){text.data + start, end - start};
}

/* Whether the topic matches. If not, *ret_leap is where the next one that could is not
 * before; empty: there is none. */
static bool match(struct span pattern, struct span topic, struct leap *ret_leap)
{
    static const char behind[] = {BEHIND_DOT};
    const struct span beyond = {behind, 1};
    bool has_star = false;
    size_t star_end = 0; /* of what stands in the topic for the last '*' */
    size_t p = 0;
    size_t t = 0;

    ret_leap->size = 0;
    if ((pattern.data[0] == '*' || pattern.data[0] == '#') && grammar_is_reserved(topic)) {
        leap_set(ret_leap, SPAN("bus"), beyond);
        return false;
    }
    for (; p <= pattern.size; p += segment_at(pattern, p).size + 1) {
        struct span wanted = segment_at(pattern, p);
        if (span_equal(wanted, SPAN("#")))
            return true;
        if (t > topic.size) {
            /* What it lacks stands below it. */
            leap_set(ret_leap, topic, SPAN("."));
            return false;
        }
        struct span segment = segment_at(topic, t);
        if (span_equal(wanted, SPAN("*"))) {
            has_star = true;
            star_end = t + segment.size;
        } else if (compare(segment, wanted) < 0) {
            leap_set(ret_leap, (struct span){topic.data, t}, wanted);
            return false;
        } else if (!span_equal(wanted, segment)) {
            if (has_star)
                leap_set(ret_leap, (struct span){topic.data, star_end}, beyond);
            return false;
        }
        t += segment.size + 1;
    }
    if (t > topic.size)
        return true;
    leap_set(ret_leap, (struct span){topic.data, t - 1}, beyond);
    return false;
}

/* Before what all matches begin with. */
static struct span literal_prefix(struct span pattern)
{
    size_t size = 0;

    while (size < pattern.size && pattern.data[size] != '*' && pattern.data[size] != '#')
        size++;
    /* '#' stands for nothing, too: "a.#" matches "a". */
    if (size > 0 && size < pattern.size)
        size--;
    return (struct span){pattern.data, size};
}

void topicset_walk_init(struct topicset_walk *walk, const struct topicset *set, struct span pattern)
{
    *walk = (struct topicset_walk){.set = set,
                                   .pattern = pattern,
                                   .next = seek(set, literal_prefix(pattern)),
                                   .effort = TOPICSET_LEAP_EFFORT};
}

struct topicset_entry *topicset_walk_next(struct topicset_walk *walk)
{
    const struct topicset *set = walk->set;
    struct leap leap;

    while (walk->next) {
        struct topicset_entry *entry = walk->next;
        walk->effort++;
        if (match(walk->pattern, entry->topic, &leap)) {
            struct list *next = entry->order.next;
            walk->next =
                next == &set->order ? NULL : LIST_ENTRY(next, struct topicset_entry, order);
            return entry;
        }
        walk->effort += TOPICSET_LEAP_EFFORT;
        walk->next = leap.size > 0 ? seek(set, (struct span){leap.text, leap.size}) : NULL;
    }
    return NULL;
}
