/* SPDX-License-Identifier: MIT */
#include "busd/args.h"

#include <stddef.h>
#include <stdio.h>

#include "libbus/base/macros.h"
#include "libbus/wire/grammar.h"

enum arg_kind {
    KIND_DESTINATION, /* a unique or well-known name, or "bus" */
    KIND_PATTERN,
    KIND_METHOD,
    KIND_GROUP,
    KIND_TYPE,
    KIND_WORD,
    KIND_INTEGER, /* at least 1 */
    KIND_ID,      /* of a user: 0 … 2^32-2 */
    KIND_IDS,
    KIND_BOOLEAN,
    KIND_RETAINED, /* true, false or "only" */
    KIND_OVERFLOW,
};

static const char *const kind_names[] = {
    [KIND_METHOD] = "method",
    [KIND_GROUP] = "name of a group",
    [KIND_WORD] = "string",
    [KIND_ID] = "user or group number",
    [KIND_IDS] = "array of group numbers",
    [KIND_DESTINATION] = "name",
    [KIND_PATTERN] = "pattern",
    [KIND_TYPE] = "message type",
    [KIND_INTEGER] = "integer",
    [KIND_BOOLEAN] = "boolean",
    [KIND_RETAINED] = "boolean or 'only'",
    [KIND_OVERFLOW] = "'drop', 'latest' or 'disconnect'",
};

static const struct {
    const char *key;
    enum arg_kind kind;
    size_t offset;
} table[] = {
    {"name", KIND_DESTINATION, offsetof(struct args, name)},
    {"topic", KIND_PATTERN, offsetof(struct args, topic)},
    {"sender", KIND_DESTINATION, offsetof(struct args, sender)},
    {"subscription", KIND_INTEGER, offsetof(struct args, subscription)},
    {"queue", KIND_BOOLEAN, offsetof(struct args, queue)},
    {"replace", KIND_BOOLEAN, offsetof(struct args, replace)},
    {"allow_replacement", KIND_BOOLEAN, offsetof(struct args, allow_replacement)},
    {"type", KIND_TYPE, offsetof(struct args, type)},
    {"from", KIND_DESTINATION, offsetof(struct args, from)},
    {"to", KIND_DESTINATION, offsetof(struct args, to)},
    {"verb", KIND_WORD, offsetof(struct args, verb)},
    {"method", KIND_METHOD, offsetof(struct args, method)},
    {"peer", KIND_DESTINATION, offsetof(struct args, peer)},
    {"uid", KIND_ID, offsetof(struct args, uid)},
    {"gids", KIND_IDS, offsetof(struct args, gids)},
    {"listener", KIND_WORD, offsetof(struct args, listener)},
    {"retained", KIND_RETAINED, offsetof(struct args, retained)},
    {"overflow", KIND_OVERFLOW, offsetof(struct args, overflow)},
    {"shared", KIND_BOOLEAN, offsetof(struct args, shared)},
    {"group", KIND_GROUP, offsetof(struct args, group)},
};

static const char *set_text(struct args *args, size_t i, json_t *value)
{
    struct span text = {json_string_value(value), json_string_length(value)};
    void *field = (char *)args + table[i].offset;

    if (!json_is_string(value))
        return "it must be a string";
    if (table[i].kind == KIND_TYPE) {
        *(enum message_type *)field = message_type_from_name(text);
        return args->type ? NULL : "it must be call, reply, error, event or cancel";
    }
    if (table[i].kind == KIND_OVERFLOW) {
        *(enum overflow_policy *)field = overflow_from_name(text);
        return args->overflow < OVERFLOW_COUNT ? NULL : "it must be drop, latest or disconnect";
    }
    *(struct span *)field = text;
    switch (table[i].kind) {
    case KIND_PATTERN:
        return grammar_check_pattern(text, NULL);
    case KIND_METHOD:
        return grammar_check_method(text, NULL);
    case KIND_GROUP:
        return grammar_check_group(text, NULL);
    case KIND_WORD:
        return NULL;
    default:
        return grammar_check_destination(text, NULL);
    }
}

static bool is_id(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 &&
           json_integer_value(value) < UINT32_MAX;
}

static const char *set_ids(struct args *args, size_t i, json_t *value)
{
    const json_t *id;
    size_t j;

    if (table[i].kind == KIND_ID) {
        args->has_uid = true;
        args->uid = (uint64_t)json_integer_value(value);
        return is_id(value) ? NULL : "it must be a number from 0 to 2^32-2";
    }
    if (!json_is_array(value))
        return "it must be an array of numbers from 0 to 2^32-2";
    json_array_foreach(value, j, id)
    {
        if (!is_id(id))
            return "it must be an array of numbers from 0 to 2^32-2";
    }
    args->gids = value;
    return NULL;
}

static const char *set_retained(enum args_retained *retained, const json_t *value)
{
    *retained = json_is_true(value)    ? ARGS_RETAINED_FIRST
                : json_is_false(value) ? ARGS_RETAINED_NO
                                       : ARGS_RETAINED_ONLY;
    if (json_is_boolean(value) ||
        (json_is_string(value) && strcmp(json_string_value(value), "only") == 0))
        return NULL;
    return "it must be true, false or \"only\"";
}

/* NULL, or what is wrong with the value. */
static const char *set_value(struct args *args, size_t i, json_t *value)
{
    void *field = (char *)args + table[i].offset;

    switch (table[i].kind) {
    case KIND_BOOLEAN:
        *(bool *)field = json_is_true(value);
        return json_is_boolean(value) ? NULL : "it must be true or false";
    case KIND_RETAINED:
        return set_retained(field, value);
    case KIND_INTEGER:
        *(uint64_t *)field = (uint64_t)json_integer_value(value);
        return json_integer_value(value) > 0 ? NULL : "it must be an integer of at least 1";
    case KIND_ID:
    case KIND_IDS:
        return set_ids(args, i, value);
    default:
        return set_text(args, i, value);
    }
}

static size_t find(const char *key)
{
    size_t i = 0;

    while (i < ARRAY_SIZE(table) && strcmp(table[i].key, key) != 0)
        i++;
    return i;
}

static bool read_tree(struct args *args, unsigned takes, unsigned needs,
                      char reason[ARGS_REASON_SIZE])
{
    unsigned missing = needs;
    const char *key;
    json_t *value;

    json_object_foreach(args->tree, key, value)
    {
        size_t i = find(key);
        if (i == ARRAY_SIZE(table) || !(takes & 1u << i)) {
            CLEANUP(text_deinit) struct text known = TEXT_INIT;
            args_describe(&known, takes, needs);
            snprintf(reason, ARGS_REASON_SIZE, "there is no argument '%.100s': there are %s", key,
                     known.failed ? "others" : known.data);
            return false;
        }
        const char *wrong = set_value(args, i, value);
        if (wrong) {
            snprintf(reason, ARGS_REASON_SIZE, "argument '%s': %s", key, wrong);
            return false;
        }
        missing &= ~(1u << i);
    }
    if (missing) {
        size_t i = (size_t)__builtin_ctz(missing);
        snprintf(reason, ARGS_REASON_SIZE, "argument '%s' (%s) is missing", table[i].key,
                 kind_names[table[i].kind]);
        return false;
    }
    return true;
}

static const char no_memory[] = "the bus is out of memory";

int args_parse(struct args *ret_args, struct span body, unsigned takes, unsigned needs,
               char reason[ARGS_REASON_SIZE])
{
    struct args args = {.overflow = OVERFLOW_DROP};
    json_error_t error;

    args.tree = body.size > 0 ? json_loadb(body.data, body.size,
                                           JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error)
                              : json_object();
    if (!args.tree) {
        /* The scanner has passed it: what is left is a duplicate key, a number too
         * large for 64 bits or \u0000. */
        bool memory = body.size == 0 || json_error_code(&error) == json_error_out_of_memory;
        snprintf(reason, ARGS_REASON_SIZE, "%s", memory ? no_memory : error.text);
        return memory ? WIRE_LIMIT_EXCEEDED : WIRE_INVALID_ARGUMENTS;
    }
    if (json_is_null(args.tree)) {
        json_decref(args.tree);
        args.tree = json_object();
        if (!args.tree) {
            snprintf(reason, ARGS_REASON_SIZE, "%s", no_memory);
            return WIRE_LIMIT_EXCEEDED;
        }
    }
    if (!json_is_object(args.tree))
        snprintf(reason, ARGS_REASON_SIZE, "the body must be an object");
    else if (read_tree(&args, takes, needs, reason)) {
        *ret_args = args;
        return 0;
    }
    args_deinit(&args);
    return WIRE_INVALID_ARGUMENTS;
}

void args_deinit(struct args *args)
{
    json_decref(TAKE(args->tree));
}

void args_describe(struct text *text, unsigned takes, unsigned needs)
{
    const char *separator = "";

    text_append_string(text, "{");
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (!(takes & 1u << i))
            continue;
        text_printf(text, "%s\"%s\":\"%s%s\"", separator, table[i].key, kind_names[table[i].kind],
                    needs & 1u << i ? "" : ", optional");
        separator = ",";
    }
    text_append_string(text, "}");
}
