/* SPDX-License-Identifier: MIT */
/* Direct channels whose opener is a raw socket: the protocol, and what it may not do. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/channel-fixture.h"

#define CALLS 1100

/* Sends the text with so many fds. False at the end of the channel. */
static bool send_fds(int fd, const char *text, unsigned count)
{
    char control[CMSG_SPACE(CLIENT_FDS_MAX * sizeof(int))] = {0};
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};

    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    CMSG_FIRSTHDR(&message)->cmsg_level = SOL_SOCKET;
    CMSG_FIRSTHDR(&message)->cmsg_type = SCM_RIGHTS;
    CMSG_FIRSTHDR(&message)->cmsg_len = CMSG_LEN(count * sizeof(int));
    for (unsigned i = 0; i < count; i++)
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)) + i * sizeof(int), &fd, sizeof(fd));
    return sendmsg(fd, &message, MSG_NOSIGNAL) > 0 || errno == EAGAIN || errno == ETOOMANYREFS;
}

/* The protocol as it stands on a channel. */
static void test_raw(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct service service;
    char expected[256];

    service_start(&service, session, 4);
    int fd = open_raw(&service, a, 7);
    say(fd, "{'type':'call','id':1,'to':'" NAME "','method':'Echo','body':{'a':1}}");
    snprintf(expected, sizeof(expected), "{'type':'reply','to':'%s','id':1,'body':{'a':1}}",
             a->unique);
    expect_line(&service, fd, expected);
    /* Only the service that it was opened for is there. */
    say(fd, "{'type':'call','id':2,'to':'bus','method':'Ping'}");
    snprintf(expected, sizeof(expected),
             "{'type':'error','to':'%s','id':2,'error':'bus.NameUnknown','message':'this channel "
             "leads to '" NAME "' and to nobody else'}",
             a->unique);
    expect_line(&service, fd, expected);
    say(fd, "{'type':'call','id':3,'to':'" NAME "','method':'OpenChannel'}");
    assert_non_null(strstr(hear(&service, fd), "'bus.MethodUnknown'"));
    say(fd, "{'type':'call','id':4,'to':'" NAME "','method':'Later'}");
    say(fd, "{'type':'cancel','id':4,'to':'" NAME "'}");
    say(fd, "{'type':'event','topic':'up.x','body':3,'id':5}");
    snprintf(expected, sizeof(expected),
             "{'type':'reply','to':'%s','id':5,'body':{'matched':1,'queued':1,'dropped':0}}",
             a->unique);
    expect_line(&service, fd, expected);
    say(fd, "{'type':'event','topic':'nobody','id':6}");
    snprintf(expected, sizeof(expected),
             "{'type':'reply','to':'%s','id':6,'body':{'matched':0,'queued':0,'dropped':0}}",
             a->unique);
    expect_line(&service, fd, expected);
    expect_diary(&service, "call Later\ncancel Later\nevent up.x 3\n");
    /* Replies to nothing are let pass. */
    say(fd, "{'type':'reply','id':77,'to':'" NAME "'}");
    say(fd, "{'type':'call','id':8,'to':'" NAME "','method':'Ping'}");
    snprintf(expected, sizeof(expected), "{'type':'reply','to':'%s','id':8,'body':{}}", a->unique);
    expect_line(&service, fd, expected);
    close(fd);
    service_pump(&service);
    service_stop(&service);
}

/* What OpenChannel does not do. */
static void test_raw_opening(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct service service;

    service_start(&service, session, 1);
    client_send(a, "{'type':'call','to':'" NAME "','method':'OpenChannel','no_reply':true}");
    int fd = open_raw(&service, a, 1);
    assert_int_equal(service.opened, 1);
    client_send(a, "{'type':'call','id':2,'to':'" NAME "','method':'OpenChannel'}");
    session_settle(session);
    service_pump(&service);
    client_expect(a,
                  "{'sender':'%s','type':'error','to':'$A','id':2,'error':'bus.LimitExceeded',"
                  "'message':'" NAME " has as many direct channels as it takes, 1'}",
                  bus_unique_name(service.bus));
    /* Whoever leaves before it is there leaves nothing behind. */
    close(fd);
    service_pump(&service);
    struct client *b = session_connect(session, "B");
    client_send(b, "{'type':'call','id':2,'to':'" NAME "','method':'OpenChannel'}");
    session_settle(session);
    assert_true(bus_process(service.bus) > 0);
    client_close(b);
    session_settle(session);
    /* As soon as it is clear that nobody is there. */
    uint64_t end = process_now() + 5000;
    struct message *answer;
    for (unsigned id = 3;; id++) {
        call_open(&service, a, id);
        answer = client_next(a);
        if (answer->count == 1)
            break;
        message_free(answer);
        assert_true(process_now() < end);
    }
    message_free(answer);
    service_stop(&service);
}

/* Each thing that a client may not do costs it the channel, and nothing else. */
static void test_hostile_lines(struct session *session)
{
    static const struct {
        const char *line;
        const char *reason;
    } cases[] = {
        {"garbage", BUS_ERROR_PARSE_ERROR},
        {"{'type':'event'}", BUS_ERROR_INVALID_MESSAGE},
        {"{'sender':':1','type':'event','topic':'up.a'}", BUS_ERROR_INVALID_MESSAGE},
        {"{'sender':'bus','type':'error','error':'bus.Disconnected'}", BUS_ERROR_INVALID_MESSAGE},
        {"{'type':'event','topic':'bus.welcome','body':{}}", BUS_ERROR_INVALID_MESSAGE},
        {"{'type':'event','topic':'up.a','retained':true}", BUS_ERROR_INVALID_MESSAGE},
        {"{'type':'event','topic':'up.a','fds':1}", BUS_ERROR_FD_MISMATCH},
        {"{'type':'event','topic':'up.a','fds':65}", BUS_ERROR_INVALID_MESSAGE},
        {"{'type':'reply','id':1}", BUS_ERROR_INVALID_MESSAGE},
    };
    struct client *a = session_connect(session, "A");
    struct service service;

    service_start(&service, session, 2);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        int fd = open_raw(&service, a, i + 1);
        say(fd, "%s", cases[i].line);
        say(fd, "{'type':'event','topic':'up.after'}");
        expect_line(&service, fd, "");
        CHECK(strcmp(bus_disconnect_error(service.channel)->name, cases[i].reason) == 0,
              "%s: %s %s", cases[i].line, bus_disconnect_error(service.channel)->name,
              bus_disconnect_error(service.channel)->message);
        close(fd);
    }
    /* The same id twice, unanswered. */
    int fd = open_raw(&service, a, 100);
    service.diary[0] = '\0';
    say(fd, "{'type':'call','id':1,'to':'" NAME "','method':'Later'}");
    say(fd, "{'type':'call','id':1,'to':'" NAME "','method':'Later'}");
    expect_line(&service, fd, "");
    expect_diary(&service, "call Later\ncancel Later\nlost bus.InvalidMessage\n");
    close(fd);
    service_stop(&service);
}

/* Things without end. */
static void test_hostile_floods(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct service service;
    char block[4096];

    service_start(&service, session, 2);
    /* A line. */
    int fd = open_raw(&service, a, 1);
    memset(block, ' ', sizeof(block));
    ssize_t n = 0;
    for (size_t sent = 0; n >= 0 && sent < (size_t)2 << 20; sent += sizeof(block)) {
        n = send(fd, block, sizeof(block), MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            n = 0;
        service_pump(&service);
    }
    assert_string_equal(bus_disconnect_error(service.channel)->name, BUS_ERROR_TOO_LARGE);
    close(fd);

    /* Calls that are never answered. */
    fd = open_raw(&service, a, 2);
    service.hoard = calloc(CALLS, sizeof(*service.hoard));
    service.calls = 0;
    for (unsigned i = 1; i <= CALLS; i++) {
        say(fd, "{'type':'call','id':%u,'to':'" NAME "','method':'Later'}", i);
        service_pump(&service);
    }
    assert_int_equal(service.calls, 1024);
    assert_non_null(strstr(hear(&service, fd), "'id':1025,'error':'bus.LimitExceeded'"));
    /* There is room again when one is answered. */
    assert_int_equal(bus_reply_text(service.hoard[0], NULL, 0), 0);
    for (unsigned i = 1026; i <= CALLS; i++)
        assert_non_null(strstr(hear(&service, fd), "'bus.LimitExceeded'"));
    assert_non_null(strstr(hear(&service, fd), "'type':'reply'"));
    say(fd, "{'type':'call','id':1,'to':'" NAME "','method':'Echo'}");
    assert_non_null(strstr(hear(&service, fd), "'type':'reply'"));
    for (unsigned i = 0; i < 1024; i++)
        bus_message_unref(service.hoard[i]);
    free(service.hoard);
    close(fd);
    service_pump(&service);
    service_stop(&service);
}

/* Fds that are not those of a line, and more than there may be. */
static void test_hostile_fds(struct session *session)
{
    static const struct {
        const char *line;
        unsigned count;
        const char *reason;
    } cases[] = {
        {"{\"type\":\"event\",\"topic\":\"up.a\"}\n", 1, BUS_ERROR_FD_MISMATCH},
        {"{\"type\":\"event\",\"topic\":\"up.a\",\"fds\":2}\n", 1, BUS_ERROR_FD_MISMATCH},
        {"{\"type\":\"event\",\"topic\":\"up.a\",\"fds\":65}\n", 65, BUS_ERROR_INVALID_MESSAGE},
        {"\n", 1, BUS_ERROR_FD_MISMATCH},
    };
    struct client *a = session_connect(session, "A");
    struct service service;

    service_start(&service, session, 2);
    unsigned fds = process_open_fds(getpid());
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        int fd = open_raw(&service, a, i + 1);
        send_fds(fd, cases[i].line, cases[i].count);
        say(fd, "{'type':'event','topic':'up.after'}");
        expect_line(&service, fd, "");
        CHECK(strcmp(bus_disconnect_error(service.channel)->name, cases[i].reason) == 0,
              "case %u: %s", i, bus_disconnect_error(service.channel)->name);
        close(fd);
    }
    /* For a line without an end. */
    int fd = open_raw(&service, a, 100);
    for (unsigned i = 0; i < 3; i++)
        send_fds(fd, " ", 10);
    expect_line(&service, fd, "");
    close(fd);
    /* A body that is none is answered. */
    fd = open_raw(&service, a, 101);
    send_fds(fd,
             "{\"type\":\"call\",\"id\":1,\"to\":\"" NAME "\",\"method\":\"Echo\",\"fds\":1,"
             "\"body_fd\":true}\n",
             1);
    assert_non_null(strstr(hear(&service, fd), "'id':1,'error':'bus.InvalidArguments'"));
    close(fd);
    service_pump(&service);
    service.channel = bus_unref(service.channel);
    /* The epoll, the timer and the wake-ups of the service's loop. */
    assert_int_equal(process_open_fds(getpid()), fds + 3);
    service_stop(&service);
}

/* While the service waits for this client's answer, the client sends all kinds of other
 * things: the service gives up on it before they fill its memory, or its table of fds. */
static void check_flood(struct service *service, int fd, unsigned fds)
{
    static const char line[] = "{\"type\":\"event\",\"topic\":\"up.a\"}\n";
    static const char line_with_fds[] = "{\"type\":\"event\",\"topic\":\"up.a\",\"fds\":60}\n";
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (fds > 0 ? send_fds(fd, line_with_fds, fds)
                       : send(fd, line, sizeof(line) - 1, MSG_NOSIGNAL) > 0 || errno == EAGAIN)
            ;
        _exit(0);
    }
    close(fd);
    assert_int_equal(bus_call_text(service->channel, bus_channel_peer(service->channel), "M", NULL,
                                   0, 10000, NULL, NULL),
                     -ECONNRESET);
    assert_string_equal(bus_disconnect_error(service->channel)->name, BUS_ERROR_LIMIT_EXCEEDED);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    service_pump(service);
}

static void test_hostile_while_waiting(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct service service;

    service_start(&service, session, 2);
    check_flood(&service, open_raw(&service, a, 1), 0);
    check_flood(&service, open_raw(&service, a, 2), 60);
    service_stop(&service);
}

/* ------------------------------------------------------------------ raw services */

/* What a service may answer to OpenChannel; nothing of it does more than keep the client
 * on the bus. */
static void test_raw_service(struct session *session)
{
    static const char *const bodies[] = {
        "{'message_bytes':4096}",
        "{'message_bytes':0,'fds_per_message':1}",
        "{'message_bytes':4096,'fds_per_message':254}",
        "{'message_bytes':1e300,'fds_per_message':1}",
        "[]",
    };
    struct client *a = session_connect(session, "A");
    int pair[2];

    client_ask(a, "RequestName", "{'name':'" NAME "'}", "{'state':'owner'}");
    for (unsigned i = 0; i < ARRAY_SIZE(bodies) + 2; i++) {
        struct opening opening;
        opening_begin(&opening, session);
        struct message *call = client_wait(a, "the call");
        const char *sender = json_string_value(json_object_get(call->json, "sender"));
        long long id = (long long)json_integer_value(json_object_get(call->json, "id"));

        assert_string_equal(json_string_value(json_object_get(call->json, "method")),
                            "OpenChannel");
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        if (i < ARRAY_SIZE(bodies)) {
            client_send_fds(a, pair, 1, "{'type':'reply','to':'%s','id':%lld,'fds':1,'body':%s}",
                            sender, id, bodies[i]);
        } else if (i == ARRAY_SIZE(bodies)) {
            client_send(a,
                        "{'type':'reply','to':'%s','id':%lld,'body':{'message_bytes':4096,"
                        "'fds_per_message':1}}",
                        sender, id);
        } else {
            int null = open("/dev/null", O_RDWR | O_CLOEXEC);
            client_send_fds(a, &null, 1,
                            "{'type':'reply','to':'%s','id':%lld,'fds':1,'body':"
                            "{'message_bytes':4096,'fds_per_message':1}}",
                            sender, id);
            close(null);
        }
        message_free(call);
        opening_end(&opening, NULL);
        CHECK(opening.r == 0, "answer %u: %d", i, opening.r);
        assert_ptr_equal(opening.channel, opening.bus);
        bus_unref(opening.channel);
        bus_close(opening.bus);
        close(pair[0]);
        close(pair[1]);
    }
}

/* What a client with the library says on a channel. */
static void test_raw_service_side(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct answer answer = {0};
    struct service seen = {0};
    int pair[2];

    client_ask(a, "RequestName", "{'name':'" NAME "'}", "{'state':'owner'}");
    struct opening opening;
    opening_begin(&opening, session);
    struct message *call = client_wait(a, "the call");
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    client_send_fds(a, pair, 1,
                    "{'type':'reply','to':'%s','id':%lld,'fds':1,'body':{'message_bytes':200,"
                    "'fds_per_message':0}}",
                    json_string_value(json_object_get(call->json, "sender")),
                    (long long)json_integer_value(json_object_get(call->json, "id")));
    message_free(call);
    close(pair[0]);
    opening_end(&opening, NULL);
    assert_int_equal(opening.r, 1);
    seen.bus = opening.channel;
    assert_string_equal(bus_channel_peer(opening.channel), a->unique);
    assert_int_equal(bus_subscribe(opening.channel, "#", NULL, on_event, &seen, NULL, NULL), 0);
    assert_int_equal(
        bus_call_text_async(opening.channel, NAME, "M", "[1]", 3, 5000, on_answer, &answer, NULL),
        0);
    expect_line(&seen, pair[1],
                "{'type':'call','to':'" NAME "','id':1,'method':'M','timeout':5000,'body':[1]}");
    say(pair[1], "{'type':'event','topic':'a','body':2}");
    say(pair[1], "{'type':'reply','to':'%s','id':1,'body':3}", bus_unique_name(opening.bus));
    while (!answer.message)
        service_pump(&seen);
    assert_string_equal(bus_message_sender(answer.message), a->unique);
    expect_answer(&answer, "3");
    expect_diary(&seen, "event a 2\n");
    /* The service's limits. */
    char text[200];
    memset(text, '1', sizeof(text));
    bus_set_memfd_threshold(opening.channel, 10);
    assert_int_equal(bus_publish_text(opening.channel, "a", text, sizeof(text)), -EMSGSIZE);
    assert_int_equal(bus_publish_text(opening.channel, "a", text, 20), 0);
    expect_line(&seen, pair[1], "{'type':'event','topic':'a','body':11111111111111111111}");
    say(pair[1], "{'type':'event','topic':'a','body':\"%0190d\"}", 0);
    service_pump(&seen);
    assert_string_equal(bus_disconnect_error(opening.channel)->name, BUS_ERROR_TOO_LARGE);
    close(pair[1]);
    bus_close(opening.channel);
    bus_close(opening.bus);
}

static const struct transcript transcripts[] = {
    TRANSCRIPT(test_raw),
    TRANSCRIPT_PLAIN(test_raw_opening),
    TRANSCRIPT_PLAIN(test_hostile_lines),
    TRANSCRIPT_PLAIN(test_hostile_floods),
    TRANSCRIPT_PLAIN(test_hostile_fds),
    TRANSCRIPT_PLAIN(test_hostile_while_waiting),
    TRANSCRIPT_PLAIN(test_raw_service),
    TRANSCRIPT_PLAIN(test_raw_service_side),
};

int main(void)
{
    return TRANSCRIPTS_RUN("direct channels over raw sockets", transcripts);
}
