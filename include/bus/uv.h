/* SPDX-License-Identifier: MIT */
/*
 * A bus connection in a libuv loop. Header-only, so that libbus itself does not
 * need libuv; the program links it.
 *
 *     struct bus_uv adapter;
 *     bus_uv_attach(&adapter, uv_default_loop(), bus);
 *     uv_run(uv_default_loop(), UV_RUN_DEFAULT);
 *
 * The adapter watches bus_get_fd() and calls bus_process() when it is readable;
 * the callbacks run from there. There is nothing else to do: what is published or
 * called from anywhere in the loop's thread goes out by itself, in the next turn of
 * the loop.
 *
 * Lifetime. The adapter is the program's memory and must stay where it is from
 * bus_uv_attach() until libuv has closed its handle, which the `closed` callback of
 * bus_uv_detach() reports. It holds a reference to the connection from attaching to
 * detaching, so the program may drop its own. When the connection is lost the
 * watching stops by itself (the disconnect handler has run by then); the adapter
 * still has to be detached.
 *
 * bus_close() while attached is fine: the adapter stops watching when the loop comes
 * round. Detaching within a callback of the bus is fine, too.
 */
#ifndef BUS_UV_H
#define BUS_UV_H

#include <bus/bus.h>
#include <uv.h>

#ifdef __cplusplus
extern "C" {
#endif

/* All fields are the adapter's own but `data`, which is the program's. */
struct bus_uv {
    uv_poll_t poll;
    struct bus *bus;
    void (*closed)(struct bus_uv *adapter);
    void *data;
};

static inline void bus_uv_on_readable(uv_poll_t *poll, int status, int events)
{
    struct bus_uv *adapter = (struct bus_uv *)poll->data;

    (void)status;
    (void)events;
    /* A callback may have detached us: then the handle is being closed already. */
    if (bus_process(adapter->bus) < 0 && adapter->bus)
        uv_poll_stop(poll);
}

static inline void bus_uv_on_closed(uv_handle_t *handle)
{
    struct bus_uv *adapter = (struct bus_uv *)handle->data;

    if (adapter->closed)
        adapter->closed(adapter);
}

/* Watches `bus` in `loop`. 0, or a negative errno (which is also libuv's code) with
 * nothing attached: then the adapter needs no detaching. `data` is left alone. */
static inline int bus_uv_attach(struct bus_uv *adapter, uv_loop_t *loop, struct bus *bus)
{
    int fd = bus_get_fd(bus);
    int r;

    if (fd < 0)
        return fd;
    r = uv_poll_init(loop, &adapter->poll, fd);
    if (r < 0)
        return r;
    adapter->poll.data = adapter;
    adapter->bus = bus_ref(bus);
    adapter->closed = NULL;
    /* Cannot fail: uv_poll_init() has found the fd fit for it. */
    uv_poll_start(&adapter->poll, UV_READABLE, bus_uv_on_readable);
    return 0;
}

/* Stops watching and gives the connection back. `closed` (may be NULL) is called from
 * the loop when the adapter's memory is no longer needed. Detaching twice does
 * nothing. What has been sent but not written yet goes with the connection, if the
 * program holds no other reference to it: bus_flush() first. */
static inline void bus_uv_detach(struct bus_uv *adapter, void (*closed)(struct bus_uv *adapter))
{
    if (!adapter->bus)
        return;
    adapter->closed = closed;
    /* Before the fd goes: libuv must not be left watching a closed one. */
    uv_close((uv_handle_t *)&adapter->poll, bus_uv_on_closed);
    bus_unref(adapter->bus);
    adapter->bus = NULL;
}

#ifdef __cplusplus
}
#endif

#endif
