/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/model-names.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

void model_text_set(struct model_text *text, struct span value)
{
    text->size = value.size;
    if (value.size > 0)
        memcpy(text->data, value.data, value.size);
}

struct model_name *model_names_find(struct model_names *names, struct span text)
{
    for (size_t i = 0; i < MODEL_NAMES; i++)
        if (names->all[i].count > 0 && span_equal(model_text_span(&names->all[i].text), text))
            return &names->all[i];
    return NULL;
}

unsigned model_name_owner(const struct model_name *name)
{
    return name && name->count > 0 ? name->claims[0].player : MODEL_NOBODY;
}

bool model_name_is_shared(const struct model_name *name)
{
    return name->count > 0 && name->claims[0].shared;
}

static unsigned find_claim(const struct model_name *name, unsigned player)
{
    unsigned c = 0;

    while (c < name->count && name->claims[c].player != player)
        c++;
    return c;
}

bool model_name_owns(const struct model_name *name, unsigned player)
{
    return find_claim(name, player) < name->owners;
}

unsigned model_name_take_turn(struct model_name *name)
{
    unsigned player = name->claims[name->turn].player;

    name->turn = (name->turn + 1) % name->owners;
    return player;
}

static unsigned count_claims(const struct model_names *names, unsigned player)
{
    unsigned count = 0;

    for (size_t i = 0; i < MODEL_NAMES; i++)
        count += find_claim(&names->all[i], player) < names->all[i].count;
    return count;
}

static void move_claim(struct model_name *name, unsigned from, unsigned to)
{
    struct model_claim claim = name->claims[from];

    if (from > to)
        memmove(&name->claims[to + 1], &name->claims[to], (from - to) * sizeof(claim));
    else
        memmove(&name->claims[from], &name->claims[from + 1], (to - from) * sizeof(claim));
    name->claims[to] = claim;
}

static void remove_claim(struct model_name *name, unsigned c)
{
    move_claim(name, c, name->count - 1);
    name->count--;
    if (c >= name->owners)
        return;
    name->owners--;
    if (c < name->turn)
        name->turn--;
    if (name->turn == name->owners)
        name->turn = 0;
}

/* The claim number c, which waits, becomes the last of the owners. */
static void own(struct model_name *name, unsigned c)
{
    move_claim(name, c, name->owners++);
}

/* Whoever may have the name, has it. */
static void serve(struct model_name *name)
{
    if (name->owners == 0 && name->count > 0)
        own(name, 0);
    for (unsigned c = name->owners; model_name_is_shared(name) && c < name->count; c++)
        if (name->claims[c].shared)
            own(name, c);
}

static struct model_name *add_name(struct model_names *names, struct span text)
{
    size_t i = 0;

    while (names->all[i].count > 0)
        i++;
    FUZZ_CHECK(i < MODEL_NAMES, "the model has no room for a name");
    names->all[i] = (struct model_name){0};
    model_text_set(&names->all[i].text, text);
    return &names->all[i];
}

static struct model_name_change describe(const struct model_name *name,
                                         const struct model_name *old)
{
    bool changed =
        name->owners != old->owners || model_name_is_shared(name) != model_name_is_shared(old);

    for (unsigned c = 0; c < name->owners && !changed; c++)
        changed = name->claims[c].player != old->claims[c].player;
    return (struct model_name_change){name, model_name_owner(old), changed};
}

/* Takes the name from its only owner, who waits if it wanted to. */
static void replace(struct model_name *name)
{
    name->owners = 0;
    name->turn = 0;
    if (!name->claims[0].queue)
        remove_claim(name, 0);
}

int model_names_request(struct model_names *names, unsigned player, const struct args *args,
                        uint64_t max, const char **ret_state, struct model_name_change *ret_change)
{
    struct model_name *name = model_names_find(names, args->name);
    struct model_name old = name ? *name : (struct model_name){0};
    unsigned c = name ? find_claim(name, player) : 0;
    bool claimed = name && c < name->count;
    bool owned = claimed && c < name->owners;
    bool joins = name && model_name_is_shared(name) && args->shared;
    bool replaces = name && !owned && args->replace && name->claims[0].allow_replacement &&
                    !model_name_is_shared(name);
    bool can_own = !name || (owned && name->owners == 1) || joins || replaces;

    if (!can_own && owned)
        return WIRE_NAME_TAKEN;
    if (!can_own && !args->queue) {
        if (claimed)
            remove_claim(name, c);
        return WIRE_NAME_TAKEN;
    }
    if (!claimed && count_claims(names, player) >= max)
        return WIRE_LIMIT_EXCEEDED;
    if (!name)
        name = add_name(names, args->name);
    if (!claimed)
        c = name->count++;
    name->claims[c] =
        (struct model_claim){player, args->queue, args->allow_replacement, args->shared};
    if (can_own && !owned) {
        if (replaces)
            replace(name);
        own(name, find_claim(name, player));
    }
    serve(name);
    *ret_change = describe(name, &old);
    *ret_state = !can_own ? "queued" : args->shared ? "shared" : "owner";
    return 0;
}

int model_names_release(struct model_names *names, unsigned player, struct span text,
                        struct model_name_change *ret_change)
{
    struct model_name *name = model_names_find(names, text);
    struct model_name old = name ? *name : (struct model_name){0};
    unsigned c = name ? find_claim(name, player) : 0;

    if (!name || c == name->count)
        return WIRE_NOT_OWNER;
    remove_claim(name, c);
    serve(name);
    *ret_change = describe(name, &old);
    return 0;
}
