/* SPDX-License-Identifier: MIT */
/*
 * Who may do what: an ordered list of rules of which the first that matches decides;
 * if none does, the answer is no. Pure: it knows neither files nor JSON nor peers.
 *
 * A `struct policy` is made once, by the configuration, and never changes. For each
 * set of credentials that connects it makes a `struct policy_view`: the rules that
 * can concern such a client, by verb. Everybody with the same credentials shares a
 * view. Names of users and groups have become numbers when the policy was read.
 *
 * Most questions are answered without looking at a rule: a view knows the verbs whose
 * first rule is an unconditional allow.
 */
#ifndef BUSD_POLICY_H
#define BUSD_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "busd/credentials.h"
#include "busd/names.h"
#include "libbus/base/list.h"
#include "libbus/base/span.h"

/* X(symbol, name) */
#define POLICY_VERBS(X)                                                                            \
    X(CONNECT, "connect")                                                                          \
    X(OWN, "own")                                                                                  \
    X(CALL, "call")                                                                                \
    X(PUBLISH, "publish")                                                                          \
    X(SUBSCRIBE, "subscribe")                                                                      \
    X(MONITOR, "monitor")                                                                          \
    X(MANAGE, "manage")

enum policy_verb {
#define X(symbol, name) POLICY_##symbol,
    POLICY_VERBS(X)
#undef X
        POLICY_VERB_COUNT
};

/* What is not given is NULL or unset and fits everything. Owned by its policy. */
struct policy_rule {
    bool allow;
    unsigned verbs; /* 1u << POLICY_X */
    /* Who: */
    bool has_uid;
    bool has_gid;
    uid_t uid;
    gid_t gid;    /* the client's own or one of its supplementary groups */
    char *label;  /* of the listener that the client came through */
    char *sender; /* a pattern that a well-known name of the client's fits */
    /* What; patterns all: */
    char *name;   /* own: the name */
    char *to;     /* call: a well-known name of the callee's, or "bus" */
    char *method; /* call */
    char *topic;  /* publish, subscribe */
    char *reason; /* for the one who is denied */
    char *file;   /* where the rule stands … */
    size_t index; /* … and the how manieth it is there, from 1 */
};

struct policy {
    unsigned refs;
    struct policy_rule *rules;
    size_t count;
    size_t capacity;
    struct list views; /* struct policy_view */
};

struct policy_view {
    unsigned refs;
    struct list link;
    struct policy *policy; /* a reference */
    uint64_t serial;       /* no other view ever has it */
    uid_t uid;
    gid_t gid;
    gid_t *gids;
    size_t gid_count;
    char *label;
    unsigned always;  /* verbs that are allowed whatever the question */
    unsigned dynamic; /* verbs with a rule that depends on names the client owns */
    const struct policy_rule **rules[POLICY_VERB_COUNT];
    size_t counts[POLICY_VERB_COUNT];
    uint64_t mark; /* for whoever asks the same for many: when it did so last … */
    bool allowed;  /* … and the answer */
};

/* One question; what does not belong to the verb is empty. */
struct policy_question {
    enum policy_verb verb;
    const struct name_owner *actor;  /* the client's own names; NULL: none */
    const struct name_owner *callee; /* call: the callee's names; NULL: none */
    struct span name;                /* own: the name; call: the name as it was asked */
    struct span method;
    struct span topic;
    bool any_method;   /* call: whether some method would be allowed */
    bool every_method; /* call: `method` is one that opens the way to all others */
};

struct policy_verdict {
    bool allow;
    const struct policy_rule *rule; /* NULL: none has matched */
};

struct policy *policy_new(void); /* NULL: out of memory */
struct policy *policy_ref(struct policy *policy);
struct policy *policy_unref(struct policy *policy); /* NULL */

/* Appends a rule, to be filled: the policy owns its strings from then on. NULL: out of
 * memory. The pointer is good until the next one is added. */
struct policy_rule *policy_add(struct policy *policy);

/* One rule that allows everything, for a bus without a configuration. 0 or -ENOMEM. */
int policy_allow_all(struct policy *policy);

/* The view of such a client; the caller owns a reference. NULL: out of memory. `label`
 * is borrowed. */
struct policy_view *policy_view_get(struct policy *policy, const struct credentials *credentials,
                                    const char *label);
struct policy_view *policy_view_ref(struct policy_view *view);
struct policy_view *policy_view_unref(struct policy_view *view); /* NULL */

struct policy_verdict policy_ask(const struct policy_view *view,
                                 const struct policy_question *question);

/* Whether a method is one for `every_method`: by OpenChannel a client gets a socket to the
 * service that no policy is asked about any more. */
bool policy_opens_all(struct span method);

static inline bool policy_always(const struct policy_view *view, enum policy_verb verb)
{
    return view->always & 1u << verb;
}

/* Whether there is any question of this verb that could be answered with yes. */
bool policy_ever(const struct policy_view *view, enum policy_verb verb);

const char *policy_verb_name(enum policy_verb verb);

/* POLICY_VERB_COUNT if there is no such verb. */
enum policy_verb policy_verb_from_name(struct span name);

#endif
