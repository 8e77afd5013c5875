/* SPDX-License-Identifier: MIT */
#include "busd/config.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"

void config_init(struct config *config, bool system)
{
    limits_init(&config->limits, system);
}

static bool set_limit(struct limits *limits, struct span name, uint64_t value,
                      char reason[CONFIG_REASON_SIZE])
{
    uint64_t smallest, largest;
    const char *wrong = limits_set(limits, name, value, &smallest, &largest);
    size_t used;

    if (!wrong)
        return true;
    used = (size_t)snprintf(reason, CONFIG_REASON_SIZE, "limit '%.*s': %s", SPAN_ARGS(name), wrong);
    if (largest > 0) {
        snprintf(reason + used, CONFIG_REASON_SIZE - used, ": from %" PRIu64 " to %" PRIu64,
                 smallest, largest);
        return false;
    }
    const char *known;
    for (size_t i = 0; used < CONFIG_REASON_SIZE && limits_get(limits, i, &known, &value); i++)
        used += (size_t)snprintf(reason + used, CONFIG_REASON_SIZE - used, "%s%s",
                                 i == 0 ? ": there are " : ", ", known);
    return false;
}

static bool read_limits(struct limits *limits, const json_t *tree, const char *path,
                        char reason[CONFIG_REASON_SIZE])
{
    const char *key;
    json_t *value;

    if (!json_is_object(tree)) {
        snprintf(reason, CONFIG_REASON_SIZE, "%s: 'limits' must be an object", path);
        return false;
    }
    json_object_foreach((json_t *)(uintptr_t)tree, key, value)
    {
        char wrong[CONFIG_REASON_SIZE / 2];
        json_int_t number = json_integer_value(value);
        if (!json_is_integer(value) || number < 0) {
            snprintf(reason, CONFIG_REASON_SIZE,
                     "%s: limit '%.100s': it must be an integer of at least 0", path, key);
            return false;
        }
        char full[CONFIG_REASON_SIZE];
        if (!set_limit(limits, span_from(key), (uint64_t)number, full)) {
            snprintf(wrong, sizeof(wrong), "%.*s", (int)sizeof(wrong) - 1, full);
            snprintf(reason, CONFIG_REASON_SIZE, "%.200s: %s", path, wrong);
            return false;
        }
    }
    return true;
}

bool config_read(struct config *config, const char *path, char reason[CONFIG_REASON_SIZE])
{
    struct config result = *config;
    json_error_t error;
    const char *key;
    json_t *value;

    json_t *tree = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!tree) {
        if (error.line > 0)
            snprintf(reason, CONFIG_REASON_SIZE, "%s:%d:%d: %s", path, error.line, error.column,
                     error.text);
        else
            snprintf(reason, CONFIG_REASON_SIZE, "%s: %s", path,
                     error.text[0] ? error.text : strerror(ENOMEM));
        return false;
    }
    bool right = json_is_object(tree);
    if (!right)
        snprintf(reason, CONFIG_REASON_SIZE, "%s: it must be an object", path);
    json_object_foreach(tree, key, value)
    {
        if (right && strcmp(key, "limits") != 0) {
            snprintf(reason, CONFIG_REASON_SIZE, "%s: there is no key '%.100s': there is 'limits'",
                     path, key);
            right = false;
        }
        right = right && read_limits(&result.limits, value, path, reason);
    }
    json_decref(tree);
    if (right)
        *config = result;
    return right;
}

bool config_set_limit(struct config *config, const char *assignment,
                      char reason[CONFIG_REASON_SIZE])
{
    const char *equals = strchr(assignment, '=');
    char *end;

    errno = 0;
    uint64_t value = equals ? strtoull(equals + 1, &end, 10) : 0;
    if (!equals || errno || equals[1] < '0' || equals[1] > '9' || *end) {
        snprintf(reason, CONFIG_REASON_SIZE,
                 "'%.100s' is no limit: it must be NAME=NUMBER, like connections=100", assignment);
        return false;
    }
    return set_limit(&config->limits, (struct span){assignment, (size_t)(equals - assignment)},
                     value, reason);
}
