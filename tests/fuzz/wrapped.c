/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/wrapped.h"

#include <uv.h>

#include "busd/closer.h"

uint64_t wrapped_now;

uint64_t __wrap_uv_now(const uv_loop_t *loop);
uint64_t __wrap_uv_now(const uv_loop_t *loop)
{
    return wrapped_now;
}

/* No thread: what is to be closed is closed on the spot. */
void __wrap_closer_put(struct closer *closer, struct closer_lane *lane, enum closer_kind kind,
                       struct fds *fds);
void __wrap_closer_put(struct closer *closer, struct closer_lane *lane, enum closer_kind kind,
                       struct fds *fds)
{
    list_remove(&fds->link);
    lane->taken[kind] += fds->count;
    lane->closed[kind] += fds->count;
    fds_destroy(fds);
}
