/* SPDX-License-Identifier: MIT */
#include "tests/support/json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANY    "*"
#define OTHERS "..."

struct comparison {
    char path[256];
    char *why;
    size_t why_size;
};

static bool differ(struct comparison *comparison, const char *what, const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;

    snprintf(comparison->why, comparison->why_size, "%s: %s%s%s",
             comparison->path[0] ? comparison->path : "the message", what, text ? " " : "",
             text ? text : "");
    free(text);
    return false;
}

static bool compare(struct comparison *comparison, const json_t *expected, const json_t *got);

static bool compare_member(struct comparison *comparison, const char *key, const json_t *expected,
                           const json_t *got)
{
    size_t length = strlen(comparison->path);

    snprintf(comparison->path + length, sizeof(comparison->path) - length, "%s%s",
             length > 0 ? "." : "", key);
    bool same = got ? compare(comparison, expected, got) : differ(comparison, "is missing", NULL);
    comparison->path[length] = '\0';
    return same;
}

static bool compare_objects(struct comparison *comparison, const json_t *expected,
                            const json_t *got)
{
    const char *key;
    json_t *value;
    bool open = json_object_get(expected, OTHERS);

    json_object_foreach((json_t *)(uintptr_t)expected, key, value)
    {
        if (strcmp(key, OTHERS) != 0 &&
            !compare_member(comparison, key, value, json_object_get(got, key)))
            return false;
    }
    json_object_foreach((json_t *)(uintptr_t)got, key, value)
    {
        if (!open && !json_object_get(expected, key)) {
            char what[300];
            snprintf(what, sizeof(what), "has a key '%s' that was not expected:", key);
            return differ(comparison, what, value);
        }
    }
    return true;
}

static bool compare_arrays(struct comparison *comparison, const json_t *expected, const json_t *got)
{
    char index[32];

    if (json_array_size(expected) != json_array_size(got))
        return differ(comparison, "has another number of elements:", got);
    for (size_t i = 0; i < json_array_size(expected); i++) {
        snprintf(index, sizeof(index), "%zu", i);
        if (!compare_member(comparison, index, json_array_get(expected, i), json_array_get(got, i)))
            return false;
    }
    return true;
}

static bool compare(struct comparison *comparison, const json_t *expected, const json_t *got)
{
    if (json_is_string(expected) && strcmp(json_string_value(expected), ANY) == 0)
        return true;
    if (json_is_object(expected) && json_is_object(got))
        return compare_objects(comparison, expected, got);
    if (json_is_array(expected) && json_is_array(got))
        return compare_arrays(comparison, expected, got);
    return json_equal(expected, got) || differ(comparison, "is", got);
}

bool json_matches(const json_t *expected, const json_t *got, char *why, size_t why_size)
{
    struct comparison comparison = {.why = why, .why_size = why_size};

    return compare(&comparison, expected, got);
}
