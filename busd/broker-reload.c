/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "busd/broker.h"
#include "busd/revoke.h"
#include "libbus/base/macros.h"
#include "libbus/wire/address.h"

static const struct config_listener *find_config(const struct config *config, const char *address)
{
    for (size_t i = 0; i < config->listener_count; i++)
        if (address_is_same(config->listeners[i].address, address))
            return &config->listeners[i];
    return NULL;
}

const struct limits *broker_limits_of(const struct broker *broker, const struct listener *listener)
{
    const struct config_listener *config =
        listener ? find_config(&broker->config, listener->address) : NULL;

    return config ? &config->limits : &broker->hub.limits;
}

static struct listener *find_listener(struct broker *broker, const char *address)
{
    LIST_FOREACH (node, &broker->listeners) {
        struct listener *listener = LIST_ENTRY(node, struct listener, link);
        if (address_is_same(listener->address, address))
            return listener;
    }
    return NULL;
}

/* Opens what there is not yet, all or nothing. */
static int open_listeners(struct broker *broker, const struct config *config,
                          const char **ret_failed)
{
    struct list opened;
    int r = 0;

    list_init(&opened);
    for (size_t i = 0; i < config->listener_count && r == 0; i++) {
        const struct config_listener *wanted = &config->listeners[i];
        struct endpoint_options options = {.address = wanted->address,
                                           .mode = wanted->mode,
                                           .owner = wanted->owner,
                                           .group = wanted->group,
                                           .user = (uid_t)-1};
        struct endpoint endpoint;
        struct listener *listener;
        if (find_listener(broker, wanted->address))
            continue;
        r = endpoint_open(&endpoint, &options, broker->log);
        if (r == 0)
            r = broker_make_listener(broker, wanted, &endpoint, &listener);
        if (r == 0) {
            list_append(&opened, &listener->link);
        } else {
            *ret_failed = wanted->address;
        }
    }
    if (r == 0) {
        list_splice(&broker->listeners, &opened);
        return 0;
    }
    LIST_FOREACH_SAFE (node, &opened)
        listener_close(LIST_ENTRY(node, struct listener, link));
    return r;
}

/* Gives the sockets that stay their mode, owner and group in `config`, where that says
 * something else than `old`. */
static int set_access(struct broker *broker, const struct config *old, const struct config *config,
                      const char **ret_failed)
{
    LIST_FOREACH (node, &broker->listeners) {
        struct listener *listener = LIST_ENTRY(node, struct listener, link);
        const struct config_listener *was = find_config(old, listener->address);
        const struct config_listener *wanted = find_config(config, listener->address);
        if (!was || !wanted ||
            (was->mode == wanted->mode && was->owner == wanted->owner &&
             was->group == wanted->group))
            continue;
        int r = listener_set_access(listener, wanted->mode, wanted->owner, wanted->group);
        if (r < 0) {
            *ret_failed = listener->address;
            return r;
        }
    }
    return 0;
}

static int prepare_labels(struct broker *broker, const struct config *config,
                          const char **ret_failed)
{
    LIST_FOREACH (node, &broker->listeners) {
        struct listener *listener = LIST_ENTRY(node, struct listener, link);
        const struct config_listener *wanted = find_config(config, listener->address);
        int r = wanted ? listener_prepare_label(listener, wanted->label) : 0;
        if (r < 0) {
            *ret_failed = listener->address;
            return r;
        }
    }
    return 0;
}

/* Those who came through a listener are held to what it is now: they get its new label.
 * With a labelled one that is closed they leave, for no rule is about them any more;
 * an unlabelled one they outlive. */
static void settle_clients(struct broker *broker, const struct listener *listener, bool closed)
{
    LIST_FOREACH (node, &broker->hub.peers.all) {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        if (peer->listener != listener->id ||
            strcmp(peer->label, closed ? "" : listener->label) == 0)
            continue;
        char *label = closed ? NULL : strdup(listener->label);
        if (label) {
            free(peer->label);
            peer->label = label;
        } else {
            peer_doom(peer, "the listener '%s' that it came through is not there any more",
                      peer->label);
        }
    }
}

/* Closes what the configuration does not have any more; labels the rest by it. */
static void settle_listeners(struct broker *broker, const struct config *config)
{
    LIST_FOREACH_SAFE (node, &broker->listeners) {
        struct listener *listener = LIST_ENTRY(node, struct listener, link);
        const struct config_listener *wanted = find_config(config, listener->address);
        bool closed = !wanted;
        if (wanted)
            listener_set_label(listener, wanted->label);
        settle_clients(broker, listener, closed);
        if (closed)
            listener_close(listener);
    }
}

/* Opens what is new and sets the rest right, or leaves everything as it was. */
static int prepare_listeners(struct broker *broker, const struct config *config,
                             char reason[CONFIG_REASON_SIZE])
{
    const char *failed = "";
    const char *ignored;

    int r = open_listeners(broker, config, &failed);
    if (r == 0) {
        r = prepare_labels(broker, config, &failed);
        if (r == 0)
            r = set_access(broker, &broker->config, config, &failed);
        if (r < 0) {
            set_access(broker, config, &broker->config, &ignored);
            settle_listeners(broker, &broker->config);
        }
    }
    if (r < 0)
        snprintf(reason, CONFIG_REASON_SIZE, "cannot listen on %s: %s", failed, strerror(-r));
    return r;
}

/* Every peer is held to what its listener says now. */
static void settle_limits(struct broker *broker)
{
    LIST_FOREACH (node, &broker->hub.peers.all) {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        const struct listener *listener = NULL;
        LIST_FOREACH (other, &broker->listeners)
            if (LIST_ENTRY(other, struct listener, link)->id == peer->listener)
                listener = LIST_ENTRY(other, struct listener, link);
        peer->limits = broker_limits_of(broker, listener);
        peer_let_fds_in(peer);
    }
}

static bool is_same_state(const struct config *old, const struct config *config)
{
    return span_equal(span_from(old->state), span_from(config->state));
}

/* All or nothing: whatever is wrong, the old configuration stays in force. */
static bool reload(struct broker *broker, char reason[CONFIG_REASON_SIZE])
{
    struct config config;

    if (broker->stopping) {
        snprintf(reason, CONFIG_REASON_SIZE, "the bus is shutting down");
        return false;
    }
    if (broker->sealed) {
        snprintf(reason, CONFIG_REASON_SIZE,
                 "files cannot be read behind --seccomp: restart busd instead");
        return false;
    }
    if (!config_load(&config, broker->source, reason))
        return false;
    if (!is_same_state(&broker->config, &config)) {
        snprintf(reason, CONFIG_REASON_SIZE,
                 "state: the folder cannot change while the bus runs: restart busd instead");
        config_deinit(&config);
        return false;
    }
    if (prepare_listeners(broker, &config, reason) < 0) {
        config_deinit(&config);
        return false;
    }
    settle_listeners(broker, &config);
    broker->hub.limits = config.limits;
    revoke_apply(&broker->hub, config.policy);
    config_deinit(&broker->config);
    broker->config = config;
    settle_limits(broker);
    return true;
}

void broker_reload_if_asked(struct broker *broker)
{
    struct hub *hub = &broker->hub;
    char reason[CONFIG_REASON_SIZE];

    if (LIKELY(!hub->reload))
        return;
    hub->reload = false;
    bool right = reload(broker, reason);
    if (right)
        log_write(broker->log, LOG_LEVEL_NOTICE, "the configuration has been read anew");
    else
        log_write(broker->log, LOG_LEVEL_ERROR, "%s: the configuration stays as it was", reason);
    LIST_FOREACH_SAFE (node, &hub->reloads) {
        struct hub_reload *request = LIST_ENTRY(node, struct hub_reload, link);
        struct peer *caller = peers_find(&hub->peers, request->caller);
        list_remove(node);
        if (caller && right)
            answer_reply(hub, caller, request->id, SPAN("{}"), NULL);
        else if (caller)
            answer_call_error(hub, caller, request->id, WIRE_INVALID_ARGUMENTS, "%s", reason);
        free(request);
    }
}
