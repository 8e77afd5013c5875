/* SPDX-License-Identifier: MIT */
#include "busd/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libbus/base/macros.h"

static int fail(struct log *log, int error, const char *what)
{
    log_write(log, LOG_LEVEL_ERROR, "%s: %s", what, strerror(-error));
    return error;
}

/* ----------------------------------------------------------------- users */

static int user_of(const struct passwd *entry, const char *name, struct privileges_user *ret_user)
{
    if (!entry)
        return errno && errno != ENOENT && errno != ESRCH ? -errno : -ENOENT;
    if (entry->pw_uid == 0)
        return -EINVAL;
    if (geteuid() != 0 && geteuid() != entry->pw_uid)
        return -EPERM;
    *ret_user = (struct privileges_user){name, entry->pw_uid, entry->pw_gid};
    return 0;
}

int privileges_find_user(const char *name, struct privileges_user *ret_user)
{
    char *end;

    errno = 0;
    unsigned long uid = strtoul(name, &end, 10);
    bool is_number = name[0] >= '0' && name[0] <= '9' && !*end;
    if (is_number && (errno || uid >= (uid_t)-1))
        return -ENOENT;
    errno = 0;
    return user_of(is_number ? getpwuid((uid_t)uid) : getpwnam(name), name, ret_user);
}

/* ----------------------------------------------------------------- start */

int privileges_fill_standard_fds(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        /* The lowest that is free is this one: those below are open. */
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return -errno;
    }
    return 0;
}

void privileges_raise_file_limit(struct log *log)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_write(log, LOG_LEVEL_WARNING, "cannot raise the limit of open files: %s",
                  strerror(errno));
}

/* ------------------------------------------------------------------ drop */

/* What execve(2) could give back. The capabilities that this kernel has end with the
 * first one that it does not know. */
static void drop_bounding_set(struct log *log)
{
    for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++) {
        if (prctl(PR_CAPBSET_DROP, capability) < 0) {
            log_write(log, LOG_LEVEL_WARNING, "cannot drop the capability bounding set: %s",
                      strerror(errno));
            return;
        }
    }
}

static int capabilities(long call, struct __user_cap_data_struct data[2])
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};

    return syscall(call, &header, data) < 0 ? -errno : 0;
}

static int drop_capabilities(struct log *log)
{
    struct __user_cap_data_struct data[2] = {{0}};

    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return fail(log, -errno, "cannot give up the ambient capabilities");
    int r = capabilities(SYS_capset, data);
    if (r < 0)
        return fail(log, r, "cannot give up the capabilities");
    r = capabilities(SYS_capget, data);
    if (r < 0)
        return fail(log, r, "cannot look up the capabilities");
    for (size_t i = 0; i < ARRAY_SIZE(data); i++)
        if (data[i].effective | data[i].permitted | data[i].inheritable)
            return fail(log, -EPERM, "some capabilities are still there");
    return 0;
}

/* Calls that succeed and do nothing have been a security hole before. */
static int verify_user(const struct privileges_user *user, bool no_groups, struct log *log)
{
    uid_t uid, euid, suid;
    gid_t gid, egid, sgid;

    if (getresuid(&uid, &euid, &suid) < 0 || getresgid(&gid, &egid, &sgid) < 0)
        return fail(log, -errno, "cannot look up who we are");
    if (uid != user->uid || euid != user->uid || suid != user->uid || gid != user->gid ||
        egid != user->gid || sgid != user->gid || (no_groups && getgroups(0, NULL) != 0))
        return fail(log, -EPERM, "the kernel has not made us the user that was asked for");
    return 0;
}

static int become(const struct privileges_user *user, struct log *log)
{
    if (setgroups(0, NULL) < 0)
        return fail(log, -errno, "cannot give up the supplementary groups");
    if (setresgid(user->gid, user->gid, user->gid) < 0)
        return fail(log, -errno, "cannot change the group");
    if (setresuid(user->uid, user->uid, user->uid) < 0)
        return fail(log, -errno, "cannot change the user");
    return verify_user(user, true, log);
}

int privileges_drop(const struct privileges_user *user, struct log *log)
{
    if (!user->name)
        return 0;
    if (geteuid() == 0) {
        drop_bounding_set(log);
        int r = become(user, log);
        if (r < 0)
            return r;
    } else {
        int r = verify_user(user, false, log);
        if (r < 0)
            return r;
    }
    return drop_capabilities(log);
}

int privileges_seal(struct log *log)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return fail(log, -errno, "cannot refuse new privileges");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return fail(log, -errno, "cannot forbid core dumps");
    return 0;
}
