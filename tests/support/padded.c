/* SPDX-License-Identifier: MIT */
#include "tests/support/padded.h"

#include <stdlib.h>
#include <string.h>

#include "libbus/wire/scan.h"

char *padded_new(const void *text, size_t size)
{
    char *padded = malloc(size + 1 + SCAN_PADDING);

    if (!padded)
        abort();
    if (size > 0)
        memcpy(padded, text, size);
    padded[size] = '\n';
    for (size_t i = 0; i < SCAN_PADDING; i++)
        padded[size + 1 + i] = "\"\\]}0\xc3\n"[i % 7];
    return padded;
}
