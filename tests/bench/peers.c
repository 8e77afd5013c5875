/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "tests/bench/drivers.h"
#include "tests/bench/peer.h"

/* Stands for a driver that was left out because its library was missing. */
#define LEFT_OUT(symbol, text, package) const struct peer symbol = {.name = text, .client = package}

#ifndef BENCH_SDBUS
LEFT_OUT(peer_dbus_daemon, "dbus-daemon", "libsystemd");
LEFT_OUT(peer_dbus_broker, "dbus-broker", "libsystemd");
#endif
#ifndef BENCH_NATS
LEFT_OUT(peer_nats, "nats", "libnats");
#endif
#ifndef BENCH_REDIS
LEFT_OUT(peer_redis, "redis", "hiredis");
#endif
#ifndef BENCH_ZEROMQ
LEFT_OUT(peer_zeromq, "zeromq", "libzmq");
#endif
#ifndef BENCH_MOSQUITTO
LEFT_OUT(peer_mosquitto, "mosquitto", "libmosquitto");
#endif

const struct peer *const peers[] = {&peer_busd,  &peer_dbus_daemon, &peer_dbus_broker, &peer_nats,
                                    &peer_redis, &peer_zeromq,      &peer_mosquitto,   &peer_relay};
const size_t peers_count = ARRAY_SIZE(peers);

static bool in_path(const char *program)
{
    CLEANUP(cleanup_free) char *folders = strdup(getenv("PATH") ? getenv("PATH") : "");
    char path[4096], *rest = folders;

    if (strchr(program, '/'))
        return access(program, X_OK) == 0;
    for (const char *folder; rest && (folder = strsep(&rest, ":"));) {
        snprintf(path, sizeof(path), "%s/%s", folder, program);
        if (access(path, X_OK) == 0)
            return true;
    }
    return false;
}

const char *peer_missing(const struct peer *peer)
{
    static char reason[128];

    if (!peer->start)
        snprintf(reason, sizeof(reason), "built without %s", peer->client);
    else if (peer->program && !in_path(peer->program))
        snprintf(reason, sizeof(reason), "%s is not installed", peer->program);
    else
        return NULL;
    return reason;
}

void peer_version(const struct peer *peer, char *text, size_t size)
{
    char command[4096];

    snprintf(text, size, "%s", peer->program ? "unknown" : "part of the benchmark");
    if (!peer->program)
        return;
    snprintf(command, sizeof(command), "%s %s 2>&1", peer->program, peer->version_argument);
    FILE *output = popen(command, "re");
    if (!output)
        return;
    if (fgets(text, (int)size, output))
        text[strcspn(text, "\r\n")] = '\0';
    pclose(output);
}
