/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "libbus/channel.h"
#include "libbus/client.h"
#include "libbus/error.h"

void loop_init(struct loop *loop)
{
    *loop = (struct loop){.epoll_fd = -1, .event_fd = -1, .timer_fd = -1};
}

void loop_deinit(struct loop *loop)
{
    cleanup_close(&loop->timer_fd);
    cleanup_close(&loop->event_fd);
    cleanup_close(&loop->epoll_fd);
    loop_init(loop);
}

/* An iterator has enough: whoever sends to it shall notice. A connection that breaks is
 * read to its end all the same, which is near. */
static bool is_held(const struct bus *bus)
{
    return bus->held > 0 && !bus->broken;
}

/* While more waits to be written than the limit allows, nothing is read: the
 * answers that the library gives by itself would add to it without end. */
static bool is_paused(const struct bus *bus)
{
    return is_held(bus) || (bus->output.blocked && output_weight(&bus->output) > bus->output_limit);
}

static uint32_t wanted_events(const struct bus *bus)
{
    return (is_paused(bus) ? 0u : (uint32_t)EPOLLIN) |
           (bus->output.blocked ? (uint32_t)EPOLLOUT : 0u);
}

static int watch(struct bus *bus)
{
    struct loop *loop = &loop_owner(bus)->loop;
    struct epoll_event event = {
        .events = wanted_events(bus),
        .data.ptr = bus,
    };

    if (loop->epoll_fd < 0 || bus->fd < 0 || event.events == bus->interest)
        return 0;
    /* The end of the stream would be reported even if nothing were asked for. */
    int operation = !event.events ? EPOLL_CTL_DEL : bus->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(loop->epoll_fd, operation, bus->fd, &event) < 0)
        return -errno;
    bus->interest = event.events;
    return 0;
}

void loop_watch(struct bus *bus)
{
    watch(bus);
}

void loop_forget(struct bus *bus)
{
    const struct loop *loop = &loop_owner(bus)->loop;

    /* Closing is not enough: a child process may still have the socket. */
    if (bus->interest && loop->epoll_fd >= 0)
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, bus->fd, NULL);
    bus->interest = 0;
}

static void loop_signal(struct loop *loop, bool on)
{
    uint64_t value = 1;
    ssize_t n;

    if (loop->epoll_fd < 0 || loop->signalled == on)
        return;
    n = on ? write(loop->event_fd, &value, sizeof(value))
           : read(loop->event_fd, &value, sizeof(value));
    if (n == sizeof(value))
        loop->signalled = on;
}

void loop_wake(struct bus *bus)
{
    channel_want_turn(bus);
    loop_signal(&loop_owner(bus)->loop, true);
}

/* A timer that is set to a later time than needed is moved; one that is set to an
 * earlier time is left alone: moving it would cost a system call for each call
 * that has been answered. */
static void loop_arm(struct bus *bus)
{
    struct loop *loop = &bus->loop;
    struct timer *first = timers_first(&bus->timers);

    if (loop->epoll_fd < 0 || !first || is_held(bus) || (loop->armed && loop->armed <= first->at))
        return;
    struct itimerspec when = {
        .it_value = {(time_t)(first->at / 1000), (long)(first->at % 1000) * 1000000},
    };
    if (timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
        loop->armed = first->at;
}

bool client_has_work(const struct bus *bus)
{
    const struct output *output = &bus->output;

    if (bus->state == CLIENT_CLOSED)
        return !bus->told;
    return bus->state == CLIENT_LOST || bus->broken || !list_is_empty(&bus->backlog) ||
           (output_size(output) > 0 && !output->blocked) ||
           (bus->choked && output_weight(output) <= bus->output_limit / 2) ||
           items_may_go_on(bus) || !list_is_empty(&bus->ready_channels);
}

/* For a channel of a service, whose parent sees to the rest when it leaves. */
static void channel_settle(struct bus *channel)
{
    struct bus *parent = channel->channel->parent;

    if (client_has_work(channel))
        channel_want_turn(channel);
    loop_watch(channel);
    if (parent->depth == 0)
        loop_settle(parent);
}

void loop_settle(struct bus *bus)
{
    if (loop_owner(bus) != bus) {
        channel_settle(bus);
        return;
    }
    loop_signal(&bus->loop, client_has_work(bus));
    loop_arm(bus);
    loop_watch(bus);
}

static int loop_add(struct loop *loop, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};

    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int loop_open(struct loop *loop)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        return -errno;
    loop->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->event_fd < 0)
        return -errno;
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (loop->timer_fd < 0)
        return -errno;

    int r = loop_add(loop, loop->event_fd);
    return r == 0 ? loop_add(loop, loop->timer_fd) : r;
}

int bus_get_fd(struct bus *bus)
{
    bus = loop_owner(bus);
    struct loop *loop = &bus->loop;

    if (loop->epoll_fd >= 0)
        return loop->epoll_fd;
    int r = loop_open(loop);
    if (r == 0)
        r = watch(bus);
    if (r < 0) {
        bus->interest = 0;
        loop_deinit(loop);
        return r;
    }
    if (bus->depth == 0)
        loop_settle(bus);
    return loop->epoll_fd;
}

/* Takes note of why the fd is readable, of what is not the socket. */
static void loop_acknowledge(struct bus *bus)
{
    struct loop *loop = &bus->loop;
    uint64_t count;

    loop_signal(loop, false);
    if (loop->armed && client_now() >= loop->armed &&
        read(loop->timer_fd, &count, sizeof(count)) == sizeof(count))
        loop->armed = 0;
}

/* Runs the callbacks of what has come until now. What blocking calls in callbacks
 * read meanwhile waits for the next time, lest a steady stream keep us here. */
static bool dispatch_all(struct bus *bus)
{
    uint64_t end = bus->input.received;
    bool did = false;

    while (client_is_live(bus) && !loop_owner(bus)->stopping) {
        struct list *first = list_first(&bus->backlog);
        if (!first) {
            if (!client_cut(bus))
                break;
            continue;
        }
        struct bus_message *message = LIST_ENTRY(first, struct bus_message, link);
        if (message->position > end)
            break;
        list_remove(first);
        client_dispatch(bus, message);
        bus_message_unref(message);
        did = true;
    }
    if (client_is_live(bus))
        client_stash(bus);
    return did;
}

static bool expire(struct bus *bus)
{
    bool did = false;
    uint64_t now = timers_first(&bus->timers) ? client_now() : 0;
    struct timer *timer;

    while (client_is_live(bus) && (timer = timers_first(&bus->timers)) && timer->at <= now) {
        struct pending *pending = CONTAINER_OF(timer, struct pending, timer);
        if (pending_put_off(pending, now))
            continue;
        /* There is no bus on a channel to tell the callee. */
        if (pending->bus->channel)
            call_send_cancel(pending->bus, span_from(channel_target(pending->bus)), pending->id);
        pending_fail(pending->bus, pending, BUS_ERROR_TIMEOUT,
                     "no answer came before the deadline");
        did = true;
    }
    return did;
}

/* Everything that came has been dispatched: says that nothing more will come. */
static void finish(struct bus *bus)
{
    bus_handler handler = bus->disconnect_handler;

    channels_finish(bus);
    while (client_is_live(bus) && !list_is_empty(&bus->pending))
        pending_fail(bus, LIST_ENTRY(list_first(&bus->pending), struct pending, link),
                     BUS_ERROR_DISCONNECTED, bus->lost.message);
    /* What the bus says to callees when their caller goes. */
    if (bus->channel && client_is_live(bus))
        calls_cancel_all(bus);
    bus->disconnect_handler = NULL;
    if (handler && client_is_live(bus))
        handler(bus, bus->disconnect_userdata);
    bus->state = CLIENT_CLOSED;
}

static bool flush_all(struct bus *bus)
{
    size_t before = output_size(&bus->output);

    client_flush(bus);
    bool did = output_size(&bus->output) < before;
    if (!bus->choked || output_weight(&bus->output) > bus->output_limit / 2)
        return did;
    bus->choked = false;
    if (bus->writable_handler && client_is_live(bus))
        bus->writable_handler(bus, bus->writable_userdata);
    publishers_tell(bus);
    client_flush(bus);
    return true;
}

bool client_process(struct bus *bus, bool readable)
{
    bool did = false;

    if (readable && list_is_empty(&bus->backlog) && bus->state == CLIENT_UP && !is_paused(bus))
        did = client_read(bus) > 0;
    did |= dispatch_all(bus);
    if (client_is_live(bus) && list_is_empty(&bus->backlog) && !loop_owner(bus)->stopping) {
        if (bus->channel)
            channel_has_kept_nothing(bus);
        /* Answers may still lie in the socket. */
        if (bus->state == CLIENT_UP && !bus->input.filled && !is_held(bus) &&
            loop_owner(bus) == bus)
            did |= expire(bus);
        if (bus->state == CLIENT_LOST)
            finish(bus);
    }
    /* That a caller is behind may still lie in the socket. */
    if (client_is_live(bus) && (!bus->input.filled || is_paused(bus)))
        did |= items_go_on(bus);
    return did | flush_all(bus);
}

int bus_process(struct bus *bus)
{
    bus = loop_owner(bus);
    client_enter(bus);
    loop_acknowledge(bus);
    bool did = client_process(bus, !channels_are_open(bus) || channels_collect(bus));
    if (client_is_live(bus) && !bus->stopping && channels_are_open(bus))
        did |= channels_process(bus);
    bus->told = bus->state == CLIENT_CLOSED;
    int result = client_is_live(bus) ? did : -ECONNRESET;
    client_leave(bus);
    return result;
}

static int poll_until(int fd, short events, uint64_t deadline, bool patient, short *ret_events)
{
    struct pollfd poll_fd = {.fd = events ? fd : -1, .events = events};

    for (;;) {
        uint64_t now = deadline == UINT64_MAX || deadline == 0 ? 0 : client_now();
        uint64_t left = deadline > now ? deadline - now : 0;
        int timeout = deadline == UINT64_MAX ? -1 : (int)MIN(left, (uint64_t)INT_MAX);
        int r = poll(&poll_fd, 1, timeout);
        if (r < 0 && (errno != EINTR || !patient))
            return -errno;
        if (r > 0) {
            *ret_events = poll_fd.revents;
            return 1;
        }
        if (r == 0 && left <= INT_MAX)
            return 0;
    }
}

int client_poll(struct bus *bus, short events, uint64_t deadline, bool patient, short *ret_events)
{
    return poll_until(bus->fd, events, deadline, patient, ret_events);
}

/* A timeout as bus_wait() and bus_flush() take it, as a deadline. */
static uint64_t deadline_after(uint64_t timeout_ms)
{
    if (timeout_ms == 0 || timeout_ms == UINT64_MAX)
        return timeout_ms;
    uint64_t now = client_now();
    return timeout_ms < UINT64_MAX - now ? now + timeout_ms : UINT64_MAX;
}

int bus_wait(struct bus *bus, uint64_t timeout_ms)
{
    bus = loop_owner(bus);
    struct timer *first = is_held(bus) ? NULL : timers_first(&bus->timers);
    uint64_t deadline = deadline_after(timeout_ms);
    short events = bus->output.blocked ? POLLOUT : 0;

    if (bus->state == CLIENT_CLOSED)
        return -ECONNRESET;
    /* In a callback there may be lines that have been read and not been taken in. */
    if (bus->depth > 0) {
        client_stash(bus);
        channels_stash(bus);
    }
    if (client_has_work(bus))
        return 1;
    if (!is_paused(bus))
        events |= POLLIN;
    bool ours = first && first->at < deadline;
    if (ours)
        deadline = first->at;
    int r = channels_are_open(bus)
                ? poll_until(bus->loop.epoll_fd, POLLIN, deadline, false, &events)
                : client_poll(bus, events, deadline, false, &events);
    if (r == 0 && deadline == 0)
        return first && first->at <= client_now();
    return r == 0 ? ours : r;
}

int bus_run(struct bus *bus)
{
    bus = loop_owner(bus);
    bool outer = bus->running;
    int r;

    client_pin(bus);
    bus->running = true;
    do {
        r = bus_wait(bus, UINT64_MAX);
        if (r > 0)
            r = bus_process(bus);
        else if (r == -EINTR)
            r = 0;
        if (bus->owners == 0)
            r = -ECONNRESET;
    } while (r >= 0 && !bus->stopping);
    if (bus->stopping && bus->owners > 0)
        r = 0;
    bus->stopping = false;
    bus->running = outer;
    client_unpin(bus);
    return r;
}

void bus_stop(struct bus *bus)
{
    bus = loop_owner(bus);
    if (bus->running)
        bus->stopping = true;
}

int bus_flush(struct bus *bus, uint64_t timeout_ms)
{
    uint64_t deadline = deadline_after(timeout_ms);
    short events;
    int r = 0;

    client_enter(bus);
    for (;;) {
        client_flush(bus);
        if (!client_can_send(bus))
            r = -ECONNRESET;
        if (r < 0 || output_size(&bus->output) == 0)
            break;
        r = client_poll(bus, POLLOUT, deadline, true, &events);
        if (r == 0)
            r = -ETIMEDOUT;
        if (r < 0)
            break;
        r = 0;
    }
    client_leave(bus);
    return r;
}
