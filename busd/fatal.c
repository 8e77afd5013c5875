/* SPDX-License-Identifier: MIT */
#include "busd/fatal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"

static const int fatal[] = {
    EBADF,    /* a file descriptor was closed that is still in use */
    ENOTSOCK, /* … and its number belongs to something else by now */
    EFAULT,   /* a pointer to nowhere */
};

void fatal_check(struct log *log, const char *doing, int error)
{
    for (size_t i = 0; i < ARRAY_SIZE(fatal); i++) {
        if (abs(error) != fatal[i])
            continue;
        log_write(log, LOG_LEVEL_ERROR, "a bug in busd: %s: %s", doing, strerror(fatal[i]));
        abort();
    }
}
