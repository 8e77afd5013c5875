/* SPDX-License-Identifier: MIT */
/*
 * The filter of --seccomp: what is forbidden ends the process, by the kernel's hand, in
 * every thread; what the broker lives on goes on. Each call is made by a child of its
 * own behind the filter. That whole conversations work behind it is seen elsewhere:
 * transcripts are run with the option, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "busd/sandbox.h"
#include "libbus/base/macros.h"
#include "libbus/wire/sockio.h"
#include "tests/support/process.h"
#include "tests/support/unit.h"

#ifndef BUSD_HAS_SECCOMP

static void test_not_there(void **state)
{
    struct log log;

    print_message("this build has no libseccomp: sanitizers need calls that it forbids\n");
    log_init(&log, LOG_LEVEL_ERROR);
    assert_int_equal(sandbox_enter(&log), -EOPNOTSUPP);
    log_deinit(&log);
    skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_not_there)};

    return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}

#else

static int pair[2];
static int database; /* a file */

/* What a child does behind the filter; 0 is its exit status. */
typedef int (*action)(void);

static int status_of(action deed)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        struct log log;
        const struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        log_init(&log, LOG_LEVEL_ERROR);
        if (sandbox_enter(&log) < 0)
            _exit(99);
        _exit(deed());
    }
    assert_true(pid > 0);
    if (!process_wait(pid, 10000, &status)) {
        kill(pid, SIGKILL);
        process_wait(pid, 10000, &status);
        fail_msg("a child hung");
    }
    return status;
}

/* ------------------------------------------------------------- forbidden */

#define FORBIDDEN(name, ...)                                                                       \
    static int do_##name(void)                                                                     \
    {                                                                                              \
        return (int)(__VA_ARGS__)&0;                                                               \
    }

static const char null_path[] = "/dev/null";
static struct msghdr message;

#ifdef SYS_open
FORBIDDEN(open, syscall(SYS_open, null_path, O_RDONLY))
#endif
FORBIDDEN(openat, syscall(SYS_openat, AT_FDCWD, null_path, O_RDONLY))
FORBIDDEN(openat2, syscall(SYS_openat2, AT_FDCWD, null_path, NULL, 0))
FORBIDDEN(execve, syscall(SYS_execve, "/bin/true", NULL, NULL))
FORBIDDEN(execveat, syscall(SYS_execveat, AT_FDCWD, "/bin/true", NULL, NULL, 0))
FORBIDDEN(clone, syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0))
FORBIDDEN(ptrace, syscall(SYS_ptrace, 0, 0, 0, 0))
FORBIDDEN(process_vm_readv, syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0))
FORBIDDEN(pidfd_getfd, syscall(SYS_pidfd_getfd, -1, 0, 0))
FORBIDDEN(kill, syscall(SYS_kill, getpid(), 0))
FORBIDDEN(setuid, syscall(SYS_setuid, 0))
FORBIDDEN(setresuid, syscall(SYS_setresuid, 0, 0, 0))
FORBIDDEN(prctl, syscall(SYS_prctl, 0, 0))
FORBIDDEN(seccomp, syscall(SYS_seccomp, 0, 0, NULL))
FORBIDDEN(socket, syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0))
FORBIDDEN(connect, syscall(SYS_connect, pair[0], NULL, 0))
FORBIDDEN(bind, syscall(SYS_bind, pair[0], NULL, 0))
FORBIDDEN(setsockopt, syscall(SYS_setsockopt, pair[0], SOL_SOCKET, SO_PASSCRED, NULL, 0))
FORBIDDEN(recvfrom, syscall(SYS_recvfrom, pair[0], NULL, 0, MSG_DONTWAIT, NULL, NULL))
FORBIDDEN(recvmsg_peek, syscall(SYS_recvmsg, pair[0], &message, MSG_PEEK | MSG_DONTWAIT))
FORBIDDEN(recvmsg_oob, syscall(SYS_recvmsg, pair[0], &message, MSG_OOB | MSG_DONTWAIT))
FORBIDDEN(sendmsg_oob, syscall(SYS_sendmsg, pair[0], &message, MSG_OOB | MSG_DONTWAIT))
FORBIDDEN(sendto_oob, syscall(SYS_sendto, pair[0], "", 1, MSG_OOB | MSG_DONTWAIT, NULL, 0))
FORBIDDEN(sendmmsg, syscall(SYS_sendmmsg, pair[0], NULL, 0, MSG_DONTWAIT))
FORBIDDEN(ioctl_tiocsti, syscall(SYS_ioctl, 0, TIOCSTI, ""))
FORBIDDEN(fcntl_dup, syscall(SYS_fcntl, 0, F_DUPFD, 0))
FORBIDDEN(fcntl_owner, syscall(SYS_fcntl, pair[0], F_SETOWN, 1))
FORBIDDEN(mmap_exec,
          syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
FORBIDDEN(mprotect_exec, syscall(SYS_mprotect, NULL, 0, PROT_EXEC))
FORBIDDEN(renameat2, syscall(SYS_renameat2, AT_FDCWD, "", AT_FDCWD, "", 0))
FORBIDDEN(fchmodat, syscall(SYS_fchmodat, AT_FDCWD, "", 0))
FORBIDDEN(linkat, syscall(SYS_linkat, AT_FDCWD, "", AT_FDCWD, "", 0))
FORBIDDEN(memfd_create, syscall(SYS_memfd_create, "x", 0))
FORBIDDEN(bpf, syscall(SYS_bpf, 0, NULL, 0))
FORBIDDEN(io_uring_enter, syscall(SYS_io_uring_enter, -1, 0, 0, 0, NULL, 0))
FORBIDDEN(userfaultfd, syscall(SYS_userfaultfd, 0))
FORBIDDEN(unshare, syscall(SYS_unshare, 0))
FORBIDDEN(mount, syscall(SYS_mount, NULL, NULL, NULL, 0, NULL))
#ifdef __x86_64__
FORBIDDEN(x32, syscall(0x40000000L | SYS_getpid))
#endif

static int pipe_to_thread[2];

static void *open_when_told(void *argument)
{
    char byte;

    if (read(pipe_to_thread[0], &byte, 1) == 1)
        syscall(SYS_openat, AT_FDCWD, null_path, O_RDONLY);
    return NULL;
}

#define CASE(name)                                                                                 \
    {                                                                                              \
#name, do_##name                                                                           \
    }

static void test_forbidden(void **state)
{
    static const struct {
        const char *name;
        action deed;
    } cases[] = {
#ifdef SYS_open
        CASE(open),
#endif
#ifdef __x86_64__
        CASE(x32),
#endif
        CASE(openat),      CASE(openat2),        CASE(execve),           CASE(execveat),
        CASE(clone),       CASE(ptrace),         CASE(process_vm_readv), CASE(pidfd_getfd),
        CASE(kill),        CASE(setuid),         CASE(setresuid),        CASE(prctl),
        CASE(seccomp),     CASE(socket),         CASE(connect),          CASE(bind),
        CASE(setsockopt),  CASE(recvfrom),       CASE(recvmsg_peek),     CASE(recvmsg_oob),
        CASE(sendmsg_oob), CASE(sendto_oob),     CASE(sendmmsg),         CASE(ioctl_tiocsti),
        CASE(fcntl_dup),   CASE(fcntl_owner),    CASE(mmap_exec),        CASE(mprotect_exec),
        CASE(renameat2),   CASE(fchmodat),       CASE(linkat),           CASE(memfd_create),
        CASE(bpf),         CASE(io_uring_enter), CASE(userfaultfd),      CASE(unshare),
        CASE(mount),
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int status = status_of(cases[i].deed);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s: status %x", cases[i].name,
              status);
    }
}

/* The filter holds for threads that were there before it. */
static void test_threads(void **state)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        pthread_t thread;
        struct log log;
        const struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        log_init(&log, LOG_LEVEL_ERROR);
        if (pipe(pipe_to_thread) < 0 || pthread_create(&thread, NULL, open_when_told, NULL) != 0 ||
            sandbox_enter(&log) < 0 || write(pipe_to_thread[1], "x", 1) != 1)
            _exit(99);
        pthread_join(thread, NULL);
        _exit(0);
    }
    assert_true(process_wait(pid, 10000, &status));
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "status %x", status);
}

/* --------------------------------------------------------------- allowed */

static int do_nothing(void)
{
    return 0;
}

static int do_io_uring(void)
{
    return syscall(SYS_io_uring_setup, 1, NULL) == -1 && errno == ENOSYS ? 0 : 1;
}

static void *do_nothing_there(void *argument)
{
    return argument;
}

/* Threads can begin at any time; what else clone3(2) could make cannot be seen. */
static int do_thread(void)
{
    pthread_t thread;

    if (syscall(SYS_clone3, NULL, 0) != -1 || errno != ENOSYS)
        return 1;
    return pthread_create(&thread, NULL, do_nothing_there, NULL) != 0 ||
           pthread_join(thread, NULL) != 0;
}

static int do_options(void)
{
    int r = sockio_let_fds_in(pair[0], true);

    return r < 0 && r != -ENOPROTOOPT ? 1 : sockio_take_urgent(pair[0]);
}

static int do_traffic(void)
{
    char byte = 'x';
    struct iovec iov = {&byte, 1};
    struct msghdr one = {.msg_iov = &iov, .msg_iovlen = 1};
    int unread, yes = 1;

    if (sendmsg(pair[0], &one, MSG_DONTWAIT | MSG_NOSIGNAL) != 1 ||
        ioctl(pair[0], TIOCOUTQ, &unread) < 0 || ioctl(pair[0], FIONBIO, &yes) < 0 ||
        recvmsg(pair[1], &one, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1 ||
        recvmsg(pair[1], &one, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != -1 || errno != EAGAIN)
        return 1;
    return close(eventfd(0, EFD_CLOEXEC));
}

static int do_memory(void)
{
    for (size_t size = 1; size < 64u << 20; size *= 2) {
        char *memory = malloc(size);
        if (!memory || !(memory = realloc(memory, size * 2)))
            return 1;
        memory[size] = 1;
        free(memory);
    }
    return mprotect(NULL, 0, PROT_READ | PROT_WRITE);
}

/* A file that is open already can be worked with as a database is. */
static int do_database(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    char byte = 'x';

    return pwrite(database, &byte, 1, 4095) == 1 && pread(database, &byte, 1, 4095) == 1 &&
                   lseek(database, 0, SEEK_END) == 4096 && fdatasync(database) == 0 &&
                   fsync(database) == 0 && ftruncate(database, 0) == 0 &&
                   fcntl(database, F_SETLK, &lock) == 0 && fcntl(database, F_GETLK, &lock) == 0
               ? 0
               : 1;
}

/* Assertions that fail must still be able to say so, and to end it their way. */
static int do_abort(void)
{
    abort();
}

static void test_allowed(void **state)
{
    assert_int_equal(status_of(do_nothing), 0);
    assert_int_equal(status_of(do_io_uring), 0);
    assert_int_equal(status_of(do_thread), 0);
    assert_int_equal(status_of(do_options), 0);
    assert_int_equal(status_of(do_traffic), 0);
    assert_int_equal(status_of(do_memory), 0);
    assert_int_equal(status_of(do_database), 0);
    int status = status_of(do_abort);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_forbidden),
        cmocka_unit_test(test_threads),
    };

    database = open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (database < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return 1;
    return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}

#endif
