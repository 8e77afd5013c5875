/* SPDX-License-Identifier: MIT */
#include "busd/deadlines.h"

#define SLOT_MASK (DEADLINES_SLOTS - 1)
/* The slot of a deadline that is in the list of the expired. */
#define LEVEL_EXPIRED DEADLINES_LEVELS

static unsigned shift_of(unsigned level)
{
    return level * DEADLINES_SLOT_BITS;
}

void deadlines_init(struct deadlines *deadlines, uint64_t now)
{
    *deadlines = (struct deadlines){.now = now};
    for (unsigned level = 0; level < DEADLINES_LEVELS; level++)
        for (unsigned slot = 0; slot < DEADLINES_SLOTS; slot++)
            list_init(&deadlines->slots[level][slot]);
    list_init(&deadlines->expired);
}

void deadline_init(struct deadline *deadline, enum deadline_kind kind)
{
    *deadline = (struct deadline){.kind = (unsigned char)kind};
    list_init(&deadline->link);
}

/* The level is that of the highest group of bits in which the deadline differs
 * from now: there its slot lies ahead of the hand. */
static void place(struct deadlines *deadlines, struct deadline *deadline)
{
    if (deadline->at <= deadlines->now) {
        deadline->level = LEVEL_EXPIRED;
        list_append(&deadlines->expired, &deadline->link);
        return;
    }

    unsigned highest = 63 - (unsigned)__builtin_clzll(deadline->at ^ deadlines->now);
    unsigned level = highest / DEADLINES_SLOT_BITS;
    unsigned slot = deadline->at >> shift_of(level) & SLOT_MASK;

    deadline->level = (unsigned char)level;
    deadline->slot = (unsigned char)slot;
    list_append(&deadlines->slots[level][slot], &deadline->link);
    deadlines->occupied[level] |= UINT64_C(1) << slot;
}

void deadlines_add(struct deadlines *deadlines, struct deadline *deadline, uint64_t at)
{
    deadline->at = MIN(at, (UINT64_C(1) << shift_of(DEADLINES_LEVELS)) - 1);
    deadlines->count++;
    place(deadlines, deadline);
}

void deadlines_remove(struct deadlines *deadlines, struct deadline *deadline)
{
    if (list_is_empty(&deadline->link))
        return;
    list_remove(&deadline->link);
    deadlines->count--;
    if (deadline->level < DEADLINES_LEVELS &&
        list_is_empty(&deadlines->slots[deadline->level][deadline->slot]))
        deadlines->occupied[deadline->level] &= ~(UINT64_C(1) << deadline->slot);
}

/* When the hand next meets a slot that is not empty; UINT64_MAX if never. Slots
 * behind the hand of a level are empty, for what they held has been moved on. */
static uint64_t next_stop(const struct deadlines *deadlines)
{
    for (unsigned level = 0; level < DEADLINES_LEVELS; level++) {
        if (!deadlines->occupied[level])
            continue;
        uint64_t slot = (uint64_t)__builtin_ctzll(deadlines->occupied[level]);
        uint64_t above = deadlines->now >> shift_of(level + 1) << shift_of(level + 1);
        return above | slot << shift_of(level);
    }
    return UINT64_MAX;
}

uint64_t deadlines_next(const struct deadlines *deadlines)
{
    return list_is_empty(&deadlines->expired) ? next_stop(deadlines) : deadlines->now;
}

struct deadline *deadlines_pop(struct deadlines *deadlines, uint64_t now)
{
    while (list_is_empty(&deadlines->expired)) {
        uint64_t stop = next_stop(deadlines);
        if (stop > now) {
            /* Moving the hand is only right while it passes no occupied slot. */
            if (now > deadlines->now)
                deadlines->now = now;
            return NULL;
        }
        deadlines->now = stop;
        for (unsigned level = 0; level < DEADLINES_LEVELS; level++) {
            unsigned slot = stop >> shift_of(level) & SLOT_MASK;
            if (!(deadlines->occupied[level] & UINT64_C(1) << slot))
                continue;
            struct list moved;
            list_init(&moved);
            list_splice(&moved, &deadlines->slots[level][slot]);
            deadlines->occupied[level] &= ~(UINT64_C(1) << slot);
            LIST_FOREACH_SAFE (node, &moved) {
                list_remove(node);
                place(deadlines, LIST_ENTRY(node, struct deadline, link));
            }
        }
    }

    struct deadline *deadline = LIST_ENTRY(list_first(&deadlines->expired), struct deadline, link);
    list_remove(&deadline->link);
    deadlines->count--;
    return deadline;
}
