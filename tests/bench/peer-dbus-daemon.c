/* SPDX-License-Identifier: MIT */
/* dbus-daemon, open to all, with limits that no workload reaches. */
#include <stdio.h>

#include "tests/bench/client-sdbus.h"
#include "tests/bench/process.h"

static int dbus_daemon_start(struct broker *broker)
{
    static const char *const limits[] = {
        "max_incoming_bytes",         "max_outgoing_bytes",
        "max_message_size",           "max_completed_connections",
        "max_incomplete_connections", "max_connections_per_user",
        "max_names_per_connection",   "max_match_rules_per_connection",
        "max_replies_per_connection"};
    char path[128], text[2048] = "";
    size_t used = 0;

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        used +=
            (size_t)snprintf(text + used, sizeof(text) - used, "<limit name=\"%s\">%s</limit>\n",
                             limits[i], i < 3 ? "100000000" : "1000000");
    snprintf(broker->address, sizeof(broker->address), "%s/bus", broker->folder);
    write_config(broker, path, sizeof(path),
                 "<busconfig>\n<type>session</type>\n<listen>unix:path=%s</listen>\n"
                 "<auth>EXTERNAL</auth>\n<policy context=\"default\">\n"
                 "<allow eavesdrop=\"true\"/>\n<allow send_destination=\"*\" "
                 "eavesdrop=\"true\"/>\n<allow own=\"*\"/>\n"
                 "</policy>\n%s</busconfig>\n",
                 broker->address, text);
    broker->pid = process_fork();
    if (broker->pid == 0) {
        char option[256];
        snprintf(option, sizeof(option), "--config-file=%s", path);
        process_exec(
            (const char *[]){"dbus-daemon", option, "--nofork", "--nopidfile", "--nosyslog", NULL});
    }
    return 0;
}

const struct peer peer_dbus_daemon = {
    .name = "dbus-daemon",
    .program = "dbus-daemon",
    .version_argument = "--version",
    .start = dbus_daemon_start,
    .exact_max = 10000,
    .patterns_max = 10000,
    SDBUS_CLIENT,
};
