/* SPDX-License-Identifier: MIT */
#include "busd/sandbox.h"

#include <errno.h>

#ifdef BUSD_HAS_SECCOMP

#include <fcntl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "libbus/base/macros.h"
#include "libbus/wire/sockio.h"

/* Which argument of clone(2) are its flags. */
#ifdef __s390__
#define CLONE_FLAGS 1
#else
#define CLONE_FLAGS 0
#endif

/* Whatever their arguments. */
static const int calls[] = {
    /* clients */
    SCMP_SYS(accept4),
    SCMP_SYS(close),
    SCMP_SYS(getsockopt),
    SCMP_SYS(shutdown),
    /* the loop, its timers, its signals and its threads */
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(eventfd2),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(futex),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(read),
    SCMP_SYS(rseq),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sched_yield),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(time),
    /* memory; malloc(3) asks how many processors there are, qsort(3) how much memory */
    SCMP_SYS(brk),
    SCMP_SYS(getrandom),
    SCMP_SYS(madvise),
    SCMP_SYS(mremap),
    SCMP_SYS(munmap),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sysinfo),
    /* files that are open already: the database's */
    SCMP_SYS(fdatasync),
    SCMP_SYS(fsync),
    SCMP_SYS(ftruncate),
    SCMP_SYS(geteuid),
    SCMP_SYS(lseek),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    /* the log */
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(write),
    /* the end: files that are ours, and abort(3) */
    SCMP_SYS(fstat),
    SCMP_SYS(fstatat64),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(tgkill),
    SCMP_SYS(unlinkat),
};

/* With one argument of which the bits in `mask` are `value`. */
static const struct {
    int call;
    unsigned argument;
    uint32_t mask;
    uint32_t value;
} limited_calls[] = {
    {SCMP_SYS(recvmsg), 2, MSG_PEEK | MSG_OOB, 0},
    {SCMP_SYS(sendmsg), 2, MSG_OOB, 0},
    {SCMP_SYS(sendto), 3, MSG_OOB, 0},
    {SCMP_SYS(ioctl), 1, UINT32_MAX, SIOCOUTQ},
    {SCMP_SYS(ioctl), 1, UINT32_MAX, FIONBIO},
    {SCMP_SYS(fcntl), 1, UINT32_MAX, F_GETFL},
    {SCMP_SYS(fcntl), 1, UINT32_MAX, F_SETFL},
    {SCMP_SYS(fcntl), 1, UINT32_MAX, F_GETLK},
    {SCMP_SYS(fcntl), 1, UINT32_MAX, F_SETLK},
    /* getrlimit(2): a limit is looked at, not set. Its lower half. */
    {SCMP_SYS(prlimit64), 2, UINT32_MAX, 0},
    {SCMP_SYS(setsockopt), 2, UINT32_MAX, SO_OOBINLINE},
    {SCMP_SYS(setsockopt), 2, UINT32_MAX, SO_PASSRIGHTS},
    /* Threads, but no processes. */
    {SCMP_SYS(clone), CLONE_FLAGS, CLONE_THREAD, CLONE_THREAD},
    {SCMP_SYS(mmap), 2, PROT_EXEC, 0},
    {SCMP_SYS(mmap2), 2, PROT_EXEC, 0},
    {SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
};

/* Calls that libraries try, and can do without: they take clone(2), whose flags can be
 * seen here. */
static const int missing_calls[] = {
    SCMP_SYS(clone3),
    SCMP_SYS(io_uring_setup),
};

static int add_rules(scmp_filter_ctx filter)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(calls); i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(limited_calls); i++) {
        struct scmp_arg_cmp same = {limited_calls[i].argument, SCMP_CMP_MASKED_EQ,
                                    limited_calls[i].mask, limited_calls[i].value};
        r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, limited_calls[i].call, 1, &same);
    }
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(missing_calls); i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), missing_calls[i], 0);
    return r;
}

int sandbox_enter(struct log *log)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int r = filter ? 0 : -ENOMEM;

    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (r == 0)
        r = add_rules(filter);
    if (r == 0)
        r = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    if (r < 0)
        log_write(log, LOG_LEVEL_ERROR, "cannot limit the system calls (--seccomp): %s",
                  strerror(-r));
    return r;
}

#else

int sandbox_enter(struct log *log)
{
    log_write(log, LOG_LEVEL_ERROR,
              "cannot limit the system calls (--seccomp): this busd was "
              "built without libseccomp");
    return -EOPNOTSUPP;
}

#endif
