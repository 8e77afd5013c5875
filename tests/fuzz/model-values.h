/* SPDX-License-Identifier: MIT */
/*
 * The model's last values: an array that is searched from end to end. It knows neither
 * names nor subscriptions; model.c says who may set and who gets to see what.
 */
#ifndef TESTS_FUZZ_MODEL_VALUES_H
#define TESTS_FUZZ_MODEL_VALUES_H

#include <stdbool.h>
#include <stdint.h>

#include "libbus/wire/envelope.h"
#include "libbus/wire/grammar.h"

#define MODEL_VALUES 128

struct model_value {
    char *rest; /* malloc'ed, what a client has sent behind its opening brace; NULL: none */
    size_t size;
    size_t topic_size;
    char topic[GRAMMAR_NAME_MAX];
    bool gone;       /* the publisher has left; else … */
    unsigned player; /* … this is it … */
    uint64_t name;   /* … and this, in any case, the N of its unique name */
    bool connection; /* it ends with the publisher */
    bool guarded;
    uint64_t at; /* its end; 0: none */
};

struct model_values {
    struct model_value values[MODEL_VALUES];
};

static inline struct span model_value_topic(const struct model_value *value)
{
    return (struct span){value->topic, value->topic_size};
}

/* NULL if there is none. */
struct model_value *model_values_find(struct model_values *values, struct span topic);

/* The first in the order of topics that comes behind this one (NULL: of all); NULL: none. */
struct model_value *model_values_next(struct model_values *values, const struct model_value *last);

/* An event with `retain`: sets the value, or ends it. 0, or WIRE_LIMIT_EXCEEDED with more
 * than `max` topics of this player. */
int model_values_set(struct model_values *values, const struct envelope *envelope, uint64_t max,
                     const struct model_value *value);

/* How many there are, and how many of them have an end. */
size_t model_values_count(const struct model_values *values, size_t *ret_timed);

void model_value_end(struct model_value *value);

#endif
