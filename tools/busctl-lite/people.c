/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/people.h"

#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/busctl-lite/json.h"
#include "tools/busctl-lite/owned.h"

#define COMMAND_MAX 64

static char *number_text(int64_t number)
{
    char *text;

    return asprintf(&text, "%" PRId64, number) < 0 ? NULL : text;
}

char *user_name(int64_t uid)
{
    const struct passwd *entry = getpwuid((uid_t)uid);

    return entry ? strdup(entry->pw_name) : number_text(uid);
}

char *group_name(int64_t gid)
{
    const struct group *entry = getgrgid((gid_t)gid);

    return entry ? strdup(entry->gr_name) : number_text(gid);
}

char *process_command(int64_t pid)
{
    CLEANUP(owned_fd) int fd = -1;
    char text[COMMAND_MAX];
    char path[64];
    ssize_t size;

    if (pid <= 0)
        return strdup("");
    snprintf(path, sizeof(path), "/proc/%" PRId64 "/comm", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    size = fd < 0 ? 0 : read(fd, text, sizeof(text));
    if (size > 0 && text[size - 1] == '\n')
        size--;
    /* A process may give itself any bytes as its name. */
    for (ssize_t i = 0, length; i < size; i += length) {
        length = (ssize_t)json_utf8_length(text + i, (size_t)(size - i));
        if (length == 0) {
            text[i] = '?';
            length = 1;
        }
    }
    return strndup(text, size > 0 ? (size_t)size : 0);
}

char *duration_text(double seconds)
{
    uint64_t whole = seconds > 0 ? (uint64_t)seconds : 0;
    char *text = NULL;
    int r;

    if (whole < 60)
        r = asprintf(&text, "%.1f s", seconds);
    else if (whole < 3600)
        r = asprintf(&text, "%" PRIu64 " min %" PRIu64 " s", whole / 60, whole % 60);
    else if (whole < 86400)
        r = asprintf(&text, "%" PRIu64 " h %" PRIu64 " min", whole / 3600, whole % 3600 / 60);
    else
        r = asprintf(&text, "%" PRIu64 " d %" PRIu64 " h", whole / 86400, whole % 86400 / 3600);
    return r < 0 ? NULL : text;
}
