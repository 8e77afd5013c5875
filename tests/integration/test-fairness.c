/* SPDX-License-Identifier: MIT */
/*
 * While one client does its worst, the calls of another one take at most
 * FACTOR times as long as on an idle bus, at the 99th percentile. busd has a core for
 * itself and everybody else the other one, so that what is measured is busd's
 * fairness and not the scheduler's. A measurement that fails is repeated, because
 * other programs run as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libbus/base/clock.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"

#ifdef __SANITIZE_ADDRESS__
/* What it does takes many times as long, what the kernel does for it does not: here it
 * only counts that nothing breaks. */
#define FACTOR 1000
#else
#define FACTOR 5
#endif
#define ATTEMPTS   10
#define CALLS      2000
#define WARM_UP_MS 100
#define PAUSE_MS   300
#define RECEIVERS  256
#define BLOCK_SIZE (64 * 1024)
#define LONG_LINE  (1024 * 1024)
#define SUBSCRIBED 16000

/* ---------------------------------------------------------- the attacks */

static struct sockaddr_un address;

static int connect_bus(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        _exit(1);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int connect_surely(void)
{
    int fd;

    while ((fd = connect_bus()) < 0)
        usleep(1000);
    return fd;
}

/* Writes all of it, and throws away whatever comes meanwhile. */
static bool push(int fd, const char *data, size_t size)
{
    static char ignored[1 << 18];

    while (size > 0) {
        struct pollfd wait = {.fd = fd, .events = POLLIN | POLLOUT};
        if (poll(&wait, 1, -1) < 0)
            return false;
        if (wait.revents & POLLIN && recv(fd, ignored, sizeof(ignored), MSG_DONTWAIT) == 0)
            return false;
        if (!(wait.revents & POLLOUT) && !(wait.revents & POLLHUP))
            continue;
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        }
    }
    return true;
}

/* The same line, over and over, in large blocks. */
static void flood(const char *line)
{
    static char block[BLOCK_SIZE];
    size_t length = strlen(line);
    size_t size = 0;

    for (; size + length <= sizeof(block); size += length)
        memcpy(block + size, line, length);
    for (;;) {
        int fd = connect_surely();
        while (push(fd, block, size))
            continue;
        close(fd);
    }
}

static void flood_events(void)
{
    flood("{\"type\":\"event\",\"topic\":\"attack.event\",\"body\":1}\n");
}

static void flood_pings(void)
{
    flood("{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"Ping\"}\n");
}

static void flood_list_names(void)
{
    flood("{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"ListNames\"}\n");
}

static void flood_nobody(void)
{
    flood("{\"type\":\"call\",\"id\":1,\"to\":\"org.example.Nobody\",\"method\":\"M\"}\n");
}

static void flood_garbage(void)
{
    flood("{\"type\":\"event\",\"topic\":\"attack\",\"body\":{{{{\n");
}

/* Lines of `size` bytes, newline included. */
static void flood_lines(size_t size)
{
    static const char head[] = "{\"type\":\"event\",\"topic\":\"attack.long\",\"body\":\"";
    char *line = malloc(size);

    if (!line)
        _exit(1);
    memset(line, 'x', size);
    memcpy(line, head, sizeof(head) - 1);
    memcpy(line + size - 3, "\"}\n", 3);
    for (;;) {
        int fd = connect_surely();
        while (push(fd, line, size))
            continue;
        close(fd);
    }
}

static void flood_long_lines(void)
{
    flood_lines(LONG_LINE);
}

static void flood_too_long_lines(void)
{
    flood_lines(LONG_LINE * 4);
}

static void storm_connections(void)
{
    for (;;) {
        int fd = connect_bus();
        if (fd >= 0)
            close(fd);
    }
}

/* Comes with names and subscriptions, and leaves them to be cleared away. */
static void storm_leaving(void)
{
    static char block[BLOCK_SIZE];
    size_t size = 0;

    for (unsigned i = 0; i < 250; i++)
        size += (size_t)snprintf(
            block + size, sizeof(block) - size,
            "{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"Subscribe\",\"body\":"
            "{\"topic\":\"attack.%u.*.#\"}}\n"
            "{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"RequestName\",\"body\":"
            "{\"name\":\"org.attack.N%u\"}}\n",
            i, i);
    for (;;) {
        int fd = connect_surely();
        push(fd, block, size);
        close(fd);
    }
}

/* Many subscriptions, of which the last one comes and goes. */
static void churn_subscriptions(void)
{
    char line[256];
    int fd = connect_surely();

    for (unsigned i = 0; i < SUBSCRIBED; i++) {
        int size = snprintf(line, sizeof(line),
                            "{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"Subscribe\","
                            "\"body\":{\"topic\":\"*.%u.*.%u.#\"}}\n",
                            i % 7, i);
        push(fd, line, (size_t)size);
    }
    for (unsigned id = SUBSCRIBED + 1;; id++) {
        int size = snprintf(line, sizeof(line),
                            "{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"Subscribe\","
                            "\"body\":{\"topic\":\"*.a.*.b.#\"}}\n"
                            "{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"Unsubscribe\","
                            "\"body\":{\"subscription\":%u}}\n",
                            id);
        push(fd, line, (size_t)size);
    }
}

/* The receivers of a fan-out; they read, or they do not. */
static void subscribe_all(int *fds)
{
    static const char line[] =
        "{\"type\":\"call\",\"id\":1,\"to\":\"bus\",\"method\":\"Subscribe\","
        "\"body\":{\"topic\":\"attack.#\"}}\n";

    for (unsigned i = 0; i < RECEIVERS; i++) {
        fds[i] = connect_surely();
        push(fds[i], line, sizeof(line) - 1);
    }
}

static void read_all(const int *fds)
{
    static char ignored[1 << 18];
    int set = epoll_create1(EPOLL_CLOEXEC);

    for (unsigned i = 0; i < RECEIVERS; i++)
        epoll_ctl(set, EPOLL_CTL_ADD, fds[i],
                  &(struct epoll_event){.events = EPOLLIN, .data.fd = fds[i]});
    for (;;) {
        struct epoll_event ready[64];
        int n = epoll_wait(set, ready, 64, -1);
        for (int i = 0; i < n; i++)
            if (recv(ready[i].data.fd, ignored, sizeof(ignored), MSG_DONTWAIT) == 0)
                _exit(1);
    }
}

static void fan_out_to_stopped(void)
{
    int fds[RECEIVERS];

    subscribe_all(fds);
    flood_events();
}

static void fan_out(void)
{
    int fds[RECEIVERS];

    subscribe_all(fds);
    pid_t parent = getpid();
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        flood_events();
    }
    read_all(fds);
}

static const struct attack {
    const char *name;
    void (*run)(void);
} attacks[] = {
    {"events to nobody", flood_events},
    {"calls to the bus", flood_pings},
    {"calls for all names", flood_list_names},
    {"calls to nobody", flood_nobody},
    {"garbage", flood_garbage},
    {"lines of 1 MiB", flood_long_lines},
    {"lines of 4 MiB", flood_too_long_lines},
    {"connecting and leaving", storm_connections},
    {"leaving with 250 names and subscriptions", storm_leaving},
    {"subscriptions that come and go", churn_subscriptions},
    {"fan-out to 256", fan_out},
    {"fan-out to 256 that do not read", fan_out_to_stopped},
};

/* -------------------------------------------------------- the bystander */

/* Other programs are kept out of the measurement as far as we may. */
static void pin(pid_t pid, int core)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(pid, sizeof(set), &set);
    sched_setscheduler(pid, SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
}

/* What a forked process inherits is taken back. */
static void unpin(void)
{
    sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0});
}

static pid_t start_attack(void (*run)(void))
{
    pid_t parent = getpid();
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    alarm(0);
    unpin();
    run();
    _exit(1);
}

static void receive(int fd, char *buffer, size_t size)
{
    for (size_t got = 0; got == 0 || buffer[got - 1] != '\n';) {
        ssize_t n = recv(fd, buffer + got, size - got, 0);
        if (n <= 0)
            fail_msg("a bystander has lost its connection");
        got += (size_t)n;
    }
}

/* Milliseconds of one call of `a` that `b` answers. */
static double call(struct client *a, struct client *b)
{
    CLEANUP(cleanup_free)
    char *question = client_expand(a->session, "{'type':'call','id':1,'to':'$B','method':'M'}\n");
    CLEANUP(cleanup_free)
    char *answer = client_expand(a->session, "{'type':'reply','id':1,'to':'$A'}\n");
    char buffer[4096];

    double begin = clock_seconds(CLOCK_MONOTONIC);
    assert_int_equal(send(a->fd, question, strlen(question), MSG_NOSIGNAL), strlen(question));
    receive(b->fd, buffer, sizeof(buffer));
    assert_int_equal(send(b->fd, answer, strlen(answer), MSG_NOSIGNAL), strlen(answer));
    receive(a->fd, buffer, sizeof(buffer));
    return (clock_seconds(CLOCK_MONOTONIC) - begin) * 1e3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The 99th percentile. */
static double measure(struct client *a, struct client *b, double *ret_median)
{
    static double times[CALLS];

    for (unsigned i = 0; i < CALLS; i++)
        times[i] = call(a, b);
    qsort(times, CALLS, sizeof(*times), compare);
    *ret_median = times[CALLS / 2];
    return times[CALLS * 99 / 100];
}

static void test_attack(struct session *session, struct client *a, struct client *b,
                        const struct attack *attack)
{
    cpu_set_t before;
    bool fair = false;

    address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", session->busd.path);
    sched_getaffinity(0, sizeof(before), &before);
    pin(session->busd.pid, 0);
    pin(0, 1);
    for (unsigned i = 0; i < ATTEMPTS && !fair; i++) {
        double idle_median, median;
        double idle = measure(a, b, &idle_median);
        pid_t pid = start_attack(attack->run);
        usleep(WARM_UP_MS * 1000);
        double busy = measure(a, b, &median);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        fair = busy <= FACTOR * idle;
        printf("%-42s idle %.3f ms (median %.3f), attacked %.3f ms (median %.3f): %.1f x\n",
               attack->name, idle, idle_median, busy, median, busy / idle);
        session_wait_for_connections(session, a, 2);
        if (!fair)
            usleep(PAUSE_MS * 1000);
    }
    unpin();
    sched_setaffinity(0, sizeof(before), &before);
    CHECK(fair, "%s: calls took more than %d times as long, in each of %d measurements",
          attack->name, FACTOR, ATTEMPTS);
}

static void test_attacks(struct session *session)
{
    const char *wanted = getenv("BUSD_TEST_ATTACK");
    struct client *a = session_connect(session, "A");
    struct client *b = session_connect(session, "B");

    for (size_t i = 0; i < ARRAY_SIZE(attacks); i++) {
        if (wanted && !strstr(attacks[i].name, wanted))
            continue;
        test_attack(session, a, b, &attacks[i]);
    }
}
static const struct transcript transcripts[] = {
    {.name = "test_attacks", .run = test_attacks, .plain_only = true, .seconds = 100},
};

int main(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return TRANSCRIPTS_RUN("fairness", transcripts);
}
