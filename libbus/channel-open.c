/* SPDX-License-Identifier: MIT */
/* The side that opens a channel. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/address.h"
#include "libbus/base/macros.h"
#include "libbus/channel.h"
#include "libbus/credentials.h"
#include "libbus/error.h"

/* Errors that mean: by way of the bus only. */
static bool means_fallback(int result)
{
    return result == -EOPNOTSUPP || result == -EACCES || result == -EDQUOT;
}

/* What the service has said of the channel holds for us, too. */
static int read_terms(struct bus_message *reply, struct bus *channel, struct bus_error *error)
{
    json_int_t bytes, fds;
    int r = bus_message_unpack(reply, error, "{s:I, s:I}", "message_bytes", &bytes,
                               "fds_per_message", &fds);

    if (r < 0)
        return r;
    if (bytes < 1 || bytes > INPUT_LINE_MAX || fds < 0 || fds > FDS_MAX)
        return bus_error_set_errno(error, -EPROTO, "a channel with impossible limits");
    channel->message_bytes = (size_t)bytes;
    channel->fds_per_message = (unsigned)fds;
    channel->input.lines.max = (size_t)bytes;
    return 0;
}

/* Makes the channel of the service's answer. */
static int adopt(struct bus *bus, struct bus_message *reply, const char *name,
                 struct bus **ret_channel, struct bus_error *error)
{
    CLEANUP(credentials_deinit) struct bus_credentials credentials = {.pidfd = -1};
    CLEANUP(cleanup_close) int fd = bus_message_take_fd(reply, 0);
    struct bus *channel;
    const char *peer = bus_message_sender(reply);

    int r = fd < 0 ? fd : address_adopt(fd);
    if (r < 0 || grammar_unique_name(span_from(peer)) == 0)
        return bus_error_set_errno(error, -EPROTO, "what %s answered to OpenChannel is no channel",
                                   name);
    r = bus_get_credentials(bus, peer, &credentials, error);
    if (r < 0)
        return r;
    channel = channel_new(bus, fd, peer, name, &credentials);
    if (!channel)
        return bus_error_set_errno(error, -ENOMEM, "out of memory");
    fd = -1;
    credentials.pidfd = -1;
    r = read_terms(reply, channel, error);
    if (r < 0) {
        bus_unref(channel);
        return r;
    }
    *ret_channel = channel;
    return 0;
}

int bus_channel_open(struct bus *bus, const char *name, uint64_t timeout_ms,
                     struct bus **ret_channel, struct bus_error *error)
{
    struct bus_message *reply;

    if (bus->channel || !name || strcmp(name, "bus") == 0)
        return bus_error_set_errno(error, -EINVAL,
                                   "a channel leads from a connection to a bus to one of its "
                                   "services");
    int r = bus_call_text(bus, name, CHANNEL_OPEN_METHOD, "{}", 2, timeout_ms, error, &reply);
    if (means_fallback(r)) {
        *ret_channel = bus_ref(bus);
        return 0;
    }
    if (r < 0)
        return r;
    r = adopt(bus, reply, name, ret_channel, error);
    bus_message_unref(reply);
    if (r == 0)
        return 1;
    /* Whatever it is, it is not in the bus's way. */
    if (!bus_is_connected(bus))
        return -ECONNRESET;
    *ret_channel = bus_ref(bus);
    return 0;
}

struct bus *bus_channel_close(struct bus *channel)
{
    return channel && channel->channel ? bus_close(channel) : bus_unref(channel);
}
