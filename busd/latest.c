/* SPDX-License-Identifier: MIT */
#include "busd/latest.h"

#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/wire/grammar.h"

struct latest_event {
    struct hash_node node;
    struct outq_mark mark;
    struct latest *latest;
    struct latest_party *party;
    size_t size;
    char topic[];
};

void latest_init(struct latest *latest)
{
    hash_init(&latest->table);
}

void latest_deinit(struct latest *latest)
{
    hash_deinit(&latest->table);
}

static uint64_t event_hash(const struct latest *latest, const struct latest_party *party,
                           struct span topic)
{
    char key[sizeof(party) + GRAMMAR_NAME_MAX];

    memcpy(key, &party, sizeof(party));
    memcpy(key + sizeof(party), topic.data, topic.size);
    return hash_of(&latest->table, key, sizeof(party) + topic.size);
}

struct latest_event *latest_find(const struct latest *latest, const struct latest_party *party,
                                 struct span topic)
{
    if (party->bytes == 0)
        return NULL;
    HASH_FOREACH (node, &latest->table, event_hash(latest, party, topic)) {
        struct latest_event *event = CONTAINER_OF(node, struct latest_event, node);
        if (event->party == party && span_equal((struct span){event->topic, event->size}, topic))
            return event;
    }
    return NULL;
}

static void on_ended(struct outq_mark *mark, enum outq_end end, const struct piece *piece)
{
    latest_remove(CONTAINER_OF(mark, struct latest_event, mark));
}

struct latest_event *latest_add(struct latest *latest, struct latest_party *party,
                                struct span topic)
{
    struct latest_event *event = malloc(sizeof(*event) + topic.size);

    if (!event)
        return NULL;
    *event = (struct latest_event){
        .latest = latest, .party = party, .size = topic.size, .mark.ended = on_ended};
    memcpy(event->topic, topic.data, topic.size);
    if (hash_add(&latest->table, &event->node, event_hash(latest, party, topic)) < 0) {
        free(event);
        return NULL;
    }
    party->bytes += sizeof(*event) + topic.size;
    return event;
}

void latest_remove(struct latest_event *event)
{
    hash_remove(&event->latest->table, &event->node);
    event->party->bytes -= sizeof(*event) + event->size;
    free(event);
}

struct outq_mark *latest_event_mark(struct latest_event *event)
{
    return &event->mark;
}
