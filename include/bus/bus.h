/* SPDX-License-Identifier: MIT */
/*
 * libbus: the client library of busd, a local message bus.
 *
 *     struct bus *bus;
 *     bus_connect(&bus, NULL);
 *     bus_publish_text(bus, "org.example.greeting", "\"hello\"", BUS_NUL_TERMINATED);
 *     bus_close(bus);
 *
 * The page reads top to bottom: errors, types, callbacks, connecting, the event
 * loop, messages, publish and subscribe, calls, services, names, file
 * descriptors.
 *
 * Conventions. Functions that can fail return 0 (or something useful above it)
 * on success and a negative errno on failure; output parameters named ret_x are
 * written only on success. Pointers passed in are borrowed for the time of the
 * call unless the function's name says "take" or its comment says so. Strings are
 * UTF-8. Times are milliseconds. A connection and everything made from it belong
 * to one thread at a time; there are no globals, no threads, no signal handlers,
 * and nothing is ever logged. No function that sends ever runs a callback.
 */
#ifndef BUS_BUS_H
#define BUS_BUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BUS_PUBLIC                __attribute__((visibility("default")))
#define BUS_PRINTF(string, first) __attribute__((format(printf, string, first)))
#else
#define BUS_PUBLIC
#define BUS_PRINTF(string, first)
#endif

/* ---------------------------------------------------------------- errors */

/* What went wrong, for programs (name) and for people (message). Filled by the
 * functions that take one, whether the other side answered with an error or the
 * call failed on this side; never needs to be freed. Initialise with {0} or
 * BUS_ERROR_INIT. A message that does not fit is cut at a character. */
struct bus_error {
    char name[256];
    char message[512];
};

#define BUS_ERROR_INIT                                                                             \
    {                                                                                              \
        "", ""                                                                                     \
    }

/* The errors of the bus itself, and the errno that stands for each. Any other
 * name is a service's own and stands as -EREMOTEIO. */
#define BUS_ERROR_PARSE_ERROR          "bus.ParseError"         /* -EBADMSG */
#define BUS_ERROR_INVALID_MESSAGE      "bus.InvalidMessage"     /* -EPROTO */
#define BUS_ERROR_INVALID_ARGUMENTS    "bus.InvalidArguments"   /* -EINVAL */
#define BUS_ERROR_TOO_LARGE            "bus.TooLarge"           /* -EMSGSIZE */
#define BUS_ERROR_FD_MISMATCH          "bus.FdMismatch"         /* -EBADF */
#define BUS_ERROR_NAME_UNKNOWN         "bus.NameUnknown"        /* -ENXIO */
#define BUS_ERROR_NAME_TAKEN           "bus.NameTaken"          /* -EEXIST */
#define BUS_ERROR_NOT_OWNER            "bus.NotOwner"           /* -EADDRNOTAVAIL */
#define BUS_ERROR_METHOD_UNKNOWN       "bus.MethodUnknown"      /* -EOPNOTSUPP */
#define BUS_ERROR_NO_SUCH_CALL         "bus.NoSuchCall"         /* -EBADR */
#define BUS_ERROR_NO_SUCH_SUBSCRIPTION "bus.NoSuchSubscription" /* -EBADSLT */
#define BUS_ERROR_ACCESS_DENIED        "bus.AccessDenied"       /* -EACCES */
#define BUS_ERROR_LIMIT_EXCEEDED       "bus.LimitExceeded"      /* -EDQUOT */
#define BUS_ERROR_TIMEOUT              "bus.Timeout"            /* -ETIMEDOUT */
#define BUS_ERROR_NO_REPLY             "bus.NoReply"            /* -ENOMSG */
#define BUS_ERROR_CANCELLED            "bus.Cancelled"          /* -ECANCELED */
#define BUS_ERROR_START_FAILED         "bus.StartFailed"        /* -ECHILD */
#define BUS_ERROR_DISCONNECTED         "bus.Disconnected"       /* -ECONNRESET */

/* ----------------------------------------------------------------- types */

/* A connection to a bus. */
struct bus;

/* A message, received or being built. Reference counted. */
struct bus_message;

/* A registration (subscription, pending call, service, name watch) that can be
 * cancelled by freeing its slot. */
struct bus_slot;

enum bus_message_type {
    BUS_MESSAGE_CALL = 1,
    BUS_MESSAGE_REPLY = 2,
    BUS_MESSAGE_ERROR = 3,
    BUS_MESSAGE_EVENT = 4,
    BUS_MESSAGE_CANCEL = 5
};

/* As the length of a text: it ends at its NUL. */
#define BUS_NUL_TERMINATED ((size_t)-1)

/* As a timeout: the default of calls, 25 000 ms. */
#define BUS_TIMEOUT_DEFAULT UINT64_MAX

/* As a timeout: wait for ever. */
#define BUS_TIMEOUT_NEVER UINT64_C(0)

/* ------------------------------------------------------------- callbacks */

/* A message for a subscription or, for a call, its answer. The message is
 * borrowed: bus_message_ref() keeps it beyond the return. Every callback may
 * free any slot, its own included, send, and make blocking calls. */
typedef void (*bus_message_handler)(struct bus_message *message, void *userdata);

/* A call for a service. Answer with bus_reply*() now or, having kept the call
 * with bus_message_ref(), later. A negative errno as result is sent to the caller
 * as an error "errno.<NAME>" if no answer has been sent yet. A call whose
 * last reference goes without an answer is answered with bus.NoReply. */
typedef int (*bus_call_handler)(struct bus_message *call, void *userdata);

/* A name has `owner` (a unique name) now, or nobody owns it (NULL). */
typedef void (*bus_name_handler)(struct bus *bus, const char *name, const char *owner,
                                 void *userdata);

/* Something about the connection as a whole, see the function that sets it. */
typedef void (*bus_handler)(struct bus *bus, void *userdata);

/* An error of the bus that answers nothing one waits for: a publish that was
 * refused, a reply to a call that had ended. */
typedef void (*bus_error_handler)(struct bus *bus, const struct bus_error *error, void *userdata);

/* ------------------------------------------- connecting and lifetime */

/* Connects to `address`: "unix:/path" or a bare path, "unix:@abstract", "fd:N" (a
 * connected socket; taken over). NULL is $BUSD_ADDRESS, else the user bus at
 * $XDG_RUNTIME_DIR/busd/bus. Does not wait for the bus's greeting. The caller
 * owns *ret_bus.
 *
 * -ENOENT, -ECONNREFUSED: no bus there. -ENAMETOOLONG: the path is too long for a
 * socket. -EINVAL: not an address. -ENXIO: NULL given and nothing says which bus.
 * With fd:N also -EBADF, -ENOTSOCK, -EPROTOTYPE, -ENOTCONN; N stays the caller's on
 * failure. */
BUS_PUBLIC int bus_connect(struct bus **ret_bus, const char *address);

/* The same for the system bus: $BUSD_SYSTEM_ADDRESS, else /run/busd/bus. */
BUS_PUBLIC int bus_connect_system(struct bus **ret_bus);

/* The address that bus_connect() would use for `address` (NULL: the user bus), or
 * for the system bus. *ret_address is malloc'ed. Errors as for bus_connect(). */
BUS_PUBLIC int bus_default_address(bool system, char **ret_address);

/* A second owner of the connection. Returns its argument; NULL is let pass. */
BUS_PUBLIC struct bus *bus_ref(struct bus *bus);

/* Drops one owner; the last one frees the connection with all its slots that the
 * program did not keep. Output not yet written is lost: bus_flush() first, or use
 * bus_close(). Returns NULL; NULL is let pass. */
BUS_PUBLIC struct bus *bus_unref(struct bus *bus);

/* Writes what is still to be written (waiting at most one second), disconnects
 * and drops one owner. Pending calls end with bus.Disconnected by their
 * callbacks. Returns NULL; NULL is let pass. */
BUS_PUBLIC struct bus *bus_close(struct bus *bus);

/* Our own unique name, such as ":42"; NULL when the connection broke before the
 * greeting. Waits for the greeting if it has not come yet. Lives as long as the
 * connection. */
BUS_PUBLIC const char *bus_unique_name(struct bus *bus);

/* The bus's identity (32 hex digits, a new one each start of the daemon); as
 * above. */
BUS_PUBLIC const char *bus_id(struct bus *bus);

/* Whether the connection stands. Once lost it never comes back. */
BUS_PUBLIC bool bus_is_connected(const struct bus *bus);

/* Called once, from bus_process(), when the connection is lost, after the pending
 * calls have got their errors. Replaces the handler set before; NULL removes it. */
BUS_PUBLIC void bus_set_disconnect_handler(struct bus *bus, bus_handler handler, void *userdata);

/* Called from bus_process() with errors that answer nothing one waits for. */
BUS_PUBLIC void bus_set_error_handler(struct bus *bus, bus_error_handler handler, void *userdata);

/* Why the connection was lost, in the bus's own words if it said any. Borrowed;
 * never NULL; empty while connected. */
BUS_PUBLIC const struct bus_error *bus_disconnect_error(const struct bus *bus);

/* -------------------------------------------------------- event loop */

/* One file descriptor, to be watched for reading in any loop: when it is readable,
 * call bus_process(). It stands for the socket, our deadlines and our pending
 * output; there are no events or timeouts to ask for. Belongs to the connection.
 * Or -errno. */
BUS_PUBLIC int bus_get_fd(struct bus *bus);

/* Does what there is to do without waiting: reads once, runs the callbacks of what
 * has come, sees to deadlines, writes. Returns 1 if it did something (there may be
 * more), 0 if there was nothing, -ECONNRESET once the connection is lost and
 * everything has been delivered. */
BUS_PUBLIC int bus_process(struct bus *bus);

/* Waits until bus_process() has something to do, at most `timeout_ms` (UINT64_MAX:
 * for ever; 0: just looks). 1: there is something; 0: time is up; or -errno
 * (-EINTR: a signal came; -ECONNRESET: the connection is lost and everything has
 * been delivered). */
BUS_PUBLIC int bus_wait(struct bus *bus, uint64_t timeout_ms);

/* Processes and waits until bus_stop() (returns 0) or until the connection is lost
 * (-ECONNRESET). Goes on after signals. */
BUS_PUBLIC int bus_run(struct bus *bus);

/* Makes bus_run() return. To be called from a callback. */
BUS_PUBLIC void bus_stop(struct bus *bus);

/* Writes everything, waiting as long as it takes, at most `timeout_ms`. 0,
 * -ETIMEDOUT or -ECONNRESET. Runs no callbacks. */
BUS_PUBLIC int bus_flush(struct bus *bus, uint64_t timeout_ms);

/* Bounds the output not yet written: above `bytes` (default 4 MiB) what sends
 * returns -EAGAIN and sends nothing; blocking calls wait for room instead. A single
 * message is accepted whatever its size while nothing waits. Replies of errors and
 * what the library itself says are always accepted; in exchange nothing is read while
 * more than the limit waits. */
BUS_PUBLIC void bus_set_output_limit(struct bus *bus, size_t bytes);

/* Bytes not yet written. */
BUS_PUBLIC size_t bus_output_size(const struct bus *bus);

/* Called from bus_process() when, after an -EAGAIN, half of the limit is free
 * again. */
BUS_PUBLIC void bus_set_writable_handler(struct bus *bus, bus_handler handler, void *userdata);

/* ---------------------------------------------------------- messages */

/* For messages with more than a destination and a body. Builds a call to `to`
 * (a well-known or unique name, or "bus"), an event, or the answer to a call. The
 * caller owns *ret_message. -EINVAL: a name, method or topic that the grammar does
 * not allow. */
BUS_PUBLIC int bus_message_new_call(struct bus *bus, const char *to, const char *method,
                                    struct bus_message **ret_message);
BUS_PUBLIC int bus_message_new_event(struct bus *bus, const char *topic,
                                     struct bus_message **ret_message);
BUS_PUBLIC int bus_message_new_reply(struct bus_message *call, struct bus_message **ret_message);
BUS_PUBLIC int bus_message_new_error(struct bus_message *call, const char *name,
                                     const char *message, struct bus_message **ret_message);

/* The body: JSON text (copied, and checked: -EBADMSG if it is not one JSON value;
 * a newline between tokens is fine) or a json_t, borrowed or taken (taken on
 * failure too). Replaces a body set before. */
BUS_PUBLIC int bus_message_set_body_text(struct bus_message *message, const char *text,
                                         size_t size);
BUS_PUBLIC int bus_message_set_body(struct bus_message *message, const json_t *body);
BUS_PUBLIC int bus_message_take_body(struct bus_message *message, json_t *body);

/* Calls: the object within the service; the deadline in milliseconds
 * (BUS_TIMEOUT_NEVER: none). Both return -EINVAL for another type of message. */
BUS_PUBLIC int bus_message_set_path(struct bus_message *message, const char *path);
BUS_PUBLIC int bus_message_set_timeout(struct bus_message *message, uint64_t timeout_ms);

/* Events: for this connection alone, subscribed or not. */
BUS_PUBLIC int bus_message_set_to(struct bus_message *message, const char *to);

/* Any other top-level key, passed on untouched by the bus (tracing headers and the
 * like). `value` is JSON text. -EINVAL: a key of the protocol, or one with a quote,
 * a backslash or a control character; -EBADMSG: not a JSON value. */
BUS_PUBLIC int bus_message_set_header(struct bus_message *message, const char *key,
                                      const char *value);

/* Sends a message built as above that expects no answer: an event, a reply, an
 * error, a call without reply. Does not consume the reference; a message can be
 * sent once (-EALREADY). -EAGAIN: the output is full, nothing was sent, try again
 * from the writable handler. -EMSGSIZE: longer than the bus takes (message_bytes of
 * its greeting, which a first message of more than 64 KiB or with file descriptors waits
 * for). -ECONNRESET: not connected. All functions that send return these. */
BUS_PUBLIC int bus_send(struct bus_message *message);

/* Keeps a message. A kept message that was received holds on to the piece of the
 * read buffer (64 KiB or the message's own size) that it came in. Returns its
 * argument; NULL is let pass. */
BUS_PUBLIC struct bus_message *bus_message_ref(struct bus_message *message);
BUS_PUBLIC struct bus_message *bus_message_unref(struct bus_message *message); /* NULL */

/* The connection it belongs to. Borrowed. */
BUS_PUBLIC struct bus *bus_message_bus(const struct bus_message *message);

BUS_PUBLIC enum bus_message_type bus_message_type(const struct bus_message *message);

/* The parts of a received message. NULL when it has no such part; borrowed, alive
 * as long as the message. The sender is a unique name or "bus" and cannot be
 * forged. */
BUS_PUBLIC const char *bus_message_sender(struct bus_message *message);
BUS_PUBLIC const char *bus_message_to(struct bus_message *message);
BUS_PUBLIC const char *bus_message_topic(struct bus_message *message);
BUS_PUBLIC const char *bus_message_method(struct bus_message *message);
BUS_PUBLIC const char *bus_message_path(struct bus_message *message);
BUS_PUBLIC const char *bus_message_error_name(struct bus_message *message);
BUS_PUBLIC const char *bus_message_error_text(struct bus_message *message);

/* 0 when there is none. */
BUS_PUBLIC uint64_t bus_message_id(const struct bus_message *message);

/* The caller's deadline in milliseconds from when it called, 25 000 if it named none;
 * 0: none. */
BUS_PUBLIC uint64_t bus_message_timeout(const struct bus_message *message);

/* True for a last value delivered because of a subscription, not of a change. */
BUS_PUBLIC bool bus_message_is_retained(const struct bus_message *message);

/* True for a call whose caller wants no answer. */
BUS_PUBLIC bool bus_message_no_reply(const struct bus_message *message);

/* The body as JSON text, *ret_size bytes, not NUL-terminated; "null" if there is
 * none. Never parses. Borrowed, alive as long as the message. */
BUS_PUBLIC const char *bus_message_body_text(struct bus_message *message, size_t *ret_size);

/* The body as a tree, parsed at the first use. Borrowed, alive as long as the
 * message; json_incref() to keep it. NULL: out of memory, or a body that jansson
 * cannot hold (an integer beyond 64 bits, a NUL in a string). */
BUS_PUBLIC json_t *bus_message_body(struct bus_message *message);

/* Unpacks the body as json_unpack() does, with its format characters. 0 or -EINVAL
 * with *error (may be NULL) filled. */
BUS_PUBLIC int bus_message_unpack(struct bus_message *message, struct bus_error *error,
                                  const char *format, ...);

/* The value of a top-level key that the protocol does not know, as JSON text of
 * *ret_size bytes; NULL if there is none. Borrowed. */
BUS_PUBLIC const char *bus_message_header(struct bus_message *message, const char *key,
                                          size_t *ret_size);

/* The whole line as it was received, without its newline. Borrowed. */
BUS_PUBLIC const char *bus_message_line(struct bus_message *message, size_t *ret_size);

/* ------------------------------------------------ publish, subscribe */

/* Publishes an event. The body: JSON text (NULL: null) or a json_t, borrowed or
 * taken (taken on failure too). Writes are gathered: they go out with the next
 * bus_process() or bus_flush(), or when 64 KiB have come together.
 *
 * -EINVAL: not a topic; -EBADMSG: not JSON; -EAGAIN: the output is full;
 * -ECONNRESET. A refusal by the bus comes to the error handler. */
BUS_PUBLIC int bus_publish_text(struct bus *bus, const char *topic, const char *text, size_t size);
BUS_PUBLIC int bus_publish(struct bus *bus, const char *topic, const json_t *body);
BUS_PUBLIC int bus_publish_take(struct bus *bus, const char *topic, json_t *body);

/* Subscribes to a pattern: a topic in which `*` stands for one segment and a final
 * `#` for any number of them. `sender` (NULL: anybody) is a unique name, or a
 * well-known one: then whoever owns it when an event passes. Returns when the bus
 * has agreed, so that no later event is missed; last values come first, marked
 * bus_message_is_retained(). With ret_slot the caller owns the slot; with NULL the
 * subscription lives as long as the connection.
 *
 * An event that several subscriptions match is given to each of them. */
BUS_PUBLIC int bus_subscribe(struct bus *bus, const char *pattern, const char *sender,
                             bus_message_handler handler, void *userdata,
                             struct bus_slot **ret_slot, struct bus_error *error);

/* The same without waiting. A refusal is given to the handler as an error message
 * (BUS_MESSAGE_ERROR), after which the subscription is dead. */
BUS_PUBLIC int bus_subscribe_async(struct bus *bus, const char *pattern, const char *sender,
                                   bus_message_handler handler, void *userdata,
                                   struct bus_slot **ret_slot);

/* Cancels a registration: its handler is not called again. NULL is let pass.
 * Returns NULL. */
BUS_PUBLIC struct bus_slot *bus_slot_free(struct bus_slot *slot);

/* ------------------------------------------------------------- calls */

/* Calls a method and waits for the answer; other messages that come meanwhile are
 * kept, in order, for bus_process(). 0 with *ret_reply (may be NULL; the caller
 * owns it), or a negative errno with *error (may be NULL) filled: see the list
 * above for the bus's errors, -EREMOTEIO for a service's own. `timeout_ms` may be
 * BUS_TIMEOUT_DEFAULT or BUS_TIMEOUT_NEVER. */
BUS_PUBLIC int bus_call_text(struct bus *bus, const char *to, const char *method, const char *text,
                             size_t size, uint64_t timeout_ms, struct bus_error *error,
                             struct bus_message **ret_reply);
BUS_PUBLIC int bus_call(struct bus *bus, const char *to, const char *method, const json_t *body,
                        uint64_t timeout_ms, struct bus_error *error,
                        struct bus_message **ret_reply);
BUS_PUBLIC int bus_call_take(struct bus *bus, const char *to, const char *method, json_t *body,
                             uint64_t timeout_ms, struct bus_error *error,
                             struct bus_message **ret_reply);

/* The same with a message of bus_message_new_call(). */
BUS_PUBLIC int bus_call_message(struct bus_message *call, struct bus_error *error,
                                struct bus_message **ret_reply);

/* Calls without waiting: the handler gets the one answer, a reply or an error
 * (bus_message_type()); an error made on this side when the connection is lost.
 * Freeing the slot cancels the call, at the callee too. */
BUS_PUBLIC int bus_call_async(struct bus_message *call, bus_message_handler handler, void *userdata,
                              struct bus_slot **ret_slot);
BUS_PUBLIC int bus_call_text_async(struct bus *bus, const char *to, const char *method,
                                   const char *text, size_t size, uint64_t timeout_ms,
                                   bus_message_handler handler, void *userdata,
                                   struct bus_slot **ret_slot);

/* Calls and wants no answer, and none of the bus's errors. */
BUS_PUBLIC int bus_call_no_reply(struct bus *bus, const char *to, const char *method,
                                 const char *text, size_t size);

/* The errno (negative) of an error message, with *error (may be NULL) filled; 0 for
 * any other message. */
BUS_PUBLIC int bus_message_get_error(struct bus_message *message, struct bus_error *error);

/* ---------------------------------------------------------- services */

/* A row of a service's table of methods; the table ends with a row whose name is
 * NULL and must live as long as the service. Every service also answers "Ping" and
 * "Introspect" unless its table has rows of these names, and refuses unknown
 * methods. */
struct bus_method {
    const char *name;
    bus_call_handler handler;
    uint64_t flags;          /* 0: none are defined yet */
    const char *description; /* one sentence, for Introspect; or NULL */
};

#define BUS_METHOD_END                                                                             \
    {                                                                                              \
        NULL, NULL, 0, NULL                                                                        \
    }

/* Offers `methods` under the well-known name `name`: takes calls to it and requests
 * the name, and waits for the bus's word. With `name` NULL: calls to our unique
 * name, and to any name that has no service of its own.
 *
 * -EEXIST: the name is taken (busd never queues us unasked). Freeing the slot
 * releases the name. */
BUS_PUBLIC int bus_serve(struct bus *bus, const char *name, const struct bus_method *methods,
                         void *userdata, struct bus_slot **ret_slot, struct bus_error *error);

/* The description that Introspect sends along for the service of this slot: one
 * sentence about the whole of it. Borrowed, must live as long as the service. */
BUS_PUBLIC void bus_slot_set_description(struct bus_slot *slot, const char *description);

/* Answers a call. `call` may be answered once (-EALREADY). 0 also when the caller
 * wanted no reply or has gone: there is nothing to be done about it. The last form
 * gives fds and headers along. */
BUS_PUBLIC int bus_reply_text(struct bus_message *call, const char *text, size_t size);
BUS_PUBLIC int bus_reply(struct bus_message *call, const json_t *body);
BUS_PUBLIC int bus_reply_take(struct bus_message *call, json_t *body);
BUS_PUBLIC int bus_reply_error(struct bus_message *call, const char *name, const char *format, ...)
    BUS_PRINTF(3, 4);

/* Called when the call has been cancelled (by its caller, its deadline or the
 * caller's death) before it was answered. At most one per call; the call must be
 * kept by bus_message_ref() as long as this is wanted. */
BUS_PUBLIC int bus_message_set_cancel_handler(struct bus_message *call, bus_message_handler handler,
                                              void *userdata);

/* Whether nobody waits for the answer any more. */
BUS_PUBLIC bool bus_message_is_cancelled(const struct bus_message *call);

/* ------------------------------------------------------------- names */

enum bus_name_flags {
    BUS_NAME_QUEUE = 1,            /* wait in line if it is taken */
    BUS_NAME_REPLACE = 2,          /* take it from an owner who allows that */
    BUS_NAME_ALLOW_REPLACEMENT = 4 /* allow that */
};

/* Requests a name and waits. 1: we own it; 0: we stand in its queue
 * (BUS_NAME_QUEUE); -EEXIST: it is taken. */
BUS_PUBLIC int bus_request_name(struct bus *bus, const char *name, unsigned flags,
                                struct bus_error *error);

/* Gives a name (or the place in its queue) back and waits. -EADDRNOTAVAIL: not ours. */
BUS_PUBLIC int bus_release_name(struct bus *bus, const char *name, struct bus_error *error);

/* Tells the owner of a name now and at every change, without a gap. The handler is
 * called at least once. */
BUS_PUBLIC int bus_watch_name(struct bus *bus, const char *name, bus_name_handler handler,
                              void *userdata, struct bus_slot **ret_slot, struct bus_error *error);

/* --------------------------------------------------- file descriptors */

/* Adds a file descriptor to a message being built: takes it over (closed on failure
 * too), or a duplicate of it. At most 253 fit (-E2BIG); the bus may allow fewer. */
BUS_PUBLIC int bus_message_push_fd(struct bus_message *message, int fd);
BUS_PUBLIC int bus_message_push_dup_fd(struct bus_message *message, int fd);

/* How many a message has. */
BUS_PUBLIC unsigned bus_message_fd_count(const struct bus_message *message);

/* The file descriptor at `index`: borrowed (it stays the message's and is closed
 * with it), or taken (the caller closes it; taken once: -ENODATA after that).
 * -ENODATA: there is none. What is passed can be anything: check its type, seals
 * and access mode before you trust it. */
BUS_PUBLIC int bus_message_peek_fd(struct bus_message *message, unsigned index);
BUS_PUBLIC int bus_message_take_fd(struct bus_message *message, unsigned index);

/* ----------------------------------------------------------- grammar */

/* Whether a text may be used as a well-known name, a topic, a pattern or a method.
 * NULL if so, else a static sentence that says what is wrong, with the first wrong
 * byte in *ret_offset (may be NULL). */
BUS_PUBLIC const char *bus_check_name(const char *text, size_t *ret_offset);
BUS_PUBLIC const char *bus_check_topic(const char *text, size_t *ret_offset);
BUS_PUBLIC const char *bus_check_pattern(const char *text, size_t *ret_offset);
BUS_PUBLIC const char *bus_check_method(const char *text, size_t *ret_offset);

/* Whether a text is one JSON value as the bus takes it. Returns as above. */
BUS_PUBLIC const char *bus_check_json(const char *text, size_t size, size_t *ret_offset);

#ifdef __cplusplus
}
#endif

#endif
