/* SPDX-License-Identifier: MIT */
/*
 * The known word that a mistyped one was probably meant to be.
 */
#ifndef BUSCTL_SUGGEST_H
#define BUSCTL_SUGGEST_H

#include <stddef.h>

struct suggestion {
    const char *typed;
    size_t typed_size;
    const char *best; /* NULL: nothing is close; borrowed from the candidates */
    size_t distance;
};

void suggestion_init(struct suggestion *suggestion, const char *typed, size_t size);
void suggestion_consider(struct suggestion *suggestion, const char *candidate);

#endif
