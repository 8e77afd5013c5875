/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "libbus/sealed.h"
#include "tests/support/unit.h"

#define ALL  (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define PAGE 4096

static int memfd_of(size_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    char data[PAGE];

    assert_true(fd >= 0);
    memset(data, 'x', sizeof(data));
    for (size_t done = 0; done < size; done += MIN(size - done, sizeof(data)))
        assert_true(write(fd, data, MIN(size - done, sizeof(data))) > 0);
    return fd;
}

/* Seals it so, and what is said of it then. */
static int check_sealed(int fd, int seals)
{
    size_t size = 0;

    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    int r = sealed_check(fd, &size);
    assert_true(r < 0 || size > 0);
    close(fd);
    return r;
}

static void test_written(void **state)
{
    struct memory memory = MEMORY_INIT;
    struct sealed sealed = {0};
    char text[10000];

    memset(text, 'a', sizeof(text));
    assert_int_equal(memory_open(&memory), 0);
    assert_int_equal(memory_write(&memory, text, sizeof(text)), 0);
    assert_int_equal(memory_write(&memory, "b", 1), 0);
    assert_int_equal(memory_seal(&memory, sizeof(text) + 1, &sealed.fd), 0);
    assert_int_equal(memory.fd, -1);
    memory_close(&memory);
    assert_int_equal(sealed_check(sealed.fd, &sealed.size), 0);
    assert_int_equal(sealed.size, sizeof(text) + 1);
    const char *mapped = sealed_text(&sealed);
    assert_ptr_equal(mapped, sealed_text(&sealed));
    assert_memory_equal(mapped, text, sizeof(text));
    assert_int_equal(mapped[sizeof(text)], 'b');
    sealed_unmap(&sealed);
    assert_null(sealed.text);

    /* Nobody changes it any more, and it is no program. */
    assert_int_equal(pwrite(sealed.fd, "c", 1, 0), -1);
    assert_int_equal(ftruncate(sealed.fd, 1), -1);
    assert_int_equal(ftruncate(sealed.fd, 20000), -1);
    assert_int_equal(fallocate(sealed.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), -1);
    assert_ptr_equal(mmap(NULL, 1, PROT_WRITE, MAP_SHARED, sealed.fd, 0), MAP_FAILED);
    assert_int_equal(fcntl(sealed.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(sealed.fd);
}

/* In place, and cut to what has been used. */
static void test_mapped(void **state)
{
    struct memory memory = MEMORY_INIT;
    struct sealed sealed = {0};

    assert_int_equal(memory_open(&memory), 0);
    assert_int_equal(memory_map(&memory, 10 * PAGE), 0);
    assert_int_equal(memory.capacity, 10 * PAGE);
    memset(memory.data, 'z', 2 * PAGE + 1);
    assert_int_equal(memory_seal(&memory, 0, &sealed.fd), -EINVAL);
    assert_int_equal(memory_seal(&memory, 2 * PAGE + 1, &sealed.fd), 0);
    assert_int_equal(sealed_check(sealed.fd, &sealed.size), 0);
    assert_int_equal(sealed.size, 2 * PAGE + 1);
    assert_int_equal(sealed_text(&sealed)[2 * PAGE], 'z');
    sealed_unmap(&sealed);
    close(sealed.fd);

    /* Somebody else still writes there. */
    assert_int_equal(memory_open(&memory), 0);
    assert_int_equal(memory_map(&memory, PAGE), 0);
    void *other = mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, memory.fd, 0);
    assert_ptr_not_equal(other, MAP_FAILED);
    assert_int_equal(memory_seal(&memory, PAGE, &sealed.fd), -EBUSY);
    munmap(other, PAGE);
    memory_close(&memory);
    memory_close(&memory);
}

/* Any seal that is missing is missed. */
static void test_seals(void **state)
{
    static const int seals[] = {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE};

    assert_int_equal(check_sealed(memfd_of(10), ALL), 0);
    assert_int_equal(check_sealed(memfd_of(10), 0), -EPERM);
    assert_int_equal(check_sealed(memfd_of(10), ALL & ~F_SEAL_SEAL), -EPERM);
    for (size_t i = 0; i < ARRAY_SIZE(seals); i++)
        assert_int_equal(check_sealed(memfd_of(10), ALL & ~seals[i]), -EPERM);
    assert_int_equal(check_sealed(memfd_of(10), (ALL & ~F_SEAL_WRITE) | F_SEAL_FUTURE_WRITE),
                     -EPERM);
}

/* What is no memfd. */
static void test_other_files(void **state)
{
    size_t size;
    int ends[2];

    assert_int_equal(sealed_check(-1, &size), -EINVAL);
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(sealed_check(fd, &size), -EINVAL);
    close(fd);
    fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) {
        assert_int_equal(write(fd, "1", 1), 1);
        assert_true(sealed_check(fd, &size) < 0);
        close(fd);
    }
    fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) {
        assert_int_equal(write(fd, "1", 1), 1);
        assert_true(sealed_check(fd, &size) < 0);
        close(fd);
    }
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(sealed_check(ends[0], &size), -EINVAL);
    close(ends[0]);
    close(ends[1]);
    /* From a pool of pages that may be empty when it is read. */
    fd = memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
    if (fd >= 0) {
        assert_int_equal(ftruncate(fd, 2 << 20), 0);
        assert_int_equal(check_sealed(fd, ALL), -EINVAL);
    }
}

/* Ten pages, of which there is a hole `at` so many bytes (0: none), with so many more beyond
 * the end. */
static int memfd_with(off_t at, off_t beyond)
{
    int fd = memfd_of(10 * PAGE);

    if (at > 0)
        assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, PAGE), 0);
    if (beyond > 0)
        assert_int_equal(fallocate(fd, FALLOC_FL_KEEP_SIZE, 10 * PAGE, beyond), 0);
    return fd;
}

/* Pages that are not there, however that is hidden. */
static void test_holes(void **state)
{
    int fd = memfd_of(0);

    assert_int_equal(check_sealed(fd, ALL), -EINVAL);
    fd = memfd_of(0);
    assert_int_equal(ftruncate(fd, 100 * PAGE), 0);
    assert_int_equal(check_sealed(fd, ALL), -EINVAL);
    assert_int_equal(check_sealed(memfd_with(5 * PAGE, 0), ALL), -EINVAL);

    /* As many of them lie beyond the end. */
    fd = memfd_with(5 * PAGE, 4 * PAGE);
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    assert_true(status.st_blocks * 512 >= 10 * PAGE);
    assert_int_equal(check_sealed(fd, ALL), -EINVAL);

    /* Beyond the end alone they do no harm. */
    assert_int_equal(check_sealed(memfd_with(0, 4 * PAGE), ALL), 0);
}

/* A kernel without cachestat(2). */
static bool take_cachestat_away(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 451, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {ARRAY_SIZE(rules), rules};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void test_old_kernel(void **state)
{
    int whole = memfd_with(0, 0), hole = memfd_with(5 * PAGE, 0);
    int hidden = memfd_with(5 * PAGE, 4 * PAGE);
    int status;
    size_t size;

    assert_int_equal(fcntl(whole, F_ADD_SEALS, ALL), 0);
    assert_int_equal(fcntl(hole, F_ADD_SEALS, ALL), 0);
    assert_int_equal(fcntl(hidden, F_ADD_SEALS, ALL), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(!take_cachestat_away()                   ? 77
              : sealed_check(whole, &size) != 0        ? 1
              : sealed_check(hole, &size) != -EINVAL   ? 2
              : sealed_check(hidden, &size) != -EINVAL ? 3
                                                       : 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(whole);
    close(hole);
    close(hidden);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

/* Sizes that no address space has. */
static void test_sizes(void **state)
{
    int fd = memfd_of(1);

    if (ftruncate(fd, INT64_MAX / PAGE * PAGE) == 0)
        assert_int_equal(check_sealed(fd, ALL), -EINVAL);
    else
        close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written), cmocka_unit_test(test_mapped),
        cmocka_unit_test(test_seals),   cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_holes),   cmocka_unit_test(test_old_kernel),
        cmocka_unit_test(test_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
