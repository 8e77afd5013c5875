/* SPDX-License-Identifier: MIT */
/*
 * Big bodies through a real busd: over raw sockets, where the memory is made and looked
 * at by hand, and with the library at both ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/bus.h"
#include "tests/support/transcript.h"

#define ALL (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

#define MANY 32

static int memory_with(const char *text)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fcntl(fd, F_ADD_SEALS, ALL), 0);
    return fd;
}

static ino_t inode_of(int fd)
{
    struct stat status;

    assert_int_equal(fstat(fd, &status), 0);
    return status.st_ino;
}

/* ------------------------------------------------------------------- raw */

/* One memory, whoever gets it, in all messages that have a body; busd reads none of it. */
static void test_raw(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    int memory = memory_with("this is no JSON");
    int fd[2] = {memory, a->fd};
    int received[2];

    client_ask(b, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
    client_ask(c, "Subscribe", "{'topic':'#'}", "{'subscription':1,'retained':0}");
    client_send_fds(a, &memory, 1, "{'type':'event','topic':'t','body_fd':true,'fds':1}");
    for (struct client *x = b;; x = c) {
        client_expect_fds(x, received, 1,
                          "{'sender':'$A','type':'event','topic':'t','body_fd':true}");
        assert_int_equal(inode_of(received[0]), inode_of(memory));
        close(received[0]);
        if (x == c)
            break;
    }
    client_send_fds(a, fd, 2,
                    "{'type':'call','id':1,'to':'$B','method':'M','body_fd':true,'fds':2}");
    client_expect_fds(b, received, 2,
                      "{'sender':'$A','type':'call','id':1,'to':'$B','method':'M','body_fd':true}");
    assert_int_equal(inode_of(received[0]), inode_of(memory));
    client_send_fds(b, received, 1, "{'type':'reply','to':'$A','id':1,'body_fd':true,'fds':1}");
    close(received[0]);
    close(received[1]);
    client_expect_fds(a, received, 1,
                      "{'sender':'$B','type':'reply','to':'$A','id':1,"
                      "'body_fd':true}");
    assert_int_equal(inode_of(received[0]), inode_of(memory));
    close(received[0]);
    close(memory);
}

/* What busd does not take, and what it does not read. */
static void test_raw_errors(struct session *session)
{
    struct client *a = session_connect(session, "A");
    int memory = memory_with("{}");

    client_send_fds(a, &memory, 1, "{'type':'event','topic':'t','body':1,'body_fd':true,'fds':1}");
    client_expect_complaint(a, "bus.InvalidMessage", "{'type':'event','topic':'t'}");
    client_send(a, "{'type':'event','topic':'t','body_fd':true}");
    client_expect_complaint(a, "bus.InvalidMessage", "{'type':'event','topic':'t'}");
    client_send_fds(a, &memory, 1,
                    "{'type':'call','id':1,'to':'bus','method':'GetName','body_fd':true,'fds':1}");
    client_expect_error(a, 1, "bus.InvalidArguments");
    close(memory);
}

/* Bodies count among the fds that wait for who does not read: those beyond fds_queued
 * are dropped and told, and nobody else misses any. */
static void test_slow_receiver(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    struct client *c = session_connect(session, "C");
    int memory = memory_with("[]");
    int received;

    client_ask(b, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
    client_ask(c, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
    for (unsigned i = 0; i < MANY; i++) {
        client_send_fds(a, &memory, 1, "{'type':'event','topic':'t','body_fd':true,'fds':1}");
        client_expect_fds(c, &received, 1,
                          "{'sender':'$A','type':'event','topic':'t','body_fd':true}");
        close(received);
    }
    unsigned lost = MANY;
    struct message *message;
    while ((message = client_wait(b, "an event or the notice"))->count == 1) {
        message_free(message);
        lost--;
    }
    /* One in the socket, four in the queue. */
    assert_int_equal(lost, MANY - 5);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(message->json, "body"), "lost")), lost);
    message_free(message);
    close(memory);
}

/* -------------------------------------------------------------- the library */

static char *big_text(size_t size)
{
    char *text = malloc(size);

    assert_non_null(text);
    memset(text, 'x', size);
    text[0] = text[size - 1] = '"';
    return text;
}

/* Keeps its call: the test answers. */
static int keep_call(struct bus_message *call, void *userdata)
{
    struct bus_message **kept = userdata;

    *kept = bus_message_ref(call);
    return 0;
}

static void keep_message(struct bus_message *message, void *userdata)
{
    struct bus_message **kept = userdata;

    assert_null(*kept);
    *kept = bus_message_ref(message);
}

static void pump_until(struct bus *bus, struct bus_message **kept)
{
    while (!*kept) {
        assert_int_equal(bus_wait(bus, 5000), 1);
        assert_true(bus_process(bus) >= 0);
    }
}

/* There and back, through all that is between: the same bytes, from end to end the same
 * memory. */
static void test_library(struct session *session)
{
    static const struct bus_method methods[] = {{"Echo", keep_call, 0, NULL}, BUS_METHOD_END};
    struct bus *client, *service;
    struct bus_message *call = NULL, *answer = NULL, *message;
    size_t size = (size_t)8 << 20;
    char *text = big_text(size);
    size_t got;

    assert_int_equal(bus_connect(&client, session->busd.address), 0);
    assert_int_equal(bus_connect(&service, session->busd.address), 0);
    assert_int_equal(bus_serve(service, "org.example.Echo", methods, &call, NULL, NULL), 0);
    assert_int_equal(bus_call_text_async(client, "org.example.Echo", "Echo", text, size, 5000,
                                         keep_message, &answer, NULL),
                     0);
    assert_int_equal(bus_flush(client, 5000), 0);
    pump_until(service, &call);
    assert_memory_equal(bus_message_body_text(call, &got), text, size);
    assert_int_equal(got, size);
    assert_int_equal(bus_message_fd_count(call), 0);
    assert_int_equal(bus_message_new_reply(call, &message), 0);
    assert_int_equal(bus_message_set_body_fd(message, bus_message_body_fd(call)), 0);
    assert_int_equal(bus_message_push_dup_fd(message, 0), 0);
    assert_int_equal(bus_send(message), 0);
    bus_message_unref(message);
    assert_int_equal(bus_flush(service, 5000), 0);
    pump_until(client, &answer);
    assert_int_equal(bus_message_type(answer), BUS_MESSAGE_REPLY);
    assert_int_equal(inode_of(bus_message_body_fd(answer)), inode_of(bus_message_body_fd(call)));
    assert_memory_equal(bus_message_body_text(answer, &got), text, size);
    assert_int_equal(json_string_length(bus_message_body(answer)), size - 2);
    assert_int_equal(bus_message_fd_count(answer), 1);
    assert_int_equal(inode_of(bus_message_peek_fd(answer, 0)), inode_of(0));
    bus_message_unref(call);
    bus_message_unref(answer);
    bus_close(client);
    bus_close(service);
    free(text);
}

/* An event that several get is in one memory. */
static void test_library_event(struct session *session)
{
    struct bus *publisher, *subscriber[3];
    struct bus_message *event[3] = {0};

    assert_int_equal(bus_connect(&publisher, session->busd.address), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(bus_connect(&subscriber[i], session->busd.address), 0);
        assert_int_equal(
            bus_subscribe(subscriber[i], "t", NULL, keep_message, &event[i], NULL, NULL), 0);
    }
    json_t *tree = json_array();
    for (int i = 0; i < 200000; i++)
        json_array_append_new(tree, json_integer(i));
    assert_int_equal(bus_publish_take(publisher, "t", tree), 0);
    assert_int_equal(bus_flush(publisher, 5000), 0);
    for (int i = 0; i < 3; i++) {
        pump_until(subscriber[i], &event[i]);
        assert_int_equal(json_array_size(bus_message_body(event[i])), 200000);
        assert_int_equal(inode_of(bus_message_body_fd(event[i])),
                         inode_of(bus_message_body_fd(event[0])));
    }
    for (int i = 0; i < 3; i++) {
        bus_message_unref(event[i]);
        bus_close(subscriber[i]);
    }
    bus_close(publisher);
}

#define ITEMS 100

/* Sends items until it is told to wait, and goes on from there. */
struct source {
    char *text;
    unsigned sent;
};

static void go_on(struct bus_message *call, void *userdata)
{
    struct source *source = userdata;
    int r = 0;

    while (source->sent < ITEMS && (r = bus_reply_more_text(call, source->text, 300000)) == 0)
        source->sent++;
    if (r == -EAGAIN)
        return;
    bus_reply_text(call, r == 0 ? "\"end\"" : "\"broken\"", BUS_NUL_TERMINATED);
    bus_message_unref(call);
}

static int on_list(struct bus_message *call, void *userdata)
{
    bus_message_ref(call);
    int r = bus_message_set_ready_handler(call, go_on, userdata);
    go_on(call, userdata);
    return r;
}

static void serve_items(struct session *session, int ready)
{
    static const struct bus_method methods[] = {{"List", on_list, BUS_METHOD_MORE, NULL},
                                                BUS_METHOD_END};
    struct source source = {.text = big_text(300000)};
    struct bus *bus;

    if (bus_connect(&bus, session->busd.path) < 0 ||
        bus_serve(bus, "org.example.List", methods, &source, NULL, NULL) < 0 ||
        write(ready, "1", 1) != 1)
        _exit(1);
    bus_run(bus);
    _exit(0);
}

/* A stream of them waits for its reader, too, though its lines are short. */
static void test_stream(struct session *session)
{
    struct bus_message *call, *item = NULL;
    struct bus_error error;
    struct bus_stream *stream;
    struct bus *bus;
    int ends[2];
    char byte;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0)
        serve_items(session, ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(bus_connect(&bus, session->busd.path), 0);
    assert_int_equal(bus_message_new_call(bus, "org.example.List", "List", &call), 0);
    assert_int_equal(bus_message_set_more(call, true), 0);
    assert_int_equal(bus_stream_open(call, &stream, &error), 0);
    bus_message_unref(call);
    unsigned count = 0;
    int r;
    while ((r = bus_stream_next(stream, &item, &error)) == 1) {
        size_t size;
        bus_message_body_text(item, &size);
        assert_int_equal(size, 300000);
        bus_message_unref(item);
        if (++count < 10)
            usleep(20000);
    }
    CHECK(r == 0, "%s", error.message);
    bus_message_unref(item);
    assert_int_equal(count, ITEMS);
    bus_stream_close(stream);
    bus_close(bus);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* A bus that passes no fds gets lines, as long as they may be. */
static void test_no_fds(struct session *session)
{
    struct bus *bus;
    struct bus_message *event = NULL;
    struct bus_error error;
    size_t size;
    char *text = big_text(600000);

    assert_int_equal(bus_connect(&bus, session->busd.address), 0);
    assert_int_equal(bus_subscribe(bus, "t", NULL, keep_message, &event, NULL, NULL), 0);
    assert_int_equal(bus_publish_text(bus, "t", text, 400000), -EBADMSG);
    text[399999] = '"';
    assert_int_equal(bus_publish_text(bus, "t", text, 400000), 0);
    pump_until(bus, &event);
    assert_int_equal(bus_message_body_fd(event), -ENODATA);
    assert_memory_equal(bus_message_body_text(event, &size), text, 400000);
    bus_message_unref(event);
    text[399999] = 'x';
    assert_int_equal(bus_call_text(bus, ":1", "M", text, 600000, 1000, &error, NULL), -EMSGSIZE);
    assert_string_equal(error.name, BUS_ERROR_TOO_LARGE);
    bus_close(bus);
    free(text);
}

static const struct transcript transcripts[] = {
    TRANSCRIPT(test_raw),
    TRANSCRIPT(test_raw_errors),
    {.name = "test_slow_receiver",
     .run = test_slow_receiver,
     .args = BUSD_ARGS("--limit", "fds_queued=4"),
     .plain_only = true},
    TRANSCRIPT_PLAIN(test_library),
    TRANSCRIPT_PLAIN(test_library_event),
    {.name = "test_stream",
     .run = test_stream,
     .args = BUSD_ARGS("--limit", "fds_queued=12"),
     .plain_only = true},
    {.name = "test_no_fds",
     .run = test_no_fds,
     .args = BUSD_ARGS("--limit", "fds_per_message=0", "--limit", "message_bytes=500000"),
     .plain_only = true},
};

int main(void)
{
    return TRANSCRIPTS_RUN("big bodies", transcripts);
}
