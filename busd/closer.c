/* SPDX-License-Identifier: MIT */
#include "busd/closer.h"

#include <signal.h>
#include <unistd.h>

/* It closes and frees, and needs next to no stack for that. */
#define STACK_SIZE (256u * 1024)

void closer_init(struct closer *closer)
{
    *closer = (struct closer){0};
    pthread_mutex_init(&closer->mutex, NULL);
    pthread_cond_init(&closer->changed, NULL);
    list_init(&closer->waiting);
}

static void destroy_all(struct list *list)
{
    LIST_FOREACH_SAFE (node, list) {
        list_remove(node);
        fds_destroy(LIST_ENTRY(node, struct fds, link));
    }
}

static void *run(void *userdata)
{
    struct closer *closer = userdata;
    struct list closing;
    bool leaving;

    list_init(&closing);
    pthread_mutex_lock(&closer->mutex);
    closer->ready = true;
    pthread_cond_broadcast(&closer->changed);
    pthread_mutex_unlock(&closer->mutex);
    do {
        pthread_mutex_lock(&closer->mutex);
        while (list_is_empty(&closer->waiting) && !closer->leaving)
            pthread_cond_wait(&closer->changed, &closer->mutex);
        list_splice(&closing, &closer->waiting);
        leaving = closer->leaving;
        pthread_mutex_unlock(&closer->mutex);
        destroy_all(&closing);
    } while (!leaving);
    return NULL;
}

/* Signals are the loop's. */
int closer_start(struct closer *closer)
{
    pthread_attr_t attributes;
    sigset_t all, before;

    if (closer->running)
        return 0;
    int r = pthread_attr_init(&attributes);
    if (r != 0)
        return -r;
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&closer->thread, &attributes, run, closer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (r != 0)
        return -r;
    closer->running = true;
    pthread_mutex_lock(&closer->mutex);
    while (!closer->ready)
        pthread_cond_wait(&closer->changed, &closer->mutex);
    pthread_mutex_unlock(&closer->mutex);
    return 0;
}

void closer_deinit(struct closer *closer)
{
    if (closer->running) {
        pthread_mutex_lock(&closer->mutex);
        closer->leaving = true;
        pthread_cond_signal(&closer->changed);
        pthread_mutex_unlock(&closer->mutex);
        pthread_join(closer->thread, NULL);
    }
    pthread_cond_destroy(&closer->changed);
    pthread_mutex_destroy(&closer->mutex);
}

void closer_take(struct closer *closer, struct fds *fds)
{
    list_remove(&fds->link);
    if (closer_start(closer) < 0) {
        fds_destroy(fds);
        return;
    }
    pthread_mutex_lock(&closer->mutex);
    list_append(&closer->waiting, &fds->link);
    pthread_cond_signal(&closer->changed);
    pthread_mutex_unlock(&closer->mutex);
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
