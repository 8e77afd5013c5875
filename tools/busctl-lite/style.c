/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/style.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *style_start(bool on, enum style style)
{
    static const char *const sequences[] = {
        [STYLE_HEADING] = "\033[1m", [STYLE_NAME] = "\033[36m",   [STYLE_TOPIC] = "\033[32m",
        [STYLE_DIM] = "\033[2m",     [STYLE_ERROR] = "\033[31m",  [STYLE_KEY] = "\033[34m",
        [STYLE_STRING] = "\033[32m", [STYLE_NUMBER] = "\033[33m", [STYLE_LITERAL] = "\033[35m",
    };

    return on ? sequences[style] : "";
}

const char *style_end(bool on)
{
    return on ? "\033[0m" : "";
}

bool style_wanted(int fd)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");

    if (no_color && no_color[0])
        return false;
    return isatty(fd) && term && strcmp(term, "dumb") != 0;
}
