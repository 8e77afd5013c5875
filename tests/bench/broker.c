/* SPDX-License-Identifier: MIT */
#include "tests/bench/broker.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libbus/base/clock.h"
#include "tests/bench/crew.h"
#include "tests/bench/process.h"

#define START_SECONDS 10
#define FOLDER_MAX    40
#define PROBE_US      100 /* between two attempts to connect */

/* A member that connects until it is served, and tells when that was. */
static void probe(const struct broker *broker)
{
    double limit = clock_seconds(CLOCK_MONOTONIC) + START_SECONDS;
    struct client *client;

    while (!(client = broker->peer->connect(broker))) {
        if (clock_seconds(CLOCK_MONOTONIC) > limit)
            fail("%s does not start", broker->peer->name);
        usleep(PROBE_US);
    }
    broker->peer->ping(client);
    board->result[0] = clock_seconds(CLOCK_MONOTONIC);
    broker->peer->close(client);
    _exit(EXIT_SUCCESS);
}

bool broker_start(struct broker *broker, const struct peer *peer, double *ret_us)
{
    const char *parent = getenv("TMPDIR");

    *broker = (struct broker){.peer = peer};
    /* Sockets have short names. */
    if (!parent || strlen(parent) > FOLDER_MAX)
        parent = "/tmp";
    snprintf(broker->folder, sizeof(broker->folder), "%s/busd-bench-XXXXXX", parent);
    crew_begin(false, 0);
    if (!mkdtemp(broker->folder)) {
        perror(broker->folder);
        exit(EXIT_FAILURE);
    }
    double begin = clock_seconds(CLOCK_MONOTONIC);
    if (peer->start(broker) < 0) {
        snprintf(board->failure, sizeof(board->failure), "%s cannot be started", peer->name);
        broker_stop(broker);
        return false;
    }
    pid_t pid = crew_fork();
    if (pid == 0)
        probe(broker);
    bool well = crew_await_end(&pid, 1, START_SECONDS + 2);
    if (well && ret_us)
        *ret_us = (board->result[0] - begin) * 1e6;
    crew_end();
    if (!well)
        broker_stop(broker);
    return well;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

void broker_stop(struct broker *broker)
{
    process_end(broker->pid, SIGTERM);
    process_end(broker->helper, SIGTERM);
    broker->pid = broker->helper = 0;
    nftw(broker->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

void broker_sleep(struct broker *broker)
{
    if (broker->pid)
        kill(broker->pid, SIGSTOP);
}

void broker_wake(struct broker *broker)
{
    if (broker->pid)
        kill(broker->pid, SIGCONT);
}

struct client *broker_connect(const struct broker *broker)
{
    struct client *client = broker->peer->connect(broker);

    if (!client)
        fail("%s does not take a connection", broker->peer->name);
    client->peer = broker->peer;
    return client;
}
