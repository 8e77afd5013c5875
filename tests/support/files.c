/* SPDX-License-Identifier: MIT */
#include "tests/support/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/unit.h"

void files_open(int *fd, unsigned count, unsigned first)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned number = first + i;
        fd[i] = memfd_create("numbered", MFD_CLOEXEC);
        assert_true(fd[i] >= 0);
        assert_int_equal(pwrite(fd[i], &number, sizeof(number), 0), sizeof(number));
    }
}

void files_close(const int *fd, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        close(fd[i]);
}

void files_expect(const int *fd, unsigned count, unsigned first)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned number = 0;
        CHECK(pread(fd[i], &number, sizeof(number), 0) == sizeof(number), "file %u is none of ours",
              i);
        CHECK(number == first + i, "file %u is number %u instead of %u", i, number, first + i);
    }
    files_close(fd, count);
}
