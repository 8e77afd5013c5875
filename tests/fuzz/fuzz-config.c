/* SPDX-License-Identifier: MIT */
/*
 * A configuration file of any content, and its first line as what stands after
 * --limit. A refusal has a reason; what was accepted is within its bounds, and is the
 * same when it is read again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* Each rule has what it needs, and stands in the file. */
static void check_policy(const struct config *config, const char *path)
{
    for (size_t i = 0; i < config->policy->count; i++) {
        const struct policy_rule *rule = &config->policy->rules[i];
        FUZZ_CHECK(rule->verbs != 0 && rule->index > 0, "a rule about nothing");
        FUZZ_CHECK(rule->file && (strncmp(rule->file, path, strlen(path)) == 0 ||
                                  strcmp(rule->file, "built-in") == 0),
                   "a rule from nowhere");
    }
}

static void check_reason(char reason[CONFIG_REASON_SIZE])
{
    FUZZ_CHECK(memchr(reason, '\0', CONFIG_REASON_SIZE), "a reason without end");
    FUZZ_CHECK(reason[0], "a refusal without reason");
}

static void fuzz_file(const uint8_t *data, size_t size, bool system)
{
    char reason[CONFIG_REASON_SIZE] = "";
    struct config config, again;
    char path[64];

    CLEANUP(cleanup_close) int fd = memfd_create("config", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no file");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct config_source source = {.system = system, .file = path};
    if (!config_load(&config, &source, reason)) {
        check_reason(reason);
        return;
    }
    check_limits(&config);
    check_policy(&config, path);
    FUZZ_CHECK(config_load(&again, &source, reason), "refused the second time: %s", reason);
    FUZZ_CHECK(again.policy->count == config.policy->count, "other rules the second time");
    FUZZ_CHECK(memcmp(&again.limits, &config.limits, sizeof(config.limits)) == 0,
               "other limits the second time");
    config_deinit(&again);
    config_deinit(&config);
}

static void fuzz_assignment(const uint8_t *data, size_t size)
{
    struct span line = fuzz_first_line(data, size);
    CLEANUP(cleanup_free) char *text = strndup(line.size > 0 ? line.data : "", line.size);
    const char *limits[] = {text};
    struct config_source source = {.limits = limits, .limit_count = 1};
    char reason[CONFIG_REASON_SIZE] = "";
    struct config config;

    bool right = config_check_limit(text, reason);
    if (!right)
        check_reason(reason);
    FUZZ_CHECK(config_load(&config, &source, reason) == right, "two verdicts on one limit");
    if (!right)
        return;
    check_limits(&config);
    config_deinit(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned fds = fuzz_count_fds();

    fuzz_file(data, size, false);
    fuzz_file(data, size, true);
    fuzz_assignment(data, size);
    FUZZ_CHECK(fuzz_count_fds() == fds, "a file was left open");
    return 0;
}
