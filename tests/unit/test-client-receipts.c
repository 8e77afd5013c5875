/* SPDX-License-Identifier: MIT */
/* Receipts, and publishing in bulk at the pace that receipts set. */
#include "libbus/base/macros.h"
#include "tests/unit/client-fixture.h"

static void say_receipt(struct fixture *f, uint64_t id, int matched, int queued, int dropped)
{
    fixture_say(f,
                "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":%llu,\"body\":{\"matched\":%d,"
                "\"queued\":%d,\"dropped\":%d}}",
                (unsigned long long)id, matched, queued, dropped);
}

static void say_error(struct fixture *f, uint64_t id, const char *name)
{
    fixture_say(f,
                "{\"sender\":\"bus\",\"type\":\"error\",\"error\":\"%s\",\"id\":%llu,"
                "\"message\":\"no\"}",
                name, (unsigned long long)id);
}

static void say_pong(struct fixture *f, uint64_t id)
{
    fixture_say(f, "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":%llu,\"body\":{}}",
                (unsigned long long)id);
}

static struct bus_message *new_event(struct fixture *f, const char *topic)
{
    struct bus_message *event;

    assert_int_equal(bus_message_new_event(f->bus, topic, &event), 0);
    return event;
}

/* -------------------------------------------------------------- one event */

static void test_blocking(void **state)
{
    struct fixture f;
    struct bus_receipt receipt = {0};
    struct bus_error error = BUS_ERROR_INIT;

    fixture_begin(&f);
    struct bus_message *event = new_event(&f, "a.b");
    assert_int_equal(bus_message_set_body_text(event, "[1]", BUS_NUL_TERMINATED), 0);
    say_receipt(&f, 1, 3, 2, 1);
    assert_int_equal(bus_publish_message(event, BUS_TIMEOUT_NEVER, &error, &receipt), 0);
    assert_int_equal(receipt.matched, 3);
    assert_int_equal(receipt.queued, 2);
    assert_int_equal(receipt.dropped, 1);
    fixture_expect(&f, "{\"type\":\"event\",\"id\":1,\"topic\":\"a.b\",\"body\":[1]}");
    assert_int_equal(bus_publish_message(event, BUS_TIMEOUT_NEVER, &error, NULL), -EALREADY);
    bus_message_unref(event);
    fixture_end(&f);
}

static void test_blocking_fails(void **state)
{
    struct fixture f;
    struct bus_error error = BUS_ERROR_INIT;
    struct bus_message *event;

    fixture_begin(&f);
    event = new_event(&f, "a");
    say_error(&f, 1, "bus.AccessDenied");
    assert_int_equal(bus_publish_message(event, BUS_TIMEOUT_NEVER, &error, NULL), -EACCES);
    assert_string_equal(error.name, BUS_ERROR_ACCESS_DENIED);
    bus_message_unref(event);

    event = new_event(&f, "a");
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":2,\"body\":{\"matched\":1}}");
    assert_int_equal(bus_publish_message(event, BUS_TIMEOUT_NEVER, &error, NULL), -EPROTO);
    bus_message_unref(event);

    /* The answer that comes too late is nobody's, and an event has no timeout to be told. */
    event = new_event(&f, "a");
    assert_int_equal(bus_publish_message(event, 1, &error, NULL), -ETIMEDOUT);
    assert_string_equal(error.message, "no receipt for a came before the deadline");
    bus_message_unref(event);
    say_receipt(&f, 3, 1, 1, 0);
    assert_int_equal(fixture_pump(&f), 0);
    for (int i = 0; i < 2; i++)
        free(fixture_hear(&f));
    fixture_expect(&f, "{\"type\":\"event\",\"id\":3,\"topic\":\"a\"}");

    assert_int_equal(bus_message_new_call(f.bus, "org.a", "M", &event), 0);
    assert_int_equal(bus_publish_message(event, BUS_TIMEOUT_NEVER, &error, NULL), -EINVAL);
    bus_message_unref(event);
    event = new_event(&f, "a");
    fixture_hang_up(&f);
    assert_int_equal(bus_publish_message(event, BUS_TIMEOUT_NEVER, &error, NULL), -ECONNRESET);
    assert_string_equal(error.name, BUS_ERROR_DISCONNECTED);
    bus_message_unref(event);
    fixture_end(&f);
}

static void on_receipt(struct bus_message *message, void *userdata)
{
    struct bus_receipt receipt;
    int r = bus_message_get_receipt(message, &receipt);

    if (r < 0)
        diary_note(userdata, "%s", bus_message_error_name(message));
    else
        diary_note(userdata, "%d/%d/%d", (int)receipt.matched, (int)receipt.queued,
                   (int)receipt.dropped);
}

static void test_async(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_slot *slot;

    fixture_begin(&f);
    for (int i = 0; i < 4; i++) {
        struct bus_message *event = new_event(&f, "a");
        assert_int_equal(bus_message_set_to(event, ":7"), 0);
        assert_int_equal(bus_publish_async(event, on_receipt, &diary, i == 2 ? &slot : NULL), 0);
        bus_message_unref(event);
    }
    say_receipt(&f, 2, 2, 2, 0);
    say_error(&f, 1, "bus.LimitExceeded");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "2/2/0\nbus.LimitExceeded\n");
    for (int i = 1; i <= 4; i++) {
        char line[128];
        snprintf(line, sizeof(line), "{\"type\":\"event\",\"to\":\":7\",\"id\":%d,\"topic\":\"a\"}",
                 i);
        fixture_expect(&f, line);
    }
    /* There is nothing to be cancelled. */
    bus_slot_free(slot);
    assert_int_equal(fixture_pump(&f), 0);
    fixture_expect_nothing(&f);
    say_receipt(&f, 3, 1, 1, 0);
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "");
    fixture_hang_up(&f);
    assert_int_equal(fixture_pump(&f), -ECONNRESET);
    diary_expect(&diary, "bus.Disconnected\n");
    fixture_end(&f);
}

/* ----------------------------------------------------------------- in bulk */

/* The id of the next event that the client has sent; 0: it has none. */
static uint64_t hear_id(struct fixture *f, const char *topic)
{
    CLEANUP(cleanup_free) char *line = fixture_hear(f);
    const char *id = strstr(line, "\"id\":");
    char expected[64];

    snprintf(expected, sizeof(expected), "\"topic\":\"%s\"", topic);
    assert_non_null(strstr(line, expected));
    return id ? strtoull(id + 5, NULL, 10) : 0;
}

/* Sends as many as there is room for. */
static unsigned fill(struct bus_publisher *publisher, const char *topic)
{
    unsigned count = 0;
    int r;

    while ((r = bus_publisher_send_text(publisher, topic, "1", 1)) == 0)
        count++;
    assert_int_equal(r, -EAGAIN);
    return count;
}

/* The first event and every quarter of the window asks, and each receipt stands for what
 * came before it. */
static void test_window(void **state)
{
    struct fixture f;
    struct bus_publisher *publisher;
    uint64_t id[8];

    fixture_begin(&f);
    assert_int_equal(bus_publisher_new(f.bus, 16, 0, &publisher), 0);
    assert_int_equal(fill(publisher, "a"), 16);
    assert_int_equal(bus_flush(f.bus, UINT64_MAX), 0);
    for (unsigned i = 0; i < 16; i++) {
        uint64_t one = hear_id(&f, "a");
        assert_int_equal(one != 0, i % 4 == 0);
        if (one)
            id[i / 4] = one;
    }
    /* The third alone says nothing while the second has not come. */
    say_receipt(&f, id[0], 1, 1, 0);
    say_receipt(&f, id[2], 1, 1, 0);
    assert_int_equal(fixture_pump(&f), 0);
    assert_int_equal(fill(publisher, "a"), 1);
    say_receipt(&f, id[1], 1, 1, 0);
    assert_int_equal(fixture_pump(&f), 0);
    assert_int_equal(fill(publisher, "a"), 8);
    bus_publisher_free(publisher);
    fixture_end(&f);
}

/* Whoever listens to one topic says nothing of those who listen to another. */
static void test_topics(void **state)
{
    struct fixture f;
    struct bus_publisher *publisher;

    fixture_begin(&f);
    assert_int_equal(bus_publisher_new(f.bus, 100, 0, &publisher), 0);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(bus_publisher_send_text(publisher, i % 3 ? "a" : "b", NULL, 0), 0);
    assert_int_equal(bus_flush(f.bus, UINT64_MAX), 0);
    assert_int_not_equal(hear_id(&f, "b"), 0);
    assert_int_not_equal(hear_id(&f, "a"), 0);
    assert_int_equal(hear_id(&f, "a"), 0);
    assert_int_not_equal(hear_id(&f, "b"), 0);
    assert_int_not_equal(hear_id(&f, "a"), 0);
    assert_int_equal(hear_id(&f, "a"), 0);
    bus_publisher_free(publisher);
    fixture_end(&f);
}

static void test_exact(void **state)
{
    struct fixture f;
    struct bus_publisher *publisher;
    struct bus_receipt receipt;

    fixture_begin(&f);
    assert_int_equal(bus_publisher_new(f.bus, 3, 64, &publisher), -EINVAL);
    assert_int_equal(bus_publisher_new(f.bus, 3, BUS_PUBLISHER_EXACT, &publisher), 0);
    assert_true(bus_publisher_get_fewest(publisher) == UINT64_MAX);
    assert_int_equal(fill(publisher, "a"), 3);
    say_receipt(&f, 2, 5, 3, 2);
    say_receipt(&f, 1, 5, 2, 3);
    say_receipt(&f, 3, 5, 4, 1);
    assert_int_equal(bus_publisher_finish(publisher, UINT64_MAX, NULL), 0);
    assert_int_equal(bus_publisher_get_fewest(publisher), 2);
    bus_publisher_get_receipt(publisher, &receipt);
    assert_int_equal(receipt.matched, 15);
    assert_int_equal(receipt.queued, 9);
    assert_int_equal(receipt.dropped, 6);
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(hear_id(&f, "a"), id);
    fixture_expect_nothing(&f);
    bus_publisher_free(publisher);
    fixture_end(&f);
}

/* Long events fill the window before it is full of them; each asks. */
static void test_bytes(void **state)
{
    static char body[100 * 1024];
    struct fixture f;
    struct bus_publisher *publisher;

    memset(body, 'x', sizeof(body));
    body[0] = body[sizeof(body) - 1] = '"';
    fixture_begin(&f);
    assert_int_equal(bus_publisher_new(f.bus, 0, 0, &publisher), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(bus_publisher_send_text(publisher, "a", body, sizeof(body)), 0);
    assert_int_equal(bus_publisher_send_text(publisher, "a", body, sizeof(body)), -EAGAIN);
    say_receipt(&f, 1, 1, 1, 0);
    say_receipt(&f, 2, 1, 1, 0);
    assert_int_equal(bus_publisher_wait(publisher, 0), 0);
    assert_int_equal(bus_publisher_send_text(publisher, "a", body, sizeof(body)), 0);
    assert_int_equal(bus_publisher_send_text(publisher, "a", body, sizeof(body)), 0);
    assert_int_equal(bus_publisher_send_text(publisher, "a", "1", 1), -EAGAIN);
    bus_publisher_free(publisher);
    fixture_end(&f);
}

/* Waiting and finishing, with the answers there, late, or not coming. */
static void test_waiting(void **state)
{
    struct fixture f;
    struct bus_publisher *publisher;
    struct bus_error error;

    fixture_begin(&f);
    assert_int_equal(bus_publisher_new(f.bus, 4, 0, &publisher), 0);
    assert_int_equal(bus_publisher_finish(publisher, 0, &error), 0);
    assert_int_equal(bus_publisher_wait(publisher, 0), 0);
    assert_int_equal(fill(publisher, "a"), 4);
    assert_int_equal(bus_publisher_wait(publisher, 20), -ETIMEDOUT);
    assert_int_equal(bus_publisher_finish(publisher, 0, &error), -ETIMEDOUT);
    assert_string_equal(error.name, BUS_ERROR_TIMEOUT);
    for (uint64_t id = 1; id <= 4; id++)
        say_receipt(&f, id, 1, 1, 0);
    assert_int_equal(bus_publisher_wait(publisher, UINT64_MAX), 0);
    assert_int_equal(bus_publisher_finish(publisher, UINT64_MAX, &error), 0);
    bus_publisher_free(publisher);

    /* What comes after the last question is made sure of by a call. */
    assert_int_equal(bus_publisher_new(f.bus, 100, 0, &publisher), 0);
    assert_int_equal(bus_publisher_send_text(publisher, "a", "1", 1), 0);
    assert_int_equal(bus_publisher_send_text(publisher, "a", "1", 1), 0);
    say_receipt(&f, 5, 1, 1, 0);
    assert_int_equal(fixture_pump(&f), 0);
    say_pong(&f, 6);
    assert_int_equal(bus_publisher_finish(publisher, UINT64_MAX, &error), 0);
    for (unsigned i = 0; i < 6; i++)
        hear_id(&f, "a");
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"id\":6,\"method\":\"Ping\","
                       "\"timeout\":0}");
    bus_publisher_free(publisher);
    fixture_end(&f);
}

/* The first refusal is the last word. */
static void test_refused(void **state)
{
    struct fixture f;
    struct bus_publisher *publisher;
    struct bus_error error;

    fixture_begin(&f);
    assert_int_equal(bus_publisher_new(f.bus, 4, 0, &publisher), 0);
    assert_int_equal(bus_publisher_send_text(publisher, "not a topic", "1", 1), -EINVAL);
    assert_int_equal(bus_publisher_send_text(publisher, "a", "nonsense", 8), -EBADMSG);
    assert_int_equal(fill(publisher, "a"), 4);
    say_error(&f, 3, "bus.AccessDenied");
    say_error(&f, 4, "bus.LimitExceeded");
    assert_int_equal(bus_publisher_wait(publisher, UINT64_MAX), -EACCES);
    assert_int_equal(bus_publisher_send_text(publisher, "a", "1", 1), -EACCES);
    assert_int_equal(bus_publisher_finish(publisher, UINT64_MAX, &error), -EACCES);
    assert_string_equal(error.name, BUS_ERROR_ACCESS_DENIED);
    bus_publisher_free(publisher);
    fixture_end(&f);
}

struct feeder {
    struct bus_publisher *publisher;
    struct diary diary;
    bool frees;
};

static void on_ready(struct bus_publisher *publisher, void *userdata)
{
    struct feeder *feeder = userdata;

    assert_ptr_equal(publisher, feeder->publisher);
    if (feeder->frees) {
        diary_note(&feeder->diary, "free");
        feeder->publisher = bus_publisher_free(publisher);
        return;
    }
    diary_note(&feeder->diary, "%u", fill(publisher, "a"));
}

static void on_refusal(struct bus_publisher *publisher, void *userdata)
{
    struct feeder *feeder = userdata;

    diary_note(&feeder->diary, "%d", bus_publisher_send_text(publisher, "a", "1", 1));
}

/* In a loop: called when there is room, in bus_process() only, and as often as it takes. */
static void test_ready_handler(void **state)
{
    struct fixture f;
    struct feeder feeder = {0};
    uint64_t id = 1;

    fixture_begin(&f);
    assert_int_equal(bus_publisher_new(f.bus, 8, BUS_PUBLISHER_EXACT, &feeder.publisher), 0);
    bus_publisher_set_ready_handler(feeder.publisher, on_ready, &feeder);
    assert_int_equal(fill(feeder.publisher, "a"), 8);
    for (; id <= 3; id++)
        say_receipt(&f, id, 1, 1, 0);
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&feeder.diary, "");
    say_receipt(&f, id++, 1, 1, 0);
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&feeder.diary, "4\n");
    /* A blocking wait has seen it already. */
    for (; id <= 10; id++)
        say_receipt(&f, id, 1, 1, 0);
    assert_int_equal(bus_publisher_wait(feeder.publisher, UINT64_MAX), 0);
    diary_expect(&feeder.diary, "");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&feeder.diary, "");
    feeder.frees = true;
    assert_int_equal(fill(feeder.publisher, "a"), 6);
    for (; id <= 18; id++)
        say_receipt(&f, id, 1, 1, 0);
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&feeder.diary, "free\n");
    assert_null(feeder.publisher);
    fixture_end(&f);
}

/* That an event is refused is told at once, and once, whether or not there was no room. */
static void test_ready_for_refusal(void **state)
{
    struct fixture f;
    struct feeder feeder = {0};

    fixture_begin(&f);
    assert_int_equal(bus_publisher_new(f.bus, 8, BUS_PUBLISHER_EXACT, &feeder.publisher), 0);
    bus_publisher_set_ready_handler(feeder.publisher, on_refusal, &feeder);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(bus_publisher_send_text(feeder.publisher, "a", NULL, 0), 0);
    say_receipt(&f, 1, 1, 1, 0);
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&feeder.diary, "");
    say_error(&f, 2, "bus.AccessDenied");
    say_error(&f, 3, "bus.AccessDenied");
    assert_int_equal(fixture_pump(&f), 0);
    say_error(&f, 4, "bus.AccessDenied");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&feeder.diary, "-13\n");
    bus_publisher_free(feeder.publisher);
    fixture_end(&f);
}

/* What keeps a publisher waiting can also be the output. */
static void test_output_full(void **state)
{
    static char body[3000];
    struct fixture f;
    struct feeder feeder = {.frees = true};

    memset(body, 'x', sizeof(body));
    body[0] = body[sizeof(body) - 1] = '"';
    fixture_begin(&f);
    bus_set_output_limit(f.bus, 10000);
    assert_int_equal(bus_publisher_new(f.bus, 1000, 0, &feeder.publisher), 0);
    bus_publisher_set_ready_handler(feeder.publisher, on_ready, &feeder);
    /* Beyond what the socket takes. */
    do {
        while (bus_publish_text(f.bus, "b", body, sizeof(body)) == 0)
            ;
    } while (bus_process(f.bus) > 0);
    while (bus_publish_text(f.bus, "b", body, sizeof(body)) == 0)
        ;
    assert_true(bus_output_size(f.bus) > 7000);
    assert_int_equal(bus_publisher_send_text(feeder.publisher, "a", body, sizeof(body)), -EAGAIN);
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&feeder.diary, "");
    while (fixture_is_readable(&f, 0) && fixture_read(&f))
        fixture_pump(&f);
    diary_expect(&feeder.diary, "free\n");
    fixture_end(&f);
}

/* The publisher outlives its connection, and learns of its end. */
static void test_disconnected(void **state)
{
    struct fixture f;
    struct bus_publisher *publisher;
    struct bus_error error;

    for (unsigned round = 0; round < 3; round++) {
        fixture_begin(&f);
        assert_int_equal(bus_publisher_new(f.bus, 4, 0, &publisher), 0);
        assert_int_equal(fill(publisher, "a"), 4);
        if (round == 0)
            fixture_hang_up(&f);
        else if (round == 1)
            assert_null(f.bus = bus_close(f.bus));
        else
            assert_null(f.bus = bus_unref(f.bus));
        if (round == 0) {
            assert_int_equal(bus_publisher_wait(publisher, UINT64_MAX), -ECONNRESET);
            assert_int_equal(fixture_pump(&f), -ECONNRESET);
        }
        assert_int_equal(bus_publisher_send_text(publisher, "a", "1", 1), -ECONNRESET);
        assert_int_equal(bus_publisher_wait(publisher, UINT64_MAX), -ECONNRESET);
        assert_int_equal(bus_publisher_finish(publisher, UINT64_MAX, &error), -ECONNRESET);
        assert_string_equal(error.name, BUS_ERROR_DISCONNECTED);
        if (round == 0)
            fixture_end(&f);
        bus_publisher_free(publisher);
        if (round > 0)
            fixture_end(&f);
    }
}

struct nested {
    struct bus_publisher *publisher;
    int result;
};

/* The receipts lie in what has been read already. */
static void on_event_wait(struct bus_message *event, void *userdata)
{
    struct nested *nested = userdata;

    nested->result = bus_publisher_finish(nested->publisher, 1000, NULL);
}

static void test_in_callback(void **state)
{
    struct fixture f;
    struct nested nested = {.result = 1};

    fixture_begin(&f);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":1,\"body\":{\"subscription\":1,"
                    "\"retained\":0}}");
    assert_int_equal(bus_subscribe(f.bus, "b", NULL, on_event_wait, &nested, NULL, NULL), 0);
    assert_int_equal(bus_publisher_new(f.bus, 4, 0, &nested.publisher), 0);
    assert_int_equal(fill(nested.publisher, "a"), 4);
    fixture_say(&f, "{\"sender\":\":7\",\"type\":\"event\",\"topic\":\"b\"}");
    for (uint64_t id = 2; id <= 5; id++)
        say_receipt(&f, id, 1, 1, 0);
    assert_int_equal(fixture_pump(&f), 0);
    assert_int_equal(nested.result, 0);
    bus_publisher_free(nested.publisher);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocking),
        cmocka_unit_test(test_blocking_fails),
        cmocka_unit_test(test_async),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_topics),
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_ready_handler),
        cmocka_unit_test(test_ready_for_refusal),
        cmocka_unit_test(test_output_full),
        cmocka_unit_test(test_disconnected),
        cmocka_unit_test(test_in_callback),
    };

    return cmocka_run_group_tests_name("client-receipts", tests, NULL, NULL);
}
