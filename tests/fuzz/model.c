/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "busd/driver.h"
#include "libbus/base/macros.h"
#include "libbus/wire/envelope.h"
#include "libbus/wire/grammar.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/padded.h"

#define NOBODY MODEL_PLAYERS
#define BROKER (MODEL_PLAYERS + 1) /* as sender of an event */

/* A line of player k that is a message. */
struct message {
    unsigned from;
    struct envelope envelope;
    const struct player_fds *fds;
};

static struct span span_of(const struct model_text *text)
{
    return (struct span){text->data, text->size};
}

static void set_text(struct model_text *text, struct span value)
{
    text->size = value.size;
    if (value.size > 0)
        memcpy(text->data, value.data, value.size);
}

/* ":N", in a buffer that the next call but three uses again. */
static const char *name_of(const struct model *model, unsigned k)
{
    static char buffers[4][32];
    static unsigned last;
    char *buffer = buffers[last++ % 4];

    snprintf(buffer, sizeof(buffers[0]), ":%" PRIu64, model->players[k].name);
    return buffer;
}

void model_init(struct model *model, const struct limits *limits)
{
    *model = (struct model){.limits = *limits};
    for (unsigned k = 0; k < MODEL_PLAYERS; k++)
        model->players[k].fd = -1;
}

/* ------------------------------------------------------------ finding people */

static struct model_name *find_name(struct model *model, struct span text)
{
    for (size_t i = 0; i < MODEL_NAMES; i++)
        if (model->names[i].count > 0 && span_equal(span_of(&model->names[i].text), text))
            return &model->names[i];
    return NULL;
}

static unsigned find_player(struct model *model, struct span name)
{
    uint64_t id = grammar_unique_name(name);
    struct model_name *owned = find_name(model, name);

    for (unsigned k = 0; k < MODEL_PLAYERS; k++)
        if (id > 0 && model->players[k].name == id)
            return k;
    return owned ? owned->claims[0].player : NOBODY;
}

static struct model_call *find_call(struct model *model, unsigned caller, uint64_t id)
{
    for (size_t i = 0; i < MODEL_CALLS; i++) {
        struct model_call *call = &model->calls[i];
        if (call->live && call->caller == caller && call->id == id)
            return call;
    }
    return NULL;
}

/* -------------------------------------------------------------------- events */

/* A subscription's sender, if it names one. */
static bool sender_fits(struct model *model, const struct model_subscription *subscription,
                        unsigned sender)
{
    struct span filter = span_of(&subscription->sender);

    if (filter.size == 0)
        return true;
    if (span_is(filter, "bus"))
        return sender == BROKER;
    return sender != BROKER && find_player(model, filter) == sender;
}

static bool gets_event(struct model *model, unsigned k, struct span topic, unsigned sender)
{
    for (size_t i = 0; i < MODEL_SUBSCRIPTIONS; i++) {
        const struct model_subscription *subscription = &model->subscriptions[i];
        if (subscription->live && subscription->player == k &&
            grammar_matches(span_of(&subscription->pattern), topic) &&
            sender_fits(model, subscription, sender))
            return true;
    }
    return false;
}

static json_t *broker_event(const char *topic, json_t *body)
{
    return json_pack("{s:s, s:s, s:s, s:O}", "sender", "bus", "type", "event", "topic", topic,
                     "body", body);
}

/* The broker's own event, to all who have subscribed to it. Takes the body. */
static void tell_all(struct model *model, unsigned group, const char *topic, json_t *body)
{
    for (unsigned k = 0; k < MODEL_PLAYERS; k++)
        if (model->players[k].name && gets_event(model, k, span_from(topic), BROKER))
            player_expect(&model->players[k], group, broker_event(topic, body));
    json_decref(body);
}

static void announce_owner(struct model *model, unsigned group, const struct model_name *name,
                           unsigned before)
{
    unsigned after = name->count > 0 ? name->claims[0].player : NOBODY;
    char topic[512];

    if (before == after)
        return;
    snprintf(topic, sizeof(topic), "bus.name.%.*s", SPAN_ARGS(span_of(&name->text)));
    json_t *body = json_null();
    if (after != NOBODY) {
        body = json_pack("{s:s}", "owner", name_of(model, after));
        if (before != NOBODY)
            json_object_set_new(body, "old", json_string(name_of(model, before)));
    }
    tell_all(model, group, topic, body);
}

static json_t *peer_body(void)
{
    return json_pack("{s:I, s:I}", "uid", (json_int_t)getuid(), "pid", (json_int_t)getpid());
}

/* Whether a name that is the topic or the beginning of it is somebody else's. */
static bool is_guarded(struct model *model, struct span topic, unsigned sender)
{
    for (size_t i = 0; i < MODEL_NAMES; i++) {
        const struct model_name *name = &model->names[i];
        struct span text = span_of(&name->text);
        bool above = span_starts_with(topic, text) &&
                     (topic.size == text.size || topic.data[text.size] == '.');
        if (name->count > 0 && above && name->claims[0].player != sender)
            return true;
    }
    return false;
}

/* -------------------------------------------------------------------- errors */

static void expect_error(struct model *model, unsigned k, unsigned group, uint64_t id,
                         enum wire_error error)
{
    player_expect(&model->players[k], group,
                  json_pack("{s:s, s:s, s:s, s:I}", "sender", "bus", "type", "error", "error",
                            wire_error_name(error), "id", (json_int_t)id));
}

/* An error that answers nothing: it says what it is about. */
static void expect_complaint(struct model *model, unsigned k, enum wire_error error,
                             const struct envelope *about)
{
    json_t *tree = json_pack("{s:s, s:s, s:s}", "sender", "bus", "type", "error", "error",
                             wire_error_name(error));

    if (about) {
        json_t *what = json_pack("{s:s}", "type", message_type_name(about->type));
        if (about->to.size > 0)
            json_object_set_new(what, "to", json_stringn(about->to.data, about->to.size));
        if (about->topic.size > 0)
            json_object_set_new(what, "topic", json_stringn(about->topic.data, about->topic.size));
        if (about->id > 0)
            json_object_set_new(what, "id", json_integer((json_int_t)about->id));
        json_object_set_new(tree, "about", what);
    }
    player_expect(&model->players[k], 0, tree);
}

static void expect_refusal(struct model *model, const struct message *message,
                           enum wire_error error)
{
    const struct envelope *envelope = &message->envelope;
    bool waits = envelope->type == MESSAGE_CALL || envelope->type == MESSAGE_EVENT;

    if (envelope->no_reply)
        return;
    if (waits && envelope->id > 0)
        expect_error(model, message->from, 0, envelope->id, error);
    else
        expect_complaint(model, message->from, error, envelope);
}

static void forward(struct model *model, unsigned to, const struct message *message)
{
    char prefix[64];

    snprintf(prefix, sizeof(prefix), "{\"sender\":\"%s\",", name_of(model, message->from));
    player_expect_line(&model->players[to], span_from(prefix), message->envelope.rest,
                       message->fds);
}

/* ----------------------------------------------------------- the bus's methods */

static unsigned count_claims(const struct model *model, unsigned k)
{
    unsigned count = 0;

    for (size_t i = 0; i < MODEL_NAMES; i++)
        for (unsigned c = 0; c < model->names[i].count; c++)
            count += model->names[i].claims[c].player == k;
    return count;
}

static unsigned find_claim(const struct model_name *name, unsigned k)
{
    unsigned c = 0;

    while (c < name->count && name->claims[c].player != k)
        c++;
    return c;
}

static void remove_claim(struct model_name *name, unsigned c)
{
    name->count--;
    memmove(&name->claims[c], &name->claims[c + 1], (name->count - c) * sizeof(name->claims[0]));
}

static struct model_name *add_name(struct model *model, struct span text)
{
    size_t i = 0;

    while (model->names[i].count > 0)
        i++;
    FUZZ_CHECK(i < MODEL_NAMES, "the model has no room for a name");
    set_text(&model->names[i].text, text);
    return &model->names[i];
}

/* Makes the claim number c the first; who was before waits if it wanted to. */
static void promote(struct model_name *name, unsigned c)
{
    struct model_claim claim = name->claims[c];

    memmove(&name->claims[1], &name->claims[0], c * sizeof(claim));
    name->claims[0] = claim;
    if (c > 0 && !name->claims[1].queue)
        remove_claim(name, 1);
}

/* 0 with the reply's body, or the error. */
static int request_name(struct model *model, unsigned k, const struct args *args, json_t **ret_body)
{
    struct model_name *name = find_name(model, args->name);
    unsigned c = name ? find_claim(name, k) : 0;
    bool claimed = name && c < name->count;
    bool can_own =
        !name || (claimed && c == 0) || (args->replace && name->claims[0].allow_replacement);

    if (grammar_check_name(args->name, NULL))
        return WIRE_INVALID_ARGUMENTS;
    if (grammar_is_reserved(args->name))
        return WIRE_ACCESS_DENIED;
    if (!can_own && !args->queue) {
        if (claimed)
            remove_claim(name, c);
        return WIRE_NAME_TAKEN;
    }
    if (!claimed && count_claims(model, k) >= model->limits.names)
        return WIRE_LIMIT_EXCEEDED;
    unsigned before = name ? name->claims[0].player : NOBODY;
    if (!name)
        name = add_name(model, args->name);
    if (!claimed)
        c = name->count++;
    name->claims[c] = (struct model_claim){k, args->queue, args->allow_replacement};
    if (can_own)
        promote(name, c);
    announce_owner(model, 0, name, before);
    *ret_body = json_pack("{s:s}", "state", can_own ? "owner" : "queued");
    return 0;
}

static int release_name(struct model *model, unsigned k, const struct args *args, json_t **ret_body)
{
    struct model_name *name = find_name(model, args->name);
    unsigned c = name ? find_claim(name, k) : 0;

    if (!name || c == name->count)
        return WIRE_NOT_OWNER;
    unsigned before = name->claims[0].player;
    remove_claim(name, c);
    announce_owner(model, 0, name, before);
    *ret_body = json_object();
    return 0;
}

static int get_name(struct model *model, const struct args *args, json_t **ret_body)
{
    unsigned k = find_player(model, args->name);

    if (k == NOBODY)
        return WIRE_NAME_UNKNOWN;
    *ret_body = json_pack("{s:s%, s:s}", "name", args->name.data, args->name.size, "owner",
                          name_of(model, k));
    return 0;
}

static void expect_value(struct model *model, unsigned k, unsigned group, const char *topic,
                         json_t *body)
{
    json_t *tree = broker_event(topic, body);

    json_object_set_new(tree, "retained", json_true());
    player_expect(&model->players[k], group, tree);
    json_decref(body);
}

/* What the broker's own topics say now: how many match, and `show` them. */
static unsigned take_snapshot(struct model *model, unsigned k, struct span pattern, bool show)
{
    unsigned group = show ? ++model->last_group : 0;
    unsigned count = 0;
    char topic[512];

    for (size_t i = 0; i < MODEL_NAMES; i++) {
        const struct model_name *name = &model->names[i];
        snprintf(topic, sizeof(topic), "bus.name.%.*s", SPAN_ARGS(span_of(&name->text)));
        if (name->count == 0 || !grammar_matches(pattern, span_from(topic)))
            continue;
        count++;
        if (show)
            expect_value(model, k, group, topic,
                         json_pack("{s:s}", "owner", name_of(model, name->claims[0].player)));
    }
    for (unsigned i = 0; i < MODEL_PLAYERS; i++) {
        snprintf(topic, sizeof(topic), "bus.peer.%" PRIu64, model->players[i].name);
        if (!model->players[i].name || !grammar_matches(pattern, span_from(topic)))
            continue;
        count++;
        if (show)
            expect_value(model, k, group, topic, peer_body());
    }
    return count;
}

static unsigned count_subscriptions(const struct model *model, unsigned k)
{
    unsigned count = 0;

    for (size_t i = 0; i < MODEL_SUBSCRIPTIONS; i++)
        count += model->subscriptions[i].live && model->subscriptions[i].player == k;
    return count;
}

/* Segments behind the first `*`. */
static uint64_t count_wildcards(struct span pattern)
{
    const char *star = memchr(pattern.data, '*', pattern.size);
    uint64_t count = 0;

    for (const char *p = star; p && p < pattern.data + pattern.size; p++)
        count += *p == '.';
    return count;
}

/* All players are one user. */
static bool has_wildcards_left(const struct model *model, struct span pattern)
{
    uint64_t count = count_wildcards(pattern);

    for (size_t i = 0; i < MODEL_SUBSCRIPTIONS; i++)
        if (model->subscriptions[i].live)
            count += count_wildcards(span_of(&model->subscriptions[i].pattern));
    return count <= model->limits.wildcards_per_user;
}

static int subscribe(struct model *model, unsigned k, const struct args *args, json_t **ret_body)
{
    size_t i = 0;

    if (count_subscriptions(model, k) >= model->limits.subscriptions ||
        !has_wildcards_left(model, args->topic))
        return WIRE_LIMIT_EXCEEDED;
    while (model->subscriptions[i].live)
        i++;
    FUZZ_CHECK(i < MODEL_SUBSCRIPTIONS, "the model has no room for a subscription");
    struct model_subscription *subscription = &model->subscriptions[i];
    subscription->live = true;
    subscription->player = k;
    subscription->id = model->next_subscription[k]++;
    set_text(&subscription->pattern, args->topic);
    set_text(&subscription->sender, args->sender);
    bool values = grammar_is_reserved(args->topic) &&
                  (args->sender.size == 0 || span_is(args->sender, "bus"));
    *ret_body = json_pack("{s:I, s:I}", "subscription", (json_int_t)subscription->id, "retained",
                          (json_int_t)(values ? take_snapshot(model, k, args->topic, false) : 0));
    return 0;
}

static int unsubscribe(struct model *model, unsigned k, const struct args *args, json_t **ret_body)
{
    for (size_t i = 0; i < MODEL_SUBSCRIPTIONS; i++) {
        struct model_subscription *subscription = &model->subscriptions[i];
        if (subscription->live && subscription->player == k &&
            subscription->id == args->subscription) {
            subscription->live = false;
            *ret_body = json_object();
            return 0;
        }
    }
    return WIRE_NO_SUCH_SUBSCRIPTION;
}

static int monitor(struct model *model, unsigned k, json_t **ret_body)
{
    if (model->monitors[k] >= model->limits.monitors)
        return WIRE_LIMIT_EXCEEDED;
    model->monitors[k]++;
    model->players[k].watching = true;
    *ret_body = json_object();
    return 0;
}

/* Methods that only tell something: with a name in it, it must be somebody's. */
static int tell(struct model *model, struct span method, const struct args *args, json_t **ret_body)
{
    bool may_be_bus = span_is(method, "Stats");

    if (args->name.size > 0 && find_player(model, args->name) == NOBODY &&
        !(may_be_bus && span_is(args->name, "bus")))
        return WIRE_NAME_UNKNOWN;
    *ret_body = json_object();
    return 0;
}

/* The bus of the fuzzer allows everything, by one rule; calls of the bus need none. */
static int explain(struct model *model, const struct args *args, json_t **ret_body)
{
    enum policy_verb verb = policy_verb_from_name(args->verb);
    bool about_topic = verb == POLICY_PUBLISH || verb == POLICY_SUBSCRIBE;

    if (verb == POLICY_VERB_COUNT || (verb == POLICY_OWN && args->name.size == 0) ||
        (verb == POLICY_CALL && args->to.size == 0) ||
        (about_topic && (args->topic.size == 0 || grammar_has_wildcard(args->topic))))
        return WIRE_INVALID_ARGUMENTS;
    if (args->peer.size > 0 && find_player(model, args->peer) == NOBODY)
        return WIRE_NAME_UNKNOWN;
    bool about_bus = verb == POLICY_CALL && span_is(args->to, "bus");
    *ret_body = about_bus ? json_pack("{s:b, s:n}", "allow", true, "rule")
                          : json_pack("{s:b, s:{s:i}}", "allow", true, "rule", "index", 1);
    return 0;
}

static int run_method(struct model *model, unsigned k, struct span method, const struct args *args,
                      json_t **ret_body)
{
    if (span_is(method, "RequestName"))
        return request_name(model, k, args, ret_body);
    if (span_is(method, "ReleaseName"))
        return release_name(model, k, args, ret_body);
    if (span_is(method, "GetName"))
        return get_name(model, args, ret_body);
    if (span_is(method, "Subscribe"))
        return subscribe(model, k, args, ret_body);
    if (span_is(method, "Unsubscribe"))
        return unsubscribe(model, k, args, ret_body);
    if (span_is(method, "Monitor"))
        return monitor(model, k, ret_body);
    if (span_is(method, "Explain"))
        return explain(model, args, ret_body);
    return tell(model, method, args, ret_body);
}

static const struct driver_method *find_method(struct span name)
{
    const struct driver_method *method = driver_methods();

    while (method->name && !span_is(name, method->name))
        method++;
    return method->name ? method : NULL;
}

/* Methods whose answers the model does not foretell get one all the same. */
static bool is_known(struct span method)
{
    static const char *const known[] = {
        "Subscribe", "Unsubscribe", "RequestName",    "ReleaseName", "GetName",
        "Monitor",   "Explain",     "Stats",          "ListNames",   "Ping",
        "GetId",     "Introspect",  "GetCredentials", "Reload"};

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (span_is(method, known[i]))
            return true;
    return false;
}

static void call_bus(struct model *model, const struct message *message)
{
    const struct envelope *envelope = &message->envelope;
    const struct driver_method *method = find_method(envelope->method);
    struct player *player = &model->players[message->from];
    char reason[ARGS_REASON_SIZE];
    struct args args = {0};
    json_t *body = NULL;
    int r;

    if (!method)
        r = WIRE_METHOD_UNKNOWN;
    else if (args_parse(&args, envelope->body, method->takes, method->needs, reason) != 0)
        r = WIRE_INVALID_ARGUMENTS;
    else
        r = run_method(model, message->from, envelope->method, &args, &body);
    if (envelope->id > 0 && !envelope->no_reply) {
        if (r == 0 || !is_known(envelope->method)) {
            json_t *tree = json_pack("{s:s, s:I}", "sender", "bus", "id", (json_int_t)envelope->id);
            if (r == 0 && is_known(envelope->method))
                json_object_update_new(tree,
                                       json_pack("{s:s, s:O}", "type", "reply", "body", body));
            player_expect(player, 0, tree)->any_fds = true;
        } else {
            expect_error(model, message->from, 0, envelope->id, (enum wire_error)r);
        }
    }
    /* The values come after the reply. */
    if (r == 0 && span_is(envelope->method, "Subscribe") && grammar_is_reserved(args.topic) &&
        (args.sender.size == 0 || span_is(args.sender, "bus")))
        take_snapshot(model, message->from, args.topic, true);
    json_decref(body);
    args_deinit(&args);
}

/* --------------------------------------------------------------------- calls */

static unsigned count_calls(const struct model *model, unsigned caller)
{
    unsigned count = 0;

    for (size_t i = 0; i < MODEL_CALLS; i++)
        count += model->calls[i].live && model->calls[i].caller == caller;
    return count;
}

static uint64_t deadline_of(const struct model *model, const struct envelope *envelope)
{
    uint64_t timeout =
        envelope_has(envelope, KEY_TIMEOUT) ? envelope->timeout : model->limits.call_timeout;

    return timeout > 0 ? model->now + timeout : 0;
}

static void take_call(struct model *model, const struct message *message)
{
    const struct envelope *envelope = &message->envelope;
    unsigned callee = find_player(model, envelope->to);
    bool tracked = !envelope->no_reply;
    size_t i = 0;

    if (callee == NOBODY && !span_is(envelope->to, "bus")) {
        expect_refusal(model, message, WIRE_NAME_UNKNOWN);
        return;
    }
    if (tracked && find_call(model, message->from, envelope->id)) {
        expect_complaint(model, message->from, WIRE_INVALID_MESSAGE, envelope);
        return;
    }
    if (span_is(envelope->to, "bus")) {
        call_bus(model, message);
        return;
    }
    if (tracked && count_calls(model, message->from) >= model->limits.calls) {
        expect_refusal(model, message, WIRE_LIMIT_EXCEEDED);
        return;
    }
    if (tracked) {
        while (model->calls[i].live)
            i++;
        FUZZ_CHECK(i < MODEL_CALLS, "the model has no room for a call");
        model->calls[i] = (struct model_call){true, message->from, callee, envelope->id,
                                              deadline_of(model, envelope)};
    }
    forward(model, callee, message);
}

static void take_answer(struct model *model, const struct message *message)
{
    const struct envelope *envelope = &message->envelope;
    unsigned caller =
        grammar_unique_name(envelope->to) > 0 ? find_player(model, envelope->to) : NOBODY;
    struct model_call *call = caller != NOBODY ? find_call(model, caller, envelope->id) : NULL;

    if (!call || call->callee != message->from) {
        expect_refusal(model, message, WIRE_NO_SUCH_CALL);
        return;
    }
    call->live = false;
    forward(model, caller, message);
}

/* Tells the callee that nobody waits any more. */
static void abandon(struct model *model, struct model_call *call, unsigned group,
                    const char *reason)
{
    call->live = false;
    player_expect(&model->players[call->callee], group,
                  json_pack("{s:s, s:s, s:I, s:s}", "sender", name_of(model, call->caller), "type",
                            "cancel", "id", (json_int_t)call->id, "reason", reason));
}

static void take_cancel(struct model *model, const struct message *message)
{
    struct model_call *call = find_call(model, message->from, message->envelope.id);
    unsigned group = ++model->last_group;

    if (!call) {
        expect_refusal(model, message, WIRE_NO_SUCH_CALL);
        return;
    }
    abandon(model, call, group, "cancelled");
    expect_error(model, message->from, group, call->id, WIRE_CANCELLED);
}

void model_advance(struct model *model, uint64_t ms)
{
    unsigned group = ++model->last_group;

    model->now += ms;
    for (size_t i = 0; i < MODEL_CALLS; i++) {
        struct model_call *call = &model->calls[i];
        if (!call->live || call->at == 0 || call->at > model->now)
            continue;
        abandon(model, call, group, "timeout");
        expect_error(model, call->caller, group, call->id, WIRE_TIMEOUT);
    }
}

/* --------------------------------------------------------------------- lines */

static void take_event(struct model *model, const struct message *message)
{
    const struct envelope *envelope = &message->envelope;

    if (grammar_is_reserved(envelope->topic) || is_guarded(model, envelope->topic, message->from)) {
        expect_refusal(model, message, WIRE_ACCESS_DENIED);
        return;
    }
    if (!envelope_has(envelope, KEY_TO)) {
        for (unsigned k = 0; k < MODEL_PLAYERS; k++)
            if (model->players[k].name && gets_event(model, k, envelope->topic, message->from))
                forward(model, k, message);
        return;
    }
    unsigned to = find_player(model, envelope->to);
    if (to == NOBODY)
        expect_refusal(model, message, WIRE_NAME_UNKNOWN);
    else
        forward(model, to, message);
}

static void take_message(struct model *model, const struct message *message)
{
    switch (message->envelope.type) {
    case MESSAGE_EVENT:
        take_event(model, message);
        break;
    case MESSAGE_CALL:
        take_call(model, message);
        break;
    case MESSAGE_CANCEL:
        take_cancel(model, message);
        break;
    default:
        take_answer(model, message);
        break;
    }
}

static void take_invalid(struct model *model, unsigned k, enum wire_error error)
{
    expect_complaint(model, k, error, NULL);
    if (++model->invalid[k] >= model->limits.invalid_lines)
        model->players[k].ending = true;
}

void model_line(struct model *model, unsigned k, struct span line, const struct player_fds *fds)
{
    CLEANUP(cleanup_free) char *text = padded_new(line.data, line.size);
    struct message message = {.from = k, .fds = fds};
    struct envelope_fault fault;

    if (line.size + 1 > model->limits.message_bytes) {
        take_invalid(model, k, WIRE_TOO_LARGE);
        return;
    }
    if (strspn(text, " \t\r") == line.size)
        return;
    int r = envelope_parse(&message.envelope, text, line.size, ENVELOPE_FROM_CLIENT, &fault);
    if (r != 0) {
        take_invalid(model, k, (enum wire_error)r);
        return;
    }
    model->invalid[k] = 0;
    if (message.envelope.fds != fds->count) {
        expect_complaint(model, k, WIRE_FD_MISMATCH, &message.envelope);
        model->players[k].ending = true;
    } else if (fds->count > model->limits.fds_per_message) {
        expect_refusal(model, &message, WIRE_LIMIT_EXCEEDED);
    } else {
        take_message(model, &message);
    }
}

/* ----------------------------------------------------------- coming and going */

void model_connect(struct model *model, unsigned k, int fd)
{
    char topic[64];

    player_start(&model->players[k], ++model->last_name, fd);
    model->invalid[k] = 0;
    model->monitors[k] = 0;
    model->next_subscription[k] = 1;
    json_t *body = json_pack("{s:s, s:i}", "name", name_of(model, k), "protocol", 1);
    player_expect(&model->players[k], 0, broker_event("bus.welcome", body));
    json_decref(body);
    snprintf(topic, sizeof(topic), "bus.peer.%" PRIu64, model->players[k].name);
    tell_all(model, 0, topic, peer_body());
}

static void leave_calls(struct model *model, unsigned k, unsigned group)
{
    for (size_t i = 0; i < MODEL_CALLS; i++) {
        struct model_call *call = &model->calls[i];
        if (call->live && call->caller == k && call->callee == k)
            call->live = false;
        else if (call->live && call->caller == k)
            abandon(model, call, group, "disconnected");
        else if (call->live && call->callee == k) {
            call->live = false;
            expect_error(model, call->caller, group, call->id, WIRE_NO_REPLY);
        }
    }
}

void model_leave(struct model *model, unsigned k)
{
    unsigned group = ++model->last_group;
    char topic[64];

    if (model->players[k].ending)
        player_expect(&model->players[k], 0,
                      json_pack("{s:s, s:s, s:s}", "sender", "bus", "type", "error", "error",
                                wire_error_name(WIRE_DISCONNECTED)));
    for (size_t i = 0; i < MODEL_SUBSCRIPTIONS; i++)
        if (model->subscriptions[i].player == k)
            model->subscriptions[i].live = false;
    leave_calls(model, k, group);
    for (size_t i = 0; i < MODEL_NAMES; i++) {
        struct model_name *name = &model->names[i];
        unsigned c = find_claim(name, k);
        if (c == name->count)
            continue;
        unsigned before = name->claims[0].player;
        remove_claim(name, c);
        announce_owner(model, group, name, before);
    }
    snprintf(topic, sizeof(topic), "bus.peer.%" PRIu64, model->players[k].name);
    tell_all(model, group, topic, json_null());
}
