/* SPDX-License-Identifier: MIT */
/*
 * The arguments of the broker's own methods: the keys there are, in one table, each
 * with its type and its grammar. A method says which it takes and which it needs;
 * what it does not take is an error.
 */
#ifndef BUSD_ARGS_H
#define BUSD_ARGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "busd/overflow.h"
#include "libbus/base/span.h"
#include "libbus/base/text.h"
#include "libbus/wire/envelope.h"
#include "libbus/wire/errors.h"

#define ARG_NAME              (1u << 0)
#define ARG_TOPIC             (1u << 1)
#define ARG_SENDER            (1u << 2)
#define ARG_SUBSCRIPTION      (1u << 3)
#define ARG_QUEUE             (1u << 4)
#define ARG_REPLACE           (1u << 5)
#define ARG_ALLOW_REPLACEMENT (1u << 6)
#define ARG_TYPE              (1u << 7)
#define ARG_FROM              (1u << 8)
#define ARG_TO                (1u << 9)
#define ARG_VERB              (1u << 10)
#define ARG_METHOD            (1u << 11)
#define ARG_PEER              (1u << 12)
#define ARG_UID               (1u << 13)
#define ARG_GIDS              (1u << 14)
#define ARG_LISTENER          (1u << 15)
#define ARG_RETAINED          (1u << 16)
#define ARG_OVERFLOW          (1u << 17)
#define ARG_SHARED            (1u << 18)
#define ARG_GROUP             (1u << 19)

enum args_retained {
    ARGS_RETAINED_FIRST, /* true */
    ARGS_RETAINED_NO,    /* false */
    ARGS_RETAINED_ONLY,  /* "only" */
};

/* What is absent is empty, 0, false or OVERFLOW_DROP. The spans live as long as the tree. */
struct args {
    json_t *tree; /* owned */
    struct span name;
    struct span topic;
    struct span sender;
    struct span group;
    struct span from;
    struct span to;
    enum message_type type;
    uint64_t subscription;
    enum args_retained retained;
    enum overflow_policy overflow;
    bool queue;
    bool replace;
    bool allow_replacement;
    bool shared;
    struct span verb;
    struct span method;
    struct span peer;
    struct span listener;
    bool has_uid;
    uint64_t uid;
    const json_t *gids; /* an array of integers; NULL: none */
};

#define ARGS_REASON_SIZE 512

/* `body` is JSON text, empty for none. 0, or with a sentence in `reason`
 * WIRE_INVALID_ARGUMENTS, or WIRE_LIMIT_EXCEEDED if there is no memory for them. The caller owns
 * the result: args_deinit(). */
int args_parse(struct args *ret_args, struct span body, unsigned takes, unsigned needs,
               char reason[ARGS_REASON_SIZE]);
void args_deinit(struct args *args);

/* The arguments as an object {key: what it is}, as JSON text. */
void args_describe(struct text *text, unsigned takes, unsigned needs);

#endif
