/* SPDX-License-Identifier: MIT */
/*
 * The one list of errors: complete, without doubles, and agreeing with the public
 * header.
 */
#include <bus/bus.h>
#include <errno.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "libbus/wire/errors.h"
#include "libbus/wire/grammar.h"
#include "tests/support/unit.h"

static void test_list(void **state)
{
    for (int i = WIRE_OK + 1; i < WIRE_ERROR_COUNT; i++) {
        const char *name = wire_error_name(i), *sentence = wire_error_sentence(i);

        assert_null(grammar_check_method(span_from(name), NULL));
        assert_true(grammar_is_reserved(span_from(name)));
        assert_true(strlen(sentence) > 8);
        assert_true(sentence[strlen(sentence) - 1] != '.');
        assert_true(wire_error_errno(span_from(name)) > 0);
        for (int j = WIRE_OK + 1; j < i; j++) {
            assert_string_not_equal(name, wire_error_name(j));
            /* A program must be able to tell them apart by errno alone. */
            assert_int_not_equal(wire_error_errno(span_from(name)),
                                 wire_error_errno(span_from(wire_error_name(j))));
        }
    }
}

static void test_public_header(void **state)
{
    static const struct {
        const char *name;
        enum wire_error error;
        int number;
    } expected[] = {
        {BUS_ERROR_PARSE_ERROR, WIRE_PARSE_ERROR, EBADMSG},
        {BUS_ERROR_INVALID_MESSAGE, WIRE_INVALID_MESSAGE, EPROTO},
        {BUS_ERROR_INVALID_ARGUMENTS, WIRE_INVALID_ARGUMENTS, EINVAL},
        {BUS_ERROR_TOO_LARGE, WIRE_TOO_LARGE, EMSGSIZE},
        {BUS_ERROR_FD_MISMATCH, WIRE_FD_MISMATCH, EBADF},
        {BUS_ERROR_NAME_UNKNOWN, WIRE_NAME_UNKNOWN, ENXIO},
        {BUS_ERROR_NAME_TAKEN, WIRE_NAME_TAKEN, EEXIST},
        {BUS_ERROR_NOT_OWNER, WIRE_NOT_OWNER, EADDRNOTAVAIL},
        {BUS_ERROR_METHOD_UNKNOWN, WIRE_METHOD_UNKNOWN, EOPNOTSUPP},
        {BUS_ERROR_NO_SUCH_CALL, WIRE_NO_SUCH_CALL, EBADR},
        {BUS_ERROR_NO_SUCH_SUBSCRIPTION, WIRE_NO_SUCH_SUBSCRIPTION, EBADSLT},
        {BUS_ERROR_ACCESS_DENIED, WIRE_ACCESS_DENIED, EACCES},
        {BUS_ERROR_LIMIT_EXCEEDED, WIRE_LIMIT_EXCEEDED, EDQUOT},
        {BUS_ERROR_TIMEOUT, WIRE_TIMEOUT, ETIMEDOUT},
        {BUS_ERROR_NO_REPLY, WIRE_NO_REPLY, ENOMSG},
        {BUS_ERROR_CANCELLED, WIRE_CANCELLED, ECANCELED},
        {BUS_ERROR_START_FAILED, WIRE_START_FAILED, ECHILD},
        {BUS_ERROR_STORAGE_FAILED, WIRE_STORAGE_FAILED, EIO},
        {BUS_ERROR_DISCONNECTED, WIRE_DISCONNECTED, ECONNRESET},
    };

    assert_int_equal(ARRAY_SIZE(expected), WIRE_ERROR_COUNT - 1);
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        assert_string_equal(wire_error_name(expected[i].error), expected[i].name);
        assert_int_equal(wire_error_errno(span_from(expected[i].name)), expected[i].number);
    }
}

static void test_foreign_names(void **state)
{
    assert_int_equal(wire_error_errno(SPAN("org.example.NotFound")), EREMOTEIO);
    assert_int_equal(wire_error_errno(SPAN("bus.Timeou")), EREMOTEIO);
    assert_int_equal(wire_error_errno(SPAN("bus.Timeouts")), EREMOTEIO);
    assert_int_equal(wire_error_errno(SPAN("")), EREMOTEIO);
    assert_int_equal(wire_error_errno((struct span){"bus.Timeouts", 11}), ETIMEDOUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_public_header),
        cmocka_unit_test(test_foreign_names),
    };

    return cmocka_run_group_tests_name("errors", tests, NULL, NULL);
}
