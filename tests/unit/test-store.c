/* SPDX-License-Identifier: MIT */
/*
 * Values on the disk, without a bus: that they are there again, that of several only the
 * newest is, what a damaged database or a wrong folder leads to, and who pays.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "tests/support/process.h"
#include "tests/support/shelf.h"
#include "tests/support/unit.h"

#define OTHER_UID 4242

/* ---------------------------------------------------------------- values */

static void test_values(void **state)
{
    struct shelf *shelf = *state;

    assert_int_equal(shelf_open(shelf), 0);
    shelf_keep(shelf, "a", "1");
    shelf_keep(shelf, "a.b", "2");
    shelf_keep(shelf, "a", "3");
    shelf_expect_all(shelf, "a.b=2 a=3");
    shelf_keep(shelf, "a", NULL);
    shelf_keep(shelf, "never.there", NULL);
    shelf_expect_all(shelf, "a.b=2");
    assert_string_equal(shelf_log(shelf), "");
}

/* Nothing is made for a bus that keeps nothing. */
static void test_lazy(void **state)
{
    struct shelf *shelf = *state;

    assert_int_equal(shelf_open(shelf), 0);
    assert_false(store_turn(&shelf->store, 1));
    assert_false(store_is_busy(&shelf->store));
    assert_false(shelf->store.running);
    assert_int_equal(access(shelf->folder, F_OK), -1);
    shelf_close(shelf);
    assert_int_equal(shelf_open_sealed(shelf), 0);
    assert_true(shelf->store.running);
    assert_non_null(shelf->store.database.handle);
    shelf_keep(shelf, "a", "1");
    shelf_expect_all(shelf, "a=1");
}

static void test_without_a_folder(void **state)
{
    struct shelf *shelf = *state;
    struct statedir dir;

    assert_int_equal(shelf_open(shelf), 0);
    assert_true(store_is_there(&shelf->store));
    shelf_close(shelf);
    store_init(&shelf->store, &shelf->log, &shelf->quotas, NULL, NULL);
    assert_int_equal(statedir_init(&dir, NULL, false), 0);
    assert_int_equal(store_open(&shelf->store, &dir, true), 0);
    assert_false(store_is_there(&shelf->store));
    assert_false(shelf->store.running);
    store_deinit(&shelf->store, 0);
}

/* While one batch is written, of the next one only the newest of each topic stays; all
 * who waited for the others are told, too. */
static void test_conflation(void **state)
{
    struct shelf *shelf = *state;
    struct shelf_ticket tickets[100], first;
    char value[16];

    assert_int_equal(shelf_open(shelf), 0);
    assert_int_equal(shelf_put(shelf, "a", "first", &first), 0);
    store_turn(&shelf->store, 1);
    for (unsigned i = 0; i < ARRAY_SIZE(tickets); i++) {
        snprintf(value, sizeof(value), "%u", i);
        assert_int_equal(shelf_put(shelf, i % 2 ? "a" : "b", value, &tickets[i]), 0);
    }
    assert_int_equal(shelf->store.gathered->count, 2);
    assert_int_equal(shelf->user->used[QUOTA_UNSTORED],
                     101 * STORE_WAITER_BYTES + 3 * STORE_CHANGE_BYTES + 5 + 2 + 2);
    shelf_settle(shelf);
    assert_true(first.done && first.error == 0);
    for (unsigned i = 0; i < ARRAY_SIZE(tickets); i++)
        assert_true(tickets[i].done && tickets[i].error == 0);
    assert_int_equal(shelf->user->used[QUOTA_UNSTORED], 0);
    shelf_expect_all(shelf, "a=99 b=98");
}

/* A removal takes the place of a value that has not been written, and the other way. */
static void test_removal_conflates(void **state)
{
    struct shelf *shelf = *state;
    struct shelf_ticket put, removed, again;

    assert_int_equal(shelf_open(shelf), 0);
    shelf_keep(shelf, "b", "old");
    assert_int_equal(shelf_put(shelf, "a", "1", &put), 0);
    assert_int_equal(shelf_put(shelf, "a", NULL, &removed), 0);
    assert_int_equal(shelf_put(shelf, "b", NULL, NULL), 0);
    assert_int_equal(shelf_put(shelf, "b", "new", &again), 0);
    assert_int_equal(shelf->store.gathered->count, 2);
    shelf_settle(shelf);
    assert_true(put.done && removed.done && again.done);
    shelf_expect_all(shelf, "b=new");
}

/* Waiting for a topic of which nothing waits to be written is to have it removed. */
static void test_await_removes(void **state)
{
    struct shelf *shelf = *state;
    struct shelf_ticket ticket;

    assert_int_equal(shelf_open(shelf), 0);
    shelf_keep(shelf, "a", "1");
    shelf_keep(shelf, "b", "2");
    shelf_ticket_init(&ticket);
    assert_int_equal(store_admit(&shelf->store, shelf->user, SPAN("a"), 0, &ticket.waiter), 0);
    assert_int_equal(store_await(&shelf->store, SPAN("a"), &ticket.waiter), 0);
    shelf_expect(shelf, &ticket, 0);
    shelf_expect_all(shelf, "b=2");
}

/* Whoever does not want to be told any more is not, and pays no more. */
static void test_forget(void **state)
{
    struct shelf *shelf = *state;
    struct shelf_ticket ticket;

    assert_int_equal(shelf_open(shelf), 0);
    assert_int_equal(shelf_put(shelf, "a", "1", &ticket), 0);
    store_forget(&ticket.waiter);
    store_forget(&ticket.waiter);
    assert_int_equal(shelf->user->used[QUOTA_UNSTORED], STORE_CHANGE_BYTES + 1);
    shelf_settle(shelf);
    assert_false(ticket.done);
    shelf_expect_all(shelf, "a=1");
}

static void test_limit(void **state)
{
    struct shelf *shelf = *state;
    struct shelf_ticket tickets[4], ticket;
    char value[1025];

    memset(value, 'v', sizeof(value) - 1);
    value[1024] = '\0';
    shelf->limits.unstored_bytes_per_user = 3 * 1600;
    assert_int_equal(shelf_open(shelf), 0);
    assert_int_equal(shelf_put(shelf, "a", value, &tickets[0]), 0);
    assert_int_equal(shelf_put(shelf, "b", value, &tickets[1]), 0);
    assert_int_equal(shelf_put(shelf, "c", value, &tickets[2]), 0);
    assert_int_equal(shelf_put(shelf, "d", value, &ticket), WIRE_LIMIT_EXCEEDED);
    /* In the place of one of the same user there is room, and for a removal. */
    assert_int_equal(shelf_put(shelf, "c", value, &ticket), 0);
    assert_int_equal(shelf_put(shelf, "d", NULL, &tickets[3]), 0);
    shelf_settle(shelf);
    assert_true(ticket.done);
    for (size_t i = 0; i < ARRAY_SIZE(tickets); i++)
        assert_true(tickets[i].done && tickets[i].error == 0);
    assert_int_equal(shelf->user->used[QUOTA_UNSTORED], 0);
    assert_int_equal(shelf_put(shelf, "d", value, &ticket), 0);
    shelf_settle(shelf);
}

static void path_of(const struct shelf *shelf, char path[96])
{
    snprintf(path, 96, "%s/" DATABASE_NAME, shelf->folder);
}

/* What a stranger does to the database while nobody has it; the number of rows then. */
static int alter(const char *path, const char *text)
{
    sqlite3_stmt *statement;
    sqlite3 *handle;
    int count = -1;

    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, text, NULL, NULL, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(handle, "SELECT count(*) FROM retained", -1, &statement, NULL) ==
        SQLITE_OK) {
        assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
        count = sqlite3_column_int(statement, 0);
        sqlite3_finalize(statement);
    }
    sqlite3_close(handle);
    return count;
}

/* What has expired is not shown, and not only passed over: it is removed at the next start
 * and with the next change. */
static void test_expiry(void **state)
{
    struct shelf *shelf = *state;
    uint64_t now = (uint64_t)time(NULL) * 1000;
    struct shelf_ticket ticket;
    char path[96];

    path_of(shelf, path);
    assert_int_equal(shelf_open(shelf), 0);
    assert_int_equal(shelf_put_until(shelf, "soon", "1", now + 3600000, NULL), 0);
    assert_int_equal(shelf_put_until(shelf, "past", "2", now - 1000, NULL), 0);
    assert_int_equal(shelf_put_until(shelf, "future", "3", now + 7200000, &ticket), 0);
    shelf_expect(shelf, &ticket, 0);
    shelf_close(shelf);
    assert_int_equal(alter(path, ""), 2);
    alter(path, "UPDATE retained SET expiry=5 WHERE topic='soon'");
    shelf_expect_all(shelf, "future=3");
    shelf_close(shelf);
    assert_int_equal(alter(path, "UPDATE retained SET expiry=5"), 1);
    assert_int_equal(shelf_open(shelf), 0);
    shelf_keep(shelf, "a", "1");
    shelf_close(shelf);
    assert_int_equal(alter(path, ""), 1);
}

/* What waits is written before the end. */
static void test_end(void **state)
{
    struct shelf *shelf = *state;
    struct shelf_ticket taken, late;

    assert_int_equal(shelf_open(shelf), 0);
    assert_int_equal(shelf_put(shelf, "a", "1", &taken), 0);
    store_turn(&shelf->store, 1);
    assert_int_equal(shelf_put(shelf, "b", "2", &late), 0);
    shelf_close(shelf);
    assert_true(taken.done && late.done);
    assert_int_equal(taken.error, 0);
    assert_int_equal(late.error, -ESHUTDOWN);
    shelf_expect_all(shelf, "a=1");
}

static void test_many(void **state)
{
    struct shelf *shelf = *state;
    char topic[32], *value = calloc(1, 100001);

    memset(value, 'x', 100000);
    assert_int_equal(shelf_open(shelf), 0);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 1000; i++) {
            snprintf(topic, sizeof(topic), "t.%u", i);
            value[100000] = '\0';
            assert_int_equal(shelf_put(shelf, topic, i % 100 ? "small" : value, NULL), 0);
        }
        shelf_settle(shelf);
    }
    shelf_close(shelf);
    assert_int_equal(shelf_open(shelf), 0);
    char *all = shelf_read_all(shelf);
    assert_int_equal(strlen(all),
                     1000 * strlen("t.=") + 10 + 90 * 2 + 900 * 3 + 990 * 5 + 10 * 100000 + 999);
    free(all);
    free(value);
}

/* ---------------------------------------------------------------- memory */

/* SQLite without memory, from too little for anything on: what is acknowledged is there, and
 * all is well again when there is enough. */
static void test_no_memory(void **state)
{
    struct shelf *shelf = *state;
    struct shelf_ticket large, small;
    char value[20001], number[16], expected[64];
    unsigned kept = 0, failed = 0;

    memset(value, 'v', sizeof(value) - 1);
    value[20000] = '\0';
    assert_int_equal(shelf_open(shelf), 0);
    shelf_keep(shelf, "kept", "0");
    for (unsigned i = 1; i <= 60; i++) {
        shelf_close(shelf);
        sqlite3_hard_heap_limit64(4096 * i);
        assert_int_equal(shelf_open(shelf), 0);
        snprintf(number, sizeof(number), "%u", i);
        assert_int_equal(shelf_put(shelf, "kept", number, &small), 0);
        assert_int_equal(shelf_put(shelf, "large", value, &large), 0);
        shelf_settle(shelf);
        assert_true(small.done && large.done);
        CHECK(small.error == 0 || small.error == -ENOMEM, "%s", strerror(-small.error));
        kept = small.error == 0 ? i : kept;
        failed += small.error != 0;
        shelf_close(shelf);
        sqlite3_hard_heap_limit64(0);
        assert_int_equal(shelf_open(shelf), 0);
        shelf_keep(shelf, "large", NULL);
        snprintf(expected, sizeof(expected), "kept=%u", kept);
        shelf_expect_all(shelf, expected);
    }
    CHECK(failed > 3 && failed < 57, "%u of 60 failed", failed);
    assert_int_equal(shelf_files(shelf, DATABASE_NAME ".damaged"), 0);
}

/* ---------------------------------------------------------------- damage */

static void break_with_text(const char *path)
{
    FILE *file = fopen(path, "w");
    fputs("this is no database, whatever its name says, and longer than a header is: "
          "0123456789012345678901234567890123456789012345678901234567890123456789\n",
          file);
    fclose(file);
}

static void break_with_noise(const char *path)
{
    int fd = open(path, O_RDWR);
    struct stat status;
    unsigned seed = 7;

    fstat(fd, &status);
    for (off_t at = 0; at < status.st_size; at++) {
        seed = seed * 1103515245 + 12345;
        char byte = (char)(seed >> 16);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
}

/* The header is right, the rest is not. */
static void break_pages(const char *path)
{
    int fd = open(path, O_RDWR);
    struct stat status;

    fstat(fd, &status);
    for (off_t at = 4096; at < status.st_size; at += 512)
        assert_int_equal(pwrite(fd, "\xff\xfe\xfd\xfc\xfb\xfa", 6, at), 6);
    close(fd);
}

static void break_by_cutting(const char *path)
{
    struct stat status;

    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(truncate(path, status.st_size / 2 + 100), 0);
}

static void break_table(const char *path)
{
    alter(path, "DROP TABLE retained;"
                "CREATE TABLE retained(topic TEXT PRIMARY KEY, body TEXT)");
}

static void break_version(const char *path)
{
    alter(path, "PRAGMA user_version=2");
}

/* A trigger would be somebody else's word about what happens here. */
static void break_with_trigger(const char *path)
{
    alter(path, "CREATE TRIGGER t AFTER INSERT ON retained BEGIN"
                " DELETE FROM retained; END");
}

static void break_to_folder(const char *path)
{
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void break_to_link(const char *path)
{
    unlink(path);
    assert_int_equal(symlink("/etc/passwd", path), 0);
}

static void break_to_fifo(const char *path)
{
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
}

static void test_damage(void **state)
{
    static void (*const deeds[])(const char *path) = {
        break_with_text, break_with_noise,   break_pages,     break_by_cutting, break_table,
        break_version,   break_with_trigger, break_to_folder, break_to_link,    break_to_fifo,
    };
    struct shelf *shelf = *state;
    char path[96], value[3001];

    memset(value, 'v', 3000);
    value[3000] = '\0';
    path_of(shelf, path);
    for (unsigned i = 0; i < ARRAY_SIZE(deeds); i++) {
        assert_int_equal(shelf_open(shelf), 0);
        for (char topic[] = "a"; *topic <= 'z'; (*topic)++)
            shelf_put(shelf, topic, value, NULL);
        shelf_settle(shelf);
        shelf_close(shelf);
        assert_string_equal(shelf_log(shelf), "");
        deeds[i](path);
        assert_int_equal(shelf_open(shelf), 0);
        char *all = shelf_read_all(shelf);
        CHECK(strcmp(all, "") == 0, "damage %u: %.80s", i, all);
        free(all);
        const char *log = shelf_log(shelf);
        CHECK(strstr(log, "it is now ") && strstr(log, "damaged-2"), "damage %u: %s", i, log);
        CHECK(strchr(log, '\n') == strrchr(log, '\n'), "damage %u: %s", i, log);
        assert_int_equal(shelf_files(shelf, DATABASE_NAME ".damaged-") > i, 1);
        shelf_keep(shelf, "a", "1");
        shelf_expect_all(shelf, "a=1");
        shelf_keep(shelf, "a", NULL);
        shelf_close(shelf);
    }
}

/* What is no damage: a start that was broken off, and nothing. */
static void test_no_damage(void **state)
{
    struct shelf *shelf = *state;
    char path[96];

    assert_int_equal(mkdir(shelf->folder, 0700), 0);
    path_of(shelf, path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    shelf_expect_all(shelf, "");
    shelf_keep(shelf, "a", "1");
    shelf_close(shelf);
    assert_int_equal(unlink(path), 0);
    alter(path, "PRAGMA journal_mode=WAL");
    shelf_expect_all(shelf, "");
    shelf_keep(shelf, "a", "2");
    shelf_expect_all(shelf, "a=2");
    assert_string_equal(shelf_log(shelf), "");
}

/* ---------------------------------------------------------------- folder */

static void expect_failure(struct shelf *shelf, const char *words)
{
    struct shelf_ticket ticket;
    int r = shelf_open(shelf);

    if (r == 0) {
        assert_int_equal(shelf_put(shelf, "a", "1", &ticket), 0);
        shelf_settle(shelf);
        assert_true(ticket.done);
        CHECK(ticket.error < 0, "%s: it is there", words);
    }
    const char *log = shelf_log(shelf);
    CHECK(strstr(log, words), "'%s' is not in: %s", words, log);
    shelf_close(shelf);
}

static void test_folder(void **state)
{
    struct shelf *shelf = *state;
    char other[64];

    snprintf(other, sizeof(other), "%s/other", shelf->above);
    assert_int_equal(mkdir(other, 0700), 0);
    assert_int_equal(symlink(other, shelf->folder), 0);
    expect_failure(shelf, "it is a symbolic link");
    unlink(shelf->folder);
    close(open(shelf->folder, O_CREAT | O_WRONLY, 0600));
    expect_failure(shelf, "it is no folder");
    unlink(shelf->folder);
    assert_int_equal(mkdir(shelf->folder, 0700), 0);
    chmod(shelf->folder, 0750);
    expect_failure(shelf, "chmod go-rwx");
    chmod(shelf->folder, 0700);
    if (geteuid() == 0) {
        assert_int_equal(chown(shelf->folder, OTHER_UID, (gid_t)-1), 0);
        expect_failure(shelf, "another user (uid 4242)");
        assert_int_equal(chown(shelf->folder, 0, (gid_t)-1), 0);
    }
    shelf_expect_all(shelf, "");
    shelf_keep(shelf, "a", "1");
    shelf_expect_all(shelf, "a=1");
}

static void test_missing_parent(void **state)
{
    struct shelf *shelf = *state;
    char folder[64];

    memcpy(folder, shelf->folder, sizeof(folder));
    snprintf(shelf->folder, sizeof(shelf->folder), "%s/not/there", shelf->above);
    expect_failure(shelf, "create that first");
    struct statedir dir;
    assert_int_equal(statedir_init(&dir, shelf->folder, false), 0);
    assert_int_equal(statedir_prepare(&dir, (uid_t)-1, (gid_t)-1, &shelf->log), -ENOENT);
    assert_non_null(strstr(shelf_log(shelf), "create that first"));
    statedir_deinit(&dir);

    char reason[STATEDIR_REASON_SIZE];
    assert_int_equal(statedir_init(&dir, shelf->folder, true), 0);
    assert_int_equal(statedir_prepare(&dir, (uid_t)-1, (gid_t)-1, &shelf->log), 0);
    assert_int_equal(access(shelf->folder, F_OK), -1);
    assert_int_equal(statedir_open(&dir, reason), 0);
    struct stat status;
    assert_int_equal(stat(shelf->folder, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    statedir_deinit(&dir);
    memcpy(shelf->folder, folder, sizeof(folder));
}

/* For somebody else: made and given, or taken from root. */
static void test_given(void **state)
{
    struct shelf *shelf = *state;
    struct statedir dir;
    struct stat status;

    if (geteuid() != 0)
        skip();
    assert_int_equal(statedir_init(&dir, shelf->folder, false), 0);
    assert_int_equal(statedir_prepare(&dir, OTHER_UID, OTHER_UID, &shelf->log), 0);
    assert_int_equal(stat(shelf->folder, &status), 0);
    assert_int_equal(status.st_uid, OTHER_UID);
    assert_int_equal(status.st_gid, OTHER_UID);
    assert_int_equal(status.st_mode & 0777, 0700);
    char path[96], outside[96];
    assert_int_equal(chown(shelf->folder, 0, 0), 0);
    path_of(shelf, path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    snprintf(outside, sizeof(outside), "%s/outside", shelf->above);
    close(open(outside, O_CREAT | O_WRONLY, 0600));
    snprintf(path, sizeof(path), "%s/link", shelf->folder);
    assert_int_equal(symlink(outside, path), 0);
    assert_int_equal(statedir_prepare(&dir, OTHER_UID, OTHER_UID, &shelf->log), 0);
    assert_int_equal(stat(shelf->folder, &status), 0);
    assert_int_equal(status.st_uid, OTHER_UID);
    path_of(shelf, path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_uid, OTHER_UID);
    assert_int_equal(stat(outside, &status), 0);
    assert_int_equal(status.st_uid, 0);
    /* But nothing of a folder that is that user's already: it might have linked to it. */
    assert_int_equal(chown(path, 0, 0), 0);
    assert_int_equal(statedir_prepare(&dir, OTHER_UID, OTHER_UID, &shelf->log), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_uid, 0);
    assert_int_equal(chown(shelf->folder, OTHER_UID + 1, 0), 0);
    assert_int_equal(statedir_prepare(&dir, OTHER_UID, OTHER_UID, &shelf->log), -EPERM);
    assert_int_equal(chown(shelf->folder, 0, 0), 0);
    statedir_deinit(&dir);
}

static void test_two(void **state)
{
    struct shelf *shelf = *state, *second;
    void *other;

    assert_int_equal(shelf_open(shelf), 0);
    shelf_keep(shelf, "a", "1");
    assert_int_equal(shelf_setup(&other), 0);
    second = other;
    char folder[64];
    memcpy(folder, second->folder, sizeof(folder));
    memcpy(second->folder, shelf->folder, sizeof(folder));
    assert_int_equal(shelf_open(second), -EBUSY);
    assert_non_null(strstr(shelf_log(second), "another busd uses it"));
    memcpy(second->folder, folder, sizeof(folder));
    assert_int_equal(shelf_teardown(&other), 0);
    shelf_expect_all(shelf, "a=1");
}

/* A database that may only be read is read. */
static void test_read_only(void **state)
{
    struct shelf *shelf = *state;
    int status;

    if (geteuid() != 0)
        skip();
    assert_int_equal(shelf_open(shelf), 0);
    shelf_keep(shelf, "a", "1");
    shelf_close(shelf);
    char path[112];
    snprintf(path, sizeof(path), "%s/" DATABASE_NAME, shelf->folder);
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(chown(path, OTHER_UID, OTHER_UID), 0);
    snprintf(path, sizeof(path), "%s/" DATABASE_NAME "-wal", shelf->folder);
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(chown(path, OTHER_UID, OTHER_UID), 0);
    assert_int_equal(chown(shelf->folder, OTHER_UID, OTHER_UID), 0);
    assert_int_equal(chmod(shelf->folder, 0500), 0);
    assert_int_equal(chmod(shelf->above, 0755), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct shelf_ticket ticket;
        if (setresuid(OTHER_UID, OTHER_UID, OTHER_UID) < 0)
            _exit(1);
        shelf_expect_all(shelf, "a=1");
        const char *log = shelf_log(shelf);
        CHECK(strstr(log, "can be read, but not written"), "%s", log);
        assert_int_equal(shelf_put(shelf, "a", "2", &ticket), 0);
        shelf_expect(shelf, &ticket, -EROFS);
        shelf_expect_all(shelf, "a=1");
        shelf_close(shelf);
        _exit(42);
    }
    assert_true(process_wait(pid, 20000, &status));
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42, "status %x: %s", status,
          shelf_log(shelf));
    assert_int_equal(chown(shelf->folder, 0, 0), 0);
}

#define SHELF_TEST(test) cmocka_unit_test_setup_teardown(test, shelf_setup, shelf_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHELF_TEST(test_values),
        SHELF_TEST(test_lazy),
        SHELF_TEST(test_without_a_folder),
        SHELF_TEST(test_conflation),
        SHELF_TEST(test_removal_conflates),
        SHELF_TEST(test_await_removes),
        SHELF_TEST(test_forget),
        SHELF_TEST(test_limit),
        SHELF_TEST(test_expiry),
        SHELF_TEST(test_end),
        SHELF_TEST(test_many),
        SHELF_TEST(test_no_memory),
        SHELF_TEST(test_damage),
        SHELF_TEST(test_no_damage),
        SHELF_TEST(test_folder),
        SHELF_TEST(test_missing_parent),
        SHELF_TEST(test_given),
        SHELF_TEST(test_two),
        SHELF_TEST(test_read_only),
    };

    umask(0077);
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
