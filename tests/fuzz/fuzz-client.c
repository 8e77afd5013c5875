/* SPDX-License-Identifier: MIT */
/*
 * libbus with a hostile bus at the other end of its socket. The program on this side
 * has subscriptions, services, calls that wait, iterations, a watched name, and handlers
 * that do whatever the input says: free slots, keep messages, answer now or later, take fds.
 * The bus says any bytes, in any pieces, with any fds, or messages that are nearly
 * right. It can open a direct channel to the service, too, and say the same there.
 *
 * Whatever it says, nothing crashes, hangs or leaks, no handler runs after its slot
 * was freed, and the library itself sends nothing but lines that a bus accepts.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bus/bus.h"
#include "libbus/base/macros.h"
#include "libbus/base/text.h"
#include "tests/fuzz/hostile.h"

#define SLOTS        8
#define KEPT         8
#define STREAMS      4
#define COMMANDS_MAX 64
#define ROUNDS_MAX   4096

struct registration {
    struct world *world;
    struct bus_slot *slot;
    bool live;
    bool is_call; /* gets one answer … */
    bool more;    /* … after any number of items */
    bool answered;
};

struct world {
    struct bus *bus;
    struct hostile hostile;
    struct fuzz_input input;
    struct registration slots[SLOTS];
    struct registration opened; /* of what comes on channels */
    struct bus_message *kept[KEPT];
    struct bus_stream *streams[STREAMS];
    bool silent; /* nothing more can be said: what blocks comes to its end */
    bool lost;
};

/* ------------------------------------------------------------ the hostile bus */

static void say_greeting(struct world *world, uint8_t flags)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;
    static const char *const sizes[] = {"1048576", "256", "0", "-1", "9007199254740991", "1e3"};

    text_append_string(&text, "{\"sender\":\"bus\",\"type\":\"event\",\"topic\":\"bus.welcome\"");
    text_append_string(&text, ",\"body\":{\"name\":\":42\"");
    text_append_string(&text, ",\"bus\":\"0123456789abcdef0123456789abcdef\",\"protocol\":1");
    text_printf(&text, ",\"limits\":{\"message_bytes\":%s}}}\n",
                flags & 8 ? sizes[(flags >> 4) % ARRAY_SIZE(sizes)] : sizes[0]);
    hostile_say(&world->hostile, text_span(&text), 0);
}

/* A message that is nearly right, its body and what is behind it from the input. */
static void say_message(struct world *world, uint8_t options)
{
    static const char *const heads[] = {
        "\"sender\":\"bus\",\"type\":\"reply\"",
        "\"sender\":\"bus\",\"type\":\"error\",\"error\":\"bus.NameUnknown\"",
        "\"sender\":\":7\",\"type\":\"reply\"",
        "\"sender\":\":7\",\"type\":\"error\",\"error\":\"a.b\",\"message\":\"\\u00e9\"",
        "\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a.b\"",
        "\"sender\":\"bus\",\"type\":\"event\",\"retained\":true,\"topic\":\"a.b\"",
        "\"sender\":\"bus\",\"type\":\"event\",\"topic\":\"bus.name.org.watched\"",
        "\"sender\":\"bus\",\"type\":\"event\",\"topic\":\"bus.overflow\"",
        "\"sender\":\":7\",\"type\":\"call\",\"to\":\"org.served\",\"method\":\"Now\"",
        "\"sender\":\":7\",\"type\":\"call\",\"to\":\"org.served\",\"method\":\"Later\"",
        "\"sender\":\":7\",\"type\":\"call\",\"to\":\":42\",\"method\":\"Introspect\"",
        "\"sender\":\":7\",\"type\":\"call\",\"no_reply\":true,\"method\":\"Now\"",
        "\"sender\":\":7\",\"type\":\"cancel\",\"reason\":\"timeout\"",
        "\"sender\":\"bus\",\"type\":\"error\",\"error\":\"bus.Disconnected\"",
        "\"sender\":\"org.watched\",\"type\":\"event\",\"topic\":\"x\"",
        "\"sender\":\":7\",\"type\":\"reply\",\"more\":true",
    };
    static const char *const more_heads[] = {
        "\"sender\":\":7\",\"type\":\"call\",\"method\":\"Later\",\"more\":true",
        "\"sender\":\":7\",\"type\":\"reply\",\"more\":true",
        "\"sender\":\"bus\",\"type\":\"event\",\"topic\":\"bus.flow\"",
        "\"sender\":\":7\",\"type\":\"reply\",\"more\":false",
    };
    CLEANUP(text_deinit) struct text text = TEXT_INIT;
    uint8_t which = fuzz_byte(&world->input);
    struct span body = fuzz_take(&world->input, fuzz_byte(&world->input) & 63);

    const char *head = options & 128 ? more_heads[which % ARRAY_SIZE(more_heads)]
                                     : heads[which % ARRAY_SIZE(heads)];
    /* On a channel nobody says who he is, but whom he means. */
    if (world->hostile.mouth == &world->hostile.channel)
        head = strchr(head, ',') + 1;
    text_printf(&text, "{%s", head);
    if (world->hostile.mouth == &world->hostile.channel && !strstr(head, "\"to\":"))
        text_append_string(&text, ",\"to\":\"org.served\"");
    if (which & 16)
        text_printf(&text, ",\"id\":%u", 1u + fuzz_byte(&world->input) % 16);
    if (options & 3)
        text_printf(&text, ",\"fds\":%u", options & 3);
    if (options & 4)
        text_append_string(&text, ",\"body_fd\":true");
    int memory = options & 4 ? hostile_make_memory(&world->hostile, body) : hostile_null_fd();
    if (which & 32) {
        text_append_string(&text, ",\"body\":");
        text_append_span(&text, body);
    } else if (which & 64) {
        text_append_string(&text, ",\"body\":{\"owner\":\":7\",\"subscription\":1,\"retained\":2,"
                                  "\"state\":\"queued\"");
        text_printf(&text, ",\"to\":\":7\",\"id\":%u,\"ready\":%s}", 1u + (unsigned)body.size % 16,
                    body.size & 16 ? "true" : "false");
    } else if (which & 128) {
        text_append_string(&text, ",");
        text_append_span(&text, body);
    }
    text_append_string(&text, "}\n");
    unsigned fds = options & 16 ? options >> 5 & 3 : options & 3;
    if (options & 8) {
        hostile_say_with(&world->hostile, (struct span){text.data, text.size / 2}, fds, memory);
        bus_process(world->bus);
        hostile_say(&world->hostile,
                    (struct span){text.data + text.size / 2, text.size - text.size / 2}, 0);
    } else {
        hostile_say_with(&world->hostile, text_span(&text), fds, memory);
    }
    if (memory != hostile_null_fd())
        close(memory);
}

/* -------------------------------------------------------- the program's handlers */

static void free_slot(struct registration *registration)
{
    registration->live = false;
    registration->slot = bus_slot_free(registration->slot);
}

/* Looks at every part of a message. */
static void read_message(struct bus_message *message)
{
    struct bus_error error;
    size_t size, total;

    const char *line = bus_message_line(message, &total);
    const char *body = bus_message_body_text(message, &size);
    /* Of a body that did not come in the line only that it can be read is promised. */
    FUZZ_CHECK(body &&
                   (bus_check_json(body, size, NULL) == NULL || bus_message_body_fd(message) >= 0),
               "a body that is no JSON: %.*s", (int)size, body);
    json_t *tree = bus_message_body(message);
    FUZZ_CHECK(tree == bus_message_body(message), "two trees of one body");
    FUZZ_CHECK(!line || total > 0, "an empty line");
    const char *const parts[] = {
        bus_message_sender(message),     bus_message_to(message),
        bus_message_topic(message),      bus_message_method(message),
        bus_message_path(message),       bus_message_error_name(message),
        bus_message_error_text(message), bus_message_header(message, "trace", &size),
    };
    for (size_t i = 0; i + 1 < ARRAY_SIZE(parts); i++)
        FUZZ_CHECK(!parts[i] || strlen(parts[i]) <= 4096, "a part without end");
    int r = bus_message_get_error(message, &error);
    FUZZ_CHECK((r < 0) == (bus_message_type(message) == BUS_MESSAGE_ERROR), "%d of a message", r);
    bus_message_is_retained(message);
    bus_message_timeout(message);
}

/* Does with a message what the input says. */
static void handle(struct world *world, struct bus_message *message)
{
    uint8_t what = fuzz_byte(&world->input);

    read_message(message);
    if (what & 1)
        free_slot(&world->slots[what >> 1 & 7]);
    if (what & 16) {
        struct bus_message **kept = &world->kept[what >> 5];
        bus_message_unref(*kept);
        *kept = bus_message_ref(message);
    }
    for (unsigned i = 0; i < bus_message_fd_count(message); i++) {
        /* Another handler may have had the message before. */
        bool there = bus_message_peek_fd(message, i) >= 0;
        int fd = (what + i) % 3 == 0 ? bus_message_take_fd(message, i) : -ENODATA;
        FUZZ_CHECK(there || fd == -ENODATA, "an fd that was not there");
        if (fd >= 0)
            FUZZ_CHECK(close(fd) == 0, "an fd that is not open");
    }
    if (what & 8 && world->silent)
        bus_call_text(world->bus, "org.other", "Do", "1", 1, 100000, NULL, NULL);
    if ((what & 0xe1) == 0xe0)
        bus_publish_text(world->bus, "from.handler", "[1]", 3);
}

static void on_message(struct bus_message *message, void *userdata)
{
    struct registration *registration = userdata;

    FUZZ_CHECK(registration->live, "a handler was called after its slot was freed");
    FUZZ_CHECK(!registration->is_call || !registration->answered, "a call is answered twice");
    registration->answered = !registration->more || !bus_message_has_more(message);
    handle(registration->world, message);
}

static void on_cancel(struct bus_message *call, void *userdata)
{
    FUZZ_CHECK(bus_message_is_cancelled(call), "a call that is not cancelled");
}

static int on_now(struct bus_message *call, void *userdata)
{
    struct registration *registration = userdata;
    struct world *world = registration->world;

    FUZZ_CHECK(registration->live, "a service was called after its slot was freed");
    handle(world, call);
    uint8_t how = fuzz_byte(&world->input);
    if (how & 1)
        return -EPERM;
    if (how & 2)
        bus_reply_error(call, "a.b", "%s", "no");
    else if (how & 4)
        bus_reply_text(call, "{\"a\":\n1}", BUS_NUL_TERMINATED);
    return how & 8 ? bus_reply_take(call, json_pack("{s:i}", "how", how)) : 0;
}

static void on_ready(struct bus_message *call, void *userdata)
{
    struct registration *registration = userdata;
    uint8_t how = fuzz_byte(&registration->world->input);

    for (unsigned i = how & 15; i > 0; i--)
        bus_reply_more_text(call, "[1]", 3);
    if (how & 16)
        bus_reply_text(call, NULL, 0);
    if (how & 32)
        bus_message_set_ready_handler(call, NULL, NULL);
}

static int on_later(struct bus_message *call, void *userdata)
{
    struct registration *registration = userdata;
    struct world *world = registration->world;
    uint8_t where = fuzz_byte(&world->input) % KEPT;

    FUZZ_CHECK(registration->live, "a service was called after its slot was freed");
    read_message(call);
    bus_message_unref(world->kept[where]);
    world->kept[where] = bus_message_ref(call);
    bus_message_set_cancel_handler(call, on_cancel, NULL);
    bus_message_set_ready_handler(call, on_ready, registration);
    return 0;
}

static void on_name(struct bus *bus, const char *name, const char *owner, void *userdata)
{
    struct registration *registration = userdata;

    FUZZ_CHECK(registration->live, "a name watch was called after its slot was freed");
    FUZZ_CHECK(strcmp(name, "org.watched") == 0, "another name: %s", name);
    FUZZ_CHECK(!owner || owner[0] == ':', "an owner that is no unique name: %s", owner);
}

static void on_error(struct bus *bus, const struct bus_error *error, void *userdata)
{
    FUZZ_CHECK(memchr(error->name, '\0', sizeof(error->name)) &&
                   memchr(error->message, '\0', sizeof(error->message)),
               "an error without end");
}

static void on_writable(struct bus *bus, void *userdata)
{
    bus_publish_text(bus, "from.writable", "2", 1);
}

static void on_disconnect(struct bus *bus, void *userdata)
{
    struct world *world = userdata;

    FUZZ_CHECK(!world->lost, "lost twice");
    world->lost = true;
}

/* ----------------------------------------------------------------- the program */

static const struct bus_method methods[] = {
    {"Now", on_now, 0, "Answers"},
    {"Later", on_later, 0, NULL},
    BUS_METHOD_END,
};

/* Lets the client do all there is to do. */
static void pump(struct world *world)
{
    unsigned rounds = 0;

    while (bus_wait(world->bus, 0) > 0) {
        FUZZ_CHECK(rounds++ < ROUNDS_MAX, "the client never comes to rest");
        if (bus_process(world->bus) < 0)
            break;
        hostile_hear(&world->hostile);
    }
    hostile_hear(&world->hostile);
}

static struct registration *claim(struct world *world, unsigned index)
{
    struct registration *registration = &world->slots[index];

    free_slot(registration);
    *registration = (struct registration){.world = world, .live = true};
    return registration;
}

/* Takes what there is, when nothing more can be said. */
static void iterate(struct world *world, struct bus_stream *stream)
{
    struct bus_message *message = NULL;
    int r = stream && world->silent ? 1 : 0;

    while (r > 0) {
        r = bus_stream_next(stream, &message, NULL);
        if (message)
            read_message(message);
        FUZZ_CHECK(r <= 0 || bus_message_has_more(message), "an item that is the last");
        message = bus_message_unref(message);
    }
}

static void use_stream(struct world *world, uint8_t options)
{
    struct bus_stream **stream = &world->streams[options % STREAMS];
    struct bus_message *call;

    if (options & 4)
        iterate(world, *stream);
    if (options & 8)
        *stream = bus_stream_close(*stream);
    if (!(options & 16) || *stream || bus_message_new_call(world->bus, "org.x", "M", &call) < 0)
        return;
    bus_message_set_more(call, true);
    bus_message_set_timeout(call, BUS_TIMEOUT_NEVER);
    bus_stream_open(call, stream, NULL);
    bus_message_unref(call);
}

static void call_for_more(struct world *world, struct registration *r)
{
    struct bus_message *call;

    r->more = true;
    if (bus_message_new_call(world->bus, "org.other", "Do", &call) < 0)
        return;
    bus_message_set_more(call, true);
    if (bus_call_async(call, on_message, r, &r->slot) < 0)
        r->live = false;
    bus_message_unref(call);
}

/* What a blocking function is going to find, the number `id` being its call's. */
static void say_answer(struct world *world, uint64_t id, const char *body)
{
    CLEANUP(text_deinit) struct text text = TEXT_INIT;

    text_printf(&text, "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":%" PRIu64 ",\"body\":%s}\n",
                id, body);
    hostile_say(&world->hostile, text_span(&text), 0);
}

/* Calls OpenChannel, and says who called when the service asks. */
static void open_channel(struct world *world)
{
    static const char call[] = "{\"sender\":\":7\",\"type\":\"call\",\"to\":\"org.served\","
                               "\"id\":4242,\"method\":\"OpenChannel\"}\n";

    world->hostile.mouth = &world->hostile.peer;
    hostile_say(&world->hostile, SPAN(call), 0);
    pump(world);
    say_answer(world, world->hostile.last_id, "{\"pid\":1,\"uid\":2,\"gid\":3}");
    pump(world);
    if (world->hostile.channel.fd >= 0)
        world->hostile.mouth = &world->hostile.channel;
}

static void on_opened(struct bus *channel, void *userdata)
{
    struct registration *registration = userdata;

    FUZZ_CHECK(strcmp(bus_channel_peer(channel), ":7") == 0, "another peer: %s",
               bus_channel_peer(channel));
    bus_subscribe(channel, "#", NULL, on_message, &registration->world->opened, NULL, NULL);
    bus_set_memfd_threshold(channel, 0);
}

static void watch_name(struct world *world, struct registration *r)
{
    if (bus_watch_name(world->bus, "org.watched", on_name, r, &r->slot, NULL) < 0)
        r->live = false;
}

/* What blocks finds its answers already said. */
static void set_up(struct world *world, uint8_t flags, uint8_t more)
{
    struct registration *r;
    uint64_t id = 1;

    if (flags & 1)
        say_greeting(world, flags);
    if (more & 1)
        bus_get_fd(world->bus);
    if (flags & 2) {
        r = claim(world, 0);
        say_answer(world, id++, "{\"state\":\"owner\"}");
        struct bus_service_options options = {.channels = 2, .channel_opened = on_opened};
        if (bus_serve_with(world->bus, "org.served", &options, methods, r, &r->slot, NULL) < 0)
            r->live = false;
    }
    if (more & 2) {
        say_answer(world, id, "{\"subscription\":1,\"retained\":1}");
        hostile_say(&world->hostile,
                    SPAN("{\"sender\":\"bus\",\"type\":\"event\",\"retained\":true,\"topic\":"
                         "\"bus.name.org.watched\",\"body\":{\"owner\":\":7\"}}\n"),
                    0);
        watch_name(world, claim(world, 3));
    }
    r = claim(world, 1);
    bus_subscribe_async(world->bus, "a.*", NULL, on_message, r, &r->slot);
    if (flags & 4) {
        r = claim(world, 2);
        bus_serve(world->bus, NULL, methods, r, &r->slot, NULL);
    }
    if (more & 4) {
        bus_set_output_limit(world->bus, 200);
        bus_set_writable_handler(world->bus, on_writable, world);
    }
}

/* Blocks, while the bus has said its last. */
static void block(struct world *world, uint8_t options)
{
    struct registration *r = claim(world, 7);

    world->hostile.mouth = &world->hostile.peer;
    bus_flush(world->bus, 0);
    hostile_hear(&world->hostile);
    if (options & 8)
        say_message(world, options);
    if (options & 16)
        say_answer(world, world->hostile.last_id + 1, "{\"subscription\":9,\"retained\":0}");
    shutdown(world->hostile.peer.fd, SHUT_WR);
    world->silent = true;
    if (options & 1)
        bus_call_text(world->bus, "org.other", "Do", "{}", 2, BUS_TIMEOUT_DEFAULT, NULL, NULL);
    else if (options & 2)
        bus_unique_name(world->bus);
    else if (options & 4)
        bus_request_name(world->bus, "org.mine", BUS_NAME_QUEUE, NULL);
    else if (options & 32)
        iterate(world, world->streams[options >> 6 & 1]);
    else
        watch_name(world, r);
}

static void answer_kept(struct world *world, uint8_t options)
{
    struct bus_message *message = world->kept[options % KEPT];
    struct bus_message *reply;

    if (!message)
        return;
    if (bus_message_type(message) == BUS_MESSAGE_CALL && options & 16)
        bus_reply_text(message, "true", 4);
    else if (bus_message_type(message) == BUS_MESSAGE_CALL && options & 32 &&
             bus_message_new_reply(message, &reply) == 0) {
        bus_message_push_dup_fd(reply, hostile_null_fd());
        bus_message_set_header(reply, "trace", "{\"a\":[]}");
        bus_send(reply);
        bus_message_unref(reply);
    }
    if (bus_message_type(message) == BUS_MESSAGE_CALL && options & 64)
        bus_reply_more_text(message, "7", 1);
    if (options & 8)
        world->kept[options % KEPT] = bus_message_unref(message);
}

static void act(struct world *world, uint8_t command)
{
    uint8_t options = fuzz_byte(&world->input);
    unsigned index = options & 7;
    struct registration *r;

    switch (command & 15) {
    case 0:
        hostile_say(&world->hostile, fuzz_take(&world->input, options), command >> 6);
        break;
    case 1:
        r = claim(world, index);
        r->is_call = true;
        if (options & 32)
            call_for_more(world, r);
        else if (bus_call_text_async(world->bus, options & 8 ? "bus" : "org.other", "Do", "[]", 2,
                                     options & 16 ? BUS_TIMEOUT_NEVER : 100000, on_message, r,
                                     &r->slot) < 0)
            r->live = false;
        break;
    case 2:
        r = claim(world, index);
        if (bus_subscribe_async(world->bus, options & 8 ? "#" : "a.b",
                                options & 16   ? ":7"
                                : options & 32 ? "org.watched"
                                               : NULL,
                                on_message, r, &r->slot) < 0)
            r->live = false;
        break;
    case 3:
        free_slot(&world->slots[index]);
        break;
    case 4:
        answer_kept(world, options);
        break;
    case 5:
        if (options & 128)
            use_stream(world, options);
        else
            bus_publish_text(world->bus, "to.all", "\"x\"", 3);
        break;
    case 6:
        if (options >= 240 && world->hostile.mouth->fd >= 0)
            close(TAKE_FD(world->hostile.mouth->fd));
        break;
    case 7:
        if (options >= 192 && world->hostile.peer.fd >= 0)
            block(world, options);
        break;
    case 9:
        open_channel(world);
        break;
    case 10:
        world->hostile.mouth = options & 1 ? &world->hostile.channel : &world->hostile.peer;
        break;
    default:
        say_message(world, options);
        break;
    }
    if (!(command & 16))
        pump(world);
}

static void start(struct world *world)
{
    char address[32];
    int pair[2];

    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0,
               "no sockets");
    snprintf(address, sizeof(address), "fd:%d", pair[0]);
    FUZZ_CHECK(bus_connect(&world->bus, address) == 0, "no connection");
    hostile_start(&world->hostile, pair[1], &world->input);
    world->opened = (struct registration){.world = world, .live = true};
    bus_set_error_handler(world->bus, on_error, NULL);
    bus_set_disconnect_handler(world->bus, on_disconnect, world);
}

static void finish(struct world *world, uint8_t flags)
{
    pump(world);
    for (unsigned i = 0; i < SLOTS && flags & 64; i++)
        free_slot(&world->slots[i]);
    for (unsigned i = 0; i < KEPT && flags & 128; i++)
        world->kept[i] = bus_message_unref(world->kept[i]);
    for (unsigned i = 0; i < STREAMS && flags & 32; i++)
        world->streams[i] = bus_stream_close(world->streams[i]);
    bus_close(world->bus);
    world->silent = true;
    for (unsigned i = 0; i < STREAMS; i++) {
        iterate(world, world->streams[i]);
        bus_stream_close(world->streams[i]);
    }
    for (unsigned i = 0; i < KEPT; i++)
        bus_message_unref(world->kept[i]);
    for (unsigned i = 0; i < SLOTS; i++)
        free_slot(&world->slots[i]);
    hostile_hear(&world->hostile);
    hostile_stop(&world->hostile);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    /* Before the first count of what is open. */
    hostile_null_fd();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned fds = fuzz_count_fds();
    struct world world = {.input = {(const char *)data, size}};
    uint8_t flags = fuzz_byte(&world.input);

    start(&world);
    set_up(&world, flags, fuzz_byte(&world.input));
    for (unsigned i = 0; i < COMMANDS_MAX && world.input.size > 0; i++)
        act(&world, fuzz_byte(&world.input));
    finish(&world, flags);
    FUZZ_CHECK(fuzz_count_fds() == fds, "%u file descriptors are open, not %u", fuzz_count_fds(),
               fds);
    return 0;
}
