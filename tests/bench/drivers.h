/* SPDX-License-Identifier: MIT */
/*
 * What drivers share.
 */
#ifndef TESTS_BENCH_DRIVERS_H
#define TESTS_BENCH_DRIVERS_H

#include <stddef.h>

#include "tests/bench/peer.h"

extern const struct peer peer_busd, peer_dbus_daemon, peer_dbus_broker, peer_nats, peer_redis,
    peer_zeromq, peer_mosquitto, peer_relay;

/* Zeroed memory that begins with a struct client. Never NULL. */
void *client_new(size_t size);

/* Fails unless an answer is as long as its question. */
void check_answer(struct client *client, size_t got, size_t wanted);

/* Gives the answer to a call that call() waits for or call_start() has begun: where the
 * library has no calls of its own, the driver counts. */
struct pending {
    size_t waiting; /* calls of call() without an answer */
    size_t size;    /* of the last answer */
};

void pending_answer(struct pending *pending, struct client *client, size_t size);

/* Where there are no calls, a call is an event whose body begins with the topic for the
 * answer, padded with NULs. */
#define FRAME_TOPIC 24

/* The frame in a buffer of its own that lives until the next one is made. */
char *frame_make(const char *answer_topic, const char *body, size_t size, size_t *ret_size);

/* A topic that is this client's alone. */
void frame_topic(char *ret_topic);

/* A topic or pattern in another system's signs, in one of two static buffers. */
const char *translate(const char *topic, char separator, char one, char rest);

/* A topic from there, likewise. */
const char *translate_back(const char *topic, char separator);

/* A file in the broker's folder; `ret_path` gets its name. */
void write_config(const struct broker *broker, char *ret_path, size_t size, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Unix stream sockets, close-on-exec, or -1; the listening one does not block. */
int listen_at(const char *path);
int connect_to(const char *path);

/* A TCP port on the loopback interface that is free now. */
int free_port(void);

/* Waits until the fd is readable; at most `timeout_ms`, -1 for ever. */
bool wait_readable(int fd, int timeout_ms);

#endif
