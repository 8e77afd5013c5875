/* SPDX-License-Identifier: MIT */
/*
 * Bodies that are too big for a line: they travel as sealed memory (sealed.h), whose fd
 * is the first of the message's and hidden from the program on both sides.
 *
 * Sending. A body goes in the line unless it is longer than bus->memfd_threshold, or has
 * been sealed by the program. Then it goes as an fd, if the bus takes so many with one
 * message; if not, in the line after all. Messages to the bus itself and the library's
 * own have their bodies in the line: the bus reads no fds.
 *
 * Receiving. What is said to be a body is looked at when its line is read; a message
 * whose body is no sealed memory is not handed out. It is mapped when it is first asked
 * for.
 */
#ifndef LIBBUS_BODY_H
#define LIBBUS_BODY_H

#include "libbus/base/macros.h"
#include "libbus/client.h"

#define BODY_MEMFD_THRESHOLD ((size_t)256 * 1024)

/* Whether body_send() has to see to the message's body before it can be sent. */
static inline bool body_is_undecided(const struct bus *bus, const struct outgoing *message)
{
    return message->body_way == BODY_UNDECIDED &&
           (message->sealed || UNLIKELY(message->body.size > bus->memfd_threshold));
}

/* Decides which way the body goes, and sends it. As client_send(). */
int body_send(struct bus *bus, const struct outgoing *message, struct bus_error *error);

/* Copies the text, if it is so long that it should be, into sealed memory: 1. 0 if it is
 * to go in the line, -EBADMSG. */
int body_seal_text(struct bus *bus, const char *text, size_t size, struct sealed *ret_sealed);

/* The same of a tree. */
int body_seal_tree(struct bus *bus, const json_t *tree, struct sealed *ret_sealed);

/* For a message just received: its first fd is to be its body. As sealed_check(). */
int body_receive(struct bus_message *message);

/* How many of a message's fds the program does not see. */
static inline unsigned body_hidden_fds(const struct bus_message *message)
{
    return !message->draft && message->envelope.body_fd ? 1 : 0;
}

#endif
