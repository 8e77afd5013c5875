/* SPDX-License-Identifier: MIT */
/*
 * Bytes and file descriptors on their way through a socket into lines: framing,
 * batches and envelope together, put to use as busd/connection.c and busd/dispatch.c
 * do, behind a kernel of our own that joins and splits what was sent as a stream
 * socket does. The fds are tags; a set that is released is counted.
 *
 * Input: a byte for the longest line, two that seed the sizes of the reads, and then
 * commands of one sender (see send_command()): honest lines, and all that can go
 * wrong with one.
 *
 *   - The lines are those of the text, cut by a simpler splitter.
 *   - Up to the first line that is not honest, each gets exactly its own fds.
 *   - That line ends the connection, unless its fds can be taken for right.
 *   - Beyond it a line never gets another number than it declares, nor what had
 *     been sent before some earlier line's fds, nor what came after it.
 *   - Every set is released exactly once.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "libbus/base/macros.h"
#include "libbus/base/text.h"
#include "libbus/wire/envelope.h"
#include "libbus/wire/fdqueue.h"
#include "libbus/wire/lines.h"
#include "libbus/wire/scan.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/random.h"

#define SENDS_MAX 256

/* One sendmsg() of the sender. */
struct sent {
    size_t start; /* in the stream */
    size_t end;
    unsigned fds;
    bool truncated;
    /* What became of it. */
    bool received;
    bool released;
    uint64_t read_end;
};

/* A line as the simpler splitter sees it. */
struct frame {
    size_t start;
    size_t end;
    bool too_long;
    int error; /* of its envelope */
    unsigned declared;
};

struct world {
    struct text stream;
    size_t max;
    struct random random;
    struct sent sent[SENDS_MAX];
    size_t sent_count;
    struct frame frames[4 * SENDS_MAX];
    size_t frame_count;
    size_t honest; /* frames before the first one that is not … */
    bool caught;   /* … which cannot be taken for right */

    /* The kernel: what has not been read. */
    size_t next_sent;
    size_t position;

    /* The receiver. */
    struct lines lines;
    struct fdqueue queue;
    size_t taken; /* frames */
    size_t last;  /* the sent piece given to a line last, counted from 1 */
    bool ended;
};

/* ---------------------------------------------------------------- the sender */

static void send_piece(struct world *world, struct span bytes, unsigned fds, bool truncated)
{
    size_t start = world->stream.size;

    if (bytes.size == 0 || world->sent_count == SENDS_MAX)
        return;
    text_append_span(&world->stream, bytes);
    world->sent[world->sent_count++] = (struct sent){
        .start = start, .end = world->stream.size, .fds = fds, .truncated = truncated};
}

/* A line, in one piece or two; its fds with the first. */
static void send_line(struct world *world, unsigned declared, unsigned fds, uint8_t options,
                      const char *key)
{
    CLEANUP(text_deinit) struct text line = TEXT_INIT;
    static const char padding[] = "                                ";

    text_append_string(&line, "{\"type\":\"event\",\"topic\":\"a\"");
    if (declared > 0)
        text_printf(&line, ",\"fds\":%u", declared);
    text_append_string(&line, key);
    text_append(&line, padding, options & 31);
    text_append_string(&line, "}\n");
    bool truncated = fds > 0 && options & 64;
    if (!(options & 32)) {
        send_piece(world, text_span(&line), truncated ? fds - 1 : fds, truncated);
        return;
    }
    size_t cut = 1 + options % (line.size - 1);
    send_piece(world, (struct span){line.data, cut}, truncated ? fds - 1 : fds, truncated);
    send_piece(world, (struct span){line.data + cut, line.size - cut}, 0, false);
}

static void send_command(struct world *world, struct fuzz_input *input)
{
    static const char long_line[1024] = {0};
    uint8_t command = fuzz_byte(input);
    uint8_t options = fuzz_byte(input);
    unsigned fds = command >> 4 & 3;

    switch (command & 7) {
    case 0: /* any bytes, any fds */
        send_piece(world, fuzz_take(input, options), fds, command >> 7);
        break;
    case 1: /* an honest line with fds */
        send_line(world, fds + 1, fds + 1, options, "");
        break;
    case 2: /* another number than it declares */
        send_line(world, fds, command >> 6, options, "");
        break;
    case 3: /* no message, but its fds are in order */
        send_line(world, fds, fds, options, ",\"sender\":\":1\"");
        break;
    case 4: /* no JSON */
        send_line(world, fds, fds, options, ",,");
        break;
    case 5: /* too long */
        send_piece(world, (struct span){long_line, world->max + options}, fds, false);
        send_piece(world, SPAN("\n"), 0, false);
        break;
    case 6:
        send_piece(world, options & 1 ? SPAN("\n") : SPAN(" \r\n\n\t\n"), command & 8 ? fds : 0,
                   false);
        break;
    default: /* several honest lines without fds */
        for (unsigned i = 0; i <= fds; i++)
            send_line(world, 0, 0, (uint8_t)(options & 63), "");
    }
}

/* ---------------------------------------------------- what is to be expected */

static void find_frames(struct world *world)
{
    const char *data = world->stream.data;
    size_t start = 0;

    for (size_t i = 0; i < world->stream.size; i++) {
        if (data[i] != '\n')
            continue;
        bool blank = strspn(data + start, " \t\r\n") > i - start;
        bool too_long = i + 1 - start > world->max;
        if ((!blank || too_long) && world->frame_count < ARRAY_SIZE(world->frames))
            world->frames[world->frame_count++] = (struct frame){start, i + 1, too_long, 0, 0};
        start = i + 1;
    }
}

static void read_frame(struct world *world, struct frame *frame)
{
    size_t size = frame->end - frame->start - 1;
    CLEANUP(cleanup_free) char *line = malloc(size + 1 + SCAN_PADDING);
    struct envelope_fault fault;
    struct envelope envelope;

    if (frame->too_long)
        return;
    memcpy(line, world->stream.data + frame->start, size + 1);
    memset(line + size + 1, 0, SCAN_PADDING);
    frame->error = envelope_parse(&envelope, line, size, ENVELOPE_FROM_CLIENT, &fault);
    frame->declared = envelope.fds;
}

/* The piece with fds that begins in the text from `from` on, before `to`. */
static struct sent *find_fds(struct world *world, size_t from, size_t to)
{
    for (size_t i = 0; i < world->sent_count; i++) {
        struct sent *sent = &world->sent[i];
        if ((sent->fds > 0 || sent->truncated) && sent->start >= from && sent->start < to)
            return sent;
    }
    return NULL;
}

/* Whether the fds that came with the frame are those that belong to it. A frame that
 * is refused may have what it likes, if nothing else went out with it. */
static bool is_honest(struct world *world, const struct frame *frame, size_t after)
{
    struct sent *first = find_fds(world, after, frame->end);
    struct sent *second = first ? find_fds(world, first->start + 1, frame->end) : NULL;

    if (second || (first && first->start != frame->start))
        return false;
    if (frame->too_long || frame->error)
        return first ? first->end <= frame->end : frame->declared == 0;
    if (first && first->truncated)
        return frame->declared > 0;
    return frame->declared == (first ? first->fds : 0);
}

/* Whether a message that is not honest must end the connection: what it declares is not
 * what came with it, and nothing that could be taken for that has come since. */
static bool is_caught(struct world *world, const struct frame *frame)
{
    struct sent *own = find_fds(world, frame->start, frame->start + 1);

    if (frame->too_long || frame->error)
        return false;
    if (!own)
        return frame->declared > 0 && !find_fds(world, frame->start, world->stream.size);
    if (frame->declared > 0)
        return !own->truncated && own->fds != frame->declared;
    return own->end <= frame->end;
}

static void expect(struct world *world)
{
    size_t after = 0;

    find_frames(world);
    world->honest = world->frame_count;
    for (size_t i = 0; i < world->frame_count; i++) {
        read_frame(world, &world->frames[i]);
        if (i < world->honest && !is_honest(world, &world->frames[i], after)) {
            world->honest = i;
            world->caught = is_caught(world, &world->frames[i]);
        }
        after = world->frames[i].end;
    }
}

/* ---------------------------------------------------------------- the kernel */

static void on_release(struct fds *fds, void *userdata)
{
    struct sent *sent = userdata;

    FUZZ_CHECK(!sent->released, "released twice");
    sent->released = true;
    free(fds);
}

static struct fds *make_fds(struct sent *sent)
{
    int tags[8] = {0};
    struct fds *fds = fds_new(tags, sent->fds);

    fds->truncated = sent->truncated;
    fds->release = on_release;
    fds->userdata = sent;
    sent->received = true;
    return fds;
}

/* unix_stream_read_generic(): older pieces are joined, and a piece with fds ends the
 * read, even if it could be read in part only. */
static size_t receive(struct world *world, char *buffer, size_t size, struct fds **ret_fds)
{
    size_t done = 0;

    *ret_fds = NULL;
    while (done < size && world->next_sent < world->sent_count && !*ret_fds) {
        struct sent *sent = &world->sent[world->next_sent];
        size_t chunk = MIN(size - done, sent->end - world->position);
        bool at_start = world->position == sent->start;
        memcpy(buffer + done, world->stream.data + world->position, chunk);
        done += chunk;
        world->position += chunk;
        if (at_start && (sent->fds > 0 || sent->truncated))
            *ret_fds = make_fds(sent);
        if (world->position == sent->end)
            world->next_sent++;
    }
    return done;
}

/* -------------------------------------------------------------- the receiver */

static void check_taken(struct world *world, const struct frame *frame, const struct line *line,
                        enum fdqueue_result result, const struct fds *fds)
{
    bool honest = world->taken < world->honest;
    struct sent *own = find_fds(world, frame->start, frame->start + 1);

    if (result == FDQUEUE_MISMATCH)
        FUZZ_CHECK(!honest, "an honest line is out of step");
    if (world->taken == world->honest && world->caught)
        FUZZ_CHECK(result == FDQUEUE_MISMATCH, "other fds than declared are let pass: %d", result);
    if (honest)
        FUZZ_CHECK((result == FDQUEUE_TRUNCATED) == (own && own->truncated),
                   "an honest line: truncated");
    if (result != FDQUEUE_OK)
        return;
    FUZZ_CHECK((fds ? fds->count : 0) == frame->declared, "a line that declares %u got %u",
               frame->declared, fds ? fds->count : 0);
    if (honest)
        FUZZ_CHECK((fds ? fds->userdata : NULL) == own, "an honest line got other fds");
    if (!fds)
        return;
    struct sent *sent = fds->userdata;
    size_t index = (size_t)(sent - world->sent);
    FUZZ_CHECK(!sent->released && index + 1 > world->last, "fds in another order");
    FUZZ_CHECK(sent->read_end > line->start, "fds that came before the line");
    world->last = index + 1;
}

/* As dispatch_line() and what it calls. */
static void take_fds(struct world *world, const struct frame *frame, const struct line *line,
                     int error, const struct envelope *envelope)
{
    struct fds *fds = NULL;

    if (error) {
        if (error == WIRE_INVALID_MESSAGE && envelope_has(envelope, KEY_FDS) &&
            fdqueue_take(&world->queue, line, envelope->fds, &fds) == FDQUEUE_OK)
            fds_unref(fds);
        else
            fdqueue_skip(&world->queue, line);
        return;
    }
    enum fdqueue_result result = fdqueue_take(&world->queue, line, envelope->fds, &fds);
    check_taken(world, frame, line, result, fds);
    world->ended = result == FDQUEUE_MISMATCH;
    fds_unref(fds);
}

static void take_line(struct world *world, enum lines_result result, const struct line *line)
{
    struct envelope_fault fault;
    struct envelope envelope;

    FUZZ_CHECK(world->taken < world->frame_count, "a line too many");
    const struct frame *frame = &world->frames[world->taken];
    FUZZ_CHECK(line->start == frame->start && line->end == frame->end,
               "line %zu is %" PRIu64 " to %" PRIu64 ", not %zu to %zu", world->taken, line->start,
               line->end, frame->start, frame->end);
    FUZZ_CHECK((result == LINES_TOO_LONG) == frame->too_long, "too long: %d", frame->too_long);
    if (result == LINES_TOO_LONG) {
        FUZZ_CHECK(line->text.size == 0, "a line that is too long has a text");
        fdqueue_skip(&world->queue, line);
    } else {
        FUZZ_CHECK(
            line->text.size == frame->end - frame->start - 1 &&
                memcmp(line->text.data, world->stream.data + frame->start, line->text.size) == 0,
            "line %zu has another text", world->taken);
        int r = envelope_parse(&envelope, line->text.data, line->text.size, ENVELOPE_FROM_CLIENT,
                               &fault);
        FUZZ_CHECK(r == frame->error, "a line that is right in one place only");
        take_fds(world, frame, line, r, &envelope);
    }
    world->taken++;
}

/* Reads once, behind what is left of the bytes before, in memory of exactly that
 * size. Returns what is left now; false at the end. */
static bool read_once(struct world *world, char **data, size_t *size)
{
    size_t space = random_one_in(&world->random, 4) ? 1 + random_below(&world->random, 400)
                                                    : 1 + random_below(&world->random, 40);
    char *buffer = malloc(*size + space + SCAN_PADDING);
    size_t taken = 0;
    struct fds *fds;

    if (*size > 0)
        memcpy(buffer, *data, *size);
    free(*data);
    size_t n = receive(world, buffer + *size, space, &fds);
    *data = buffer = realloc(buffer, *size + n + SCAN_PADDING);
    *size += n;
    if (fds) {
        fds->end = world->lines.position + *size;
        ((struct sent *)fds->userdata)->read_end = fds->end;
        fdqueue_push(&world->queue, fds);
    }
    while (!world->ended) {
        size_t consumed;
        struct line line;
        enum lines_result result =
            lines_next(&world->lines, buffer + taken, *size - taken, &consumed, &line);
        FUZZ_CHECK(consumed <= *size - taken, "more is consumed than there is");
        taken += consumed;
        FUZZ_CHECK(world->lines.position + (*size - taken) == world->position,
                   "what is consumed does not add up");
        if (result == LINES_MORE)
            break;
        take_line(world, result, &line);
    }
    FUZZ_CHECK(world->ended || *size - taken <= world->max, "more than a line is kept");
    memmove(buffer, buffer + taken, *size - taken);
    *size -= taken;
    return n > 0 && !world->ended;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t bytes_size)
{
    struct fuzz_input input = {(const char *)bytes, MIN(bytes_size, (size_t)4096)};
    CLEANUP(cleanup_free) struct world *world = calloc(1, sizeof(*world));
    char *data = NULL;
    size_t size = 0;

    world->max = 48 + fuzz_byte(&input) % 64u;
    world->random.state = fuzz_byte(&input);
    world->random.state |= (uint64_t)fuzz_byte(&input) << 8;
    lines_init(&world->lines, world->max);
    fdqueue_init(&world->queue);
    while (input.size > 0)
        send_command(world, &input);
    expect(world);
    while (read_once(world, &data, &size))
        ;
    if (!world->ended)
        FUZZ_CHECK(world->taken == world->frame_count, "%zu lines of %zu", world->taken,
                   world->frame_count);
    fdqueue_deinit(&world->queue);
    for (size_t i = 0; i < world->sent_count; i++)
        FUZZ_CHECK(world->sent[i].received == world->sent[i].released, "fds are never released");
    free(data);
    text_deinit(&world->stream);
    return 0;
}
