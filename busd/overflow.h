/* SPDX-License-Identifier: MIT */
/*
 * What becomes of the events of a subscription whose subscriber does not keep up. The
 * stronger the promise, the larger the number: of several subscriptions that match one
 * topic, the strongest promise of them all holds.
 */
#ifndef BUSD_OVERFLOW_H
#define BUSD_OVERFLOW_H

#include "libbus/base/span.h"

enum overflow_policy {
    OVERFLOW_LATEST,     /* an older event of a topic gives way to a newer one */
    OVERFLOW_DROP,       /* past the hard limit events are dropped, with a notice */
    OVERFLOW_DISCONNECT, /* … and the subscriber is disconnected instead */
    OVERFLOW_COUNT
};

static inline const char *overflow_name(enum overflow_policy overflow)
{
    static const char *const names[] = {
        [OVERFLOW_LATEST] = "latest",
        [OVERFLOW_DROP] = "drop",
        [OVERFLOW_DISCONNECT] = "disconnect",
    };

    return names[overflow];
}

/* OVERFLOW_COUNT if there is none of this name. */
static inline enum overflow_policy overflow_from_name(struct span name)
{
    enum overflow_policy overflow = OVERFLOW_LATEST;

    while (overflow < OVERFLOW_COUNT && !span_is(name, overflow_name(overflow)))
        overflow++;
    return overflow;
}

#endif
