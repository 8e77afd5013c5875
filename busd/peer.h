/* SPDX-License-Identifier: MIT */
/*
 * One client: its connection, who it is, and a small handle for each registry that
 * knows something of it. Registries store pointers to the handles; who has a handle
 * climbs to the peer with CONTAINER_OF.
 *
 * A peer dies in two phases. peer_doom() can be called from anywhere: it only marks
 * the peer and links it, so nothing is destroyed under somebody's feet. Once a turn
 * the broker says goodbye in every registry and closes the connection; the memory
 * goes in libuv's close callback.
 */
#ifndef BUSD_PEER_H
#define BUSD_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "busd/backlog.h"
#include "busd/calls.h"
#include "busd/connection.h"
#include "busd/credentials.h"
#include "busd/monitor.h"
#include "busd/names.h"
#include "busd/policy.h"
#include "busd/receipts.h"
#include "busd/retained.h"
#include "busd/topics.h"
#include "libbus/base/log.h"
#include "libbus/wire/grammar.h"

struct peers {
    struct hash by_id;
    struct list all;    /* struct peer.link, in order of connecting */
    struct list urgent; /* struct peer.dirty_link: calls or answers to be written */
    struct list dirty;  /* struct peer.dirty_link: something else to be written */
    struct list doomed; /* struct peer.doomed_link */
    uint64_t last_id;
    size_t closing; /* handles that libuv still holds */
};

/* Events that were dropped since the last notice. */
struct overflow {
    uint64_t lost;
    double since; /* seconds of the real-time clock */
    unsigned char first_size;
    unsigned char last_size;
    char first[GRAMMAR_NAME_MAX];
    char last[GRAMMAR_NAME_MAX];
};

struct peer_counters {
    uint64_t received;
    uint64_t delivered;
    uint64_t conflated; /* delivered, and given way to newer ones before they were sent */
    uint64_t dropped;
    uint64_t invalid;
    uint64_t bytes_received;
};

struct peer {
    struct connection connection;
    struct peers *peers;
    struct hash_node by_id;
    struct list link;
    struct list dirty_link;
    struct list doomed_link;
    uint64_t id;
    char prefix[40]; /* {"sender":":42", as put in front of every line */
    unsigned char prefix_size;
    bool doomed;
    bool leaving;           /* its end has begun */
    bool stalled;           /* its deadline for reading runs */
    bool urgent;            /* in that list */
    bool lets_fds_in;       /* the kernel lets it send file descriptors */
    bool proven;            /* has sent a valid message */
    bool welcome;           /* has been greeted, and so is known to others */
    unsigned invalid_lines; /* in a row */
    struct credentials credentials;
    uint64_t listener;           /* the one it came through: its id … */
    char *label;                 /* … and its label, which may be empty */
    struct policy_view *view;    /* what it may do; owned */
    const struct limits *limits; /* its listener's; borrowed */
    struct quota_user *user;
    struct name_owner names;
    struct subscriber subscriber;
    struct call_party calls;
    struct receipt_party receipts;
    struct retained_holder values;
    struct watcher watcher;
    struct overflow *overflow; /* NULL while nothing has been lost */
    struct backlog backlog;    /* who waits until it has read … */
    struct backlog streams;    /* … and calls of its own, see busd/stream.h */
    struct peer_counters counters;
    double since;          /* connected, seconds of the real-time clock */
    char *reason;          /* of the doom, NULL for a plain goodbye */
    struct list user_link; /* to struct quota_user.members */
    struct charge connection_charge;
    struct charge unproven_charge;
    struct deadline unproven;
    struct deadline line;
    struct deadline stall;
    uint64_t name_bits; /* of the names it claims, see topics_sender_bit(); 0: unknown … */
    uint64_t name_bits_generation; /* … and of the names when it was found out */
    int unread;                    /* what the socket held when the stall was looked at last */
};

void peers_init(struct peers *peers);
void peers_deinit(struct peers *peers); /* asserts that no peer is left */

struct peer_options {
    struct quota_user *user;         /* borrowed */
    struct credentials *credentials; /* taken, on success only, as is … */
    const char *label;               /* copied */
    struct policy_view *view;        /* … the reference to this */
    const struct limits *limits;     /* borrowed until they are set anew */
    struct shares *shares;           /* borrowed */
};

/* Takes the socket, on success only; the peer may be doomed from the start. 0; WIRE_LIMIT_EXCEEDED
 * if the user has all the connections it may have, with *ret_slot saying of which kind; -errno. */
int peer_new(struct peers *peers, struct connection_shared *shared, struct fds *socket,
             const struct peer_options *options, enum quota_slot *ret_slot, struct peer **ret_peer);

/* Lets it send file descriptors if its limits do, else has the kernel refuse them. */
void peer_let_fds_in(struct peer *peer);

/* NULL if there is none. A doomed one is none. */
struct peer *peers_find(const struct peers *peers, uint64_t id);

/* Marks the peer for its end. Idempotent; the first reason counts. A reason is told
 * the client and logged; NULL is for one that has left by itself. */
void peer_doom(struct peer *peer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Something has been queued, or can be written now. What is urgent, because somebody
 * waits for it, goes before what is not. */
void peer_set_dirty(struct peer *peer);
void peer_set_urgent(struct peer *peer);

/* Has the waiter called once the peer has read on so far that no more than
 * `queue_soft_bytes` of what is queued now are left, or once it has gone. It may still be
 * behind by then, with what has been queued since. The peer is behind now. */
void peer_await(struct peer *peer, struct backlog_waiter *waiter);

/* The queue has been written: calls the waiters, `max` at most. Returns how many. */
unsigned peer_wake(struct peer *peer, unsigned max);

/* What the connections of a user hold is more than its share: ends the one that holds
 * the most. */
void peer_cut_largest(struct quota_user *user);

/* Whether so many more fds may be held for the peer; looks whether those in sockets
 * have been read, if that is needed. `now` in milliseconds. */
bool peer_may_hold_fds(struct peer *peer, unsigned more, uint64_t now);

/* Phase two, after every registry has let go: closes the connection and frees the
 * peer when libuv has done with it. */
void peer_close(struct peer *peer);

/* Whether it leaves so much unread that those who care about it wait. */
static inline bool peer_is_behind(const struct peer *peer)
{
    return peer->connection.outq.bytes > peer->limits->queue_soft_bytes || peer->overflow;
}

/* ":42", as it stands in the prefix. */
static inline struct span peer_name(const struct peer *peer)
{
    return (struct span){peer->prefix + sizeof("{\"sender\":\"") - 1,
                         peer->prefix_size - (sizeof("{\"sender\":\"\",") - 1)};
}

/* For the log; it lives as long as the peer. */
static inline struct log_subject peer_subject(const struct peer *peer)
{
    return (struct log_subject){peer_name(peer), peer->credentials.uid, peer->credentials.pid};
}

static inline struct span peer_prefix(const struct peer *peer)
{
    return (struct span){peer->prefix, peer->prefix_size};
}

#endif
