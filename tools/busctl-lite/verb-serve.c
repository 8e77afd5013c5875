/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "tools/busctl-lite/body.h"
#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/job.h"
#include "tools/busctl-lite/loop.h"
#include "tools/busctl-lite/names.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/report.h"

#define RUNNING_MAX 16
#define WAITING_MAX 1024
#define EVENTS_MAX  32

struct queue {
    struct job *first;
    struct job **end; /* where the next one is to be linked */
    size_t count;
};

struct server {
    struct loop loop;
    char *const *argv;
    bool more;
    struct queue running;
    struct queue waiting;
    sigset_t mask; /* of signals, as we found it */
    int epoll_fd;
    int signal_fd;
    struct bus_method methods[2];
    char description[128];
};

static void queue_init(struct queue *queue)
{
    *queue = (struct queue){.end = &queue->first};
}

static void queue_push(struct queue *queue, struct job *job)
{
    job->next = NULL;
    *queue->end = job;
    queue->end = &job->next;
    queue->count++;
}

/* `link` is what points to the job that is taken out. */
static struct job *queue_take(struct queue *queue, struct job **link)
{
    struct job *job = *link;

    *link = job->next;
    if (!*link)
        queue->end = link;
    queue->count--;
    return job;
}

static void queue_deinit(struct queue *queue)
{
    while (queue->first)
        job_free(queue_take(queue, &queue->first));
}

static void start_jobs(struct server *server)
{
    while (server->waiting.first && server->running.count < RUNNING_MAX) {
        struct job *job = queue_take(&server->waiting, &server->waiting.first);

        if (job_start(job, server->argv, &server->mask, server->epoll_fd))
            queue_push(&server->running, job);
        else
            job_free(job);
    }
}

static void finish_jobs(struct server *server)
{
    struct job **link = &server->running.first;

    while (*link) {
        if (job_finish(*link))
            job_free(queue_take(&server->running, link));
        else
            link = &(*link)->next;
    }
    start_jobs(server);
}

static int on_call(struct bus_message *call, void *userdata)
{
    struct server *server = userdata;
    const char *fault;
    struct job *job;
    size_t offset;

    if (server->waiting.count >= WAITING_MAX)
        return bus_reply_error(call, "org.busd.Busy", "%d calls are waiting already", WAITING_MAX);
    fault = body_fault(call, &offset);
    if (fault)
        return bus_reply_error(call, BUS_ERROR_INVALID_ARGUMENTS,
                               "the body is not valid JSON: %s (at byte %zu)", fault, offset);
    job = job_new(call, server->more);
    if (!job)
        return -ENOMEM;
    queue_push(&server->waiting, job);
    start_jobs(server);
    return 0;
}

static void on_signals(struct server *server)
{
    struct signalfd_siginfo info;

    while (read(server->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            finish_jobs(server);
        else
            loop_end(&server->loop, STATUS_OK);
    }
}

static void on_ready(void *userdata)
{
    struct server *server = userdata;
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(server->epoll_fd, events, EVENTS_MAX, 0);
    bool signals = false;
    bool exited = false;

    for (int i = 0; i < count; i++) {
        struct job *job = events[i].data.ptr;

        if (job)
            job_read(job);
        signals = signals || !job;
        exited = exited || (job && job->exited);
    }
    /* Last, because it frees jobs that the other events may be about. */
    if (signals)
        on_signals(server);
    if (exited)
        finish_jobs(server);
}

/* Signals become readable, so that none comes between us and the children. */
static int watch_signals(struct server *server)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, &server->mask);
    server->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (server->signal_fd < 0 || server->epoll_fd < 0 ||
        epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->signal_fd, &event) < 0)
        return report_failure(STATUS_ERROR, "cannot watch for signals: %s", strerror(errno));
    server->loop.fd = server->epoll_fd;
    server->loop.ready = on_ready;
    server->loop.userdata = server;
    return STATUS_OK;
}

static int offer(struct server *server, const char *name, const char *method, bool shared)
{
    const struct bus_service_options options = {.name_flags = shared ? BUS_NAME_SHARED : 0};
    struct bus_error error = BUS_ERROR_INIT;
    int r;

    snprintf(server->description, sizeof(server->description), "Runs the command %.64s",
             server->argv[0]);
    server->methods[0] = (struct bus_method){
        method, on_call, server->more ? (uint64_t)BUS_METHOD_MORE : 0, server->description};
    r = bus_serve_with(server->loop.bus, name, &options, server->methods, server, NULL, &error);
    return r < 0 ? report_error(server->loop.cli, name, &error, r) : STATUS_OK;
}

static int serve(struct server *server, struct cli *cli, const char *name, const char *method,
                 bool shared)
{
    int r;

    r = loop_init(&server->loop, cli);
    if (!r)
        r = watch_signals(server);
    server->loop.deadline = UINT64_MAX; /* a service has no end of its own */
    if (!r)
        r = offer(server, name, method, shared);
    if (!r && isatty(STDERR_FILENO))
        report_note(cli, "serving %s of %s; Ctrl-C ends it", method, name);
    return r ? r : loop_run(&server->loop);
}

static int run(struct cli *cli, const struct arguments *arguments)
{
    struct server server = {
        .argv = arguments->to_run,
        .more = arguments_has(arguments, "more"),
        .epoll_fd = -1,
        .signal_fd = -1,
    };
    int r;

    queue_init(&server.running);
    queue_init(&server.waiting);
    r = check_name(cli->verb, arguments->operands[0]);
    if (!r)
        r = check_method(cli->verb, arguments->operands[1]);
    if (!r)
        r = serve(&server, cli, arguments->operands[0], arguments->operands[1],
                  arguments_has(arguments, "shared"));
    queue_deinit(&server.running);
    queue_deinit(&server.waiting);
    bus_close(server.loop.bus);
    owned_fd(&server.signal_fd);
    owned_fd(&server.epoll_fd);
    return r;
}

const struct command command_serve = {
    .name = "serve",
    .synopsis = "[--shared] NAME METHOD -- CMD...",
    .summary = "be a service: answer each call with what a command prints",
    .help = "Owns NAME and runs CMD for each call of METHOD, with the call's body on its\n"
            "stdin and BUS_METHOD, BUS_SENDER and BUS_PATH in its environment. What it\n"
            "prints is the reply: as it is if it is JSON, else as a string; null if it\n"
            "prints nothing. If it fails the caller gets the error org.busd.CommandFailed\n"
            "with the exit status and the end of what it wrote to stderr. Up to 16 run at\n"
            "a time, further calls wait. A call that is cancelled ends its command.\n"
            "SIGINT or SIGTERM ends it with status 0.\n"
            "\n"
            "  --shared   own NAME together with all who ask for it so: calls to it go\n"
            "             round them\n"
            "  --more     a caller that wants several replies gets each line as one, as\n"
            "             soon as it is there; the command's end is the last one, null.\n"
            "             The command is read no faster than the caller reads\n"
            "\n"
            "Examples:\n"
            "  busctl-lite serve org.example.Sum Sum -- jq 'add'\n"
            "  busctl-lite serve org.example.Host Uptime -- uptime\n"
            "  busctl-lite serve --more org.example.Log Follow -- tail -f app.log\n",
    .options = (const struct option_row[]){{"shared", NULL}, {"more", NULL}, {NULL, NULL}},
    .operands_min = 2,
    .operands_max = 2,
    .runs_command = true,
    .run = run,
};
