/* SPDX-License-Identifier: MIT */
/*
 * Rules when users and groups cannot be looked up: that is no reason to say that there
 * are none. What rules mean and what is wrong with them is in test-config and test-policy.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "busd/rules.h"
#include "libbus/base/macros.h"
#include "tests/support/unit.h"

static const char *const texts[] = {
    "{\"policy\":[{\"allow\":\"own\",\"user\":\"nobody\"}]}",
    "{\"policy\":[{\"allow\":\"own\",\"group\":\"daemon\"}]}",
};

static struct document load(const char *text)
{
    char path[] = "/tmp/busd-rules-XXXXXX", reason[DOCUMENT_REASON_SIZE];
    struct document document;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    bool right = document_load(&document, path, reason);
    unlink(path);
    CHECK(right, "%s", reason);
    return document;
}

static bool read_rules(const struct document *document, char reason[DOCUMENT_REASON_SIZE])
{
    struct document_step step = {NULL, "policy", 0};
    struct policy *policy = policy_new();

    assert_non_null(policy);
    bool right = rules_read(policy, document, &step, json_object_get(document->tree, "policy"),
                            NULL, reason);
    policy_unref(policy);
    return right;
}

static void test_no_file_descriptor(void **state)
{
    static const char *const expected[] = {
        "user: cannot look up the user 'nobody': Too many open files",
        "group: cannot look up the group 'daemon': Too many open files",
    };
    struct rlimit before, none;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){0, before.rlim_max};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        char reason[DOCUMENT_REASON_SIZE] = "";
        struct document document = load(texts[i]);

        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        bool right = read_rules(&document, reason);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_false(right);
        CHECK(strstr(reason, expected[i]), "it says: %s", reason);
        /* Later it is all right. */
        CHECK(read_rules(&document, reason), "%s", reason);
        document_deinit(&document);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_file_descriptor),
    };

    return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
