/* SPDX-License-Identifier: MIT */
/*
 * Rows of text in aligned columns under a heading, for the readable form. The
 * last column is not padded.
 */
#ifndef BUSCTL_TABLE_H
#define BUSCTL_TABLE_H

#include <stddef.h>

#include "tools/busctl-lite/cli.h"
#include "tools/busctl-lite/style.h"

#define TABLE_COLUMNS_MAX 8

struct table_column {
    const char *heading;
    enum style style;
};

struct table {
    const struct table_column *columns;
    size_t column_count;
    char **cells; /* owned, row after row */
    size_t cell_count;
    size_t capacity;
};

void table_init(struct table *table, const struct table_column *columns, size_t count);
void table_deinit(struct table *table);

/* Takes one cell; a row is as many calls as there are columns. NULL (no memory)
 * is an error like any other lack of memory. */
int table_add(struct table *table, char *cell);

int table_print(const struct table *table, const struct cli *cli);

#endif
