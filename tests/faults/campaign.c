/* SPDX-License-Identifier: MIT */
/*
 * Fault injection over a real busd: while clients do the script (script.h), one call
 * of busd's fails, the first one, the second one, and so on until none is left to
 * fail; each time in a busd of its own. Whatever fails,
 *   - busd lives, says nothing that a sanitizer would, and does not spin;
 *   - at most one client is cut, if the call fails once;
 *   - whoever is not cut gets an answer to every call, and every event or its notice;
 *   - once nothing fails any more, new clients do a full round, busd has as many file
 *     descriptors open as at its start, and ends with status 0 after SIGTERM.
 * At the start of busd, a call that fails must make it say why and exit, or nothing.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "tests/faults/control.h"
#include "tests/faults/script.h"
#include "tests/faults/startup.h"
#include "tests/support/busd.h"
#include "tests/support/process.h"

#ifdef __SANITIZE_ADDRESS__
#define SLOWER 5
#else
#define SLOWER 1
#endif

#define PATIENCE_MS 5000
/* Of a step, while calls fail for ever and so may not be answered. */
#define SHORT_PATIENCE_MS 10
#define IDLE_MS           20
/* What busd may use of the processor in that time. */
#define IDLE_CPU_NS 8000000
/* So many runs without a fault are the end of a series. */
#define MISSES_AT_END 4

static const struct series {
    const char *name;
    enum fault_call call;
    int error;
    bool for_ever;
} all_series[] = {
    {"allocation", FAULT_ALLOCATION, ENOMEM, false},
    {"allocation, for ever", FAULT_ALLOCATION, ENOMEM, true},
    {"recvmsg EINTR", FAULT_RECVMSG, EINTR, false},
    {"recvmsg EAGAIN", FAULT_RECVMSG, EAGAIN, false},
    {"recvmsg ENOMEM", FAULT_RECVMSG, ENOMEM, false},
    {"recvmsg ENOBUFS", FAULT_RECVMSG, ENOBUFS, false},
    {"recvmsg EMFILE", FAULT_RECVMSG, EMFILE, false},
    {"recvmsg ENFILE", FAULT_RECVMSG, ENFILE, false},
    {"recvmsg EPERM", FAULT_RECVMSG, EPERM, false},
    {"recvmsg EIO", FAULT_RECVMSG, EIO, false},
    {"recvmsg EPIPE", FAULT_RECVMSG, EPIPE, false},
    {"recvmsg ECONNRESET", FAULT_RECVMSG, ECONNRESET, false},
    {"recvmsg ETOOMANYREFS", FAULT_RECVMSG, ETOOMANYREFS, false},
    {"recvmsg without its fds", FAULT_RECVMSG, FAULT_TRUNCATED, false},
    {"recvmsg without its fds, for ever", FAULT_RECVMSG, FAULT_TRUNCATED, true},
    {"sendmsg of one byte", FAULT_SENDMSG, FAULT_SHORT, false},
    {"sendmsg EINTR", FAULT_SENDMSG, EINTR, false},
    {"sendmsg EAGAIN", FAULT_SENDMSG, EAGAIN, false},
    {"sendmsg ENOMEM", FAULT_SENDMSG, ENOMEM, false},
    {"sendmsg ENOBUFS", FAULT_SENDMSG, ENOBUFS, false},
    {"sendmsg EMFILE", FAULT_SENDMSG, EMFILE, false},
    {"sendmsg ENFILE", FAULT_SENDMSG, ENFILE, false},
    {"sendmsg EPERM", FAULT_SENDMSG, EPERM, false},
    {"sendmsg EIO", FAULT_SENDMSG, EIO, false},
    {"sendmsg EPIPE", FAULT_SENDMSG, EPIPE, false},
    {"sendmsg ECONNRESET", FAULT_SENDMSG, ECONNRESET, false},
    {"sendmsg ETOOMANYREFS", FAULT_SENDMSG, ETOOMANYREFS, false},
    {"sendmsg ENOMEM, for ever", FAULT_SENDMSG, ENOMEM, true},
    {"sendmsg ENOBUFS, for ever", FAULT_SENDMSG, ENOBUFS, true},
    {"sendmsg ETOOMANYREFS, for ever", FAULT_SENDMSG, ETOOMANYREFS, true},
    {"accept4 EINTR", FAULT_ACCEPT, EINTR, false},
    {"accept4 EAGAIN", FAULT_ACCEPT, EAGAIN, false},
    {"accept4 ECONNABORTED", FAULT_ACCEPT, ECONNABORTED, false},
    {"accept4 EMFILE", FAULT_ACCEPT, EMFILE, false},
    {"accept4 ENFILE", FAULT_ACCEPT, ENFILE, false},
    {"accept4 ENOMEM", FAULT_ACCEPT, ENOMEM, false},
    {"accept4 ENOBUFS", FAULT_ACCEPT, ENOBUFS, false},
    {"accept4 EPERM", FAULT_ACCEPT, EPERM, false},
    {"accept4 EIO", FAULT_ACCEPT, EIO, false},
    {"accept4 EMFILE, for ever", FAULT_ACCEPT, EMFILE, true},
    {"accept4 ENFILE, for ever", FAULT_ACCEPT, ENFILE, true},
    {"accept4 ENOMEM, for ever", FAULT_ACCEPT, ENOMEM, true},
    {"accept4 ENOBUFS, for ever", FAULT_ACCEPT, ENOBUFS, true},
    {"accept4 EPERM, for ever", FAULT_ACCEPT, EPERM, true},
    {"epoll_ctl ENOMEM", FAULT_EPOLL_CTL, ENOMEM, false},
    {"epoll_ctl ENOSPC", FAULT_EPOLL_CTL, ENOSPC, false},
    {"epoll_ctl EPERM", FAULT_EPOLL_CTL, EPERM, false},
    {"epoll_ctl EIO", FAULT_EPOLL_CTL, EIO, false},
    {"epoll_ctl ENOMEM, for ever", FAULT_EPOLL_CTL, ENOMEM, true},
    {"epoll_ctl ENOSPC, for ever", FAULT_EPOLL_CTL, ENOSPC, true},
    {"epoll_create1 EMFILE", FAULT_EPOLL_CREATE, EMFILE, false},
    {"epoll_create1 ENFILE", FAULT_EPOLL_CREATE, ENFILE, false},
    {"epoll_create1 ENOMEM", FAULT_EPOLL_CREATE, ENOMEM, false},
    {"getsockopt EPERM", FAULT_GETSOCKOPT, EPERM, false},
    {"getsockopt ENOMEM", FAULT_GETSOCKOPT, ENOMEM, false},
    {"getsockopt ENOBUFS", FAULT_GETSOCKOPT, ENOBUFS, false},
    {"getsockopt EMFILE", FAULT_GETSOCKOPT, EMFILE, false},
    {"getsockopt ENFILE", FAULT_GETSOCKOPT, ENFILE, false},
    {"getsockopt EIO", FAULT_GETSOCKOPT, EIO, false},
    {"getsockopt ESRCH", FAULT_GETSOCKOPT, ESRCH, false},
    {"getsockopt ENOPROTOOPT", FAULT_GETSOCKOPT, ENOPROTOOPT, false},
    {"getsockopt EMFILE, for ever", FAULT_GETSOCKOPT, EMFILE, true},
    {"getsockopt ENOMEM, for ever", FAULT_GETSOCKOPT, ENOMEM, true},
    {"setsockopt ENOMEM", FAULT_SETSOCKOPT, ENOMEM, false},
    {"setsockopt EPERM", FAULT_SETSOCKOPT, EPERM, false},
    {"setsockopt ENOMEM, for ever", FAULT_SETSOCKOPT, ENOMEM, true},
    {"ioctl EINTR", FAULT_IOCTL, EINTR, false},
    {"ioctl ENOMEM", FAULT_IOCTL, ENOMEM, false},
    {"ioctl EPERM", FAULT_IOCTL, EPERM, false},
    {"ioctl EIO", FAULT_IOCTL, EIO, false},
    {"ioctl EIO, for ever", FAULT_IOCTL, EIO, true},
    {"open EMFILE", FAULT_OPEN, EMFILE, false},
    {"open ENFILE", FAULT_OPEN, ENFILE, false},
    {"open EACCES", FAULT_OPEN, EACCES, false},
    {"pthread_create EAGAIN", FAULT_THREAD, EAGAIN, false},
    {"pthread_create EPERM", FAULT_THREAD, EPERM, false},
    {"pthread_create EAGAIN, for ever", FAULT_THREAD, EAGAIN, true},
};

static struct fault_control *control;

/* What has come of a series. */
struct tally {
    uint64_t points; /* the script makes so many calls */
    unsigned runs;
    unsigned fired;
    unsigned lost;
    unsigned failures;
};

static struct options {
    unsigned samples; /* of a series; 0: all there are */
    const char *only; /* series that begin with this */
    uint64_t at;      /* only this one; 0: all */
    unsigned part;    /* of so many parts, this one */
    unsigned parts;
    bool verbose;
} options = {.samples = 1, .parts = 1};

/* ------------------------------------------------------------- one run */

static void set_control(const struct series *series, uint64_t at)
{
    *control = (struct fault_control){
        .call = series->call, .error = series->error, .at = at, .for_ever = series->for_ever};
}

static void check_idle(struct world *world, const struct busd *busd)
{
    uint64_t before = process_cpu_ns(busd->pid);

    usleep(IDLE_MS * 1000);
    uint64_t used = process_cpu_ns(busd->pid) - before;
    if (used > IDLE_CPU_NS)
        world_complain(world, "busd is busy though nothing happens: %" PRIu64 " us in %d ms",
                       used / 1000, IDLE_MS);
}

static void check_alive(struct world *world, const struct busd *busd)
{
    siginfo_t info = {0};

    /* Its sockets close a moment before it has ended. */
    if (world_lost(world) > 1)
        usleep(IDLE_MS * 1000);
    /* Left for busd_stop() to see, and to say how. */
    if (waitid(P_PID, (id_t)busd->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid != 0)
        world_complain(world, "busd has died");
}

/* Everything but start and end of busd. Returns how many clients were cut. */
static unsigned play(struct world *world, const struct busd *busd, bool for_ever)
{
    struct actor *bystander = script_bystander(world);

    world->patience = (for_ever ? SHORT_PATIENCE_MS : PATIENCE_MS) * SLOWER;
    world->strict = !for_ever;
    control->armed = true;
    script_run(world, bystander);
    check_alive(world, busd);
    if (for_ever)
        check_idle(world, busd);
    control->armed = false;
    world->strict = true;
    world->patience = PATIENCE_MS * SLOWER;
    world_settle(world);
    unsigned lost = world_lost(world);
    if (lost > 1 && !for_ever)
        world_complain(world, "%u clients were cut", lost);
    check_idle(world, busd);
    script_round_trip(world);
    if (control->exposed > 0)
        world_complain(world, "libuv could have aborted %" PRIu64 " times",
                       (uint64_t)control->exposed);
    return lost;
}

static void print_failure(const struct series *series, uint64_t at, const char *complaint)
{
    printf("FAILED: %s, number %" PRIu64 ": %s\n", series->name, at, complaint);
    for (unsigned i = 0; i < control->depth; i++)
        printf("    %s+0x%" PRIx64 "\n", control->trace[i].module, control->trace[i].offset);
    fflush(stdout);
}

static void run_once(const struct series *series, uint64_t at, struct tally *tally)
{
    struct world world;
    struct busd busd;

    set_control(series, at);
    startup_preload(true);
    int r = busd_start(&busd, script_args);
    startup_preload(false);
    world_init(&world, busd.path, PATIENCE_MS * SLOWER);
    if (r < 0) {
        world_complain(&world, "busd did not start");
    } else {
        tally->lost += play(&world, &busd, series->for_ever);
        world_deinit(&world);
        if (!world.complaint[0] && !busd_fds_are_back(&busd, 0))
            world_complain(&world, "busd has not closed what it should have");
        if (options.verbose || world.complaint[0])
            busd_print_log(&busd);
        if (busd_stop(&busd) < 0)
            world_complain(&world, "busd did not end well");
    }
    tally->runs++;
    tally->fired += control->fired > 0;
    if (world.complaint[0]) {
        tally->failures++;
        print_failure(series, at, world.complaint);
    }
}

/* ----------------------------------------------------------- campaigns */

static void report(const char *when, const struct series *series, const struct tally *tally)
{
    printf("%-9s %-34s %5" PRIu64 " points, %5u runs, %5u faults, %4u clients cut, %u failures\n",
           when, series->name, tally->points, tally->runs, tally->fired, tally->lost,
           tally->failures);
    fflush(stdout);
}

typedef void run_function(const struct series *, uint64_t, struct tally *);

/* How many calls there are that could fail. Known from another series about the same
 * call, or counted. */
static uint64_t count_points(const struct series *series, run_function *run, struct tally *tally)
{
    static struct {
        run_function *run;
        uint64_t points;
    } known[FAULT_CALLS][2];

    for (size_t i = 0;; i++) {
        if (known[series->call][i].run == run)
            return known[series->call][i].points;
        if (known[series->call][i].run)
            continue;
        run(series, 0, tally);
        known[series->call][i].run = run;
        known[series->call][i].points = control->calls;
        return control->calls;
    }
}

/* Every stride-th point, not beginning with the first one in every series. With all
 * of them, what fails may lead to more calls than were counted, and how many there are
 * depends on how the script's lines come together: so the end is where again and
 * again no fault has fired. */
static unsigned run_series(const char *when, const struct series *series, run_function *run)
{
    struct tally tally = {0};
    unsigned missed = 0;

    if (options.only && strncmp(series->name, options.only, strlen(options.only)) != 0)
        return 0;
    if (options.at > 0) {
        run(series, options.at, &tally);
        report(when, series, &tally);
        return tally.failures;
    }
    tally.points = count_points(series, run, &tally);
    uint64_t stride = options.samples ? MAX(tally.points / options.samples, 1u) : 1;
    uint64_t at = 1 + (uint64_t)(series - all_series) * 37 % stride;
    for (; tally.points > 0 && missed < MISSES_AT_END; at += stride) {
        unsigned fired = tally.fired;
        if (options.samples && at > tally.points)
            break;
        if (at % options.parts != options.part % options.parts)
            continue;
        run(series, at, &tally);
        missed = tally.fired == fired ? missed + 1 : 0;
    }
    report(when, series, &tally);
    return tally.failures;
}

static void run_startup(const struct series *series, uint64_t at, struct tally *tally)
{
    char complaint[512] = "";

    set_control(series, at);
    control->armed = true;
    startup_run(control, complaint);
    tally->runs++;
    tally->fired += control->fired > 0;
    if (complaint[0]) {
        tally->failures++;
        print_failure(series, at, complaint);
    }
}

static unsigned run_all(void)
{
    unsigned failures = 0;
    unsigned samples = options.samples;

    for (size_t i = 0; i < ARRAY_SIZE(all_series); i++) {
        const struct series *series = &all_series[i];
        /* There are more allocations than anything else. */
        options.samples = samples * (series->call == FAULT_ALLOCATION ? 20 : 1);
        failures += run_series("running", series, run_once);
        if (!series->for_ever && series->error > 0)
            failures += run_series("starting", series, run_startup);
    }
    return failures;
}

/* ---------------------------------------------------------------- main */

static const char usage[] =
    "usage: faults [--all | --samples N] [--only SERIES] [--at N] [--part K/N] [--verbose]\n"
    "\n"
    "  --all           let every call fail in turn, not only some\n"
    "  --samples N     of each series, about so many (of allocations twenty times as many)\n"
    "  --only SERIES   only the series whose names begin so\n"
    "  --at N          only the call with this number\n"
    "  --part K/N      one of N parts of the work, that can run side by side\n"
    "  --verbose       print busd's log\n";

static void parse_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"all", no_argument, NULL, 'a'},
        {"samples", required_argument, NULL, 's'},
        {"only", required_argument, NULL, 'o'},
        {"at", required_argument, NULL, 'i'},
        {"part", required_argument, NULL, 'p'},
        {"verbose", no_argument, NULL, 'v'},
        {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'a':
            options.samples = 0;
            break;
        case 's':
            options.samples = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'o':
            options.only = optarg;
            break;
        case 'i':
            options.at = strtoull(optarg, NULL, 10);
            break;
        case 'p':
            if (sscanf(optarg, "%u/%u", &options.part, &options.parts) == 2 && options.parts > 0)
                break;
            /* fall through */
        default:
            if (option != 'v') {
                fputs(usage, stderr);
                exit(2);
            }
            options.verbose = true;
        }
    }
}

int main(int argc, char **argv)
{
    char path[64];

    parse_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    int fd = memfd_create("faults", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, sizeof(*control)) < 0) {
        perror("faults");
        return 1;
    }
    control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED) {
        perror("faults");
        return 1;
    }
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
    setenv(FAULT_ENV, path, 1);
    unsigned failures = 1;
    if (script_make_state())
        failures = run_all();
    script_remove_state();
    printf("%u failures\n", failures);
    return failures > 0;
}
