/* SPDX-License-Identifier: MIT */
/*
 * Numbers that the kernel knows a peer by, as people know them.
 */
#ifndef BUSCTL_PEOPLE_H
#define BUSCTL_PEOPLE_H

#include <stdint.h>

/* The user's name, or the number; malloc'ed, NULL without memory. */
char *user_name(int64_t uid);

/* The same for a group. */
char *group_name(int64_t gid);

/* What the process calls itself, "" if that cannot be told; malloc'ed, NULL
 * without memory. */
char *process_command(int64_t pid);

/* "4.2 s", "3 min 20 s", "5 h 2 min", "3 d 4 h"; malloc'ed, NULL without memory. */
char *duration_text(double seconds);

#endif
