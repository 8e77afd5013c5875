/* SPDX-License-Identifier: MIT */
#include "tests/faults/world.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "tests/support/process.h"

#define FDS_MAX   16
#define READ_SIZE 65536
/* How long a step may take in which there is something to complain of already. */
#define IMPATIENCE_MS 20

void world_init(struct world *world, const char *path, unsigned patience)
{
    *world = (struct world){
        .path = path, .patience = patience, .strict = true, .exact = true, .next_id = 1};
}

void world_complain(struct world *world, const char *format, ...)
{
    va_list args;

    if (world->complaint[0])
        return;
    va_start(args, format);
    vsnprintf(world->complaint, sizeof(world->complaint), format, args);
    va_end(args);
}

static bool is_here(const struct actor *actor)
{
    return !actor->lost && !actor->left;
}

static void close_fds(int *fd, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fd[i]);
}

static void let_go(struct actor *actor)
{
    if (actor->fd >= 0)
        close(TAKE_FD(actor->fd));
    close_fds(actor->held, actor->held_count);
    actor->held_count = 0;
}

static void lose(struct actor *actor)
{
    actor->lost = true;
    let_go(actor);
}

void actor_leave(struct actor *actor)
{
    if (is_here(actor))
        actor->left = true;
    let_go(actor);
}

void world_deinit(struct world *world)
{
    for (size_t i = 0; i < world->count; i++) {
        let_go(&world->actors[i]);
        free(world->actors[i].buffer);
    }
}

unsigned world_lost(const struct world *world)
{
    unsigned lost = 0;

    for (size_t i = 0; i < world->count; i++)
        lost += world->actors[i].lost;
    return lost;
}

/* -------------------------------------------------------------- sending */

static ssize_t send_once(struct actor *actor, const char *data, size_t size, const int *fd,
                         unsigned count)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)data, size};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

    if (count > 0) {
        control.header = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
                                          .cmsg_type = SCM_RIGHTS,
                                          .cmsg_len = CMSG_LEN(count * sizeof(int))};
        memcpy(CMSG_DATA(&control.header), fd, count * sizeof(int));
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    }
    return sendmsg(actor->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static bool pump(struct world *world, unsigned timeout_ms);

void actor_send_bytes(struct actor *actor, const char *data, size_t size, unsigned fds)
{
    uint64_t end = process_now() + actor->world->patience;
    int fd[FDS_MAX];

    for (unsigned i = 0; i < fds; i++)
        fd[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    unsigned count = fds;
    while (size > 0 && is_here(actor)) {
        ssize_t n = send_once(actor, data, size, fd, count);
        if (n > 0) {
            data += n;
            size -= (size_t)n;
            count = 0;
        } else if (errno == EAGAIN && process_now() < end) {
            pump(actor->world, 1);
        } else if (errno == EAGAIN) {
            /* Half a line cannot be mended. */
            actor_leave(actor);
        } else {
            /* What came before the end is read first. */
            break;
        }
    }
    close_fds(fd, fds);
}

static void send_text(struct actor *actor, unsigned fds, const char *format, va_list args)
{
    CLEANUP(cleanup_free) char *text = NULL;
    int size = vasprintf(&text, format, args);

    if (size < 0)
        abort();
    for (char *c = text; *c; c++)
        if (*c == '\'')
            *c = '"';
    text[size] = '\n';
    actor_send_bytes(actor, text, (size_t)size + 1, fds);
}

void actor_send(struct actor *actor, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    send_text(actor, 0, format, args);
    va_end(args);
}

void actor_send_fds(struct actor *actor, unsigned fds, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    send_text(actor, fds, format, args);
    va_end(args);
}

static uint64_t expect_answer(struct actor *actor, const char *method)
{
    uint64_t id = actor->world->next_id++;

    if (actor->call_count == ACTOR_CALLS) {
        world_complain(actor->world, "%s has no room for another call", actor->name);
        return 0;
    }
    actor->calls[actor->call_count].id = id;
    actor->calls[actor->call_count++].method = method;
    return id;
}

uint64_t actor_call(struct actor *actor, const char *to, const char *method, const char *rest, ...)
{
    CLEANUP(cleanup_free) char *keys = NULL;
    va_list args;

    if (!is_here(actor))
        return 0;
    va_start(args, rest);
    if (vasprintf(&keys, rest, args) < 0)
        abort();
    va_end(args);
    uint64_t id = expect_answer(actor, method);
    actor_send(actor, "{'type':'call','id':%" PRIu64 ",'to':'%s','method':'%s'%s}", id, to, method,
               keys);
    return id;
}

void actor_keep(struct actor *actor, const char *topic, const char *body)
{
    if (!is_here(actor))
        return;
    uint64_t id = expect_answer(actor, "a receipt");
    actor_send(actor, "{'type':'event','id':%" PRIu64 ",'topic':'%s','retain':'disk','body':%s}",
               id, topic, body);
}

void actor_subscribe(struct actor *actor, const char *prefix)
{
    if (actor_call(actor, "bus", "Subscribe", ",'body':{'topic':'%s#'}", prefix) > 0)
        snprintf(actor->calls[actor->call_count - 1].subscribes, sizeof(actor->calls[0].subscribes),
                 "%s", prefix);
}

static bool counts(const struct actor *actor, const char *topic)
{
    for (size_t i = 0; i < actor->pattern_count; i++)
        if (strncmp(topic, actor->patterns[i], strlen(actor->patterns[i])) == 0)
            return true;
    return false;
}

void actor_publish(struct actor *actor, const char *topic, size_t size, unsigned fds)
{
    struct world *world = actor->world;
    CLEANUP(cleanup_free) char *filler = malloc(size + 1);
    char declared[24] = "";

    if (!filler)
        abort();
    if (!is_here(actor))
        return;
    actor->publishes = true;
    memset(filler, 'x', size);
    filler[size] = '\0';
    if (fds > 0)
        snprintf(declared, sizeof(declared), ",'fds':%u", fds);
    world->published++;
    for (size_t i = 0; i < world->count; i++)
        world->actors[i].expected += counts(&world->actors[i], topic);
    actor_send_fds(actor, fds, "{'type':'event','topic':'%s'%s,'body':{'n':%" PRIu64 ",'x':'%s'}}",
                   topic, declared, world->published, filler);
}

void actor_publish_asking(struct actor *actor, const char *topic, size_t size)
{
    CLEANUP(cleanup_free) char *filler = malloc(size + 1);

    if (!filler)
        abort();
    if (!is_here(actor))
        return;
    memset(filler, 'x', size);
    filler[size] = '\0';
    actor_send(actor, "{'type':'event','id':%" PRIu64 ",'topic':'%s','body':'%s'}",
               expect_answer(actor, "a receipt"), topic, filler);
}

/* ------------------------------------------------------------ receiving */

static const char *text_of(json_t *message, const char *key)
{
    const char *text = json_string_value(json_object_get(message, key));

    return text ? text : "";
}

/* A line was not taken: if it was an event, then nobody gets that. */
static void take_complaint(struct world *world, json_t *about)
{
    for (size_t i = 0; strcmp(text_of(about, "type"), "event") == 0 && i < world->count; i++)
        world->actors[i].expected -= counts(&world->actors[i], text_of(about, "topic"));
}

static void take_answer(struct actor *actor, json_t *message, const char *type)
{
    uint64_t id = (uint64_t)json_integer_value(json_object_get(message, "id"));
    size_t i = 0;

    if (id == 0) {
        take_complaint(actor->world, json_object_get(message, "about"));
        return;
    }
    while (i < actor->call_count && actor->calls[i].id != id)
        i++;
    if (i == actor->call_count || actor->calls[i].answered) {
        world_complain(actor->world, "%s got %s answer to call %" PRIu64, actor->name,
                       i == actor->call_count ? "an unasked-for" : "a second", id);
        return;
    }
    actor->calls[i].answered = true;
    actor->errors += strcmp(type, "error") == 0;
    if (strcmp(type, "reply") == 0 && actor->calls[i].subscribes[0] &&
        actor->pattern_count < ACTOR_PATTERNS)
        memcpy(actor->patterns[actor->pattern_count++], actor->calls[i].subscribes,
               sizeof(actor->patterns[0]));
}

static void take_call(struct actor *actor, json_t *message)
{
    const char *method = text_of(message, "method");
    const char *caller = text_of(message, "sender");
    uint64_t id = (uint64_t)json_integer_value(json_object_get(message, "id"));

    if (id == 0 || json_is_true(json_object_get(message, "no_reply")))
        return;
    if (strcmp(method, "Fail") == 0)
        actor_send(actor, "{'type':'error','to':'%s','id':%" PRIu64 ",'error':'org.example.No'}",
                   caller, id);
    if (strcmp(method, "Echo") == 0)
        actor_send(actor, "{'type':'reply','to':'%s','id':%" PRIu64 ",'body':2}", caller, id);
    if (strcmp(method, "Fds") == 0)
        actor_send_fds(actor, 1, "{'type':'reply','to':'%s','id':%" PRIu64 ",'fds':1}", caller, id);
}

static void take_event(struct actor *actor, json_t *message)
{
    const char *topic = text_of(message, "topic");
    json_t *body = json_object_get(message, "body");
    uint64_t n = (uint64_t)json_integer_value(json_object_get(body, "n"));

    if (strcmp(topic, "bus.welcome") == 0) {
        snprintf(actor->unique, sizeof(actor->unique), "%s", text_of(body, "name"));
        actor->welcome = true;
    } else if (strcmp(topic, "bus.overflow") == 0) {
        actor->missed += (uint64_t)json_integer_value(json_object_get(body, "lost"));
    } else if (n > 0 && counts(actor, topic)) {
        if (n <= actor->last)
            world_complain(actor->world, "%s got event %" PRIu64 " after %" PRIu64, actor->name, n,
                           actor->last);
        actor->seen++;
        actor->last = n;
    }
}

static void check_fds(struct actor *actor, json_t *message, const char *line)
{
    unsigned declared = (unsigned)json_integer_value(json_object_get(message, "fds"));

    if (declared == 0)
        return;
    unsigned came = actor->batch_count > 0 ? actor->batches[0] : 0;
    if (came != declared)
        world_complain(actor->world, "%s got %u fds with: %.200s", actor->name, came, line);
    if (actor->batch_count > 0)
        memmove(actor->batches, actor->batches + 1,
                --actor->batch_count * sizeof(actor->batches[0]));
    close_fds(actor->held, MIN(came, actor->held_count));
    actor->held_count -= MIN(came, actor->held_count);
    memmove(actor->held, actor->held + came, actor->held_count * sizeof(actor->held[0]));
}

static void take_line(struct actor *actor, const char *line, size_t size)
{
    json_t *message = json_loadb(line, size, 0, NULL);
    const char *type = text_of(message, "type");

    if (!json_is_object(message))
        world_complain(actor->world, "%s got: %.*s", actor->name, (int)MIN(size, 300u), line);
    check_fds(actor, message, line);
    if (strcmp(type, "call") == 0)
        take_call(actor, message);
    else if (strcmp(type, "event") == 0)
        take_event(actor, message);
    else if (strcmp(type, "cancel") != 0)
        take_answer(actor, message, type);
    json_decref(message);
}

static void take_lines(struct actor *actor)
{
    size_t taken = 0;
    char *lf;

    while (actor->size > taken && (lf = memchr(actor->buffer + taken, '\n', actor->size - taken))) {
        size_t size = (size_t)(lf - actor->buffer) - taken;
        take_line(actor, actor->buffer + taken, size);
        taken += size + 1;
    }
    if (taken > 0)
        memmove(actor->buffer, actor->buffer + taken, actor->size -= taken);
}

static void keep_fds(struct actor *actor, struct msghdr *header)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        unsigned count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (unsigned i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (actor->held_count < ARRAY_SIZE(actor->held))
                actor->held[actor->held_count++] = fd;
            else
                close(fd);
        }
        if (actor->batch_count < ACTOR_BATCHES)
            actor->batches[actor->batch_count++] = count;
    }
}

/* Reads what is there; false at the end of the stream. */
static bool read_once(struct actor *actor)
{
    char control[CMSG_SPACE(FDS_MAX * sizeof(int))];

    if (actor->capacity - actor->size < READ_SIZE) {
        actor->capacity = actor->capacity * 2 + READ_SIZE;
        actor->buffer = realloc(actor->buffer, actor->capacity);
        if (!actor->buffer)
            abort();
    }
    struct iovec iov = {actor->buffer + actor->size, READ_SIZE};
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(actor->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false;
    keep_fds(actor, &header);
    actor->size += (size_t)n;
    take_lines(actor);
    return true;
}

/* ------------------------------------------------------------- together */

static bool is_waiting(const struct actor *actor)
{
    if (!is_here(actor) || actor->deaf)
        return false;
    for (size_t i = 0; i < actor->call_count; i++)
        if (!actor->calls[i].answered)
            return true;
    return !actor->welcome;
}

static bool anybody_waits(const struct world *world)
{
    for (size_t i = 0; i < world->count; i++)
        if (is_waiting(&world->actors[i]))
            return true;
    return false;
}

/* Everybody who hears reads once, if something comes in time. */
static bool pump(struct world *world, unsigned timeout_ms)
{
    struct pollfd wait[WORLD_ACTORS];

    for (size_t i = 0; i < world->count; i++) {
        struct actor *actor = &world->actors[i];
        wait[i] = (struct pollfd){is_here(actor) && !actor->deaf ? actor->fd : -1, POLLIN, 0};
    }
    if (poll(wait, world->count, (int)timeout_ms) <= 0)
        return false;
    for (size_t i = 0; i < world->count; i++)
        if (wait[i].revents && is_here(&world->actors[i]) && !read_once(&world->actors[i]))
            lose(&world->actors[i]);
    return true;
}

static void complain_of_waiting(struct world *world)
{
    for (size_t i = 0; i < world->count; i++) {
        const struct actor *actor = &world->actors[i];
        if (is_waiting(actor))
            world_complain(world, "%s waits in vain for an answer to %s", actor->name,
                           actor->call_count > 0 ? actor->calls[0].method : "its connecting");
    }
}

bool world_step(struct world *world)
{
    uint64_t end = process_now() + world->patience;

    while (anybody_waits(world) && process_now() < end)
        pump(world, (unsigned)(end - MIN(process_now(), end)));
    bool done = !anybody_waits(world);
    if (!done && world->strict) {
        complain_of_waiting(world);
        world->patience = IMPATIENCE_MS;
    }
    world->exact = world->exact && done;
    /* Those that are answered need not be looked at again. */
    for (size_t i = 0; i < world->count; i++) {
        struct actor *actor = &world->actors[i];
        size_t kept = 0;
        for (size_t k = 0; k < actor->call_count; k++)
            if (!actor->calls[k].answered)
                actor->calls[kept++] = actor->calls[k];
        memset(actor->calls + kept, 0, (ACTOR_CALLS - kept) * sizeof(actor->calls[0]));
        actor->call_count = kept;
    }
    return done;
}

struct actor *world_connect(struct world *world, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct actor *actor = &world->actors[world->count++];

    if (world->count > WORLD_ACTORS)
        abort();
    *actor = (struct actor){.world = world, .name = name};
    actor->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", world->path);
    if (actor->fd < 0 || connect(actor->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        lose(actor);
    world_step(world);
    return actor;
}

static bool is_publisher_lost(const struct world *world)
{
    for (size_t i = 0; i < world->count; i++)
        if (world->actors[i].publishes && world->actors[i].lost)
            return true;
    return false;
}

static void check_events(struct world *world, const struct actor *actor)
{
    bool all = !is_publisher_lost(world);
    uint64_t known = actor->seen + actor->missed;

    if (world->exact && actor->pattern_count > 0 &&
        (all ? known != actor->expected : known > actor->expected))
        world_complain(
            world, "%s got %" PRIu64 " of %" PRIu64 " events, and notice of %" PRIu64 " lost ones",
            actor->name, actor->seen, actor->expected, actor->missed);
}

void world_settle(struct world *world)
{
    /* Twice: the first answer may have made room for a notice. */
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < world->count; i++) {
            world->actors[i].deaf = false;
            if (is_here(&world->actors[i]))
                actor_call(&world->actors[i], "bus", "Ping", "%s", "");
        }
        world_step(world);
    }
    for (size_t i = 0; i < world->count; i++)
        if (is_here(&world->actors[i]))
            check_events(world, &world->actors[i]);
}
