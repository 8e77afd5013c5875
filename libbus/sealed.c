/* SPDX-License-Identifier: MIT */
#include "libbus/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "libbus/base/macros.h"

/* Linux 6.3; the C library may be older. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* Linux 6.5: how much of a range of a file is in memory, linux/mman.h. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

struct cache_range {
    uint64_t offset;
    uint64_t length; /* 0: to the end of what there is */
};

struct cache_count {
    uint64_t cached;
    uint64_t dirty;
    uint64_t writeback;
    uint64_t evicted;
    uint64_t recently_evicted;
};

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* st_blocks counts these, whatever the file system. */
#define BLOCK_SIZE 512

int memory_open(struct memory *memory)
{
    int fd = memfd_create("bus-body", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("bus-body", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    *memory = (struct memory){.fd = fd};
    return 0;
}

int memory_write(struct memory *memory, const void *data, size_t size)
{
    const char *from = data;

    while (size > 0) {
        ssize_t n = pwrite(memory->fd, from, size, (off_t)memory->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENOSPC;
        memory->size += (size_t)n;
        from += n;
        size -= (size_t)n;
    }
    return 0;
}

int memory_map(struct memory *memory, size_t capacity)
{
    int r;

    if (capacity > memory->size) {
        do {
            r = fallocate(memory->fd, 0, 0, (off_t)capacity);
        } while (r < 0 && errno == EINTR);
        if (r < 0)
            return -errno;
    }
    void *data = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd, 0);
    if (data == MAP_FAILED)
        return -errno;
    memory->data = data;
    memory->capacity = capacity;
    return 0;
}

static void memory_unmap(struct memory *memory)
{
    if (memory->data)
        munmap(memory->data, memory->capacity);
    memory->data = NULL;
}

int memory_seal(struct memory *memory, size_t size, int *ret_fd)
{
    size_t sealed;

    if (size == 0)
        return -EINVAL;
    /* While it is mapped for writing nobody can forbid that. */
    memory_unmap(memory);
    if (ftruncate(memory->fd, (off_t)size) < 0 || fcntl(memory->fd, F_ADD_SEALS, SEALS) < 0)
        return -errno;
    int r = sealed_check(memory->fd, &sealed);
    if (r < 0)
        return r;
    *ret_fd = TAKE_FD(memory->fd);
    return 0;
}

void memory_close(struct memory *memory)
{
    memory_unmap(memory);
    cleanup_close(&memory->fd);
    *memory = MEMORY_INIT;
}

/* The bytes that a file has beyond its end, where fallocate(2) can put pages that are
 * counted with the others; -1 where the kernel does not tell. */
static int64_t bytes_beyond(int fd, uint64_t end, uint64_t page)
{
    struct cache_range range = {end, 0};
    struct cache_count count = {0};

    if (syscall(SYS_cachestat, fd, &range, &count, 0) < 0)
        return -1;
    return (int64_t)((count.cached + count.evicted) * page);
}

/* Whether each page of the file is there. */
static bool is_complete(int fd, const struct stat *status)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t size = (uint64_t)status->st_size;
    uint64_t whole = (size + page - 1) / page * page;
    uint64_t allocated = (uint64_t)status->st_blocks * BLOCK_SIZE;

    int64_t beyond = bytes_beyond(fd, whole, page);
    if (beyond >= 0)
        return allocated >= whole + (uint64_t)beyond;
    /* This takes the longer the larger it is. */
    return (uint64_t)lseek(fd, 0, SEEK_HOLE) == size;
}

int sealed_check(int fd, size_t *ret_size)
{
    struct statfs filesystem;
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);

    if (seals < 0)
        return -EINVAL;
    if ((seals & SEALS) != SEALS)
        return -EPERM;
    /* Huge pages are from a pool that can be empty. */
    if (fstat(fd, &status) < 0 || fstatfs(fd, &filesystem) < 0 || filesystem.f_type != TMPFS_MAGIC)
        return -EINVAL;
    if (status.st_size <= 0 || (uint64_t)status.st_size > PTRDIFF_MAX || !is_complete(fd, &status))
        return -EINVAL;
    *ret_size = (size_t)status.st_size;
    return 0;
}

const char *sealed_text(struct sealed *sealed)
{
    if (!sealed->text && sealed->fd >= 0) {
        /* Private: before Linux 6.7 a shared mapping counts as one for writing. */
        void *data = mmap(NULL, sealed->size, PROT_READ, MAP_PRIVATE, sealed->fd, 0);
        if (data != MAP_FAILED)
            sealed->text = data;
    }
    return sealed->text;
}

void sealed_unmap(struct sealed *sealed)
{
    if (sealed->text)
        munmap((void *)(uintptr_t)sealed->text, sealed->size);
    sealed->text = NULL;
}
