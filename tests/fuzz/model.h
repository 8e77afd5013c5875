/* SPDX-License-Identifier: MIT */
/*
 * What the broker has to do, written as the protocol reads: no sockets, no indexes,
 * arrays that are searched from end to end. It is told what the clients do, and tells
 * the players what they are to receive.
 *
 * It takes the word of the wire's own code for whether a line is a message and
 * arguments are right; those have fuzz targets of their own.
 */
#ifndef TESTS_FUZZ_MODEL_H
#define TESTS_FUZZ_MODEL_H

#include "busd/limits.h"
#include "libbus/wire/grammar.h"
#include "tests/fuzz/model-names.h"
#include "tests/fuzz/model-values.h"
#include "tests/fuzz/player.h"

#define MODEL_SUBSCRIPTIONS 64
#define MODEL_CALLS         64

struct model_subscription {
    bool live;
    unsigned player;
    uint64_t id;
    struct model_text pattern;
    struct model_text sender;
    struct model_text group; /* nobody else's: players share nothing */
};

struct model_call {
    bool live;
    unsigned caller;
    unsigned callee;
    uint64_t id;
    uint64_t timeout; /* milliseconds; 0: none */
    uint64_t at;      /* the deadline; 0: none */
    bool more;
};

struct model {
    struct limits limits;
    uint64_t now;
    uint64_t last_name;
    unsigned last_group;
    struct player players[MODEL_PLAYERS];
    unsigned invalid[MODEL_PLAYERS];
    unsigned monitors[MODEL_PLAYERS];
    uint64_t next_subscription[MODEL_PLAYERS];
    struct model_names names;
    struct model_subscription subscriptions[MODEL_SUBSCRIPTIONS];
    struct model_call calls[MODEL_CALLS];
    struct model_values values;
};

void model_init(struct model *model, const struct limits *limits);

/* Player k connects with this socket. */
void model_connect(struct model *model, unsigned k, int fd);

/* Player k has left, or `ending` it is made to. */
void model_leave(struct model *model, unsigned k);

/* Player k sends a line (without its LF). Whether it has to be ended for it shows in
 * the player's `ending`; then model_leave() is due. */
void model_line(struct model *model, unsigned k, struct span line, const struct player_fds *fds);

/* Nothing more will happen. */
void model_deinit(struct model *model);

/* Time passes. */
void model_advance(struct model *model, uint64_t ms);

#endif
