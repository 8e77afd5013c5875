/* SPDX-License-Identifier: MIT */
#include "busd/sharing.h"

#include "libbus/base/macros.h"

/* What is asked of nobody in particular is asked nevertheless: the name may be a
 * forbidden one. */
static bool may_send(const struct peer *sender, const struct peer *receiver,
                     const struct envelope *envelope, struct policy_verdict *ret_verdict)
{
    if (envelope->type == MESSAGE_CALL)
        return access_call(sender, receiver, envelope->to, envelope->method, ret_verdict);
    return !receiver || access_subscribe(receiver, envelope->topic, ret_verdict);
}

/* Whether it is a better choice than another one that is behind. */
static bool is_better(const struct peer *peer, const struct peer *other)
{
    return !other || !peer_is_behind(peer) ||
           peer->connection.outq.bytes < other->connection.outq.bytes;
}

/* The next owner in turn who may have the message and is not behind; else the best of
 * those who are. */
static bool choose_owner(struct hub *hub, struct name *name, const struct peer *sender,
                         const struct envelope *envelope, struct peer **ret_peer,
                         struct policy_verdict *ret_verdict)
{
    size_t count = MIN(name->owner_count, (size_t)SHARING_CANDIDATES);
    struct peer *best = NULL;
    struct peer *denied = NULL;

    for (size_t i = 0; i < count && (!best || peer_is_behind(best)); i++) {
        struct peer *peer = peer_of_owner(name_take_turn(name));
        struct policy_verdict verdict;
        hub->shared.effort++;
        if (peer->doomed)
            continue;
        if (!may_send(sender, peer, envelope, &verdict)) {
            if (!denied && !best)
                *ret_verdict = verdict;
            denied = peer;
        } else if (is_better(peer, best)) {
            *ret_verdict = verdict;
            best = peer;
        }
    }
    *ret_peer = best ? best : denied;
    return best || (!denied && may_send(sender, NULL, envelope, ret_verdict));
}

bool sharing_choose(struct hub *hub, const struct peer *sender, const struct envelope *envelope,
                    struct peer **ret_peer, struct policy_verdict *ret_verdict)
{
    uint64_t id = grammar_unique_name(envelope->to);
    struct name *name = id > 0 ? NULL : names_find(&hub->names, envelope->to);
    struct peer *peer = id > 0 ? peers_find(&hub->peers, id) : NULL;

    if (name && name_is_shared(name))
        return choose_owner(hub, name, sender, envelope, ret_peer, ret_verdict);
    if (name)
        peer = peer_of_owner(name_get_owner(name));
    *ret_peer = peer && !peer->doomed ? peer : NULL;
    return may_send(sender, *ret_peer, envelope, ret_verdict);
}
