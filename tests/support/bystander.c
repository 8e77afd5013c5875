/* SPDX-License-Identifier: MIT */
#include "tests/support/bystander.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/process.h"

#define GO_ON_MS 10000
#define MORE     20

struct bystander_notes {
    atomic_uint calls;
    _Atomic uint64_t longest;
    char wrong[512];
};

static struct bystander_notes *notes;

static _Noreturn void complain(const char *what, const char *line)
{
    snprintf(notes->wrong, sizeof(notes->wrong), "%s (%s): %s", what, strerror(errno), line);
    _exit(1);
}

/* One line without its newline. It is never sent two before it answers. */
static void receive(int fd, char *line, size_t size)
{
    size_t got = 0;

    while (got == 0 || line[got - 1] != '\n') {
        ssize_t n = got < size ? recv(fd, line + got, size - got, 0) : -1;
        if (n <= 0)
            complain("the connection was lost", "");
        got += (size_t)n;
    }
    line[got - 1] = '\0';
}

static void transmit(int fd, const char *line)
{
    if (send(fd, line, strlen(line), MSG_NOSIGNAL) != (ssize_t)strlen(line))
        complain("cannot send", line);
}

/* Connects; its name is what the greeting says. */
static int join(const char *path, char name[24])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char line[8192];

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        complain("cannot connect", path);
    receive(fd, line, sizeof(line));
    const char *found = strstr(line, "\"name\":\":");
    if (!found || sscanf(found + 8, "%23[:0-9]", name) != 1)
        complain("no greeting", line);
    return fd;
}

static void expect(int fd, const char *expected)
{
    char line[8192];

    receive(fd, line, sizeof(line));
    if (strcmp(line, expected) != 0)
        complain("received", line);
}

static void call(int caller, const char *name, int service, const char *service_name, unsigned id)
{
    char line[256];

    snprintf(line, sizeof(line),
             "{\"type\":\"call\",\"id\":%u,\"to\":\"%s\",\"method\":\"M\",\"body\":%u}\n", id,
             service_name, id);
    transmit(caller, line);
    snprintf(line, sizeof(line),
             "{\"sender\":\"%s\",\"type\":\"call\",\"id\":%u,\"to\":\"%s\",\"method\":\"M\","
             "\"body\":%u}",
             name, id, service_name, id);
    expect(service, line);
    snprintf(line, sizeof(line), "{\"type\":\"reply\",\"id\":%u,\"to\":\"%s\",\"body\":[%u]}\n", id,
             name, id);
    transmit(service, line);
    snprintf(line, sizeof(line),
             "{\"sender\":\"%s\",\"type\":\"reply\",\"id\":%u,\"to\":\"%s\",\"body\":[%u]}",
             service_name, id, name, id);
    expect(caller, line);
}

static _Noreturn void live(const char *path)
{
    char name[24], service_name[24];

    alarm(0);
    if (geteuid() == 0 &&
        (setgroups(0, NULL) < 0 || setresgid(BYSTANDER_UID, BYSTANDER_UID, BYSTANDER_UID) < 0 ||
         setresuid(BYSTANDER_UID, BYSTANDER_UID, BYSTANDER_UID) < 0))
        complain("cannot become another user", "");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int caller = join(path, name);
    int service = join(path, service_name);
    for (unsigned id = 1;; id++) {
        uint64_t begin = process_now();
        call(caller, name, service, service_name, id);
        uint64_t took = process_now() - begin;
        if (took > notes->longest)
            notes->longest = took;
        notes->calls = id;
        usleep(500);
    }
}

void bystander_start(struct bystander *bystander, struct session *session)
{
    if (geteuid() == 0)
        CHECK(chmod(session->busd.directory, 0711) == 0 && chmod(session->busd.path, 0666) == 0,
              "chmod: %s", strerror(errno));
    notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(notes != MAP_FAILED);
    bystander->notes = notes;
    bystander->pid = fork();
    assert_true(bystander->pid >= 0);
    if (bystander->pid == 0)
        live(session->busd.path);
    bystander_check(bystander);
    bystander_longest(bystander);
}

void bystander_check(struct bystander *bystander)
{
    uint64_t end = process_now() + GO_ON_MS;
    unsigned before = bystander->notes->calls;

    while (bystander->notes->calls < before + MORE) {
        CHECK(waitpid(bystander->pid, NULL, WNOHANG) == 0, "the bystander was harmed: %s",
              bystander->notes->wrong);
        CHECK(process_now() < end, "the bystander does not get on: %u calls",
              bystander->notes->calls - before);
        usleep(1000);
    }
}

uint64_t bystander_longest(struct bystander *bystander)
{
    return atomic_exchange(&bystander->notes->longest, 0);
}

void bystander_stop(struct bystander *bystander, struct session *session, unsigned more)
{
    bystander_check(bystander);
    session_expect_fds(session, BYSTANDER_CONNECTIONS + more);
    kill(bystander->pid, SIGKILL);
    waitpid(bystander->pid, NULL, 0);
    session_expect_fds(session, more);
    munmap(bystander->notes, sizeof(*bystander->notes));
}
