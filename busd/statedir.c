/* SPDX-License-Identifier: MIT */
#include "busd/statedir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libbus/base/macros.h"

int statedir_init(struct statedir *dir, const char *path, bool parents)
{
    *dir = (struct statedir){.parents = parents, .fd = -1};
    if (!path)
        return 0;
    dir->path = strdup(path);
    if (!dir->path)
        return -ENOMEM;
    /* With a slash at the end a link would be followed. */
    size_t size = strlen(path);
    while (size > 1 && dir->path[size - 1] == '/')
        dir->path[--size] = '\0';
    return 0;
}

void statedir_deinit(struct statedir *dir)
{
    if (dir->fd >= 0)
        close(TAKE_FD(dir->fd));
    free(TAKE(dir->path));
}

static int fail(const struct statedir *dir, char reason[STATEDIR_REASON_SIZE], int error,
                const char *why)
{
    snprintf(reason, STATEDIR_REASON_SIZE, "the state folder %.300s: %s", dir->path, why);
    return error;
}

static int fail_errno(const struct statedir *dir, char reason[STATEDIR_REASON_SIZE])
{
    int error = errno;

    return fail(dir, reason, -error, strerror(error));
}

/* ------------------------------------------------------------ what it is */

/* Whose it is and what others may do there; (uid_t)-1 as `user`: nobody but us. */
static int check(const struct statedir *dir, int fd, uid_t user, char reason[STATEDIR_REASON_SIZE])
{
    struct stat status;
    char why[128];

    if (fstat(fd, &status) < 0)
        return fail_errno(dir, reason);
    if (status.st_uid != geteuid() && status.st_uid != user) {
        snprintf(why, sizeof(why), "it belongs to another user (uid %" PRIu32 ")",
                 (uint32_t)status.st_uid);
        return fail(dir, reason, -EPERM, why);
    }
    if (status.st_mode & 077)
        return fail(dir, reason, -EPERM,
                    "others have rights to it: take those away (chmod go-rwx)");
    return 0;
}

/* A file descriptor, or -errno: -ENOENT without a word in `reason`. */
static int open_folder(const struct statedir *dir, int flags, char reason[STATEDIR_REASON_SIZE])
{
    int fd = open(dir->path, flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;

    if (fd >= 0 || errno == ENOENT)
        return fd >= 0 ? fd : -ENOENT;
    int error = errno;
    if ((error == ENOTDIR || error == ELOOP) && lstat(dir->path, &status) == 0)
        return fail(dir, reason, -error,
                    S_ISLNK(status.st_mode) ? "it is a symbolic link: name the folder itself"
                                            : "it is no folder");
    errno = error;
    return fail_errno(dir, reason);
}

bool statedir_has(const struct statedir *dir, const char *name)
{
    CLEANUP(cleanup_close)
    int fd = dir->path ? open(dir->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;

    return fd >= 0 && faccessat(fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* -------------------------------------------------------------- to make it */

/* The folder that a path lies in. NULL: out of memory. */
static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    while (slash && slash > path && slash[-1] == '/')
        slash--;
    return !slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* Makes the folders above, where there are none. */
static void make_parents(const char *path)
{
    CLEANUP(cleanup_free) char *copy = strdup(path);

    for (char *slash = copy ? strchr(copy + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(copy, 0700);
        *slash = '/';
    }
}

/* With a folder that is new, its name must reach the disk, too. */
static int make(const struct statedir *dir, char reason[STATEDIR_REASON_SIZE])
{
    CLEANUP(cleanup_free) char *parent = parent_of(dir->path);

    if (!parent)
        return fail(dir, reason, -ENOMEM, strerror(ENOMEM));
    if (dir->parents)
        make_parents(dir->path);
    if (mkdir(dir->path, 0700) < 0 && errno != EEXIST)
        return errno == ENOENT ? fail(dir, reason, -ENOENT,
                                      "the folder that it should lie in does not exist: create "
                                      "that first")
                               : fail_errno(dir, reason);
    CLEANUP(cleanup_close) int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Where one may make files but not look. */
    if (fd < 0)
        return errno == EACCES ? 0 : fail_errno(dir, reason);
    return fsync(fd) < 0 && errno != EINVAL ? fail_errno(dir, reason) : 0;
}

int statedir_open(struct statedir *dir, char reason[STATEDIR_REASON_SIZE])
{
    int r;

    if (dir->fd >= 0)
        return 0;
    CLEANUP(cleanup_close) int fd = open_folder(dir, O_RDONLY, reason);
    if (fd == -ENOENT) {
        r = make(dir, reason);
        if (r < 0)
            return r;
        fd = open_folder(dir, O_RDONLY, reason);
        if (fd == -ENOENT)
            return fail(dir, reason, fd, strerror(ENOENT));
    }
    if (fd < 0)
        return fd;
    r = check(dir, fd, (uid_t)-1, reason);
    if (r < 0)
        return r;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? fail(dir, reason, -EBUSY,
                          "another busd uses it: stop that one, or choose another folder (--state)")
                   : fail_errno(dir, reason);
    dir->fd = TAKE_FD(fd);
    return 0;
}

/* --------------------------------------------------------------- the start */

/* Gives away what is root's, with what is in it: nobody else can have put that there. */
static int give(const struct statedir *dir, int fd, uid_t user, gid_t group,
                char reason[STATEDIR_REASON_SIZE])
{
    struct dirent *entry;
    struct stat status;

    if (fstat(fd, &status) < 0)
        return fail_errno(dir, reason);
    if (status.st_uid == user)
        return 0;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
    if (!folder) {
        int r = fail_errno(dir, reason);
        if (copy >= 0)
            close(copy);
        return r;
    }
    int r = 0;
    while (r == 0 && (entry = readdir(folder)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = fchownat(fd, entry->d_name, user, group, AT_SYMLINK_NOFOLLOW);
    if (r == 0)
        r = fchown(fd, user, group);
    if (r < 0)
        r = fail_errno(dir, reason);
    closedir(folder);
    return r;
}

static int prepare(const struct statedir *dir, uid_t user, gid_t group,
                   char reason[STATEDIR_REASON_SIZE])
{
    bool becomes = user != (uid_t)-1;
    struct stat status;
    int r = 0;

    CLEANUP(cleanup_close) int fd = open_folder(dir, O_RDONLY, reason);
    if (fd == -ENOENT && becomes) {
        r = make(dir, reason);
        if (r < 0)
            return r;
        fd = open_folder(dir, O_RDONLY, reason);
    }
    if (fd == -ENOENT) {
        CLEANUP(cleanup_free) char *parent = parent_of(dir->path);
        if (dir->parents || (parent && access(parent, F_OK) == 0))
            return 0;
        return fail(dir, reason, -ENOENT,
                    "the folder that it should lie in does not exist: create that first");
    }
    /* What nobody has asked for, and a user without a home cannot have. */
    if (fd < 0 && dir->parents && lstat(dir->path, &status) < 0)
        return 0;
    if (fd < 0)
        return fd;
    r = check(dir, fd, user, reason);
    return r == 0 && becomes ? give(dir, fd, user, group, reason) : r;
}

int statedir_prepare(const struct statedir *dir, uid_t user, gid_t group, struct log *log)
{
    char reason[STATEDIR_REASON_SIZE];

    int r = dir->path ? prepare(dir, user, group, reason) : 0;
    if (r < 0)
        log_write(log, LOG_LEVEL_ERROR, "%s", reason);
    return r;
}
