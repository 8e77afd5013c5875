/* SPDX-License-Identifier: MIT */
/*
 * The JSON scanner on any bytes (up to the first LF): its vector form and its scalar
 * form agree to the byte, and jansson comes to the same verdict, but for what
 * jansson cannot hold (a number out of its range, a NUL in a key), what nests deeper
 * than the protocol allows, and bare NULs, some of which jansson does not see.
 */
#include <jansson.h>

#include "libbus/base/macros.h"
#include "libbus/wire/scan.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/padded.h"
#include "tests/unit/scan-scalar.h"

static void check_fault(const char *line, size_t size, const struct scan_fault *fault,
                        const struct scan_fault *scalar)
{
    FUZZ_CHECK(fault->position >= line && fault->position <= line + size,
               "a fault outside of the text");
    FUZZ_CHECK(fault->position == scalar->position && strcmp(fault->reason, scalar->reason) == 0,
               "the two forms see different faults: '%s' at %td, '%s' at %td", fault->reason,
               fault->position - line, scalar->reason, scalar->position - line);
}

/* The text as the rest of a string. */
static void check_string(const char *line, size_t size)
{
    struct scan_fault fault, scalar_fault;
    bool escaped = false, scalar_escaped = false;
    const char *end = scan_string(line, &escaped, &fault);
    const char *scalar_end = scalar_scan_string(line, &scalar_escaped, &scalar_fault);

    FUZZ_CHECK(end == scalar_end, "the two forms end a string in different places");
    if (!end) {
        check_fault(line, size, &fault, &scalar_fault);
        return;
    }
    FUZZ_CHECK(end > line && end <= line + size && end[-1] == '"', "a string ends without quote");
    bool backslash = memchr(line, '\\', (size_t)(end - line)) != NULL;
    FUZZ_CHECK(escaped == backslash && scalar_escaped == backslash,
               "whether the string has escapes: %d, %d, but %d", escaped, scalar_escaped,
               backslash);
}

static void check_jansson(struct span text, bool valid, const struct scan_fault *fault)
{
    json_error_t error = {0};
    json_t *tree = json_loadb(text.data, text.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    enum json_error_code code = json_error_code(&error);

    if (valid && !tree)
        FUZZ_CHECK(code == json_error_numeric_overflow || code == json_error_null_byte_in_key,
                   "jansson refuses what the scanner accepts: %s", error.text);
    /* jansson loses a NUL that comes after a number. */
    if (!valid && tree)
        FUZZ_CHECK(strcmp(fault->reason, "nested deeper than 128") == 0 || !*fault->position,
                   "jansson accepts what the scanner refuses: %s", fault->reason);
    json_decref(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_first_line(data, size);
    CLEANUP(cleanup_free) char *line = padded_new(text.data, text.size);
    struct scan_fault fault = {0}, scalar_fault = {0};

    bool valid = scan_text(line, text.size, &fault);
    FUZZ_CHECK(valid == scalar_scan_text(line, text.size, &scalar_fault),
               "the two forms come to different verdicts");
    if (!valid)
        check_fault(line, text.size, &fault, &scalar_fault);
    check_string(line, text.size);
    check_jansson(text, valid, &fault);
    return 0;
}
