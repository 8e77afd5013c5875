/* SPDX-License-Identifier: MIT */
/*
 * Addresses: every form, every length around the limit, and what is none.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/wire/address.h"
#include "tests/support/unit.h"

static void test_paths(void **state)
{
    static const struct {
        const char *text;
        const char *path;
    } cases[] = {
        {"unix:/run/busd/bus", "/run/busd/bus"},
        {"/run/busd/bus", "/run/busd/bus"},
        {"./bus", "./bus"},
        {"../bus", "../bus"},
        {"unix:bus", "bus"},
        {"/", "/"},
        {"/with space", "/with space"},
        {"/@", "/@"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct address address;
        CHECK(address_parse(cases[i].text, &address) == 0, "%s", cases[i].text);
        assert_int_equal(address.fd, -1);
        assert_string_equal(address.path, cases[i].path);
        assert_int_equal(address.socket.sun_family, AF_UNIX);
        assert_string_equal(address.socket.sun_path, cases[i].path);
        assert_int_equal(address.size,
                         offsetof(struct sockaddr_un, sun_path) + strlen(cases[i].path) + 1);
    }
}

static void test_abstract(void **state)
{
    struct address address;

    assert_int_equal(address_parse("unix:@name", &address), 0);
    assert_int_equal(address.fd, -1);
    assert_null(address.path);
    assert_memory_equal(address.socket.sun_path, "\0name", 5);
    assert_int_equal(address.size, offsetof(struct sockaddr_un, sun_path) + 5);
}

static void test_descriptors(void **state)
{
    struct address address;

    assert_int_equal(address_parse("fd:0", &address), 0);
    assert_int_equal(address.fd, 0);
    assert_int_equal(address_parse("fd:17", &address), 0);
    assert_int_equal(address.fd, 17);
}

static void test_wrong(void **state)
{
    static const char *const texts[] = {
        "",
        "unix:",
        "unix:@",
        "bus",
        "tcp:localhost:1",
        "Unix:/x",
        "unix",
        "@name",
        "fd:",
        "fd:x",
        "fd:1x",
        "fd:-1",
        "fd:+1",
        "fd: 1",
        "fd:1 ",
        ".bus",
        "fd:99999999999999999999",
        "fd:4294967296",
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct address address = {.fd = 12345};
        CHECK(address_parse(texts[i], &address) == -EINVAL, "'%s'", texts[i]);
        assert_int_equal(address.fd, 12345);
    }
}

/* Up to what a socket can have, never cut. */
static void test_lengths(void **state)
{
    for (size_t size = 2; size <= 120; size++) {
        char path[256] = "unix:/", abstract[256] = "unix:@";
        struct address address;

        memset(path + 6, 'p', size - 1);
        memset(abstract + 6, 'a', size - 1);
        assert_int_equal(address_parse(path, &address), size <= 107 ? 0 : -ENAMETOOLONG);
        assert_int_equal(address_parse(path + 5, &address), size <= 107 ? 0 : -ENAMETOOLONG);
        assert_int_equal(address_parse(abstract, &address), size <= 108 ? 0 : -ENAMETOOLONG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),       cmocka_unit_test(test_abstract),
        cmocka_unit_test(test_descriptors), cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_lengths),
    };

    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
