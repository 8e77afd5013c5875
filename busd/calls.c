/* SPDX-License-Identifier: MIT */
#include "busd/calls.h"

#include <errno.h>
#include <stdlib.h>

/* Beyond this many, ended calls are freed. */
#define SPARE_MAX 1024

void calls_init(struct calls *calls, struct deadlines *deadlines)
{
    *calls = (struct calls){.deadlines = deadlines};
    hash_init(&calls->table);
    list_init(&calls->spare);
}

void calls_deinit(struct calls *calls)
{
    hash_deinit(&calls->table);
    LIST_FOREACH_SAFE (node, &calls->spare)
        free(LIST_ENTRY(node, struct call, by_caller));
}

void call_party_init(struct call_party *party, struct quota_user *user)
{
    *party = (struct call_party){.user = user};
    list_init(&party->made);
    list_init(&party->received);
}

static uint64_t call_hash(const struct calls *calls, const struct call_party *caller, uint64_t id)
{
    uint64_t key[2] = {(uintptr_t)caller, id};

    return hash_of(&calls->table, key, sizeof(key));
}

static struct call *find(const struct calls *calls, const struct call_party *caller, uint64_t id,
                         uint64_t hash)
{
    HASH_FOREACH (node, &calls->table, hash) {
        struct call *call = CONTAINER_OF(node, struct call, node);
        if (call->caller == caller && call->id == id)
            return call;
    }
    return NULL;
}

static struct call *call_new(struct calls *calls)
{
    struct list *spare = list_first(&calls->spare);

    if (!spare)
        return malloc(sizeof(struct call));
    list_remove(spare);
    calls->spare_count--;
    return LIST_ENTRY(spare, struct call, by_caller);
}

static void call_free(struct calls *calls, struct call *call)
{
    if (calls->spare_count >= SPARE_MAX) {
        free(call);
        return;
    }
    list_prepend(&calls->spare, &call->by_caller);
    calls->spare_count++;
}

int calls_add(struct calls *calls, struct call_party *caller, struct call_party *callee,
              const struct call_terms *terms, size_t max)
{
    uint64_t hash = call_hash(calls, caller, terms->id);
    struct charge charge;

    if (find(calls, caller, terms->id, hash))
        return WIRE_INVALID_MESSAGE;
    if (caller->made_count >= max || charge_one(&charge, caller->user, QUOTA_CALLS) != 0)
        return WIRE_LIMIT_EXCEEDED;

    struct call *call = call_new(calls);
    if (!call) {
        charge_give_back(&charge);
        return -ENOMEM;
    }
    *call = (struct call){.caller = caller,
                          .callee = callee,
                          .id = terms->id,
                          .timeout = terms->timeout,
                          .progress = terms->now,
                          .more = terms->more,
                          .charge = charge};
    list_init(&call->by_caller);
    backlog_waiter_init(&call->waiter, NULL);
    if (hash_add(&calls->table, &call->node, hash) < 0) {
        charge_give_back(&call->charge);
        call_free(calls, call);
        return -ENOMEM;
    }
    deadline_init(&call->deadline, DEADLINE_CALL);
    if (terms->timeout > 0)
        deadlines_add(calls->deadlines, &call->deadline, terms->now + terms->timeout);
    list_append(&caller->made, &call->by_caller);
    list_append(&callee->received, &call->by_callee);
    caller->made_count++;
    callee->received_count++;
    return 0;
}

struct call *calls_find(const struct calls *calls, const struct call_party *caller, uint64_t id)
{
    return find(calls, caller, id, call_hash(calls, caller, id));
}

bool calls_expire(struct calls *calls, struct call *call, uint64_t now)
{
    uint64_t at = call->progress + call->timeout;

    if (at <= now || call->broken)
        return true;
    deadlines_add(calls->deadlines, &call->deadline, at);
    return false;
}

void calls_pause(struct calls *calls, struct call *call)
{
    call->paused = true;
    if (!call->broken)
        deadlines_remove(calls->deadlines, &call->deadline);
}

void calls_resume(struct calls *calls, struct call *call, uint64_t now)
{
    call->paused = false;
    call->progress = now;
    if (call->timeout > 0 && !call->broken)
        deadlines_add(calls->deadlines, &call->deadline, now + call->timeout);
}

void calls_break(struct calls *calls, struct call *call, uint64_t now)
{
    call->broken = true;
    deadlines_remove(calls->deadlines, &call->deadline);
    deadlines_add(calls->deadlines, &call->deadline, now);
}

void calls_remove(struct calls *calls, struct call *call)
{
    hash_remove(&calls->table, &call->node);
    backlog_leave(&call->waiter);
    deadlines_remove(calls->deadlines, &call->deadline);
    list_remove(&call->by_caller);
    list_remove(&call->by_callee);
    charge_give_back(&call->charge);
    call->caller->made_count--;
    call->callee->received_count--;
    call_free(calls, call);
}
