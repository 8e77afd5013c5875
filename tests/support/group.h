/* SPDX-License-Identifier: MIT */
/* What transcripts about queue groups have in common. */
#ifndef TESTS_SUPPORT_GROUP_H
#define TESTS_SUPPORT_GROUP_H

#include "tests/support/transcript.h"

/* Makes the client a member of a group; `id` is the subscription's. */
static inline void group_join(struct client *client, const char *topic, const char *group,
                              unsigned id)
{
    CLEANUP(cleanup_free)
    char *body = client_expand(client->session, "{'topic':'%s','group':'%s'}", topic, group);
    CLEANUP(cleanup_free)
    char *reply = client_expand(client->session, "{'subscription':%u,'retained':0}", id);

    client_ask(client, "Subscribe", body, reply);
}

#endif
