/* SPDX-License-Identifier: MIT */
#include "busd/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "libbus/wire/address.h"
#include "libbus/wire/sockio.h"

#define BACKLOG 1024

/* One attempt: the endpoint in the making and what it is made from. */
struct attempt {
    struct endpoint endpoint;
    const struct endpoint_options *options;
    struct address address;
    bool shared; /* anybody can make files in the folder, though not touch ours */
    struct log *log;
};

static int fail(const struct attempt *attempt, int error, const char *why)
{
    log_write(attempt->log, LOG_LEVEL_ERROR, "cannot listen on %s: %s", attempt->options->address,
              why);
    return error;
}

static int fail_errno(const struct attempt *attempt)
{
    int error = errno;

    return fail(attempt, -error, strerror(error));
}

/* Root, who we are, or whom we are going to be. Whose a file is says something only
 * where others can make some; elsewhere an earlier daemon may have been another user. */
static bool is_trusted(const struct attempt *attempt, uid_t uid)
{
    return uid == 0 || uid == geteuid() || uid == attempt->options->user;
}

/* ---------------------------------------------------------------- folder */

/* Cuts the path into folder and name. */
static int split_path(struct attempt *attempt, char **ret_folder)
{
    const char *path = attempt->address.path;
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;

    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return fail(attempt, -EINVAL, "the path is that of a folder, not of a socket in it");
    attempt->endpoint.path = strdup(path);
    attempt->endpoint.name = strdup(name);
    if (asprintf(&attempt->endpoint.lock_name, "%s.lock", name) < 0)
        attempt->endpoint.lock_name = NULL;
    /* "/a/b//bus" lies in "/a/b": with a slash at its end a link would be followed. */
    while (slash && slash > path && slash[-1] == '/')
        slash--;
    char *folder = !slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (!attempt->endpoint.path || !attempt->endpoint.name || !attempt->endpoint.lock_name ||
        !folder) {
        free(folder);
        return fail(attempt, -ENOMEM, strerror(ENOMEM));
    }
    *ret_folder = folder;
    return 0;
}

static int fail_folder(const struct attempt *attempt, const char *folder, int error)
{
    struct stat status;

    if (error == ENOENT)
        return fail(attempt, -error, "its folder does not exist: create it first");
    if ((error == ENOTDIR || error == ELOOP) && lstat(folder, &status) == 0)
        return fail(attempt, -error,
                    S_ISLNK(status.st_mode)
                        ? "its folder is a symbolic link: name the folder itself"
                        : "what should be its folder is none");
    return fail(attempt, -error, strerror(error));
}

/* Whoever can write to the folder can put a socket of his own in the place of ours. */
static int check_folder(struct attempt *attempt)
{
    struct stat status;
    char why[128];

    if (fstat(attempt->endpoint.folder_fd, &status) < 0)
        return fail_errno(attempt);
    if (!is_trusted(attempt, status.st_uid)) {
        snprintf(why, sizeof(why), "its folder belongs to another user (uid %" PRIu32 ")",
                 (uint32_t)status.st_uid);
        return fail(attempt, -EPERM, why);
    }
    bool group_writes = (status.st_mode & S_IWGRP) && status.st_gid != getegid();
    attempt->shared = group_writes || (status.st_mode & S_IWOTH);
    if (attempt->shared && !(status.st_mode & S_ISVTX))
        return fail(attempt, -EPERM,
                    "others can write to its folder: take that right away (chmod go-w)");
    return 0;
}

/* All that follows happens in this very folder, whatever becomes of its path. */
static int open_folder(struct attempt *attempt)
{
    CLEANUP(cleanup_free) char *folder = NULL;

    int r = split_path(attempt, &folder);
    if (r < 0)
        return r;
    attempt->endpoint.folder_fd = open(folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (attempt->endpoint.folder_fd < 0)
        return fail_folder(attempt, folder, errno);
    return check_folder(attempt);
}

/* ------------------------------------------------------------------ lock */

/* The lock file must be a plain file of ours that has no other name. */
static int check_lock(const struct attempt *attempt, int fd)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return fail_errno(attempt);
    if (!S_ISREG(status.st_mode) || status.st_nlink > 1)
        return fail(attempt, -EPERM, "its lock file is not a plain file: remove it");
    if (attempt->shared && !is_trusted(attempt, status.st_uid))
        return fail(attempt, -EPERM, "its lock file belongs to another user");
    return 0;
}

static int open_lock(const struct attempt *attempt)
{
    const struct endpoint *endpoint = &attempt->endpoint;
    int fd = openat(endpoint->folder_fd, endpoint->lock_name,
                    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);

    if (fd >= 0)
        return fd;
    switch (errno) {
    case ELOOP:
    case EISDIR:
    case ENXIO:
        return fail(attempt, -EPERM, "its lock file is not a plain file: remove it");
    case EACCES:
        return fail(attempt, -EACCES,
                    "its lock file cannot be written: it may belong to another user");
    default:
        return fail_errno(attempt);
    }
}

/* Takes the lock that says whose the socket is. The file must still be the one in the
 * folder once it is locked: a daemon that was just leaving removes it. */
static int take_lock(struct attempt *attempt)
{
    struct endpoint *endpoint = &attempt->endpoint;

    for (;;) {
        struct stat here, there;
        CLEANUP(cleanup_close) int fd = open_lock(attempt);
        int r = fd < 0 ? fd : check_lock(attempt, fd);
        if (r < 0)
            return r;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
            return fail(attempt, -EADDRINUSE,
                        "another busd serves this address: stop it, or choose another one");
        if (fstat(fd, &here) < 0)
            return fail_errno(attempt);
        if (fstatat(endpoint->folder_fd, endpoint->lock_name, &there, AT_SYMLINK_NOFOLLOW) < 0 ||
            here.st_ino != there.st_ino || here.st_dev != there.st_dev)
            continue;
        if (attempt->options->user != (uid_t)-1 && fchown(fd, attempt->options->user, -1) < 0)
            return fail_errno(attempt);
        endpoint->lock_fd = TAKE_FD(fd);
        return 0;
    }
}

/* ------------------------------------------------------------------ bind */

/* Removes what a daemon that died has left; never a live socket, nor anything that is
 * not a socket of ours. */
static int remove_stale(const struct attempt *attempt)
{
    const struct endpoint *endpoint = &attempt->endpoint;
    const struct address *address = &attempt->address;
    struct stat status;

    if (fstatat(endpoint->folder_fd, endpoint->name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : fail_errno(attempt);
    if (!S_ISSOCK(status.st_mode))
        return fail(attempt, -EADDRINUSE, "there is a file that is not a socket");
    if (attempt->shared && !is_trusted(attempt, status.st_uid) &&
        status.st_uid != attempt->options->owner)
        return fail(attempt, -EADDRINUSE, "there is a socket of another user");

    CLEANUP(cleanup_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail_errno(attempt);
    if (connect(fd, (const struct sockaddr *)&address->socket, address->size) == 0 ||
        errno != ECONNREFUSED)
        return fail(attempt, -EADDRINUSE, "some program serves this address");
    if (unlinkat(endpoint->folder_fd, endpoint->name, 0) < 0)
        return fail_errno(attempt);
    log_write(attempt->log, LOG_LEVEL_NOTICE, "replaced the stale socket %s", endpoint->path);
    return 0;
}

/* That the file in our folder is the one that has just been made, and has the mode and
 * the owner it shall have. */
static int finish_file(struct attempt *attempt)
{
    const struct endpoint_options *options = attempt->options;
    struct endpoint *endpoint = &attempt->endpoint;
    struct stat status;

    if (fstatat(endpoint->folder_fd, endpoint->name, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISSOCK(status.st_mode) || status.st_uid != geteuid())
        return fail(attempt, -EPERM, "its folder was exchanged meanwhile");
    endpoint->device = status.st_dev;
    endpoint->inode = status.st_ino;
    /* An access control list on the folder makes umask(2) count for nothing. */
    if ((status.st_mode & 0777) != options->mode &&
        fchmodat(endpoint->folder_fd, endpoint->name, options->mode, AT_SYMLINK_NOFOLLOW) < 0)
        return fail_errno(attempt);
    if (fchownat(endpoint->folder_fd, endpoint->name, options->owner, options->group,
                 AT_SYMLINK_NOFOLLOW) < 0)
        return fail_errno(attempt);
    return 0;
}

static int bind_socket(struct attempt *attempt)
{
    struct endpoint *endpoint = &attempt->endpoint;
    const struct address *address = &attempt->address;

    endpoint->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (endpoint->fd < 0)
        return fail_errno(attempt);
    mode_t mask = umask(0777 & ~attempt->options->mode);
    int r = bind(endpoint->fd, (const struct sockaddr *)&address->socket, address->size);
    umask(mask);
    if (r < 0)
        return errno == EADDRINUSE ? fail(attempt, -errno, "some program serves this address")
                                   : fail_errno(attempt);
    return address->path ? finish_file(attempt) : 0;
}

static int open_path(struct attempt *attempt)
{
    int r = open_folder(attempt);

    if (r == 0)
        r = take_lock(attempt);
    if (r == 0)
        r = remove_stale(attempt);
    return r;
}

/* A listening socket that we were started with. */
static int adopt(struct attempt *attempt, int fd)
{
    int domain, listening;
    socklen_t size = sizeof(domain);
    socklen_t listening_size = sizeof(listening);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_UNIX ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_size) < 0 || !listening)
        return fail(attempt, -ENOTSOCK, "it is not a listening AF_UNIX socket");
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return fail_errno(attempt);
    attempt->endpoint.fd = fd;
    return 0;
}

/* Nobody sends us file descriptors before it is known who it is. */
static int keep_fds_out(const struct attempt *attempt)
{
    int r = sockio_let_fds_in(attempt->endpoint.fd, false);

    return r < 0 && r != -ENOPROTOOPT ? fail(attempt, r, strerror(-r)) : 0;
}

/* -------------------------------------------------------------- lifetime */

static int open_attempt(struct attempt *attempt)
{
    int r = address_parse(attempt->options->address, &attempt->address);

    if (r == -ENAMETOOLONG)
        return fail(attempt, r, "the path is longer than the 107 bytes a socket can have");
    if (r < 0)
        return fail(attempt, r, "an address is unix:/path, a path, unix:@abstract or fd:N");
    if (attempt->address.fd >= 0) {
        r = adopt(attempt, attempt->address.fd);
        return r == 0 ? keep_fds_out(attempt) : r;
    }
    if (attempt->address.path)
        r = open_path(attempt);
    if (r == 0)
        r = bind_socket(attempt);
    if (r == 0)
        r = keep_fds_out(attempt);
    if (r == 0 && listen(attempt->endpoint.fd, BACKLOG) < 0)
        r = fail_errno(attempt);
    return r;
}

int endpoint_open(struct endpoint *ret_endpoint, const struct endpoint_options *options,
                  struct log *log)
{
    struct attempt attempt = {.endpoint = ENDPOINT_NONE, .options = options, .log = log};

    int r = open_attempt(&attempt);
    if (r < 0)
        endpoint_close(&attempt.endpoint);
    else
        *ret_endpoint = attempt.endpoint;
    return r;
}

int endpoint_set_access(const struct endpoint *endpoint, mode_t mode, uid_t owner, gid_t group)
{
    int folder = endpoint->folder_fd;
    const char *name = endpoint->name;
    struct stat status;

    if (endpoint->inode == 0)
        return 0;
    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (status.st_ino != endpoint->inode || status.st_dev != endpoint->device)
        return -ESTALE;
    uid_t uid = owner == (uid_t)-1 ? geteuid() : owner;
    gid_t gid = group == (gid_t)-1 ? getegid() : group;
    /* Nobody is let in by the new mode before the file has its new owner. */
    if (fchmodat(folder, name, mode & status.st_mode, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchownat(folder, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchmodat(folder, name, mode, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return 0;
}

/* Whoever may not remove his files any more leaves them: a lock that nobody holds and a
 * socket that nobody serves are in nobody's way. */
static void remove_files(struct endpoint *endpoint)
{
    struct stat status;

    if (endpoint->inode != 0 &&
        fstatat(endpoint->folder_fd, endpoint->name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        status.st_ino == endpoint->inode && status.st_dev == endpoint->device)
        unlinkat(endpoint->folder_fd, endpoint->name, 0);
    endpoint->inode = 0;
    if (endpoint->lock_fd >= 0)
        unlinkat(endpoint->folder_fd, endpoint->lock_name, 0);
}

void endpoint_close(struct endpoint *endpoint)
{
    remove_files(endpoint);
    if (endpoint->fd >= 0)
        close(TAKE_FD(endpoint->fd));
    if (endpoint->lock_fd >= 0)
        close(TAKE_FD(endpoint->lock_fd));
    if (endpoint->folder_fd >= 0)
        close(TAKE_FD(endpoint->folder_fd));
    free(TAKE(endpoint->path));
    free(TAKE(endpoint->name));
    free(TAKE(endpoint->lock_name));
}
