/* SPDX-License-Identifier: MIT */
/*
 * What a function owns until it returns: CLEANUP(function) on a local variable
 * gives it back on every way out. Each function takes a pointer to the variable
 * and lets the empty value (NULL, -1) pass. TAKE() moves ownership away.
 */
#ifndef BUSCTL_OWNED_H
#define BUSCTL_OWNED_H

#include <bus/bus.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(function) __attribute__((cleanup(function)))
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define NS_PER_MS         UINT64_C(1000000)
#define MS_PER_SECOND     UINT64_C(1000)

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

static inline void owned_text(char **text)
{
    free(*text);
}

static inline void owned_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Sends what is still unsent before it disconnects. */
static inline void owned_bus(struct bus **bus)
{
    bus_close(*bus);
}

static inline void owned_message(struct bus_message **message)
{
    bus_message_unref(*message);
}

static inline void owned_slot(struct bus_slot **slot)
{
    bus_slot_free(*slot);
}

static inline void owned_json(json_t **json)
{
    json_decref(*json);
}

#endif
