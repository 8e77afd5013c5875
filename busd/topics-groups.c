/* SPDX-License-Identifier: MIT */
#include "busd/topics-groups.h"

#include <stdlib.h>

#include "libbus/base/macros.h"

void route_groups_begin(struct route_groups *groups)
{
    groups->count = 0;
    groups->member_count = 0;
}

void route_groups_deinit(struct route_groups *groups)
{
    free(TAKE(groups->groups));
    free(TAKE(groups->members));
}

size_t route_groups_bytes(const struct route_groups *groups)
{
    return groups->capacity * sizeof(*groups->groups) +
           groups->member_capacity * sizeof(*groups->members);
}

bool route_groups_add(struct route_groups *groups, const struct subscription *subscription)
{
    if (groups->member_count == groups->member_capacity) {
        size_t capacity = groups->member_capacity ? groups->member_capacity * 2 : 4;
        struct route_member *members = realloc(groups->members, capacity * sizeof(*members));
        if (!members)
            return false;
        groups->members = members;
        groups->member_capacity = capacity;
    }
    groups->members[groups->member_count++] = (struct route_member){
        .group = subscription->group,
        .subscriber = subscription->subscriber,
        .filter = subscription->sender.size > 0 ? subscription : NULL,
        .sender_bit = subscription->sender_bit,
    };
    return true;
}

/* Counts the members of each group, which gets a place. */
static bool count_groups(struct route_groups *groups, uint64_t mark)
{
    for (size_t i = 0; i < groups->member_count; i++) {
        struct group *group = groups->members[i].group;
        if (group->mark != mark) {
            if (groups->count == groups->capacity) {
                size_t capacity = groups->capacity ? groups->capacity * 2 : 1;
                struct route_group *all = realloc(groups->groups, capacity * sizeof(*all));
                if (!all)
                    return false;
                groups->groups = all;
                groups->capacity = capacity;
            }
            group->mark = mark;
            group->slot = groups->count;
            groups->groups[groups->count++] = (struct route_group){.group = group};
        }
        groups->groups[group->slot].count++;
    }
    return true;
}

/* Puts the members of each group together, those without a filter first. */
static bool sort_members(struct route_groups *groups)
{
    struct route_member *sorted = malloc(groups->member_capacity * sizeof(*sorted));
    size_t first = 0;

    if (!sorted)
        return false;
    for (size_t g = 0; g < groups->count; g++) {
        groups->groups[g].first = first;
        first += groups->groups[g].count;
        groups->groups[g].count = 0;
    }
    for (int filtered = 0; filtered <= 1; filtered++) {
        for (size_t i = 0; i < groups->member_count; i++) {
            struct route_member member = groups->members[i];
            struct route_group *of = &groups->groups[member.group->slot];
            if (!member.filter == !filtered)
                sorted[of->first + of->count++] = member;
        }
    }
    free(groups->members);
    groups->members = sorted;
    return true;
}

/* Drops the members that are there already without a filter. */
static void drop_doubles(struct topics *topics, struct route_groups *groups,
                         struct route_group *group)
{
    struct route_member *members = &groups->members[group->first];
    uint64_t mark = topics_new_mark(topics);
    size_t kept = 0;

    for (size_t i = 0; i < group->count; i++) {
        struct route_member member = members[i];
        if (member.subscriber->mark == mark)
            continue;
        if (!member.filter)
            member.subscriber->mark = mark;
        members[kept++] = member;
    }
    group->count = kept;
}

uint64_t topics_filter(const struct topics *topics, const struct subscription *subscription)
{
    struct span sender = subscription->sender;
    uint64_t hash = hash_of(&topics->ids, sender.data, sender.size);

    return hash > 0 ? hash : 1;
}

bool route_groups_arrange(struct topics *topics, struct route_groups *groups)
{
    if (groups->member_count == 0)
        return true;
    if (!count_groups(groups, topics_new_mark(topics)) || !sort_members(groups))
        return false;
    for (size_t g = 0; g < groups->count; g++)
        drop_doubles(topics, groups, &groups->groups[g]);
    return true;
}
