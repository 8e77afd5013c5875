/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "busd/broker.h"
#include "busd/driver.h"
#include "busd/patience.h"
#include "libbus/base/macros.h"
#include "libbus/wire/sockio.h"

#define REASON_SIZE 160

/* Closes the socket of one that has not become a peer. What it may have sent along is its
 * user's affair; mostly the kernel says that there is none, and then it is closed at once:
 * its file descriptor may be the one in reserve. */
static void close_stranger(struct broker *broker, struct fds *socket, uid_t uid)
{
    struct hub *hub = &broker->hub;
    struct lanes *lanes = &hub->shared.lanes;

    if (!sockio_lets_fds_in(socket->fd[0])) {
        fds_destroy(socket);
        return;
    }
    struct quota_user *user = uid == (uid_t)-1 ? NULL : quotas_get_user(&hub->quotas, uid);
    struct lane *lane = user ? lane_get(lanes, user) : NULL;

    lane_put_connection(lane ? lane : lanes->stray, socket, false);
    lane_unref(lane);
    quota_user_unref(user);
}

/* A client that cannot be let in is told why, if its socket takes it. Takes the socket. */
static void turn_away(struct broker *broker, struct fds *socket, enum wire_error error,
                      const char *reason)
{
    struct log_subject subject = {.uid = (uid_t)-1};
    CLEANUP(text_deinit) struct text text = TEXT_INIT;
    int fd = socket->fd[0];

    text_printf(&text, "{\"sender\":\"bus\",\"type\":\"error\",\"error\":\"%s\",\"message\":",
                wire_error_name(error));
    text_append_json_string(&text, span_from(reason));
    text_append_string(&text, "}\n");
    struct iovec iov = {text.data, text.size};
    credentials_peek(fd, &subject.uid, &subject.pid);
    log_about(broker->log, LOG_LEVEL_WARNING, &subject, "turned away", "%s", reason);
    if (!text.failed && sockio_send(fd, &iov, 1, NULL) < 0)
        log_about(broker->log, LOG_LEVEL_DEBUG, &subject, "left before it could be told", NULL);
    close_stranger(broker, socket, subject.uid);
}

/* Makes a peer of who may connect. 0 with the peer; else why not. */
static int admit(struct broker *broker, const struct listener *listener, struct fds *socket,
                 struct credentials *credentials, char reason[REASON_SIZE], struct peer **ret_peer)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;
    struct hub *hub = &broker->hub;
    struct policy_question question = {.verb = POLICY_CONNECT};
    enum quota_slot slot = QUOTA_CONNECTIONS;
    uint64_t max;

    struct policy_view *view = policy_view_get(broker->config.policy, credentials, listener->label);
    struct quota_user *user = quotas_get_user(&hub->quotas, credentials->uid);
    int r = view && user ? 0 : -ENOMEM;
    struct policy_verdict verdict = view ? policy_ask(view, &question) : (struct policy_verdict){0};
    if (r == 0 && !verdict.allow)
        r = WIRE_ACCESS_DENIED;
    if (r == 0) {
        struct peer_options options = {
            user,        credentials, listener->label, view, broker_limits_of(broker, listener),
            &hub->shares};
        r = peer_new(&hub->peers, &hub->shared, socket, &options, &slot, ret_peer);
    }
    if (r == WIRE_ACCESS_DENIED) {
        access_describe(&text, POLICY_CONNECT, (struct span){0}, &verdict);
        snprintf(reason, REASON_SIZE, "uid %" PRIu32 ": %s", (uint32_t)credentials->uid,
                 text.failed ? wire_error_sentence(WIRE_ACCESS_DENIED) : text.data);
    } else if (r > 0) {
        const char *limit = quota_limit(user, slot, &max);
        snprintf(reason, REASON_SIZE,
                 "user %" PRIu32 " (pid %d) has all the %" PRIu64 " connections it may have%s (%s)",
                 (uint32_t)credentials->uid, (int)credentials->pid, max,
                 slot == QUOTA_UNPROVEN ? " that have not sent a valid message" : "", limit);
    } else if (r < 0) {
        snprintf(reason, REASON_SIZE, "%s", strerror(-r));
    }
    if (r == 0)
        (*ret_peer)->listener = listener->id;
    else
        policy_view_unref(view);
    quota_user_unref(user);
    return r;
}

/* 0 with the peer; else why not. */
static int make_peer(struct broker *broker, const struct listener *listener, struct fds *socket,
                     char reason[REASON_SIZE], struct peer **ret_peer)
{
    struct hub *hub = &broker->hub;
    struct credentials credentials;
    uint64_t max = hub->limits.connections;

    if (hub->peers.by_id.count >= max) {
        snprintf(reason, REASON_SIZE,
                 "the bus has all the %" PRIu64 " connections it may have (connections)", max);
        return WIRE_LIMIT_EXCEEDED;
    }
    int r = credentials_read(&credentials, socket->fd[0]);
    if (r < 0) {
        snprintf(reason, REASON_SIZE, "%s", strerror(-r));
        return r;
    }
    r = admit(broker, listener, socket, &credentials, reason, ret_peer);
    credentials_deinit(&credentials);
    return r;
}

static void on_accept(struct listener *listener, struct fds *socket, bool shed, void *userdata)
{
    struct broker *broker = userdata;
    struct hub *hub = &broker->hub;
    char reason[REASON_SIZE] = "the bus has no file descriptors left";
    struct peer *peer;

    int r = shed ? WIRE_LIMIT_EXCEEDED : make_peer(broker, listener, socket, reason, &peer);
    if (r != 0) {
        turn_away(broker, socket,
                  r == WIRE_ACCESS_DENIED ? WIRE_ACCESS_DENIED : WIRE_LIMIT_EXCEEDED, reason);
        return;
    }
    struct log_subject subject = peer_subject(peer);
    log_about(broker->log, LOG_LEVEL_DEBUG, &subject, "connected", NULL);
    peer_let_fds_in(peer);
    if (peer->doomed)
        return;
    patience_await_message(hub, peer);
    driver_welcome(hub, peer);
}

/* Says in the log who uses up what the bus has run out of. */
static void on_blame(struct text *text, void *userdata)
{
    struct broker *broker = userdata;
    const struct quota_user *user = quotas_find_largest(&broker->hub.quotas);

    if (user)
        text_printf(text,
                    "uid %" PRIu32 " has the most: %" PRIu64 " connections and %" PRIu64
                    " file descriptors",
                    (uint32_t)user->uid, user->used[QUOTA_CONNECTIONS], user->used[QUOTA_FDS]);
}

int broker_make_listener(struct broker *broker, const struct config_listener *wanted,
                         struct endpoint *endpoint, struct listener **ret_listener)
{
    struct listener_options options = {.lanes = &broker->hub.shared.lanes,
                                       .log = broker->log,
                                       .address = wanted->address,
                                       .label = wanted->label,
                                       .accept = on_accept,
                                       .blame = on_blame,
                                       .userdata = broker};

    int r = listener_new(&broker->loop, endpoint, &options, ret_listener);
    if (r == 0)
        (*ret_listener)->id = ++broker->last_listener;
    return r;
}
