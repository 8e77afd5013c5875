/* SPDX-License-Identifier: MIT */
/*
 * The daemon as a whole: owns the loop, the hub and the listeners, lets clients in,
 * and does once a turn, before the loop waits, what is done once a turn: deadlines,
 * the end of doomed peers, and the writing of all queues.
 */
#ifndef BUSD_BROKER_H
#define BUSD_BROKER_H

#include <stdbool.h>
#include <uv.h>

#include "busd/config.h"
#include "busd/hub.h"
#include "busd/listener.h"

/* How long SIGTERM waits for clients to read what is queued for them. */
#define BROKER_DRAIN_MS 10000
/* … and how long while nobody reads anything. */
#define BROKER_DRAIN_STILL_MS 2000
/* How long SIGTERM waits, before that, for the disk to take what has been published. */
#define BROKER_STORE_MS 10000
/* How much is written in one turn, calls and answers aside, before the loop looks who
 * else wants something: in steps as in CONNECTION_EFFORT, of which each queue takes some
 * if there is anything to write, and one for so many bytes. */
#define BROKER_WRITE_EFFORT       700
#define BROKER_WRITE_EFFORT_QUEUE 24
#define BROKER_WRITE_EFFORT_BYTES 512
/* How many of those who wait for one receiver are called before the next gets its turn. */
#define BROKER_WAKE_MAX    64
#define BROKER_WAKE_EFFORT 8
/* What it takes to give what somebody does not read any more to somebody else. */
#define BROKER_SHARE_EFFORT 8
/* How many traces of those that have gone are removed in one turn. */
#define BROKER_TRACES 128

struct broker {
    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_idle_t again; /* active while something has to wait for the next turn */
    uv_timer_t deadline_timer;
    uv_timer_t drain_timer;
    uv_async_t stored; /* the store has something to say */
    bool untold;       /* … and has not said all of it */
    uv_signal_t signals[3];
    uint64_t armed;    /* when the deadline timer is due; UINT64_MAX: it is not */
    bool stopping;     /* nothing is taken any more … */
    uint64_t stop_end; /* … but the disk is waited for, until then */
    bool draining;
    uint64_t drain_end;   /* on the clock of the deadlines */
    uint64_t drain_moved; /* when somebody had read something … */
    uint64_t drain_sent;  /* … so that so many bytes had been sent */
    bool sealed;          /* no file can be opened any more, so there is no reload */
    struct log *log;
    const struct config_source *source; /* for a reload */
    struct config config;
    struct list listeners;
    uint64_t last_listener; /* its id */
    struct hub hub;
};

/* Takes the configuration; log and source are borrowed. 0 or -errno; the log says why. */
int broker_init(struct broker *broker, struct log *log, const struct config_source *source,
                struct config *config);

/* Serves a socket of the configuration; takes it, whatever comes of it. 0 or -errno; the
 * log says why. */
int broker_listen(struct broker *broker, const struct config_listener *listener,
                  struct endpoint *endpoint);

/* Brings back what is in the state folder, which it takes, and keeps there what is to
 * outlive the bus. `sealed`: no file can be opened later. Before anybody is served. 0 or
 * -errno; the log says why. */
int broker_open_store(struct broker *broker, struct statedir *dir, bool sealed);

/* Starts the one thread that there must be: others help out. 0 or -errno; the log says
 * why. */
int broker_start_threads(struct broker *broker);

/* Serves until SIGTERM or SIGINT, then drains. */
void broker_run(struct broker *broker);

/* Before broker_run(), or after it. */
void broker_deinit(struct broker *broker);

/* In broker-reload.c: reads the configuration anew if somebody has asked for it, all of
 * it or nothing. */
void broker_reload_if_asked(struct broker *broker);

/* Those of the listener in the configuration; for one that is not in it, the bus's. */
const struct limits *broker_limits_of(const struct broker *broker, const struct listener *listener);

/* In broker-admit.c: one whose clients become peers; it is not among the broker's yet. Takes the
 * endpoint, whatever comes of it. 0 or -errno; the log says why. */
int broker_make_listener(struct broker *broker, const struct config_listener *wanted,
                         struct endpoint *endpoint, struct listener **ret_listener);

#endif
