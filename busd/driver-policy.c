/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "busd/driver.h"
#include "libbus/base/macros.h"
#include "libbus/wire/grammar.h"

/* The view to be asked: that of a peer, of a user with groups, or of the caller. The
 * caller of this owns a reference; NULL: an error has been sent. */
static struct policy_view *find_view(struct driver_call *call, struct peer **ret_peer)
{
    const struct args *args = &call->args;
    CLEANUP(text_deinit) struct text label = TEXT_INIT;
    struct peer *peer = call->caller;

    if (args->peer.size > 0)
        peer = access_find_peer(call->hub, call->caller, args->peer);
    if (!peer) {
        driver_fail(call, WIRE_NAME_UNKNOWN, "nobody owns '%.*s'", SPAN_ARGS(args->peer));
        return NULL;
    }
    if (!args->has_uid) {
        *ret_peer = peer;
        return policy_view_ref(peer->view);
    }

    size_t count = json_array_size(args->gids);
    CLEANUP(cleanup_free) gid_t *gids = calloc(count + 1, sizeof(*gids));
    text_append_span(&label, args->listener);
    for (size_t i = 0; gids && i < count; i++)
        gids[i] = (gid_t)json_integer_value(json_array_get(args->gids, i));
    struct credentials credentials = {.uid = (uid_t)args->uid,
                                      .gid = count > 0 && gids ? gids[0] : (gid_t)-1,
                                      .gids = gids,
                                      .gid_count = count};
    struct policy_view *view = gids && !label.failed
                                   ? policy_view_get(call->caller->view->policy, &credentials,
                                                     label.data ? label.data : "")
                                   : NULL;
    if (!view)
        driver_fail(call, WIRE_LIMIT_EXCEEDED, "the bus is out of memory");
    *ret_peer = NULL;
    return view;
}

static void write_verdict(struct text *text, const struct policy_verdict *verdict)
{
    text_printf(text, "{\"allow\":%s,\"rule\":", verdict->allow ? "true" : "false");
    if (!verdict->rule) {
        text_append_string(text, "null}");
        return;
    }
    text_append_string(text, "{\"file\":");
    text_append_json_string(text, span_from(verdict->rule->file));
    text_printf(text, ",\"index\":%zu", verdict->rule->index);
    if (verdict->rule->reason) {
        text_append_string(text, ",\"reason\":");
        text_append_json_string(text, span_from(verdict->rule->reason));
    }
    text_append_string(text, "}}");
}

/* Whether the question has what its verb is about; else the caller has been told. */
static bool is_complete(struct driver_call *call, enum policy_verb verb)
{
    const struct args *args = &call->args;
    bool about_topic = verb == POLICY_PUBLISH || verb == POLICY_SUBSCRIBE;
    const char *missing = NULL;

    if (verb == POLICY_OWN && args->name.size == 0)
        missing = "name";
    else if (verb == POLICY_CALL && args->to.size == 0)
        missing = "to";
    else if (about_topic && args->topic.size == 0)
        missing = "topic";
    if (missing)
        driver_fail(call, WIRE_INVALID_ARGUMENTS, "Explain: '%s' is missing", missing);
    else if (about_topic && grammar_has_wildcard(args->topic))
        driver_fail(call, WIRE_INVALID_ARGUMENTS,
                    "Explain: what a pattern stands for is judged topic by topic: ask for one "
                    "without wildcards");
    else
        return true;
    return false;
}

void driver_explain(struct driver_call *call)
{
    const struct args *args = &call->args;
    enum policy_verb verb = policy_verb_from_name(args->verb);
    struct text text = TEXT_INIT;
    struct peer *actor;

    if (verb == POLICY_VERB_COUNT) {
        driver_fail(call, WIRE_INVALID_ARGUMENTS,
                    "Explain: '%.*s' is no verb: there are connect, own, call, publish, "
                    "subscribe, monitor and manage",
                    (int)MIN(args->verb.size, (size_t)100), args->verb.data);
        return;
    }
    if (!is_complete(call, verb))
        return;
    struct policy_view *view = find_view(call, &actor);
    if (!view)
        return;
    /* Of whom the caller does not see, not even the other names are to be found out. */
    struct peer *callee =
        args->to.size > 0 ? access_find_peer(call->hub, call->caller, args->to) : NULL;
    struct policy_question question = {.verb = verb,
                                       .actor = actor ? &actor->names : NULL,
                                       .callee = callee ? &callee->names : NULL,
                                       .name = verb == POLICY_CALL ? args->to : args->name,
                                       .method = args->method,
                                       .topic = args->topic,
                                       .any_method = args->method.size == 0,
                                       .every_method = policy_opens_all(args->method)};
    struct policy_verdict verdict = policy_ask(view, &question);
    write_verdict(&text, &verdict);
    policy_view_unref(view);
    driver_reply_text(call, &text);
}

void driver_reload(struct driver_call *call)
{
    struct policy_verdict verdict;

    if (!access_verb(call->caller, POLICY_MANAGE, &verdict)) {
        driver_deny(call, POLICY_MANAGE, (struct span){0}, &verdict);
        return;
    }
    if (hub_ask_reload(call->hub, call->caller->id, call->id) < 0)
        driver_fail(call, WIRE_LIMIT_EXCEEDED, "the bus is out of memory");
}
