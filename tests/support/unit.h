/* SPDX-License-Identifier: MIT */
/*
 * What every test includes first: cmocka with the headers it silently needs,
 * and the few macros that all tests share.
 *
 * A build with NDEBUG is refused: the asserts of the code under test are part of
 * what is tested.
 */
#ifndef TESTS_SUPPORT_UNIT_H
#define TESTS_SUPPORT_UNIT_H

#ifdef NDEBUG
#error "tests are built without NDEBUG: the asserts of the tested code must hold"
#endif

/* Order matters: cmocka.h uses them without including them. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

/* Fails with a message of its own when the condition does not hold. */
#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error("check failed: %s\n", #condition);                                         \
            fail_msg(__VA_ARGS__);                                                                 \
        }                                                                                          \
    } while (0)

#endif
