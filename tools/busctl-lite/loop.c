/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/loop.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/report.h"

#define ROUNDS_MAX 64 /* of bus_process() before the other descriptors have their turn */

int loop_init(struct loop *loop, const struct cli *cli)
{
    *loop = (struct loop){
        .cli = cli,
        .deadline = cli_deadline(cli),
        .in_time = true,
        .fd = -1,
    };
    return cli_connect(cli, &loop->bus);
}

void loop_end(struct loop *loop, int status)
{
    if (loop->done)
        return;
    loop->done = true;
    loop->status = status;
}

/* Whether there may be more to process. */
static bool process(struct loop *loop)
{
    for (int i = 0; i < ROUNDS_MAX && !loop->done; i++) {
        int r = bus_process(loop->bus);

        if (r < 0)
            loop_end(loop, report_disconnected(loop->cli, loop->bus));
        if (r <= 0)
            return false;
    }
    return true;
}

static int poll_timeout(const struct loop *loop, bool more)
{
    uint64_t now;

    if (more)
        return 0;
    if (loop->deadline == UINT64_MAX)
        return -1;
    now = clock_milliseconds();
    if (now >= loop->deadline)
        return 0;
    return loop->deadline - now < INT_MAX ? (int)(loop->deadline - now) : INT_MAX;
}

int loop_run(struct loop *loop)
{
    while (!loop->done) {
        bool more = process(loop);
        struct pollfd fds[] = {
            {.fd = bus_get_fd(loop->bus), .events = POLLIN},
            {.fd = loop->prints ? STDOUT_FILENO : -1, .events = 0},
            {.fd = loop->fd, .events = POLLIN},
        };
        int r;

        if (loop->done)
            break;
        r = poll(fds, ARRAY_SIZE(fds), poll_timeout(loop, more));
        if (r < 0 && errno != EINTR)
            return report_failure(STATUS_ERROR, "cannot poll: %s", strerror(errno));
        if (r > 0 && fds[1].revents & (POLLERR | POLLHUP))
            raise(SIGPIPE);
        if (r > 0 && fds[2].revents)
            loop->ready(loop->userdata);
        if (!loop->done && clock_milliseconds() >= loop->deadline) {
            loop->in_time = false;
            return STATUS_OK;
        }
    }
    return loop->status;
}
