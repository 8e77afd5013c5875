/* SPDX-License-Identifier: MIT */
/*
 * Direct channels: a socket between two clients of a bus, with the same protocol and the
 * same library on it, and no bus in between.
 *
 * Opening. The one side calls the method OpenChannel of a service through the bus, which
 * checks once whether it may, as for any call. A service that takes channels makes a
 * socketpair(2), keeps one end and answers with the other and with
 * {"message_bytes":N,"fds_per_message":N}, which hold for both directions from then on.
 *
 * Who is there. SO_PEERCRED of such a socket says who made it, which is the service, at
 * both ends. So each side asks the bus for the credentials of the other's unique name,
 * which are the kernel's word from when that one connected; the name came as the sender
 * of the call, or of its reply, and the bus has handed the socket to nobody else.
 *
 * On it. There are no senders on a channel's lines: everything comes from the one at the
 * other end, whose unique name stands as the sender of each message. Calls go to the name
 * that the channel was opened for, and from the service to the other's unique name; there
 * is nobody else. Events go to the other side alone, and to which of its subscriptions is
 * decided there. No broker stands guard, so each side takes the other for hostile: what
 * is no message, or breaks a limit, ends the channel.
 *
 * A `struct bus` is a channel when it has one of these. That of the opener is processed
 * by its program; those of a service by the connection that it serves on, its parent:
 * their sockets are in its epoll, their deadlines among its, and those with something to
 * do wait in its list `ready_channels` for their turn, one read each.
 */
#ifndef LIBBUS_CHANNEL_H
#define LIBBUS_CHANNEL_H

#include "libbus/client.h"
#include "libbus/wire/grammar.h"

#define CHANNEL_OPEN_METHOD "OpenChannel"

/* What a channel may make us keep: calls without an answer, and what has been read while
 * its program was waiting for something else. */
#define CHANNEL_CALLS_MAX      1024
#define CHANNEL_KEPT_BYTES_MAX ((size_t)8 << 20)
#define CHANNEL_KEPT_FDS_MAX   256

struct channel {
    struct bus *self;
    char peer[UNIQUE_NAME_SIZE];     /* the sender of all that comes */
    char name[GRAMMAR_NAME_MAX + 1]; /* the service's, as the opener called it */
    bool serving;                    /* ours is the service's side */
    struct bus_credentials credentials;
    size_t kept_bytes; /* since the program was last given all there was */
    unsigned kept_fds;

    /* Of the service's side. */
    struct bus *parent;      /* NULL: it has gone */
    struct service *service; /* NULL: it has ended */
    struct list link;        /* parent->channels, with the library's own reference */
    struct list ready;       /* parent->ready_channels */
};

/* A channel on a connected socket, with one owner. Takes the fd and that of the
 * credentials on success only. NULL: out of memory. */
struct bus *channel_new(struct bus *bus, int fd, const char *peer, const char *name,
                        const struct bus_credentials *credentials);

/* The connection whose loop sees to this one: itself, but for channels of a service. */
static inline struct bus *loop_owner(struct bus *bus)
{
    return bus->channel && bus->channel->parent ? bus->channel->parent : bus;
}

/* By which name the other side is called. */
const char *channel_target(const struct bus *channel);

/* Whether a message may be sent on the channel. 0 or a negative errno. */
int channel_check_outgoing(const struct bus *channel, const struct outgoing *message,
                           struct bus_error *error);

/* Whether a message that has come is one for a channel: NULL, or what is wrong. Fills in
 * its sender. */
const char *channel_check_incoming(const struct bus *channel, struct envelope *envelope);

/* Counts what waits to be dispatched. False: it is too much. */
bool channel_keep(struct bus *channel, const struct bus_message *message);

/* Nothing waits any more. */
static inline void channel_has_kept_nothing(struct bus *channel)
{
    channel->channel->kept_bytes = 0;
    channel->channel->kept_fds = 0;
}

/* Has its parent, if it has one, process it. */
static inline void channel_want_turn(struct bus *channel)
{
    if (loop_owner(channel) != channel && list_is_empty(&channel->channel->ready))
        list_append(&channel->channel->parent->ready_channels, &channel->channel->ready);
}

/* Answers a call that cannot be given to a service; false: it can. */
bool channel_refuse_call(struct bus *channel, struct bus_message *call);

/* An event that wants a receipt. */
void channel_acknowledge(struct bus *channel, const struct bus_message *event);

/* ----------------------------------------------------- the service's side */

/* The method that opens one. */
int channels_open(struct service *service, struct bus_message *call);

/* The service has ended, and its channels do. */
void channels_end(struct bus *parent, struct service *service);

/* Lists those whose sockets are ready. Whether the parent's own is. */
bool channels_collect(struct bus *parent);

/* Gives each that has something to do its turn. True if there was one. */
bool channels_process(struct bus *parent);

/* The parent's connection is lost: they end with it, and their programs are told. */
void channels_finish(struct bus *parent);

/* Takes in the lines that have been read, of those whose handlers are running. */
void channels_stash(struct bus *parent);

/* The parent is being torn down: lets go of them at once. */
void channels_tear_down(struct bus *parent);

/* Whether any is open. */
static inline bool channels_are_open(const struct bus *parent)
{
    return !list_is_empty(&parent->channels);
}

#endif
