/* SPDX-License-Identifier: MIT */
/*
 * busd in a user namespace, as in a container: users whom the namespace does not know are
 * all the same one for the kernel, and so for busd. Whatever they are outside, they have
 * the rights and the share of that one, and nobody else's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/transcript.h"

/* Whom the kernel tells of instead, see /proc/sys/kernel/overflowuid. */
#define UNKNOWN 65534

static struct client *connect_as(struct session *session, const char *name, uid_t uid)
{
    struct identity identity = {uid, uid + 1, uid + 2};

    return session_connect_as(session, name, "bus", &identity);
}

/* What the bus says of a client; the pidfd that comes along where there are pidfds is of
 * no interest. */
static void expect_identity(struct client *asker, char name, unsigned id)
{
    client_send(asker,
                "{'type':'call','id':7,'to':'bus','method':'GetCredentials','body':{'name':'$%c'}}",
                name);
    struct message *message = client_next(asker);
    json_t *body = message ? json_object_get(message->json, "body") : NULL;
    json_t *gids = json_object_get(body, "gids");

    assert_int_equal(json_integer_value(json_object_get(body, "pid")), getpid());
    assert_true(json_is_integer(json_object_get(body, "uid")));
    assert_int_equal(json_integer_value(json_object_get(body, "uid")), id);
    assert_int_equal(json_integer_value(json_object_get(body, "gid")), id);
    assert_true(id == 0 || json_array_size(gids) == 1);
    for (size_t i = 0; i < json_array_size(gids); i++)
        assert_int_equal(json_integer_value(json_array_get(gids, i)), id);
    message_free(message);
}

static void test_credentials(struct session *session)
{
    struct client *a = session_connect(session, "A");

    connect_as(session, "B", 4242);
    connect_as(session, "C", 4294967290);
    expect_identity(a, 'A', 0);
    expect_identity(a, 'B', UNKNOWN);
    expect_identity(a, 'C', UNKNOWN);
}

#define POLICY_TEXT                                                                                \
    "{'listeners':[{'address':'unix:DIR/bus','mode':'0666'}],'policy':["                           \
    "{'allow':'own','uid':4242},"                                                                  \
    "{'deny':'own','uid':65534,'reason':'who is it'},"                                             \
    "{'deny':'subscribe','gid':65534,'topic':'t.#'},"                                              \
    "{'allow':'*'}]}"

/* A rule about 4242 is about one of the namespace, not of the world outside. */
static void test_policy(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct client *b = connect_as(session, "B", 4242);

    client_ask_error(b, "RequestName", "{'name':'org.example.A'}", "bus.AccessDenied");
    client_ask_error(b, "Subscribe", "{'topic':'t.x'}", "bus.AccessDenied");
    client_ask(b, "Subscribe", "{'topic':'u.x'}", "{'subscription':1,'retained':0}");
    client_ask(a, "RequestName", "{'name':'org.example.A'}", "{'state':'owner'}");
    client_ask(a, "Subscribe", "{'topic':'t.x'}", "{'subscription':1,'retained':0}");
    client_send(b, "{'type':'event','topic':'t.x'}");
    client_expect(a, "{'sender':'$B','type':'event','topic':'t.x'}");
}

/* They share what one user may have, and take nothing from those who are known. */
static void test_quota(struct session *session)
{
    struct client *a = session_connect(session, "A");
    struct identity late = {5000, 5001, 5002};

    connect_as(session, "B", 4242);
    connect_as(session, "C", 4343);
    struct client *d = session_connect_silently_as(session, "D", "bus", &late);
    client_expect(d, "{'sender':'bus','type':'error','error':'bus.LimitExceeded','message':'*'}");
    client_expect_end(d);
    assert_true(busd_has_logged(&session->busd, "user 65534 "));
    session_connect(session, "E");
    client_ask(a, "Ping", "{}", "{}");
}

#define CONFIGURED(function, text)                                                                 \
    {                                                                                              \
        .name = #function, .run = function, .config = (text), .plain_only = true                   \
    }

static const struct transcript transcripts[] = {
    CONFIGURED(test_credentials, POLICY_TEXT),
    CONFIGURED(test_policy, POLICY_TEXT),
    CONFIGURED(test_quota, "{'listeners':[{'address':'unix:DIR/bus','mode':'0666'}],"
                           "'limits':{'connections_per_user':2},'policy':[{'allow':'*'}]}"),
};

static bool kernel_tells(uid_t uid)
{
    FILE *file = fopen("/proc/sys/kernel/overflowuid", "re");
    unsigned number = 0;
    bool read = file && fscanf(file, "%u", &number) == 1;

    if (file)
        fclose(file);
    return read && number == uid;
}

/* A program that runs busd where root is the only user. False, with a word about it, where
 * that cannot be. */
static bool make_program(const char *path)
{
    FILE *file = fopen(path, "we");

    if (!file || fprintf(file, "#!/bin/sh\nexec unshare --user --map-root-user '%s' \"$@\"\n",
                         busd_binary()) < 0)
        fail_msg("cannot write %s", path);
    fclose(file);
    if (chmod(path, 0755) < 0 || geteuid() != 0 || !kernel_tells(UNKNOWN)) {
        puts("skipped: it takes root, and a kernel that calls unknown users 65534");
        return false;
    }
    if (system("unshare --user --map-root-user true") != 0) {
        puts("skipped: the kernel makes no user namespaces here");
        return false;
    }
    return true;
}

int main(void)
{
    CLEANUP(cleanup_free) char *folder = getcwd(NULL, 0);
    char path[512];

    snprintf(path, sizeof(path), "%s/busd-in-namespace", folder ? folder : ".");
    if (!make_program(path))
        return 77;
    setenv("BUSD_BINARY", path, 1);
    return TRANSCRIPTS_RUN("namespace", transcripts);
}
