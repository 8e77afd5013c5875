/* SPDX-License-Identifier: MIT */
/* Events that the members of queue groups share. */
#include "busd/deliver.h"

#include <stdio.h>

#include "busd/sharing.h"
#include "libbus/base/macros.h"

/* So many members that an event is not for take as long as one step of CONNECTION_EFFORT. */
#define MEMBERS_EFFORT 16

/* One event on its way to one member of a group. */
struct shared_event {
    struct hub *hub;
    struct peer *sender; /* NULL: it has gone */
    struct span topic;
    uint64_t filter; /* of a member that it was let pass for before; 0: of none */
    uint64_t bits;   /* of the sender; 0: they have not been needed yet */
};

/* Whether the member's filter lets it pass. What was let pass once stays so for the same
 * filter, though the sender has gone, or has lost the name that is meant. */
static bool passes(struct shared_event *event, const struct route_member *member)
{
    struct hub *hub = event->hub;

    if (event->filter > 0 && event->filter == topics_filter(&hub->topics, member->filter))
        return true;
    if (!event->sender)
        return false;
    if (event->bits == 0)
        event->bits = hub_sender_bits(hub, event->sender);
    return event->bits >> member->sender_bit & 1 &&
           hub_is_named(hub, event->sender, member->filter->sender);
}

static bool is_for(struct shared_event *event, const struct route_member *member)
{
    struct peer *peer = peer_of_subscriber(member->subscriber);
    struct policy_verdict verdict;

    if (peer->doomed || peer->connection.deaf || (member->filter && !passes(event, member)))
        return false;
    return !member->ask || access_subscribe(peer, event->topic, &verdict);
}

/* The members of one group that one event is for, from the one whose turn it is on. No more
 * of them are looked at than of those who share a name. */
struct round {
    struct shared_event *event;
    struct group *group;
    const struct route_member *members;
    size_t count;
    size_t start;
    size_t passed; /* so many from the start on have been looked at … */
    size_t found;  /* … and the event is for so many of them */
    const struct route_member *candidates[SHARING_CANDIDATES];
};

static void round_begin(struct round *round, struct shared_event *event, const struct route *route,
                        const struct route_group *group)
{
    round->event = event;
    round->group = group->group;
    round->members = &route->groups.members[group->first];
    round->count = group->count;
    round->start = group->count > 0 ? (size_t)(group->group->turn % group->count) : 0;
    round->passed = 0;
    round->found = 0;
}

/* NULL: there are not so many. */
static const struct route_member *candidate(struct round *round, size_t i)
{
    if (i >= SHARING_CANDIDATES)
        return NULL;
    while (round->found <= i && round->passed < round->count) {
        size_t at = (round->start + round->passed++) % round->count;
        round->event->hub->shared.effort += round->passed % MEMBERS_EFFORT == 0;
        if (is_for(round->event, &round->members[at]))
            round->candidates[round->found++] = &round->members[at];
    }
    return i < round->found ? round->candidates[i] : NULL;
}

/* Queues the piece for the next member who is not behind, or when all of them are, who has
 * room. There is one at least. Returns whose it would have been, with *ret_given. */
static struct peer *give(struct round *round, const struct piece *piece, bool *ret_given)
{
    struct hub *hub = round->event->hub;
    const struct route_member *member;

    for (int patient = 0; patient <= 1; patient++) {
        for (size_t i = 0; (member = candidate(round, i)); i++) {
            struct peer *peer = peer_of_subscriber(member->subscriber);
            uint64_t filter = member->filter ? topics_filter(&hub->topics, member->filter) : 0;
            if ((!patient && peer_is_behind(peer)) ||
                deliver_share(hub, peer, piece, round->group, filter) != 0)
                continue;
            round->group->turn = (uint64_t)(member - round->members) + 1;
            *ret_given = true;
            return peer;
        }
    }
    member = candidate(round, 0);
    round->group->turn = (uint64_t)(member - round->members) + 1;
    *ret_given = false;
    return peer_of_subscriber(member->subscriber);
}

/* Nobody has room: one of them hears of it. */
static struct peer *give_or_lose(struct round *round, const struct piece *piece, bool *ret_given)
{
    struct peer *peer = give(round, piece, ret_given);

    if (!*ret_given)
        deliver_lost(round->event->hub, peer, round->event->topic);
    return peer;
}

size_t deliver_to_groups(struct hub *hub, struct peer *sender, const struct route *route,
                         const struct envelope *envelope, struct fds *fds, struct receipt *receipt,
                         struct peer **to)
{
    struct shared_event event = {.hub = hub, .sender = sender, .topic = envelope->topic};
    size_t count = 0;

    for (size_t g = 0; g < route->groups.count; g++) {
        const struct route_group *group = &route->groups.groups[g];
        struct span name = group_name(group->group);
        char key[sizeof("\"group\":\"\",") + GRAMMAR_GROUP_MAX];
        struct round round;
        struct piece piece;
        bool given;

        round_begin(&round, &event, route, group);
        if (!candidate(&round, 0))
            continue;
        int size = snprintf(key, sizeof(key), "\"group\":\"%.*s\",", SPAN_ARGS(name));
        if (deliver_layout(hub, sender, (struct span){key, (size_t)size}, envelope, fds, &piece) <
            0) {
            peer_doom(sender, "out of memory for its events");
            break;
        }
        struct peer *receiver = give_or_lose(&round, &piece, &given);
        if (receipt)
            deliver_note(receipt, receiver, given);
        if (given && to)
            to[count++] = receiver;
    }
    return count;
}

static const struct route_group *find_group(const struct route *route, const struct group *group)
{
    for (size_t g = 0; g < route->groups.count; g++)
        if (route->groups.groups[g].group == group)
            return &route->groups.groups[g];
    return NULL;
}

/* Whether another member has got it. */
static bool hand_over(struct hub *hub, const struct share *share)
{
    const struct piece *piece = &share->piece;
    struct policy_verdict verdict;
    struct envelope_fault fault;
    struct envelope envelope;
    struct round round;
    bool given = false;

    if (envelope_parse(&envelope, piece->chunk->data + piece->offset, piece->size - 1,
                       ENVELOPE_FROM_BROKER, &fault) != 0)
        return false;
    struct peer *sender = hub_find_peer(hub, envelope.sender);
    struct route *route = deliver_route(hub, envelope.topic);
    const struct route_group *group = route ? find_group(route, share->group) : NULL;
    if (!group || (sender && !access_publish(sender, route, &verdict)))
        return false;
    struct shared_event event = {hub, sender, envelope.topic, share->filter, 0};
    round_begin(&round, &event, route, group);
    if (candidate(&round, 0))
        give_or_lose(&round, piece, &given);
    return given;
}

bool deliver_again(struct hub *hub, struct peer *member, bool strewn)
{
    struct share *share =
        share_take(&member->connection.shares, &member->connection.outq, &hub->shared.pool, strewn);

    if (!share)
        return false;
    if (hand_over(hub, share))
        hub->handovers.given++;
    else
        hub->handovers.dropped++;
    share_free(&hub->shares, share);
    return true;
}
