/* SPDX-License-Identifier: MIT */
/*
 * A disk that fails and loses power. This program stands between SQLite and the kernel:
 * what is written goes to the file, which is what a process sees, and is remembered; only
 * when it is synced does it reach a second folder, which is what a power cut would leave.
 * As with a real kernel, a sync that fails says so once: what had been written until then
 * is never tried again and never reaches the disk, while reading still shows it.
 *
 * Whatever happens, each topic has on that disk its last acknowledged value or a newer
 * one.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "tests/support/random.h"
#include "tests/support/shelf.h"
#include "tests/support/unit.h"

#define EXPORT __attribute__((visibility("default")))

#define TOPICS 8
#define FILES  4

/* ------------------------------------------------------------------ disk */

/* Something that has been done to a file and has not reached the disk. */
struct deed {
    struct deed *next;
    off_t offset;
    size_t size;
    bool cuts; /* to the length `offset` */
    char data[];
};

static struct disk {
    const char *folder; /* whose files it has; NULL: it keeps out of it */
    char mirror[64];    /* where what has reached it lies */
    struct file {
        char name[64];
        struct deed *first;
        struct deed **last;
    } files[FILES];
    atomic_uint sync_errors; /* so many of the next ones fail */
    atomic_uint write_errors;
    unsigned syncs;
} disk;

/* The file of ours that it is; NULL: it is none. */
static struct file *file_of(int fd)
{
    char link[64], path[PATH_MAX];

    if (!disk.folder)
        return NULL;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof(path) - 1);
    path[MAX(size, 0)] = '\0';
    size_t folder = strlen(disk.folder);
    if (strncmp(path, disk.folder, folder) != 0 || path[folder] != '/')
        return NULL;
    const char *name = path + folder + 1;
    for (size_t i = 0; i < FILES; i++) {
        struct file *file = &disk.files[i];
        if (!file->name[0]) {
            snprintf(file->name, sizeof(file->name), "%s", name);
            file->last = &file->first;
        }
        if (strcmp(file->name, name) == 0)
            return file;
    }
    abort();
}

static void remember(struct file *file, off_t offset, const void *data, size_t size, bool cuts)
{
    struct deed *deed = malloc(sizeof(*deed) + size);

    if (!deed)
        abort();
    *deed = (struct deed){.offset = offset, .size = size, .cuts = cuts};
    if (size > 0)
        memcpy(deed->data, data, size);
    *file->last = deed;
    file->last = &deed->next;
}

/* Makes the disk have what has been done, or forget it. */
static void settle(struct file *file, bool lost)
{
    char path[160];
    struct deed *deed;

    snprintf(path, sizeof(path), "%s/%s", disk.mirror, file->name);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    while ((deed = file->first)) {
        file->first = deed->next;
        if (deed->cuts && syscall(SYS_ftruncate, fd, deed->offset) < 0)
            abort();
        if (!deed->cuts && !lost &&
            syscall(SYS_pwrite64, fd, deed->data, deed->size, deed->offset) < 0)
            abort();
        free(deed);
    }
    file->last = &file->first;
    close(fd);
}

EXPORT ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    struct file *file = file_of(fd);

    if (file && disk.write_errors > 0) {
        disk.write_errors--;
        errno = ENOSPC;
        return -1;
    }
    ssize_t n = syscall(SYS_pwrite64, fd, data, size, offset);
    if (file && n > 0)
        remember(file, offset, data, (size_t)n, false);
    return n;
}

EXPORT int ftruncate64(int fd, off_t size)
{
    struct file *file = file_of(fd);
    int r = (int)syscall(SYS_ftruncate, fd, size);

    if (file && r == 0)
        remember(file, size, NULL, 0, true);
    return r;
}

EXPORT int fdatasync(int fd)
{
    struct file *file = file_of(fd);
    bool fails = file && disk.sync_errors > 0;

    if (fails)
        disk.sync_errors--;
    if (file)
        settle(file, fails);
    disk.syncs += file != NULL;
    errno = EIO;
    return fails ? -1 : 0;
}

EXPORT int unlink(const char *path)
{
    char mirrored[160];

    if (disk.folder && strncmp(path, disk.folder, strlen(disk.folder)) == 0) {
        snprintf(mirrored, sizeof(mirrored), "%s%s", disk.mirror, strrchr(path, '/'));
        syscall(SYS_unlink, mirrored);
    }
    return (int)syscall(SYS_unlink, path);
}

static bool no_threads;

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument)
{
    static __typeof__(pthread_create) *next;

    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
    return no_threads ? EAGAIN : next(thread, attributes, run, argument);
}

/* A folder of its own for the disk; the store's files are on it from now on. */
static void insert_disk(const struct shelf *shelf)
{
    snprintf(disk.mirror, sizeof(disk.mirror), "%s/disk", shelf->above);
    assert_int_equal(mkdir(disk.mirror, 0700), 0);
    disk.folder = shelf->folder;
}

static int teardown(void **state)
{
    int r = shelf_teardown(state);

    for (size_t i = 0; i < FILES; i++)
        for (struct deed *deed; (deed = disk.files[i].first); free(deed))
            disk.files[i].first = deed->next;
    memset(&disk, 0, sizeof(disk));
    return r;
}

/* ------------------------------------------------------------------ view */

static void copy(const char *from, const char *to)
{
    char buffer[65536];
    ssize_t n;

    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return;
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(out >= 0);
    while ((n = read(in, buffer, sizeof(buffer))) > 0)
        assert_int_equal(write(out, buffer, (size_t)n), n);
    close(in);
    close(out);
}

static void remember_value(const struct database_value *value, void *userdata)
{
    unsigned *values = userdata;

    assert_true(value->topic.size == 1);
    values[value->topic.data[0] - 'a'] = (unsigned)atoi(value->value.data);
}

/* What a start after a power cut would find: the number of each topic's value. */
static void look_at_disk(struct shelf *shelf, unsigned values[TOPICS])
{
    char folder[64], from[160], to[160];
    struct database database;
    struct statedir dir;
    char reason[DATABASE_REASON_SIZE];

    memset(values, 0, TOPICS * sizeof(*values));
    snprintf(folder, sizeof(folder), "%s/after", shelf->above);
    mkdir(folder, 0700);
    for (size_t i = 0; i < FILES && disk.files[i].name[0]; i++) {
        snprintf(from, sizeof(from), "%s/%s", disk.mirror, disk.files[i].name);
        snprintf(to, sizeof(to), "%s/%s", folder, disk.files[i].name);
        unlink(to);
        copy(from, to);
    }
    const char *served = disk.folder;
    disk.folder = NULL;
    assert_int_equal(statedir_init(&dir, folder, false), 0);
    assert_int_equal(statedir_open(&dir, reason), 0);
    int r = database_open(&database, &dir, false, reason);
    CHECK(r == 0, "%s", database.reason);
    CHECK(reason[0] == '\0', "%s", reason);
    assert_int_equal(database_read(&database, 1, remember_value, values), 0);
    database_close(&database);
    statedir_deinit(&dir);
    disk.folder = served;
}

struct history {
    unsigned sent[TOPICS];
    unsigned acknowledged[TOPICS];
};

static void check_disk(struct shelf *shelf, const struct history *history)
{
    unsigned values[TOPICS];

    look_at_disk(shelf, values);
    for (size_t i = 0; i < TOPICS; i++)
        CHECK(values[i] >= history->acknowledged[i] && values[i] <= history->sent[i],
              "topic %zu: %u is on the disk, %u was acknowledged and %u sent", i, values[i],
              history->acknowledged[i], history->sent[i]);
}

/* Changes some topics; true if all of it was acknowledged. */
static bool change_some(struct shelf *shelf, struct random *random, struct history *history)
{
    struct shelf_ticket tickets[TOPICS];
    static char value[9001];
    bool all = true;

    unsigned chosen = 1 + (unsigned)random_below(random, 255);
    for (unsigned i = 0; i < TOPICS; i++) {
        char topic[] = {(char)('a' + i), '\0'};
        if (!(chosen >> i & 1))
            continue;
        int size = (int)random_below(random, 9) == 0 ? 9000 : 1 + (int)random_below(random, 200);
        snprintf(value, sizeof(value), "%-*u", size, ++history->sent[i]);
        assert_int_equal(shelf_put(shelf, topic, value, &tickets[i]), 0);
    }
    shelf_settle(shelf);
    for (unsigned i = 0; i < TOPICS; i++) {
        if (!(chosen >> i & 1))
            continue;
        assert_true(tickets[i].done);
        if (tickets[i].error == 0)
            history->acknowledged[i] = history->sent[i];
        else
            all = false;
    }
    return all;
}

/* ----------------------------------------------------------------- tests */

/* What is acknowledged has been synced. */
static void test_power_cuts(void **state)
{
    struct shelf *shelf = *state;
    struct history history = {{0}, {0}};
    struct random random = {.state = 1};

    insert_disk(shelf);
    assert_int_equal(shelf_open(shelf), 0);
    for (unsigned i = 0; i < 150; i++) {
        assert_true(change_some(shelf, &random, &history));
        check_disk(shelf, &history);
    }
    assert_true(disk.syncs >= 150);
    assert_string_equal(shelf_log(shelf), "");
}

/* A sync that has failed is not made good by the next one that succeeds, neither in this
 * process nor in the next. */
static void test_failing_syncs(void **state)
{
    struct shelf *shelf = *state;
    struct history history = {{0}, {0}};
    struct random random = {.state = 2};
    unsigned failures = 0;

    insert_disk(shelf);
    assert_int_equal(shelf_open(shelf), 0);
    assert_true(change_some(shelf, &random, &history));
    for (unsigned i = 0; i < 300; i++) {
        if (random_below(&random, 3) == 0)
            disk.sync_errors = 1 + (unsigned)random_below(&random, 3);
        failures += !change_some(shelf, &random, &history);
        check_disk(shelf, &history);
        if (random_below(&random, 10) == 0) {
            shelf_close(shelf);
            assert_int_equal(shelf_open(shelf), 0);
        }
    }
    assert_true(failures > 20);
    disk.sync_errors = 0;
    assert_true(change_some(shelf, &random, &history));
    check_disk(shelf, &history);
    const char *log = shelf_log(shelf);
    CHECK(strstr(log, "values do not reach the disk") && strstr(log, "Input/output error"), "%s",
          log);
    CHECK(strstr(log, "values reach the disk again"), "%s", log);
}

/* A full disk: errors while it is, and none of it is left of them. */
static void test_full(void **state)
{
    struct shelf *shelf = *state;
    struct history history = {{0}, {0}};
    struct random random = {.state = 3};
    struct shelf_ticket ticket;

    insert_disk(shelf);
    assert_int_equal(shelf_open(shelf), 0);
    for (unsigned i = 0; i < 100; i++) {
        assert_true(change_some(shelf, &random, &history));
        disk.write_errors = 100000;
        assert_false(change_some(shelf, &random, &history));
        assert_int_equal(shelf_put(shelf, "a", "0", &ticket), 0);
        shelf_expect(shelf, &ticket, -ENOSPC);
        disk.write_errors = (unsigned)random_below(&random, 4);
        change_some(shelf, &random, &history);
        check_disk(shelf, &history);
        disk.write_errors = 0;
    }
}

/* What fits is written, though it was to be one transaction with what does not. */
static void test_one_too_large(void **state)
{
    static const char *const topics[] = {"a", "b", "c", "d", "e"};
    struct shelf *shelf = *state;
    struct shelf_ticket tickets[5];
    char *large = calloc(1, (64u << 20) + 1);
    struct rlimit limit, before;

    memset(large, 'x', 64u << 20);
    assert_int_equal(shelf_open(shelf), 0);
    shelf_keep(shelf, "a", "0");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 32u << 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(shelf_put(shelf, topics[i], i == 3 ? large : "1", &tickets[i]), 0);
    shelf_settle(shelf);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(tickets[i].error, i == 3 ? -EFBIG : 0);
    free(large);
    shelf_expect_all(shelf, "a=1 b=1 c=1 e=1");
}

/* Without a thread nothing is written, and all are told; the next one tries again. */
static void test_no_thread(void **state)
{
    struct shelf *shelf = *state;
    struct shelf_ticket ticket;

    assert_int_equal(shelf_open(shelf), 0);
    no_threads = true;
    assert_int_equal(shelf_put(shelf, "a", "1", &ticket), 0);
    shelf_expect(shelf, &ticket, -EAGAIN);
    assert_non_null(strstr(shelf_log(shelf), "cannot start a thread"));
    no_threads = false;
    shelf_keep(shelf, "a", "2");
    shelf_expect_all(shelf, "a=2");
}

#define SHELF_TEST(test) cmocka_unit_test_setup_teardown(test, shelf_setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHELF_TEST(test_power_cuts),    SHELF_TEST(test_failing_syncs), SHELF_TEST(test_full),
        SHELF_TEST(test_one_too_large), SHELF_TEST(test_no_thread),
    };

    return cmocka_run_group_tests_name("store-power", tests, NULL, NULL);
}
