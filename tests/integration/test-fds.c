/* SPDX-License-Identifier: MIT */
/*
 * File descriptors: the right ones with the right line, none shifted, none left open,
 * whoever misbehaves. That none is left in busd is checked after every transcript.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/files.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"

/* Sends `count` files with numbers from `first` on; none are kept. */
#define SEND_FILES(client, count, first, ...)                                                      \
    do {                                                                                           \
        int files_[CLIENT_FDS_MAX];                                                                \
        files_open(files_, count, first);                                                          \
        client_send_fds(client, files_, count, __VA_ARGS__);                                       \
        files_close(files_, count);                                                                \
    } while (0)

#define EXPECT_FILES(client, count, first, ...)                                                    \
    do {                                                                                           \
        int files_[CLIENT_FDS_MAX];                                                                \
        client_expect_fds(client, files_, count, __VA_ARGS__);                                     \
        files_expect(files_, count, first);                                                        \
    } while (0)

static struct client *connect_subscriber(struct session *session, const char *name)
{
    struct client *client = session_connect(session, name);

    client_ask(client, "Subscribe", "{'topic':'t.#'}", "{'subscription':1,'retained':0}");
    return client;
}

/* d declared, s sent, for all of 0 … 17. */
static void test_matrix(struct session *session)
{
    struct client *b = connect_subscriber(session, "B");

    for (unsigned declared = 0; declared <= 17; declared++) {
        for (unsigned sent = 0; sent <= 17; sent++) {
            struct client *a = session_connect(session, "A");
            char key[32] = "";
            if (declared > 0)
                snprintf(key, sizeof(key), ",'fds':%u", declared);
            SEND_FILES(a, sent, 100, "{'type':'event','topic':'t.x'%s}", key);
            if (declared != sent) {
                client_expect_complaint(a, "bus.FdMismatch", "{'type':'event','topic':'t.x'}");
                client_expect_goodbye(a, "file descriptors");
            } else if (sent == 0) {
                client_expect(b, "{'sender':'$A','type':'event','topic':'t.x'}");
            } else {
                EXPECT_FILES(b, sent, 100, "{'sender':'$A','type':'event','topic':'t.x'}");
            }
            client_free(a);
        }
    }
}

/* The very thing: what is written at one end comes out at the other. */
static void test_pipe(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    int ends[2], received;
    char text[8] = "";

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    client_send_fds(a, &ends[1], 1, "{'type':'call','id':1,'to':'$B','method':'Write','fds':1}");
    close(ends[1]);
    client_expect_fds(b, &received, 1,
                      "{'sender':'$A','type':'call','id':1,'to':'$B','method':'Write'}");
    assert_int_equal(write(received, "hello", 5), 5);
    close(received);
    assert_int_equal(read(ends[0], text, sizeof(text)), 5);
    assert_string_equal(text, "hello");
    /* Nobody else holds the other end: no more can come. */
    session_settle(session);
    uint64_t end = process_now() + 2000;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    while (read(ends[0], text, sizeof(text)) != 0)
        assert_true(process_now() < end);
    close(ends[0]);
    client_send(b, "{'type':'reply','to':'$A','id':1}");
    client_expect(a, "{'sender':'$B','type':'reply','to':'$A','id':1}");
}

/* In every type of message that may have them. */
static void test_all_types(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    SEND_FILES(a, 2, 10, "{'fds':2,'type':'call','id':1,'to':'$B','method':'M'}");
    EXPECT_FILES(b, 2, 10, "{'sender':'$A','type':'call','id':1,'to':'$B','method':'M'}");
    SEND_FILES(b, 3, 20, "{'type':'reply','to':'$A','id':1,'fds':3}");
    EXPECT_FILES(a, 3, 20, "{'sender':'$B','type':'reply','to':'$A','id':1}");
    SEND_FILES(a, 1, 30, "{'type':'call','to':'$B','method':'M','no_reply':true,'fds':1}");
    EXPECT_FILES(b, 1, 30, "{'sender':'$A','type':'call','to':'$B','method':'M','no_reply':true}");
    client_send(a, "{'type':'call','id':2,'to':'$B','method':'M'}");
    client_expect(b, "{'sender':'$A','type':'call','id':2,'to':'$B','method':'M'}");
    SEND_FILES(b, 4, 40, "{'type':'error','to':'$A','id':2,'error':'a.b','fds':4}");
    EXPECT_FILES(a, 4, 40, "{'sender':'$B','type':'error','to':'$A','id':2,'error':'a.b'}");
    SEND_FILES(a, 5, 50, "{'type':'event','topic':'t','to':'$B','fds':5}");
    EXPECT_FILES(b, 5, 50, "{'sender':'$A','type':'event','topic':'t','to':'$B'}");
}

/* Lines with and without, written one after the other without waiting. */
static void test_pipelined(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_subscriber(session, "B");
    static const unsigned counts[] = {0, 1, 0, 0, 2, 3, 1, 0, 16, 0, 1, 1, 1, 0};

    for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
        if (counts[i] > 0)
            SEND_FILES(a, counts[i], 100 * i, "{'type':'event','topic':'t.n','body':%u,'fds':%u}",
                       i, counts[i]);
        else
            client_send(a, "{'type':'event','topic':'t.n','body':%u}", i);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
        if (counts[i] > 0)
            EXPECT_FILES(b, counts[i], 100 * i,
                         "{'sender':'$A','type':'event','topic':'t.n','body':%u}", i);
        else
            client_expect(b, "{'sender':'$A','type':'event','topic':'t.n','body':%u}", i);
    }
}

/* The line with fds and the ones after it in a single sendmsg. */
static void test_more_lines_behind(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_subscriber(session, "B");
    CLEANUP(cleanup_free)
    char *text = client_expand(session, "{'type':'event','topic':'t.1','fds':2}\n"
                                        "{'type':'event','topic':'t.2'}\n"
                                        "{'type':'event','topic':'t.3'}\n");
    int fd[2];

    for (unsigned i = 0; i < 3; i++) {
        files_open(fd, 2, 7);
        client_send_bytes(a, text, strlen(text), fd, 2);
        files_close(fd, 2);
        EXPECT_FILES(b, 2, 7, "{'sender':'$A','type':'event','topic':'t.1'}");
        client_expect(b, "{'sender':'$A','type':'event','topic':'t.2'}");
        client_expect(b, "{'sender':'$A','type':'event','topic':'t.3'}");
    }
}

/* One batch for two lines, or two batches for one: never put right by guessing. */
static void test_wrong_batches(struct session *session)
{
    struct client *b = connect_subscriber(session, "B");
    struct client *a = session_connect(session, "A");
    static const char two[] = "{\"type\":\"event\",\"topic\":\"x\",\"fds\":1}\n"
                              "{\"type\":\"event\",\"topic\":\"x\",\"fds\":1}\n";
    static const char one[] = "{\"type\":\"event\",\"topic\":\"x\",\"fds\":2}\n";
    int fd[2];

    files_open(fd, 2, 0);
    client_send_at_once(a, two, sizeof(two) - 1, fd, 2);
    client_expect_complaint(a, "bus.FdMismatch", "{'type':'event','topic':'x'}");
    client_expect_goodbye(a, "file descriptors");
    client_free(a);

    a = session_connect(session, "A");
    client_send_at_once(a, one, 5, &fd[0], 1);
    client_send_at_once(a, one + 5, sizeof(one) - 6, &fd[1], 1);
    client_expect_complaint(a, "bus.FdMismatch", "{'type':'event','topic':'x'}");
    client_expect_goodbye(a, "file descriptors");
    files_close(fd, 2);
    client_expect_nothing(b);
}

/* Fds that come with a blank line belong to nobody. */
static void test_with_a_blank_line(struct session *session)
{
    struct client *a = session_connect(session, "A");
    int fd[1];

    files_open(fd, 1, 0);
    client_send_at_once(a, "\n", 1, fd, 1);
    files_close(fd, 1);
    client_send(a, "{'type':'call','id':1,'to':'bus','method':'Ping'}");
    client_expect_complaint(a, "bus.FdMismatch", "{'type':'call','to':'bus','id':1}");
    client_expect_goodbye(a, "file descriptors");
}

/* The bus wants none: it closes them and answers. */
static void test_to_the_bus(struct session *session)
{
    struct client *a = session_connect(session, "A");

    for (unsigned i = 1; i <= 20; i++) {
        SEND_FILES(a, 16, 0, "{'type':'call','id':%u,'to':'bus','method':'Ping','fds':16}", i);
        client_expect(a, "{'sender':'bus','type':'reply','id':%u,'body':{}}", i);
    }
}

/* Nobody gets them: no subscriber, no such name, no such call. */
static void test_to_nobody(struct session *session)
{
    struct client *a = session_connect(session, "A");

    SEND_FILES(a, 3, 0, "{'type':'event','topic':'nobody','fds':3}");
    SEND_FILES(a, 3, 0, "{'type':'call','id':1,'to':'org.example.No','method':'M','fds':3}");
    client_expect_error(a, 1, "bus.NameUnknown");
    SEND_FILES(a, 3, 0, "{'type':'reply','to':':77','id':1,'fds':3}");
    client_expect_complaint(a, "bus.NoSuchCall", "{'type':'reply','to':':77','id':1}");
    SEND_FILES(a, 3, 0, "{'type':'event','topic':'bus.x','fds':3}");
    client_expect_complaint(a, "bus.AccessDenied", "{'type':'event','topic':'bus.x'}");
}

/* More than a message may have: that message alone is refused. */
static void test_too_many(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_subscriber(session, "B");

    SEND_FILES(a, 8, 0, "{'type':'event','topic':'t','fds':8}");
    EXPECT_FILES(b, 8, 0, "{'sender':'$A','type':'event','topic':'t'}");
    SEND_FILES(a, 9, 0, "{'type':'event','topic':'t','fds':9}");
    client_expect_complaint(a, "bus.LimitExceeded", "{'type':'event','topic':'t'}");
    SEND_FILES(a, 253, 0, "{'type':'call','id':1,'to':'$B','method':'M','fds':253}");
    client_expect_error(a, 1, "bus.LimitExceeded");
    SEND_FILES(a, 1, 5, "{'type':'event','topic':'t','fds':1}");
    EXPECT_FILES(b, 1, 5, "{'sender':'$A','type':'event','topic':'t'}");
    /* Of an answer the caller is told, too: there will be no other. */
    client_send(a, "{'type':'call','id':2,'to':'$B','method':'M'}");
    client_expect(b, "{'sender':'$A','type':'call','id':2,'to':'$B','method':'M'}");
    SEND_FILES(b, 9, 0, "{'type':'reply','id':2,'to':'$A','fds':9}");
    client_expect_error(a, 2, "bus.LimitExceeded");
    client_expect_complaint(b, "bus.LimitExceeded", "{'type':'reply','to':'$A','id':2}");
    client_send(b, "{'type':'reply','id':2,'to':'$A'}");
    client_expect_complaint(b, "bus.NoSuchCall", "{'type':'reply','to':'$A','id':2}");
}

/* A line that is refused takes its fds with it, and the next line has its own. */
static void test_refused_lines(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_subscriber(session, "B");
    CLEANUP(cleanup_free) char *filler = malloc(3000);

    memset(filler, 'x', 2999);
    filler[2999] = '\0';
    for (unsigned i = 0; i < 3; i++) {
        SEND_FILES(a, 2, 0, "{'type':'event','topic':'t','fds':2");
        client_expect_complaint(a, "bus.ParseError", "{'type':'event','topic':'t'}");
        SEND_FILES(a, 2, 0, "no json at all");
        client_expect_complaint(a, "bus.ParseError", "{}");
        SEND_FILES(a, 2, 0, "{'type':'event','topic':'t','fds':2,'sender':'bus'}");
        client_expect_complaint(a, "bus.InvalidMessage", "{'type':'event','topic':'t'}");
        SEND_FILES(a, 2, 0, "{'type':'event','topic':'t..t','fds':2}");
        client_expect_complaint(a, "bus.InvalidMessage", "{'type':'event'}");
        SEND_FILES(a, 2, 0, "{'type':'event','topic':'t','fds':2,'body':'%s'}", filler);
        client_expect_complaint(a, "bus.TooLarge", "{}");
        SEND_FILES(a, 1, i, "{'type':'event','topic':'t','fds':1}");
        EXPECT_FILES(b, 1, i, "{'sender':'$A','type':'event','topic':'t'}");
    }
}

/* busd's table is full: the sender is told, and all goes on in step. */
static void test_truncated(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_subscriber(session, "B");

    for (unsigned room = 0; room < 4; room++) {
        session_expect_fds(session, 2);
        assert_true(process_limit_fds(session->busd.pid, room));
        SEND_FILES(a, 5, 0, "{'type':'event','topic':'t','fds':5}");
        client_expect_complaint(a, "bus.FdMismatch", "{'type':'event','topic':'t'}");
        session_expect_fds(session, 2);
        SEND_FILES(a, 5, 0, "{'type':'call','id':1,'to':'$B','method':'M','fds':5}");
        client_expect_error(a, 1, "bus.FdMismatch");
        client_send(a, "{'type':'event','topic':'t'}");
        client_expect(b, "{'sender':'$A','type':'event','topic':'t'}");
        assert_true(process_limit_fds(session->busd.pid, SIZE_MAX));
        SEND_FILES(a, 5, room, "{'type':'event','topic':'t','fds':5}");
        EXPECT_FILES(b, 5, room, "{'sender':'$A','type':'event','topic':'t'}");
    }
}

/* Every subscriber gets descriptors of its own of the same files. */
static void test_fan_out(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *clients[30];

    for (unsigned i = 0; i < ARRAY_SIZE(clients); i++) {
        char name[16];
        snprintf(name, sizeof(name), "S%u", i);
        clients[i] = connect_subscriber(session, name);
    }
    for (unsigned n = 1; n <= 5; n++)
        SEND_FILES(a, n, 10 * n, "{'type':'event','topic':'t.x','body':%u,'fds':%u}", n, n);
    for (unsigned i = 0; i < ARRAY_SIZE(clients); i++)
        for (unsigned n = 1; n <= 5; n++)
            EXPECT_FILES(clients[i], n, 10 * n,
                         "{'sender':'$A','type':'event','topic':'t.x','body':%u}", n);
}

/* A subscriber that does not read holds up nobody, and busd holds no more of its
 * fds than the limit says; what it could not get it is told. */
static void test_stopped_receiver(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_subscriber(session, "B");
    struct client *c = connect_subscriber(session, "C");
    unsigned count = 100, received = 0;

    for (unsigned n = 0; n < count; n++) {
        SEND_FILES(a, 2, n, "{'type':'event','topic':'t.%u','fds':2}", n);
        EXPECT_FILES(c, 2, n, "{'sender':'$A','type':'event','topic':'t.%u'}", n);
    }
    session_expect_fds(session, 3 + 20);

    struct message *message;
    while (message = client_next(b), message && message->count == 2) {
        message->count = 0;
        files_expect(message->fd, 2, received);
        received++;
        message_free(message);
    }
    /* 10 messages wait in busd, a few more may be in the socket. */
    assert_in_range(received, 10, 12);
    json_t *body = json_object_get(message->json, "body");
    assert_string_equal(json_string_value(json_object_get(message->json, "topic")), "bus.overflow");
    assert_int_equal(json_integer_value(json_object_get(body, "lost")), count - received);
    CLEANUP(cleanup_free) char *first = client_expand(session, "t.%u", received);
    assert_string_equal(json_string_value(json_object_get(body, "first")), first);
    assert_string_equal(json_string_value(json_object_get(body, "last")), "t.99");
    message_free(message);

    SEND_FILES(a, 1, 9, "{'type':'event','topic':'t.again','fds':1}");
    EXPECT_FILES(b, 1, 9, "{'sender':'$A','type':'event','topic':'t.again'}");
    EXPECT_FILES(c, 1, 9, "{'sender':'$A','type':'event','topic':'t.again'}");
}

/* Calls with fds to one that does not read are refused, not dropped. */
static void test_stopped_callee(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    /* The first one's fds are in B's socket before the others come. */
    SEND_FILES(a, 4, 0, "{'type':'call','id':1,'to':'$B','method':'M','fds':4}");
    session_wait_for_connections(session, a, 2);
    for (unsigned id = 2; id <= 12; id++)
        SEND_FILES(a, 4, id - 1, "{'type':'call','id':%u,'to':'$B','method':'M','fds':4}", id);
    /* Five messages' wait in busd. */
    for (unsigned id = 7; id <= 12; id++)
        client_expect_error(a, id, "bus.LimitExceeded");
    for (unsigned id = 1; id <= 6; id++)
        EXPECT_FILES(b, 4, id - 1, "{'sender':'$A','type':'call','id':%u,'to':'$B','method':'M'}",
                     id);
    SEND_FILES(a, 4, 50, "{'type':'call','id':13,'to':'$B','method':'M','fds':4}");
    EXPECT_FILES(b, 4, 50, "{'sender':'$A','type':'call','id':13,'to':'$B','method':'M'}");
    client_close(b);
    for (unsigned id = 1; id <= 6; id++)
        client_expect_error(a, id, "bus.NoReply");
    client_expect_error(a, 13, "bus.NoReply");
}

/* Lines without fds overtake nothing: the order stays. */
static void test_order_while_waiting(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_subscriber(session, "B");

    for (unsigned n = 0; n < 8; n++) {
        SEND_FILES(a, 2, n, "{'type':'event','topic':'t.fds','body':%u,'fds':2}", n);
        client_send(a, "{'type':'event','topic':'t.none','body':%u}", n);
    }
    json_decref(client_ask_json(a, "Ping", "{}"));
    for (unsigned n = 0; n < 8; n++) {
        EXPECT_FILES(b, 2, n, "{'sender':'$A','type':'event','topic':'t.fds','body':%u}", n);
        client_expect(b, "{'sender':'$A','type':'event','topic':'t.none','body':%u}", n);
    }
}

/* Whoever leaves with fds on the way leaves none behind. */
static void test_leaving(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_subscriber(session, "B");
    static const char half[] = "{\"type\":\"event\",\"fds\":3,";
    int fd[3];

    for (unsigned n = 0; n < 10; n++)
        SEND_FILES(a, 3, 0, "{'type':'event','topic':'t','fds':3}");
    json_decref(client_ask_json(a, "Ping", "{}"));
    client_close(b);
    files_open(fd, 3, 0);
    client_send_at_once(a, half, sizeof(half) - 1, fd, 3);
    files_close(fd, 3);
    client_close(a);
}

/* A client hands its connection on: whoever has it speaks as that client, until the
 * last one has closed it. */
static void test_passing_the_connection_itself(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");
    int passed;

    client_send_fds(a, &a->fd, 1, "{'type':'event','topic':'t','to':'$B','fds':1}");
    client_expect_fds(b, &passed, 1, "{'sender':'$A','type':'event','topic':'t','to':'$B'}");
    close(a->fd);
    a->fd = passed;
    client_send(a, "{'type':'event','topic':'t','to':'$B','body':'still here'}");
    client_expect(b, "{'sender':'$A','type':'event','topic':'t','to':'$B','body':'still here'}");
    client_close(a);
    session_wait_for_connections(session, b, 1);
}

/* The kernel counts fds in flight for each user: those of a stopped receiver must not
 * use up everybody's. */
static void test_many_stopped_receivers(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_subscriber(session, "B");

    for (unsigned i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof(name), "S%u", i);
        connect_subscriber(session, name);
    }
    for (unsigned n = 0; n < 30; n++) {
        SEND_FILES(a, 8, n, "{'type':'event','topic':'t.x','body':%u,'fds':8}", n);
        EXPECT_FILES(b, 8, n, "{'sender':'$A','type':'event','topic':'t.x','body':%u}", n);
    }
    LIST_FOREACH (node, &session->clients) {
        struct client *client = LIST_ENTRY(node, struct client, link);
        if (client->name[0] == 'S')
            client_close(client);
    }
}

static const struct transcript transcripts[] = {
    TRANSCRIPT(test_matrix),
    TRANSCRIPT(test_pipe),
    TRANSCRIPT(test_all_types),
    TRANSCRIPT(test_pipelined),
    TRANSCRIPT(test_more_lines_behind),
    TRANSCRIPT_PLAIN(test_wrong_batches),
    TRANSCRIPT_PLAIN(test_with_a_blank_line),
    TRANSCRIPT(test_to_the_bus),
    TRANSCRIPT(test_to_nobody),
    {.name = "test_too_many",
     .run = test_too_many,
     .args = BUSD_ARGS("--limit", "fds_per_message=8")},
    {.name = "test_refused_lines",
     .run = test_refused_lines,
     .args = BUSD_ARGS("--limit", "message_bytes=2000")},
    TRANSCRIPT(test_truncated),
    TRANSCRIPT(test_fan_out),
    {.name = "test_stopped_receiver",
     .run = test_stopped_receiver,
     .args = BUSD_ARGS("--limit", "fds_queued=20")},
    {.name = "test_stopped_callee",
     .run = test_stopped_callee,
     .args = BUSD_ARGS("--limit", "fds_queued=20")},
    TRANSCRIPT(test_order_while_waiting),
    TRANSCRIPT(test_leaving),
    TRANSCRIPT(test_passing_the_connection_itself),
    TRANSCRIPT_PLAIN(test_many_stopped_receivers),
};

int main(void)
{
    return TRANSCRIPTS_RUN("fds", transcripts);
}
