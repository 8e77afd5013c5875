/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/busctl-lite/child.h"
#include "tools/busctl-lite/json.h"
#include "tools/busctl-lite/owned.h"

#define READ_SIZE        65536
#define READS_MAX        16 /* in a row, before others have their turn */
#define FLUSH_TIMEOUT_MS 10000
#define ERROR_FAILED     "org.busd.CommandFailed"

struct job *job_new(struct bus_message *call, bool streams)
{
    struct job *job = calloc(1, sizeof(*job));

    if (!job)
        return NULL;
    job->call = bus_message_ref(call);
    job->output_fd = -1;
    job->error_fd = -1;
    job->streams = streams && bus_message_wants_more(call);
    items_init(&job->items, call);
    return job;
}

static void kill_command(const struct job *job)
{
    if (job->pid > 0)
        kill(-job->pid, SIGTERM);
}

void job_free(struct job *job)
{
    if (!job)
        return;
    kill_command(job);
    owned_fd(&job->output_fd);
    owned_fd(&job->error_fd);
    items_deinit(&job->items);
    bus_message_unref(job->call);
    free(job->output);
    free(job);
}

/* Sends an answer that is refused for lack of room once there is room: the bus
 * reads what we write without waiting for anybody, so that this is soon. */
static void answer(struct job *job, const char *text, size_t size)
{
    int r = bus_reply_text(job->call, text, size);

    if (r == -EAGAIN && bus_flush(bus_message_bus(job->call), FLUSH_TIMEOUT_MS) >= 0)
        r = bus_reply_text(job->call, text, size);
    if (r == -EMSGSIZE)
        bus_reply_error(job->call, ERROR_FAILED, "what it wrote is larger than the bus takes");
}

static void answer_error(struct job *job, const char *message)
{
    int r = bus_reply_error(job->call, ERROR_FAILED, "%s", message);

    if (r == -EAGAIN && bus_flush(bus_message_bus(job->call), FLUSH_TIMEOUT_MS) >= 0)
        bus_reply_error(job->call, ERROR_FAILED, "%s", message);
}

static void on_cancel(struct bus_message *call, void *userdata)
{
    kill_command(userdata);
}

static int watch(struct job *job, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = job};

    return epoll_ctl(job->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* The caller takes more: what has been read is sent first, and the pipe watched again once
 * that is gone. */
static void on_ready(struct bus_message *call, void *userdata)
{
    struct job *job = userdata;

    if (job->output_fd < 0 || items_send(&job->items) == ITEMS_HELD)
        return;
    int r = watch(job, job->output_fd);
    if (r < 0 && r != -EEXIST)
        kill_command(job);
}

static int open_pipe(int *ret_read_end, int *ret_write_end)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    *ret_read_end = ends[0];
    *ret_write_end = ends[1];
    return fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static int spawn(struct job *job, char *const *argv, const sigset_t *mask)
{
    CLEANUP(owned_fd) int input = -1;
    CLEANUP(owned_fd) int output = -1;
    CLEANUP(owned_fd) int error = -1;
    const struct child_variable variables[] = {
        {"BUS_METHOD", or_empty(bus_message_method(job->call))},
        {"BUS_SENDER", or_empty(bus_message_sender(job->call))},
        {"BUS_PATH", or_empty(bus_message_path(job->call))},
        {NULL, NULL},
    };
    struct child_setup setup = CHILD_SETUP_INIT;
    const char *body;
    size_t size;
    int r;

    body = bus_message_body_text(job->call, &size);
    input = memory_file(body, size);
    if (input < 0)
        return input;
    r = open_pipe(&job->output_fd, &output);
    if (r >= 0)
        r = open_pipe(&job->error_fd, &error);
    if (r >= 0)
        r = watch(job, job->output_fd);
    if (r >= 0)
        r = watch(job, job->error_fd);
    if (r < 0)
        return r;
    setup.argv = argv;
    setup.stdin_fd = input;
    setup.stdout_fd = output;
    setup.stderr_fd = error;
    setup.mask = mask;
    setup.own_group = true;
    setup.death_signal = SIGTERM;
    setup.variables = variables;
    return child_spawn(&setup, &job->pid);
}

bool job_start(struct job *job, char *const *argv, const sigset_t *mask, int epoll_fd)
{
    char message[256];
    int r;

    if (bus_message_is_cancelled(job->call))
        return false;
    job->epoll_fd = epoll_fd;
    r = spawn(job, argv, mask);
    if (r >= 0) {
        bus_message_set_cancel_handler(job->call, on_cancel, job);
        if (job->streams)
            bus_message_set_ready_handler(job->call, on_ready, job);
        return true;
    }
    snprintf(message, sizeof(message), "cannot run %s: %s", argv[0], strerror(-r));
    answer_error(job, message);
    return false;
}

static int keep_output(struct job *job, const char *data, size_t size)
{
    if (job->output_size + size > JOB_OUTPUT_MAX) {
        job->overflow = true;
        kill_command(job);
        return 0;
    }
    if (job->output_capacity - job->output_size < size) {
        size_t capacity = job->output_capacity * 2 + READ_SIZE;
        char *larger = realloc(job->output, capacity);

        if (!larger)
            return -ENOMEM;
        job->output = larger;
        job->output_capacity = capacity;
    }
    memcpy(job->output + job->output_size, data, size);
    job->output_size += size;
    return 0;
}

static int keep_tail(struct job *job, const char *data, size_t size)
{
    if (size > JOB_TAIL_MAX) {
        data += size - JOB_TAIL_MAX;
        size = JOB_TAIL_MAX;
    }
    if (job->tail_size + size > sizeof(job->tail)) {
        memmove(job->tail, job->tail + job->tail_size - JOB_TAIL_MAX, JOB_TAIL_MAX);
        job->tail_size = JOB_TAIL_MAX;
    }
    memcpy(job->tail + job->tail_size, data, size);
    job->tail_size += size;
    return 0;
}

/* Reads until there is nothing more for now; closes the pipe at its end. */
static void drain(struct job *job, int *fd, int (*keep)(struct job *, const char *, size_t))
{
    char data[READ_SIZE];

    for (int i = 0; *fd >= 0 && i < READS_MAX; i++) {
        ssize_t n = read(*fd, data, sizeof(data));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0 || keep(job, data, (size_t)n) < 0) {
            if (n > 0)
                job->overflow = true;
            close(TAKE_FD(*fd));
        }
    }
}

/* Sends what the command has written, as far as the caller takes it; the command waits
 * for us like for any reader. */
static void stream(struct job *job)
{
    enum items_state state =
        job->output_fd >= 0 ? items_move(&job->items, job->output_fd) : ITEMS_END;

    if (state == ITEMS_WAIT && job->exited) {
        items_finish(&job->items);
        state = items_send(&job->items);
    }
    if (state == ITEMS_HELD) {
        epoll_ctl(job->epoll_fd, EPOLL_CTL_DEL, job->output_fd, NULL);
    } else if (state != ITEMS_WAIT) {
        owned_fd(&job->output_fd);
        job->output_fd = -1;
    }
    if (state == ITEMS_LOST) {
        job->overflow = job->items.too_large;
        kill_command(job);
    }
}

void job_read(struct job *job)
{
    if (job->streams)
        stream(job);
    else
        drain(job, &job->output_fd, keep_output);
    drain(job, &job->error_fd, keep_tail);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The output as JSON: null for none, itself if it is JSON, else a string. */
static void answer_output(struct job *job)
{
    CLEANUP(owned_text) char *text = NULL;
    const char *start = job->output;
    size_t size = job->output_size;

    while (size > 0 && is_space(start[size - 1]))
        size--;
    while (size > 0 && is_space(*start)) {
        start++;
        size--;
    }
    if (size == 0) {
        answer(job, "null", BUS_NUL_TERMINATED);
        return;
    }
    if (!bus_check_json(start, size, NULL)) {
        answer(job, start, size);
        return;
    }
    text = json_quote(start, size);
    if (text)
        answer(job, text, BUS_NUL_TERMINATED);
    else
        answer_error(job, "out of memory");
}

static void answer_failure(struct job *job)
{
    int wait_status = job->wait_status;
    CLEANUP(owned_text) char *message = NULL;
    size_t shown = job->tail_size < JOB_TAIL_MAX ? job->tail_size : JOB_TAIL_MAX;
    const char *tail = job->tail + job->tail_size - shown;
    size_t size = 0;
    FILE *out = open_memstream(&message, &size);

    if (!out) {
        answer_error(job, "the command failed");
        return;
    }
    while (shown > 0 && is_space(tail[shown - 1]))
        shown--;
    /* A cut in the middle of a character is no reason to show half of it. */
    for (; shown > 0 && ((unsigned char)*tail & 0xc0) == 0x80; shown--)
        tail++;
    if (WIFSIGNALED(wait_status))
        fprintf(out, "the command was ended by signal %d (%s)", WTERMSIG(wait_status),
                strsignal(WTERMSIG(wait_status)));
    else
        fprintf(out, "the command ended with status %d", WEXITSTATUS(wait_status));
    if (shown > 0) {
        fputs(": ", out);
        json_write_plain(out, tail, shown);
    }
    answer_error(job, fclose(out) == 0 ? message : "the command failed");
}

bool job_finish(struct job *job)
{
    if (!job->exited && waitpid(job->pid, &job->wait_status, WNOHANG) <= 0)
        return false;
    job->exited = true;
    job->pid = 0;
    job_read(job);
    if (job->streams && job->output_fd >= 0)
        return false;
    if (job->overflow)
        answer_error(job, job->streams
                              ? "the command wrote a line that is larger than the bus takes"
                              : "the command wrote more than can be kept");
    else if (WIFEXITED(job->wait_status) && WEXITSTATUS(job->wait_status) == 0)
        answer_output(job);
    else
        answer_failure(job);
    return true;
}
