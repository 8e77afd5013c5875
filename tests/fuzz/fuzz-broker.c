/* SPDX-License-Identifier: MIT */
/*
 * A whole broker in this process, with up to four clients whose commands are decoded
 * from the input, against the model: who must receive what, in which order, and
 * nothing else. Clients connect through a real listener; the loop is run in small
 * steps, in one thread; time passes only by command.
 *
 * Input: commands of a byte (what, and for whom) and what run_command() reads for
 * each. In the end all have left, and nothing may be left of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "busd/broker.h"
#include "libbus/base/macros.h"
#include "libbus/wire/sockio.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/model.h"

#define COMMANDS_MAX 96
#define TURNS_MAX    10000
#define QUIET_TURNS  3 /* one to read, one to see the end, one to write */

struct world {
    struct log log;
    struct limits limits;
    struct broker broker;
    struct model model;
    struct fuzz_input input;
    bool busy;      /* something has happened that the loop has not run for … */
    unsigned actor; /* … namely what this player has sent, if it is not settled at once */
};

/* Where clients connect; each broker gets a duplicate. */
static int listening_fd = -1;
static struct sockaddr_un address;
static socklen_t address_size = sizeof(address);
static unsigned fds_open;

/* Instead of libuv's clock, and of threads (the linker's --wrap): the same input must
 * always take the same way. */
static uint64_t now;
uint64_t __wrap_uv_now(const uv_loop_t *loop);
uint64_t __wrap_uv_now(const uv_loop_t *loop)
{
    return now;
}

/* No thread: what is to be closed is closed on the spot. */
void __wrap_closer_put(struct closer *closer, struct closer_lane *lane, enum closer_kind kind,
                       struct fds *fds);
void __wrap_closer_put(struct closer *closer, struct closer_lane *lane, enum closer_kind kind,
                       struct fds *fds)
{
    list_remove(&fds->link);
    lane->taken[kind] += fds->count;
    lane->closed[kind] += fds->count;
    fds_destroy(fds);
}

/* --------------------------------------------------------------- the broker */

static void load_config(struct config *config, const char *address_text)
{
    /* Small, so that they are reached; but whoever is paused may stay so. */
    static const char *const limits[] = {
        "message_bytes=4096", "fds_per_message=2", "subscriptions=6", "names=3",         "calls=4",
        "monitors=2",         "invalid_lines=4",   "retained=3",      "stall_timeout=0",
    };
    struct config_source source = {.limits = limits,
                                   .limit_count = ARRAY_SIZE(limits),
                                   .addresses = &address_text,
                                   .address_count = 1};
    char reason[CONFIG_REASON_SIZE];

    FUZZ_CHECK(config_load(config, &source, reason), "%s", reason);
}

static void start(struct world *world)
{
    struct endpoint_options options = {
        .mode = 0600, .owner = (uid_t)-1, .group = (gid_t)-1, .user = (uid_t)-1};
    struct endpoint endpoint;
    struct config config;
    char text[32];
    int fd = fcntl(listening_fd, F_DUPFD_CLOEXEC, 0);

    now = 1000;
    log_init(&world->log, LOG_LEVEL_ERROR);
    snprintf(text, sizeof(text), "fd:%d", fd);
    options.address = text;
    load_config(&config, text);
    world->limits = config.limits;
    FUZZ_CHECK(fd >= 0 && endpoint_open(&endpoint, &options, &world->log) == 0, "no socket");
    FUZZ_CHECK(broker_init(&world->broker, &world->log, NULL, &config) == 0, "no broker");
    FUZZ_CHECK(broker_listen(&world->broker, &world->broker.config.listeners[0], &endpoint) == 0,
               "no listener");
    model_init(&world->model, &world->limits);
    world->model.now = now;
}

/* Runs the loop until nobody has anything more to read, and checks that everybody has
 * got everything. */
static void settle(struct world *world)
{
    unsigned turns = 0;
    unsigned idle = 0;

    if (!world->busy)
        return;
    while (idle < QUIET_TURNS) {
        bool moved = false;
        uv_run(&world->broker.loop, UV_RUN_NOWAIT);
        for (unsigned k = 0; k < MODEL_PLAYERS; k++) {
            struct player *player = &world->model.players[k];
            moved = player_read(player) || moved;
            /* Each line with fds takes the broker a read of its own. */
            moved = moved || (player->name > 0 && sockio_is_drained(player->fd) == 0);
        }
        idle = moved ? 0 : idle + 1;
        FUZZ_CHECK(turns++ < TURNS_MAX, "the broker does not come to rest");
    }
    for (unsigned k = 0; k < MODEL_PLAYERS; k++) {
        struct player *player = &world->model.players[k];
        if (player->name == 0 || player->paused)
            continue;
        player_check(player);
        FUZZ_CHECK(!player->ending, ":%" PRIu64 " should have been cut", player->name);
    }
    world->busy = false;
}

/* ----------------------------------------------------------------- the clients */

static void join(struct world *world, unsigned k)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    settle(world);
    FUZZ_CHECK(connect(fd, (struct sockaddr *)&address, address_size) == 0, "cannot connect: %s",
               strerror(errno));
    model_connect(&world->model, k, fd);
    world->busy = true;
    settle(world);
}

static void leave(struct world *world, unsigned k)
{
    settle(world);
    model_leave(&world->model, k);
    player_stop(&world->model.players[k]);
    world->busy = true;
    settle(world);
}

static void resume(struct world *world, unsigned k)
{
    world->busy = world->busy || world->model.players[k].paused;
    world->model.players[k].paused = false;
    settle(world);
}

static void make_fds(struct player_fds *fds, unsigned count)
{
    struct stat status;

    fds->count = count;
    for (unsigned i = 0; i < count; i++) {
        fds->fd[i] = memfd_create("sent", MFD_CLOEXEC);
        FUZZ_CHECK(fds->fd[i] >= 0 && fstat(fds->fd[i], &status) == 0, "no file to send");
        fds->inode[i] = status.st_ino;
    }
}

/* Sends a line (without LF) of player k, with fds. `options`: 1: the broker may read
 * it together with the next; 2: in two pieces. */
static void say(struct world *world, unsigned k, struct text *line, unsigned count,
                unsigned options)
{
    struct player *player = &world->model.players[k];
    struct player_fds fds;

    if (world->busy && world->actor != k)
        settle(world);
    make_fds(&fds, count);
    model_line(&world->model, k, text_span(line), &fds);
    text_append_string(line, "\n");
    size_t cut = options & 2 ? line->size / 2 : line->size;
    player_send(player, (struct span){line->data, cut}, &fds);
    if (cut < line->size) {
        uv_run(&world->broker.loop, UV_RUN_NOWAIT);
        player_send(player, (struct span){line->data + cut, line->size - cut}, NULL);
    }
    for (unsigned i = 0; i < count; i++)
        close(fds.fd[i]);
    world->actor = k;
    world->busy = true;
    if (player->ending) {
        /* It must be able to hear why. */
        player->paused = false;
        model_leave(&world->model, k);
    }
    if (!(options & 1) || player->ending)
        settle(world);
}

/* For what can end the client: it must be able to hear why. */
static void say_alone(struct world *world, unsigned k, struct text *line, unsigned count)
{
    resume(world, k);
    say(world, k, line, count, 0);
}

/* ----------------------------------------------------------------- their words */

static const char *pick_name(struct fuzz_input *input)
{
    static const char *const names[] = {"org.a",     "org.a.b", "com.x.y", "a.a",
                                        "org.a.b.c", "bus.x",   "org.a.9", "bus"};

    return names[fuzz_byte(input) % ARRAY_SIZE(names)];
}

static const char *pick_topic(struct fuzz_input *input)
{
    static const char *const topics[] = {"org.a", "org.a.b", "org.a.b.c", "a",   "a.a.a",
                                         "x.y",   "com.x.y", "com.x.y.1", "bus", "org"};

    return topics[fuzz_byte(input) % ARRAY_SIZE(topics)];
}

static const char *pick_pattern(struct fuzz_input *input)
{
    static const char *const patterns[] = {
        "#",       "*",         "org.#", "org.a.b",    "*.a.*",          "a",
        "a.*",     "bus.#",     "*.*",   "bus.name.#", "bus.name.org.a", "bus.peer.*",
        "org.*.#", "com.x.y.#", "x.y",   "bus.peer.2", "org.a.#",        "bus.subscribers.#",
    };

    return patterns[fuzz_byte(input) % ARRAY_SIZE(patterns)];
}

/* A unique name of somebody, or of nobody; or a well-known one. */
static void append_destination(struct world *world, struct text *text)
{
    uint8_t which = fuzz_byte(&world->input);

    if (which & 8)
        text_append_string(text, pick_name(&world->input));
    else if (world->model.players[which & 3].name > 0)
        text_printf(text, ":%" PRIu64, world->model.players[which & 3].name);
    else
        text_printf(text, ":%u", (which & 7) + 1u);
}

/* Bodies, also such as cross the edges of buffers. */
static void append_body(struct world *world, struct text *text)
{
    static const unsigned sizes[] = {0, 1, 20, 300, 1500, 3000, 3900, 4090};
    unsigned size = sizes[fuzz_byte(&world->input) % ARRAY_SIZE(sizes)];
    char body[4090];

    for (unsigned i = 0; i < size; i++)
        body[i] = (char)('a' + i % 8);
    text_append_string(text, ",\"body\":\"");
    text_append(text, body, size);
    text_append_string(text, "\"");
}

static unsigned append_fds(struct world *world, struct text *text)
{
    uint8_t which = fuzz_byte(&world->input);
    unsigned count = which < 192 ? 0 : which & 3;

    if (count > 0)
        text_printf(text, ",\"fds\":%u", count);
    return count;
}

static void append_id(struct world *world, struct text *text)
{
    text_printf(text, ",\"id\":%u", 1u + fuzz_byte(&world->input) % 6);
}

static void begin_bus_call(struct world *world, struct text *text, const char *method)
{
    text_printf(text, "{\"type\":\"call\",\"to\":\"bus\",\"method\":\"%s\"", method);
    append_id(world, text);
    if (fuzz_byte(&world->input) >= 240)
        text_append_string(text, ",\"no_reply\":true");
    text_append_string(text, ",\"body\":{");
}

static void say_subscribe(struct world *world, unsigned k, struct text *text)
{
    static const char *const retained[] = {NULL, "true", "false", "\"only\""};

    begin_bus_call(world, text, "Subscribe");
    text_printf(text, "\"topic\":\"%s\"", pick_pattern(&world->input));
    uint8_t flags = fuzz_byte(&world->input);
    if (flags & 1) {
        text_append_string(text, ",\"sender\":\"");
        append_destination(world, text);
        text_append_string(text, "\"");
    }
    if (flags & 6)
        text_printf(text, ",\"retained\":%s", retained[flags >> 1 & 3]);
    if (flags & 0x40)
        text_printf(text, ",\"overflow\":\"%s\"", flags & 0x80 ? "drop" : "disconnect");
    /* Of its own: which of several members gets an event is not foretold. */
    if (flags & 0x20)
        text_printf(text, ",\"group\":\"g%u\"", k);
    text_append_string(text, "}}");
}

static void say_request(struct world *world, struct text *text)
{
    begin_bus_call(world, text, "RequestName");
    uint8_t flags = fuzz_byte(&world->input);
    text_printf(text, "\"name\":\"%s\"", pick_name(&world->input));
    if (flags & 1)
        text_append_string(text, ",\"queue\":true");
    if (flags & 2)
        text_append_string(text, ",\"replace\":true");
    if (flags & 4)
        text_append_string(text, ",\"allow_replacement\":true");
    if (flags & 8)
        text_append_string(text, ",\"shared\":true");
    text_append_string(text, "}}");
}

static void say_other_method(struct world *world, struct text *text)
{
    static const char *const methods[] = {"Ping",       "GetId",   "ListNames",
                                          "Introspect", "Stats",   "GetCredentials",
                                          "GetName",    "Monitor", "Sing"};
    uint8_t which = fuzz_byte(&world->input) % ARRAY_SIZE(methods);

    begin_bus_call(world, text, methods[which]);
    if (which >= 4 && which <= 6) {
        text_append_string(text, "\"name\":\"");
        append_destination(world, text);
        text_append_string(text, "\"");
    }
    text_append_string(text, "}}");
}

/* What is to be kept goes neither to one nor with fds. */
static void append_retain(struct world *world, struct text *text)
{
    static const char *const levels[] = {"connection", "bus", "disk", "connection"};
    uint8_t flags = fuzz_byte(&world->input);

    text_printf(text, ",\"retain\":\"%s\"", levels[flags & 3]);
    if (flags & 4)
        text_printf(text, ",\"ttl\":%u", (flags >> 4) * 100u + 50);
    if (flags & 8)
        text_append_string(text, ",\"body\":null");
    else
        append_body(world, text);
}

static unsigned say_event(struct world *world, struct text *text)
{
    uint8_t flags = fuzz_byte(&world->input);
    unsigned fds = 0;

    text_printf(text, "{\"type\":\"event\",\"topic\":\"%s\"", pick_topic(&world->input));
    if (flags & 2)
        append_id(world, text);
    if (flags & 4) {
        append_retain(world, text);
    } else {
        if (flags & 1) {
            text_append_string(text, ",\"to\":\"");
            append_destination(world, text);
            text_append_string(text, "\"");
        }
        fds = append_fds(world, text);
        append_body(world, text);
    }
    text_append_string(text, "}");
    return fds;
}

static unsigned say_call(struct world *world, struct text *text)
{
    uint8_t flags = fuzz_byte(&world->input);

    text_append_string(text, "{\"type\":\"call\",\"method\":\"Do\",\"to\":\"");
    append_destination(world, text);
    text_append_string(text, "\"");
    append_id(world, text);
    if (flags & 1)
        text_append_string(text, ",\"no_reply\":true");
    else if (flags & 128)
        text_append_string(text, ",\"more\":true");
    if (flags & 2)
        text_printf(text, ",\"timeout\":%u", (flags >> 2 & 31) * 100u);
    unsigned fds = append_fds(world, text);
    append_body(world, text);
    text_append_string(text, "}");
    return fds;
}

static unsigned say_answer(struct world *world, struct text *text)
{
    uint8_t flags = fuzz_byte(&world->input);

    text_append_string(text, flags & 1   ? "{\"type\":\"error\",\"error\":\"a.b\",\"to\":\""
                             : flags & 2 ? "{\"type\":\"reply\",\"more\":true,\"to\":\""
                                         : "{\"type\":\"reply\",\"to\":\"");
    append_destination(world, text);
    text_append_string(text, "\"");
    append_id(world, text);
    unsigned fds = append_fds(world, text);
    append_body(world, text);
    text_append_string(text, "}");
    return fds;
}

static void say_cancel(struct world *world, struct text *text)
{
    text_append_string(text, "{\"type\":\"cancel\",\"to\":\"");
    append_destination(world, text);
    text_append_string(text, "\"");
    append_id(world, text);
    text_append_string(text, "}");
}

/* Any bytes as a line, a line that is too long, or other fds than declared. */
static void say_wrong(struct world *world, unsigned k, struct text *text)
{
    uint8_t flags = fuzz_byte(&world->input);
    unsigned fds = flags >> 4 & 3;

    if (flags & 8) {
        text_append_string(text, "{\"type\":\"event\",\"topic\":\"a\"");
        if (flags & 3)
            text_printf(text, ",\"fds\":%u", flags & 3);
        text_append_string(text, "}");
    } else if (flags & 4) {
        append_body(world, text);
        append_body(world, text);
    } else {
        struct span line = fuzz_take(&world->input, fuzz_byte(&world->input));
        text_append_span(text, fuzz_first_line((const uint8_t *)line.data, line.size));
        if (flags & 1)
            fds = 0;
    }
    if (text->size == 0)
        return;
    if (fds > 0 && strspn(text->data, " \t\r") >= text->size)
        fds = 0;
    say_alone(world, k, text, fds);
}

/* Leaves in the middle of a line. */
static void break_off(struct world *world, unsigned k)
{
    settle(world);
    player_send(&world->model.players[k], SPAN("{\"type\":\"event\",\"topic\":\"a\","), NULL);
    leave(world, k);
}

static void pass_time(struct world *world)
{
    static const uint64_t spans[] = {1, 99, 100, 1000, 6300, 25000, 100000, 1 << 20};

    settle(world);
    uint64_t ms = spans[fuzz_byte(&world->input) % ARRAY_SIZE(spans)];
    now += ms;
    model_advance(&world->model, ms);
    world->busy = true;
    settle(world);
}

static void run_command(struct world *world)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;
    uint8_t command = fuzz_byte(&world->input);
    unsigned k = command >> 4 & 3;
    unsigned options = command >> 6;
    struct player *player = &world->model.players[k];
    unsigned fds = 0;

    if (player->name == 0) {
        join(world, k);
        return;
    }
    switch (command & 15) {
    case 0:
        options & 1 ? break_off(world, k) : leave(world, k);
        return;
    case 1:
        settle(world);
        player->paused = true;
        return;
    case 2:
        resume(world, k);
        return;
    case 3:
        pass_time(world);
        return;
    case 4:
        say_wrong(world, k, &text);
        return;
    case 5:
        begin_bus_call(world, &text, "Unsubscribe");
        text_printf(&text, "\"subscription\":%u}}", 1u + fuzz_byte(&world->input) % 8);
        break;
    case 6:
        begin_bus_call(world, &text, "ReleaseName");
        text_printf(&text, "\"name\":\"%s\"}}", pick_name(&world->input));
        break;
    case 7:
        say_other_method(world, &text);
        break;
    case 8:
        say_request(world, &text);
        break;
    case 9:
        say_cancel(world, &text);
        break;
    case 10:
    case 11:
        say_subscribe(world, k, &text);
        break;
    case 12:
        fds = say_answer(world, &text);
        break;
    case 13:
        fds = say_call(world, &text);
        break;
    default:
        fds = say_event(world, &text);
        break;
    }
    /* Such a line can be one too many. */
    if (text.size >= world->limits.message_bytes)
        say_alone(world, k, &text, fds);
    else
        say(world, k, &text, fds, options);
}

/* ----------------------------------------------------------------- the whole */

static void check_empty(const struct hub *hub, const struct model *model)
{
    size_t timed;
    size_t values = model_values_count(&model->values, &timed);

    FUZZ_CHECK(hub->peers.by_id.count == 0, "peers are left");
    FUZZ_CHECK(hub->names.table.count == 0, "names are left");
    FUZZ_CHECK(hub->topics.count == 0 && hub->topics.count_broker == 0, "subscriptions are left");
    FUZZ_CHECK(hub->calls.table.count == 0 && hub->deadlines.count == timed, "calls are left");
    FUZZ_CHECK(hub->retained.topics.table.count == values, "other values are left");
    FUZZ_CHECK(!presence_is_watched(&hub->presence), "watches are left");
    FUZZ_CHECK(list_is_empty(&hub->monitors.watchers), "monitors are left");
}

static void run(const uint8_t *data, size_t size)
{
    static struct world world;

    world = (struct world){.input = {(const char *)data, size}};
    start(&world);
    for (unsigned i = 0; i < COMMANDS_MAX && world.input.size > 0; i++)
        run_command(&world);
    for (unsigned k = 0; k < MODEL_PLAYERS; k++)
        if (world.model.players[k].name > 0)
            resume(&world, k);
    for (unsigned k = 0; k < MODEL_PLAYERS; k++)
        if (world.model.players[k].name > 0)
            leave(&world, k);
    check_empty(&world.broker.hub, &world.model);
    model_deinit(&world.model);
    broker_deinit(&world.broker);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    sa_family_t family = AF_UNIX;

    listening_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* An abstract name of the kernel's choice. */
    FUZZ_CHECK(bind(listening_fd, (struct sockaddr *)&(struct sockaddr){.sa_family = family},
                    sizeof(family)) == 0 &&
                   listen(listening_fd, 16) == 0 &&
                   getsockname(listening_fd, (struct sockaddr *)&address, &address_size) == 0,
               "cannot listen: %s", strerror(errno));
    /* What libuv opens once for all. */
    run((const uint8_t *)"", 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* libFuzzer itself opens files as it goes. */
    fds_open = fuzz_count_fds();
    run(data, size);
    FUZZ_CHECK(fuzz_count_fds() == fds_open, "%u file descriptors are open, not %u",
               fuzz_count_fds(), fds_open);
    return 0;
}
