/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/model-values.h"

#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/wire/errors.h"
#include "tests/fuzz/fuzz.h"

struct model_value *model_values_find(struct model_values *values, struct span topic)
{
    for (size_t i = 0; i < MODEL_VALUES; i++)
        if (values->values[i].rest && span_equal(model_value_topic(&values->values[i]), topic))
            return &values->values[i];
    return NULL;
}

/* Segment by segment: a dot comes before all else, and the end before that. */
static bool comes_before(struct span a, struct span b)
{
    for (size_t i = 0; i < a.size && i < b.size; i++)
        if (a.data[i] != b.data[i])
            return a.data[i] == '.' || (b.data[i] != '.' && a.data[i] < b.data[i]);
    return a.size < b.size;
}

struct model_value *model_values_next(struct model_values *values, const struct model_value *last)
{
    struct model_value *next = NULL;

    for (size_t i = 0; i < MODEL_VALUES; i++) {
        struct model_value *value = &values->values[i];
        if (value->rest &&
            (!last || comes_before(model_value_topic(last), model_value_topic(value))) &&
            (!next || comes_before(model_value_topic(value), model_value_topic(next))))
            next = value;
    }
    return next;
}

size_t model_values_count(const struct model_values *values, size_t *ret_timed)
{
    size_t count = 0;

    *ret_timed = 0;
    for (size_t i = 0; i < MODEL_VALUES; i++) {
        count += values->values[i].rest != NULL;
        *ret_timed += values->values[i].rest && values->values[i].at > 0;
    }
    return count;
}

void model_value_end(struct model_value *value)
{
    free(value->rest);
    *value = (struct model_value){.rest = NULL};
}

int model_values_set(struct model_values *values, const struct envelope *envelope, uint64_t max,
                     const struct model_value *value)
{
    struct model_value *place = model_values_find(values, envelope->topic);
    uint64_t count = 0;

    if (envelope->body.size == 0 || span_is(envelope->body, "null")) {
        if (place)
            model_value_end(place);
        return 0;
    }
    for (size_t i = 0; i < MODEL_VALUES; i++)
        count += values->values[i].rest && !values->values[i].gone &&
                 values->values[i].player == value->player;
    if (count >= max && !(place && !place->gone && place->player == value->player))
        return WIRE_LIMIT_EXCEEDED;
    for (size_t i = 0; i < MODEL_VALUES && !place; i++)
        place = values->values[i].rest ? NULL : &values->values[i];
    FUZZ_CHECK(place, "the model has no room for a value");
    model_value_end(place);
    *place = *value;
    place->size = envelope->rest.size;
    place->rest = malloc(place->size);
    memcpy(place->rest, envelope->rest.data, place->size);
    place->topic_size = envelope->topic.size;
    memcpy(place->topic, envelope->topic.data, place->topic_size);
    place->connection = span_is(envelope->retain, "connection");
    return 0;
}
