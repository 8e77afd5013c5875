/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/wrapped.h"

#include <errno.h>
#include <pthread.h>
#include <uv.h>

uint64_t wrapped_now;

uint64_t __wrap_uv_now(const uv_loop_t *loop);
uint64_t __wrap_uv_now(const uv_loop_t *loop)
{
    return wrapped_now;
}

/* No thread: what is to be closed is closed on the spot. */
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *userdata);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *userdata)
{
    return EAGAIN;
}
