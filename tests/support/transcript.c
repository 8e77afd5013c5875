/* SPDX-License-Identifier: MIT */
#include "tests/support/transcript.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/process.h"

#define SEED_DEFAULT    20250102
#define SECONDS_DEFAULT 60

/* One row of what cmocka runs: a transcript in one way of writing. */
struct run {
    const struct transcript *transcript;
    struct session session;
    enum writing writing;
    uint64_t seed;
    unsigned fds;
    bool finished;
    char name[128];
};

static const char *const writing_names[] = {
    [WRITING_WHOLE] = "",
    [WRITING_DRIBBLED] = " [byte by byte]",
    [WRITING_SPLIT] = " [in pieces]",
};

static char time_is_up[256];
static const struct busd *running;

static void on_alarm(int signal)
{
    busd_abandon(running);
    if (write(STDERR_FILENO, time_is_up, strlen(time_is_up)) < 0)
        _exit(3);
    _exit(2);
}

static void start_clock(const struct run *run)
{
    running = &run->session.busd;

    unsigned seconds = run->transcript->seconds ? run->transcript->seconds : SECONDS_DEFAULT;

#ifdef __SANITIZE_ADDRESS__
    seconds *= 4;
#endif
    snprintf(time_is_up, sizeof(time_is_up), "%s%s took longer than its %u seconds\n",
             run->transcript->name, writing_names[run->writing], seconds);
    signal(SIGALRM, on_alarm);
    alarm(seconds);
}

/* ----------------------------------------------------------- sessions */

struct client *session_find(struct session *session, const char *name, size_t size)
{
    LIST_FOREACH (node, &session->clients) {
        struct client *client = LIST_ENTRY(node, struct client, link);
        if (strlen(client->name) == size && memcmp(client->name, name, size) == 0)
            return client;
    }
    return NULL;
}

/* connect(2) with these credentials: the kernel takes them down then and there. */
static int connect_as(int fd, const struct sockaddr_un *address, const struct identity *identity)
{
    gid_t groups[64], gid = getegid();
    uid_t uid = geteuid();

    if (!identity)
        return connect(fd, (const struct sockaddr *)address, sizeof(*address));
    int count = getgroups(ARRAY_SIZE(groups), groups);
    CHECK(count >= 0 && setgroups(1, &identity->group) == 0 && setegid(identity->gid) == 0 &&
              seteuid(identity->uid) == 0,
          "cannot become uid %u: %s", (unsigned)identity->uid, strerror(errno));
    int r = connect(fd, (const struct sockaddr *)address, sizeof(*address));
    int error = errno;
    CHECK(seteuid(uid) == 0 && setegid(gid) == 0 && setgroups((size_t)count, groups) == 0,
          "cannot become uid %u again: %s", (unsigned)uid, strerror(errno));
    errno = error;
    return r;
}

struct client *session_connect_silently_as(struct session *session, const char *name,
                                           const char *socket_name, const struct identity *identity)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct client *client = calloc(1, sizeof(*client));

    assert_non_null(client);
    CHECK(!session_find(session, name, strlen(name)), "two clients with the name %s", name);
    *client = (struct client){.session = session, .fd = -1, .next_id = 1000000};
    list_init(&client->messages);
    list_init(&client->batches);
    list_append(&session->clients, &client->link);
    snprintf(client->name, sizeof(client->name), "%s", name);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", session->busd.directory,
             socket_name);
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(client->fd >= 0, "socket: %s", strerror(errno));
    CHECK(connect_as(client->fd, &address, identity) == 0, "connect to %s: %s", address.sun_path,
          strerror(errno));
    return client;
}

struct client *session_connect_silently(struct session *session, const char *name)
{
    return session_connect_silently_as(session, name, "bus", NULL);
}

struct client *session_connect_as(struct session *session, const char *name, const char *socket,
                                  const struct identity *identity)
{
    struct client *client = session_connect_silently_as(session, name, socket, identity);
    struct message *welcome = client_next(client);
    json_t *body = welcome ? json_object_get(welcome->json, "body") : NULL;
    const char *unique = json_string_value(json_object_get(body, "name"));

    CHECK(unique && unique[0] == ':', "%s was greeted with %s", name,
          welcome ? welcome->line : "the end of the connection");
    snprintf(client->unique, sizeof(client->unique), "%s", unique);
    message_free(welcome);
    return client;
}

struct client *session_connect(struct session *session, const char *name)
{
    return session_connect_as(session, name, "bus", NULL);
}

struct client *session_connect_as_user(struct session *session, const char *name, uid_t uid)
{
    /* The kernel says who is effective at the time of connecting. */
    CHECK(chmod(session->busd.directory, 0711) == 0 && chmod(session->busd.path, 0666) == 0,
          "chmod: %s", strerror(errno));
    CHECK(seteuid(uid) == 0, "seteuid: %s", strerror(errno));
    struct client *client = session_connect(session, name);
    CHECK(seteuid(0) == 0, "seteuid: %s", strerror(errno));
    return client;
}

static bool can_ping(const struct client *client)
{
    return client->fd >= 0 && !client->ended && !client->broken;
}

static bool is_pong(const struct message *message, uint64_t id)
{
    const char *type = json_string_value(json_object_get(message->json, "type"));
    const char *sender = json_string_value(json_object_get(message->json, "sender"));

    return json_integer_value(json_object_get(message->json, "id")) == (json_int_t)id && type &&
           strcmp(type, "reply") == 0 && sender && strcmp(sender, "bus") == 0;
}

/* Reads up to the answer; what comes before it is left for the transcript. */
static void wait_for_pong(struct client *client, uint64_t id)
{
    struct list before;

    list_init(&before);
    for (;;) {
        struct message *message = client_next(client);
        if (!message)
            break;
        if (is_pong(message, id)) {
            message_free(message);
            break;
        }
        list_append(&before, &message->link);
    }
    list_splice(&before, &client->messages);
    list_splice(&client->messages, &before);
}

void session_settle(struct session *session)
{
    for (unsigned round = 0; round < 2; round++) {
        uint64_t id = CLIENT_BARRIER_ID + session->barriers++;
        LIST_FOREACH (node, &session->clients) {
            struct client *client = LIST_ENTRY(node, struct client, link);
            char line[128];
            int size =
                snprintf(line, sizeof(line),
                         "{\"type\":\"call\",\"id\":%llu,\"to\":\"bus\",\"method\":\"Ping\"}\n",
                         (unsigned long long)id);
            if (can_ping(client) &&
                client_send_at_once(client, line, (size_t)size, NULL, 0) != size)
                client->broken = true;
        }
        LIST_FOREACH (node, &session->clients) {
            struct client *client = LIST_ENTRY(node, struct client, link);
            if (can_ping(client))
                wait_for_pong(client, id);
        }
    }
}

void session_expect_nothing(struct session *session)
{
    session_settle(session);
    LIST_FOREACH (node, &session->clients) {
        struct client *client = LIST_ENTRY(node, struct client, link);
        struct message *message = LIST_ENTRY(list_first(&client->messages), struct message, link);
        if (message)
            fail_msg("%s got what was not expected: %s", client->name, message->line);
        CHECK(list_is_empty(&client->batches), "%s got file descriptors that no message claims",
              client->name);
        CHECK(!client->ended || client->fd < 0, "%s was disconnected", client->name);
    }
}

void session_wait_for_connections(struct session *session, struct client *asker, size_t count)
{
    uint64_t end = process_now() + 10000;
    size_t now;

    do {
        json_t *names = client_ask_json(asker, "ListNames", "{}");
        now = json_array_size(json_object_get(names, "connections"));
        json_decref(names);
        CHECK(process_now() < end, "%s: there are %zu connections instead of %zu", session->name,
              now, count);
    } while (now != count);
}

void session_expect_fds(struct session *session, unsigned more)
{
    assert_true(busd_fds_are_back(&session->busd, more));
}

static void close_all(struct session *session)
{
    LIST_FOREACH_SAFE (node, &session->clients)
        client_free(LIST_ENTRY(node, struct client, link));
}

void session_restart(struct session *session, int signal)
{
    close_all(session);
    assert_int_equal(busd_restart(&session->busd, signal), 0);
}

/* ---------------------------------------------------- around each run */

static int set_up(void **state)
{
    struct run *run = *state;

    run->fds = process_open_fds(getpid());
    run->session = (struct session){
        .writing = run->writing, .random = {run->seed}, .name = run->transcript->name};
    list_init(&run->session.clients);
    start_clock(run);
    return busd_start_configured(&run->session.busd, run->transcript->config,
                                 run->transcript->args);
}

static void execute(void **state)
{
    struct run *run = *state;

    run->transcript->run(&run->session);
    if (run->session.busd.pid > 0) {
        session_expect_nothing(&run->session);
        close_all(&run->session);
        assert_true(busd_fds_are_back(&run->session.busd, 0));
    }
    assert_int_equal(busd_stop(&run->session.busd), 0);
    close_all(&run->session);
    run->finished = true;
}

static int tear_down(void **state)
{
    struct run *run = *state;
    int result = 0;

    close_all(&run->session);
    if (!run->finished) {
        print_error("%s (BUSD_TEST_SEED=%llu)\n", run->name, (unsigned long long)run->seed);
        if (run->session.busd.pid > 0) {
            busd_print_log(&run->session.busd);
            busd_kill(&run->session.busd);
        }
    }
    unsigned fds = process_open_fds(getpid());
    if (run->finished && fds != run->fds) {
        print_error("the test has %u file descriptors open instead of %u:\n", fds, run->fds);
        process_print_fds(getpid());
        result = -1;
    }
    alarm(0);
    return result;
}

int transcripts_run(const char *group, const struct transcript *transcripts, size_t count)
{
    const char *seed = getenv("BUSD_TEST_SEED");
    struct run *runs = calloc(count * 3, sizeof(*runs));
    struct CMUnitTest *tests = calloc(count * 3, sizeof(*tests));
    size_t n = 0;

    for (size_t i = 0; runs && tests && i < count; i++)
        for (enum writing writing = WRITING_WHOLE; writing <= WRITING_SPLIT; writing++) {
            struct run *run = &runs[n];
            if (writing != WRITING_WHOLE && transcripts[i].plain_only)
                break;
            *run = (struct run){.transcript = &transcripts[i],
                                .writing = writing,
                                .seed = seed ? strtoull(seed, NULL, 10) : SEED_DEFAULT};
            snprintf(run->name, sizeof(run->name), "%s%s", transcripts[i].name,
                     writing_names[writing]);
            tests[n++] = (struct CMUnitTest){run->name, execute, set_up, tear_down, run};
        }
    cmocka_set_test_filter(getenv("BUSD_TEST_FILTER"));
    int failures = _cmocka_run_group_tests(group, tests, n, NULL, NULL);
    free(runs);
    free(tests);
    return failures;
}
