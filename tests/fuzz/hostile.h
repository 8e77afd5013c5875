/* SPDX-License-Identifier: MIT */
/*
 * The other side of a client under test: the bus's end of its socket, and, once a direct
 * channel has been opened, that of the channel's opener. It says whatever it is told to,
 * and checks that what it hears is right: messages that a bus accepts, with the fds that
 * they declare.
 */
#ifndef TESTS_FUZZ_HOSTILE_H
#define TESTS_FUZZ_HOSTILE_H

#include <stddef.h>
#include <stdint.h>

#include "libbus/base/span.h"
#include "libbus/wire/fdqueue.h"
#include "libbus/wire/lines.h"
#include "tests/fuzz/fuzz.h"

/* The id of the call whose answer brings the channel's socket. */
#define HOSTILE_OPEN_ID 4242

/* Our end of a socket, and what has been heard there. */
struct stream {
    int fd; /* -1: closed */
    char *heard;
    size_t heard_size;
    struct lines lines;
    struct fdqueue fdqueue;
};

struct hostile {
    struct stream peer;    /* the bus's end … */
    struct stream channel; /* … and that of a channel's opener … */
    struct stream *mouth;  /* … of which one says things */
    struct fuzz_input *input;
    uint64_t last_id; /* of the calls that were heard */
};

/* Takes the bus's end; the input is borrowed. */
void hostile_start(struct hostile *hostile, int fd, struct fuzz_input *input);
void hostile_stop(struct hostile *hostile);

/* An fd that says nothing; opened at the first use, and kept. */
int hostile_null_fd(void);

/* Up to three fds with the first byte. When the client does not read, it is lost. */
void hostile_say(struct hostile *hostile, struct span bytes, unsigned fds);

/* The same with that one as the first fd. */
void hostile_say_with(struct hostile *hostile, struct span bytes, unsigned fds, int first);

/* Memory with this text, sealed or nearly so, with holes or without, as the input says. The
 * caller closes it. */
int hostile_make_memory(struct hostile *hostile, struct span text);

/* Hears what has come, and checks it. */
void hostile_hear(struct hostile *hostile);

#endif
