/* SPDX-License-Identifier: MIT */
/*
 * Users to be charged in tests of registries, with the limits of a user bus. At the
 * end none of them may owe anything.
 */
#ifndef TESTS_SUPPORT_USERS_H
#define TESTS_SUPPORT_USERS_H

#include "busd/quota.h"

struct users {
    struct limits limits;
    struct quotas quotas;
    struct quota_user *first;
};

static inline struct quota_user *users_begin(struct users *users)
{
    limits_init(&users->limits, false);
    quotas_init(&users->quotas, &users->limits);
    users->first = quotas_get_user(&users->quotas, 1000);
    return users->first;
}

/* Asserts that nothing is charged any more. */
static inline void users_end(struct users *users)
{
    users->first = quota_user_unref(users->first);
    quotas_deinit(&users->quotas);
}

#endif
