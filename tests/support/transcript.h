/* SPDX-License-Identifier: MIT */
/*
 * A transcript is a test that says: A does X, B sees exactly Y, and nobody sees
 * anything else. Each runs against a busd of its own, in up to three ways of
 * writing, which must make no difference.
 *
 * Around every transcript the harness checks, besides a time limit:
 *   - nothing has come to any client that the transcript did not expect;
 *   - as many file descriptors are open in the test as before;
 *   - busd has, within a second, no more of them open than at its start;
 *   - busd ends after SIGTERM with status 0 and leaves no file behind.
 *
 * $BUSD_TEST_SEED sets the seed of the random pieces, $BUSD_TEST_FILTER runs only
 * the tests whose names match it (with * and ?).
 */
#ifndef TESTS_SUPPORT_TRANSCRIPT_H
#define TESTS_SUPPORT_TRANSCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "libbus/base/list.h"
#include "libbus/base/macros.h"
#include "tests/support/busd.h"
#include "tests/support/client.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

enum writing {
    WRITING_WHOLE,
    WRITING_DRIBBLED, /* one byte, then wait until it has been read */
    WRITING_SPLIT,    /* random pieces */
};

/* One run of a transcript. */
struct session {
    struct busd busd;
    struct list clients;
    enum writing writing;
    struct random random;
    uint64_t barriers;
    const char *name;
};

struct transcript {
    const char *name;
    void (*run)(struct session *session);
    const char *config;      /* a configuration file, see busd_configure(); or NULL */
    const char *const *args; /* of busd, NULL-terminated; or NULL */
    unsigned seconds;        /* the time limit; 0: the usual one */
    bool plain_only;         /* where the way of writing is not the point, or takes too long */
};

/* A transcript in all three ways, or in one; with options for busd. */
#define TRANSCRIPT(function)                                                                       \
    {                                                                                              \
        .name = #function, .run = function                                                         \
    }
#define TRANSCRIPT_PLAIN(function)                                                                 \
    {                                                                                              \
        .name = #function, .run = function, .plain_only = true                                     \
    }
#define TRANSCRIPT_CONFIGURED(function, text)                                                      \
    {                                                                                              \
        .name = #function, .run = function, .config = (text)                                       \
    }
#define BUSD_ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* For main(): runs them all; the number of failures. */
int transcripts_run(const char *group, const struct transcript *transcripts, size_t count);

#define TRANSCRIPTS_RUN(group, array) transcripts_run(group, array, ARRAY_SIZE(array))

/* Connects, reads the greeting and checks it. */
struct client *session_connect(struct session *session, const char *name);

/* The same as another user, which only root can. */
struct client *session_connect_as_user(struct session *session, const char *name, uid_t uid);

/* Connects and leaves the greeting to be read. */
struct client *session_connect_silently(struct session *session, const char *name);

/* Who a client is to be for the kernel; the test must be root. */
struct identity {
    uid_t uid;
    gid_t gid;
    gid_t group; /* a supplementary one */
};

/* The same through the listener unix:DIR/SOCKET, as somebody (NULL: as who we are). */
struct client *session_connect_as(struct session *session, const char *name, const char *socket,
                                  const struct identity *identity);
struct client *session_connect_silently_as(struct session *session, const char *name,
                                           const char *socket, const struct identity *identity);

/* Closes all clients and has busd begin anew, see busd_restart(). */
void session_restart(struct session *session, int signal);

/* Two rounds of a Ping by every client that still talks: when it returns, whatever
 * was sent before has had its effect, and that effect has been received. */
void session_settle(struct session *session);

/* Settles, and nothing may have come to anybody. */
void session_expect_nothing(struct session *session);

/* Asks the bus, over and over, until it has so many connections. */
void session_wait_for_connections(struct session *session, struct client *asker, size_t count);

/* Within a second busd has no more file descriptors open than at its start and these
 * on top. */
void session_expect_fds(struct session *session, unsigned more);

/* The client of this name; NULL if there is none. */
struct client *session_find(struct session *session, const char *name, size_t size);

#endif
