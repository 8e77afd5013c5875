/* SPDX-License-Identifier: MIT */
#include "busd/retained.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "libbus/base/macros.h"

/* What stands around the sender. */
static const char before_sender[] = "{\"sender\":\"";
static const char behind_sender[] = "\",\"retained\":true,";

static const char *const level_names[] = {
    [RETAINED_CONNECTION] = "connection",
    [RETAINED_BUS] = "bus",
    [RETAINED_DISK] = "disk",
};

const char *retained_level_name(enum retained_level level)
{
    return level_names[level];
}

enum retained_level retained_level_from_name(struct span name)
{
    enum retained_level level = RETAINED_CONNECTION;

    while (level < RETAINED_DISK && !span_is(name, level_names[level]))
        level++;
    return level;
}

void retained_init(struct retained *retained, struct deadlines *deadlines)
{
    *retained = (struct retained){.deadlines = deadlines};
    topicset_init(&retained->topics);
}

static struct retained_value *of_entry(struct topicset_entry *entry)
{
    return entry ? CONTAINER_OF(entry, struct retained_value, entry) : NULL;
}

void retained_deinit(struct retained *retained)
{
    retained->keeper = NULL;
    LIST_FOREACH_SAFE (node, &retained->topics.order)
        retained_drop(retained, of_entry(CONTAINER_OF(node, struct topicset_entry, order)));
    topicset_deinit(&retained->topics);
}

void retained_holder_init(struct retained_holder *holder, struct quota_user *user)
{
    *holder = (struct retained_holder){.user = user};
    list_init(&holder->values);
}

struct retained_value *retained_find(const struct retained *retained, struct span topic)
{
    return of_entry(topicset_find(&retained->topics, topic));
}

struct retained_value *retained_walk_next(struct topicset_walk *walk)
{
    return of_entry(topicset_walk_next(walk));
}

struct span retained_sender(const struct retained_value *value)
{
    return (struct span){value->chunk->data + sizeof(before_sender) - 1, value->sender_size};
}

/* ------------------------------------------------------------ charging */

static size_t line_size(const struct retained_update *update)
{
    return sizeof(before_sender) - 1 + update->sender.size + sizeof(behind_sender) - 1 +
           update->rest.size + 1;
}

static uint64_t cost_of(size_t line, struct span topic)
{
    return sizeof(struct retained_value) + sizeof(struct chunk) + topic.size + line;
}

/* Whether the holder may have one value more (`topics` 1 or 0) and so many bytes. */
static bool holder_has_room(const struct retained_holder *holder,
                            const struct retained_limits *limits, uint64_t topics, uint64_t before,
                            uint64_t after, struct retained_excess *ret_excess)
{
    if (topics > 0 && holder->count + topics > limits->topics) {
        *ret_excess = (struct retained_excess){"retained", limits->topics, true};
        return false;
    }
    if (after > before && holder->bytes - before + after > limits->bytes) {
        *ret_excess = (struct retained_excess){"retained_bytes", limits->bytes, true};
        return false;
    }
    return true;
}

static bool charge_has_room(const struct charge *charge, uint64_t amount,
                            struct retained_excess *ret_excess)
{
    uint64_t more = amount - MIN(amount, charge->amount);

    if (more == 0 || charge_can_grow(charge, more))
        return true;
    ret_excess->limit = charge_limit(charge, more, &ret_excess->value);
    ret_excess->own = false;
    return false;
}

/* Whether all limits allow that the holder gets this value in place of the old one
 * (NULL: there is none). */
static bool has_room(const struct retained_holder *holder, const struct retained_value *old,
                     uint64_t cost, const struct retained_limits *limits,
                     struct retained_excess *ret_excess)
{
    bool own = old && old->holder == holder;
    bool same_user = old && old->bytes_charge.user == holder->user;
    struct charge topic, bytes;

    charge_init(&topic, holder->user, QUOTA_RETAINED);
    charge_init(&bytes, holder->user, QUOTA_RETAINED_BYTES);
    return holder_has_room(holder, limits, own ? 0 : 1, own ? old->bytes_charge.amount : 0, cost,
                           ret_excess) &&
           charge_has_room(same_user ? &old->topic_charge : &topic, 1, ret_excess) &&
           charge_has_room(same_user ? &old->bytes_charge : &bytes, cost, ret_excess);
}

/* Takes the value from its holder, if it has one. */
static void leave_holder(struct retained_value *value)
{
    if (!value->holder)
        return;
    value->holder->count--;
    value->holder->bytes -= value->bytes_charge.amount;
    value->holder = NULL;
    list_remove(&value->by_holder);
}

static void give_back(struct retained *retained, struct retained_value *value)
{
    struct quota_user *user = value->bytes_charge.user;

    leave_holder(value);
    retained->bytes -= value->bytes_charge.amount;
    charge_give_back(&value->topic_charge);
    charge_give_back(&value->bytes_charge);
    quota_user_unref(user);
}

/* A fresh value is nobody's. */
static void charge_to(struct retained *retained, struct retained_value *value,
                      struct retained_holder *holder, struct quota_user *user)
{
    uint64_t cost = cost_of(value->size, value->entry.topic);

    user->refs++;
    charge_init(&value->topic_charge, user, QUOTA_RETAINED);
    charge_init(&value->bytes_charge, user, QUOTA_RETAINED_BYTES);
    charge_set(&value->topic_charge, 1);
    charge_set(&value->bytes_charge, cost);
    retained->bytes += cost;
    value->holder = holder;
    if (!holder)
        return;
    holder->count++;
    holder->bytes += cost;
    list_append(&holder->values, &value->by_holder);
}

/* ------------------------------------------------------------- setting */

/* NULL: out of memory. */
static struct chunk *lay_out(const struct retained_update *update)
{
    struct chunk *chunk = chunk_new(line_size(update));

    if (!chunk)
        return NULL;
    const struct span parts[] = {
        {before_sender, sizeof(before_sender) - 1},
        update->sender,
        {behind_sender, sizeof(behind_sender) - 1},
        update->rest,
        SPAN("\n"),
    };
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        memcpy(chunk->data + chunk->used, parts[i].data, parts[i].size);
        chunk->used += (uint32_t)parts[i].size;
    }
    return chunk;
}

/* A value without a line, in the set already. NULL: out of memory. */
static struct retained_value *value_new(struct retained *retained, struct span topic)
{
    struct retained_value *value = calloc(1, sizeof(*value) + topic.size);

    if (!value)
        return NULL;
    memcpy(value->text, topic.data, topic.size);
    value->entry.topic = (struct span){value->text, topic.size};
    list_init(&value->by_holder);
    list_init(&value->found);
    deadline_init(&value->deadline, DEADLINE_RETAINED);
    if (topicset_add(&retained->topics, &value->entry) < 0) {
        free(value);
        return NULL;
    }
    return value;
}

static void value_free(struct retained *retained, struct retained_value *value)
{
    list_remove(&value->found);
    topicset_remove(&retained->topics, &value->entry);
    free(value);
}

/* Tells the keeper what it has to know: 0 or what it says. */
static int tell_keeper(struct retained *retained, const struct retained_value *old,
                       const struct retained_update *update, struct chunk *chunk, uid_t uid)
{
    struct retained_keeper *keeper = retained->keeper;
    size_t rest = chunk->used - 1 - update->rest.size;

    if (!keeper)
        return 0;
    if (update->level != RETAINED_DISK)
        return old && old->level == RETAINED_DISK ? keeper->clear(keeper, update->topic) : 0;
    struct retained_record record = {
        .topic = update->topic,
        .rest = {chunk->data + rest, update->rest.size},
        .chunk = chunk,
        .uid = uid,
        .expires = update->expires,
        .guarded = update->guarded,
    };
    return keeper->put(keeper, &record);
}

/* Puts the line (taken) into the value, which is the holder's (NULL: nobody's) and charged
 * to the user from now on. */
static void place(struct retained *retained, struct retained_value *value,
                  struct retained_holder *holder, struct quota_user *user,
                  const struct retained_update *update, struct chunk *chunk)
{
    if (value->chunk) {
        deadlines_remove(retained->deadlines, &value->deadline);
        give_back(retained, value);
        chunk_unref(value->chunk);
    }
    value->chunk = chunk;
    value->size = chunk->used;
    value->sender_size = (unsigned char)update->sender.size;
    value->level = update->level;
    value->guarded = update->guarded;
    value->expires = update->expires;
    charge_to(retained, value, holder, user);
    if (update->at > 0)
        deadlines_add(retained->deadlines, &value->deadline, update->at);
}

int retained_set(struct retained *retained, struct retained_holder *holder,
                 const struct retained_update *update, const struct retained_limits *limits,
                 struct retained_excess *ret_excess)
{
    struct retained_value *old = retained_find(retained, update->topic);
    struct quota_user *user = holder->user;

    assert(update->sender.size <= RETAINED_SENDER_MAX);
    if (!has_room(holder, old, cost_of(line_size(update), update->topic), limits, ret_excess))
        return WIRE_LIMIT_EXCEEDED;
    struct chunk *chunk = lay_out(update);
    struct retained_value *value = old || !chunk ? old : value_new(retained, update->topic);
    int r = value && chunk ? tell_keeper(retained, old, update, chunk, user->uid) : -ENOMEM;
    if (r < 0) {
        if (value && !old)
            value_free(retained, value);
        chunk_unref(chunk);
        return r;
    }
    place(retained, value, holder, user, update, chunk);
    return 0;
}

int retained_load(struct retained *retained, struct quota_user *user,
                  const struct retained_record *record, uint64_t at)
{
    const struct retained_update update = {
        .topic = record->topic,
        .level = RETAINED_DISK,
        .sender = SPAN("bus"),
        .rest = record->rest,
        .at = at,
        .expires = record->expires,
        .guarded = record->guarded,
    };
    struct retained_value *value = retained_find(retained, record->topic);
    struct chunk *chunk = lay_out(&update);

    if (chunk && !value)
        value = value_new(retained, record->topic);
    if (!chunk || !value) {
        chunk_unref(chunk);
        return -ENOMEM;
    }
    place(retained, value, NULL, user, &update, chunk);
    return 0;
}

void retained_drop(struct retained *retained, struct retained_value *value)
{
    deadlines_remove(retained->deadlines, &value->deadline);
    give_back(retained, value);
    chunk_unref(value->chunk);
    value_free(retained, value);
}

int retained_clear(struct retained *retained, struct retained_value *value)
{
    struct retained_keeper *keeper = retained->keeper;
    int r =
        keeper && value->level == RETAINED_DISK ? keeper->clear(keeper, retained_topic(value)) : 0;

    if (r == 0)
        retained_drop(retained, value);
    return r;
}

void retained_release(struct retained_value *value)
{
    leave_holder(value);
}
