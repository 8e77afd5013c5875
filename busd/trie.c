/* SPDX-License-Identifier: MIT */
#include "busd/trie.h"

#include <assert.h>
#include <stdlib.h>

#include "libbus/wire/grammar.h"

static struct trie_node *node_new(struct trie_node *parent, struct span segment)
{
    struct trie_node *node = malloc(sizeof(*node) + segment.size);

    if (!node)
        return NULL;
    *node = (struct trie_node){.parent = parent, .size = segment.size};
    if (segment.size > 0)
        memcpy(node->segment, segment.data, segment.size);
    list_init(&node->items);
    return node;
}

static uint64_t child_hash(const struct trie *trie, const struct trie_node *parent,
                           struct span segment)
{
    char key[sizeof(parent) + GRAMMAR_NAME_MAX];

    memcpy(key, &parent, sizeof(parent));
    memcpy(key + sizeof(parent), segment.data, segment.size);
    return hash_of(&trie->nodes, key, sizeof(parent) + segment.size);
}

static struct trie_node *find_child(const struct trie *trie, const struct trie_node *parent,
                                    struct span segment)
{
    HASH_FOREACH (node, &trie->nodes, child_hash(trie, parent, segment)) {
        struct trie_node *child = CONTAINER_OF(node, struct trie_node, node);
        if (child->parent == parent &&
            span_equal((struct span){child->segment, child->size}, segment))
            return child;
    }
    return NULL;
}

static struct trie_node **wildcard_link(struct trie_node *parent, struct span segment)
{
    if (span_equal(segment, SPAN("*")))
        return &parent->star;
    return span_equal(segment, SPAN("#")) ? &parent->rest : NULL;
}

static struct trie_node *get_child(struct trie *trie, struct trie_node *parent, struct span segment)
{
    struct trie_node **link = wildcard_link(parent, segment);
    struct trie_node *child = link ? *link : find_child(trie, parent, segment);

    if (child)
        return child;
    child = node_new(parent, segment);
    if (!child)
        return NULL;
    if (link) {
        *link = child;
    } else if (hash_add(&trie->nodes, &child->node, child_hash(trie, parent, segment)) < 0) {
        free(child);
        return NULL;
    }
    parent->children++;
    return child;
}

/* Cuts the first segment off. */
static struct span next_segment(struct span *text)
{
    const char *dot = memchr(text->data, '.', text->size);
    struct span segment = {text->data, dot ? (size_t)(dot - text->data) : text->size};
    size_t cut = segment.size + (dot ? 1 : 0);

    text->data += cut;
    text->size -= cut;
    return segment;
}

void trie_init(struct trie *trie)
{
    *trie = (struct trie){0};
    hash_init(&trie->nodes);
}

void trie_deinit(struct trie *trie)
{
    assert(!trie->root || (trie->root->children == 0 && list_is_empty(&trie->root->items)));
    hash_deinit(&trie->nodes);
    free(trie->root);
}

struct trie_node *trie_add(struct trie *trie, struct span pattern)
{
    if (!trie->root && !(trie->root = node_new(NULL, (struct span){0})))
        return NULL;
    struct trie_node *node = trie->root;
    for (struct span rest = pattern; rest.size > 0;) {
        struct trie_node *child = get_child(trie, node, next_segment(&rest));
        if (!child) {
            trie_prune(trie, node);
            return NULL;
        }
        node = child;
    }
    return node;
}

void trie_prune(struct trie *trie, struct trie_node *node)
{
    while (node->parent && node->children == 0 && list_is_empty(&node->items)) {
        struct trie_node *parent = node->parent;
        if (parent->star == node)
            parent->star = NULL;
        else if (parent->rest == node)
            parent->rest = NULL;
        else
            hash_remove(&trie->nodes, &node->node);
        parent->children--;
        free(node);
        node = parent;
    }
}

/* ---------------------------------------------------------------- walks */

struct walk {
    const struct trie *trie;
    void (*found)(struct trie_node *node, void *userdata);
    void *userdata;
    size_t steps;
};

/* As deep as the topic has segments, 128 at most. */
static void visit(struct walk *walk, struct trie_node *at, struct span topic)
{
    bool broker_topic = !at->parent && grammar_is_reserved(topic);

    walk->steps++;
    if (at->rest && !broker_topic) {
        walk->steps++;
        walk->found(at->rest, walk->userdata);
    }
    if (topic.size == 0) {
        walk->found(at, walk->userdata);
        return;
    }
    struct span rest = topic;
    struct span segment = next_segment(&rest);
    struct trie_node *child = find_child(walk->trie, at, segment);
    if (child)
        visit(walk, child, rest);
    if (at->star && !broker_topic)
        visit(walk, at->star, rest);
}

size_t trie_walk(const struct trie *trie, struct span topic,
                 void (*found)(struct trie_node *node, void *userdata), void *userdata)
{
    struct walk walk = {trie, found, userdata, 0};

    if (trie->root)
        visit(&walk, trie->root, topic);
    return walk.steps;
}

size_t trie_size(struct span pattern)
{
    size_t size = 1;

    for (size_t i = 0; i < pattern.size; i++)
        size += pattern.data[i] == '.';
    return size;
}

size_t trie_weight(struct span pattern)
{
    bool behind = false;
    size_t weight = 0;

    while (pattern.size > 0) {
        struct span segment = next_segment(&pattern);
        weight += behind;
        behind = behind || span_equal(segment, SPAN("*"));
    }
    return weight;
}
