/* SPDX-License-Identifier: MIT */
/*
 * One client of the broker under test: its socket, and what it is to receive. What
 * comes is compared at once with what is expected, in order; what is expected in a
 * group may come in any order within the group.
 */
#ifndef TESTS_FUZZ_PLAYER_H
#define TESTS_FUZZ_PLAYER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libbus/base/list.h"
#include "libbus/base/span.h"
#include "libbus/wire/fdqueue.h"
#include "libbus/wire/lines.h"

#define PLAYER_FDS_MAX 4

/* The fds of a message, known again by their inodes. */
struct player_fds {
    unsigned count;
    int fd[PLAYER_FDS_MAX];
    ino_t inode[PLAYER_FDS_MAX];
};

struct expectation {
    struct list link;
    unsigned group; /* 0: none */
    char *line;     /* the very bytes, without LF; or NULL and … */
    size_t size;
    json_t *tree; /* … what must be in the message; without "id" it has none */
    bool any_fds;
    struct player_fds fds;
};

struct player {
    uint64_t name; /* the N of its unique name; 0: not connected */
    int fd;
    bool paused;   /* reads nothing for now */
    bool watching; /* a monitor: what it sees as such is not foretold */
    bool ending;   /* the bus is to end the connection */
    struct list expected;
    char *data;
    size_t size;
    struct lines lines;
    struct fdqueue fdqueue;
};

/* Takes a connected socket. */
void player_start(struct player *player, uint64_t name, int fd);

/* Closes the socket; what is still expected will not come. */
void player_stop(struct player *player);

/* Sends the bytes, with fds at the first of them. */
void player_send(struct player *player, struct span bytes, const struct player_fds *fds);

/* Reads what there is and compares. True if there was something. */
bool player_read(struct player *player);

/* Nothing may be missing. */
void player_check(const struct player *player);

/* What it is to receive next: prefix and rest are the bytes of a forwarded line. */
void player_expect_line(struct player *player, struct span prefix, struct span rest,
                        const struct player_fds *fds);
/* Takes the tree. */
struct expectation *player_expect(struct player *player, unsigned group, json_t *tree);

#endif
