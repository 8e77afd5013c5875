/* SPDX-License-Identifier: MIT */
/*
 * The few language helpers that every file may use.
 *
 * Ownership moves with a visible TAKE(): the source is left NULL (or -1 for a
 * file descriptor), so that a CLEANUP() on it becomes a no-op. Destructors
 * accept NULL.
 */
#ifndef LIBBUS_BASE_MACROS_H
#define LIBBUS_BASE_MACROS_H

#include <stddef.h>
#include <stdlib.h>
#include <sys/param.h> /* MIN and MAX */
#include <unistd.h>

#define CLEANUP(function) __attribute__((cleanup(function)))

#define TAKE(pointer)                                                                              \
    ({                                                                                             \
        __typeof__(pointer) taken_ = (pointer);                                                    \
        (pointer) = NULL;                                                                          \
        taken_;                                                                                    \
    })

#define TAKE_FD(fd)                                                                                \
    ({                                                                                             \
        int taken_ = (fd);                                                                         \
        (fd) = -1;                                                                                 \
        taken_;                                                                                    \
    })

#define CONTAINER_OF(pointer, type, member)                                                        \
    ({                                                                                             \
        __typeof__(((type *)0)->member) *member_ = (pointer);                                      \
        member_ ? (type *)((char *)member_ - offsetof(type, member)) : NULL;                       \
    })

#define ARRAY_SIZE(array)   (sizeof(array) / sizeof((array)[0]))
#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

static inline void cleanup_free(void *pointer)
{
    free(*(void **)pointer);
}

static inline void cleanup_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#endif
