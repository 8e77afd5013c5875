/* SPDX-License-Identifier: MIT */
#include "busd/driver.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "libbus/base/macros.h"

static const struct driver_method methods[] = {
    {"Subscribe", driver_subscribe,
     ARG_TOPIC | ARG_SENDER | ARG_RETAINED | ARG_OVERFLOW | ARG_GROUP, ARG_TOPIC,
     "Sends the caller the last values and the events whose topic matches a pattern"},
    {"Unsubscribe", driver_unsubscribe, ARG_SUBSCRIPTION, ARG_SUBSCRIPTION,
     "Ends a subscription of the caller"},
    {"Retained", driver_retained, ARG_TOPIC, ARG_TOPIC,
     "Tells which topics that match a pattern have a last value, and whose"},
    {"RequestName", driver_request_name,
     ARG_NAME | ARG_QUEUE | ARG_REPLACE | ARG_ALLOW_REPLACEMENT | ARG_SHARED, ARG_NAME,
     "Makes the caller an owner of a name, or puts it in the queue for it"},
    {"ReleaseName", driver_release_name, ARG_NAME, ARG_NAME,
     "Gives a name, or the place in its queue, back"},
    {"ListNames", driver_list_names, 0, 0,
     "Tells all names with their owners, and all connections"},
    {"GetName", driver_get_name, ARG_NAME, ARG_NAME,
     "Tells who owns a name, alone or with others, and who waits for it"},
    {"GetCredentials", driver_get_credentials, ARG_NAME, ARG_NAME,
     "Tells process, user and groups of a connection, by the kernel's word, with a pidfd"},
    {"Monitor", driver_monitor, ARG_TYPE | ARG_FROM | ARG_TO | ARG_TOPIC, 0,
     "Shows the caller the messages that pass, as events bus.monitor"},
    {"Stats", driver_stats, ARG_NAME, 0, "Tells counters of the bus, or of one connection"},
    {"Ping", driver_ping, 0, 0, "Answers"},
    {"GetId", driver_get_id, 0, 0, "Tells the identity of this run of the bus"},
    {"Introspect", driver_introspect, 0, 0, "Describes these methods"},
    {"Explain", driver_explain,
     ARG_VERB | ARG_NAME | ARG_TO | ARG_METHOD | ARG_TOPIC | ARG_PEER | ARG_UID | ARG_GIDS |
         ARG_LISTENER,
     ARG_VERB, "Tells whether somebody may do something, and the rule that decides"},
    {"Reload", driver_reload, 0, 0, "Reads the configuration anew: all of it or nothing"},
    {0},
};

const struct driver_method *driver_methods(void)
{
    return methods;
}

static const struct driver_method *find_method(struct span name)
{
    const struct driver_method *method = methods;

    while (method->name && !span_is(name, method->name))
        method++;
    return method->name ? method : NULL;
}

void driver_reply(struct driver_call *call, struct span body, struct fds *fds)
{
    call->hub->shared.effort += (unsigned)(body.size / DRIVER_EFFORT_BYTES);
    if (call->id > 0)
        answer_reply(call->hub, call->caller, call->id, body, fds);
}

void driver_fail(struct driver_call *call, enum wire_error error, const char *format, ...)
{
    CLEANUP(cleanup_free) char *message = NULL;
    va_list args;

    if (call->id == 0)
        return;
    va_start(args, format);
    if (vasprintf(&message, format, args) < 0)
        message = NULL;
    va_end(args);
    answer_call_error(call->hub, call->caller, call->id, error, "%s",
                      message ? message : wire_error_sentence(error));
}

void driver_deny(struct driver_call *call, enum policy_verb verb, struct span what,
                 const struct policy_verdict *verdict)
{
    struct envelope envelope = {.type = MESSAGE_CALL, .id = call->id, .no_reply = call->id == 0};

    answer_denied(call->hub, call->caller, &envelope, verb, what, verdict);
}

void driver_fail_limit(struct driver_call *call, size_t count, const char *own, uint64_t max,
                       enum quota_slot slot)
{
    bool reached = count >= max;
    const char *limit = reached ? own : quota_limit(call->caller->user, slot, &max);

    driver_fail(call, WIRE_LIMIT_EXCEEDED, "%s %" PRIu64 " %s already (%s)",
                reached ? "you have" : "your user has", max, own, limit);
    hub_log_limit(call->hub, call->caller, limit, max);
}

void driver_reply_text(struct driver_call *call, struct text *text)
{
    if (text->failed)
        driver_fail(call, WIRE_LIMIT_EXCEEDED, "the bus is out of memory");
    else
        driver_reply(call, text_span(text), NULL);
    text_deinit(text);
}

void driver_dispatch(struct hub *hub, struct peer *caller, const struct envelope *envelope)
{
    struct driver_call call = {hub, caller, envelope->no_reply ? 0 : envelope->id, {0}};
    const struct driver_method *method = find_method(envelope->method);
    char reason[ARGS_REASON_SIZE];

    hub->shared.effort += DRIVER_EFFORT;
    if (!method) {
        driver_fail(&call, WIRE_METHOD_UNKNOWN,
                    "the bus has no method '%.*s': Introspect lists those it has",
                    SPAN_ARGS(envelope->method));
        return;
    }
    int r = args_parse(&call.args, envelope->body, method->takes, method->needs, reason);
    if (r != 0) {
        driver_fail(&call, (enum wire_error)r, "%s: %s", method->name, reason);
        return;
    }
    method->handler(&call);
    args_deinit(&call.args);
}
