/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/print.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "tools/busctl-lite/json.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/report.h"

#define LABEL_WIDTH 15
#define ELLIPSIS    "\xe2\x80\xa6"

int print_flush(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return STATUS_OK;
    return report_failure(STATUS_ERROR, "cannot write to stdout: %s", strerror(errno));
}

int print_json_text(const struct cli *cli, const char *text, size_t size)
{
    enum json_layout layout = cli->output == OUTPUT_SHORT ? JSON_ONE_LINE : JSON_INDENTED;

    json_write(stdout, text, size, layout, cli->colour);
    fputc('\n', stdout);
    return print_flush();
}

int print_json(const struct cli *cli, const json_t *json)
{
    CLEANUP(owned_text)
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));

    return text ? print_json_text(cli, text, strlen(text)) : report_no_memory();
}

int print_columns(void)
{
    struct winsize size;

    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        return INT_MAX;
    return size.ws_col;
}

/* How many bytes of the text fit in that many columns; *ret_columns is what they
 * take. */
static size_t fit(const char *text, size_t size, int columns, int *ret_columns)
{
    mbstate_t state = {0};
    size_t used = 0;
    int width = 0;

    while (used < size) {
        wchar_t character;
        size_t length = mbrtowc(&character, text + used, size - used, &state);
        int own;

        if (length == 0 || length > size - used) { /* no character in this locale */
            memset(&state, 0, sizeof(state));
            length = 1;
            own = 1;
        } else {
            own = wcwidth(character) > 0 ? wcwidth(character) : 0;
        }
        if (own > columns - width)
            break;
        width += own;
        used += length;
    }
    *ret_columns = width;
    return used;
}

/* How much of the text is shown if it may have to be cut for an ellipsis. */
static size_t cut(const char *text, size_t size, int columns)
{
    int width;
    size_t fitting = fit(text, size, columns, &width);

    return fitting == size ? size : fit(text, size, columns > 0 ? columns - 1 : 0, &width);
}

int print_width(const char *text)
{
    int width;

    fit(text, strlen(text), INT_MAX, &width);
    return width;
}

void print_json_inline(const struct cli *cli, const char *text, size_t size, int columns)
{
    size_t shown = cut(text, size, columns);

    json_write(stdout, text, shown, JSON_ONE_LINE, cli->colour);
    fputs(shown < size ? ELLIPSIS : "", stdout);
}

int print_styled(const struct cli *cli, enum style style, const char *text, int width)
{
    int own = print_width(text);

    fputs(style_start(cli->colour, style), stdout);
    json_write_plain(stdout, text, strlen(text));
    fputs(style_end(cli->colour), stdout);
    if (own >= width)
        return own;
    printf("%*s", width - own, "");
    return width;
}

void print_cut(const struct cli *cli, enum style style, const char *text, int columns)
{
    size_t size = strlen(text);
    size_t shown = cut(text, size, columns);

    fputs(style_start(cli->colour, style), stdout);
    json_write_plain(stdout, text, shown);
    fputs(style_end(cli->colour), stdout);
    fputs(shown < size ? ELLIPSIS : "", stdout);
}

void print_field(const struct cli *cli, const char *label, const char *format, ...)
{
    va_list args;

    print_styled(cli, STYLE_DIM, label, LABEL_WIDTH);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    fputc('\n', stdout);
}

int print_time(const struct cli *cli, double seconds)
{
    char text[32];
    time_t time = (time_t)seconds;
    struct tm parts;
    size_t size;

    localtime_r(&time, &parts);
    size = strftime(text, sizeof(text), "%H:%M:%S", &parts);
    snprintf(text + size, sizeof(text) - size, ".%03d", (int)((seconds - (double)time) * 1000));
    return print_styled(cli, STYLE_DIM, text, 0);
}
