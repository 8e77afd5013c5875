/* SPDX-License-Identifier: MIT */
/*
 * The kernel counts the file descriptors that a user has sent and nobody has received yet,
 * against the user's limit of open ones; those that busd forwards count as busd's user's.
 * Clients that do not read must not use them up to the harm of others. Root is not
 * counted, so busd runs as somebody else here, with a limit that can be reached.
 */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/bystander.h"
#include "tests/support/files.h"

#define MALLORY 12001
#define TROY    12002

#define LIMIT 100

#define RECEIVERS 12
#define PER_CALL  16

static struct client *receiver(struct session *session, unsigned i)
{
    char name[16];

    snprintf(name, sizeof(name), "S%u", i);
    struct client *client = session_find(session, name, strlen(name));
    return client ? client : session_connect_as_user(session, name, TROY);
}

/* The socket is busd's to remove. */
static void give_directory(struct session *session)
{
    struct passwd *nobody = getpwnam("nobody");

    assert_non_null(nobody);
    assert_int_equal(chown(session->busd.directory, nobody->pw_uid, (gid_t)-1), 0);
    assert_int_equal(chmod(session->busd.directory, 0711), 0);
    assert_int_equal(chmod(session->busd.path, 0666), 0);
}

/* Clients that do not read, each with as many as a message may have: the kernel takes
 * no more from busd's user (ETOOMANYREFS). Who sends hears of it, nobody is dropped, and
 * it is over as soon as they read. */
static void test_too_many_in_flight(struct session *session)
{
    struct bystander bystander;
    int fd[PER_CALL], got[PER_CALL];
    unsigned refused = 0;
    struct message *message;

    give_directory(session);
    bystander_start(&bystander, session);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    for (unsigned i = 0; i < RECEIVERS; i++)
        receiver(session, i);
    files_open(fd, PER_CALL, 0);
    for (unsigned i = 0; i < RECEIVERS; i++) {
        client_send_fds(m, fd, PER_CALL,
                        "{'type':'call','id':%u,'to':'$S%u','method':'M','fds':16}", i + 1, i);
        /* They are in the socket, and busd has closed its own. */
        session_expect_fds(session, BYSTANDER_CONNECTIONS + 1 + RECEIVERS);
        bystander_check(&bystander);
    }
    client_send(m, "{'type':'call','id':100,'to':'bus','method':'Ping'}");
    while (message = client_next(m), !strstr(message->line, "\"id\":100")) {
        assert_non_null(strstr(message->line, "\"bus.LimitExceeded\""));
        message_free(message);
        refused++;
    }
    message_free(message);
    assert_in_range(refused, 2, RECEIVERS - LIMIT / PER_CALL);
    for (unsigned i = 0; i < RECEIVERS - refused; i++) {
        client_expect_fds(receiver(session, i), got, PER_CALL,
                          "{'sender':'$M','type':'call','id':%u,'to':'$S%u','method':'M'}", i + 1,
                          i);
        files_expect(got, PER_CALL, 0);
    }
    for (unsigned i = 0; i < RECEIVERS; i++) {
        client_send_fds(m, fd, PER_CALL, "{'type':'event','topic':'t','to':'$S%u','fds':16}", i);
        client_expect_fds(receiver(session, i), got, PER_CALL,
                          "{'sender':'$M','type':'event','topic':'t','to':'$S%u'}", i);
        files_expect(got, PER_CALL, 0);
    }
    files_close(fd, PER_CALL);
    bystander_stop(&bystander, session, 1 + RECEIVERS);
    for (unsigned i = 0; i < RECEIVERS; i++)
        client_free(receiver(session, i));
    for (unsigned i = 0; i < RECEIVERS - refused; i++)
        client_expect_error(m, i + 1, "bus.NoReply");
}

/* An item that the kernel does not take is lost, and so is the call: also when the final
 * answer waits behind it, which says that all is well. There is one answer, an error. */
static void test_items_in_flight(struct session *session)
{
    int fd[PER_CALL], got[PER_CALL];

    give_directory(session);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    for (unsigned i = 0; i < RECEIVERS; i++)
        receiver(session, i);
    files_open(fd, PER_CALL, 0);
    for (unsigned i = 0; i <= LIMIT / PER_CALL; i++) {
        client_send_fds(m, fd, PER_CALL, "{'type':'event','topic':'t','to':'$S%u','fds':16}", i);
        client_ask(m, "Ping", "{}", "{}");
        session_expect_fds(session, 1 + RECEIVERS);
    }

    struct client *a = receiver(session, RECEIVERS - 1);
    for (unsigned id = 1; id <= 3; id++) {
        client_send(a, "{'type':'call','id':%u,'to':'$M','method':'M','more':true}", id);
        client_expect(m,
                      "{'sender':'$%s','type':'call','id':%u,'to':'$M','method':'M','more':true}",
                      a->name, id);
        client_send(m, "{'type':'reply','to':'$%s','id':%u,'more':true}", a->name, id);
        client_expect(a, "{'sender':'$M','type':'reply','to':'$%s','id':%u,'more':true}", a->name,
                      id);
    }
    client_send_fds(m, fd, PER_CALL, "{'type':'reply','to':'$%s','id':1,'more':true,'fds':16}",
                    a->name);
    client_expect_error(a, 1, "bus.LimitExceeded");
    client_expect(m, "{'sender':'$%s','type':'cancel','id':1,'reason':'limit'}", a->name);

    CLEANUP(cleanup_free)
    char *text = client_expand(session,
                               "{'type':'reply','to':'$%s','id':2,'more':true,'fds':16}\n"
                               "{'type':'reply','to':'$%s','id':2,'body':'all is well'}\n"
                               "{'type':'reply','to':'$%s','id':3,'body':'truly'}\n",
                               a->name, a->name, a->name);
    assert_int_equal(client_send_at_once(m, text, strlen(text), fd, PER_CALL), strlen(text));
    client_expect(a, "{'sender':'$M','type':'reply','to':'$%s','id':3,'body':'truly'}", a->name);
    client_expect_error(a, 2, "bus.LimitExceeded");
    for (unsigned i = 0; i <= LIMIT / PER_CALL; i++) {
        client_expect_fds(receiver(session, i), got, PER_CALL,
                          "{'sender':'$M','type':'event','topic':'t','to':'$S%u'}", i);
        files_expect(got, PER_CALL, 0);
    }
    session_expect_nothing(session);
    files_close(fd, PER_CALL);
}

/* An event that the kernel does not take is lost: told of, or, for who had rather be
 * disconnected than lose it, the end. */
static void test_refused_events(struct session *session)
{
    unsigned fillers = LIMIT / PER_CALL + 1;
    int fd[PER_CALL], got[PER_CALL];

    give_directory(session);
    struct client *m = session_connect_as_user(session, "M", MALLORY);
    struct client *d = session_connect_as_user(session, "D", TROY);
    struct client *e = session_connect_as_user(session, "E", TROY);
    client_ask(d, "Subscribe", "{'topic':'t','overflow':'drop'}", "'*'");
    client_ask(e, "Subscribe", "{'topic':'t','overflow':'disconnect'}", "'*'");
    files_open(fd, PER_CALL, 0);
    for (unsigned i = 0; i < fillers; i++) {
        receiver(session, i);
        client_send_fds(m, fd, PER_CALL, "{'type':'event','topic':'f','to':'$S%u','fds':16}", i);
        client_ask(m, "Ping", "{}", "{}");
        session_expect_fds(session, 3 + i + 1);
    }
    client_send_fds(m, fd, PER_CALL, "{'type':'event','topic':'t','fds':16}");
    client_expect(d, "{'sender':'bus','type':'event','topic':'bus.overflow','body':{'lost':1,"
                     "'first':'t','last':'t','since':'*'}}");
    client_expect_goodbye(e, "disconnected rather than lose 't'");
    for (unsigned i = 0; i < fillers; i++) {
        client_expect_fds(receiver(session, i), got, PER_CALL,
                          "{'sender':'$M','type':'event','topic':'f','to':'$S%u'}", i);
        files_close(got, PER_CALL);
    }
    files_close(fd, PER_CALL);
}

static const struct transcript transcripts[] = {
    {.name = "test_refused_events",
     .run = test_refused_events,
     .args = BUSD_ARGS("--run-as", "nobody"),
     .plain_only = true},
    {.name = "test_too_many_in_flight",
     .run = test_too_many_in_flight,
     .args = BUSD_ARGS("--run-as", "nobody"),
     .plain_only = true},
    {.name = "test_items_in_flight",
     .run = test_items_in_flight,
     .args = BUSD_ARGS("--run-as", "nobody"),
     .plain_only = true},
};

int main(void)
{
    const struct rlimit limit = {LIMIT, LIMIT};

    if (geteuid() != 0) {
        puts("skipped: it takes root to connect as several users");
        return 0;
    }
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        perror("setrlimit");
        return 1;
    }
    return TRANSCRIPTS_RUN("too many file descriptors in flight", transcripts);
}
