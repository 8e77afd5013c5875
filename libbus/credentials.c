/* SPDX-License-Identifier: MIT */
#include "libbus/credentials.h"

#include <errno.h>
#include <stdio.h>

#include "libbus/base/macros.h"
#include "libbus/client.h"
#include "libbus/error.h"
#include "libbus/wire/grammar.h"

void credentials_ask(struct outgoing *ret_call, const char *name, char body[CREDENTIALS_BODY_SIZE])
{
    int size = snprintf(body, CREDENTIALS_BODY_SIZE, "{\"name\":\"%s\"}", name);

    *ret_call = (struct outgoing){
        .type = MESSAGE_CALL,
        .to = SPAN("bus"),
        .method = SPAN("GetCredentials"),
        .body = {body, (size_t)size},
        .own = true,
    };
}

int credentials_read(struct bus_message *reply, struct bus_credentials *ret_credentials,
                     struct bus_error *error)
{
    json_int_t pid, uid, gid;

    if (bus_message_unpack(reply, NULL, "{s:I, s:I, s:I}", "pid", &pid, "uid", &uid, "gid", &gid) <
        0)
        return bus_error_set_errno(error, -EPROTO,
                                   "the bus answered GetCredentials without credentials");
    int pidfd = bus_message_take_fd(reply, 0);
    *ret_credentials = (struct bus_credentials){
        .pid = (pid_t)pid,
        .uid = (uid_t)uid,
        .gid = (gid_t)gid,
        .pidfd = pidfd < 0 ? -1 : pidfd,
    };
    return 0;
}

void credentials_deinit(struct bus_credentials *credentials)
{
    cleanup_close(&credentials->pidfd);
    credentials->pidfd = -1;
}

int bus_get_credentials(struct bus *bus, const char *name, struct bus_credentials *ret_credentials,
                        struct bus_error *error)
{
    char body[CREDENTIALS_BODY_SIZE];
    struct bus_message *reply;
    struct outgoing call;
    size_t offset;
    const char *reason = grammar_check_destination(span_from(name), &offset);

    if (reason)
        return bus_error_set_errno(error, -EINVAL, "'%s' is no name: %s (at byte %zu)",
                                   name ? name : "", reason, offset);
    credentials_ask(&call, name, body);
    int r = client_call(bus, &call, BUS_TIMEOUT_DEFAULT, error, &reply);
    if (r < 0)
        return r;
    r = credentials_read(reply, ret_credentials, error);
    bus_message_unref(reply);
    return r;
}
