/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "busd/audience.h"
#include "busd/driver.h"
#include "libbus/base/macros.h"
#include "libbus/wire/envelope.h"
#include "libbus/wire/grammar.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/padded.h"

#define NOBODY MODEL_NOBODY
#define BROKER (MODEL_PLAYERS + 1) /* as sender of an event */

/* A line of player k that is a message. */
struct message {
    unsigned from;
    struct envelope envelope;
    const struct player_fds *fds;
};

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

void model_deinit(struct model *model)
{
    for (size_t i = 0; i < MODEL_VALUES; i++)
        model_value_end(&model->values.values[i]);
}

/* ------------------------------------------------------------ finding people */

static unsigned find_player(struct model *model, struct span name)
{
    uint64_t id = grammar_unique_name(name);

    for (unsigned k = 0; k < MODEL_PLAYERS; k++)
        if (id > 0 && model->players[k].name == id)
            return k;
    return model_name_owner(model_names_find(&model->names, name));
}

/* Whether a name stands for the player, alone or among others. */
static bool is_named(struct model *model, struct span name, unsigned k)
{
    const struct model_name *owned = model_names_find(&model->names, name);

    return owned ? model_name_owns(owned, k) : find_player(model, name) == k;
}

/* Whom a message to the name goes to. */
static unsigned choose_player(struct model *model, struct span to)
{
    struct model_name *name = model_names_find(&model->names, to);

    return name ? model_name_take_turn(name) : find_player(model, to);
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

static unsigned count_calls(const struct model *model, unsigned caller)
{
    unsigned count = 0;

    for (size_t i = 0; i < MODEL_CALLS; i++)
        count += model->calls[i].live && model->calls[i].caller == caller;
    return count;
}

/* -------------------------------------------------------------------- events */

/* A subscription's sender, if it names one. */
static bool sender_fits(struct model *model, const struct model_subscription *subscription,
                        unsigned sender)
{
    struct span filter = model_text_span(&subscription->sender);

    if (filter.size == 0)
        return true;
    if (span_is(filter, "bus"))
        return sender == BROKER;
    return sender != BROKER && is_named(model, filter, sender);
}

/* As a member of the group (NULL: without one). */
static bool gets_event(struct model *model, unsigned k, const struct model_text *group,
                       struct span topic, unsigned sender)
{
    struct span wanted = group ? model_text_span(group) : (struct span){0};

    for (size_t i = 0; i < MODEL_SUBSCRIPTIONS; i++) {
        const struct model_subscription *subscription = &model->subscriptions[i];
        if (subscription->live && subscription->player == k &&
            span_equal(model_text_span(&subscription->group), wanted) &&
            grammar_matches(model_text_span(&subscription->pattern), topic) &&
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
        if (model->players[k].name && gets_event(model, k, NULL, span_from(topic), BROKER))
            player_expect(&model->players[k], group, broker_event(topic, body));
    json_decref(body);
}

/* What is told of a name's owners. */
static json_t *owners_body(const struct model *model, const struct model_name *name)
{
    json_t *body = json_pack("{s:s}", "owner", name_of(model, model_name_owner(name)));

    if (!model_name_is_shared(name))
        return body;
    json_t *owners = json_array();
    for (unsigned c = 0; c < name->owners; c++)
        json_array_append_new(owners, json_string(name_of(model, name->claims[c].player)));
    json_object_set_new(body, "owners", owners);
    return body;
}

static void announce_owners(struct model *model, unsigned group,
                            const struct model_name_change *change)
{
    const struct model_name *name = change->name;
    char topic[512];

    if (!change->changed)
        return;
    snprintf(topic, sizeof(topic), "bus.name.%.*s", SPAN_ARGS(model_text_span(&name->text)));
    json_t *body = name->owners > 0 ? owners_body(model, name) : json_null();
    if (name->owners > 0 && change->before != NOBODY && change->before != model_name_owner(name))
        json_object_set_new(body, "old", json_string(name_of(model, change->before)));
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
        const struct model_name *name = &model->names.all[i];
        struct span text = model_text_span(&name->text);
        bool above = span_starts_with(topic, text) &&
                     (topic.size == text.size || topic.data[text.size] == '.');
        if (name->count > 0 && above && !model_name_owns(name, sender))
            return true;
    }
    return false;
}

/* --------------------------------------------------------------- last values */

/* Whether a name that is the topic or the beginning of it has an owner. */
static bool has_guard(struct model *model, struct span topic)
{
    return is_guarded(model, topic, NOBODY);
}

static bool is_trusted(struct model *model, const struct model_value *value)
{
    unsigned publisher = value->gone ? NOBODY : value->player;

    return value->guarded || !is_guarded(model, model_value_topic(value), publisher);
}

/* A subscription's sender: who has gone is known by its unique name alone. */
static bool value_fits(struct model *model, const struct model_value *value, struct span sender)
{
    return sender.size == 0 || grammar_unique_name(sender) == value->name ||
           (!value->gone && find_player(model, sender) == value->player);
}

/* Ends by itself: those who listen are told, in the publisher's name if it could say so. */
static void end_value(struct model *model, struct model_value *value, unsigned group)
{
    bool own = !value->gone && is_trusted(model, value);
    struct span topic = model_value_topic(value);

    for (unsigned k = 0; k < MODEL_PLAYERS; k++) {
        if (!model->players[k].name ||
            !gets_event(model, k, NULL, topic, own ? value->player : BROKER))
            continue;
        json_t *tree = json_pack("{s:s, s:s, s:s%, s:n}", "sender",
                                 own ? name_of(model, value->player) : "bus", "type", "event",
                                 "topic", topic.data, topic.size, "body");
        player_expect(&model->players[k], group, tree);
    }
    model_value_end(value);
}

static void leave_values(struct model *model, unsigned k, unsigned group)
{
    for (size_t i = 0; i < MODEL_VALUES; i++) {
        struct model_value *value = &model->values.values[i];
        if (!value->rest || value->gone || value->player != k)
            continue;
        if (value->connection)
            end_value(model, value, group);
        else
            value->gone = true;
    }
}

/* How many match, and `show` them. */
static unsigned take_values(struct model *model, unsigned k, const struct args *args, bool show)
{
    struct model_value *value = NULL;
    unsigned count = 0;
    char prefix[64];

    while ((value = model_values_next(&model->values, value))) {
        if (!grammar_matches(args->topic, model_value_topic(value)) ||
            !value_fits(model, value, args->sender) || !is_trusted(model, value))
            continue;
        count++;
        snprintf(prefix, sizeof(prefix), "{\"sender\":\":%" PRIu64 "\",\"retained\":true,",
                 value->name);
        if (show)
            player_expect_line(&model->players[k], span_from(prefix),
                               (struct span){value->rest, value->size}, NULL);
    }
    return count;
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

/* To a member of a group as such, unless that is empty. */
static void forward_to(struct model *model, unsigned to, struct span group,
                       const struct message *message)
{
    char prefix[96 + GRAMMAR_GROUP_MAX];

    snprintf(prefix, sizeof(prefix), "{\"sender\":\"%s\",%s%.*s%s", name_of(model, message->from),
             group.size > 0 ? "\"group\":\"" : "", SPAN_ARGS(group), group.size > 0 ? "\"," : "");
    player_expect_line(&model->players[to], span_from(prefix), message->envelope.rest,
                       message->fds);
}

static void forward(struct model *model, unsigned to, const struct message *message)
{
    forward_to(model, to, (struct span){0}, message);
}

/* ----------------------------------------------------------- the bus's methods */

/* 0 with the reply's body, or the error. */
static int request_name(struct model *model, unsigned k, const struct args *args, json_t **ret_body)
{
    struct model_name_change change;
    const char *state;

    if (grammar_check_name(args->name, NULL))
        return WIRE_INVALID_ARGUMENTS;
    if (grammar_is_reserved(args->name))
        return WIRE_ACCESS_DENIED;
    int r = model_names_request(&model->names, k, args, model->limits.names, &state, &change);
    if (r != 0)
        return r;
    announce_owners(model, 0, &change);
    *ret_body = json_pack("{s:s}", "state", state);
    return 0;
}

static int release_name(struct model *model, unsigned k, const struct args *args, json_t **ret_body)
{
    struct model_name_change change;

    int r = model_names_release(&model->names, k, args->name, &change);
    if (r != 0)
        return r;
    announce_owners(model, 0, &change);
    *ret_body = json_object();
    return 0;
}

static int get_name(struct model *model, const struct args *args, json_t **ret_body)
{
    unsigned k = find_player(model, args->name);

    if (k == NOBODY)
        return WIRE_NAME_UNKNOWN;
    const struct model_name *name = model_names_find(&model->names, args->name);
    *ret_body = json_pack("{s:s%, s:s}", "name", args->name.data, args->name.size, "owner",
                          name_of(model, k));
    if (name)
        json_object_update_new(*ret_body, owners_body(model, name));
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

/* How many listen is not foretold, but that it is told: of one topic, or of those that
 * somebody watches. */
static unsigned count_watched(const struct model *model, struct span pattern)
{
    unsigned count = 0;

    if (presence_part(pattern).size > 0)
        return 1;
    for (size_t i = 0; i < MODEL_SUBSCRIPTIONS; i++) {
        struct span topic = model_text_span(&model->subscriptions[i].pattern);
        bool first = model->subscriptions[i].live && presence_part(topic).size > 0;
        for (size_t before = 0; before < i && first; before++)
            first = !model->subscriptions[before].live ||
                    !span_equal(model_text_span(&model->subscriptions[before].pattern), topic);
        count += first && grammar_matches(pattern, topic);
    }
    return count;
}

/* What the broker's own topics say now: how many match, and `show` them. */
static unsigned take_snapshot(struct model *model, unsigned k, struct span pattern, bool show)
{
    unsigned group = show ? ++model->last_group : 0;
    unsigned count = 0;
    char topic[512];

    for (size_t i = 0; i < MODEL_NAMES; i++) {
        const struct model_name *name = &model->names.all[i];
        snprintf(topic, sizeof(topic), "bus.name.%.*s", SPAN_ARGS(model_text_span(&name->text)));
        if (name->count == 0 || !grammar_matches(pattern, span_from(topic)))
            continue;
        count++;
        if (show)
            expect_value(model, k, group, topic, owners_body(model, name));
    }
    for (unsigned i = 0; i < MODEL_PLAYERS; i++) {
        snprintf(topic, sizeof(topic), "bus.peer.%" PRIu64, model->players[i].name);
        if (!model->players[i].name || !grammar_matches(pattern, span_from(topic)))
            continue;
        count++;
        if (show)
            expect_value(model, k, group, topic, peer_body());
    }
    return count + count_watched(model, pattern);
}

static unsigned count_subscriptions(const struct model *model, unsigned k)
{
    unsigned count = 0;

    for (size_t i = 0; i < MODEL_SUBSCRIPTIONS; i++)
        count += model->subscriptions[i].live && model->subscriptions[i].player == k;
    return count;
}

/* The last values that a subscription begins with: their number, and `show` them. */
static unsigned begin_with(struct model *model, unsigned k, const struct args *args, bool show)
{
    if (args->retained == ARGS_RETAINED_NO || args->group.size > 0)
        return 0;
    if (!grammar_is_reserved(args->topic))
        return take_values(model, k, args, show);
    if (args->sender.size > 0 && !span_is(args->sender, "bus"))
        return 0;
    return take_snapshot(model, k, args->topic, show);
}

static int subscribe(struct model *model, unsigned k, const struct args *args, json_t **ret_body)
{
    size_t i = 0;

    if (audience_check(args->topic))
        return WIRE_INVALID_ARGUMENTS;
    if (args->group.size > 0 &&
        (grammar_is_reserved(args->topic) || args->retained == ARGS_RETAINED_ONLY ||
         args->overflow != OVERFLOW_DROP))
        return WIRE_INVALID_ARGUMENTS;
    if (args->retained == ARGS_RETAINED_ONLY) {
        *ret_body = json_pack("{s:I}", "retained", (json_int_t)begin_with(model, k, args, false));
        return 0;
    }
    if (count_subscriptions(model, k) >= model->limits.subscriptions)
        return WIRE_LIMIT_EXCEEDED;
    while (model->subscriptions[i].live)
        i++;
    FUZZ_CHECK(i < MODEL_SUBSCRIPTIONS, "the model has no room for a subscription");
    struct model_subscription *subscription = &model->subscriptions[i];
    subscription->live = true;
    subscription->player = k;
    subscription->id = model->next_subscription[k]++;
    model_text_set(&subscription->pattern, args->topic);
    model_text_set(&subscription->sender, args->sender);
    model_text_set(&subscription->group, args->group);
    *ret_body = json_pack("{s:I, s:I}", "subscription", (json_int_t)subscription->id, "retained",
                          (json_int_t)begin_with(model, k, args, false));
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

/* The bus of the fuzzer allows everything. */
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
    *ret_body = json_pack("{s:b}", "allow", true);
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

/* Methods whose answers the model does not foretell (Reload) get one all the same. */
static bool is_known(struct span method)
{
    static const char *const known[] = {
        "Subscribe", "Unsubscribe", "RequestName",   "ReleaseName", "GetName",
        "Monitor",   "Explain",     "Stats",         "ListNames",   "Ping",
        "GetId",     "Introspect",  "GetCredentials"};

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
    if (r == 0 && span_is(envelope->method, "Subscribe"))
        begin_with(model, message->from, &args, true);
    json_decref(body);
    args_deinit(&args);
}

/* --------------------------------------------------------------------- calls */

/* The time that the callee has begins now. */
static void begin_wait(const struct model *model, struct model_call *call)
{
    call->at = call->timeout > 0 ? model->now + call->timeout : 0;
}

static void take_call(struct model *model, const struct message *message)
{
    const struct envelope *envelope = &message->envelope;
    unsigned callee = choose_player(model, envelope->to);
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
        model->calls[i] = (struct model_call){
            .live = true,
            .caller = message->from,
            .callee = callee,
            .id = envelope->id,
            .timeout = envelope_has(envelope, KEY_TIMEOUT) ? envelope->timeout
                                                           : model->limits.call_timeout,
            .more = envelope->more,
        };
        begin_wait(model, &model->calls[i]);
    }
    forward(model, callee, message);
}

/* The call that this is the callee's answer to; NULL if there is none. */
static struct model_call *find_answered(struct model *model, const struct message *message)
{
    const struct envelope *envelope = &message->envelope;
    unsigned caller =
        grammar_unique_name(envelope->to) > 0 ? find_player(model, envelope->to) : NOBODY;
    struct model_call *call = caller != NOBODY ? find_call(model, caller, envelope->id) : NULL;

    return call && call->callee == message->from ? call : NULL;
}

static void take_answer(struct model *model, const struct message *message)
{
    struct model_call *call = find_answered(model, message);
    bool item = message->envelope.more;

    if (!call || (item && !call->more)) {
        expect_refusal(model, message, call ? WIRE_INVALID_MESSAGE : WIRE_NO_SUCH_CALL);
        return;
    }
    call->live = item;
    begin_wait(model, call);
    forward(model, call->caller, message);
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

/* A message with more fds than it may have. An answer, or an item, is lost with them, and
 * its call ends. */
static void take_too_many_fds(struct model *model, const struct message *message)
{
    enum message_type type = message->envelope.type;
    bool item = message->envelope.more;
    struct model_call *call =
        type == MESSAGE_REPLY || type == MESSAGE_ERROR ? find_answered(model, message) : NULL;

    expect_refusal(model, message, WIRE_LIMIT_EXCEEDED);
    if (!call || (item && !call->more))
        return;
    call->live = false;
    if (item)
        abandon(model, call, 0, "limit");
    expect_error(model, call->caller, 0, call->id, WIRE_LIMIT_EXCEEDED);
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
    for (size_t i = 0; i < MODEL_VALUES; i++) {
        struct model_value *value = &model->values.values[i];
        if (value->rest && value->at > 0 && value->at <= model->now)
            end_value(model, value, group);
    }
}

/* --------------------------------------------------------------------- lines */

/* Nobody is behind here, so a receipt comes at once. */
static void expect_receipt(struct model *model, const struct message *message, int receivers)
{
    if (message->envelope.id > 0)
        player_expect(&model->players[message->from], 0,
                      json_pack("{s:s, s:s, s:I, s:{s:i, s:i, s:i}}", "sender", "bus", "type",
                                "reply", "id", (json_int_t)message->envelope.id, "body", "matched",
                                receivers, "queued", receivers, "dropped", 0));
}

/* Whether the event may have a receipt, if it is to have one. */
static bool admit_receipt(struct model *model, const struct message *message)
{
    const struct envelope *envelope = &message->envelope;

    if (envelope->id == 0)
        return true;
    if (find_call(model, message->from, envelope->id)) {
        expect_complaint(model, message->from, WIRE_INVALID_MESSAGE, envelope);
        return false;
    }
    if (count_calls(model, message->from) >= model->limits.calls) {
        expect_refusal(model, message, WIRE_LIMIT_EXCEEDED);
        return false;
    }
    return true;
}

/* To all the groups that have subscribed, each of one player alone. Returns how many. */
static unsigned share_out(struct model *model, const struct message *message)
{
    unsigned count = 0;

    for (size_t i = 0; i < MODEL_SUBSCRIPTIONS; i++) {
        const struct model_subscription *subscription = &model->subscriptions[i];
        bool first = subscription->live && subscription->group.size > 0;
        for (size_t j = 0; j < i && first; j++)
            first = !model->subscriptions[j].live ||
                    !span_equal(model_text_span(&model->subscriptions[j].group),
                                model_text_span(&subscription->group));
        if (!first || !gets_event(model, subscription->player, &subscription->group,
                                  message->envelope.topic, message->from))
            continue;
        forward_to(model, subscription->player, model_text_span(&subscription->group), message);
        count++;
    }
    return count;
}

/* 0, or the error. */
static int retain(struct model *model, const struct message *message)
{
    const struct envelope *envelope = &message->envelope;
    const struct model_value value = {.player = message->from,
                                      .name = model->players[message->from].name,
                                      .guarded = has_guard(model, envelope->topic),
                                      .at = envelope->ttl > 0 ? model->now + envelope->ttl : 0};

    return envelope_has(envelope, KEY_RETAIN)
               ? model_values_set(&model->values, envelope, model->limits.retained, &value)
               : 0;
}

/* There is no disk here: a value for it lasts as long as the bus, and its publisher is told;
 * by the event's id instead of the receipt, or at once. */
static bool misses_disk(const struct envelope *envelope)
{
    return span_equal(envelope->retain, SPAN("disk")) && !envelope_clears(envelope);
}

static void take_event(struct model *model, const struct message *message)
{
    const struct envelope *envelope = &message->envelope;
    int receivers = 0;

    if (grammar_is_reserved(envelope->topic) || is_guarded(model, envelope->topic, message->from)) {
        expect_refusal(model, message, WIRE_ACCESS_DENIED);
        return;
    }
    unsigned to = envelope_has(envelope, KEY_TO) ? choose_player(model, envelope->to) : NOBODY;
    if (envelope_has(envelope, KEY_TO) && to == NOBODY) {
        expect_refusal(model, message, WIRE_NAME_UNKNOWN);
        return;
    }
    if (!admit_receipt(model, message))
        return;
    if (retain(model, message) != 0) {
        expect_refusal(model, message, WIRE_LIMIT_EXCEEDED);
        return;
    }
    if (misses_disk(envelope) && envelope->id == 0)
        expect_refusal(model, message, WIRE_STORAGE_FAILED);
    for (unsigned k = 0; k < MODEL_PLAYERS; k++) {
        if (to == k || (to == NOBODY && model->players[k].name &&
                        gets_event(model, k, NULL, envelope->topic, message->from))) {
            forward(model, k, message);
            receivers++;
        }
    }
    if (to == NOBODY)
        receivers += (int)share_out(model, message);
    if (misses_disk(envelope) && envelope->id > 0)
        expect_refusal(model, message, WIRE_STORAGE_FAILED);
    else
        expect_receipt(model, message, receivers);
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
        take_too_many_fds(model, &message);
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
    leave_values(model, k, group);
    leave_calls(model, k, group);
    for (size_t i = 0; i < MODEL_NAMES; i++) {
        struct model_name_change change;
        if (model_names_release(&model->names, k, model_text_span(&model->names.all[i].text),
                                &change) == 0)
            announce_owners(model, group, &change);
    }
    snprintf(topic, sizeof(topic), "bus.peer.%" PRIu64, model->players[k].name);
    tell_all(model, group, topic, json_null());
}
