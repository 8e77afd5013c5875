/* SPDX-License-Identifier: MIT */
/*
 * Whether two envelopes of one line say the same, down to where each part lies.
 */
#ifndef TESTS_SUPPORT_ENVELOPES_H
#define TESTS_SUPPORT_ENVELOPES_H

#include <stdbool.h>

#include "libbus/wire/envelope.h"

static inline bool envelopes_place_alike(struct span a, struct span b)
{
    return a.data == b.data && a.size == b.size;
}

static inline bool envelopes_are_alike(const struct envelope *a, const struct envelope *b)
{
    return a->type == b->type && a->keys == b->keys && envelopes_place_alike(a->to, b->to) &&
           envelopes_place_alike(a->method, b->method) && envelopes_place_alike(a->path, b->path) &&
           envelopes_place_alike(a->topic, b->topic) && envelopes_place_alike(a->error, b->error) &&
           envelopes_place_alike(a->sender, b->sender) &&
           envelopes_place_alike(a->retain, b->retain) &&
           envelopes_place_alike(a->reason, b->reason) &&
           envelopes_place_alike(a->message, b->message) &&
           envelopes_place_alike(a->about, b->about) && envelopes_place_alike(a->body, b->body) &&
           a->id == b->id && a->timeout == b->timeout && a->ttl == b->ttl &&
           a->offset == b->offset && a->fds == b->fds && a->no_reply == b->no_reply &&
           a->no_start == b->no_start && a->more == b->more && a->body_fd == b->body_fd &&
           a->retained == b->retained && envelopes_place_alike(a->rest, b->rest);
}

#endif
