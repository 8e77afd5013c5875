/* SPDX-License-Identifier: MIT */
/*
 * A hierarchical timer wheel over milliseconds: adding and removing a deadline
 * are O(1), whatever their number (Varghese and Lauck 1987). Pure: it has no
 * clock; the caller says what time it is, and asks when to come again.
 *
 * A `struct deadline` is embedded in the object it belongs to; the wheel never
 * owns it. Ten levels of 64 slots reach 2^60 ms, which nobody will see pass; what is
 * said to lie beyond is taken for that.
 */
#ifndef BUSD_DEADLINES_H
#define BUSD_DEADLINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libbus/base/list.h"

/* What a deadline is for: whoever pops it has to know what it is embedded in. */
enum deadline_kind {
    DEADLINE_CALL,     /* an answer */
    DEADLINE_UNPROVEN, /* a connection's first valid message */
    DEADLINE_LINE,     /* the rest of a line */
    DEADLINE_STALL,    /* the reading of what waits */
    DEADLINE_RETAINED, /* the end of a last value */
};

#define DEADLINES_LEVELS    10
#define DEADLINES_SLOT_BITS 6
#define DEADLINES_SLOTS     (1 << DEADLINES_SLOT_BITS)

struct deadline {
    struct list link;
    uint64_t at; /* milliseconds on the caller's clock */
    unsigned char level;
    unsigned char slot;
    unsigned char kind;
};

struct deadlines {
    uint64_t now; /* everything before it has been handed out */
    size_t count;
    uint64_t occupied[DEADLINES_LEVELS]; /* a bit per slot that is not empty */
    struct list slots[DEADLINES_LEVELS][DEADLINES_SLOTS];
    struct list expired;
};

void deadlines_init(struct deadlines *deadlines, uint64_t now);

/* `deadline` must be in no wheel. One that has passed expires at the next pop. */
void deadlines_add(struct deadlines *deadlines, struct deadline *deadline, uint64_t at);

/* Does nothing to one that is in no wheel (after deadline_init or removal). */
void deadlines_remove(struct deadlines *deadlines, struct deadline *deadline);

void deadline_init(struct deadline *deadline, enum deadline_kind kind);

static inline bool deadline_is_set(const struct deadline *deadline)
{
    return !list_is_empty(&deadline->link);
}

/* The next deadline that is at or before `now`, taken out of the wheel; NULL if
 * there is none. `now` never goes backwards. */
struct deadline *deadlines_pop(struct deadlines *deadlines, uint64_t now);

/* A time not after the earliest deadline, to come again at: exact within 64 ms,
 * coarser but never late beyond. UINT64_MAX if there is none. */
uint64_t deadlines_next(const struct deadlines *deadlines);

#endif
