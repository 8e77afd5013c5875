/* SPDX-License-Identifier: MIT */
/*
 * A configuration file of any content, and its first line as what stands after
 * --limit. A refusal has a reason and changes nothing; what was accepted is within
 * its bounds and is accepted again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "busd/config.h"
#include "libbus/base/macros.h"
#include "tests/fuzz/fuzz.h"

static void check_limits(const struct config *config)
{
#define X(name, system, user, smallest, largest, ...)                                              \
    FUZZ_CHECK(config->limits.name >= (smallest) && config->limits.name <= (largest),              \
               "%s is out of its bounds", #name);
    LIMITS(X)
#undef X
}

static void check_same(const struct config *a, const struct config *b)
{
    uint64_t value, other = 0;
    const char *name;

    for (size_t i = 0; limits_get(&a->limits, i, &name, &value); i++) {
        limits_get(&b->limits, i, &name, &other);
        FUZZ_CHECK(value == other, "%s has changed", name);
    }
}

static void check_reason(char reason[CONFIG_REASON_SIZE])
{
    FUZZ_CHECK(memchr(reason, '\0', CONFIG_REASON_SIZE), "a reason without end");
    FUZZ_CHECK(reason[0], "a refusal without reason");
}

static void fuzz_file(const uint8_t *data, size_t size)
{
    char reason[CONFIG_REASON_SIZE] = "";
    struct config config, before;
    char path[64];

    CLEANUP(cleanup_close) int fd = memfd_create("config", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no file");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    config_init(&config, false);
    config_init(&before, false);
    if (config_read(&config, path, reason)) {
        check_limits(&config);
        before = config;
        FUZZ_CHECK(config_read(&config, path, reason), "refused the second time: %s", reason);
    } else {
        check_reason(reason);
    }
    check_same(&before, &config);
}

static void fuzz_assignment(const uint8_t *data, size_t size)
{
    struct span line = fuzz_first_line(data, size);
    CLEANUP(cleanup_free) char *text = strndup(line.size > 0 ? line.data : "", line.size);
    char reason[CONFIG_REASON_SIZE] = "";
    struct config config, before;

    config_init(&config, true);
    config_init(&before, true);
    if (config_set_limit(&config, text, reason)) {
        check_limits(&config);
        return;
    }
    check_reason(reason);
    check_same(&before, &config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned fds = fuzz_count_fds();

    fuzz_file(data, size);
    fuzz_assignment(data, size);
    FUZZ_CHECK(fuzz_count_fds() == fds, "a file was left open");
    return 0;
}
