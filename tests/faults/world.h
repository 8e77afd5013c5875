/* SPDX-License-Identifier: MIT */
/*
 * Clients that put up with anything: with errors instead of replies, and with being
 * cut. What they do not put up with is noted as the world's first complaint:
 *   - a line that is no JSON object, or not the file descriptors that it declares;
 *   - a call without a final answer, or with two, while the caller is connected;
 *   - an event that neither comes nor is counted by bus.overflow, comes twice or out
 *     of order, while publisher and subscriber are connected.
 * All in one thread: world_step() lets everybody read, and answer calls, until nobody
 * waits for an answer any more. The methods that they answer are Echo, Fail, Fds
 * (with a file descriptor) and, never, Never.
 *
 * In texts ' stands for ".
 */
#ifndef TESTS_FAULTS_WORLD_H
#define TESTS_FAULTS_WORLD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORLD_ACTORS    16
#define ACTOR_CALLS     160
#define ACTOR_PATTERNS  4
#define ACTOR_BATCHES   64
#define WORLD_COMPLAINT 512

struct actor {
    struct world *world;
    const char *name; /* for complaints */
    char unique[24];
    int fd;
    bool lost; /* busd has ended the connection, or never begun it */
    bool left; /* the script has */
    bool deaf; /* does not read for now */
    bool welcome;
    bool publishes;
    char *buffer;
    size_t size;
    size_t capacity;
    struct {
        uint64_t id;
        const char *method;
        bool answered;
        char subscribes[16]; /* what a reply makes it a subscriber of */
    } calls[ACTOR_CALLS];
    size_t call_count;
    char patterns[ACTOR_PATTERNS][16]; /* topics that begin so are counted */
    size_t pattern_count;
    unsigned errors;                 /* that answered its calls */
    uint64_t expected;               /* numbered events published for it, */
    uint64_t seen;                   /* received */
    uint64_t missed;                 /* and lost with notice */
    uint64_t last;                   /* number of the last one */
    unsigned batches[ACTOR_BATCHES]; /* numbers of fds received, not yet declared */
    size_t batch_count;
    int held[16]; /* fds received */
    size_t held_count;
};

struct world {
    const char *path; /* of busd's socket */
    struct actor actors[WORLD_ACTORS];
    size_t count;
    unsigned patience; /* milliseconds of a step */
    bool strict;       /* whether every step must end with all its answers … */
    bool exact;        /* … and none ever has not, so that events can be counted */
    uint64_t published;
    uint64_t next_id;
    char complaint[WORLD_COMPLAINT]; /* the first one, or empty */
};

void world_init(struct world *world, const char *path, unsigned patience);
void world_deinit(struct world *world);

/* Connects, and reads the greeting if there is one. */
struct actor *world_connect(struct world *world, const char *name);

/* Waits until all calls of those who hear are answered; false if some are not when
 * the patience is over. Complains about that if it is strict, as at first. */
bool world_step(struct world *world);

/* Everybody hears, and pings. */
void world_settle(struct world *world);

/* How many connections were ended by busd. */
unsigned world_lost(const struct world *world);

void world_complain(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Sends a line, and fds with it: new ones of nothing. */
void actor_send(struct actor *actor, const char *format, ...) __attribute__((format(printf, 2, 3)));
void actor_send_fds(struct actor *actor, unsigned fds, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void actor_send_bytes(struct actor *actor, const char *data, size_t size, unsigned fds);

/* Calls, and remembers that it waits for an answer; `rest` are more keys of the
 * call, like ",'body':1". Returns the id. */
uint64_t actor_call(struct actor *actor, const char *to, const char *method, const char *rest, ...)
    __attribute__((format(printf, 4, 5)));

/* Publishes a value for the disk, and remembers that it waits for the receipt. */
void actor_keep(struct actor *actor, const char *topic, const char *body);

/* Subscribes to PREFIX# and counts what begins with the prefix from then on. */
void actor_subscribe(struct actor *actor, const char *prefix);

/* Publishes a numbered event of about this size, with fds. */
void actor_publish(struct actor *actor, const char *topic, size_t size, unsigned fds);

/* Publishes one that is not counted, and waits for its receipt as for an answer. */
void actor_publish_asking(struct actor *actor, const char *topic, size_t size);

/* Closes the connection, whatever there is in it. */
void actor_leave(struct actor *actor);

#endif
