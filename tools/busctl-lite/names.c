/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/names.h"

#include <bus/bus.h>
#include <string.h>

#include "tools/busctl-lite/report.h"

typedef const char *(*checker)(const char *text, size_t *ret_offset);

static int check(const char *verb, const char *what, const char *text, checker check_text)
{
    size_t offset = 0;
    const char *problem = check_text(text, &offset);

    return problem ? report_bad_name(verb, what, text, offset, problem) : STATUS_OK;
}

bool is_unique_name(const char *name)
{
    return name[0] == ':' && name[1] != '\0' && name[1 + strspn(name + 1, "0123456789")] == '\0';
}

int check_peer(const char *verb, const char *name)
{
    if (is_unique_name(name) || strcmp(name, "bus") == 0)
        return STATUS_OK;
    return check_name(verb, name);
}

int check_name(const char *verb, const char *name)
{
    return check(verb, "NAME", name, bus_check_name);
}

int check_topic(const char *verb, const char *topic)
{
    return check(verb, "TOPIC", topic, bus_check_topic);
}

int check_pattern(const char *verb, const char *pattern)
{
    return check(verb, "PATTERN", pattern, bus_check_pattern);
}

int check_method(const char *verb, const char *method)
{
    return check(verb, "METHOD", method, bus_check_method);
}

int check_group(const char *verb, const char *group)
{
    return check(verb, "GROUP", group, bus_check_group);
}
