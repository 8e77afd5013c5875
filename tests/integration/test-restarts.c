/* SPDX-License-Identifier: MIT */
/*
 * Start after start under somebody's eyes: whoever looks at the socket, at whatever
 * time, sees it with its mode, its owner and as a socket; and who may not connect cannot
 * in any moment, however quick. $BUSD_TEST_STARTS is for more of them.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/busd.h"
#include "tests/support/process.h"
#include "tests/support/unit.h"

#ifdef __SANITIZE_ADDRESS__
#define STARTS "50"
#else
#define STARTS "250"
#endif
#define OTHER_UID 65534

/* Shared with those who watch. */
struct sightings {
    unsigned seen;      /* the socket was there */
    unsigned connected; /* … and let one in */
    unsigned wrong;     /* it was not as it must be */
    unsigned mode;      /* … but so */
};

static struct sightings *sightings; /* of the owner, and of another user */

static void look(struct sightings *sighting, const char *path, uid_t owner)
{
    struct stat status;

    if (lstat(path, &status) < 0)
        return;
    sighting->seen++;
    if (status.st_mode != (S_IFSOCK | 0600) || status.st_uid != owner) {
        sighting->wrong++;
        sighting->mode = status.st_mode;
    }
}

static void try_to_connect(struct sightings *sighting, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    sighting->connected += connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
}

static pid_t start_watching(struct sightings *sighting, const char *path, uid_t uid)
{
    uid_t owner = geteuid();
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    if (uid != owner && (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
        _exit(1);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        look(sighting, path, owner);
        try_to_connect(sighting, path);
    }
}

static void test_restarts(void **state)
{
    char directory[] = "/tmp/busd-restarts-XXXXXX", path[64];
    bool is_root = geteuid() == 0;
    const char *more = getenv("BUSD_TEST_STARTS");
    unsigned starts = (unsigned)strtoul(more ? more : STARTS, NULL, 10);
    pid_t watchers[2] = {-1, -1};

    assert_non_null(mkdtemp(directory));
    assert_int_equal(chmod(directory, 0755), 0);
    snprintf(path, sizeof(path), "%s/bus", directory);
    sightings = mmap(NULL, 2 * sizeof(*sightings), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(sightings, MAP_FAILED);
    watchers[0] = start_watching(&sightings[0], path, geteuid());
    if (is_root)
        watchers[1] = start_watching(&sightings[1], path, OTHER_UID);
    else
        print_message("not root: nobody who may not connect has tried\n");

    /* The worst that one can be started with. */
    umask(0);
    for (unsigned i = 0; i < starts; i++) {
        const char *const args[] = {"--address", path, NULL};
        struct busd busd;
        assert_int_equal(busd_start(&busd, args), 0);
        assert_int_equal(busd_stop(&busd), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        if (watchers[i] <= 0)
            continue;
        kill(watchers[i], SIGKILL);
        waitpid(watchers[i], NULL, 0);
        CHECK(sightings[i].wrong == 0, "seen %u times with another mode or owner, like %o",
              sightings[i].wrong, sightings[i].mode);
        CHECK(sightings[i].seen > starts / 10, "seen %u times only", sightings[i].seen);
    }
    assert_true(sightings[0].connected > 0);
    assert_int_equal(sightings[1].connected, 0);
    print_message("%u starts, seen %u and %u times\n", starts, sightings[0].seen,
                  sightings[1].seen);
    munmap(sightings, 2 * sizeof(*sightings));
    assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_restarts)};

    return cmocka_run_group_tests_name("restarts", tests, NULL, NULL);
}
