/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"
#include "libbus/base/macros.h"
#include "libbus/output.h"
#include "libbus/wire/grammar.h"
#include "libbus/wire/scan.h"

const char *bus_check_name(const char *text, size_t *ret_offset)
{
    return grammar_check_name(span_from(text), ret_offset);
}

const char *bus_check_topic(const char *text, size_t *ret_offset)
{
    return grammar_check_topic(span_from(text), ret_offset);
}

const char *bus_check_pattern(const char *text, size_t *ret_offset)
{
    return grammar_check_pattern(span_from(text), ret_offset);
}

const char *bus_check_method(const char *text, size_t *ret_offset)
{
    return grammar_check_method(span_from(text), ret_offset);
}

const char *bus_check_group(const char *text, size_t *ret_offset)
{
    return grammar_check_group(span_from(text), ret_offset);
}

const char *bus_check_json(const char *text, size_t size, size_t *ret_offset)
{
    if (size == BUS_NUL_TERMINATED)
        size = strlen(text);
    CLEANUP(cleanup_free) char *copy = malloc(size + 1 + SCAN_PADDING);
    if (!copy) {
        if (ret_offset)
            *ret_offset = 0;
        return "there is no memory to check it";
    }
    memcpy(copy, text, size);
    return json_check(copy, size, ret_offset);
}
