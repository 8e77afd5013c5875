/* SPDX-License-Identifier: MIT */
/*
 * The bus's own service, called as "bus": a table of methods (driver.c), whose
 * handlers stand in driver-names.c, driver-topics.c and driver-info.c by subject.
 * This is not the hot path: arguments are parsed into a tree.
 */
#ifndef BUSD_DRIVER_H
#define BUSD_DRIVER_H

#include "busd/announce.h"
#include "busd/answer.h"
#include "busd/args.h"

/* What a call costs, in the steps of CONNECTION_EFFORT: the call itself, and so many
 * bytes of its reply. */
#define DRIVER_EFFORT       24
#define DRIVER_EFFORT_BYTES 64

struct driver_call {
    struct hub *hub;
    struct peer *caller;
    uint64_t id; /* 0: no reply is wanted */
    struct args args;
};

/* Answers the call with driver_reply() or driver_fail(), exactly once. */
typedef void (*driver_handler)(struct driver_call *call);

struct driver_method {
    const char *name;
    driver_handler handler;
    unsigned takes; /* ARG_… */
    unsigned needs;
    const char *description;
};

/* A call to "bus". */
void driver_dispatch(struct hub *hub, struct peer *caller, const struct envelope *envelope);

/* Greets a new peer, and tells the others about it. */
void driver_welcome(struct hub *hub, struct peer *peer);

/* For the handlers. `body` is JSON text; `fds` (NULL: none) are borrowed. */
void driver_reply(struct driver_call *call, struct span body, struct fds *fds);
void driver_fail(struct driver_call *call, enum wire_error error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* bus.AccessDenied with the rule that decided; logged too. */
void driver_deny(struct driver_call *call, enum policy_verb verb, struct span what,
                 const struct policy_verdict *verdict);

/* The caller has `count` of what `own` (of value `max`) limits for a connection and the
 * slot for a user: the error that names the one that is reached. */
void driver_fail_limit(struct driver_call *call, size_t count, const char *own, uint64_t max,
                       enum quota_slot slot);

/* The body made by `text`, which is emptied; or an error if there was no memory. */
void driver_reply_text(struct driver_call *call, struct text *text);

/* The table, ended by a row without a name. */
const struct driver_method *driver_methods(void);

void driver_request_name(struct driver_call *call);
void driver_release_name(struct driver_call *call);
void driver_list_names(struct driver_call *call);
void driver_get_name(struct driver_call *call);
void driver_subscribe(struct driver_call *call);
void driver_unsubscribe(struct driver_call *call);
void driver_retained(struct driver_call *call);
void driver_monitor(struct driver_call *call);
void driver_ping(struct driver_call *call);
void driver_get_id(struct driver_call *call);
void driver_get_credentials(struct driver_call *call);
void driver_stats(struct driver_call *call);
void driver_introspect(struct driver_call *call);
void driver_explain(struct driver_call *call);
void driver_reload(struct driver_call *call);

#endif
