/* SPDX-License-Identifier: MIT */
#include <inttypes.h>

#include "busd/driver.h"
#include "libbus/base/clock.h"
#include "libbus/base/macros.h"

#define PROTOCOL_VERSION 1

void driver_welcome(struct hub *hub, struct peer *peer)
{
    CLEANUP(text_deinit) struct text body = TEXT_INIT;
    const char *name;
    uint64_t value;

    text_printf(&body,
                "{\"name\":\"%.*s\",\"bus\":\"%s\",\"protocol\":%d,\"version\":\"%s\",\"limits\":",
                SPAN_ARGS(peer_name(peer)), hub->id, PROTOCOL_VERSION, BUSD_VERSION);
    for (size_t i = 0; limits_get(peer->limits, i, &name, &value); i++)
        text_printf(&body, "%c\"%s\":%" PRIu64, i > 0 ? ',' : '{', name, value);
    text_append_string(&body, "}}");
    if (body.failed) {
        peer_doom(peer, "out of memory for its greeting");
        return;
    }
    announce_to(hub, peer, SPAN("bus.welcome"), text_span(&body), false);
    peer->welcome = true;
    announce_peer_change(hub, peer, false);
}

void driver_ping(struct driver_call *call)
{
    driver_reply(call, SPAN("{}"), NULL);
}

void driver_get_id(struct driver_call *call)
{
    struct text text = TEXT_INIT;

    text_printf(&text, "{\"id\":\"%s\"}", call->hub->id);
    driver_reply_text(call, &text);
}

/* The peer that the argument `name` stands for, or an error to the caller. */
static struct peer *find_peer(struct driver_call *call)
{
    struct peer *peer = access_find_peer(call->hub, call->caller, call->args.name);

    if (!peer)
        driver_fail(call, WIRE_NAME_UNKNOWN, "nobody owns '%.*s'", SPAN_ARGS(call->args.name));
    return peer;
}

/* The connection's pidfd as a set of fds; NULL if the kernel has none to give. Closing one
 * takes no time, and so needs no lane. */
static struct fds *peer_pidfd(const struct peer *peer)
{
    int fd = credentials_pidfd(peer->connection.fd);
    if (fd < 0)
        return NULL;
    struct fds *fds = fds_new(&fd, 1);
    if (!fds)
        close(fd);
    return fds;
}

void driver_get_credentials(struct driver_call *call)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;
    struct peer *peer = find_peer(call);

    if (!peer)
        return;
    const struct credentials *credentials = &peer->credentials;
    text_printf(&text,
                "{\"name\":\"%.*s\",\"pid\":%d,\"uid\":%" PRIu32 ",\"gid\":%" PRIu32 ",\"gids\":[",
                SPAN_ARGS(peer_name(peer)), (int)credentials->pid, (uint32_t)credentials->uid,
                (uint32_t)credentials->gid);
    for (size_t i = 0; i < credentials->gid_count; i++)
        text_printf(&text, "%s%" PRIu32, i > 0 ? "," : "", (uint32_t)credentials->gids[i]);
    text_append_string(&text, "]}");
    if (text.failed) {
        driver_fail(call, WIRE_LIMIT_EXCEEDED, "the bus is out of memory");
        return;
    }
    struct fds *pidfd = peer_pidfd(peer);
    driver_reply(call, text_span(&text), pidfd);
    fds_unref(pidfd);
}

static void write_counters(struct text *text, const struct peer_counters *counters,
                           uint64_t bytes_sent, uint64_t bytes_queued)
{
    text_printf(text,
                "\"messages\":{\"received\":%" PRIu64 ",\"delivered\":%" PRIu64
                ",\"conflated\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"invalid\":%" PRIu64
                "},\"bytes\":{\"received\":%" PRIu64 ",\"sent\":%" PRIu64 ",\"queued\":%" PRIu64
                "}",
                counters->received, counters->delivered, counters->conflated, counters->dropped,
                counters->invalid, counters->bytes_received, bytes_sent, bytes_queued);
}

static void write_retained(struct text *text, size_t topics, uint64_t bytes)
{
    text_printf(text, "\"retained\":{\"topics\":%zu,\"bytes\":%" PRIu64 "},", topics, bytes);
}

static void write_names(struct text *text, const struct peer *peer, const struct peer *asker)
{
    const char *separator = "";

    text_append_string(text, "\"names\":[");
    LIST_FOREACH (node, &peer->names.claims) {
        struct name_claim *claim = LIST_ENTRY(node, struct name_claim, by_owner);
        if (!claim->owns || (peer != asker && !access_sees_name(asker, name_span(claim->name))))
            continue;
        text_printf(text, "%s\"%.*s\"", separator, SPAN_ARGS(name_span(claim->name)));
        separator = ",";
    }
    text_append_string(text, "]");
}

static void write_subscriptions(struct text *text, const struct peer *peer)
{
    const char *separator = "";

    text_append_string(text, "\"subscriptions\":[");
    LIST_FOREACH (node, &peer->subscriber.subscriptions) {
        struct subscription *subscription = LIST_ENTRY(node, struct subscription, by_subscriber);
        text_printf(text, "%s{\"subscription\":%" PRIu64 ",\"topic\":\"%.*s\"", separator,
                    subscription->id, SPAN_ARGS(subscription->pattern));
        if (subscription->sender.size > 0)
            text_printf(text, ",\"sender\":\"%.*s\"", SPAN_ARGS(subscription->sender));
        if (subscription->group)
            text_printf(text, ",\"group\":\"%.*s\"", SPAN_ARGS(group_name(subscription->group)));
        if (subscription->overflow != OVERFLOW_DROP)
            text_printf(text, ",\"overflow\":\"%s\"", overflow_name(subscription->overflow));
        text_append_string(text, "}");
        separator = ",";
    }
    text_append_string(text, "]");
}

/* What somebody subscribes to is for itself and for those who may watch it anyway. */
static void write_peer_stats(struct text *text, const struct peer *peer, const struct peer *asker)
{
    struct policy_verdict verdict;

    text_printf(text, "{\"name\":\"%.*s\",\"uid\":%" PRIu32 ",\"pid\":%d,\"connected\":%.3f,",
                SPAN_ARGS(peer_name(peer)), (uint32_t)peer->credentials.uid,
                (int)peer->credentials.pid, clock_seconds(CLOCK_REALTIME) - peer->since);
    write_names(text, peer, asker);
    if (peer == asker || access_verb(asker, POLICY_MONITOR, &verdict)) {
        text_append_string(text, ",");
        write_subscriptions(text, peer);
    }
    text_printf(text, ",\"calls\":{\"made\":%zu,\"received\":%zu},\"receipts\":%zu,",
                peer->calls.made_count, peer->calls.received_count, peer->receipts.count);
    write_retained(text, peer->values.count, peer->values.bytes);
    write_counters(text, &peer->counters, peer->connection.bytes_sent, peer->connection.outq.bytes);
    text_printf(text, ",\"monitor\":%s}", peer->watcher.count > 0 ? "true" : "false");
}

static void write_hub_stats(struct text *text, const struct hub *hub)
{
    size_t connections = 0;
    size_t monitors = 0;
    uint64_t sent = hub->bytes_sent;
    uint64_t queued = 0;

    LIST_FOREACH (node, &hub->peers.all) {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        connections++;
        monitors += peer->watcher.count > 0;
        sent += peer->connection.bytes_sent;
        queued += peer->connection.outq.bytes;
    }
    text_printf(
        text,
        "{\"id\":\"%s\",\"version\":\"%s\",\"uptime\":%.3f,\"connections\":%zu,"
        "\"names\":%zu,\"subscriptions\":%zu,\"calls\":%zu,\"receipts\":%zu,\"monitors\":%zu,",
        hub->id, BUSD_VERSION, clock_seconds(CLOCK_REALTIME) - hub->started, connections,
        hub->names.table.count, hub->topics.count, hub->calls.table.count,
        hub->receipts.table.count, monitors);
    text_printf(text,
                "\"groups\":{\"count\":%zu,\"handed_over\":%" PRIu64 ",\"dropped\":%" PRIu64 "},",
                hub->topics.groups.table.count, hub->handovers.given, hub->handovers.dropped);
    write_retained(text, hub->retained.topics.table.count, hub->retained.bytes);
    write_counters(text, &hub->counters, sent, queued);
    text_append_string(text, "}");
}

void driver_stats(struct driver_call *call)
{
    struct text text = TEXT_INIT;

    if (call->args.name.size > 0 && !span_equal(call->args.name, SPAN("bus"))) {
        struct peer *peer = find_peer(call);
        if (!peer)
            return;
        write_peer_stats(&text, peer, call->caller);
    } else {
        write_hub_stats(&text, call->hub);
    }
    driver_reply_text(call, &text);
}

void driver_introspect(struct driver_call *call)
{
    struct text text = TEXT_INIT;

    text_append_string(&text, "{\"name\":\"bus\",\"description\":\"The bus itself\",\"methods\":[");
    for (const struct driver_method *method = driver_methods(); method->name; method++) {
        text_printf(&text, "%s{\"name\":\"%s\",\"description\":\"%s\",\"arguments\":",
                    method == driver_methods() ? "" : ",", method->name, method->description);
        args_describe(&text, method->takes, method->needs);
        text_append_string(&text, "}");
    }
    text_append_string(&text, "]}");
    driver_reply_text(call, &text);
}
