/* SPDX-License-Identifier: MIT */
/*
 * A client without a library: a socket that sends texts and expects messages. Made
 * by session_connect() (tests/support/transcript.h), closed by the session at the
 * latest. Whatever differs from what is expected fails the test and says how.
 *
 * Texts are formats of printf(). In them, for reading's sake,
 *     '      stands for "
 *     $A     is the unique name of the client "A", like :7
 *     @A     is its number alone
 * Expected texts are compared as JSON, see tests/support/json.h for placeholders.
 * Names of clients are capital letters and digits.
 */
#ifndef TESTS_SUPPORT_CLIENT_H
#define TESTS_SUPPORT_CLIENT_H

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libbus/base/list.h"

#define CLIENT_FDS_MAX 253

/* Ids from here on are the harness's own: its barriers, never shown to a test. */
#define CLIENT_BARRIER_ID UINT64_C(9000000000000000)

struct session;

struct client {
    struct list link;
    struct session *session;
    char name[16];   /* "A", how the transcript calls it */
    char unique[24]; /* ":7"; empty before the greeting */
    int fd;          /* -1 once closed */
    char *buffer;    /* received, not yet cut into lines */
    size_t size;
    size_t capacity;
    struct list messages; /* struct message, received and not yet expected */
    struct list batches;  /* struct message without a line: fds not yet claimed */
    bool ended;           /* the end of the stream has been read */
    bool broken;          /* writing has failed: the other side does not listen any more */
    uint64_t next_id;     /* of client_ask() */
};

/* One line with its fds. */
struct message {
    struct list link;
    char *line; /* NUL-terminated, without LF */
    size_t size;
    json_t *json;
    unsigned count;
    int fd[CLIENT_FDS_MAX];
};

/* Sends a line; the LF is added. In the session's way: at once, one byte at a time,
 * or in random pieces. Fds go with the first byte. */
void client_send(struct client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void client_send_fds(struct client *client, const int *fd, unsigned count, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Sends just these bytes, with fds (count may be 0), in the session's way. */
void client_send_bytes(struct client *client, const void *data, size_t size, const int *fd,
                       unsigned count);

/* The same in one sendmsg(), whatever the session's way, as far as it goes: returns
 * how many bytes were taken, or -errno. */
long client_send_at_once(struct client *client, const void *data, size_t size, const int *fd,
                         unsigned count);

/* Sends just these bytes, however many, and throws away what comes meanwhile. */
void client_pour(struct client *client, const char *data, size_t size);

/* The next message is this one, without fds. */
void client_expect(struct client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The next line is this one, byte for byte. */
void client_expect_line(struct client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The next message is this one (its "fds" is added to what is expected) with `count`
 * file descriptors, which are the caller's to close. */
void client_expect_fds(struct client *client, int *ret_fd, unsigned count, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The next message is the bus's error: the answer to the call with this id … */
void client_expect_error(struct client *client, uint64_t id, const char *error);

/* … or about a message that nobody waits for an answer to; `about` is the whole
 * value, `offset` is not looked at. */
void client_expect_complaint(struct client *client, const char *error, const char *about, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, telling this offset. */
void client_expect_complaint_at(struct client *client, const char *error, size_t offset,
                                const char *about);

/* Nothing has come, and nothing will: all clients' earlier messages have been dealt
 * with by then. See session_settle(). */
void client_expect_nothing(struct client *client);

/* The bus closes the connection, with nothing before that. Closes our end too. */
void client_expect_end(struct client *client);

/* The bus says why it ends the connection, and ends it. `reason` is a part of what it
 * says. */
void client_expect_goodbye(struct client *client, const char *reason);

/* Calls a method of the bus and expects this body as the reply, or this error. The
 * next message must be the answer. */
void client_ask(struct client *client, const char *method, const char *body, const char *expected);
void client_ask_error(struct client *client, const char *method, const char *body,
                      const char *error);

/* The same, whatever the body of the reply: the caller's to json_decref(). */
json_t *client_ask_json(struct client *client, const char *method, const char *body);

/* The next message, whatever it is; the caller's to message_free(). NULL at the end
 * of the stream. Fails the test when nothing comes in time. */
struct message *client_next(struct client *client);
void message_free(struct message *message); /* NULL is let pass; closes its fds */

/* Reads what is there now, without waiting. */
void client_read_available(struct client *client);

/* The next message without taking it out; NULL if none has been read yet. */
struct message *client_peek(const struct client *client);

/* Waits until more has been read, a message or the end. `wanted` is for the failure
 * when nothing comes in time. */
void client_read_more(struct client *client, const char *wanted);

/* client_next(), with what is wanted. */
struct message *client_wait(struct client *client, const char *wanted);

/* Closes the socket: the bus sees the client leave. */
void client_close(struct client *client);

void client_free(struct client *client);

/* A text with ' and names replaced; malloc'ed. */
char *client_expand(struct session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
char *client_expand_arguments(struct session *session, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

#endif
