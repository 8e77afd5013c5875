/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* What is freed is used again before long, or every input would need fresh pages. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=16";
}

void fuzz_fail(const char *file, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "\n%s:%d: ", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

bool fuzz_line(struct fuzz_input *input, struct span *ret_line)
{
    if (input->size == 0)
        return false;
    *ret_line = fuzz_first_line((const uint8_t *)input->data, input->size);
    fuzz_take(input, ret_line->size + 1);
    return true;
}

struct span fuzz_first_line(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;

    return (struct span){(const char *)data, end ? (size_t)(end - data) : size};
}

unsigned fuzz_count_fds(void)
{
    struct pollfd fds[FUZZ_FDS_MAX];
    unsigned count = 0;

    for (int i = 0; i < FUZZ_FDS_MAX; i++)
        fds[i] = (struct pollfd){.fd = i};
    FUZZ_CHECK(poll(fds, FUZZ_FDS_MAX, 0) >= 0, "poll() has failed");
    for (int i = 0; i < FUZZ_FDS_MAX; i++)
        count += !(fds[i].revents & POLLNVAL);
    return count;
}

double fuzz_cpu_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}
