/* SPDX-License-Identifier: MIT */
/*
 * The protocol's own errors: the one list of symbol, name on the wire, the
 * errno that libbus returns for it, and a sentence for a person.
 *
 * In functions of the broker and the library a negative result is an errno of
 * our own, forwarded unchanged; a positive one is a value of this enum, which
 * the caller must decide on.
 */
#ifndef LIBBUS_WIRE_ERRORS_H
#define LIBBUS_WIRE_ERRORS_H

#include "libbus/base/span.h"

/* X(symbol, wire name, errno, sentence) */
#define WIRE_ERRORS(X)                                                                             \
    X(PARSE_ERROR, "bus.ParseError", EBADMSG, "the line is not valid JSON")                        \
    X(INVALID_MESSAGE, "bus.InvalidMessage", EPROTO, "the line is not a valid message")            \
    X(INVALID_ARGUMENTS, "bus.InvalidArguments", EINVAL, "the arguments are not valid")            \
    X(TOO_LARGE, "bus.TooLarge", EMSGSIZE, "the line is longer than message_bytes")                \
    X(FD_MISMATCH, "bus.FdMismatch", EBADF, "the file descriptors do not fit the message")         \
    X(NAME_UNKNOWN, "bus.NameUnknown", ENXIO, "nobody owns this name")                             \
    X(NAME_TAKEN, "bus.NameTaken", EEXIST, "somebody else owns this name")                         \
    X(NOT_OWNER, "bus.NotOwner", EADDRNOTAVAIL, "the name is not yours")                           \
    X(METHOD_UNKNOWN, "bus.MethodUnknown", EOPNOTSUPP, "there is no such method")                  \
    X(NO_SUCH_CALL, "bus.NoSuchCall", EBADR, "there is no such call for you to answer or cancel")  \
    X(NO_SUCH_SUBSCRIPTION, "bus.NoSuchSubscription", EBADSLT, "there is no such subscription")    \
    X(ACCESS_DENIED, "bus.AccessDenied", EACCES, "you may not do this")                            \
    X(LIMIT_EXCEEDED, "bus.LimitExceeded", EDQUOT, "a limit is reached")                           \
    X(TIMEOUT, "bus.Timeout", ETIMEDOUT, "no answer came before the deadline")                     \
    X(NO_REPLY, "bus.NoReply", ENOMSG, "the callee went away without an answer")                   \
    X(CANCELLED, "bus.Cancelled", ECANCELED, "the call was cancelled")                             \
    X(START_FAILED, "bus.StartFailed", ECHILD, "the service could not be started")                 \
    X(STORAGE_FAILED, "bus.StorageFailed", EIO, "the value is not on the disk")                    \
    X(DISCONNECTED, "bus.Disconnected", ECONNRESET, "the connection to the bus is gone")

enum wire_error {
    WIRE_OK = 0,
#define X(symbol, name, error, sentence) WIRE_##symbol,
    WIRE_ERRORS(X)
#undef X
        WIRE_ERROR_COUNT
};

/* The name on the wire, NUL-terminated. */
const char *wire_error_name(enum wire_error error);

/* One sentence without a full stop. */
const char *wire_error_sentence(enum wire_error error);

/* The positive errno that stands for an error of this name, EREMOTEIO for a
 * name that is not the bus's own. */
int wire_error_errno(struct span name);

#endif
