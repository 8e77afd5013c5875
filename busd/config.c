/* SPDX-License-Identifier: MIT */
#include "busd/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "busd/documents.h"
#include "busd/rules.h"
#include "libbus/base/macros.h"
#include "libbus/base/text.h"
#include "libbus/wire/address.h"

#define NO_OWNER ((uid_t)-1)
#define NO_GROUP ((gid_t)-1)

/* -------------------------------------------------------------- limits */

static void describe_limit(struct text *text, struct span name, const char *wrong,
                           uint64_t smallest, uint64_t largest)
{
    struct limits limits;
    const char *known;
    uint64_t value;

    text_printf(text, "limit '%.*s': %s: ", (int)MIN(name.size, (size_t)100), name.data, wrong);
    if (largest > 0) {
        text_printf(text, "from %" PRIu64 " to %" PRIu64, smallest, largest);
        return;
    }
    limits_init(&limits, false);
    for (size_t i = 0; limits_get(&limits, i, &known, &value); i++)
        text_printf(text, "%s%s", i == 0 ? "there are " : ", ", known);
}

static bool read_limits(struct limits *limits, const struct document *document,
                        const struct document_step *step, const json_t *tree,
                        char reason[CONFIG_REASON_SIZE])
{
    const char *key;
    json_t *value;

    if (!json_is_object(tree)) {
        document_fault(document, step, reason, "limits: it must be an object");
        return false;
    }
    json_object_foreach((json_t *)(uintptr_t)tree, key, value)
    {
        CLEANUP(text_deinit) struct text text = TEXT_INIT;
        struct document_step at = {step, key, 0};
        uint64_t smallest, largest;
        if (!json_is_integer(value) || json_integer_value(value) < 0) {
            document_fault(document, &at, reason, "limit '%.100s': it must be an integer", key);
            return false;
        }
        const char *wrong = limits_set(limits, span_from(key), (uint64_t)json_integer_value(value),
                                       &smallest, &largest);
        if (wrong) {
            describe_limit(&text, span_from(key), wrong, smallest, largest);
            document_fault(document, &at, reason, "%s", text.failed ? wrong : text.data);
            return false;
        }
    }
    return true;
}

static bool assign_limit(struct limits *limits, const char *assignment,
                         char reason[CONFIG_REASON_SIZE])
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;
    const char *equals = strchr(assignment, '=');
    uint64_t smallest, largest;
    char *end;

    errno = 0;
    uint64_t value = equals ? strtoull(equals + 1, &end, 10) : 0;
    if (!equals || errno || equals[1] < '0' || equals[1] > '9' || *end) {
        snprintf(reason, CONFIG_REASON_SIZE,
                 "'%.100s' is no limit: it must be NAME=NUMBER, like connections=100", assignment);
        return false;
    }
    struct span name = {assignment, (size_t)(equals - assignment)};
    const char *wrong = limits_set(limits, name, value, &smallest, &largest);
    if (!wrong)
        return true;
    describe_limit(&text, name, wrong, smallest, largest);
    snprintf(reason, CONFIG_REASON_SIZE, "%s", text.failed ? wrong : text.data);
    return false;
}

bool config_check_limit(const char *assignment, char reason[CONFIG_REASON_SIZE])
{
    struct limits limits;

    limits_init(&limits, false);
    return assign_limit(&limits, assignment, reason);
}

/* ------------------------------------------------------------ listeners */

/* One with the defaults and no address; NULL: out of memory. */
static struct config_listener *add_listener(struct config *config)
{
    struct config_listener *listeners =
        realloc(config->listeners, (config->listener_count + 1) * sizeof(*listeners));
    if (!listeners)
        return NULL;
    config->listeners = listeners;
    struct config_listener *listener = &listeners[config->listener_count++];
    *listener = (struct config_listener){.label = strdup(""),
                                         .mode = config->system ? 0666 : 0600,
                                         .owner = NO_OWNER,
                                         .group = NO_GROUP,
                                         .limits = config->limits};
    return listener->label ? listener : NULL;
}

static bool check_address(const struct config *config, const struct document *document,
                          const struct document_step *step, const char *text,
                          char reason[CONFIG_REASON_SIZE])
{
    struct address address;

    int r = address_parse(text, &address);
    if (r < 0) {
        document_fault(document, step, reason, "address: '%.255s' %s", text,
                       r == -ENAMETOOLONG
                           ? "is longer than the 107 bytes a socket's path can have"
                           : "is none: write unix:/path, /path, unix:@abstract or fd:N");
        return false;
    }
    for (size_t i = 0; i + 1 < config->listener_count; i++) {
        if (config->listeners[i].address && address_is_same(config->listeners[i].address, text)) {
            document_fault(document, step, reason,
                           "address: there is a listener on '%.255s' already", text);
            return false;
        }
    }
    return true;
}

static bool read_own_limits(struct config_listener *listener, const struct document *document,
                            const struct document_step *step, const json_t *value,
                            char reason[CONFIG_REASON_SIZE])
{
    if (!read_limits(&listener->limits, document, step, value, reason))
        return false;
    listener->own_limits = json_incref((json_t *)(uintptr_t)value);
    return true;
}

static bool read_listener_key(struct config *config, struct config_listener *listener,
                              const struct document *document, const struct document_step *step,
                              const json_t *value, char reason[CONFIG_REASON_SIZE])
{
    const char *text = json_string_value(value);
    char *end;

    if (strcmp(step->key, "limits") == 0)
        return read_own_limits(listener, document, step, value, reason);
    if (strcmp(step->key, "policy") == 0)
        return true; /* read when all listeners are known */
    if (strcmp(step->key, "owner") == 0)
        return rules_read_user(document, step, value, &listener->owner, reason);
    if (strcmp(step->key, "group") == 0)
        return rules_read_group(document, step, value, &listener->group, reason);
    if (strcmp(step->key, "mode") == 0) {
        unsigned long mode = text ? strtoul(text, &end, 8) : 0;
        if (!text || *end || text[0] < '0' || text[0] > '7' || mode > 0777) {
            document_fault(document, step, reason,
                           "mode: it must be a string of octal digits like \"0666\"");
            return false;
        }
        listener->mode = (mode_t)mode;
        return true;
    }
    bool is_address = strcmp(step->key, "address") == 0;
    if (!is_address && strcmp(step->key, "label") != 0) {
        document_fault(document, step, reason,
                       "a listener has no '%.100s': it has address, mode, owner, group, label, "
                       "limits and policy",
                       step->key);
        return false;
    }
    char **field = is_address ? &listener->address : &listener->label;
    if (!text || !*text) {
        document_fault(document, step, reason, "%s: it must be a string, and not empty", step->key);
        return false;
    }
    if (is_address && !check_address(config, document, step, text, reason))
        return false;
    free(*field);
    *field = strdup(text);
    return *field != NULL;
}

static bool read_listener(struct config *config, const struct document *document,
                          const struct document_step *step, const json_t *tree,
                          char reason[CONFIG_REASON_SIZE])
{
    const char *key;
    json_t *value;

    struct config_listener *listener = add_listener(config);
    if (!listener)
        return false;
    json_object_foreach((json_t *)(uintptr_t)tree, key, value)
    {
        struct document_step at = {step, key, 0};
        if (!read_listener_key(config, listener, document, &at, value, reason))
            return false;
    }
    if (!listener->address) {
        document_fault(document, step, reason, "a listener needs an address");
        return false;
    }
    if (json_object_get(tree, "policy") && !*listener->label) {
        document_fault(document, step, reason,
                       "a listener with a policy needs a label, to know its clients by");
        return false;
    }
    return true;
}

/* ------------------------------------------------------------ documents */

static bool read_state(struct config *config, const struct document *document,
                       const struct document_step *step, const json_t *value,
                       char reason[CONFIG_REASON_SIZE])
{
    const char *text = json_string_value(value);

    if (!text || text[0] != '/') {
        document_fault(document, step, reason, "state: it must be the absolute path of a folder");
        return false;
    }
    free(config->state);
    config->state = strdup(text);
    config->state_named = true;
    return config->state;
}

/* Limits, listeners and state folder of one file, and whether its keys are known. */
static bool read_settings(struct config *config, const struct document *document,
                          char reason[CONFIG_REASON_SIZE])
{
    const struct document_step at_listeners = {NULL, "listeners", 0};
    const struct document_step at_limits = {NULL, "limits", 0};
    const json_t *limits = json_object_get(document->tree, "limits");
    const json_t *listeners = json_object_get(document->tree, "listeners");
    const char *key;
    json_t *value;
    size_t i;

    json_object_foreach(document->tree, key, value)
    {
        struct document_step at = {NULL, key, 0};
        if (strcmp(key, "limits") == 0 || strcmp(key, "policy") == 0)
            continue;
        if (strcmp(key, "state") == 0) {
            if (!read_state(config, document, &at, value, reason))
                return false;
            continue;
        }
        if (strcmp(key, "listeners") != 0) {
            document_fault(
                document, &at, reason,
                "there is no key '%.100s': there are limits, listeners, policy and state", key);
            return false;
        }
        if (!json_is_array(value)) {
            document_fault(document, &at, reason, "listeners: it must be an array");
            return false;
        }
    }
    if (limits && !read_limits(&config->limits, document, &at_limits, limits, reason))
        return false;
    json_array_foreach(listeners, i, value)
    {
        struct document_step at = {&at_listeners, NULL, i};
        if (!json_is_object(value)) {
            document_fault(document, &at, reason, "a listener must be an object");
            return false;
        }
        if (!read_listener(config, document, &at, value, reason))
            return false;
    }
    return true;
}

static bool read_listener_rules(struct config *config, const struct document *document,
                                char reason[CONFIG_REASON_SIZE])
{
    const struct document_step at_listeners = {NULL, "listeners", 0};
    const json_t *listener;
    size_t i;

    json_array_foreach(json_object_get(document->tree, "listeners"), i, listener)
    {
        struct document_step at_listener = {&at_listeners, NULL, i};
        struct document_step at = {&at_listener, "policy", 0};
        const json_t *rules = json_object_get(listener, "policy");
        const char *label = json_string_value(json_object_get(listener, "label"));
        if (rules && !rules_read(config->policy, document, &at, rules, label, reason))
            return false;
    }
    return true;
}

static bool read_rules(struct config *config, const struct document *document,
                       char reason[CONFIG_REASON_SIZE])
{
    const struct document_step at = {NULL, "policy", 0};
    const json_t *rules = json_object_get(document->tree, "policy");

    return !rules || rules_read(config->policy, document, &at, rules, NULL, reason);
}

/* ----------------------------------------------------------------- load */

static bool has_label(const struct config *config, const char *label)
{
    for (size_t i = 0; i < config->listener_count; i++)
        if (strcmp(config->listeners[i].label, label) == 0)
            return true;
    return false;
}

/* A rule about a listener that is not there is a slip of the pen, and what it was to
 * forbid would be allowed. */
static bool check_labels(const struct config *config, const struct document *document,
                         char reason[CONFIG_REASON_SIZE])
{
    const struct document_step at_policy = {NULL, "policy", 0};
    const json_t *rule;
    size_t i;

    json_array_foreach(json_object_get(document->tree, "policy"), i, rule)
    {
        struct document_step at_rule = {&at_policy, NULL, i};
        struct document_step at = {&at_rule, "listener", 0};
        const char *label = json_string_value(json_object_get(rule, "listener"));
        if (label && !has_label(config, label)) {
            document_fault(document, &at, reason, "listener: none has the label '%.100s'", label);
            return false;
        }
    }
    return true;
}

static bool read_documents(struct config *config, const struct documents *documents,
                           char reason[CONFIG_REASON_SIZE])
{
    size_t first = documents->has_main ? 1 : 0;

    for (size_t i = 0; i < documents->count; i++)
        if (!read_settings(config, &documents->items[i], reason))
            return false;
    for (size_t i = 0; i < documents->count; i++)
        if (!read_listener_rules(config, &documents->items[i], reason))
            return false;
    for (size_t i = first; i < documents->count; i++)
        if (!read_rules(config, &documents->items[i], reason))
            return false;
    if (documents->has_main && !read_rules(config, &documents->items[0], reason))
        return false;
    for (size_t i = 0; i < documents->count; i++)
        if (!check_labels(config, &documents->items[i], reason))
            return false;
    return true;
}

/* A user's bus without a word about policy is open to all who can connect to it; a
 * system bus says what it allows. A policy without a rule would let nobody in. */
static bool complete_policy(struct config *config, const struct documents *documents,
                            char reason[CONFIG_REASON_SIZE])
{
    bool said = false;

    for (size_t i = 0; i < documents->count; i++)
        said = said || json_object_get(documents->items[i].tree, "policy");
    if (!said && !config->system)
        return policy_allow_all(config->policy) == 0;
    if (config->policy->count > 0)
        return true;
    const char *where = documents->count > 0 ? documents->items[0].path : "any configuration file";
    if (said)
        snprintf(reason, CONFIG_REASON_SIZE,
                 "%.255s: policy: it has no rules, so nobody could connect", where);
    else
        snprintf(reason, CONFIG_REASON_SIZE, "a system bus needs a policy: there is none in %.255s",
                 where);
    return false;
}

static bool add_address(struct config *config, const char *address)
{
    struct config_listener *listener = add_listener(config);

    if (!listener)
        return false;
    listener->address = strdup(address);
    return listener->address != NULL;
}

static void drop_listeners(struct config *config)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        free(config->listeners[i].address);
        free(config->listeners[i].label);
        json_decref(config->listeners[i].own_limits);
    }
    free(TAKE(config->listeners));
    config->listener_count = 0;
}

/* The command line's word about where to listen counts before the files'. */
static bool complete_listeners(struct config *config, const struct config_source *source)
{
    if (source->address_count > 0)
        drop_listeners(config);
    for (size_t i = 0; i < source->address_count; i++)
        if (!add_address(config, source->addresses[i]))
            return false;
    return config->listener_count > 0 || !source->address || add_address(config, source->address);
}

/* The command line's word counts here, too. The usual folder is that of the bus at the usual
 * address: another one beside it must not take it away. */
static bool complete_state(struct config *config, const struct config_source *source)
{
    const char *state = source->state;

    for (size_t i = 0; !config->state && !state && i < config->listener_count; i++)
        if (source->address && address_is_same(config->listeners[i].address, source->address))
            state = source->usual_state;
    if (!state)
        return true;
    free(config->state);
    config->state = strdup(state);
    config->state_named = config->state_named || state == source->state;
    return config->state;
}

/* A later file and the command line can change the bus's limits, so a listener's own are
 * laid over them at the end. They have been checked. */
static void apply_own_limits(struct config *config)
{
    uint64_t smallest, largest;
    const char *key;
    json_t *value;

    for (size_t i = 0; i < config->listener_count; i++) {
        struct config_listener *listener = &config->listeners[i];
        listener->limits = config->limits;
        json_object_foreach(listener->own_limits, key, value)
        {
            limits_set(&listener->limits, span_from(key), (uint64_t)json_integer_value(value),
                       &smallest, &largest);
        }
        json_decref(TAKE(listener->own_limits));
    }
}

bool config_load(struct config *ret_config, const struct config_source *source,
                 char reason[CONFIG_REASON_SIZE])
{
    CLEANUP(documents_deinit) struct documents documents = {0};
    const struct documents_source files = {source->file, source->system ? "system" : "user",
                                           source->folders, source->folder_count};
    struct config config = {.system = source->system};

    snprintf(reason, CONFIG_REASON_SIZE, "%s", strerror(ENOMEM));
    limits_init(&config.limits, source->system);
    config.policy = policy_new();
    bool right = config.policy && documents_load(&documents, &files, reason) &&
                 read_documents(&config, &documents, reason) &&
                 complete_policy(&config, &documents, reason) &&
                 complete_listeners(&config, source) && complete_state(&config, source);
    for (size_t i = 0; right && i < source->limit_count; i++)
        right = assign_limit(&config.limits, source->limits[i], reason);
    apply_own_limits(&config);
    if (right)
        *ret_config = config;
    else
        config_deinit(&config);
    return right;
}

void config_deinit(struct config *config)
{
    drop_listeners(config);
    free(TAKE(config->state));
    config->policy = policy_unref(config->policy);
}
