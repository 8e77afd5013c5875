/* SPDX-License-Identifier: MIT */
/*
 * The connection, as all parts of the library see it. A message's way in:
 *
 *     input (bytes, lines) → intake (messages, in the order of the stream)
 *         → backlog → dispatch (callbacks)
 *
 * Intake runs whenever bytes are read, in bus_process() and in blocking functions
 * alike; callbacks run in bus_process() only. A message's way out:
 *
 *     client_send() → output (bytes) → client_flush()
 *
 * client_flush() is called once at the end of bus_process(), by blocking functions,
 * and when OUTPUT_BATCH bytes have come together.
 *
 * Lifetime: `owners` are the program's references. When the last one goes the
 * connection is torn down, but not below a function of ours that is still running
 * (`depth`). `pins` keep only the memory of this struct: messages have one, so that
 * what the program has kept can still say which connection it was of.
 */
#ifndef LIBBUS_CLIENT_H
#define LIBBUS_CLIENT_H

#include "bus/bus.h"
#include "libbus/base/hash.h"
#include "libbus/base/list.h"
#include "libbus/input.h"
#include "libbus/message.h"
#include "libbus/output.h"
#include "libbus/pending.h"
#include "libbus/service.h"
#include "libbus/slot.h"
#include "libbus/subscribe.h"
#include "libbus/timers.h"

#define CLIENT_TIMEOUT_DEFAULT 25000
#define CLIENT_TIMEOUT_GRACE   1000
#define CLIENT_OUTPUT_LIMIT    (4u * 1024 * 1024)
/* A longer message is not sent before the greeting has said how long it may be. */
#define CLIENT_UNGREETED_BYTES (64u * 1024)

enum client_state {
    CLIENT_UP,
    CLIENT_LOST,   /* no more bytes will come; what has come is still dispatched */
    CLIENT_CLOSED, /* and that is done */
};

/* What bus_get_fd() makes; all -1 before that. */
struct loop {
    int epoll_fd;
    int event_fd;
    int timer_fd;
    bool signalled; /* the eventfd is readable */
    uint64_t armed; /* what the timerfd is set to; 0: not at all */
};

struct bus {
    unsigned owners;
    unsigned pins;
    unsigned depth; /* bus_process() and blocking functions on the stack */
    enum client_state state;
    bool broken; /* writing has failed; what can still be read is */
    bool deaf;   /* what was read made no sense; nothing more is cut from it */
    bool greeted;
    bool running;  /* in bus_run() */
    bool stopping; /* bus_stop() was called in it */
    bool told;     /* bus_process() has said that the connection is lost */
    bool choked;   /* something was refused for want of room in the output */
    int fd;        /* -1 once lost */
    struct loop loop;
    uint32_t interest;          /* the socket's events in the epoll of its loop's owner */
    struct channel *channel;    /* NULL: a connection to a bus */
    struct list channels;       /* struct channel: those that our services have taken … */
    struct list ready_channels; /* … and of them those with something to do */

    struct input input;
    struct list backlog; /* struct bus_message, each with a reference */
    struct list unused;  /* struct bus_message */
    unsigned unused_count;

    struct output output;
    size_t output_limit;
    size_t message_bytes; /* what the greeting allows; 0: not known yet */
    unsigned fds_per_message;
    size_t memfd_threshold; /* longer bodies go as sealed memory */

    struct list slots;
    uint64_t last_id;
    struct hash pending_by_id;
    struct list pending;    /* struct pending, in order */
    struct list publishers; /* struct bus_publisher */
    struct timers timers;
    struct subscriptions subscriptions;
    struct hash services;
    struct service *default_service;
    struct hash calls;        /* incoming ones that wait for our answer */
    struct list starved;      /* struct bus_message.ready_link: those that may be told to go on */
    size_t streamed;          /* bytes of items since the bus was heard last */
    struct pending item_ping; /* while the bus has not answered it no item is sent */
    unsigned held;            /* iterators that are full: nothing is read */

    bus_handler disconnect_handler;
    void *disconnect_userdata;
    bus_handler writable_handler;
    void *writable_userdata;
    bus_error_handler error_handler;
    void *error_userdata;

    char unique_name[UNIQUE_NAME_SIZE];
    char id[33];
    bool said_goodbye;        /* the message read last was an error to nobody … */
    struct bus_error goodbye; /* … namely this */
    struct bus_error lost;
};

/* Milliseconds on the monotonic clock. */
uint64_t client_now(void);

/* Around everything that may run callbacks or wait: nothing is torn down below,
 * and when the outermost one leaves, the single fd is brought up to date. */
void client_enter(struct bus *bus);
void client_leave(struct bus *bus);

void client_pin(struct bus *bus);
void client_unpin(struct bus *bus);

/* Whether callbacks may still be run. */
static inline bool client_is_live(const struct bus *bus)
{
    return bus->owners > 0 && bus->state != CLIENT_CLOSED;
}

static inline bool client_can_send(const struct bus *bus)
{
    return bus->state == CLIENT_UP && !bus->broken;
}

/* Ends the connection from this side of things. The reason is overridden by what
 * the bus itself said last, if `by_bus`. */
void client_lose(struct bus *bus, bool by_bus, const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Waits for the greeting, as long as for any answer of the bus. */
bool client_greeted(struct bus *bus);

/* Queues a message for output. Besides what output_append() returns: -EAGAIN (the
 * output is full), -EMSGSIZE, -ECONNRESET. Takes the fds on success. */
int client_send(struct bus *bus, const struct outgoing *message, struct bus_error *error);

/* A call to a method of the bus that wants no reply. Failure does not matter. */
void client_tell_bus(struct bus *bus, const char *method, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes what the socket takes. Failure shows as bus->broken. */
void client_flush(struct bus *bus);

/* What bus_process() does for one socket; if that may be `readable`, reads first. */
bool client_process(struct bus *bus, bool readable);

/* A connection on that socket, with one owner. NULL: out of memory. */
struct bus *client_new(int fd);

/* Reads once. 1: something; 0: nothing there; the connection may be lost now. */
int client_read(struct bus *bus);

/* Takes one line in: 1 if there was one. */
int client_cut(struct bus *bus);

/* Takes in all lines that are there. */
void client_stash(struct bus *bus);

/* One turn of a blocking function: writes, waits for the socket until `deadline`
 * (client_now(); UINT64_MAX: none) and reads. 0, -ETIMEDOUT or -ECONNRESET. */
int client_turn(struct bus *bus, uint64_t deadline);

/* Takes turns until *done. */
int client_wait(struct bus *bus, const bool *done, uint64_t deadline);

/* Waits for events of the socket, through signals if `patient`. 1, 0: the deadline
 * has passed, or -errno. */
int client_poll(struct bus *bus, short events, uint64_t deadline, bool patient, short *ret_events);

/* Puts a message of our own making at the end of the backlog. Takes it. */
void client_queue(struct bus *bus, struct bus_message *message);

/* Runs the callbacks for one message. */
void client_dispatch(struct bus *bus, struct bus_message *message);

/* Whether bus_process() would do something without the socket's having anything. */
bool client_has_work(const struct bus *bus);

/* A blocking call with the fields of `call` but id and timeout filled in; or an event that
 * is to have a receipt. */
int client_call(struct bus *bus, struct outgoing *call, uint64_t timeout, struct bus_error *error,
                struct bus_message **ret_reply);

/* The same without waiting. */
int client_call_async(struct bus *bus, struct outgoing *call, uint64_t timeout,
                      bus_message_handler handler, void *userdata, struct bus_slot **ret_slot);

/* Whether the message can still be sent as a call, or as an event. 0, -EINVAL or -EALREADY. */
int client_check_draft(const struct bus_message *message, enum message_type type,
                       struct bus_error *error);

/* The parts of a call that bus_stream_open() has in common with it: sends, waiting for
 * room in the output … */
int call_send(struct bus *bus, const struct outgoing *call, uint64_t deadline,
              struct bus_error *error);
/* … puts into words why waiting has ended early; returns `r` … */
int call_explain(struct bus *bus, const struct outgoing *call, int r, struct bus_error *error);
/* … cancels … */
void call_send_cancel(struct bus *bus, struct span to, uint64_t id);
/* … what the call's bus_message_set_timeout() said, and that on the wire, where an event has
 * none; -EINVAL: beyond what the protocol has. */
uint64_t call_timeout_of(const struct bus_message *call);
int call_set_timeout(struct outgoing *call, uint64_t timeout, struct bus_error *error);

/* The output has room again: tells the publishers who have waited for it. */
void publishers_tell(struct bus *bus);

void loop_init(struct loop *loop);
void loop_deinit(struct loop *loop);

/* Output has come into being outside of bus_process(): makes the fd readable. */
void loop_wake(struct bus *bus);

/* Makes the fd say exactly whether there is work, and the timer fit the deadlines. */
void loop_settle(struct bus *bus);

/* Asks the epoll for the events of the socket that matter now. */
void loop_watch(struct bus *bus);

/* Takes the socket, which is to be closed, out of the epoll. */
void loop_forget(struct bus *bus);

#endif
