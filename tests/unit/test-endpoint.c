/* SPDX-License-Identifier: MIT */
/*
 * The place of a socket: what may be in the way there, and that nothing of it is ever
 * removed, changed or followed. Each test has a folder of its own. Files of other users
 * need root.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "busd/endpoint.h"
#include "libbus/base/macros.h"
#include "tests/support/process.h"
#include "tests/support/unit.h"

#define OTHER_UID 4242

struct place {
    char folder[64];
    int saved_stderr;
    int messages[2];
    struct log log;
    unsigned fds;
};

static int setup(void **state)
{
    static struct place place;

    place =
        (struct place){.folder = "/tmp/busd-endpoint-XXXXXX", .fds = process_open_fds(getpid())};
    if (!mkdtemp(place.folder) || chdir(place.folder) < 0 ||
        pipe2(place.messages, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    place.saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    dup2(place.messages[1], STDERR_FILENO);
    log_init(&place.log, LOG_LEVEL_NOTICE);
    umask(0027);
    *state = &place;
    return 0;
}

static void remove_tree(const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;

    while (directory && (entry = readdir(directory))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(directory), entry->d_name, 0) < 0 && errno == EISDIR) {
            char below[512];
            snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
            remove_tree(below);
        }
    }
    if (directory)
        closedir(directory);
    rmdir(path);
}

static int teardown(void **state)
{
    struct place *place = *state;

    log_deinit(&place->log);
    dup2(place->saved_stderr, STDERR_FILENO);
    close(place->saved_stderr);
    close(place->messages[0]);
    close(place->messages[1]);
    if (chdir("/") < 0)
        return -1;
    remove_tree(place->folder);
    if (process_open_fds(getpid()) != place->fds) {
        process_print_fds(getpid());
        return -1;
    }
    return 0;
}

static const char *messages(struct place *place)
{
    static char text[4096];
    ssize_t size = read(place->messages[0], text, sizeof(text) - 1);

    text[size > 0 ? size : 0] = '\0';
    return text;
}

/* Who files belong to matters to root alone: others can make no others'. */
static bool is_root(void)
{
    if (geteuid() == 0)
        return true;
    print_message("only root can make files of other users\n");
    return false;
}

/* ------------------------------------------------------------- snapshots */

/* All that could be done to a file, of all files below a folder. */
static void describe(const char *path, char *text, size_t size)
{
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    size_t used = strlen(text);

    for (int i = 0; i < count; i++) {
        char name[512];
        struct stat status;
        snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && lstat(name, &status) == 0) {
            used += (size_t)snprintf(text + used, size - used, "%s %llu %o %u:%u %lu %ld\n", name,
                                     (unsigned long long)status.st_ino, status.st_mode,
                                     status.st_uid, status.st_gid, (unsigned long)status.st_nlink,
                                     (long)status.st_size);
            if (S_ISDIR(status.st_mode)) {
                describe(name, text, size);
                used = strlen(text);
            }
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

/* ----------------------------------------------------------------- parts */

static struct endpoint_options options_for(const char *address)
{
    return (struct endpoint_options){address, 0600, (uid_t)-1, (gid_t)-1, (uid_t)-1};
}

static void write_precious(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "precious", 8), 8);
    close(fd);
}

/* A socket file with nobody behind it, or with the returned one that listens. */
static int make_socket(const char *path, bool listens)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    if (listens) {
        assert_int_equal(listen(fd, 5), 0);
        return fd;
    }
    close(fd);
    return -1;
}

static bool is_served(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    bool served = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return served;
}

/* It is refused, saying so in one line, and no file is another than before but for a new
 * lock file that is gone again. */
static void assert_refused_as(struct place *place, const struct endpoint_options *options,
                              const char *said)
{
    static char before[8192], after[8192];
    struct endpoint endpoint = ENDPOINT_NONE;

    before[0] = after[0] = '\0';
    describe(".", before, sizeof(before));
    alarm(10);
    int r = endpoint_open(&endpoint, options, &place->log);
    alarm(0);
    const char *text = messages(place);
    CHECK(r < 0, "%s was accepted", options->address);
    CHECK(strstr(text, said) && strstr(text, options->address), "it said: %s", text);
    assert_int_equal(strchr(text, '\n') - text, strlen(text) - 1);
    assert_int_equal(endpoint.fd, -1);
    describe(".", after, sizeof(after));
    assert_string_equal(after, before);
    mode_t mask = umask(0027);
    assert_int_equal(mask, 0027);
}

static void assert_refused(struct place *place, const char *address, const char *said)
{
    struct endpoint_options options = options_for(address);

    assert_refused_as(place, &options, said);
}

static void assert_accepted_as(struct place *place, const struct endpoint_options *options)
{
    struct endpoint endpoint = ENDPOINT_NONE;
    struct stat status;

    int r = endpoint_open(&endpoint, options, &place->log);
    CHECK(r == 0, "%s was refused: %s", options->address, messages(place));
    const char *path = endpoint.path;
    assert_true(is_served(path));
    assert_int_equal(lstat(path, &status), 0);
    assert_int_equal(status.st_mode, S_IFSOCK | options->mode);
    assert_int_equal(status.st_uid, options->owner == (uid_t)-1 ? geteuid() : options->owner);
    if (options->group != (gid_t)-1)
        assert_int_equal(status.st_gid, options->group);
    endpoint_close(&endpoint);
    assert_int_equal(endpoint.fd, -1);
    endpoint_close(&endpoint);
}

static void assert_accepted(struct place *place, const char *address)
{
    struct endpoint_options options = options_for(address);

    assert_accepted_as(place, &options);
    assert_string_equal(messages(place), "");
}

/* ---------------------------------------------------------------- folder */

static void test_folders(void **state)
{
    struct place *place = *state;

    assert_int_equal(mkdir("real", 0700), 0);
    assert_int_equal(symlink("real", "link"), 0);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    write_precious("file");
    make_socket("socket", false);
    assert_accepted(place, "./real/bus");
    assert_accepted(place, "./real//bus");
    assert_accepted(place, "./bus");
    assert_refused(place, "./link/bus", "symbolic link");
    assert_refused(place, "./link//bus", "symbolic link");
    assert_refused(place, "./link///bus", "symbolic link");
    assert_refused(place, "./dangling/bus", "symbolic link");
    assert_refused(place, "./fifo/bus", "folder");
    assert_refused(place, "./file/bus", "folder");
    assert_refused(place, "./socket/bus", "folder");
    assert_refused(place, "./missing/bus", "create it");
    assert_refused(place, "./real/", "not of a socket");
    assert_refused(place, "./real/.", "not of a socket");
    assert_refused(place, "./real/..", "not of a socket");
    assert_refused(place, "/", "not of a socket");
}

static void test_folder_modes(void **state)
{
    struct place *place = *state;
    static const mode_t good[] = {0700, 0755, 0711, 01777, 01775, 01733};
    static const mode_t bad[] = {0777, 0757, 0702, 0722};

    assert_int_equal(mkdir("folder", 0700), 0);
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_int_equal(chmod("folder", good[i]), 0);
        assert_accepted(place, "./folder/bus");
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(chmod("folder", bad[i]), 0);
        assert_refused(place, "./folder/bus", "others can write");
    }
    /* A group of our own only is as good as we are. */
    assert_int_equal(chown("folder", (uid_t)-1, getegid()), 0);
    assert_int_equal(chmod("folder", 0770), 0);
    assert_accepted(place, "./folder/bus");
    if (!is_root())
        return;
    assert_int_equal(chown("folder", 0, OTHER_UID), 0);
    assert_int_equal(chmod("folder", 0770), 0);
    assert_refused(place, "./folder/bus", "others can write");
}

static void test_folder_owners(void **state)
{
    struct place *place = *state;
    struct endpoint_options options = options_for("./folder/bus");

    if (!is_root())
        skip();
    assert_int_equal(mkdir("folder", 0755), 0);
    assert_int_equal(chown("folder", OTHER_UID, OTHER_UID), 0);
    assert_refused(place, "./folder/bus", "another user (uid 4242)");
    /* It is theirs whom we are going to be. */
    options.user = options.owner = OTHER_UID;
    assert_accepted_as(place, &options);
    options.user = OTHER_UID + 1;
    assert_refused_as(place, &options, "another user (uid 4242)");
}

/* ------------------------------------------------------------------ lock */

static void test_locks(void **state)
{
    struct place *place = *state;

    write_precious("precious");
    assert_int_equal(symlink("precious", "a.lock"), 0);
    assert_refused(place, "./a", "plain file");
    assert_int_equal(symlink("nowhere", "b.lock"), 0);
    assert_refused(place, "./b", "plain file");
    assert_int_equal(access("nowhere", F_OK), -1);
    assert_int_equal(mkfifo("c.lock", 0600), 0);
    assert_refused(place, "./c", "plain file");
    assert_int_equal(mkdir("d.lock", 0700), 0);
    assert_refused(place, "./d", "plain file");
    make_socket("e.lock", false);
    assert_refused(place, "./e", "plain file");
    assert_int_equal(link("precious", "f.lock"), 0);
    assert_refused(place, "./f", "plain file");
    /* One that was left is as good as none. */
    write_precious("g.lock");
    assert_accepted(place, "./g");
    assert_int_equal(access("g.lock", F_OK), -1);

    int fd = open("h.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_refused(place, "./h", "another busd");
    close(fd);
}

static void test_foreign_locks(void **state)
{
    struct place *place = *state;
    struct endpoint_options options = options_for("./a");

    if (!is_root())
        skip();
    assert_int_equal(chmod(".", 01777), 0);
    write_precious("a.lock");
    assert_int_equal(chown("a.lock", OTHER_UID, OTHER_UID), 0);
    assert_refused(place, "./a", "another user");
    options.user = OTHER_UID;
    assert_accepted_as(place, &options);
    /* Where nobody else can have made it, it was one of us. */
    write_precious("a.lock");
    assert_int_equal(chown("a.lock", OTHER_UID, OTHER_UID), 0);
    assert_int_equal(chmod(".", 0755), 0);
    assert_accepted(place, "./a");
    assert_int_equal(mknod("b.lock", S_IFCHR | 0600, makedev(1, 3)), 0);
    assert_refused(place, "./b", "plain file");
}

/* ---------------------------------------------------------------- socket */

static void test_sockets(void **state)
{
    struct place *place = *state;

    write_precious("a");
    assert_refused(place, "./a", "not a socket");
    assert_int_equal(symlink("a", "b"), 0);
    assert_refused(place, "./b", "not a socket");
    assert_int_equal(symlink("nowhere", "c"), 0);
    assert_refused(place, "./c", "not a socket");
    assert_int_equal(access("nowhere", F_OK), -1);
    assert_int_equal(mkfifo("d", 0600), 0);
    assert_refused(place, "./d", "not a socket");
    assert_int_equal(mkdir("e", 0700), 0);
    assert_refused(place, "./e", "not a socket");

    int fd = make_socket("f", true);
    assert_refused(place, "./f", "some program");
    assert_true(is_served("f"));
    assert_int_equal(symlink("f", "g"), 0);
    assert_refused(place, "./g", "not a socket");
    close(fd);
    assert_refused(place, "./g", "not a socket");

    struct endpoint_options options = options_for("./f");
    assert_accepted_as(place, &options);
    assert_non_null(strstr(messages(place), "replaced the stale socket ./f"));
}

static void test_foreign_sockets(void **state)
{
    struct place *place = *state;
    struct endpoint_options options = options_for("./a");

    if (!is_root())
        skip();
    assert_int_equal(chmod(".", 01777), 0);
    make_socket("a", false);
    assert_int_equal(chown("a", OTHER_UID, OTHER_UID), 0);
    assert_refused(place, "./a", "socket of another user");
    /* What an earlier one of us left that gave it away, or had become somebody else. */
    options.owner = OTHER_UID;
    assert_accepted_as(place, &options);
    make_socket("a", false);
    assert_int_equal(chown("a", OTHER_UID, OTHER_UID), 0);
    options.owner = (uid_t)-1;
    options.user = OTHER_UID;
    assert_accepted_as(place, &options);
    make_socket("a", false);
    assert_int_equal(chown("a", OTHER_UID, OTHER_UID), 0);
    assert_int_equal(chmod(".", 0755), 0);
    options.user = (uid_t)-1;
    assert_accepted_as(place, &options);
}

static void test_mode_and_owner(void **state)
{
    struct place *place = *state;
    static const mode_t modes[] = {0600, 0660, 0666, 0777, 0, 0622};
    static const mode_t masks[] = {0, 0777, 0027};
    struct endpoint_options options = options_for("./bus");

    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(masks); j++) {
            options.mode = modes[i];
            /* Nobody but root could connect to all of these. */
            if (geteuid() != 0 && (options.mode & 0200) == 0)
                continue;
            umask(masks[j]);
            assert_accepted_as(place, &options);
            mode_t mask = umask(0027);
            assert_int_equal(mask, masks[j]);
        }
    }
    if (!is_root())
        return;
    options.owner = OTHER_UID;
    options.group = OTHER_UID + 1;
    options.mode = 0660;
    assert_accepted_as(place, &options);
}

/* What has taken the socket's place meanwhile is not ours to remove. */
static void test_replaced_socket(void **state)
{
    struct place *place = *state;
    struct endpoint_options options = options_for("./bus");
    struct endpoint endpoint;

    assert_int_equal(endpoint_open(&endpoint, &options, &place->log), 0);
    assert_int_equal(unlink("bus"), 0);
    write_precious("bus");
    endpoint_close(&endpoint);
    assert_int_equal(access("bus", F_OK), 0);
    assert_int_equal(access("bus.lock", F_OK), -1);
    assert_int_equal(unlink("bus"), 0);

    /* Nor is what lies in another folder of the same name. */
    assert_int_equal(mkdir("folder", 0700), 0);
    options.address = "./folder/bus";
    assert_int_equal(endpoint_open(&endpoint, &options, &place->log), 0);
    assert_int_equal(rename("folder", "moved"), 0);
    assert_int_equal(mkdir("folder", 0700), 0);
    write_precious("folder/bus");
    write_precious("folder/bus.lock");
    endpoint_close(&endpoint);
    assert_int_equal(access("folder/bus", F_OK), 0);
    assert_int_equal(access("folder/bus.lock", F_OK), 0);
    assert_int_equal(access("moved/bus", F_OK), -1);
    assert_int_equal(access("moved/bus.lock", F_OK), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_folders),         TEST(test_folder_modes),   TEST(test_folder_owners),
        TEST(test_locks),           TEST(test_foreign_locks),  TEST(test_sockets),
        TEST(test_foreign_sockets), TEST(test_mode_and_owner), TEST(test_replaced_socket),
    };

    return cmocka_run_group_tests_name("endpoint", tests, NULL, NULL);
}
