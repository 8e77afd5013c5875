/* SPDX-License-Identifier: MIT */
#include "busd/shares.h"

#include <errno.h>
#include <stdlib.h>

#include "libbus/base/macros.h"

/* What each takes in a queue: itself, and an item of the queue that it does not share. */
#define SHARE_BYTES (sizeof(struct share) + sizeof(struct outq_item))
/* Beyond this many, ended shares are freed. */
#define SPARE_MAX 4096

void shares_init(struct shares *shares, struct groups *groups)
{
    *shares = (struct shares){.groups = groups};
    list_init(&shares->strewn);
    list_init(&shares->spare);
}

void shares_deinit(struct shares *shares)
{
    LIST_FOREACH_SAFE (node, &shares->spare)
        free(LIST_ENTRY(node, struct share, link));
}

void share_holder_init(struct share_holder *holder, struct shares *shares)
{
    *holder = (struct share_holder){.shares = shares};
    list_init(&holder->link);
    list_init(&holder->queued);
    list_init(&holder->strewn);
}

static struct share *share_new(struct shares *shares)
{
    struct list *spare = list_first(&shares->spare);

    if (!spare)
        return malloc(sizeof(struct share));
    list_remove(spare);
    shares->spare_count--;
    return LIST_ENTRY(spare, struct share, link);
}

void share_free(struct shares *shares, struct share *share)
{
    share->group = groups_put(shares->groups, share->group);
    chunk_unref(share->piece.chunk);
    fds_unref(share->piece.fds);
    if (shares->spare_count >= SPARE_MAX) {
        free(share);
        return;
    }
    list_init(&share->link);
    list_append(&shares->spare, &share->link);
    shares->spare_count++;
}

/* Somebody else shall have it who can. */
static void strew(struct share *share, const struct piece *piece)
{
    struct share_holder *holder = share->holder;

    share->piece = *piece;
    chunk_ref(piece->chunk);
    fds_ref(piece->fds);
    list_append(&holder->strewn, &share->link);
    if (list_is_empty(&holder->link))
        list_append(&holder->shares->strewn, &holder->link);
}

static void share_ended(struct outq_mark *mark, enum outq_end end, const struct piece *piece)
{
    struct share *share = CONTAINER_OF(mark, struct share, mark);

    list_remove(&share->link);
    share->holder->bytes -= SHARE_BYTES;
    /* What the kernel has refused for one it would refuse for all. */
    if (end == OUTQ_WRITTEN || end == OUTQ_REFUSED)
        share_free(share->holder->shares, share);
    else
        strew(share, piece);
}

int share_append(struct share_holder *holder, struct outq *outq, struct outq_pool *pool,
                 const struct piece *piece, struct group *group, uint64_t filter)
{
    struct share *share = share_new(holder->shares);

    if (!share)
        return -ENOMEM;
    *share = (struct share){
        .mark.ended = share_ended, .holder = holder, .group = group_ref(group), .filter = filter};
    list_init(&share->link);
    int r = outq_append_marked(outq, pool, piece, &share->mark);
    if (r < 0) {
        share_free(holder->shares, share);
        return r;
    }
    list_append(&holder->queued, &share->link);
    holder->bytes += SHARE_BYTES;
    return 0;
}

struct share *share_take(struct share_holder *holder, struct outq *outq, struct outq_pool *pool,
                         bool strewn)
{
    struct list *node = list_first(&holder->strewn);
    bool is_strewn = node != NULL;

    if (!node && !strewn)
        node = list_first(&holder->queued);
    if (!node)
        return NULL;
    struct share *share = LIST_ENTRY(node, struct share, link);
    list_remove(node);
    if (!is_strewn) {
        holder->bytes -= SHARE_BYTES;
        outq_take(outq, pool, &share->mark, &share->piece);
    }
    if (list_is_empty(&holder->strewn))
        list_remove(&holder->link);
    return share;
}
