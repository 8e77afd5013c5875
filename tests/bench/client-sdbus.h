/* SPDX-License-Identifier: MIT */
/*
 * The client side of both D-Bus daemons: sd-bus. The functions are those of struct
 * peer.
 */
#ifndef TESTS_BENCH_CLIENT_SDBUS_H
#define TESTS_BENCH_CLIENT_SDBUS_H

#include "tests/bench/drivers.h"

struct client *sdbus_connect(const struct broker *broker);
void sdbus_close(struct client *client);
void sdbus_ping(struct client *client);
void sdbus_serve(struct client *client, const char *name);
void sdbus_call(struct client *client, const char *name, const char *body, size_t size);
void sdbus_call_start(struct client *client, const char *name, const char *body, size_t size);
void sdbus_subscribe(struct client *client, const char *pattern);
void sdbus_publish(struct client *client, const char *topic, const char *body, size_t size);
void sdbus_flush(struct client *client);
void sdbus_wait(struct client *client, int timeout_ms);
int sdbus_fd(struct client *client);
void sdbus_process(struct client *client);

#define SDBUS_CLIENT                                                                               \
    .transport = "unix socket", .client = "sd-bus", .connect = sdbus_connect,                      \
    .close = sdbus_close, .ping = sdbus_ping, .serve = sdbus_serve, .call = sdbus_call,            \
    .call_start = sdbus_call_start, .subscribe = sdbus_subscribe, .publish = sdbus_publish,        \
    .flush = sdbus_flush, .wait = sdbus_wait, .fd = sdbus_fd, .process = sdbus_process,            \
    .no_first_wildcard = true

#endif
