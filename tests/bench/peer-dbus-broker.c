/* SPDX-License-Identifier: MIT */
/*
 * dbus-broker without its launcher: a helper process holds the controlling socket,
 * hands over the listening one with a policy that allows everything, and stays.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "tests/bench/client-sdbus.h"
#include "tests/bench/process.h"

#define EVERYBODY UINT32_MAX
#define CONTROL   3 /* where the broker finds its end */
#define UNBOUNDED "100000000000"

/* The types of AddListener's policy, as of version 33. */
#define OWN   "(btbs)"
#define RULE  "(btssssuutt)"
#define BATCH "bta" OWN "a" RULE "a" RULE

static void check(int r, const char *what)
{
    if (r >= 0)
        return;
    fprintf(stderr, "bench: dbus-broker: %s: %s\n", what, strerror(-r));
    _exit(EXIT_FAILURE);
}

static void append_allow_all(sd_bus_message *call)
{
    check(sd_bus_message_open_container(call, 'a', RULE), "policy");
    check(sd_bus_message_append(call, RULE, 1, UINT64_C(1), "", "", "", "", 0, 0, UINT64_C(0),
                                UINT64_MAX),
          "policy");
    check(sd_bus_message_close_container(call), "policy");
}

static void append_policy(sd_bus_message *call)
{
    const char *policy = "a(u(" BATCH "))a(buu(" BATCH "))a(ss)bs";
    char type[256];

    snprintf(type, sizeof(type), "(%s)", policy);
    check(sd_bus_message_open_container(call, 'v', type), "policy");
    check(sd_bus_message_open_container(call, 'r', policy), "policy");
    check(sd_bus_message_open_container(call, 'a', "(u(" BATCH "))"), "policy");
    check(sd_bus_message_open_container(call, 'r', "u(" BATCH ")"), "policy");
    check(sd_bus_message_append(call, "u", EVERYBODY), "policy");
    check(sd_bus_message_open_container(call, 'r', BATCH), "policy");
    check(sd_bus_message_append(call, "bt", 1, UINT64_C(1)), "policy");
    check(sd_bus_message_append(call, "a" OWN, 1, 1, UINT64_C(1), 1, ""), "policy");
    append_allow_all(call); /* sending */
    append_allow_all(call); /* receiving */
    check(sd_bus_message_close_container(call), "policy");
    check(sd_bus_message_close_container(call), "policy");
    check(sd_bus_message_close_container(call), "policy");
    check(sd_bus_message_append(call, "a(buu(" BATCH "))", 0), "policy");
    check(sd_bus_message_append(call, "a(ss)", 0), "policy");
    check(sd_bus_message_append(call, "bs", 0, "session"), "policy");
    check(sd_bus_message_close_container(call), "policy");
    check(sd_bus_message_close_container(call), "policy");
}

static void control(int fd, int listener) __attribute__((noreturn));

static void control(int fd, int listener)
{
    sd_bus_error error = SD_BUS_ERROR_NULL;
    sd_bus_message *call;
    sd_bus *bus;

    check(sd_bus_new(&bus), "controller");
    check(sd_bus_set_fd(bus, fd, fd), "controller");
    check(sd_bus_set_trusted(bus, 1), "controller");
    check(sd_bus_start(bus), "controller");
    check(sd_bus_message_new_method_call(bus, &call, NULL, "/org/bus1/DBus/Broker",
                                         "org.bus1.DBus.Broker", "AddListener"),
          "AddListener");
    check(sd_bus_message_append(call, "oh", "/org/bus1/DBus/Listener/0", listener), "AddListener");
    append_policy(call);
    if (sd_bus_call(bus, call, 0, &error, NULL) < 0) {
        fprintf(stderr, "bench: dbus-broker: AddListener: %s\n", error.message);
        _exit(EXIT_FAILURE);
    }
    for (;;) {
        int r = sd_bus_process(bus, NULL);
        if (r == 0)
            r = sd_bus_wait(bus, UINT64_MAX);
        if (r < 0)
            _exit(EXIT_SUCCESS);
    }
}

static int dbus_broker_start(struct broker *broker)
{
    int ends[2];

    snprintf(broker->address, sizeof(broker->address), "%s/bus", broker->folder);
    int listener = listen_at(broker->address);
    if (listener < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    broker->pid = process_fork();
    if (broker->pid == 0) {
        if (ends[1] == CONTROL)
            fcntl(CONTROL, F_SETFD, 0);
        else
            dup2(ends[1], CONTROL);
        process_exec((const char *[]){"dbus-broker", "--controller", "3", "--machine-id",
                                      "0123456789abcdef0123456789abcdef", "--max-bytes", UNBOUNDED,
                                      "--max-fds", "1000000", "--max-matches", UNBOUNDED,
                                      "--max-objects", UNBOUNDED, NULL});
    }
    broker->helper = process_fork();
    if (broker->helper == 0) {
        close(ends[1]);
        control(ends[0], listener);
    }
    close(ends[0]);
    close(ends[1]);
    close(listener);
    return 0;
}

const struct peer peer_dbus_broker = {
    .name = "dbus-broker",
    .program = "dbus-broker",
    .version_argument = "--version",
    .start = dbus_broker_start,
    .patterns_max = 10000,
    SDBUS_CLIENT,
};
