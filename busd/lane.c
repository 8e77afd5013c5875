/* SPDX-License-Identifier: MIT */
#include "busd/lane.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "libbus/base/macros.h"

/* With each set, so many of the lanes that leave are looked at. */
#define SWEEP 2
/* So many sockets that wait are more than a thread that is running leaves. */
#define BEHIND 16

static const enum quota_slot slots[CLOSER_KINDS] = {
    [CLOSER_SOCKETS] = QUOTA_CONNECTIONS,
    [CLOSER_FDS] = QUOTA_FDS,
};

/* ------------------------------------------------------------ lifetime */

static struct lane *lane_new(struct lanes *lanes, struct quota_user *user)
{
    struct lane *lane = calloc(1, sizeof(*lane));

    if (!lane)
        return NULL;
    closer_lane_init(&lane->closing);
    lane->lanes = lanes;
    lane->user = user;
    list_append(&lanes->all, &lane->link);
    list_init(&lane->leaving);
    list_init(&lane->paused);
    for (unsigned kind = 0; user && kind < CLOSER_KINDS; kind++)
        charge_init(&lane->charges[kind], user, slots[kind]);
    if (user) {
        user->refs++;
        user->lane = lane;
    }
    return lane;
}

/* Lets go of everything but the memory. */
static void lane_leave(struct lane *lane)
{
    list_remove(&lane->link);
    list_remove(&lane->leaving);
    if (!lane->user)
        return;
    for (unsigned kind = 0; kind < CLOSER_KINDS; kind++)
        charge_give_back(&lane->charges[kind]);
    lane->user->lane = NULL;
    lane->user = quota_user_unref(lane->user);
}

static bool is_drained(const struct lane *lane)
{
    return closer_pending(&lane->closing, CLOSER_SOCKETS) == 0 &&
           closer_pending(&lane->closing, CLOSER_FDS) == 0;
}

/* Frees lanes whose users have left. Which of them are done with is found out by and by:
 * there is no hurry. */
static void sweep(struct lanes *lanes)
{
    for (unsigned i = 0; i < SWEEP && !list_is_empty(&lanes->leaving); i++) {
        struct lane *lane = LIST_ENTRY(list_first(&lanes->leaving), struct lane, leaving);
        list_remove(&lane->leaving);
        if (is_drained(lane) && closer_lane_is_empty(lanes->closer, &lane->closing)) {
            closer_unwatch(lanes->closer, &lane->closing);
            lane_leave(lane);
            free(lane);
        } else {
            list_append(&lanes->leaving, &lane->leaving);
        }
    }
}

struct lane *lane_get(struct lanes *lanes, struct quota_user *user)
{
    sweep(lanes);
    struct lane *lane = user->lane ? user->lane : lane_new(lanes, user);
    if (lane) {
        list_remove(&lane->leaving);
        lane->refs++;
    }
    return lane;
}

struct lane *lane_unref(struct lane *lane)
{
    if (lane && --lane->refs == 0)
        list_append(&lane->lanes->leaving, &lane->leaving);
    return NULL;
}

/* ------------------------------------------------------------- closing */

static void charge_pending(struct lane *lane, enum closer_kind kind, bool slow)
{
    struct charge *charge = &lane->charges[kind];
    uint64_t pending = slow ? closer_pending(&lane->closing, kind) : 0;

    /* Sockets are the user's alone. Of file descriptors, which are shared out, one user's
     * must not take what another's needs. */
    if (pending != charge->amount && (kind == CLOSER_SOCKETS || charge_fits(charge, pending)))
        charge_set(charge, pending);
}

static void pause_reading(struct lane *lane, uint64_t max)
{
    struct closer_lane *closing = &lane->closing;

    lane->full = true;
    closer_watch(lane->lanes->closer, closing, closing->taken[CLOSER_FDS] - max / 2);
}

static void resume_reading(struct lane *lane)
{
    lane->full = false;
    lane->told = false;
    list_splice(lane->lanes->resumed, &lane->paused);
}

/* A user who notices something should be able to find out why. */
static void tell(struct lane *lane, uint64_t pending, const char *limit, uint64_t max)
{
    if (lane->told)
        return;
    lane->told = true;
    log_about(lane->lanes->log, LOG_LEVEL_NOTICE, &(struct log_subject){.uid = lane->user->uid},
              "paused",
              "closing %" PRIu64 " file descriptors that it has passed takes long: nothing is "
              "read from it while there are so many (%s, %" PRIu64 ")",
              pending, limit, max);
}

/* Brings everything up to what has been closed by now. */
static void settle(struct lane *lane)
{
    bool slow = lane->closing.slow && !is_drained(lane);
    uint64_t pending = closer_pending(&lane->closing, CLOSER_FDS);
    uint64_t max;

    if (lane->user) {
        const char *limit = quota_limit(lane->user, QUOTA_FDS, &max);
        for (unsigned kind = 0; kind < CLOSER_KINDS; kind++)
            charge_pending(lane, kind, slow);
        if (lane->full && pending <= max / 2)
            resume_reading(lane);
        if (lane->full && slow)
            tell(lane, pending, limit, max);
    }
    if (!slow && !lane->full)
        closer_unwatch(lane->lanes->closer, &lane->closing);
}

static void on_changed(struct closer_lane *closing)
{
    settle(CONTAINER_OF(closing, struct lane, closing));
}

void lane_put(struct lane *lane, enum closer_kind kind, struct fds *fds)
{
    uint64_t max;

    closer_put(lane->lanes->closer, &lane->closing, kind, fds);
    if (lane->user && kind == CLOSER_FDS && !lane->full) {
        quota_limit(lane->user, QUOTA_FDS, &max);
        if (closer_pending(&lane->closing, CLOSER_FDS) > max)
            pause_reading(lane, max);
    }
    if (UNLIKELY(!list_is_empty(&lane->closing.watch_link)))
        settle(lane);
    sweep(lane->lanes);
}

/* Whether what is put there now may have to wait. */
static bool is_behind(const struct lane *lane)
{
    return lane->closing.slow || closer_pending(&lane->closing, CLOSER_SOCKETS) >= BEHIND;
}

void lane_put_connection(struct lane *lane, struct fds *socket, bool is_quick)
{
    if (is_quick && is_behind(lane)) {
        fds_destroy(socket);
        return;
    }
    shutdown(socket->fd[0], SHUT_RDWR);
    lane_put(lane, CLOSER_SOCKETS, socket);
}

static void release(struct fds *fds, void *userdata)
{
    struct lane *lane = userdata;

    lane_put(lane, CLOSER_FDS, fds);
    lane_unref(lane);
}

void lane_adopt(struct lane *lane, struct fds *fds)
{
    fds->release = release;
    fds->userdata = lane;
    lane->refs++;
}

bool lane_has_room(const struct lane *lane)
{
    uint64_t max;

    /* A few are none too many for a limit that is low: the thread may not have run yet. */
    quota_limit(lane->user, QUOTA_CONNECTIONS, &max);
    return closer_pending(&lane->closing, CLOSER_SOCKETS) < MAX(max, (uint64_t)2 * BEHIND);
}

/* --------------------------------------------------------------- lanes */

int lanes_init(struct lanes *lanes, uv_loop_t *loop, struct log *log, struct list *resumed)
{
    *lanes = (struct lanes){.log = log, .resumed = resumed};
    list_init(&lanes->all);
    list_init(&lanes->leaving);
    lanes->stray = lane_new(lanes, NULL);
    int r = lanes->stray ? closer_new(loop, on_changed, &lanes->closer) : -ENOMEM;
    if (r < 0)
        free(TAKE(lanes->stray));
    else
        lanes->stray->refs = 1;
    return r;
}

void lanes_close(struct lanes *lanes)
{
    if (lanes->closer)
        closer_close(lanes->closer);
}

void lanes_deinit(struct lanes *lanes)
{
    if (!lanes->closer)
        return;
    bool all = closer_end(lanes->closer);
    LIST_FOREACH_SAFE (node, &lanes->all) {
        struct lane *lane = LIST_ENTRY(node, struct lane, link);
        bool empty = all || closer_lane_is_empty(lanes->closer, &lane->closing);
        lane_leave(lane);
        if (empty)
            free(lane);
    }
    closer_free(TAKE(lanes->closer));
}
