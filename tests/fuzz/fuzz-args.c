/* SPDX-License-Identifier: MIT */
/*
 * The arguments of the bus's own methods. The first four bytes say which a method
 * takes and which of these it needs; the rest, up to the first LF, is the body. As in
 * the broker, only what the scanner has passed gets so far.
 */
#include <jansson.h>

#include "busd/args.h"
#include "libbus/base/macros.h"
#include "libbus/wire/grammar.h"
#include "libbus/wire/scan.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/padded.h"

static void check_text(const struct args *args, const char *key, struct span value)
{
    json_t *found = json_object_get(args->tree, key);
    struct span text = {json_string_value(found), json_string_length(found)};

    FUZZ_CHECK(span_equal(text, value), "%s is '%.*s', not '%.*s'", key, SPAN_ARGS(value),
               SPAN_ARGS(text));
}

static void check_boolean(const struct args *args, const char *key, bool value)
{
    json_t *found = json_object_get(args->tree, key);

    FUZZ_CHECK(!found || json_is_boolean(found), "%s is no boolean", key);
    FUZZ_CHECK(json_is_true(found) == value, "%s is not %d", key, value);
}

static void check_taken(const struct args *args, unsigned takes, unsigned needs)
{
    static const struct {
        const char *key;
        unsigned bit;
    } keys[] = {
        {"name", ARG_NAME},
        {"topic", ARG_TOPIC},
        {"sender", ARG_SENDER},
        {"subscription", ARG_SUBSCRIPTION},
        {"queue", ARG_QUEUE},
        {"replace", ARG_REPLACE},
        {"allow_replacement", ARG_ALLOW_REPLACEMENT},
        {"type", ARG_TYPE},
        {"from", ARG_FROM},
        {"to", ARG_TO},
    };

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        bool there = json_object_get(args->tree, keys[i].key) != NULL;
        FUZZ_CHECK(!there || takes & keys[i].bit, "%s was not asked for", keys[i].key);
        FUZZ_CHECK(there || !(needs & keys[i].bit), "%s is missing", keys[i].key);
    }
}

static void check_args(const struct args *args)
{
    check_text(args, "name", args->name);
    check_text(args, "topic", args->topic);
    check_text(args, "sender", args->sender);
    check_text(args, "from", args->from);
    check_text(args, "to", args->to);
    check_boolean(args, "queue", args->queue);
    check_boolean(args, "replace", args->replace);
    check_boolean(args, "allow_replacement", args->allow_replacement);
    FUZZ_CHECK(!args->name.size || !grammar_check_destination(args->name, NULL), "name");
    FUZZ_CHECK(!args->topic.size || !grammar_check_pattern(args->topic, NULL), "topic");
    FUZZ_CHECK(!args->sender.size || !grammar_check_destination(args->sender, NULL), "sender");
    json_t *subscription = json_object_get(args->tree, "subscription");
    FUZZ_CHECK(args->subscription == (uint64_t)json_integer_value(subscription), "subscription");
    json_t *type = json_object_get(args->tree, "type");
    if (type)
        FUZZ_CHECK(span_is(span_from(json_string_value(type)), message_type_name(args->type)),
                   "type");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {(const char *)data, size};
    unsigned takes = fuzz_byte(&input);
    takes |= (unsigned)fuzz_byte(&input) << 8;
    unsigned needs = fuzz_byte(&input);
    needs = (needs | (unsigned)fuzz_byte(&input) << 8) & takes;
    struct span body = fuzz_first_line((const uint8_t *)input.data, input.size);
    CLEANUP(cleanup_free) char *line = padded_new(body.data, body.size);
    CLEANUP(text_deinit) struct text described = TEXT_INIT;
    struct scan_fault fault;
    char reason[ARGS_REASON_SIZE] = "";
    struct args args;

    takes &= ARG_TO * 2 - 1;
    needs &= takes;
    args_describe(&described, takes, needs);
    json_t *tree = json_loadb(described.data, described.size, 0, NULL);
    FUZZ_CHECK(tree, "the description is no JSON: %s", described.data);
    json_decref(tree);
    if (body.size > 0 && !scan_text(line, body.size, &fault))
        return 0;

    int r = args_parse(&args, (struct span){line, body.size}, takes, needs, reason);
    if (r == 0) {
        check_taken(&args, takes, needs);
        check_args(&args);
        args_deinit(&args);
    } else {
        FUZZ_CHECK(r == WIRE_INVALID_ARGUMENTS && reason[0], "%d without a reason", r);
        FUZZ_CHECK(memchr(reason, '\0', sizeof(reason)), "a reason without end");
    }
    return 0;
}
