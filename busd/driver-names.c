/* SPDX-License-Identifier: MIT */
#include <inttypes.h>

#include "busd/audience.h"
#include "busd/driver.h"
#include "libbus/base/macros.h"
#include "libbus/wire/grammar.h"

/* The argument `name` as one that can be owned. */
static bool check_well_known(struct driver_call *call)
{
    struct span name = call->args.name;
    const char *wrong = grammar_check_name(name, NULL);

    if (wrong) {
        driver_fail(call, WIRE_INVALID_ARGUMENTS, "'%.*s' is no well-known name: %s",
                    SPAN_ARGS(name), wrong);
        return false;
    }
    if (grammar_is_reserved(name)) {
        driver_fail(call, WIRE_ACCESS_DENIED, "names that begin with 'bus' are the bus's own");
        return false;
    }
    return true;
}

static void refuse_taken(struct driver_call *call)
{
    struct span asked = call->args.name;
    const struct name *name = names_find(&call->hub->names, asked);
    struct peer *owner = access_find_peer(call->hub, call->caller, asked);
    const char *how =
        !name || !name_is_shared(name) ? "" : ", who shares it: ask for it with shared:true, too";

    driver_fail(call, WIRE_NAME_TAKEN, "'%.*s' is owned by %.*s%s", SPAN_ARGS(asked),
                SPAN_ARGS(owner ? peer_name(owner) : SPAN("somebody else")), how);
}

void driver_request_name(struct driver_call *call)
{
    struct hub *hub = call->hub;
    struct span name = call->args.name;
    struct name_request request = {call->args.queue, call->args.replace,
                                   call->args.allow_replacement, call->args.shared};
    struct policy_verdict verdict;
    struct name_change change;
    enum name_state state;

    if (!check_well_known(call))
        return;
    if (!access_own(call->caller, name, &verdict)) {
        driver_deny(call, POLICY_OWN, name, &verdict);
        return;
    }
    int r = names_request(&hub->names, &call->caller->names, name, request,
                          call->caller->limits->names, &state, &change);
    if (r == WIRE_NAME_TAKEN) {
        refuse_taken(call);
    } else if (r == WIRE_LIMIT_EXCEEDED) {
        driver_fail_limit(call, call->caller->names.count, "names", call->caller->limits->names,
                          QUOTA_NAMES);
    } else if (r < 0) {
        driver_fail(call, WIRE_LIMIT_EXCEEDED, "the bus is out of memory");
    } else {
        /* The event comes before anything that the new owner sends or gets under
         * the name, so before its reply too. */
        announce_name_change(hub, &change);
        audience_name_changed(hub, &change);
        driver_reply(call,
                     state == NAME_OWNED    ? SPAN("{\"state\":\"owner\"}")
                     : state == NAME_SHARED ? SPAN("{\"state\":\"shared\"}")
                                            : SPAN("{\"state\":\"queued\"}"),
                     NULL);
    }
}

void driver_release_name(struct driver_call *call)
{
    struct hub *hub = call->hub;
    struct name_change change;

    if (names_release(&hub->names, &call->caller->names, call->args.name, &change) != 0) {
        driver_fail(call, WIRE_NOT_OWNER, "you neither own '%.*s' nor wait for it",
                    SPAN_ARGS(call->args.name));
        return;
    }
    announce_name_change(hub, &change);
    audience_name_changed(hub, &change);
    driver_reply(call, SPAN("{}"), NULL);
}

static void write_queue(struct text *text, const struct name *name)
{
    const char *separator = "";

    text_append_string(text, ",\"queue\":[");
    LIST_FOREACH (node, &name->queue) {
        struct name_claim *claim = LIST_ENTRY(node, struct name_claim, by_name);
        text_printf(text, "%s\"%.*s\"", separator,
                    SPAN_ARGS(peer_name(peer_of_owner(claim->owner))));
        separator = ",";
    }
    text_append_string(text, "]");
}

static void write_name(struct text *text, const struct name *name)
{
    text_printf(text, "{\"name\":\"%.*s\",", SPAN_ARGS(name_span(name)));
    announce_name_owners(text, name);
    if (name_is_shared(name))
        text_append_string(text, ",\"shared\":true");
    write_queue(text, name);
    text_append_string(text, "}");
}

void driver_list_names(struct driver_call *call)
{
    struct hub *hub = call->hub;
    struct text text = TEXT_INIT;
    const char *separator = "";

    text_append_string(&text, "{\"names\":[");
    for (struct hash_node *node = hash_walk(&hub->names.table, NULL); node;
         node = hash_walk(&hub->names.table, node)) {
        struct name *name = CONTAINER_OF(node, struct name, node);
        if (!access_sees_name(call->caller, name_span(name)))
            continue;
        text_append_string(&text, separator);
        write_name(&text, name);
        separator = ",";
    }
    text_append_string(&text, "],\"connections\":[");
    separator = "";
    LIST_FOREACH (node, &hub->peers.all) {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        if (!access_sees_peer(call->caller, peer))
            continue;
        text_printf(&text, "%s{\"name\":\"%.*s\",\"uid\":%" PRIu32 ",\"pid\":%d}", separator,
                    SPAN_ARGS(peer_name(peer)), (uint32_t)peer->credentials.uid,
                    (int)peer->credentials.pid);
        separator = ",";
    }
    text_append_string(&text, "]}");
    driver_reply_text(call, &text);
}

void driver_get_name(struct driver_call *call)
{
    struct span asked = call->args.name;
    struct name *name = names_find(&call->hub->names, asked);
    struct peer *peer = access_find_peer(call->hub, call->caller, asked);
    struct text text = TEXT_INIT;

    if (peer && name) {
        write_name(&text, name);
    } else if (peer) {
        text_printf(&text, "{\"name\":\"%.*s\",\"owner\":\"%.*s\",\"queue\":[]}", SPAN_ARGS(asked),
                    SPAN_ARGS(asked));
    } else {
        driver_fail(call, WIRE_NAME_UNKNOWN, "nobody owns '%.*s'", SPAN_ARGS(asked));
        return;
    }
    driver_reply_text(call, &text);
}
