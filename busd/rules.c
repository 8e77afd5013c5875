/* SPDX-License-Identifier: MIT */
#include "busd/rules.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/wire/grammar.h"

#define VERBS_ALL  ((1u << POLICY_VERB_COUNT) - 1)
#define VERB(name) (1u << POLICY_##name)

/* (uid_t)-1 means "leave it" to chown(2), so it is nobody's number. */
#define NUMBER_MAX (UINT32_MAX - 1)

static bool read_number(const json_t *value, uint32_t *ret_number)
{
    json_int_t number = json_integer_value(value);

    if (!json_is_integer(value) || number < 0 || number > NUMBER_MAX)
        return false;
    *ret_number = (uint32_t)number;
    return true;
}

/* There is no such account, or nobody can say now whether there is. */
static void fail_lookup(const struct document *document, const struct document_step *step,
                        const char *kind, const char *name, int error,
                        char reason[DOCUMENT_REASON_SIZE])
{
    if (error == EMFILE || error == ENFILE || error == ENOMEM || error == EIO)
        document_fault(document, step, reason, "%s: cannot look up the %s '%.100s': %s", step->key,
                       kind, name, strerror(error));
    else
        document_fault(document, step, reason, "%s: there is no %s '%.100s'", step->key, kind,
                       name);
}

bool rules_read_user(const struct document *document, const struct document_step *step,
                     const json_t *value, uid_t *ret_uid, char reason[DOCUMENT_REASON_SIZE])
{
    const char *name = json_string_value(value);

    if (!name) {
        if (read_number(value, ret_uid))
            return true;
        document_fault(document, step, reason, "%s: it must be a user's name or number", step->key);
        return false;
    }
    errno = 0;
    const struct passwd *entry = getpwnam(name);
    if (!entry) {
        fail_lookup(document, step, "user", name, errno, reason);
        return false;
    }
    *ret_uid = entry->pw_uid;
    return true;
}

bool rules_read_group(const struct document *document, const struct document_step *step,
                      const json_t *value, gid_t *ret_gid, char reason[DOCUMENT_REASON_SIZE])
{
    const char *name = json_string_value(value);

    if (!name) {
        if (read_number(value, ret_gid))
            return true;
        document_fault(document, step, reason, "%s: it must be a group's name or number",
                       step->key);
        return false;
    }
    errno = 0;
    const struct group *entry = getgrnam(name);
    if (!entry) {
        fail_lookup(document, step, "group", name, errno, reason);
        return false;
    }
    *ret_gid = entry->gr_gid;
    return true;
}

/* The text keys: where they go, which verbs they belong to, whether they are patterns. */
static const struct {
    const char *key;
    size_t offset;
    unsigned verbs;
    bool pattern;
} text_keys[] = {
    {"listener", offsetof(struct policy_rule, label), VERBS_ALL, false},
    {"sender", offsetof(struct policy_rule, sender), VERBS_ALL & ~VERB(CONNECT), true},
    {"name", offsetof(struct policy_rule, name), VERB(OWN), true},
    {"to", offsetof(struct policy_rule, to), VERB(CALL), true},
    {"method", offsetof(struct policy_rule, method), VERB(CALL), true},
    {"topic", offsetof(struct policy_rule, topic), VERB(PUBLISH) | VERB(SUBSCRIBE), true},
    {"reason", offsetof(struct policy_rule, reason), VERBS_ALL, false},
};

static bool read_text(struct policy_rule *rule, size_t i, const struct document *document,
                      const struct document_step *step, const json_t *value,
                      char reason[DOCUMENT_REASON_SIZE])
{
    char **field = (char **)(void *)((char *)rule + text_keys[i].offset);
    const char *text = json_string_value(value);

    if (!text) {
        document_fault(document, step, reason, "%s: it must be a string", step->key);
        return false;
    }
    const char *wrong = text_keys[i].pattern ? grammar_check_pattern(span_from(text), NULL) : NULL;
    if (wrong) {
        document_fault(document, step, reason, "%s: '%.255s' is no pattern: %s", step->key, text,
                       wrong);
        return false;
    }
    if (rule->verbs & ~text_keys[i].verbs) {
        document_fault(
            document, step, reason, "%s: it does not go with '%s'", step->key,
            policy_verb_name((enum policy_verb)__builtin_ctz(rule->verbs & ~text_keys[i].verbs)));
        return false;
    }
    if (*field) {
        document_fault(document, step, reason,
                       "%s: the rules of a listener are about that listener", step->key);
        return false;
    }
    *field = strdup(text);
    return *field != NULL;
}

static bool read_verb(struct policy_rule *rule, const struct document *document,
                      const struct document_step *step, const json_t *value,
                      char reason[DOCUMENT_REASON_SIZE])
{
    const char *text = json_string_value(value);
    enum policy_verb verb = text ? policy_verb_from_name(span_from(text)) : POLICY_VERB_COUNT;

    if (text && strcmp(text, "*") == 0) {
        rule->verbs = VERBS_ALL;
        return true;
    }
    if (verb == POLICY_VERB_COUNT) {
        document_fault(document, step, reason,
                       "%s%.100s%s is no verb: there are connect, own, call, publish, subscribe, "
                       "monitor, manage and \"*\" for all",
                       text ? "'" : "", text ? text : "this", text ? "'" : "");
        return false;
    }
    rule->verbs |= 1u << verb;
    return true;
}

static bool read_verbs(struct policy_rule *rule, const struct document *document,
                       const struct document_step *step, const json_t *tree,
                       char reason[DOCUMENT_REASON_SIZE])
{
    const json_t *allow = json_object_get(tree, "allow");
    const json_t *deny = json_object_get(tree, "deny");
    const json_t *verbs = allow ? allow : deny;
    const json_t *value;
    size_t i;

    if (!verbs || (allow && deny)) {
        document_fault(document, step, reason, "a rule has either 'allow' or 'deny'");
        return false;
    }
    struct document_step at = {step, allow ? "allow" : "deny", 0};
    rule->allow = allow != NULL;
    if (!json_is_array(verbs))
        return read_verb(rule, document, &at, verbs, reason);
    json_array_foreach(verbs, i, value)
    {
        struct document_step at_verb = {&at, NULL, i};
        if (!read_verb(rule, document, &at_verb, value, reason))
            return false;
    }
    if (rule->verbs == 0) {
        document_fault(document, &at, reason, "there is no verb");
        return false;
    }
    return true;
}

static bool read_key(struct policy_rule *rule, const struct document *document,
                     const struct document_step *step, const json_t *value,
                     char reason[DOCUMENT_REASON_SIZE])
{
    bool user = strcmp(step->key, "user") == 0 || strcmp(step->key, "uid") == 0;
    bool group = strcmp(step->key, "group") == 0 || strcmp(step->key, "gid") == 0;

    if (user && !rule->has_uid) {
        rule->has_uid = true;
        return rules_read_user(document, step, value, &rule->uid, reason);
    }
    if (group && !rule->has_gid) {
        rule->has_gid = true;
        return rules_read_group(document, step, value, &rule->gid, reason);
    }
    if (user || group) {
        document_fault(document, step, reason, "%s: it is there already", step->key);
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(text_keys); i++)
        if (strcmp(step->key, text_keys[i].key) == 0)
            return read_text(rule, i, document, step, value, reason);
    document_fault(document, step, reason,
                   "a rule has no '%.100s': it has allow or deny, user or uid, group or gid, "
                   "listener, sender, name, to, method, topic and reason",
                   step->key);
    return false;
}

static bool read_rule(struct policy *policy, const struct document *document,
                      const struct document_step *step, const json_t *tree, const char *label,
                      char reason[DOCUMENT_REASON_SIZE])
{
    struct policy_rule *rule = policy_add(policy);
    const char *key;
    json_t *value;

    if (!rule)
        return false;
    rule->index = step->index + 1;
    rule->label = label ? strdup(label) : NULL;
    if (label && !rule->label)
        return false;
    int r = label ? asprintf(&rule->file, "%s, listener %s", document->path, label)
                  : asprintf(&rule->file, "%s", document->path);
    if (r < 0) {
        rule->file = NULL;
        return false;
    }
    if (!json_is_object(tree)) {
        document_fault(document, step, reason, "a rule must be an object");
        return false;
    }
    if (!read_verbs(rule, document, step, tree, reason))
        return false;
    json_object_foreach((json_t *)(uintptr_t)tree, key, value)
    {
        struct document_step at = {step, key, 0};
        if (strcmp(key, "allow") != 0 && strcmp(key, "deny") != 0 &&
            !read_key(rule, document, &at, value, reason))
            return false;
    }
    return true;
}

bool rules_read(struct policy *policy, const struct document *document,
                const struct document_step *step, const json_t *array, const char *label,
                char reason[DOCUMENT_REASON_SIZE])
{
    const json_t *value;
    size_t i;

    if (!json_is_array(array)) {
        document_fault(document, step, reason, "policy: it must be an array of rules");
        return false;
    }
    json_array_foreach(array, i, value)
    {
        struct document_step at = {step, NULL, i};
        if (!read_rule(policy, document, &at, value, label, reason))
            return false;
    }
    return true;
}
