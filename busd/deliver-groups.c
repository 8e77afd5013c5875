/* SPDX-License-Identifier: MIT */
/* Events that the members of queue groups share. */
#include "busd/deliver.h"

#include <stdio.h>

#include "busd/sharing.h"
#include "libbus/base/macros.h"

/* One event on its way to one member of a group. */
struct shared_event {
    struct hub *hub;
    struct peer *sender; /* NULL: it has gone */
    struct span topic;
    uint64_t filter; /* of a member that it was let pass for before; 0: of none */
};

/* Whether the member may have it. What was let pass once stays so for the same filter,
 * though the sender has gone, or has lost the name that is meant. */
static bool is_for(const struct shared_event *event, const struct route_member *member)
{
    struct peer *peer = peer_of_subscriber(member->subscriber);
    struct policy_verdict verdict;

    if (peer->doomed || peer->connection.deaf)
        return false;
    if (member->filter &&
        !(event->sender && hub_is_named(event->hub, event->sender, member->filter->sender)) &&
        !(event->filter > 0 && event->filter == topics_filter(&event->hub->topics, member->filter)))
        return false;
    return !member->ask || access_subscribe(peer, event->topic, &verdict);
}

/* The members of one group, from the one whose turn it is on. No more of them are looked at
 * for one event than of those who share a name. */
struct round {
    struct group *group;
    const struct route_member *members;
    size_t count;
    size_t start;
    size_t limit;
};

static const struct route_member *member_at(const struct round *round, size_t i)
{
    return &round->members[(round->start + i) % round->count];
}

/* Begins with the first one who may have the event. False: nobody may. */
static bool round_begin(struct round *round, const struct shared_event *event,
                        const struct route *route, const struct route_group *group)
{
    if (group->count == 0)
        return false;
    *round = (struct round){.group = group->group,
                            .members = &route->groups.members[group->first],
                            .count = group->count,
                            .start = (size_t)(group->group->turn % group->count),
                            .limit = MIN(group->count, (size_t)SHARING_CANDIDATES)};
    while (round->limit > 0 && !is_for(event, member_at(round, 0))) {
        event->hub->shared.effort++;
        round->start++;
        round->limit--;
    }
    return round->limit > 0;
}

/* Queues the piece for the next member who is not behind, or when all of them are, who has
 * room. Returns whose it would have been, with *ret_given. */
static struct peer *give(const struct round *round, const struct shared_event *event,
                         const struct piece *piece, bool *ret_given)
{
    struct hub *hub = event->hub;

    for (int patient = 0; patient <= 1; patient++) {
        for (size_t i = 0; i < round->limit; i++) {
            const struct route_member *member = member_at(round, i);
            struct peer *peer = peer_of_subscriber(member->subscriber);
            uint64_t filter = member->filter ? topics_filter(&hub->topics, member->filter) : 0;
            if ((!patient && peer_is_behind(peer)) || (i > 0 && !is_for(event, member)) ||
                deliver_share(hub, peer, piece, round->group, filter) != 0)
                continue;
            round->group->turn = round->start + i + 1;
            *ret_given = true;
            return peer;
        }
    }
    round->group->turn = round->start + 1;
    *ret_given = false;
    return peer_of_subscriber(member_at(round, 0)->subscriber);
}

/* Nobody has room: one of them hears of it. */
static struct peer *give_or_lose(const struct round *round, const struct shared_event *event,
                                 const struct piece *piece, bool *ret_given)
{
    struct peer *peer = give(round, event, piece, ret_given);

    if (!*ret_given)
        deliver_lost(event->hub, peer, event->topic);
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

        if (!round_begin(&round, &event, route, group))
            continue;
        int size = snprintf(key, sizeof(key), "\"group\":\"%.*s\",", SPAN_ARGS(name));
        if (deliver_layout(hub, sender, (struct span){key, (size_t)size}, envelope, fds, &piece) <
            0) {
            peer_doom(sender, "out of memory for its events");
            break;
        }
        struct peer *receiver = give_or_lose(&round, &event, &piece, &given);
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
    struct shared_event event = {hub, sender, envelope.topic, share->filter};
    if (round_begin(&round, &event, route, group))
        give_or_lose(&round, &event, piece, &given);
    return given;
}

bool deliver_again(struct hub *hub, struct peer *member, bool strewn)
{
    struct share *share =
        share_take(&member->shares, &member->connection.outq, &hub->shared.pool, strewn);

    if (!share)
        return false;
    if (hand_over(hub, share))
        hub->handovers.given++;
    else
        hub->handovers.dropped++;
    share_free(&hub->shares, share);
    return true;
}
