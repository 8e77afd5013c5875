/* SPDX-License-Identifier: MIT */
/*
 * Attacks on what busd has for everybody: its time, its memory, its connections. One
 * user does its worst, another one's calls go on unharmed, and what was held is given
 * back. See tests/integration/test-fairness.c for how long calls take meanwhile.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/bystander.h"
#include "tests/support/process.h"

#define MALLORY 12001
#define TROY    12002

/* A client with this name and a number. */
static struct client *connect_one_more(struct session *session, uid_t uid, unsigned number)
{
    char name[16];

    snprintf(name, sizeof(name), "X%u", number);
    return session_connect_as_user(session, name, uid);
}

static struct client *one_of(struct session *session, unsigned number)
{
    char name[16];

    snprintf(name, sizeof(name), "X%u", number);
    return session_find(session, name, strlen(name));
}

static void free_all(struct session *session, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (one_of(session, i))
            client_free(one_of(session, i));
}

/* ------------------------------------------------------------ connections */

/* More silent connections than a user may have: the rest of them is turned away, and
 * others are welcome, as is the same user with something to say. */
static void test_silent_connections(struct session *session)
{
    struct bystander bystander;
    unsigned welcome = 0;

    bystander_start(&bystander, session);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    client_ask(m, "Ping", "{}", "{}");
    for (unsigned i = 0; i < 90; i++) {
        char name[16];
        snprintf(name, sizeof(name), "X%u", i);
        assert_int_equal(seteuid(MALLORY), 0);
        struct client *x = session_connect_silently(session, name);
        assert_int_equal(seteuid(0), 0);
        struct message *message = client_next(x);
        welcome += strstr(message->line, "bus.welcome") != NULL;
        CHECK(strstr(message->line, "bus.welcome") || strstr(message->line, "(unproven_per_user)"),
              "%s was told %s", name, message->line);
        message_free(message);
    }
    assert_int_equal(welcome, 64);
    uint64_t begin = process_now();
    struct client *t = session_connect_as_user(session, "T", TROY);
    client_ask(t, "Ping", "{}", "{}");
    assert_in_range(process_now() - begin, 0, 1000);
    client_ask(m, "Ping", "{}", "{}");
    bystander_check(&bystander);
    free_all(session, 90);
    session_wait_for_connections(session, m, BYSTANDER_CONNECTIONS + 2);
    struct client *n = session_connect_as_user(session, "N", MALLORY);
    client_ask(n, "Ping", "{}", "{}");
    bystander_stop(&bystander, session, 3);
}

/* A client that closes, or half of it, with more waiting for it than its socket holds
 * keeps busd from sleeping no more than from closing it. */
static void test_half_closed(struct session *session)
{
    static const int ways[] = {SHUT_RD, SHUT_WR, SHUT_RDWR, -1};
    struct bystander bystander;
    CLEANUP(cleanup_free) char *filler = malloc(8001);

    memset(filler, 'x', 8000);
    filler[8000] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        bystander_start(&bystander, session);
        struct client *m = session_connect_as_user(session, "M", MALLORY);
        struct client *t = session_connect_as_user(session, "T", TROY);
        client_ask(t, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
        for (unsigned n = 0; n < 100; n++)
            client_send(m, "{'type':'event','topic':'t','body':'%s'}", filler);
        client_ask(m, "Ping", "{}", "{}");
        if (ways[i] >= 0)
            assert_int_equal(shutdown(t->fd, ways[i]), 0);
        else
            client_close(t);
        /* Whoever only reads no more is still heard. */
        bystander_stop(&bystander, session, ways[i] == SHUT_RD ? 2 : 1);
        usleep(200000);
        uint64_t before = process_context_switches(session->busd.pid);
        usleep(300000);
        assert_in_range(process_context_switches(session->busd.pid) - before, 0, 2);
        if (ways[i] == SHUT_RD) {
            client_send(t, "{'type':'event','topic':'t','to':'$M'}");
            client_expect(m, "{'sender':'$T','type':'event','topic':'t','to':'$M'}");
        }
        client_free(t);
        client_free(m);
        session_expect_fds(session, 0);
    }
}

/* ------------------------------------------------------------------ time */

#define DRIBBLERS 100

/* A hundred clients that send a byte at a time, of lines that go on and on. */
static void test_dribble(struct session *session)
{
    struct bystander bystander;

    bystander_start(&bystander, session);
    for (unsigned i = 0; i < DRIBBLERS; i++)
        connect_one_more(session, MALLORY, i);
    bystander_check(&bystander);
    bystander_longest(&bystander);
    for (unsigned n = 0; n < 150; n++)
        for (unsigned i = 0; i < DRIBBLERS; i++)
            assert_int_equal(
                client_send_at_once(one_of(session, i), n == 0 ? "{" : " ", 1, NULL, 0), 1);
    uint64_t longest = bystander_longest(&bystander);
    CHECK(longest <= 250, "a call took %llu ms", (unsigned long long)longest);
    bystander_check(&bystander);
    free_all(session, DRIBBLERS);
    bystander_stop(&bystander, session, 0);
}

/* Lines that say nothing are nobody's fault, however many; empty names are. */
static void test_nothing(struct session *session)
{
    static const char *const empty[] = {
        "{}",
        "{'type':''}",
        "{'type':'event','topic':''}",
        "{'type':'event','topic':'t','to':''}",
        "{'type':'call','id':1,'to':'','method':'M'}",
        "{'type':'call','id':1,'to':'$M','method':''}",
        "{'type':'call','id':1,'to':'$M','method':'M','path':''}",
        "{'type':'error','id':1,'to':'$M','error':''}",
        "{'':1}",
    };
    static const char *const patterns[] = {"", ".", "#.", "*.", ".*", "a..b", "#.a", "**", "*#"};
    struct bystander bystander;
    CLEANUP(cleanup_free) char *block = malloc(1 << 20);

    bystander_start(&bystander, session);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    assert_non_null(block);
    memset(block, '\n', 1 << 20);
    client_pour(m, block, 1 << 20);
    for (size_t i = 0; i < 1 << 20; i++)
        block[i] = "\r\n \n\t\n"[i % 6];
    client_pour(m, block, 1 << 20);
    client_send(m, "%s", "");
    client_ask(m, "Ping", "{}", "{}");
    for (size_t i = 0; i < ARRAY_SIZE(empty); i++) {
        client_send(m, "%s", empty[i]);
        struct message *message = client_next(m);
        CHECK(message && strstr(message->line, "bus.InvalidMessage"), "%s: %s", empty[i],
              message ? message->line : "the end");
        message_free(message);
        client_ask(m, "Ping", "{}", "{}");
    }
    for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
        char body[64];
        snprintf(body, sizeof(body), "{'topic':'%s'}", patterns[i]);
        client_ask_error(m, "Subscribe", body, "bus.InvalidArguments");
    }
    client_ask_error(m, "RequestName", "{'name':''}", "bus.InvalidArguments");
    client_ask_error(m, "Subscribe", "{'topic':'t','sender':''}", "bus.InvalidArguments");
    bystander_stop(&bystander, session, 1);
}

/* Milliseconds until `count` calls with ids in these steps wait for T, which does not
 * answer, and have been cancelled. */
static uint64_t time_calls(struct session *session, unsigned count, uint64_t step)
{
    CLEANUP(cleanup_free) char *block = malloc((size_t)count * 128);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    struct client *t = session_find(session, "T", 1);
    size_t size = 0;

    assert_non_null(block);
    for (unsigned i = 1; i <= count; i++)
        size += (size_t)sprintf(
            block + size,
            "{\"type\":\"call\",\"id\":%llu,\"to\":\"%s\",\"method\":\"M\",\"timeout\":0}\n",
            (unsigned long long)(i * step), t->unique);
    uint64_t begin = process_now();
    client_pour(m, block, size);
    client_ask(m, "Ping", "{}", "{}");
    client_free(m);
    for (unsigned cancels = 0; cancels < count;) {
        struct message *message = client_next(t);
        cancels += strstr(message->line, "\"cancel\"") != NULL;
        message_free(message);
    }
    return process_now() - begin;
}

/* Ids whose low bits are all the same, as one who knows how a table works would choose
 * them, are found as fast as others. */
static void test_chosen_ids(struct session *session)
{
    struct bystander bystander;

    bystander_start(&bystander, session);
    session_connect_as_user(session, "T", TROY);
    time_calls(session, 10000, 1);
    uint64_t usual = time_calls(session, 10000, 1);
    uint64_t chosen = time_calls(session, 10000, UINT64_C(1) << 36);
    CHECK(chosen <= 5 * usual + 50, "%llu ms instead of %llu", (unsigned long long)chosen,
          (unsigned long long)usual);
    bystander_stop(&bystander, session, 1);
}

/* ------------------------------------------------------------- unread answers */

static struct message *next_or_end(struct client *client)
{
    struct message *message = client_next(client);

    CHECK(message || client->ended, "neither a message nor the end");
    return message;
}

/* A client that leaves its answers unread is cut, its user's others are not. */
static void test_unread_answers(struct session *session)
{
    static const char line[] =
        "{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"ListNames\"}\n";
    struct bystander bystander;
    struct message *message;
    unsigned sent = 0;

    bystander_start(&bystander, session);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    struct client *n = session_connect_as_user(session, "N", MALLORY);
    for (unsigned i = 0; i < 50; i++)
        connect_one_more(session, MALLORY, i);
    for (;;) {
        long r = client_send_at_once(m, line, sizeof(line) - 1, NULL, 0);
        if (r == -EPIPE || r == -ECONNRESET)
            break;
        sent++;
        if (r == -EAGAIN)
            poll(&(struct pollfd){.fd = m->fd, .events = POLLOUT}, 1, 100);
        if (sent % 1000 == 0)
            client_ask(n, "Ping", "{}", "{}");
        assert_in_range(sent, 0, 1000000);
    }
    while ((message = next_or_end(m)))
        message_free(message);
    client_free(m);
    client_ask(n, "Ping", "{}", "{}");
    for (unsigned i = 0; i < 50; i++)
        client_ask(one_of(session, i), "Ping", "{}", "{}");
    free_all(session, 50);
    bystander_stop(&bystander, session, 1);
}

/* ------------------------------------------------------------ comings and goings */

#define CHURNERS 24

static void churn_one(struct session *session, struct random *random, unsigned i)
{
    static const char *const lines[] = {
        "{'type':'event','topic':'churn.%u','body':[1,2,3]}",
        "{'type':'call','id':%u,'to':'bus','method':'Subscribe','body':{'topic':'churn.*'}}",
        "{'type':'call','id':%u,'to':'bus','method':'Unsubscribe','body':{'subscription':1}}",
        "{'type':'call','id':%u,'to':'bus','method':'RequestName','body':"
        "{'name':'org.churn.N','queue':true,'replace':true,'allow_replacement':true}}",
        "{'type':'call','id':%u,'to':'org.churn.N','method':'M','timeout':5}",
        "{'type':'call','id':%u,'to':'bus','method':'Monitor'}",
        "{'type':'cancel','id':%u,'to':'org.churn.N'}",
        "{'type':'event','topic':'org.churn.N.t%u'}",
    };
    struct client *client = one_of(session, i);
    unsigned what = random_below(random, ARRAY_SIZE(lines) + 2);

    if (!client) {
        connect_one_more(session, i % 2 ? MALLORY : TROY, i);
    } else if (what < ARRAY_SIZE(lines)) {
        char text[256];
        /* The row's one argument is a number. */
        const char *place = strstr(lines[what], "%u");
        snprintf(text, sizeof(text), "%.*s%u%s", (int)(place - lines[what]), lines[what],
                 1 + random_below(random, 50), place + 2);
        client_send(client, "%s", text);
    } else {
        if (what == ARRAY_SIZE(lines))
            client_send_at_once(client, "{\"type\":", 8, NULL, 0);
        client_free(client);
    }
}

/* Publishing, subscribing, asking, watching and leaving all at once. */
static void test_churn(struct session *session)
{
    struct bystander bystander;

    bystander_start(&bystander, session);
    for (unsigned n = 0; n < 12000; n++)
        churn_one(session, &session->random, random_below(&session->random, CHURNERS));
    bystander_check(&bystander);
    free_all(session, CHURNERS);
    bystander_stop(&bystander, session, 0);
}

/* ---------------------------------------------------------------- signals */

/* A process that sends signals, one after the other, that mean nothing. */
static pid_t start_signals(pid_t target)
{
    static const int numbers[] = {SIGCONT, SIGWINCH, SIGURG, SIGCHLD};
    pid_t parent = getpid();
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    alarm(0);
    for (unsigned i = 0;; i++) {
        if (kill(target, numbers[i % ARRAY_SIZE(numbers)]) < 0)
            _exit(1);
        if (i % 4 == 0)
            usleep(20);
    }
}

/* Interrupted again and again, and stopped for a while, busd loses nothing and nobody. */
static void test_signals(struct session *session)
{
    struct bystander bystander;
    CLEANUP(cleanup_free) char *filler = malloc(500001);

    memset(filler, 'x', 500000);
    filler[500000] = '\0';
    bystander_start(&bystander, session);
    pid_t pid = start_signals(session->busd.pid);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    struct client *t = session_connect_as_user(session, "T", TROY);
    client_ask(t, "Subscribe", "{'topic':'t'}", "{'subscription':1,'retained':0}");
    for (unsigned n = 0; n < 40; n++) {
        client_send(m, "{'type':'event','topic':'t','body':'%s'}", filler);
        client_expect(t, "{'sender':'$M','type':'event','topic':'t','body':'%s'}", filler);
    }
    bystander_check(&bystander);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(kill(session->busd.pid, SIGSTOP), 0);
    usleep(200000);
    assert_int_equal(kill(session->busd.pid, SIGCONT), 0);
    /* A stopped client is waited for. */
    assert_int_equal(kill(bystander.pid, SIGSTOP), 0);
    client_send(m, "{'type':'event','topic':'t'}");
    client_expect(t, "{'sender':'$M','type':'event','topic':'t'}");
    usleep(200000);
    assert_int_equal(kill(bystander.pid, SIGCONT), 0);
    bystander_stop(&bystander, session, 2);
}

static const struct transcript transcripts[] = {
    {.name = "test_silent_connections",
     .run = test_silent_connections,
     .args = BUSD_ARGS("--limit", "unproven_per_user=64"),
     .plain_only = true},
    TRANSCRIPT_PLAIN(test_half_closed),
    TRANSCRIPT_PLAIN(test_dribble),
    TRANSCRIPT_PLAIN(test_nothing),
    TRANSCRIPT_PLAIN(test_chosen_ids),
    {.name = "test_unread_answers",
     .run = test_unread_answers,
     .args = BUSD_ARGS("--limit", "queue_bytes=262144"),
     .plain_only = true},
    TRANSCRIPT_PLAIN(test_churn),
    TRANSCRIPT_PLAIN(test_signals),
};

int main(void)
{
    if (geteuid() != 0) {
        puts("skipped: it takes root to connect as several users");
        return 0;
    }
    return TRANSCRIPTS_RUN("attacks on resources", transcripts);
}
