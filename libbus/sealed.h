/* SPDX-License-Identifier: MIT */
/*
 * Text in sealed memory: a memfd that can be mapped by whoever gets it, and that nobody
 * can change, cut or lengthen any more. Pure: it knows files and mappings, no messages.
 *
 * A `struct memory` is one that is being written. It grows by write(2) and fallocate(2),
 * which fail where a mapping would raise SIGBUS when there is no memory.
 *
 * What others hand in is checked before it is mapped, in a time that does not depend on
 * its size. Besides the seals, which only a memfd can have, none of its pages may be
 * missing: one that has never been written would be made when it is read first, out of
 * the reader's memory, with SIGBUS if there is none.
 */
#ifndef LIBBUS_SEALED_H
#define LIBBUS_SEALED_H

#include <stddef.h>

struct memory {
    int fd;     /* -1: none */
    char *data; /* mapped; NULL: not */
    size_t capacity;
    size_t size; /* written by memory_write() */
};

#define MEMORY_INIT ((struct memory){.fd = -1})

/* A new one, empty. 0 or -errno. */
int memory_open(struct memory *memory);

/* Appends. 0 or -errno. */
int memory_write(struct memory *memory, const void *data, size_t size);

/* Maps the first `capacity` bytes (more than 0), made where there are none yet, for
 * reading and writing at memory->data. 0 or -errno. */
int memory_map(struct memory *memory, size_t capacity);

/* Unmaps and cuts it to `size` bytes, all written, and seals it; *ret_fd is the
 * caller's, the memory is empty then. 0, -EINVAL (no bytes, or some of them were never
 * written) or another -errno with nothing changed but the mapping. */
int memory_seal(struct memory *memory, size_t size, int *ret_fd);

/* Lets go of it. Does nothing to one that is empty. */
void memory_close(struct memory *memory);

/* Sealed memory in hand. */
struct sealed {
    int fd;
    size_t size;      /* 0: there is none */
    const char *text; /* mapped; NULL: not yet */
};

/* Whether the fd is sealed memory as this file makes it, with at least one byte. 0 with
 * its size, -EPERM (seals are missing), -EINVAL (anything else that is wrong). */
int sealed_check(int fd, size_t *ret_size);

/* Its text, mapped at the first use; what sealed_check() has found right. NULL: no
 * memory. */
const char *sealed_text(struct sealed *sealed);

void sealed_unmap(struct sealed *sealed);

#endif
