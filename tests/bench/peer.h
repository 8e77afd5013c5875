/* SPDX-License-Identifier: MIT */
/*
 * What is compared: a message broker with its own client library, behind one table
 * of functions. Each driver is one file; the workloads know this header only.
 *
 * Rules for drivers, so that nobody is measured at less work than another:
 *   - call() checks that an answer came and is as long as the question;
 *   - events are handed over with topic and body, as the library gives them to a
 *     program that wants to look at both;
 *   - sizes are those of the bodies; what a system adds is its own affair.
 *
 * start() runs in the harness and uses no client library. Everything else runs in
 * processes of their own; a failure there is told by fail() of crew.h, but connect()
 * returns NULL as long as nobody listens. Functions that a system has no notion of
 * are NULL, and the workloads that need them leave it out.
 *
 * Topics and names are written as busd's: dotted segments of letters and digits, in
 * patterns `*` for one segment and a final `#` for the rest.
 */
#ifndef TESTS_BENCH_PEER_H
#define TESTS_BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A running broker. */
struct broker {
    const struct peer *peer;
    pid_t pid;         /* whose time and memory are measured */
    pid_t helper;      /* a process that must live as long; or 0 */
    char folder[64];   /* its own, temporary */
    char address[100]; /* a path, or HOST:PORT */
};

struct client;

typedef void (*event_handler)(struct client *client, const char *topic, size_t size);
typedef void (*answer_handler)(struct client *client, size_t size);

/* A connection: the first member of each driver's own. */
struct client {
    const struct peer *peer;
    event_handler on_event;   /* set before subscribe() */
    answer_handler on_answer; /* set before call_start() */
    void *userdata;
};

struct peer {
    const char *name;
    const char *transport;
    const char *client;

    /* The program that must be there, and the arguments to make it tell its version;
     * NULL for what is part of the benchmark. */
    const char *program;
    const char *version_argument;

    int (*start)(struct broker *broker);
    struct client *(*connect)(const struct broker *broker);
    void (*close)(struct client *client);

    /* Returns when the broker has answered, and so has dealt with what came before. */
    void (*ping)(struct client *client);

    /* Takes calls to `name` from now on and answers each with its own body, in wait(). */
    void (*serve)(struct client *client, const char *name);
    void (*call)(struct client *client, const char *name, const char *body, size_t size);
    void (*call_start)(struct client *client, const char *name, const char *body, size_t size);

    /* Calls with a body that lies in memory beforehand, has `size` bytes, and is handed
     * over, not copied; the answer is empty. The service, made by serve(), looks at the
     * body's first and last byte, or with `whole` at each page. NULL: there is no such
     * thing. */
    void (*hand_over)(struct client *client, const char *name, size_t size, bool whole);

    /* From now on this client's calls go straight to who serves `name`. NULL: there is no
     * such thing. */
    void (*go_direct)(struct client *client, const char *name);

    /* Takes effect with the next ping(). */
    void (*subscribe)(struct client *client, const char *pattern);
    void (*publish)(struct client *client, const char *topic, const char *body, size_t size);
    void (*flush)(struct client *client); /* writes what publish() and call_start() gathered */

    /* Waits for something to come and deals with it: at most `timeout_ms`, -1 for ever. */
    void (*wait)(struct client *client, int timeout_ms);

    /* For many connections in one process: an fd to be watched for reading, and what to do
     * then. NULL: threads of the library call the handlers. */
    int (*fd)(struct client *client);
    void (*process)(struct client *client);

    bool no_names;          /* calls go to whoever serves, there are no names */
    bool no_1to_many;       /* events have one receiver */
    bool no_fan_in;         /* events have one publisher */
    bool no_first_wildcard; /* a pattern begins with a plain segment */

    /* How many subscriptions there may be before setting them up takes longer than
     * anybody wants to wait: exact ones, and patterns. 0: any number. */
    size_t exact_max;
    size_t patterns_max;
};

/* All, in the order of the table; those that were not built in have no start(). */
extern const struct peer *const peers[];
extern const size_t peers_count;

/* Why a peer cannot be measured, or NULL. */
const char *peer_missing(const struct peer *peer);

/* The first line of what the program says of its version. */
void peer_version(const struct peer *peer, char *text, size_t size);

#endif
