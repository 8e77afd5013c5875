/* SPDX-License-Identifier: MIT */
/*
 * Data on stdout, item by item, in the form that the options ask for. Each item
 * is flushed: whoever reads our pipe sees it at once.
 */
#ifndef BUSCTL_PRINT_H
#define BUSCTL_PRINT_H

#include <bus/bus.h>
#include <stddef.h>

#include "tools/busctl-lite/cli.h"
#include "tools/busctl-lite/style.h"

/* One JSON value and a newline: on one line with --json=short, else indented. */
int print_json_text(const struct cli *cli, const char *text, size_t size);
int print_json(const struct cli *cli, const json_t *json);

/* JSON on one line, coloured, without a newline: a part of a readable line. What
 * does not fit in `columns` is cut, with an ellipsis; INT_MAX: nothing is cut. */
void print_json_inline(const struct cli *cli, const char *text, size_t size, int columns);

/* Text in a colour, control characters taken out, padded to `width` columns. Returns
 * how many columns it took. */
int print_styled(const struct cli *cli, enum style style, const char *text, int width);

/* The same for text that is cut as above. */
void print_cut(const struct cli *cli, enum style style, const char *text, int columns);

/* How wide the terminal is that stdout is; INT_MAX if it is none. */
int print_columns(void);

/* A line of a readable page: a label, then what printf makes of the rest. */
void print_field(const struct cli *cli, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The time of day with milliseconds, `seconds` since 1970. Returns its columns. */
int print_time(const struct cli *cli, double seconds);

/* Ends an item: STATUS_OK if it could be written. */
int print_flush(void);

/* How many columns a text takes on a terminal. */
int print_width(const char *text);

#endif
