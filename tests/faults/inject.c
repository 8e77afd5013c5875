/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into busd: makes the calls fail that tests/faults/control.h names, as
 * the kernel or the allocator would. Without $BUSD_FAULTS it does nothing.
 *
 * Not made to fail is what libuv answers with abort(), where nothing can be done about
 * it:
 *   - epoll_ctl(2) before it waits. Instead it is counted whether one of those could
 *     have failed at all, for which busd/watch.h sees that they cannot; but for the
 *     loop's own two file descriptors, in its first turn, before anybody is served;
 *   - epoll_ctl(2) to take the probe of uv_poll_init() back, which needs no memory;
 *   - epoll_wait(2), and reading and writing of its own eventfd and pipes;
 *   - pipe2(2) for the signals, once, at the start.
 * Nor what the C library allocates while it looks up a user or a group, because some
 * versions of it crash then or assert that it cannot happen.
 * Nor is taking something out of an epoll set, which needs no memory either.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "tests/faults/control.h"

#define EXPORT __attribute__((visibility("default")))

static struct fault_control *control;
static pthread_t loop_thread;
static bool in_lookup; /* of a user or a group */

/* The function behind ours. */
#define NEXT(name)                                                                                 \
    ({                                                                                             \
        static __typeof__(name) *next_;                                                            \
        if (!next_)                                                                                \
            *(void **)&next_ = dlsym(RTLD_NEXT, #name);                                            \
        next_;                                                                                     \
    })

__attribute__((constructor)) static void attach(void)
{
    const char *path = getenv(FAULT_ENV);
    void *frames[1];
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

    if (fd < 0)
        return;
    loop_thread = pthread_self();
    /* The first backtrace loads a library and allocates. */
    backtrace(frames, 1);
    void *page = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    control = page == MAP_FAILED ? NULL : page;
}

static void record(void)
{
    void *frames[FAULT_TRACE_DEPTH + 2];
    int depth = backtrace(frames, FAULT_TRACE_DEPTH + 2);

    for (int i = 2; i < depth; i++) {
        struct fault_frame *frame = &control->trace[control->depth++];
        Dl_info info = {0};
        if (!dladdr(frames[i], &info) || !info.dli_fname)
            continue;
        const char *slash = strrchr(info.dli_fname, '/');
        strncpy(frame->module, slash ? slash + 1 : info.dli_fname, sizeof(frame->module) - 1);
        frame->offset = (uint64_t)((char *)frames[i] - (char *)info.dli_fbase);
    }
}

/* Counts the call. Returns how it is to fail, 0 if it is not. */
static __attribute__((noinline)) int fault(enum fault_call call)
{
    if (!control || !control->armed || control->call != call)
        return 0;
    uint64_t n = ++control->calls;
    if (control->at == 0 || n < control->at || (n > control->at && !control->for_ever))
        return 0;
    if (control->fired++ == 0)
        record();
    return control->error;
}

/* ---------------------------------------------------------- allocations */

/* The other thread only closes and frees: what is allocated there is a sanitizer's. */
static bool is_loop_thread(void)
{
    return pthread_equal(pthread_self(), loop_thread);
}

#define FAIL_ALLOCATION()                                                                          \
    do {                                                                                           \
        if (is_loop_thread() && !in_lookup && fault(FAULT_ALLOCATION)) {                           \
            errno = ENOMEM;                                                                        \
            return NULL;                                                                           \
        }                                                                                          \
    } while (0)

EXPORT void *malloc(size_t size)
{
    FAIL_ALLOCATION();
    return NEXT(malloc)(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
    FAIL_ALLOCATION();
    return NEXT(calloc)(count, size);
}

EXPORT void *realloc(void *old, size_t size)
{
    FAIL_ALLOCATION();
    return NEXT(realloc)(old, size);
}

#define LOOK_UP(call)                                                                              \
    ({                                                                                             \
        in_lookup = true;                                                                          \
        __typeof__(call) entry_ = call;                                                            \
        in_lookup = false;                                                                         \
        entry_;                                                                                    \
    })

EXPORT struct passwd *getpwnam(const char *name)
{
    return LOOK_UP(NEXT(getpwnam)(name));
}

EXPORT struct group *getgrnam(const char *name)
{
    return LOOK_UP(NEXT(getgrnam)(name));
}

/* --------------------------------------------------------- system calls */

#define FAIL_CALL(call)                                                                            \
    do {                                                                                           \
        int error_ = fault(call);                                                                  \
        if (error_) {                                                                              \
            errno = error_;                                                                        \
            return -1;                                                                             \
        }                                                                                          \
    } while (0)

/* As if the kernel could not hand the file descriptors over. */
static void lose_fds(struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            close(fd);
        }
        message->msg_flags |= MSG_CTRUNC;
    }
    message->msg_controllen = 0;
}

/* The other side has gone: for it, too, that is the end. */
static bool is_end(int error)
{
    return error == EPIPE || error == ECONNRESET;
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    int error = fault(FAULT_RECVMSG);

    if (is_end(error))
        shutdown(fd, SHUT_RDWR);
    if (error > 0) {
        errno = error;
        return -1;
    }
    ssize_t n = NEXT(recvmsg)(fd, message, flags);
    if (n >= 0 && error == FAULT_TRUNCATED)
        lose_fds(message);
    return n;
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    int error = fault(FAULT_SENDMSG);
    struct msghdr part = *message;
    struct iovec first = part.msg_iov[0];

    if (is_end(error))
        shutdown(fd, SHUT_RDWR);
    if (error > 0) {
        errno = error;
        return -1;
    }
    if (error == FAULT_SHORT) {
        first.iov_len = 1;
        part.msg_iov = &first;
        part.msg_iovlen = 1;
    }
    return NEXT(sendmsg)(fd, &part, flags);
}

EXPORT int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    FAIL_CALL(FAULT_ACCEPT);
    return NEXT(accept4)(fd, address, size, flags);
}

static bool is_from_libuv(void *address)
{
    Dl_info info;

    return dladdr(address, &info) && info.dli_fname && strstr(info.dli_fname, "/libuv.so");
}

EXPORT int epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
    if (is_from_libuv(__builtin_return_address(0))) {
        bool probe = operation == EPOLL_CTL_ADD && event->data.fd == -1;
        if (probe)
            FAIL_CALL(FAULT_EPOLL_CTL);
        int r = NEXT(epoll_ctl)(set, operation, fd, event);
        if (control && control->armed && r == 0 && !probe && operation == EPOLL_CTL_ADD)
            control->exposed++;
        return r;
    }
    if (operation != EPOLL_CTL_DEL)
        FAIL_CALL(FAULT_EPOLL_CTL);
    return NEXT(epoll_ctl)(set, operation, fd, event);
}

EXPORT int epoll_create1(int flags)
{
    FAIL_CALL(FAULT_EPOLL_CREATE);
    return NEXT(epoll_create1)(flags);
}

EXPORT int getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
    FAIL_CALL(FAULT_GETSOCKOPT);
    return NEXT(getsockopt)(fd, level, option, value, size);
}

EXPORT int setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
    FAIL_CALL(FAULT_SETSOCKOPT);
    return NEXT(setsockopt)(fd, level, option, value, size);
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list args;

    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    FAIL_CALL(FAULT_IOCTL);
    return NEXT(ioctl)(fd, request, argument);
}

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *argument)
{
    int error = fault(FAULT_THREAD);

    return error ? error : NEXT(pthread_create)(thread, attributes, start, argument);
}

EXPORT int open(const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    mode_t mode = va_arg(args, mode_t);
    va_end(args);
    FAIL_CALL(FAULT_OPEN);
    return NEXT(open)(path, flags, mode);
}

EXPORT int socket(int domain, int type, int protocol)
{
    FAIL_CALL(FAULT_OPEN);
    return NEXT(socket)(domain, type, protocol);
}
