/* SPDX-License-Identifier: MIT */
/*
 * The colours of the readable form, as terminal sequences. With `on` false every
 * sequence is empty, so that the same code prints with and without colour.
 */
#ifndef BUSCTL_STYLE_H
#define BUSCTL_STYLE_H

#include <stdbool.h>

enum style {
    STYLE_HEADING,
    STYLE_NAME,
    STYLE_TOPIC,
    STYLE_DIM,
    STYLE_ERROR,
    STYLE_KEY,
    STYLE_STRING,
    STYLE_NUMBER,
    STYLE_LITERAL,
};

const char *style_start(bool on, enum style style);
const char *style_end(bool on);

/* Whether what is written to this file descriptor is to be coloured: it is a
 * terminal that knows how, and NO_COLOR is not set. */
bool style_wanted(int fd);

#endif
