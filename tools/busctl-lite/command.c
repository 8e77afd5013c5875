/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/command.h"

#include <string.h>

#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/report.h"
#include "tools/busctl-lite/suggest.h"

static const struct command *const commands[] = {
    &command_list,        &command_status,    &command_call,    &command_channel,
    &command_publish,     &command_subscribe, &command_get,     &command_set,
    &command_monitor,     &command_wait,      &command_serve,   &command_ping,
    &command_introspect,  &command_stats,     &command_explain, &command_reload,
    &command_run_session, &command_help,
};

const struct command *command_at(size_t index)
{
    return index < ARRAY_SIZE(commands) ? commands[index] : NULL;
}

int command_find(const char *name, const struct command **ret_command)
{
    struct suggestion suggestion;

    suggestion_init(&suggestion, name, strlen(name));
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            *ret_command = commands[i];
            return STATUS_OK;
        }
        suggestion_consider(&suggestion, commands[i]->name);
    }
    if (suggestion.best)
        return report_usage(NULL, "there is no verb '%s': did you mean '%s'?", name,
                            suggestion.best);
    return report_usage(NULL, "there is no verb '%s'", name);
}
