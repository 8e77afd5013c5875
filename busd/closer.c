/* SPDX-License-Identifier: MIT */
#include "busd/closer.h"

#include <unistd.h>

void closer_init(struct closer *closer, uv_loop_t *loop)
{
    *closer = (struct closer){.loop = loop};
    list_init(&closer->waiting);
    list_init(&closer->closing);
}

static void destroy_all(struct list *list)
{
    LIST_FOREACH_SAFE (node, list) {
        list_remove(node);
        fds_destroy(LIST_ENTRY(node, struct fds, link));
    }
}

void closer_deinit(struct closer *closer)
{
    destroy_all(&closer->waiting);
}

/* On the thread: nobody else touches `closing` while busy. */
static void on_work(uv_work_t *work)
{
    destroy_all(&CONTAINER_OF(work, struct closer, work)->closing);
}

static void start(struct closer *closer);

static void on_done(uv_work_t *work, int status)
{
    struct closer *closer = CONTAINER_OF(work, struct closer, work);

    closer->busy = false;
    if (!list_is_empty(&closer->waiting))
        start(closer);
}

static void start(struct closer *closer)
{
    list_splice(&closer->closing, &closer->waiting);
    closer->busy = true;
    if (uv_queue_work(closer->loop, &closer->work, on_work, on_done) < 0) {
        closer->busy = false;
        destroy_all(&closer->closing);
    }
}

void closer_take(struct closer *closer, struct fds *fds)
{
    list_remove(&fds->link);
    list_append(&closer->waiting, &fds->link);
    if (!closer->busy)
        start(closer);
}

void closer_take_fd(struct closer *closer, int fd)
{
    struct fds *fds = fds_new(&fd, 1);

    if (fds)
        closer_take(closer, fds);
    else
        close(fd);
}

void closer_release(struct fds *fds, void *userdata)
{
    closer_take(userdata, fds);
}
