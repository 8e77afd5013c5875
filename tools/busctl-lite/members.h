/* SPDX-License-Identifier: MIT */
/*
 * Members of an object that came from the bus, for printing: a member that is
 * missing, or is something else, is empty.
 */
#ifndef BUSCTL_MEMBERS_H
#define BUSCTL_MEMBERS_H

#include <jansson.h>
#include <stdint.h>

static inline const char *string_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static inline int64_t integer_at(const json_t *object, const char *key)
{
    return (int64_t)json_integer_value(json_object_get(object, key));
}

#endif
