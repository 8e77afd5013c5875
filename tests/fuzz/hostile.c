/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/hostile.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "libbus/wire/envelope.h"
#include "libbus/wire/scan.h"
#include "libbus/wire/sockio.h"

#define LINE_MAX_ANY (8u << 20)

static int null_fd = -1;

int hostile_null_fd(void)
{
    if (null_fd < 0)
        null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return null_fd;
}

void hostile_say_with(struct hostile *hostile, struct span bytes, unsigned fds, int first)
{
    struct iovec iov = {(void *)(uintptr_t)bytes.data, bytes.size};
    int fd[4] = {first, null_fd, null_fd, null_fd};
    struct fds *set = fds > 0 ? fds_new(fd, fds) : NULL;

    if (hostile->mouth->fd >= 0 && bytes.size > 0)
        sockio_send(hostile->mouth->fd, &iov, 1, set);
    free(set); /* The descriptor stays ours. */
}

void hostile_say(struct hostile *hostile, struct span bytes, unsigned fds)
{
    hostile_say_with(hostile, bytes, fds, null_fd);
}

int hostile_make_memory(struct hostile *hostile, struct span text)
{
    static const int seals[] = {15, 15, 15, 7, 14, 0};
    uint8_t how = fuzz_byte(hostile->input);
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    FUZZ_CHECK(fd >= 0 && pwrite(fd, text.data, text.size, how & 128 ? 9000 : 0) >= 0, "no memory");
    if (how & 64)
        FUZZ_CHECK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 20000, 100) == 0, "no memory");
    fcntl(fd, F_ADD_SEALS, seals[how % ARRAY_SIZE(seals)]);
    return fd;
}

/* What the client has sent must be right. */
static void check_line(struct hostile *hostile, struct stream *stream, const struct line *line)
{
    struct envelope_fault fault;
    struct envelope envelope;
    struct fds *fds;

    int r =
        envelope_parse(&envelope, line->text.data, line->text.size, ENVELOPE_FROM_CLIENT, &fault);
    FUZZ_CHECK(r == 0, "the library sent what no bus accepts: %.*s: %s", SPAN_ARGS(line->text),
               fault.reason);
    FUZZ_CHECK(fdqueue_take(&stream->fdqueue, line, envelope.fds, &fds) == FDQUEUE_OK,
               "the library sent other fds than it declares: %.*s", SPAN_ARGS(line->text));
    if (envelope.type == MESSAGE_REPLY && envelope.id == HOSTILE_OPEN_ID && envelope.fds == 1 &&
        stream == &hostile->peer && hostile->channel.fd < 0)
        hostile->channel.fd = TAKE_FD(fds->fd[0]);
    fds_unref(fds);
    if (envelope.type == MESSAGE_CALL && envelope.id > hostile->last_id)
        hostile->last_id = envelope.id;
}

static void check_lines(struct hostile *hostile, struct stream *stream)
{
    size_t taken = 0;

    for (;;) {
        struct line line;
        size_t consumed;
        enum lines_result result = lines_next(&stream->lines, stream->heard + taken,
                                              stream->heard_size - taken, &consumed, &line);
        taken += consumed;
        if (result == LINES_MORE)
            break;
        check_line(hostile, stream, &line);
    }
    stream->heard_size -= taken;
    memmove(stream->heard, stream->heard + taken, stream->heard_size);
}

static void hear_at(struct hostile *hostile, struct stream *stream)
{
    static char buffer[65536];
    struct fds *fds;
    ssize_t n;

    while (stream->fd >= 0 && (n = sockio_recv(stream->fd, buffer, sizeof(buffer), &fds)) > 0) {
        size_t size = stream->heard_size + (size_t)n;
        stream->heard = realloc(stream->heard, size + SCAN_PADDING);
        memcpy(stream->heard + stream->heard_size, buffer, (size_t)n);
        stream->heard_size = size;
        if (fds) {
            fds->end = stream->lines.position + size;
            fdqueue_push(&stream->fdqueue, fds);
        }
        check_lines(hostile, stream);
    }
}

void hostile_hear(struct hostile *hostile)
{
    hear_at(hostile, &hostile->peer);
    hear_at(hostile, &hostile->channel);
}

static void stream_open(struct stream *stream, int fd)
{
    *stream = (struct stream){.fd = fd};
    lines_init(&stream->lines, LINE_MAX_ANY);
    fdqueue_init(&stream->fdqueue);
}

static void stream_close(struct stream *stream)
{
    fdqueue_deinit(&stream->fdqueue);
    free(stream->heard);
    if (stream->fd >= 0)
        close(stream->fd);
}

void hostile_start(struct hostile *hostile, int fd, struct fuzz_input *input)
{
    hostile_null_fd();
    *hostile = (struct hostile){.input = input};
    stream_open(&hostile->peer, fd);
    stream_open(&hostile->channel, -1);
    hostile->mouth = &hostile->peer;
}

void hostile_stop(struct hostile *hostile)
{
    stream_close(&hostile->peer);
    stream_close(&hostile->channel);
}
