/* SPDX-License-Identifier: MIT */
/*
 * Configurations with a policy, for transcripts: two listeners, `bus` without a label
 * and `guest` with that label, so that two kinds of clients need no second user.
 */
#ifndef TESTS_SUPPORT_POLICY_H
#define TESTS_SUPPORT_POLICY_H

#include "tests/support/transcript.h"

#define LISTENER(name) "{'address':'unix:DIR/" name "','mode':'0666','label':'" name "'}"

#define POLICY_LISTENERS "{'address':'unix:DIR/bus','mode':'0666'}," LISTENER("guest")
#define POLICY(rules)    "{'listeners':[" POLICY_LISTENERS "],'policy':[" rules "]}"
#define GUEST            "'listener':'guest'"

/* A file of conf/ as a configuration for a session: its sockets lie in the session's
 * directory instead of /run/busd. malloc'ed; NULL if there is none. */
char *policy_read_example(const char *name);

/* A text in which DIR is the session's directory and $A a client's name; malloc'ed. */
char *policy_text(struct session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The next message is the bus's bus.AccessDenied by this id, with just this message, a
 * text as above. */
void policy_expect_denied(struct client *client, uint64_t id, const char *message);

/* Writes the configuration anew and has it read: Reload is answered with success … */
void policy_reload(struct client *manager, const char *config);

/* … or with an error that says this, a text as above, somewhere. */
void policy_reload_fails(struct client *manager, const char *config, const char *message);

#endif
