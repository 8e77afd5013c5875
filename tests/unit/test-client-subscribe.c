/* SPDX-License-Identifier: MIT */
/* Subscriptions and name watches: who gets which event, when and in which order. */
#include "tests/unit/client-fixture.h"

static void say_subscribed(struct fixture *f, int id, int subscription, int retained)
{
    fixture_say(f,
                "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":%d,\"body\":{\"subscription\":%d,"
                "\"retained\":%d}}",
                id, subscription, retained);
}

static void say_event(struct fixture *f, const char *sender, const char *topic, const char *body)
{
    fixture_say(f, "{\"sender\":\"%s\",\"type\":\"event\",\"topic\":\"%s\",\"body\":%s}", sender,
                topic, body);
}

static void say_retained(struct fixture *f, const char *topic, const char *body)
{
    fixture_say(f,
                "{\"sender\":\"bus\",\"retained\":true,\"type\":\"event\",\"topic\":\"%s\","
                "\"body\":%s}",
                topic, body);
}

/* Notes under a name of its own. */
struct listener {
    struct diary *diary;
    const char *name;
    struct bus_slot *slot;
    struct bus_slot **frees; /* freed at the first event */
};

static void on_event(struct bus_message *message, void *userdata)
{
    struct listener *listener = userdata;

    diary_note(listener->diary, "%s:", listener->name);
    diary_message(message, listener->diary);
    if (listener->frees)
        *listener->frees = bus_slot_free(*listener->frees);
    listener->frees = NULL;
}

/* Subscribes with the bus's agreement, as the `id`th call and subscription. */
static void subscribe(struct fixture *f, int id, const char *pattern, const char *sender,
                      struct listener *listener)
{
    say_subscribed(f, id, id, 0);
    assert_int_equal(
        bus_subscribe(f->bus, pattern, sender, on_event, listener, &listener->slot, NULL), 0);
    free(fixture_hear(f));
}

static void test_order_of_subscription(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct listener l[5];
    static const char *const patterns[] = {"a.*", "a.b", "#", "a.b", "b.#"};
    static const char *const names[] = {"1", "2", "3", "4", "5"};

    fixture_begin(&f);
    for (int i = 0; i < 5; i++) {
        l[i] = (struct listener){&diary, names[i], NULL, NULL};
        subscribe(&f, i + 1, patterns[i], NULL, &l[i]);
    }
    say_event(&f, ":7", "a.b", "1");
    say_event(&f, ":7", "b", "2");
    say_event(&f, ":7", "c.d", "3");
    say_event(&f, ":7", "bus.peer.7", "4");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary,
                 "1:\na.b 1\n2:\na.b 1\n3:\na.b 1\n4:\na.b 1\n3:\nb 2\n5:\nb 2\n3:\nc.d 3\n");
    for (int i = 0; i < 5; i++)
        bus_slot_free(l[i].slot);
    assert_int_equal(fixture_pump(&f), 0);
    for (int i = 0; i < 5; i++) {
        char line[128];
        snprintf(line, sizeof(line),
                 "{\"type\":\"call\",\"to\":\"bus\",\"method\":\"Unsubscribe\",\"no_reply\":true,"
                 "\"body\":{\"subscription\":%d}}",
                 i + 1);
        fixture_expect(&f, line);
    }
    say_event(&f, ":7", "a.b", "1");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "");
    fixture_end(&f);
}

static void test_last_values_are_for_one(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct listener first = {&diary, "first", NULL, NULL};
    struct listener second = {&diary, "second", NULL, NULL};

    fixture_begin(&f);
    subscribe(&f, 1, "t.#", NULL, &first);
    /* Before the second one's reply: not for it. Its last values: not for the first. */
    say_event(&f, ":7", "t.a", "1");
    say_subscribed(&f, 2, 2, 2);
    say_retained(&f, "t.a", "1");
    say_event(&f, ":7", "t.a", "2");
    say_retained(&f, "t.b", "0");
    say_event(&f, ":7", "t.b", "3");
    assert_int_equal(bus_subscribe(f.bus, "t.*", NULL, on_event, &second, &second.slot, NULL), 0);
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "first:\nt.a 1\n"
                         "second:\nt.a 1 retained\n"
                         "first:\nt.a 2\nsecond:\nt.a 2\n"
                         "second:\nt.b 0 retained\n"
                         "first:\nt.b 3\nsecond:\nt.b 3\n");
    bus_slot_free(first.slot);
    bus_slot_free(second.slot);
    fixture_end(&f);
}

/* Last values of one that was freed meanwhile are nobody's, and those of the next
 * one stay its own; all without waiting in between. */
static void test_freed_before_its_values(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct listener a = {&diary, "a", NULL, NULL};
    struct listener b = {&diary, "b", NULL, NULL};

    fixture_begin(&f);
    assert_int_equal(bus_subscribe_async(f.bus, "t", NULL, on_event, &a, &a.slot), 0);
    assert_int_equal(bus_subscribe_async(f.bus, "t", NULL, on_event, &b, &b.slot), 0);
    a.slot = bus_slot_free(a.slot);
    assert_int_equal(fixture_pump(&f), 0);
    fixture_expect(&f,
                   "{\"type\":\"call\",\"to\":\"bus\",\"id\":1,\"method\":\"Subscribe\",\"body\":"
                   "{\"topic\":\"t\"}}");
    fixture_expect(&f,
                   "{\"type\":\"call\",\"to\":\"bus\",\"id\":2,\"method\":\"Subscribe\",\"body\":"
                   "{\"topic\":\"t\"}}");
    say_subscribed(&f, 1, 11, 1);
    say_retained(&f, "t", "1");
    say_subscribed(&f, 2, 12, 1);
    say_retained(&f, "t", "2");
    say_event(&f, ":7", "t", "3");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "b:\nt 2 retained\nb:\nt 3\n");
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"method\":\"Unsubscribe\",\"no_reply\":"
                       "true,\"body\":{\"subscription\":11}}");
    bus_slot_free(b.slot);
    fixture_end(&f);
}

static void test_refused(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct listener l = {&diary, "l", NULL, NULL};
    struct bus_error error;

    fixture_begin(&f);
    fixture_say(&f,
                "{\"sender\":\"bus\",\"type\":\"error\",\"id\":1,\"error\":\"bus.AccessDenied\","
                "\"message\":\"not for you\"}");
    assert_int_equal(bus_subscribe(f.bus, "t", NULL, on_event, &l, &l.slot, &error), -EACCES);
    assert_string_equal(error.message, "not for you");
    assert_null(l.slot);

    assert_int_equal(bus_subscribe_async(f.bus, "t", NULL, on_event, &l, &l.slot), 0);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"error\",\"id\":2,\"error\":"
                    "\"bus.LimitExceeded\"}");
    say_event(&f, ":7", "t", "1");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "l:\nerror bus.LimitExceeded\n");
    bus_slot_free(l.slot);

    /* Freed by its own refusal. */
    l.frees = &l.slot;
    assert_int_equal(bus_subscribe_async(f.bus, "t", NULL, on_event, &l, &l.slot), 0);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"error\",\"id\":3,\"error\":"
                    "\"bus.LimitExceeded\"}");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "l:\nerror bus.LimitExceeded\n");
    assert_null(l.slot);

    assert_int_equal(bus_subscribe(f.bus, "t..", NULL, on_event, &l, NULL, &error), -EINVAL);
    assert_string_equal(error.message, "'t..' is no pattern: a segment is empty (at byte 2)");
    assert_int_equal(bus_subscribe(f.bus, "t", "x", on_event, &l, NULL, &error), -EINVAL);
    assert_int_equal(bus_subscribe(f.bus, "t", NULL, NULL, &l, NULL, &error), -EINVAL);
    assert_int_equal(bus_subscribe(f.bus, NULL, NULL, on_event, &l, NULL, &error), -EINVAL);
    fixture_end(&f);
}

static void test_refused_by_nonsense(void **state)
{
    struct fixture f;
    struct bus_error error;

    fixture_begin(&f);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"reply\",\"id\":1,\"body\":{\"retained\":-1}}");
    assert_int_equal(bus_subscribe(f.bus, "t", NULL, diary_message, NULL, NULL, &error),
                     -ECONNRESET);
    assert_string_equal(bus_disconnect_error(f.bus)->name, BUS_ERROR_INVALID_MESSAGE);
    fixture_end(&f);
}

static void test_connection_lost(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct listener l = {&diary, "l", NULL, NULL};
    struct listener freed = {&diary, "freed", NULL, NULL};

    fixture_begin(&f);
    assert_int_equal(bus_subscribe_async(f.bus, "t", ":7", on_event, &l, NULL), 0);
    assert_int_equal(bus_subscribe_async(f.bus, "t", NULL, on_event, &freed, &freed.slot), 0);
    bus_slot_free(freed.slot);
    fixture_hang_up(&f);
    assert_int_equal(bus_subscribe(f.bus, "t", NULL, on_event, &l, NULL, NULL), -ECONNRESET);
    assert_int_equal(fixture_pump(&f), -ECONNRESET);
    diary_expect(&diary, "l:\nerror bus.Disconnected\n");
    fixture_end(&f);
}

static void test_let_go_while_pending(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct listener l = {&diary, "l", NULL, NULL};
    struct listener freed = {&diary, "freed", NULL, NULL};

    fixture_begin(&f);
    assert_int_equal(bus_subscribe_async(f.bus, "t", "org.x", on_event, &l, &l.slot), 0);
    assert_int_equal(bus_subscribe_async(f.bus, "#", NULL, on_event, &freed, &freed.slot), 0);
    bus_slot_free(freed.slot);
    f.bus = bus_unref(f.bus);
    bus_slot_free(l.slot);
    diary_expect(&diary, "");
    fixture_end(&f);
}

static void test_unique_sender(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct listener l = {&diary, "l", NULL, NULL};

    fixture_begin(&f);
    say_subscribed(&f, 1, 1, 0);
    assert_int_equal(bus_subscribe(f.bus, "t", ":7", on_event, &l, NULL, NULL), 0);
    fixture_expect(&f,
                   "{\"type\":\"call\",\"to\":\"bus\",\"id\":1,\"method\":\"Subscribe\",\"body\":"
                   "{\"topic\":\"t\",\"sender\":\":7\"}}");
    say_event(&f, ":7", "t", "1");
    say_event(&f, ":70", "t", "2");
    say_event(&f, "bus", "t", "3");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "l:\nt 1\n");
    fixture_end(&f);
}

static void test_named_sender(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct listener a = {&diary, "a", NULL, NULL};
    struct listener b = {&diary, "b", NULL, NULL};

    fixture_begin(&f);
    say_subscribed(&f, 1, 1, 1);
    say_retained(&f, "bus.name.org.x", "{\"owner\":\":7\",\"old\":null}");
    say_subscribed(&f, 2, 2, 0);
    say_event(&f, ":7", "t", "1");
    assert_int_equal(bus_subscribe(f.bus, "t", "org.x", on_event, &a, &a.slot, NULL), 0);
    fixture_expect(&f,
                   "{\"type\":\"call\",\"to\":\"bus\",\"id\":1,\"method\":\"Subscribe\",\"body\":"
                   "{\"topic\":\"bus.name.org.x\"}}");
    fixture_expect(&f,
                   "{\"type\":\"call\",\"to\":\"bus\",\"id\":2,\"method\":\"Subscribe\",\"body\":"
                   "{\"topic\":\"t\",\"sender\":\"org.x\"}}");
    /* The second one shares what the first one knows. */
    say_subscribed(&f, 3, 3, 0);
    assert_int_equal(bus_subscribe(f.bus, "t", "org.x", on_event, &b, &b.slot, NULL), 0);
    free(fixture_hear(&f));
    say_event(&f, ":8", "t", "2");
    say_event(&f, "bus", "bus.name.org.x", "{\"owner\":\":8\",\"old\":\":7\"}");
    say_event(&f, ":8", "t", "3");
    say_event(&f, ":7", "t", "4");
    say_event(&f, "bus", "bus.name.org.x", "null");
    say_event(&f, ":8", "t", "5");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "a:\nt 1\na:\nt 3\nb:\nt 3\n");

    bus_slot_free(a.slot);
    assert_int_equal(fixture_pump(&f), 0);
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"method\":\"Unsubscribe\",\"no_reply\":"
                       "true,\"body\":{\"subscription\":2}}");
    fixture_expect_nothing(&f);
    bus_slot_free(b.slot);
    assert_int_equal(fixture_pump(&f), 0);
    free(fixture_hear(&f));
    fixture_expect(&f, "{\"type\":\"call\",\"to\":\"bus\",\"method\":\"Unsubscribe\",\"no_reply\":"
                       "true,\"body\":{\"subscription\":1}}");
    fixture_end(&f);
}

/* Several own the name: each of them is the sender that is meant. */
static void test_shared_sender(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct listener a = {&diary, "a", NULL, NULL};

    fixture_begin(&f);
    say_subscribed(&f, 1, 1, 1);
    say_retained(&f, "bus.name.org.x", "{\"owner\":\":70\",\"owners\":[\":70\",\":8\",\":9\"]}");
    say_subscribed(&f, 2, 2, 0);
    assert_int_equal(bus_subscribe(f.bus, "t", "org.x", on_event, &a, &a.slot, NULL), 0);
    say_event(&f, ":7", "t", "1");
    say_event(&f, ":8", "t", "2");
    say_event(&f, ":9", "t", "3");
    say_event(&f, ":70", "t", "4");
    say_event(&f, "bus", "bus.name.org.x", "{\"owner\":\":70\",\"owners\":[\":70\",\":7\"]}");
    say_event(&f, ":8", "t", "5");
    say_event(&f, ":7", "t", "6");
    say_event(&f, "bus", "bus.name.org.x", "{\"owner\":\":70\"}");
    say_event(&f, ":7", "t", "7");
    say_event(&f, ":70", "t", "8");
    say_event(&f, "bus", "bus.name.org.x", "null");
    say_event(&f, ":70", "t", "9");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "a:\nt 2\na:\nt 3\na:\nt 4\na:\nt 6\na:\nt 8\n");
    bus_slot_free(a.slot);
    fixture_end(&f);
}

static void test_named_sender_refused(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct listener a = {&diary, "a", NULL, NULL};
    struct listener b = {&diary, "b", NULL, NULL};
    struct bus_error error;

    fixture_begin(&f);
    assert_int_equal(bus_subscribe_async(f.bus, "t", "org.x", on_event, &a, &a.slot), 0);
    fixture_say(&f, "{\"sender\":\"bus\",\"type\":\"error\",\"id\":1,\"error\":"
                    "\"bus.LimitExceeded\"}");
    say_subscribed(&f, 2, 2, 0);
    say_subscribed(&f, 3, 3, 0);
    assert_int_equal(bus_subscribe(f.bus, "t", "org.x", on_event, &b, &b.slot, &error), -EDQUOT);
    assert_null(b.slot);
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "a:\nerror bus.LimitExceeded\n");
    bus_slot_free(a.slot);
    fixture_end(&f);
}

static void test_freed_while_handed_out(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct listener l[6];
    static const char *const patterns[] = {"t", "#", "t", "*", "t", "t"};
    static const char *const names[] = {"1", "2", "3", "4", "5", "6"};

    fixture_begin(&f);
    for (int i = 0; i < 6; i++) {
        l[i] = (struct listener){&diary, names[i], NULL, NULL};
        subscribe(&f, i + 1, patterns[i], NULL, &l[i]);
    }
    l[0].frees = &l[0].slot; /* itself */
    l[1].frees = &l[2].slot; /* the next exact one */
    l[3].frees = &l[1].slot; /* an earlier wildcard */
    l[4].frees = &l[5].slot; /* the last one */
    say_event(&f, ":7", "t", "1");
    say_event(&f, ":7", "t", "2");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "1:\nt 1\n2:\nt 1\n4:\nt 1\n5:\nt 1\n4:\nt 2\n5:\nt 2\n");
    l[3].frees = &l[3].slot;
    l[4].frees = &l[4].slot;
    say_event(&f, ":7", "t", "3");
    say_event(&f, ":7", "t", "4");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "4:\nt 3\n5:\nt 3\n");
    fixture_end(&f);
}

struct spawner {
    struct fixture *fixture;
    struct listener *listener;
};

static void subscribe_inside(struct bus_message *message, void *userdata)
{
    struct spawner *spawner = userdata;

    on_event(message, spawner->listener);
    if (spawner->listener->slot)
        return;
    say_subscribed(spawner->fixture, 2, 2, 0);
    say_event(spawner->fixture, ":7", "t", "3");
    assert_int_equal(bus_subscribe(spawner->fixture->bus, "t", NULL, on_event, spawner->listener,
                                   &spawner->listener->slot, NULL),
                     0);
}

/* Neither the event being handed out nor those before the reply are for it. */
static void test_subscribed_in_callback(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct listener l = {&diary, "new", NULL, NULL};
    struct spawner spawner = {&f, &l};

    fixture_begin(&f);
    say_subscribed(&f, 1, 1, 0);
    assert_int_equal(bus_subscribe(f.bus, "t", NULL, subscribe_inside, &spawner, NULL, NULL), 0);
    say_event(&f, ":7", "t", "1");
    say_event(&f, ":7", "t", "2");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "new:\nt 1\nnew:\nt 2\nnew:\nt 3\nnew:\nt 3\n");
    bus_slot_free(l.slot);
    fixture_end(&f);
}

static void on_name(struct bus *bus, const char *name, const char *owner, void *userdata)
{
    assert_true(bus_is_connected(bus));
    diary_note(userdata, "%s %s", name, owner ? owner : "nobody");
}

/* An event of a group is for the subscriptions of that group, any other for the rest. */
static void test_groups(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct listener plain = {&diary, "plain", NULL, NULL};
    struct listener one = {&diary, "one", NULL, NULL};
    struct listener two = {&diary, "two", NULL, NULL};
    struct bus_subscription_options options = {.group = "one"};
    struct bus_error error = BUS_ERROR_INIT;

    fixture_begin(&f);
    say_subscribed(&f, 1, 1, 0);
    assert_int_equal(bus_subscribe_with(f.bus, "t", &options, on_event, &one, NULL, &error), 0);
    fixture_expect(&f,
                   "{\"type\":\"call\",\"to\":\"bus\",\"id\":1,\"method\":\"Subscribe\",\"body\":"
                   "{\"topic\":\"t\",\"group\":\"one\"}}");
    options.group = "two";
    say_subscribed(&f, 2, 2, 0);
    assert_int_equal(bus_subscribe_with(f.bus, "#", &options, on_event, &two, NULL, &error), 0);
    say_subscribed(&f, 3, 3, 0);
    assert_int_equal(bus_subscribe(f.bus, "*", NULL, on_event, &plain, NULL, &error), 0);
    say_event(&f, ":7", "t", "1");
    fixture_say(
        &f, "{\"sender\":\":7\",\"group\":\"one\",\"type\":\"event\",\"topic\":\"t\",\"body\":2}");
    fixture_say(
        &f, "{\"sender\":\":7\",\"group\":\"two\",\"type\":\"event\",\"topic\":\"t\",\"body\":3}");
    fixture_say(
        &f, "{\"sender\":\":7\",\"group\":\"two\",\"type\":\"event\",\"topic\":\"t\",\"body\":4}");
    fixture_say(
        &f, "{\"sender\":\":7\",\"group\":\"on\",\"type\":\"event\",\"topic\":\"t\",\"body\":5}");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "plain:\nt 1\none:\nt 2\ntwo:\nt 3\ntwo:\nt 4\n");

    options.retained = BUS_RETAINED_ONLY;
    assert_int_equal(bus_subscribe_with(f.bus, "t", &options, on_event, &two, NULL, &error),
                     -EINVAL);
    options = (struct bus_subscription_options){.group = "two", .overflow = BUS_OVERFLOW_LATEST};
    assert_int_equal(bus_subscribe_with(f.bus, "t", &options, on_event, &two, NULL, &error),
                     -EINVAL);
    options = (struct bus_subscription_options){.group = "t.o"};
    assert_int_equal(bus_subscribe_with(f.bus, "t", &options, on_event, &two, NULL, &error),
                     -EINVAL);
    options.group = "";
    assert_int_equal(bus_subscribe_with_async(f.bus, "t", &options, on_event, &two, NULL), -EINVAL);
    fixture_end(&f);
}

static void test_watch(void **state)
{
    struct fixture f;
    struct diary diary = {0};
    struct bus_slot *slot;
    struct bus_error error;

    fixture_begin(&f);
    int fd = bus_get_fd(f.bus);
    say_subscribed(&f, 1, 1, 0);
    assert_int_equal(bus_watch_name(f.bus, "org.x", on_name, &diary, &slot, &error), 0);
    fixture_expect(&f,
                   "{\"type\":\"call\",\"to\":\"bus\",\"id\":1,\"method\":\"Subscribe\",\"body\":"
                   "{\"topic\":\"bus.name.org.x\"}}");
    diary_expect(&diary, "");
    assert_true(fd_is_readable(fd));
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "org.x nobody\n");

    say_subscribed(&f, 2, 2, 1);
    say_retained(&f, "bus.name.org.y", "{\"owner\":\":5\",\"old\":null}");
    assert_int_equal(bus_watch_name(f.bus, "org.y", on_name, &diary, NULL, &error), 0);
    say_event(&f, "bus", "bus.name.org.x", "{\"owner\":\":6\",\"old\":null}");
    say_event(&f, "bus", "bus.name.org.y", "null");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "org.y :5\norg.x :6\norg.y nobody\n");
    /* Only the first of several owners matters. */
    say_event(&f, "bus", "bus.name.org.y", "{\"owner\":\":9\",\"owners\":[\":9\"]}");
    say_event(&f, "bus", "bus.name.org.y", "{\"owner\":\":9\",\"owners\":[\":9\",\":7\"]}");
    say_event(&f, "bus", "bus.name.org.y", "{\"owner\":\":7\",\"owners\":[\":7\"],\"old\":\":9\"}");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "org.y :9\norg.y :7\n");

    assert_int_equal(bus_watch_name(f.bus, "org", on_name, &diary, NULL, &error), -EINVAL);
    assert_int_equal(bus_watch_name(f.bus, "org.x", NULL, &diary, NULL, &error), -EINVAL);
    bus_slot_free(slot);
    say_event(&f, "bus", "bus.name.org.x", "null");
    assert_int_equal(fixture_pump(&f), 0);
    diary_expect(&diary, "");
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_subscription),
        cmocka_unit_test(test_last_values_are_for_one),
        cmocka_unit_test(test_freed_before_its_values),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_by_nonsense),
        cmocka_unit_test(test_connection_lost),
        cmocka_unit_test(test_let_go_while_pending),
        cmocka_unit_test(test_unique_sender),
        cmocka_unit_test(test_named_sender),
        cmocka_unit_test(test_shared_sender),
        cmocka_unit_test(test_named_sender_refused),
        cmocka_unit_test(test_freed_while_handed_out),
        cmocka_unit_test(test_subscribed_in_callback),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_watch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
