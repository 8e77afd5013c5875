/* SPDX-License-Identifier: MIT */
/*
 * What routing works with: the peers, the registries, the limits, the counters and
 * the room for outgoing lines. No behaviour of its own; dispatch, driver and deliver
 * act on it, the broker owns it.
 */
#ifndef BUSD_HUB_H
#define BUSD_HUB_H

#include <uv.h>

#include "busd/calls.h"
#include "busd/chunk.h"
#include "busd/connection.h"
#include "busd/deadlines.h"
#include "busd/limits.h"
#include "busd/monitor.h"
#include "busd/names.h"
#include "busd/peer.h"
#include "busd/presence.h"
#include "busd/receipts.h"
#include "busd/retained.h"
#include "busd/store.h"
#include "busd/topics.h"
#include "libbus/base/log.h"
#include "libbus/base/text.h"
#include "libbus/wire/envelope.h"

#define HUB_ID_SIZE 32

/* Who waits for the answer to Reload. */
struct hub_reload {
    struct list link;
    uint64_t caller;
    uint64_t id;
};

/* What became of the shares of members of groups that could not have them any more. */
struct hub_handovers {
    uint64_t given;   /* to another member */
    uint64_t dropped; /* there was none, or none with room */
};

struct hub {
    struct log *log;
    struct limits limits;
    char id[HUB_ID_SIZE + 1]; /* of this run of the bus */
    double started;           /* seconds of the real-time clock */
    uv_loop_t *loop;
    struct connection_shared shared;
    struct quotas quotas;
    struct peers peers;
    struct names names;
    struct topics topics;
    struct shares shares;
    struct hub_handovers handovers;
    struct deadlines deadlines;
    struct calls calls;
    struct receipts receipts;
    struct latest latest;
    struct retained retained;
    struct retained_keeper keeper; /* busd/persist.h */
    struct store store;
    struct presence presence;
    struct monitors monitors;
    struct chunk_arena arena;
    struct envelope_head head; /* of the events that come in */
    struct text text;          /* hub_text() */
    bool reload;               /* the configuration is to be read anew, between two turns */
    struct list reloads;       /* struct hub_reload */
    struct peer_counters counters;
    uint64_t bytes_sent; /* by connections that are closed */
};

/* 0 or -errno. Log and loop are borrowed. */
int hub_init(struct hub *hub, struct log *log, uv_loop_t *loop,
             const struct connection_handler *handler, const struct limits *limits);

/* Every peer must be gone and the loop have run since. */
void hub_deinit(struct hub *hub);

struct hub *hub_of(struct peer *peer);

/* The peer that a unique or a well-known name stands for, of several the first; NULL if
 * there is none. */
struct peer *hub_find_peer(struct hub *hub, struct span name);

/* Whether a name stands for this peer, alone or among others; NULL is the broker. */
bool hub_is_named(const struct hub *hub, const struct peer *peer, struct span name);

/* Which filters by sender can mean the peer (NULL: the broker): one that none of these bits
 * stands for (topics_sender_bit()) does not; of the others each is to be looked at. */
uint64_t hub_sender_bits(struct hub *hub, struct peer *peer);

/* An empty text for a line of the broker's own; only one is in use at a time. */
struct text *hub_text(struct hub *hub);

/* Asks for a reload at the end of the turn, which will answer the call `id` (0: none) of
 * this peer. 0 or -ENOMEM. */
int hub_ask_reload(struct hub *hub, uint64_t caller, uint64_t id);

/* Milliseconds on the clock of the deadlines. */
uint64_t hub_now(const struct hub *hub);

/* Logs that a limit has kept a client from having more. */
void hub_log_limit(struct hub *hub, const struct peer *peer, const char *limit, uint64_t value);

/* NULL is let pass. */
struct peer *peer_of_owner(struct name_owner *owner);
struct peer *peer_of_subscriber(struct subscriber *subscriber);
struct peer *peer_of_party(struct call_party *party);
struct peer *peer_of_publisher(struct receipt_party *party);
struct peer *peer_of_holder(struct retained_holder *holder);
struct peer *peer_of_watcher(struct watcher *watcher);
struct peer *peer_of_connection(struct connection *connection);

#endif
