/* SPDX-License-Identifier: MIT */
/*
 * Who a client is: what the kernel said when it connected, whatever has become of it
 * since, and whatever it calls itself. Other users than the one who runs this need root.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/process.h"
#include "tests/support/transcript.h"

#define OTHER_UID 4242
#define OTHER_GID 4243

/* Lets other users in, too. False, with a word about it, where there can be none. */
static bool open_to_others(struct session *session)
{
    assert_int_equal(chmod(session->busd.directory, 0777), 0);
    assert_int_equal(chmod(session->busd.path, 0666), 0);
    if (geteuid() == 0)
        return true;
    print_message("not root: there are no other users to be\n");
    return false;
}

/* ------------------------------------------------------------- questions */

struct answer {
    json_t *body; /* NULL: nobody has this name any more */
    int pidfd;    /* -1: there was none */
};

static struct answer ask_for(struct client *asker, const char *name)
{
    struct answer answer = {.pidfd = -1};

    client_send(asker,
                "{'type':'call','id':7,'to':'bus','method':'GetCredentials','body':{'name':'%s'}}",
                name);
    struct message *message = client_next(asker);
    assert_non_null(message);
    const char *error = json_string_value(json_object_get(message->json, "error"));
    CHECK(!error || strcmp(error, "bus.NameUnknown") == 0, "%s", message->line);
    answer.body = json_incref(json_object_get(message->json, "body"));
    if (message->count > 0) {
        assert_int_equal(message->count, 1);
        answer.pidfd = message->fd[0];
        message->count = 0;
    }
    message_free(message);
    return answer;
}

static void answer_free(struct answer *answer)
{
    json_decref(answer->body);
    if (answer->pidfd >= 0)
        close(answer->pidfd);
}

static json_int_t number(const struct answer *answer, const char *key)
{
    return json_integer_value(json_object_get(answer->body, key));
}

static void assert_answer(const struct answer *answer, pid_t pid, uid_t uid, gid_t gid)
{
    assert_non_null(answer->body);
    assert_true(json_is_integer(json_object_get(answer->body, "uid")));
    assert_int_equal(number(answer, "pid"), pid);
    assert_int_equal(number(answer, "uid"), uid);
    assert_int_equal(number(answer, "gid"), gid);
}

/* The process that a pidfd stands for; -1: one that is gone. */
static long pid_of(int pidfd)
{
    char path[64], line[128];
    long pid = 0;

    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, "Pid:", 4) == 0)
            pid = strtol(line + 4, NULL, 10);
    fclose(file);
    return pid;
}

/* ----------------------------------------------------- users and groups */

static void be(uid_t uid, gid_t gid, const gid_t *groups, size_t count)
{
    assert_int_equal(setgroups(count, groups), 0);
    assert_int_equal(setresgid((gid_t)-1, gid, 0), 0);
    assert_int_equal(setresuid((uid_t)-1, uid, 0), 0);
}

static void be_root(void)
{
    assert_int_equal(setresuid((uid_t)-1, 0, 0), 0);
    be(0, 0, NULL, 0);
}

/* Above INT_MAX, and those that stand for nobody elsewhere, are users like others. */
static void test_uids(struct session *session)
{
    static const uid_t uids[] = {1, 1000, 65534, 65535, 2147483647, 2147483648, 4294967294};
    struct client *a = session_connect(session, "A");

    if (!open_to_others(session))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(uids); i++) {
        be(uids[i], uids[ARRAY_SIZE(uids) - 1 - i], NULL, 0);
        struct client *b = session_connect(session, "B");
        be_root();
        struct answer answer = ask_for(a, b->unique);
        assert_answer(&answer, getpid(), uids[i], uids[ARRAY_SIZE(uids) - 1 - i]);
        answer_free(&answer);
        client_free(b);
    }
}

static void test_groups(struct session *session)
{
    static const size_t counts[] = {0, 1, 64, 65536};
    static gid_t groups[65536];
    struct client *a = session_connect(session, "A");

    if (!open_to_others(session))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
        groups[i] = (gid_t)(4294967294 - 65535 + i);
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        be(OTHER_UID, OTHER_GID, groups, counts[i]);
        struct client *b = session_connect(session, "B");
        be_root();
        struct answer answer = ask_for(a, b->unique);
        assert_answer(&answer, getpid(), OTHER_UID, OTHER_GID);
        json_t *gids = json_object_get(answer.body, "gids");
        assert_int_equal(json_array_size(gids), counts[i]);
        for (size_t j = 0; j < counts[i]; j++)
            assert_int_equal(json_integer_value(json_array_get(gids, j)), groups[j]);
        answer_free(&answer);
        client_free(b);
    }
}

/* What happens to the process later is not what it was when it connected. */
static void test_later_changes(struct session *session)
{
    struct client *a = session_connect(session, "A");

    if (!open_to_others(session))
        return;
    be(OTHER_UID, OTHER_GID, NULL, 0);
    struct client *b = session_connect(session, "B");
    be_root();
    client_ask(b, "Ping", "{}", "{}");
    struct answer answer = ask_for(a, b->unique);
    assert_answer(&answer, getpid(), OTHER_UID, OTHER_GID);
    answer_free(&answer);
}

/* ---------------------------------------------------------------- guests */

/* A client that is a process of its own; it ends when told to. */
struct guest {
    pid_t pid;
    int control; /* closing it ends whoever holds the connection */
    char unique[24];
};

static uid_t guest_uid(void)
{
    return geteuid() == 0 ? OTHER_UID : geteuid();
}

static gid_t guest_gid(void)
{
    return geteuid() == 0 ? OTHER_GID : getegid();
}

static int connect_guest(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (geteuid() == 0 &&
        (setgroups(0, NULL) < 0 || setresgid(OTHER_GID, OTHER_GID, OTHER_GID) < 0 ||
         setresuid(OTHER_UID, OTHER_UID, OTHER_UID) < 0))
        _exit(1);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        _exit(1);
    return fd;
}

/* Tells its name, and waits for the end. With `leave` it is a child of the one who has
 * connected that does so. */
static _Noreturn void be_guest(const char *path, int out, int control, bool leave)
{
    char text[128], *name;
    int fd = connect_guest(path);
    ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_WAITALL);

    text[n > 0 ? n : 0] = '\0';
    name = strstr(text, "\"name\":\":");
    if (!name)
        _exit(1);
    *strchr(name + 8, '"') = '\0';
    if (write(out, name + 8, strlen(name + 8)) < 0 || (leave && fork() != 0))
        _exit(0);
    close(out);
    while (read(control, text, 1) > 0)
        ;
    _exit(0);
}

static struct guest guest_start(struct session *session, bool leave)
{
    struct guest guest = {.control = -1};
    int out[2], control[2];

    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(control, O_CLOEXEC), 0);
    guest.pid = fork();
    if (guest.pid == 0) {
        close(control[1]);
        be_guest(session->busd.path, out[1], control[0], leave);
    }
    close(out[1]);
    close(control[0]);
    guest.control = control[1];
    assert_true(read(out[0], guest.unique, sizeof(guest.unique) - 1) > 1);
    close(out[0]);
    if (leave)
        assert_int_equal(waitpid(guest.pid, NULL, 0), guest.pid);
    return guest;
}

static void guest_stop(struct guest *guest, bool left)
{
    close(guest->control);
    if (!left)
        assert_int_equal(waitpid(guest->pid, NULL, 0), guest->pid);
}

static void wait_for_leaving(struct session *session, struct client *asker, const char *name)
{
    struct answer answer;
    uint64_t end = process_now() + 10000;

    for (;;) {
        answer = ask_for(asker, name);
        bool gone = !answer.body;
        answer_free(&answer);
        if (gone)
            return;
        CHECK(process_now() < end, "%s does not leave", name);
    }
}

/* The pidfd is that of the process that has connected, and of no other. */
static void test_pidfd(struct session *session)
{
    struct client *a = session_connect(session, "A");

    open_to_others(session);
    struct guest guest = guest_start(session, false);
    struct answer answer = ask_for(a, guest.unique);
    assert_answer(&answer, guest.pid, guest_uid(), guest_gid());
    if (answer.pidfd < 0) {
        print_message("this kernel has no pidfds of peers\n");
    } else {
        struct pollfd end = {.fd = answer.pidfd, .events = POLLIN};
        assert_int_equal(pid_of(answer.pidfd), guest.pid);
        assert_int_equal(poll(&end, 1, 0), 0);
        kill(guest.pid, SIGKILL);
        assert_int_equal(poll(&end, 1, 10000), 1);
    }
    answer_free(&answer);
    guest_stop(&guest, false);
    wait_for_leaving(session, a, guest.unique);
}

/* A process with this pid, whoever had it before; -errno if the kernel has none to give. */
static pid_t clone_with_pid(pid_t pid)
{
    struct clone_args args = {
        .exit_signal = SIGCHLD,
        .set_tid = (uint64_t)(uintptr_t)&pid,
        .set_tid_size = 1,
    };
    pid_t result = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

    if (result == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    return result < 0 ? -errno : result;
}

/* The connection lives on in another process, and its maker's pid is another's by now:
 * that one is not taken for him. */
static void test_pid_reuse(struct session *session)
{
    struct client *a = session_connect(session, "A");

    open_to_others(session);
    struct guest guest = guest_start(session, true);
    pid_t impostor = clone_with_pid(guest.pid);
    if (impostor < 0)
        print_message("no pid can be had again here: %s\n", strerror(-impostor));
    for (unsigned i = 0; i < 20; i++) {
        struct answer answer = ask_for(a, guest.unique);
        assert_answer(&answer, guest.pid, guest_uid(), guest_gid());
        if (answer.pidfd >= 0) {
            assert_int_equal(pid_of(answer.pidfd), -1);
            assert_int_equal(syscall(SYS_pidfd_send_signal, answer.pidfd, SIGKILL, NULL, 0), -1);
            assert_int_equal(errno, ESRCH);
        }
        answer_free(&answer);
    }
    if (impostor > 0) {
        assert_int_equal(impostor, guest.pid);
        assert_int_equal(waitpid(impostor, NULL, WNOHANG), 0);
        kill(impostor, SIGKILL);
        assert_int_equal(waitpid(impostor, NULL, 0), impostor);
    }
    guest_stop(&guest, true);
    wait_for_leaving(session, a, guest.unique);
}

/* ----------------------------------------------------------------- dying */

/* Where a client dies: by its own hand at one of these, or by ours at some time. */
enum step { STEP_CONNECTED, STEP_HALF_A_LINE, STEP_CALLED, STEP_GREETED, STEP_ANY, STEPS };

static _Noreturn void live_up_to(enum step step, const char *path)
{
    static const char call[] = "{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"Ping\"}\n";
    int fd = connect_guest(path);
    char byte;

    if (step == STEP_HALF_A_LINE && write(fd, call, 20) < 0)
        _exit(1);
    if (step >= STEP_CALLED && write(fd, call, sizeof(call) - 1) < 0)
        _exit(1);
    if (step >= STEP_GREETED && read(fd, &byte, 1) < 0)
        _exit(1);
    while (step == STEP_ANY)
        pause();
    kill(getpid(), SIGKILL);
    _exit(1);
}

/* What can be heard of the dying is an error, or the truth. */
static void test_dying(struct session *session)
{
    struct client *a = session_connect(session, "A");
    unsigned truths = 0, unknown = 0;

    open_to_others(session);
    for (unsigned round = 0; round < 150; round++) {
        enum step step = round % STEPS;
        char name[24];
        pid_t pid = fork();
        if (pid == 0)
            live_up_to(step, session->busd.path);
        assert_true(pid > 0);
        snprintf(name, sizeof(name), ":%u", round + 2);
        for (unsigned i = 0, tries = random_below(&session->random, 40); i < tries; i++) {
            struct answer answer = ask_for(a, name);
            if (answer.body) {
                assert_answer(&answer, pid, guest_uid(), guest_gid());
                CHECK(answer.pidfd < 0 || pid_of(answer.pidfd) == pid || pid_of(answer.pidfd) == -1,
                      "a pidfd of %ld", pid_of(answer.pidfd));
                truths++;
            } else {
                unknown++;
            }
            answer_free(&answer);
        }
        if (step == STEP_ANY) {
            /* It must have connected, or the names of the next ones are not known. */
            session_wait_for_connections(session, a, 2);
            kill(pid, SIGKILL);
        }
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        wait_for_leaving(session, a, name);
    }
    CHECK(truths > 0 && unknown > 0, "%u answers and %u errors", truths, unknown);
}

/* ------------------------------------------------------------ false names */

/* A client may give its own socket any name before it connects. */
static void test_hostile_names(struct session *session)
{
    static const char abstract[] = "\0x;uid=0;\nbusd: error: forged: uid=0 pid=1 %n\033[2J";
    struct client *a = session_connect(session, "A");
    struct sockaddr_un own[2] = {{.sun_family = AF_UNIX}, {.sun_family = AF_UNIX}};
    struct sockaddr_un bus = {.sun_family = AF_UNIX};

    bool others = open_to_others(session);
    snprintf(bus.sun_path, sizeof(bus.sun_path), "%s", session->busd.path);
    snprintf(own[0].sun_path, sizeof(own[0].sun_path), "%s/x;uid=0;", session->busd.directory);
    memcpy(own[1].sun_path, abstract, sizeof(abstract) - 1);
    for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
        char name[24], logged[128];
        socklen_t size = i == 0 ? (socklen_t)sizeof(own[i])
                                : (socklen_t)(sizeof(sa_family_t) + sizeof(abstract) - 1);
        if (others)
            be(OTHER_UID, OTHER_GID, NULL, 0);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&own[i], size), 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&bus, sizeof(bus)), 0);
        if (others)
            be_root();
        session_wait_for_connections(session, a, 2);
        snprintf(name, sizeof(name), ":%zu", i + 2);
        struct answer answer = ask_for(a, name);
        assert_answer(&answer, getpid(), guest_uid(), guest_gid());
        answer_free(&answer);
        snprintf(logged, sizeof(logged), "busd: debug: connected: peer=%s uid=%u pid=%d\n", name,
                 (unsigned)guest_uid(), (int)getpid());
        assert_true(busd_has_logged(&session->busd, logged));
        close(fd);
        session_wait_for_connections(session, a, 1);
    }
    assert_false(busd_has_logged(&session->busd, "x;uid"));
    assert_false(busd_has_logged(&session->busd, "forged"));
    assert_int_equal(unlink(own[0].sun_path), 0);
}

int main(void)
{
    const struct transcript transcripts[] = {
        TRANSCRIPT_PLAIN(test_uids),
        TRANSCRIPT_PLAIN(test_groups),
        TRANSCRIPT_PLAIN(test_later_changes),
        TRANSCRIPT_PLAIN(test_pidfd),
        TRANSCRIPT_PLAIN(test_pid_reuse),
        TRANSCRIPT_PLAIN(test_dying),
        {.name = "test_hostile_names",
         .run = test_hostile_names,
         .args = BUSD_ARGS("--log-level=debug"),
         .plain_only = true},
    };

    return TRANSCRIPTS_RUN("identity", transcripts);
}
