/* SPDX-License-Identifier: MIT */
#include "busd/limits.h"

#include <stddef.h>

#include "libbus/base/macros.h"

static const struct {
    const char *name;
    size_t offset;
    uint64_t system;
    uint64_t user;
    uint64_t smallest;
    uint64_t largest;
} rows[] = {
#define X(name, system, user, smallest, largest, sentence)                                         \
    {#name, offsetof(struct limits, name), system, user, smallest, largest},
    LIMITS(X)
#undef X
};

static uint64_t *field(struct limits *limits, size_t index)
{
    return (uint64_t *)(void *)((char *)limits + rows[index].offset);
}

void limits_init(struct limits *limits, bool system)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        *field(limits, i) = system ? rows[i].system : rows[i].user;
}

const char *limits_set(struct limits *limits, struct span name, uint64_t value,
                       uint64_t *ret_smallest, uint64_t *ret_largest)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (!span_is(name, rows[i].name))
            continue;
        if (value < rows[i].smallest || value > rows[i].largest) {
            *ret_smallest = rows[i].smallest;
            *ret_largest = rows[i].largest;
            return "the value is out of range";
        }
        *field(limits, i) = value;
        return NULL;
    }
    *ret_smallest = 0;
    *ret_largest = 0;
    return "there is no such limit";
}

bool limits_get(const struct limits *limits, size_t index, const char **ret_name,
                uint64_t *ret_value)
{
    if (index >= ARRAY_SIZE(rows))
        return false;
    *ret_name = rows[index].name;
    *ret_value = *(const uint64_t *)(const void *)((const char *)limits + rows[index].offset);
    return true;
}
