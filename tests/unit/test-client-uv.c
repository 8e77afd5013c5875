/* SPDX-License-Identifier: MIT */
/* The libuv adapter, on a real loop. */
#include "tests/unit/client-fixture.h"

#include <bus/uv.h>

struct scene {
    struct fixture fixture;
    uv_loop_t loop;
    struct bus_uv adapter;
    uv_timer_t timer;
    int events;
    int closed;
    int disconnected;
    int timed_out;
};

static void begin(struct scene *scene)
{
    memset(scene, 0, sizeof(*scene));
    /* What libuv opens once for the process is not ours to count. */
    assert_int_equal(uv_loop_init(&scene->loop), 0);
    fixture_begin(&scene->fixture);
    scene->adapter.data = scene;
    assert_int_equal(bus_uv_attach(&scene->adapter, &scene->loop, scene->fixture.bus), 0);
    assert_ptr_equal(scene->adapter.data, scene);
}

static void on_closed(struct bus_uv *adapter)
{
    struct scene *scene = adapter->data;

    scene->closed++;
}

/* Runs the loop until nothing is left in it. */
static void end(struct scene *scene)
{
    assert_int_equal(uv_run(&scene->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(scene->closed, 1);
    fixture_end(&scene->fixture);
    assert_int_equal(uv_loop_close(&scene->loop), 0);
}

static void detach_at_two(struct bus_message *message, void *userdata)
{
    struct scene *scene = userdata;

    if (++scene->events == 2)
        bus_uv_detach(&scene->adapter, on_closed);
}

static void subscribe(struct scene *scene, bus_message_handler handler)
{
    fixture_say(&scene->fixture,
                "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":1,\"body\":{\"subscription\":1}}");
    assert_int_equal(bus_subscribe(scene->fixture.bus, "#", NULL, handler, scene, NULL, NULL), 0);
    free(fixture_hear(&scene->fixture));
}

static void say_event(struct scene *scene)
{
    fixture_say(&scene->fixture, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"a\"}");
}

static void test_events_and_detach(void **state)
{
    struct scene scene;

    begin(&scene);
    subscribe(&scene, detach_at_two);
    say_event(&scene);
    say_event(&scene);
    end(&scene);
    assert_int_equal(scene.events, 2);
    bus_uv_detach(&scene.adapter, on_closed);
    assert_int_equal(scene.closed, 1);
}

static void publish_on_timer(uv_timer_t *timer)
{
    struct scene *scene = timer->data;

    assert_int_equal(bus_publish_text(scene->fixture.bus, "from.timer", NULL, 0), 0);
    uv_close((uv_handle_t *)timer, NULL);
}

static void on_reply(struct bus_message *message, void *userdata)
{
    struct scene *scene = userdata;

    scene->timed_out += bus_message_get_error(message, NULL) == -ETIMEDOUT;
    bus_uv_detach(&scene->adapter, on_closed);
}

/* What is sent from anywhere in the loop goes out, and deadlines pass, without
 * anything more than the one handle. */
static void test_sends_and_deadlines(void **state)
{
    struct scene scene;

    begin(&scene);
    scene.timer.data = &scene;
    assert_int_equal(uv_timer_init(&scene.loop, &scene.timer), 0);
    assert_int_equal(uv_timer_start(&scene.timer, publish_on_timer, 20, 0), 0);
    assert_int_equal(
        bus_call_text_async(scene.fixture.bus, "org.x", "M", NULL, 0, 50, on_reply, &scene, NULL),
        0);
    end(&scene);
    assert_int_equal(scene.timed_out, 1);
}

static void test_sent_lines(void **state)
{
    struct scene scene;

    begin(&scene);
    scene.timer.data = &scene;
    assert_int_equal(uv_timer_init(&scene.loop, &scene.timer), 0);
    assert_int_equal(uv_timer_start(&scene.timer, publish_on_timer, 5, 0), 0);
    while (!fixture_is_readable(&scene.fixture, 0))
        uv_run(&scene.loop, UV_RUN_ONCE);
    fixture_expect(&scene.fixture, "{\"type\":\"event\",\"topic\":\"from.timer\"}");
    bus_uv_detach(&scene.adapter, on_closed);
    end(&scene);
}

static void on_disconnect(struct bus *bus, void *userdata)
{
    struct scene *scene = userdata;

    scene->disconnected++;
}

/* The loop ends by itself when the connection does. */
static void test_connection_lost(void **state)
{
    struct scene scene;

    begin(&scene);
    bus_set_disconnect_handler(scene.fixture.bus, on_disconnect, &scene);
    fixture_hang_up(&scene.fixture);
    assert_int_equal(uv_run(&scene.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(scene.disconnected, 1);
    assert_int_equal(scene.closed, 0);
    bus_uv_detach(&scene.adapter, on_closed);
    end(&scene);
}

static void test_closed_while_attached(void **state)
{
    struct scene scene;

    begin(&scene);
    scene.fixture.bus = bus_close(scene.fixture.bus);
    assert_int_equal(uv_run(&scene.loop, UV_RUN_DEFAULT), 0);
    bus_uv_detach(&scene.adapter, on_closed);
    end(&scene);
}

static void detach_and_close(struct bus_message *message, void *userdata)
{
    struct scene *scene = userdata;

    scene->events++;
    bus_uv_detach(&scene->adapter, on_closed);
    scene->fixture.bus = bus_close(scene->fixture.bus);
}

static void test_detach_and_close_in_callback(void **state)
{
    struct scene scene;

    begin(&scene);
    subscribe(&scene, detach_and_close);
    say_event(&scene);
    say_event(&scene);
    end(&scene);
    assert_int_equal(scene.events, 1);
}

static void test_adapter_keeps_the_connection(void **state)
{
    struct scene scene;

    begin(&scene);
    subscribe(&scene, detach_at_two);
    scene.fixture.bus = bus_unref(scene.fixture.bus);
    say_event(&scene);
    say_event(&scene);
    end(&scene);
    assert_int_equal(scene.events, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_and_detach),
        cmocka_unit_test(test_sends_and_deadlines),
        cmocka_unit_test(test_sent_lines),
        cmocka_unit_test(test_connection_lost),
        cmocka_unit_test(test_closed_while_attached),
        cmocka_unit_test(test_detach_and_close_in_callback),
        cmocka_unit_test(test_adapter_keeps_the_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
