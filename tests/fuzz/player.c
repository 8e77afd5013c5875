/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/player.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "libbus/wire/envelope.h"
#include "libbus/wire/scan.h"
#include "libbus/wire/sockio.h"
#include "tests/fuzz/fuzz.h"

#define READ_SIZE    65536
#define LINE_MAX_ANY (1u << 20)

void player_start(struct player *player, uint64_t name, int fd)
{
    *player = (struct player){.name = name, .fd = fd};
    list_init(&player->expected);
    lines_init(&player->lines, LINE_MAX_ANY);
    fdqueue_init(&player->fdqueue);
}

static void expectation_free(struct expectation *expectation)
{
    list_remove(&expectation->link);
    free(expectation->line);
    json_decref(expectation->tree);
    free(expectation);
}

void player_stop(struct player *player)
{
    LIST_FOREACH_SAFE (node, &player->expected)
        expectation_free(LIST_ENTRY(node, struct expectation, link));
    fdqueue_deinit(&player->fdqueue);
    free(player->data);
    close(player->fd);
    *player = (struct player){.fd = -1};
}

void player_send(struct player *player, struct span bytes, const struct player_fds *fds)
{
    struct iovec iov = {(void *)(uintptr_t)bytes.data, bytes.size};
    struct fds *set = fds && fds->count > 0 ? fds_new(fds->fd, fds->count) : NULL;
    ssize_t n = sockio_send(player->fd, &iov, 1, set);

    free(set); /* The descriptors stay the caller's. */
    FUZZ_CHECK(n == (ssize_t)bytes.size, ":%" PRIu64 " could send %zd bytes of %zu", player->name,
               n, bytes.size);
}

/* --------------------------------------------------------------- expecting */

static struct expectation *expectation_new(struct player *player)
{
    struct expectation *expectation = calloc(1, sizeof(*expectation));

    list_init(&expectation->link);
    list_append(&player->expected, &expectation->link);
    return expectation;
}

void player_expect_line(struct player *player, struct span prefix, struct span rest,
                        const struct player_fds *fds)
{
    struct expectation *expectation = expectation_new(player);

    expectation->size = prefix.size + rest.size;
    expectation->line = malloc(expectation->size);
    memcpy(expectation->line, prefix.data, prefix.size);
    memcpy(expectation->line + prefix.size, rest.data, rest.size);
    if (fds)
        expectation->fds = *fds;
}

struct expectation *player_expect(struct player *player, unsigned group, json_t *tree)
{
    struct expectation *expectation = expectation_new(player);

    FUZZ_CHECK(tree, "an expectation that is no JSON");
    expectation->group = group;
    expectation->tree = tree;
    return expectation;
}

/* --------------------------------------------------------------- comparing */

/* Whether everything in `expected` is in `tree`; an object's further keys do not
 * matter. */
static bool holds(json_t *tree, json_t *expected)
{
    const char *key;
    json_t *value;

    if (!json_is_object(expected))
        return json_equal(tree, expected);
    json_object_foreach(expected, key, value)
    {
        json_t *found = json_object_get(tree, key);
        if (!found || !holds(found, value))
            return false;
    }
    return json_is_object(tree);
}

static bool fds_fit(const struct expectation *expectation, const struct fds *fds)
{
    unsigned count = fds ? fds->count : 0;

    if (expectation->any_fds)
        return true;
    if (count != expectation->fds.count)
        return false;
    for (unsigned i = 0; i < count; i++) {
        struct stat status;
        if (fstat(fds->fd[i], &status) < 0 || status.st_ino != expectation->fds.inode[i])
            return false;
    }
    return true;
}

static bool fits(const struct expectation *expectation, struct span line, json_t *tree,
                 const struct fds *fds)
{
    if (!fds_fit(expectation, fds))
        return false;
    if (expectation->line)
        return span_equal(line, (struct span){expectation->line, expectation->size});
    return holds(tree, expectation->tree) &&
           (json_object_get(expectation->tree, "id") || !json_object_get(tree, "id"));
}

static struct expectation *find_fitting(const struct player *player, struct span line, json_t *tree,
                                        const struct fds *fds)
{
    struct list *head = list_first(&player->expected);
    unsigned group = head ? LIST_ENTRY(head, struct expectation, link)->group : 0;

    LIST_FOREACH (node, &player->expected) {
        struct expectation *expectation = LIST_ENTRY(node, struct expectation, link);
        if (expectation->group != group)
            break;
        if (fits(expectation, line, tree, fds))
            return expectation;
        if (group == 0)
            break;
    }
    return NULL;
}

/* For messages about what is wrong. */
static char *describe_next(const struct player *player)
{
    struct list *head = list_first(&player->expected);
    struct expectation *expectation = head ? LIST_ENTRY(head, struct expectation, link) : NULL;

    if (!expectation)
        return strdup("nothing");
    return expectation->line ? strndup(expectation->line, expectation->size)
                             : json_dumps(expectation->tree, JSON_COMPACT);
}

static void take_line(struct player *player, const struct line *line)
{
    struct envelope_fault fault;
    struct envelope envelope;
    struct fds *fds;

    int r =
        envelope_parse(&envelope, line->text.data, line->text.size, ENVELOPE_FROM_BROKER, &fault);
    FUZZ_CHECK(r == 0, ":%" PRIu64 " got what is no message: %.*s: %s", player->name,
               SPAN_ARGS(line->text), fault.reason);
    FUZZ_CHECK(fdqueue_take(&player->fdqueue, line, envelope.fds, &fds) == FDQUEUE_OK,
               ":%" PRIu64 " got other fds than those of the line: %.*s", player->name,
               SPAN_ARGS(line->text));
    json_t *tree = json_loadb(line->text.data, line->text.size, JSON_ALLOW_NUL, NULL);
    struct expectation *expectation = find_fitting(player, line->text, tree, fds);
    bool sighting = ((player->watching && span_is(envelope.topic, "bus.monitor")) ||
                     span_starts_with(envelope.topic, SPAN("bus.subscribers."))) &&
                    span_is(envelope.sender, "bus") && tree;
    CLEANUP(cleanup_free) char *next = expectation ? NULL : describe_next(player);
    FUZZ_CHECK(expectation || (sighting && !fds), ":%" PRIu64 " got %.*s (%u fds), not %s",
               player->name, SPAN_ARGS(line->text), fds ? fds->count : 0, next);
    if (expectation)
        expectation_free(expectation);
    json_decref(tree);
    fds_unref(fds);
}

bool player_read(struct player *player)
{
    static char buffer[READ_SIZE];
    struct fds *fds;

    if (player->name == 0 || player->paused)
        return false;
    ssize_t n = sockio_recv(player->fd, buffer, READ_SIZE, &fds);
    if (n == -EAGAIN)
        return false;
    if (n <= 0) {
        FUZZ_CHECK(player->ending, ":%" PRIu64 " is cut off", player->name);
        FUZZ_CHECK(player->size == 0, ":%" PRIu64 " got half a line at its end", player->name);
        player_check(player);
        player_stop(player);
        return true;
    }
    player->data = realloc(player->data, player->size + (size_t)n + SCAN_PADDING);
    memcpy(player->data + player->size, buffer, (size_t)n);
    player->size += (size_t)n;
    if (fds) {
        fds->end = player->lines.position + player->size;
        fdqueue_push(&player->fdqueue, fds);
    }

    size_t taken = 0;
    for (;;) {
        size_t consumed;
        struct line line;
        enum lines_result result = lines_next(&player->lines, player->data + taken,
                                              player->size - taken, &consumed, &line);
        taken += consumed;
        if (result == LINES_MORE)
            break;
        take_line(player, &line);
    }
    player->size -= taken;
    memmove(player->data, player->data + taken, player->size);
    return true;
}

void player_check(const struct player *player)
{
    CLEANUP(cleanup_free) char *next = describe_next(player);

    FUZZ_CHECK(list_is_empty(&player->expected), ":%" PRIu64 " has not got %s", player->name, next);
}
