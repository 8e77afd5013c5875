/* SPDX-License-Identifier: MIT */
/* What both sides of a channel have in common. */
#include "libbus/channel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/error.h"

struct bus *channel_new(struct bus *bus, int fd, const char *peer, const char *name,
                        const struct bus_credentials *credentials)
{
    CLEANUP(cleanup_free) struct channel *channel = calloc(1, sizeof(*channel));
    struct bus *result = channel ? client_new(fd) : NULL;

    if (!result)
        return NULL;
    list_init(&channel->link);
    list_init(&channel->ready);
    snprintf(channel->peer, sizeof(channel->peer), "%s", peer);
    snprintf(channel->name, sizeof(channel->name), "%s", name);
    channel->credentials = *credentials;
    channel->self = result;
    result->channel = TAKE(channel);
    result->greeted = true;
    result->message_bytes = bus->message_bytes;
    result->fds_per_message = bus->fds_per_message;
    result->output_limit = bus->output_limit;
    bus_set_memfd_threshold(result, bus->memfd_threshold);
    memcpy(result->unique_name, bus->unique_name, sizeof(result->unique_name));
    memcpy(result->id, bus->id, sizeof(result->id));
    if (bus->message_bytes)
        result->input.lines.max = bus->message_bytes;
    return result;
}

const char *channel_target(const struct bus *channel)
{
    return channel->channel->serving ? channel->channel->peer : channel->channel->name;
}

/* By which name we are called. */
static const char *own_name(const struct bus *channel)
{
    return channel->channel->serving ? channel->channel->name : channel->unique_name;
}

int channel_check_outgoing(const struct bus *channel, const struct outgoing *message,
                           struct bus_error *error)
{
    unsigned fds = message->fd_count + (message->sealed ? 1 : 0);
    bool addressed = message->type == MESSAGE_CALL || message->type == MESSAGE_CANCEL ||
                     (message->type == MESSAGE_EVENT && message->to.data);

    if (addressed && !span_is(message->to, channel_target(channel)))
        return bus_error_set_errno(error, -ENXIO, "this channel leads to '%s' and to nobody else",
                                   channel_target(channel));
    if (message->type == MESSAGE_EVENT && grammar_is_reserved(message->topic))
        return bus_error_set_errno(error, -EACCES,
                                   "topics that begin with 'bus' are the bus's own");
    if (message->retain.size > 0)
        return bus_error_set_errno(error, -EINVAL, "a channel keeps no last values: the bus does");
    if (fds > channel->fds_per_message)
        return bus_error_set_errno(error, -EDQUOT, "a message may have %u fds (fds_per_message)",
                                   channel->fds_per_message);
    return 0;
}

const char *channel_check_incoming(const struct bus *channel, struct envelope *envelope)
{
    if (envelope->fds > channel->fds_per_message)
        return "a message with more than fds_per_message";
    if (envelope->type == MESSAGE_EVENT && grammar_is_reserved(envelope->topic))
        return "a topic that begins with 'bus'";
    envelope->sender = span_from(channel->channel->peer);
    return NULL;
}

bool channel_keep(struct bus *bus, const struct bus_message *message)
{
    struct channel *channel = bus->channel;

    channel->kept_bytes += sizeof(*message) + message->line.size;
    channel->kept_fds += message->fds ? message->fds->count : 0;
    return channel->kept_bytes <= CHANNEL_KEPT_BYTES_MAX + bus->message_bytes &&
           channel->kept_fds <= CHANNEL_KEPT_FDS_MAX;
}

bool channel_refuse_call(struct bus *channel, struct bus_message *call)
{
    const struct envelope *envelope = &call->envelope;

    if (!span_is(envelope->to, own_name(channel))) {
        bus_reply_error(call, BUS_ERROR_NAME_UNKNOWN,
                        "this channel leads to '%s' and to nobody else", own_name(channel));
        return true;
    }
    if (!envelope->id || envelope->no_reply)
        return false;
    if (call_find(channel, envelope->sender, envelope->id)) {
        /* By its id an error would be taken for the answer to the other one. */
        channel->deaf = true;
        client_lose(channel, false, BUS_ERROR_INVALID_MESSAGE,
                    "a second call with the id of one that has no answer yet");
        return true;
    }
    if (channel->calls.count < CHANNEL_CALLS_MAX)
        return false;
    bus_reply_error(call, BUS_ERROR_LIMIT_EXCEEDED, "%d calls wait for their answers already",
                    CHANNEL_CALLS_MAX);
    return true;
}

void channel_acknowledge(struct bus *channel, const struct bus_message *event)
{
    struct outgoing receipt = {
        .type = MESSAGE_REPLY,
        .to = event->envelope.sender,
        .id = event->envelope.id,
        .body = subscriptions_want(channel, event)
                    ? SPAN("{\"matched\":1,\"queued\":1,\"dropped\":0}")
                    : SPAN("{\"matched\":0,\"queued\":0,\"dropped\":0}"),
        .body_checked = true,
        .own = true,
    };

    client_send(channel, &receipt, NULL);
}

const char *bus_channel_peer(const struct bus *bus)
{
    return bus->channel ? bus->channel->peer : NULL;
}

const struct bus_credentials *bus_channel_credentials(const struct bus *bus)
{
    return bus->channel ? &bus->channel->credentials : NULL;
}
