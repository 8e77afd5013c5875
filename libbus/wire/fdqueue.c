/* SPDX-License-Identifier: MIT */
#include "libbus/wire/fdqueue.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct fds *allocate(unsigned capacity)
{
    struct fds *fds = malloc(sizeof(*fds) + capacity * sizeof(*fds->fd));

    if (fds) {
        *fds = (struct fds){.refs = 1};
        list_init(&fds->link);
    }
    return fds;
}

struct fds *fds_new(const int *fd, unsigned count)
{
    struct fds *fds = allocate(count);

    if (fds && count > 0)
        memcpy(fds->fd, fd, count * sizeof(*fd));
    if (fds)
        fds->count = count;
    return fds;
}

struct fds *fds_new_room(void)
{
    return allocate(FDS_MAX);
}

struct fds *fds_ref(struct fds *fds)
{
    if (fds)
        fds->refs++;
    return fds;
}

void fds_destroy(struct fds *fds)
{
    for (unsigned i = 0; i < fds->count; i++)
        if (fds->fd[i] >= 0)
            close(fds->fd[i]);
    free(fds);
}

struct fds *fds_unref(struct fds *fds)
{
    if (!fds || --fds->refs > 0)
        return NULL;
    if (fds->release)
        fds->release(fds, fds->userdata);
    else
        fds_destroy(fds);
    return NULL;
}

void fdqueue_init(struct fdqueue *queue)
{
    list_init(&queue->batches);
}

void fdqueue_deinit(struct fdqueue *queue)
{
    LIST_FOREACH_SAFE (node, &queue->batches) {
        list_remove(node);
        fds_unref(LIST_ENTRY(node, struct fds, link));
    }
}

void fdqueue_push(struct fdqueue *queue, struct fds *fds)
{
    list_append(&queue->batches, &fds->link);
}

enum fdqueue_result fdqueue_take(struct fdqueue *queue, const struct line *line, unsigned count,
                                 struct fds **ret_fds)
{
    struct fds *fds = LIST_ENTRY(list_first(&queue->batches), struct fds, link);

    /* A batch whose read ended before this line began was some earlier line's,
     * and none has claimed it. */
    if (fds && fds->end <= line->start)
        return FDQUEUE_MISMATCH;
    if (count == 0) {
        /* The read that brought the batch ended with this line or inside it: no
         * later line can claim it. */
        if (fds && fds->end <= line->end)
            return FDQUEUE_MISMATCH;
        *ret_fds = NULL;
        return FDQUEUE_OK;
    }
    if (!fds)
        return FDQUEUE_MISMATCH;
    if (fds->truncated) {
        list_remove(&fds->link);
        fds_unref(fds);
        return FDQUEUE_TRUNCATED;
    }
    if (fds->count != count)
        return FDQUEUE_MISMATCH;
    list_remove(&fds->link);
    *ret_fds = fds;
    return FDQUEUE_OK;
}

unsigned fdqueue_count(const struct fdqueue *queue)
{
    unsigned count = 0;

    LIST_FOREACH (node, &queue->batches)
        count += LIST_ENTRY(node, struct fds, link)->count;
    return count;
}

void fdqueue_truncate(struct fdqueue *queue)
{
    struct list kept;

    list_init(&kept);
    LIST_FOREACH_SAFE (node, &queue->batches) {
        struct fds *fds = LIST_ENTRY(node, struct fds, link);
        struct fds *mark = fds_new(NULL, 0);
        list_remove(node);
        /* Without the mark the line is out of step, and its connection ends. */
        if (mark) {
            mark->truncated = true;
            mark->end = fds->end;
            list_append(&kept, &mark->link);
        }
        fds_unref(fds);
    }
    list_splice(&queue->batches, &kept);
}

void fdqueue_skip(struct fdqueue *queue, const struct line *line)
{
    LIST_FOREACH_SAFE (node, &queue->batches) {
        struct fds *fds = LIST_ENTRY(node, struct fds, link);
        if (fds->end > line->end)
            break;
        list_remove(node);
        fds_unref(fds);
    }
}
