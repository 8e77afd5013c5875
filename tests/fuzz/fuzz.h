/* SPDX-License-Identifier: MIT */
/*
 * What the fuzz targets share. A target is one file fuzz-<name>.c with a
 * LLVMFuzzerTestOneInput(); its first comment says how it reads its input. Whatever
 * a target finds wrong ends the process through FUZZ_CHECK(), with a sentence that
 * says what was expected, so that libFuzzer keeps the input.
 *
 * The same input must always take the same way: no clock, no randomness but what
 * the input holds.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libbus/base/span.h"

/* What libFuzzer calls. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define FUZZ_CHECK(condition, ...)                                                                 \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fuzz_fail(__FILE__, __LINE__, __VA_ARGS__);                                            \
    } while (0)

_Noreturn void fuzz_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The input, taken from its front. Past its end there are zeros and empty pieces. */
struct fuzz_input {
    const char *data;
    size_t size;
};

static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
    if (input->size == 0)
        return 0;
    input->size--;
    return (uint8_t)*input->data++;
}

/* The next `size` bytes, or what there is. */
static inline struct span fuzz_take(struct fuzz_input *input, size_t size)
{
    struct span piece = {input->data, size < input->size ? size : input->size};

    input->data += piece.size;
    input->size -= piece.size;
    return piece;
}

/* The next line without its LF; false when nothing is left. */
bool fuzz_line(struct fuzz_input *input, struct span *ret_line);

/* What comes before the first LF: inputs of targets that take one line. */
struct span fuzz_first_line(const uint8_t *data, size_t size);

/* Open file descriptors among the first FUZZ_FDS_MAX, by one system call. */
#define FUZZ_FDS_MAX 128
unsigned fuzz_count_fds(void);

/* Milliseconds of processor time that this thread has used: what is bounded in time
 * is measured so, because the machine may be busy. */
double fuzz_cpu_ms(void);

#endif
