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
 * loop, messages, publish and subscribe, calls, services, properties, names, direct
 * channels, file descriptors.
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
#include <sys/types.h>

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
#define BUS_ERROR_STORAGE_FAILED       "bus.StorageFailed"      /* -EIO */
#define BUS_ERROR_DISCONNECTED         "bus.Disconnected"       /* -ECONNRESET */

/* ----------------------------------------------------------------- types */

/* A connection to a bus. */
struct bus;

/* A message, received or being built. Reference counted. */
struct bus_message;

/* A registration (subscription, pending call, service, name watch) that can be
 * cancelled by freeing its slot. */
struct bus_slot;

/* One who publishes in bulk. */
struct bus_publisher;

/* The replies of a call that asks for several, one after the other. */
struct bus_stream;

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

/* Somebody wants to set a property of a service to the JSON text[0 … size), which is borrowed
 * as is `call`, the call that asks for it. See struct bus_property. */
typedef int (*bus_property_handler)(struct bus_message *call, const char *property,
                                    const char *text, size_t size, void *userdata);

/* A name has `owner` (a unique name) now, of several the first, or nobody owns it
 * (NULL). */
typedef void (*bus_name_handler)(struct bus *bus, const char *name, const char *owner,
                                 void *userdata);

/* So many connections listen to `topic` now. */
typedef void (*bus_count_handler)(struct bus *bus, const char *topic, uint64_t count,
                                  void *userdata);

/* Something about the connection as a whole, see the function that sets it. */
typedef void (*bus_handler)(struct bus *bus, void *userdata);

/* There is room again for a publisher, see bus_publisher_set_ready_handler(). */
typedef void (*bus_publisher_handler)(struct bus_publisher *publisher, void *userdata);

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

/* Bytes not yet written, big bodies included. */
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

/* Big bodies. A body of more than `bytes` (default 256 KiB; 0: every one; UINT64_MAX:
 * none) does not go in the message's line but as a memfd, sealed so that nobody can
 * change it any more. The bus passes it on unseen, to any number of receivers, at no
 * more cost than an empty message, and message_bytes does not hold for it. All functions
 * that take a body do so by themselves, and those that give one back read it; nobody
 * sees that fd among those of the message. Where the bus takes no fd more with a message
 * (fds_per_message), the body goes in the line whatever its size (-EMSGSIZE if it is too
 * long); bodies for the bus itself and last values (bus_message_set_retain()) always do. The memory
 * is accounted to the process that writes it. */
BUS_PUBLIC void bus_set_memfd_threshold(struct bus *bus, uint64_t bytes);

/* A big body without a copy: `size` bytes of shared memory, to be filled with JSON text
 * at *ret_memory; then bus_message_seal_body() takes the first `size` of them (all of
 * which must have been written; at most as many as were mapped) as the body, from when
 * on *ret_memory is no more. A message in between cannot be sent (-EBUSY). libbus does not
 * look at the text: see bus_message_body_text() for what that means to receivers.
 *
 * -EINVAL: not a message being built, no bytes or too many; or -errno of memfd_create(2),
 * fallocate(2) and mmap(2), for want of memory or fds. */
BUS_PUBLIC int bus_message_map_body(struct bus_message *message, size_t size, void **ret_memory);
BUS_PUBLIC int bus_message_seal_body(struct bus_message *message, size_t size);

/* The same with a memfd that the program has made, or that came with a message (see
 * bus_message_body_fd()); borrowed. It must have the seals F_SEAL_SEAL, F_SEAL_SHRINK,
 * F_SEAL_GROW and F_SEAL_WRITE (-EPERM), and at least one byte and no holes (-EINVAL). */
BUS_PUBLIC int bus_message_set_body_fd(struct bus_message *message, int fd);

/* Calls: the object within the service; the deadline in milliseconds
 * (BUS_TIMEOUT_NEVER: none). Both return -EINVAL for another type of message. */
BUS_PUBLIC int bus_message_set_path(struct bus_message *message, const char *path);
BUS_PUBLIC int bus_message_set_timeout(struct bus_message *message, uint64_t timeout_ms);

/* Calls: several replies are welcome (`more`), see bus_stream_open() and
 * bus_call_async(). Replies: another follows; bus_send() then is bus_reply_more(). -EINVAL
 * for another type of message. */
BUS_PUBLIC int bus_message_set_more(struct bus_message *message, bool more);

/* Events: for this connection alone, subscribed or not. */
BUS_PUBLIC int bus_message_set_to(struct bus_message *message, const char *to);

/* Events: the body becomes the topic's last value, which whoever subscribes later gets
 * first. A null body ends the value there was. It stays until … */
enum bus_retain {
    BUS_RETAIN_NO = 0,
    BUS_RETAIN_CONNECTION = 1, /* … its publisher disconnects */
    BUS_RETAIN_BUS = 2,        /* … the bus ends */
    BUS_RETAIN_DISK = 3        /* … somebody ends it, in this life of the bus or another */
};

/* … or is over, `ttl_ms` after it was published (1 to 2^53-1; only with a value that is
 * retained). Then a null event says so. Neither goes with bus_message_set_to() or with
 * file descriptors: the bus refuses that with bus.InvalidMessage, and with
 * bus.LimitExceeded what is more than one may have retained. An event whose value cannot be
 * written to the disk has been delivered, and its value stays until the bus ends: the bus
 * says that with bus.StorageFailed. Both return -EINVAL for
 * another type of message or a value that is none. */
BUS_PUBLIC int bus_message_set_retain(struct bus_message *message, enum bus_retain level);
BUS_PUBLIC int bus_message_set_ttl(struct bus_message *message, uint64_t ttl_ms);

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
BUS_PUBLIC const char *bus_message_group(struct bus_message *message);
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

/* How long the event's body stays its topic's last value. */
BUS_PUBLIC enum bus_retain bus_message_retain(const struct bus_message *message);

/* True for a call whose caller wants no answer. */
BUS_PUBLIC bool bus_message_no_reply(const struct bus_message *message);

/* True for a reply after which the call goes on: another one, or an error, follows. */
BUS_PUBLIC bool bus_message_has_more(const struct bus_message *message);

/* True for a call that may have several replies. */
BUS_PUBLIC bool bus_message_wants_more(const struct bus_message *message);

/* The body as JSON text, *ret_size bytes, not NUL-terminated; "null" if there is
 * none. Never parses. Borrowed, alive as long as the message.
 *
 * A body in the message's line has been checked by the bus. A big one (see
 * bus_set_memfd_threshold()) has been looked at by nobody: it can be read to its end and
 * will never change, but whether it is JSON is for the receiver to find out, by
 * bus_message_body(), bus_message_unpack() or bus_check_json(), which all take their time
 * with its size. It is mapped at the first use: NULL and 0 if there is no memory for
 * that. (A message whose body is no sealed memfd, or lacks some of its pages, is not
 * handed out: a call is answered with bus.InvalidArguments, an answer becomes the error
 * bus.InvalidMessage, an event goes to the error handler as such.) */
BUS_PUBLIC const char *bus_message_body_text(struct bus_message *message, size_t *ret_size);

/* The body as a tree, parsed at the first use. Borrowed, alive as long as the
 * message; json_incref() to keep it. NULL: out of memory, a body that jansson
 * cannot hold (an integer beyond 64 bits, a NUL in a string), or a big one that is not
 * JSON. */
BUS_PUBLIC json_t *bus_message_body(struct bus_message *message);

/* The sealed memfd that a big body lies in, for bus_message_set_body_fd() or to be mapped
 * by other means; borrowed, the message's. -ENODATA: the body is in the line, or there is
 * none, or the message has been sent. */
BUS_PUBLIC int bus_message_body_fd(const struct bus_message *message);

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

/* What became of an event: how many connections were to have it, for how many of them it
 * was queued, and for how many it was dropped, because they had left too much unread. */
struct bus_receipt {
    uint64_t matched;
    uint64_t queued;
    uint64_t dropped;
};

/* Publishes an event of bus_message_new_event() and waits for its receipt, which comes when
 * it has been queued for everybody, and nobody it was queued for has too much to read
 * (queue_soft_bytes). 0 with *ret_receipt (may be NULL), or a negative errno with *error
 * (may be NULL) filled; -ETIMEDOUT: the event may have been published all the same.
 * `timeout_ms` may be BUS_TIMEOUT_DEFAULT or BUS_TIMEOUT_NEVER. */
BUS_PUBLIC int bus_publish_message(struct bus_message *event, uint64_t timeout_ms,
                                   struct bus_error *error, struct bus_receipt *ret_receipt);

/* The same without waiting: the handler gets the receipt (bus_message_get_receipt()) or an
 * error, whenever that is. Freeing the slot takes nothing back. */
BUS_PUBLIC int bus_publish_async(struct bus_message *event, bus_message_handler handler,
                                 void *userdata, struct bus_slot **ret_slot);

/* What a receipt says. 0; the errno (negative) of an error message; -EPROTO for any other
 * message. */
BUS_PUBLIC int bus_message_get_receipt(struct bus_message *message,
                                       struct bus_receipt *ret_receipt);

/* Publishes many events at the pace of the slowest of those who get them, so that none is
 * dropped however slowly they read. At most `window` events (0: the default, 1024, or 256
 * exact ones) or 256 KiB are under way, of which the bus has not said that nobody has too
 * much to read before them. `flags`: 0, or BUS_PUBLISHER_EXACT. The caller owns
 * *ret_publisher and frees it, also after the connection's end.
 *
 * That somebody whom another publisher sends too much loses something, it cannot prevent. */
BUS_PUBLIC int bus_publisher_new(struct bus *bus, unsigned window, unsigned flags,
                                 struct bus_publisher **ret_publisher);

/* Without waiting for receipts, which then nobody gets. Returns NULL; NULL is let pass. */
BUS_PUBLIC struct bus_publisher *bus_publisher_free(struct bus_publisher *publisher);

enum bus_publisher_flags {
    BUS_PUBLISHER_EXACT = 1 /* a receipt for each event, where some would do */
};

/* Sends an event: as bus_publish_text(), or a message of bus_message_new_event() as
 * bus_send() does. -EAGAIN: the window (or the output) is full and nothing was sent;
 * bus_publisher_wait(), or wait for the ready handler. Once an event has been refused by the
 * bus, every function of its publisher returns the errno of that. */
BUS_PUBLIC int bus_publisher_send_text(struct bus_publisher *publisher, const char *topic,
                                       const char *text, size_t size);
BUS_PUBLIC int bus_publisher_send(struct bus_publisher *publisher, struct bus_message *event);

/* Waits until half of the window is free, at most `timeout_ms` (UINT64_MAX: for ever). 0,
 * -ETIMEDOUT, -ECONNRESET. Runs no callbacks. */
BUS_PUBLIC int bus_publisher_wait(struct bus_publisher *publisher, uint64_t timeout_ms);

/* Called from bus_process() when, after an -EAGAIN, half of the window is free again, or an
 * event has been refused. It may free the publisher. Replaces the handler set before; NULL
 * removes it. */
BUS_PUBLIC void bus_publisher_set_ready_handler(struct bus_publisher *publisher,
                                                bus_publisher_handler handler, void *userdata);

/* Waits until the bus has queued all that was sent, and has said so. As bus_publisher_wait();
 * *error (may be NULL) is filled on failure. More can be sent then. */
BUS_PUBLIC int bus_publisher_finish(struct bus_publisher *publisher, uint64_t timeout_ms,
                                    struct bus_error *error);

/* The sum of the receipts that have come: of all events if BUS_PUBLISHER_EXACT, else of some
 * of them. */
BUS_PUBLIC void bus_publisher_get_receipt(const struct bus_publisher *publisher,
                                          struct bus_receipt *ret_receipt);

/* By those receipts, for how many connections an event was queued at the least; UINT64_MAX:
 * none has come. */
BUS_PUBLIC uint64_t bus_publisher_get_fewest(const struct bus_publisher *publisher);

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

/* What happens with the last values that there are when a subscription begins. */
enum bus_retained {
    BUS_RETAINED_FIRST = 0, /* they come first, then what happens from then on */
    BUS_RETAINED_NO = 1,    /* none of them comes, only what happens from then on */
    BUS_RETAINED_ONLY = 2   /* they come, and nothing more: the subscription ends with the last */
};

/* What becomes of the events of a subscription that is not read fast enough. If several
 * subscriptions of a connection match a topic, the strongest promise holds for all of them:
 * disconnect before drop before latest. */
enum bus_overflow {
    BUS_OVERFLOW_DROP = 0,      /* past the hard limit they are dropped, with a notice: an event
                                 * bus.overflow, for whoever has subscribed to that */
    BUS_OVERFLOW_LATEST = 1,    /* and before that, of what waits unsent only the newest event of
                                 * each topic is kept. Who keeps up gets every one */
    BUS_OVERFLOW_DISCONNECT = 2 /* past the hard limit the connection is ended */
};

/* What a subscription can be told. Initialise with {0}, which is what bus_subscribe()
 * does; fields may be added. */
struct bus_subscription_options {
    const char *sender; /* as for bus_subscribe(); NULL: anybody */
    enum bus_retained retained;
    enum bus_overflow overflow;
    const char *group; /* a queue group to be a member of; NULL: none */
};

/* The members of a queue group share the events that they have subscribed to: each event
 * goes to one of them, in turn, and bus_message_group() says for which group it is. One
 * that leaves much unread is passed over, and what has not been written yet to one that
 * goes, another one gets. Members are connections of the same user that have subscribed
 * with the same group name; groups of different users have nothing to do with each other.
 * What a connection subscribes to without a group it gets besides, as ever. A group gets
 * no last values, and knows no `overflow` but BUS_OVERFLOW_DROP (else -EINVAL).
 *
 * Subscribes, with more to say; `options` (NULL: the defaults) is borrowed. The first one
 * waits and returns how many last values the handler will get. -EINVAL: an option that is
 * none. Otherwise as bus_subscribe() and bus_subscribe_async(). */
BUS_PUBLIC int bus_subscribe_with(struct bus *bus, const char *pattern,
                                  const struct bus_subscription_options *options,
                                  bus_message_handler handler, void *userdata,
                                  struct bus_slot **ret_slot, struct bus_error *error);
BUS_PUBLIC int bus_subscribe_with_async(struct bus *bus, const char *pattern,
                                        const struct bus_subscription_options *options,
                                        bus_message_handler handler, void *userdata,
                                        struct bus_slot **ret_slot);

/* The last value of a topic, without subscribing. Waits for it. 1 with *ret_value, which the
 * caller owns; 0: it has none; or a negative errno with *error (may be NULL) filled. For
 * those that match a pattern: bus_subscribe_with() and BUS_RETAINED_ONLY. */
BUS_PUBLIC int bus_get_retained(struct bus *bus, const char *topic, struct bus_error *error,
                                struct bus_message **ret_value);

/* Tells how many connections would get an event of the topic, now and each time that this
 * is another number: for publishers that can sleep while it is 0. The topic has at most
 * 239 bytes. */
BUS_PUBLIC int bus_watch_subscribers(struct bus *bus, const char *topic, bus_count_handler handler,
                                     void *userdata, struct bus_slot **ret_slot,
                                     struct bus_error *error);

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

/* The same with a message of bus_message_new_call(). -EINVAL for one that asks for several
 * replies. */
BUS_PUBLIC int bus_call_message(struct bus_message *call, struct bus_error *error,
                                struct bus_message **ret_reply);

/* Calls without waiting: the handler gets the one answer, a reply or an error
 * (bus_message_type()); an error made on this side when the connection is lost. Of a
 * call with bus_message_set_more() it gets every reply; the last one, or the error, is the
 * one without bus_message_has_more(). The timeout is counted from one reply to the next.
 * Freeing the slot cancels the call, at the callee too. */
BUS_PUBLIC int bus_call_async(struct bus_message *call, bus_message_handler handler, void *userdata,
                              struct bus_slot **ret_slot);
BUS_PUBLIC int bus_call_text_async(struct bus *bus, const char *to, const char *method,
                                   const char *text, size_t size, uint64_t timeout_ms,
                                   bus_message_handler handler, void *userdata,
                                   struct bus_slot **ret_slot);

/* Calls with a message of bus_message_new_call() and bus_message_set_more(), for
 * iterating over the replies:
 *
 *     while ((r = bus_stream_next(stream, &message, &error)) > 0)
 *         ... bus_message_unref(message);
 *
 * Waits for nothing but room in the output. *ret_stream is to be closed. While 256 replies
 * (or 1 MiB) wait here to be taken nothing more is read from the connection, so that the
 * service is told to pause. That holds up all other messages of the connection as well:
 * give an iteration that takes its time a connection of its own. What waits for something
 * on this connection (a call, another stream) reads on; replies that come meanwhile are
 * kept, up to 64 MiB, beyond which the stream ends with -EDQUOT. Errors as for bus_call_message(),
 * and -EINVAL: the call does not ask for several replies. */
BUS_PUBLIC int bus_stream_open(struct bus_message *call, struct bus_stream **ret_stream,
                               struct bus_error *error);

/* Waits for the next reply, at most for the call's timeout. 1 with *ret_message (may be
 * NULL; the caller owns it): there may be more; 0 with the last reply; or a negative errno
 * with *error (may be NULL) filled: the error that has ended the call, as for
 * bus_call(). After the end it returns the same again. */
BUS_PUBLIC int bus_stream_next(struct bus_stream *stream, struct bus_message **ret_message,
                               struct bus_error *error);

/* Frees it with the replies that have not been taken; cancels the call, at the callee too,
 * if it has not ended. May outlive the connection. Returns NULL; NULL is let pass. */
BUS_PUBLIC struct bus_stream *bus_stream_close(struct bus_stream *stream);

/* Calls and wants no answer, and none of the bus's errors. */
BUS_PUBLIC int bus_call_no_reply(struct bus *bus, const char *to, const char *method,
                                 const char *text, size_t size);

/* The errno (negative) of an error message, with *error (may be NULL) filled; 0 for
 * any other message. */
BUS_PUBLIC int bus_message_get_error(struct bus_message *message, struct bus_error *error);

/* ---------------------------------------------------------- services */

enum bus_method_flags {
    /* Answers with several replies if the caller asks for them. Introspect says so. A caller
     * that does not ask is let in all the same: see bus_message_wants_more(). */
    BUS_METHOD_MORE = 1
};

/* A row of a service's table of methods; the table ends with a row whose name is
 * NULL and must live as long as the service. Every service also answers "Ping" and
 * "Introspect" unless its table has rows of these names, and refuses unknown
 * methods. */
struct bus_method {
    const char *name;
    bus_call_handler handler;
    uint64_t flags;          /* of enum bus_method_flags */
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

struct bus_property;

/* What a service can be told. Initialise with {0}, which is what bus_serve() does; fields
 * may be added. */
struct bus_service_options {
    unsigned name_flags; /* enum bus_name_flags, for the request of the name */
    unsigned channels; /* direct channels that it takes at once, see bus_channel_open(); 0: none */
    bus_handler channel_opened; /* one has been opened, the bus_handler's `bus`; or NULL */
    const struct bus_property *properties; /* ends with BUS_PROPERTY_END; NULL: none */
};

/* Serves, with more to say; `options` (NULL: the defaults) is borrowed. Otherwise as
 * bus_serve(). With BUS_NAME_SHARED each owner of the name gets a part of the calls to
 * it; with BUS_NAME_QUEUE they come once the name is ours. */
BUS_PUBLIC int bus_serve_with(struct bus *bus, const char *name,
                              const struct bus_service_options *options,
                              const struct bus_method *methods, void *userdata,
                              struct bus_slot **ret_slot, struct bus_error *error);

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

/* Sends one of several replies to a call that asks for them; another, or the final answer
 * by one of the functions above, has to follow. To give fds and headers along use
 * bus_message_new_reply() and bus_message_set_more().
 *
 * -EAGAIN: not now, and nothing was sent: the caller does not read as fast, or what has
 * been sent must first have gone out. Go on when the ready handler is called. -ECANCELED:
 * nobody listens any more. -EINVAL: the call does not ask for several replies. -EALREADY:
 * it has been answered. Who goes on against the bus's word loses the call. */
BUS_PUBLIC int bus_reply_more_text(struct bus_message *call, const char *text, size_t size);
BUS_PUBLIC int bus_reply_more(struct bus_message *call, const json_t *body);
BUS_PUBLIC int bus_reply_more_take(struct bus_message *call, json_t *body);

/* Called from bus_process() when, after an -EAGAIN, the next reply can be sent. At most
 * one per call; the call must be kept by bus_message_ref() as long as this is wanted.
 * -EINVAL: the call does not ask for several replies. */
BUS_PUBLIC int bus_message_set_ready_handler(struct bus_message *call, bus_message_handler handler,
                                             void *userdata);

/* Called when the call has been cancelled (by its caller, its deadline or the
 * caller's death, or for the bus's limits) before it was answered. At most one per call; the call
 * must be kept by bus_message_ref() as long as this is wanted. */
BUS_PUBLIC int bus_message_set_cancel_handler(struct bus_message *call, bus_message_handler handler,
                                              void *userdata);

/* Whether nobody waits for the answer any more: for services that work long or stream. */
BUS_PUBLIC bool bus_message_is_cancelled(const struct bus_message *call);

/* -------------------------------------------------------- properties */

/* The property `level` of the service org.example.Lamp is, by convention, the last value of
 * the topic org.example.Lamp.level (see bus_message_set_retain(), with BUS_RETAIN_CONNECTION),
 * which nobody but the owner of the name may publish. To read it and to watch it is to
 * subscribe to that topic: the value comes first, then every change, and none is missed in
 * between. A value of null is no value. */

enum bus_property_flags {
    BUS_PROPERTY_CONSTANT = 1 /* once it has a value it keeps that; no `set` then */
};

/* A row of a service's table of properties, bus_service_options.properties; the table ends
 * with a row whose name is NULL and must live as long as the service. The values are
 * published as soon as the name is ours and end with the service's slot or its connection.
 * A service with properties answers "Set" with {"property": name, "value": any}, unless its
 * table of methods has a row of that name; not on a direct channel. "Introspect" lists them.
 *
 * `set` is asked about each value that somebody wants to set. It returns 0: accepted, the
 * value is published and then the call is answered with {} (if the handler has set the
 * property itself, with bus_set_property(), to what it has made of the value, then that
 * stands); a negative errno, or it has answered with bus_reply_error(): refused, and nothing
 * is published; or 1: it has kept the call with bus_message_ref() and will set the property
 * and answer later. Integers beyond 64 bits cannot be set. */
struct bus_property {
    const char *name;         /* one segment of a topic: no dots */
    uint64_t flags;           /* of enum bus_property_flags */
    bus_property_handler set; /* NULL: read-only, the service alone changes it */
    const char *initial;      /* JSON text; NULL: null */
    const char *description;  /* one sentence, for Introspect; or NULL */
};

#define BUS_PROPERTY_END                                                                           \
    {                                                                                              \
        NULL, 0, NULL, NULL, NULL                                                                  \
    }

/* bus_serve_with() returns -EINVAL for a wrong table, for one without a name to go with it or
 * with BUS_NAME_SHARED, and -EBADMSG for an initial value that is no JSON. Where the name can
 * come and go (BUS_NAME_QUEUE, BUS_NAME_ALLOW_REPLACEMENT) the values are published, anew,
 * whenever it comes. */

/* The service says that a property of its own has another value: JSON text (NULL: null) or a
 * json_t, borrowed or taken (taken on failure too). `slot` is that of bus_serve_with().
 * Publishes it; a value whose text is that of the one before is not published again.
 *
 * -EINVAL: no such property, or not the slot of a service; -EBADMSG: not JSON; -EPERM: it is
 * constant and has a value; or as for bus_publish(), -EAGAIN included: then nothing has
 * changed. */
BUS_PUBLIC int bus_set_property_text(struct bus_slot *slot, const char *property, const char *text,
                                     size_t size);
BUS_PUBLIC int bus_set_property(struct bus_slot *slot, const char *property, const json_t *value);
BUS_PUBLIC int bus_set_property_take(struct bus_slot *slot, const char *property, json_t *value);

/* The value of a property of the service `name`, and waits for it. 1 with *ret_value, whose
 * body it is and which the caller owns; 0: there is none, or nobody has the name; or a
 * negative errno with *error (may be NULL) filled, as for bus_get_retained(). */
BUS_PUBLIC int bus_property_get(struct bus *bus, const char *name, const char *property,
                                struct bus_error *error, struct bus_message **ret_value);

/* Asks the service to set one, by its method Set, and waits: after a 0 whoever asks gets the
 * new value. `text` is JSON (NULL: null; -EBADMSG if not). -EACCES: it is read-only or
 * constant; -EINVAL: there is no such property; -EOPNOTSUPP: the service has none; and what
 * else bus_call() returns, with *error (may be NULL) filled. */
BUS_PUBLIC int bus_property_set_text(struct bus *bus, const char *name, const char *property,
                                     const char *text, size_t size, uint64_t timeout_ms,
                                     struct bus_error *error);

/* Gives the handler the value of a property (NULL: of all that the service has, and its other
 * events directly below its name), if there is one, and then every change, of whoever owns the
 * name. Otherwise as bus_subscribe(). When the service's connection goes, the bus ends its
 * values with null events. */
BUS_PUBLIC int bus_property_watch(struct bus *bus, const char *name, const char *property,
                                  bus_message_handler handler, void *userdata,
                                  struct bus_slot **ret_slot, struct bus_error *error);

/* ------------------------------------------------------------- names */

enum bus_name_flags {
    BUS_NAME_QUEUE = 1,             /* wait in line if it is taken */
    BUS_NAME_REPLACE = 2,           /* take it from an owner who allows that */
    BUS_NAME_ALLOW_REPLACEMENT = 4, /* allow that */
    BUS_NAME_SHARED = 8             /* own it together with all who ask for it so */
};

/* Requests a name and waits. 1: we own it; 0: we stand in its queue
 * (BUS_NAME_QUEUE); -EEXIST: it is taken.
 *
 * Calls to a name with several owners go round them, one to each in turn; one that
 * leaves much unread is passed over while others do not. So what an owner remembers
 * from one call to the next, the owner who gets the next one does not know. */
BUS_PUBLIC int bus_request_name(struct bus *bus, const char *name, unsigned flags,
                                struct bus_error *error);

/* Gives a name (or the place in its queue) back and waits. -EADDRNOTAVAIL: not ours. */
BUS_PUBLIC int bus_release_name(struct bus *bus, const char *name, struct bus_error *error);

/* Tells the owner of a name now and at every change, without a gap; of several owners
 * the first, who stays it until it goes. The handler is called at least once. */
BUS_PUBLIC int bus_watch_name(struct bus *bus, const char *name, bus_name_handler handler,
                              void *userdata, struct bus_slot **ret_slot, struct bus_error *error);

/* Who somebody on the bus is, by the kernel's word from when it connected. */
struct bus_credentials {
    pid_t pid; /* 0: in a pid namespace that the bus does not see */
    uid_t uid;
    gid_t gid;
    int pidfd; /* of that very process, whoever has its pid later; -1: the kernel has none */
};

/* Asks the bus, and waits. `name` is a unique or a well-known one. *ret_credentials is
 * filled on success, its pidfd the caller's to close. -ENXIO: there is nobody of that name
 * (any more: a unique name is never used again). */
BUS_PUBLIC int bus_get_credentials(struct bus *bus, const char *name,
                                   struct bus_credentials *ret_credentials,
                                   struct bus_error *error);

/* --------------------------------------------------- direct channels */

/* Opens a direct channel to the service `name`: a socket straight to its process, so that
 * calls take half as many hops. 1: *ret_channel is a `struct bus` of its own, with the
 * whole interface, to be processed like one (bus_get_fd(), bus_process(), …); 0: the service
 * offers none, has no more, or the policy allows no call of OpenChannel to it: then
 * *ret_channel is `bus` itself once more, and *error (may be NULL) says why. Either way
 * bus_call(*ret_channel, name, …) does what is wanted, and bus_channel_close() ends it.
 * Waits, at most `timeout_ms`, for the service. Errors as for a call, -EINVAL if `bus` is a
 * channel.
 *
 * What is different on a channel:
 * - The bus checks its policy once, as for a call of the service's method OpenChannel:
 *   whoever may call that may call everything of the service, for as long as the channel
 *   stands. A rule that forbids any method of the service forbids OpenChannel too, if no
 *   rule before it allows just that.
 * - Monitors do not see what passes.
 * - Calls can be made to `name` only, and from the service to bus_channel_peer(), by its
 *   methods without a name (bus_serve() with NULL); what else there is, the bus and its
 *   names included, is -ENXIO. Deadlines and cancelling are as ever.
 * - Events go to the other side alone, to those of its subscriptions to its end of the
 *   channel that match; bus_subscribe() asks nobody and is at once. What the service
 *   publishes on the bus does not come by the channel.
 * - Nobody checks the other side's messages but this library. One that sends what is no
 *   message, or breaks a limit, loses the channel; bus_disconnect_error() says why.
 * - It ends with either side, and with the service's slot; calls that wait end with
 *   bus.Disconnected, the calls that have come are cancelled. */
BUS_PUBLIC int bus_channel_open(struct bus *bus, const char *name, uint64_t timeout_ms,
                                struct bus **ret_channel, struct bus_error *error);

/* Ends what bus_channel_open() has given: a channel as bus_close() does; a connection stays
 * as it is, with one owner less. Returns NULL; NULL is let pass. */
BUS_PUBLIC struct bus *bus_channel_close(struct bus *channel);

/* As bus_service_options.channels: enough for most. */
#define BUS_CHANNELS_DEFAULT 64

/* The service's side. With bus_service_options.channels it takes so many channels at once,
 * and answers their calls like any other, from the bus_process() of the connection that it
 * serves on; each gets its turn. bus_message_bus() of such a call is the channel; publish
 * on it to send events to this client alone. `channel_opened` is told of each new one, with
 * the service's userdata: to subscribe to what comes on it, or to set its handlers. The
 * channel is borrowed: bus_ref() keeps it, bus_close(bus_ref(channel)) ends it. For its
 * part of the loop (bus_get_fd(), bus_process(), bus_wait(), bus_run()) stands that of the
 * connection. */

/* The unique name on the bus of who is at the other end; NULL if `bus` is no channel.
 * Borrowed, as long as the channel. */
BUS_PUBLIC const char *bus_channel_peer(const struct bus *bus);

/* Who that is; NULL if `bus` is no channel. Borrowed, its pidfd too. */
BUS_PUBLIC const struct bus_credentials *bus_channel_credentials(const struct bus *bus);

/* --------------------------------------------------- file descriptors */

/* Adds a file descriptor to a message being built: takes it over (closed on failure
 * too), or a duplicate of it. At most 253 fit (-E2BIG); the bus may allow fewer. */
BUS_PUBLIC int bus_message_push_fd(struct bus_message *message, int fd);
BUS_PUBLIC int bus_message_push_dup_fd(struct bus_message *message, int fd);

/* How many a message has, without that of a big body. */
BUS_PUBLIC unsigned bus_message_fd_count(const struct bus_message *message);

/* The file descriptor at `index`: borrowed (it stays the message's and is closed
 * with it), or taken (the caller closes it; taken once: -ENODATA after that).
 * -ENODATA: there is none. What is passed can be anything: check its type, seals
 * and access mode before you trust it. */
BUS_PUBLIC int bus_message_peek_fd(struct bus_message *message, unsigned index);
BUS_PUBLIC int bus_message_take_fd(struct bus_message *message, unsigned index);

/* ----------------------------------------------------------- grammar */

/* Whether a text may be used as a well-known name, a topic, a pattern, a method or the
 * name of a queue group.
 * NULL if so, else a static sentence that says what is wrong, with the first wrong
 * byte in *ret_offset (may be NULL). */
BUS_PUBLIC const char *bus_check_name(const char *text, size_t *ret_offset);
BUS_PUBLIC const char *bus_check_topic(const char *text, size_t *ret_offset);
BUS_PUBLIC const char *bus_check_pattern(const char *text, size_t *ret_offset);
BUS_PUBLIC const char *bus_check_method(const char *text, size_t *ret_offset);
BUS_PUBLIC const char *bus_check_group(const char *text, size_t *ret_offset);

/* Whether a text is one JSON value as the bus takes it. Returns as above. */
BUS_PUBLIC const char *bus_check_json(const char *text, size_t size, size_t *ret_offset);

#ifdef __cplusplus
}
#endif

#endif
