/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/table.h"

#include <stdio.h>
#include <stdlib.h>

#include "tools/busctl-lite/print.h"
#include "tools/busctl-lite/report.h"

#define GAP 2

void table_init(struct table *table, const struct table_column *columns, size_t count)
{
    *table = (struct table){.columns = columns, .column_count = count};
}

void table_deinit(struct table *table)
{
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    free(table->cells);
}

int table_add(struct table *table, char *cell)
{
    if (!cell)
        return report_no_memory();
    if (table->cell_count == table->capacity) {
        size_t capacity = table->capacity * 2 + 64;
        char **cells = reallocarray(table->cells, capacity, sizeof(*cells));

        if (!cells) {
            free(cell);
            return report_no_memory();
        }
        table->cells = cells;
        table->capacity = capacity;
    }
    table->cells[table->cell_count++] = cell;
    return STATUS_OK;
}

static int column_width(const struct table *table, size_t column)
{
    int width = print_width(table->columns[column].heading);

    for (size_t i = column; i < table->cell_count; i += table->column_count) {
        int cell_width = print_width(table->cells[i]);

        width = cell_width > width ? cell_width : width;
    }
    return width;
}

int table_print(const struct table *table, const struct cli *cli)
{
    int widths[TABLE_COLUMNS_MAX];
    size_t last = table->column_count - 1;

    for (size_t column = 0; column <= last; column++) {
        widths[column] = column == last ? 0 : column_width(table, column) + GAP;
        print_styled(cli, STYLE_HEADING, table->columns[column].heading, widths[column]);
    }
    fputc('\n', stdout);
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t column = i % table->column_count;

        print_styled(cli, table->columns[column].style, table->cells[i], widths[column]);
        if (column == last)
            fputc('\n', stdout);
    }
    return print_flush();
}
