/* SPDX-License-Identifier: MIT */
/* Ownership of names on stack objects: what the tests of it have in common. */
#ifndef TESTS_UNIT_NAMES_FIXTURE_H
#define TESTS_UNIT_NAMES_FIXTURE_H

#include <string.h>

#include "busd/names.h"
#include "libbus/wire/errors.h"
#include "tests/support/unit.h"
#include "tests/support/users.h"

#define OWNERS 5
#define LIMIT  64

struct fixture {
    struct users users;
    struct names names;
    struct name_owner owners[OWNERS];
    struct name_change change;
    enum name_state state;
};

static struct fixture fixture;

#define A (&fixture.owners[0])
#define B (&fixture.owners[1])
#define C (&fixture.owners[2])

static inline int setup(void **state)
{
    struct quota_user *user = users_begin(&fixture.users);

    names_init(&fixture.names);
    for (unsigned i = 0; i < OWNERS; i++)
        name_owner_init(&fixture.owners[i], user);
    return 0;
}

static inline int teardown(void **state)
{
    for (unsigned i = 0; i < OWNERS; i++) {
        while (names_leave(&fixture.names, &fixture.owners[i], &fixture.change))
            continue;
        assert_int_equal(fixture.owners[i].count, 0);
    }
    /* Asserts that nothing is left. */
    names_deinit(&fixture.names);
    users_end(&fixture.users);
    return 0;
}

#define QUEUE   1
#define REPLACE 2
#define ALLOW   4
#define SHARED  8

static inline int request(struct name_owner *owner, const char *name, unsigned flags)
{
    struct name_request wish = {.queue = flags & QUEUE,
                                .replace = flags & REPLACE,
                                .allow_replacement = flags & ALLOW,
                                .shared = flags & SHARED};

    return names_request(&fixture.names, owner, span_from(name), wish, LIMIT, &fixture.state,
                         &fixture.change);
}

static inline int release(struct name_owner *owner, const char *name)
{
    return names_release(&fixture.names, owner, span_from(name), &fixture.change);
}

static inline void assert_change(const char *name, const struct name_owner *before,
                                 const struct name_owner *after)
{
    assert_int_equal(fixture.change.size, strlen(name));
    assert_memory_equal(fixture.change.text, name, strlen(name));
    assert_ptr_equal(fixture.change.before, before);
    assert_ptr_equal(fixture.change.after, after);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
