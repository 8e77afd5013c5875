/* SPDX-License-Identifier: MIT */
/*
 * Who owns which name and who waits for it, written as the protocol reads: arrays that
 * are searched from end to end. A part of the model of the whole broker (model.h).
 */
#ifndef TESTS_FUZZ_MODEL_NAMES_H
#define TESTS_FUZZ_MODEL_NAMES_H

#include "busd/args.h"
#include "libbus/wire/grammar.h"

#define MODEL_PLAYERS 4
#define MODEL_NAMES   64
#define MODEL_NOBODY  MODEL_PLAYERS

struct model_text {
    size_t size;
    char data[GRAMMAR_NAME_MAX];
};

struct model_claim {
    unsigned player;
    bool queue;
    bool allow_replacement;
    bool shared;
};

/* The first `owners` of the claims own it, the others wait. */
struct model_name {
    struct model_text text;
    unsigned count;
    unsigned owners;
    unsigned turn; /* which owner is next */
    struct model_claim claims[MODEL_PLAYERS];
};

struct model_names {
    struct model_name all[MODEL_NAMES];
};

struct model_name_change {
    const struct model_name *name; /* with no owners: nobody's any more */
    unsigned before;               /* the first owner, or MODEL_NOBODY */
    bool changed;
};

static inline struct span model_text_span(const struct model_text *text)
{
    return (struct span){text->data, text->size};
}

void model_text_set(struct model_text *text, struct span value);

struct model_name *model_names_find(struct model_names *names, struct span text);

/* The first owner of the name, or MODEL_NOBODY. NULL is let pass. */
unsigned model_name_owner(const struct model_name *name);
bool model_name_is_shared(const struct model_name *name);
bool model_name_owns(const struct model_name *name, unsigned player);

/* Whom the next message to the name goes to. */
unsigned model_name_take_turn(struct model_name *name);

/* 0 with what has come of it (*ret_state is what the reply says), or the error. */
int model_names_request(struct model_names *names, unsigned player, const struct args *args,
                        uint64_t max, const char **ret_state, struct model_name_change *ret_change);
int model_names_release(struct model_names *names, unsigned player, struct span text,
                        struct model_name_change *ret_change);

#endif
