/* SPDX-License-Identifier: MIT */
/*
 * Last values: what takes whose place, who is charged for it, and what the keeper of
 * those on disk is told.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "busd/retained.h"
#include "libbus/base/macros.h"
#include "tests/support/unit.h"
#include "tests/support/users.h"

static struct users users;
static struct quota_user *alice, *bob;
static struct deadlines deadlines;
static struct retained retained;
static struct retained_holder a, b;
static const struct retained_limits plenty = {100, 1 << 20};

/* What the keeper has been told: "+topic uid rest;" and "-topic;". */
static struct {
    struct retained_keeper keeper;
    int result;
    char told[1024];
} disk;

static int put(struct retained_keeper *keeper, const struct retained_record *record)
{
    size_t size = strlen(disk.told);

    if (disk.result < 0)
        return disk.result;
    assert_true(record->rest.data > record->chunk->data);
    snprintf(disk.told + size, sizeof(disk.told) - size, "+%.*s %u %.*s;", SPAN_ARGS(record->topic),
             (unsigned)record->uid, SPAN_ARGS(record->rest));
    return 0;
}

static int clear(struct retained_keeper *keeper, struct span topic)
{
    size_t size = strlen(disk.told);

    if (disk.result < 0)
        return disk.result;
    snprintf(disk.told + size, sizeof(disk.told) - size, "-%.*s;", SPAN_ARGS(topic));
    return 0;
}

static int setup(void **state)
{
    alice = users_begin(&users);
    bob = quotas_get_user(&users.quotas, 2000);
    deadlines_init(&deadlines, 0);
    retained_init(&retained, &deadlines);
    retained_holder_init(&a, alice);
    retained_holder_init(&b, bob);
    memset(&disk, 0, sizeof(disk));
    disk.keeper = (struct retained_keeper){put, clear};
    return 0;
}

static int teardown(void **state)
{
    retained_deinit(&retained);
    assert_int_equal(retained.bytes, 0);
    assert_int_equal(a.count, 0);
    assert_int_equal(a.bytes, 0);
    assert_int_equal(b.count, 0);
    assert_int_equal(deadlines.count, 0);
    quota_user_unref(bob);
    users_end(&users);
    return 0;
}

static int set_at(struct retained_holder *holder, const char *topic, enum retained_level level,
                  const char *rest, uint64_t at)
{
    struct retained_update update = {.topic = span_from(topic),
                                     .level = level,
                                     .sender = holder == &a ? SPAN(":1") : SPAN(":22"),
                                     .rest = span_from(rest),
                                     .at = at};
    struct retained_excess excess;

    return retained_set(&retained, holder, &update, &plenty, &excess);
}

static void set(struct retained_holder *holder, const char *topic, enum retained_level level,
                const char *rest)
{
    assert_int_equal(set_at(holder, topic, level, rest, 0), 0);
}

/* The line of the topic's value; "" if it has none. */
static const char *line(const char *topic)
{
    static char text[256];
    struct retained_value *value = retained_find(&retained, span_from(topic));

    if (!value)
        return "";
    struct piece piece = retained_piece(value);
    snprintf(text, sizeof(text), "%.*s", (int)piece.size, piece.chunk->data + piece.offset);
    return text;
}

static void test_lines(void **state)
{
    set(&a, "t", RETAINED_BUS, "\"type\":\"event\"}");
    assert_string_equal(line("t"), "{\"sender\":\":1\",\"retained\":true,\"type\":\"event\"}\n");
    assert_true(span_equal(retained_sender(retained_find(&retained, SPAN("t"))), SPAN(":1")));
    set(&b, "t", RETAINED_BUS, "\"x\":1}");
    assert_string_equal(line("t"), "{\"sender\":\":22\",\"retained\":true,\"x\":1}\n");
    assert_true(span_equal(retained_sender(retained_find(&retained, SPAN("t"))), SPAN(":22")));
    assert_string_equal(line("u"), "");
    assert_int_equal(retained_clear(&retained, retained_find(&retained, SPAN("t"))), 0);
    assert_string_equal(line("t"), "");
}

/* Whoever still reads the line before has it unchanged. */
static void test_shared(void **state)
{
    set(&a, "t", RETAINED_BUS, "1}");
    struct piece piece = retained_piece(retained_find(&retained, SPAN("t")));
    chunk_ref(piece.chunk);
    set(&a, "t", RETAINED_BUS, "2}");
    assert_memory_equal(piece.chunk->data + piece.size - 3, "1}\n", 3);
    chunk_unref(piece.chunk);
}

static uint64_t bytes_of(const char *topic)
{
    return retained_find(&retained, span_from(topic))->bytes_charge.amount;
}

static void test_charges(void **state)
{
    set(&a, "t", RETAINED_CONNECTION, "1}");
    set(&a, "u", RETAINED_BUS, "1}");
    uint64_t one = bytes_of("t");
    assert_int_equal(a.count, 2);
    assert_int_equal(a.bytes, 2 * one);
    assert_int_equal(alice->used[QUOTA_RETAINED], 2);
    assert_int_equal(alice->used[QUOTA_RETAINED_BYTES], 2 * one);
    set(&a, "t", RETAINED_BUS, "1234}");
    assert_int_equal(a.count, 2);
    assert_int_equal(a.bytes, 2 * one + 3);
    assert_int_equal(alice->used[QUOTA_RETAINED_BYTES], 2 * one + 3);

    /* What is overwritten by somebody else is somebody else's. */
    set(&b, "t", RETAINED_BUS, "1}");
    assert_int_equal(a.count, 1);
    assert_int_equal(a.bytes, one);
    assert_int_equal(alice->used[QUOTA_RETAINED], 1);
    assert_int_equal(b.count, 1);
    assert_int_equal(bob->used[QUOTA_RETAINED], 1);
    assert_int_equal(retained.bytes, 2 * one + 1);

    /* What outlives its holder stays its user's. */
    struct retained_value *value = retained_find(&retained, SPAN("u"));
    retained_release(value);
    assert_null(value->holder);
    assert_int_equal(a.count, 0);
    assert_int_equal(a.bytes, 0);
    assert_int_equal(alice->used[QUOTA_RETAINED], 1);
    assert_int_equal(alice->used[QUOTA_RETAINED_BYTES], one);
    assert_true(span_equal(retained_sender(value), SPAN(":1")));
    set(&a, "u", RETAINED_BUS, "1}");
    assert_int_equal(a.count, 1);
    assert_int_equal(alice->used[QUOTA_RETAINED], 1);
}

static void refused(struct retained_holder *holder, const char *topic, const char *rest,
                    const struct retained_limits *limits, const char *limit, uint64_t value,
                    bool own)
{
    struct retained_update update = {.topic = span_from(topic),
                                     .level = RETAINED_BUS,
                                     .sender = SPAN(":1"),
                                     .rest = span_from(rest)};
    struct retained_excess excess;

    assert_int_equal(retained_set(&retained, holder, &update, limits, &excess),
                     WIRE_LIMIT_EXCEEDED);
    assert_string_equal(excess.limit, limit);
    assert_int_equal(excess.value, value);
    assert_int_equal(excess.own, own);
}

/* Over a limit nothing changes; what does not grow can always be set. */
static void test_limits(void **state)
{
    struct retained_excess excess;

    set(&a, "t", RETAINED_BUS, "1}");
    set(&a, "u", RETAINED_BUS, "1}");
    uint64_t one = bytes_of("t");
    refused(&a, "v", "1}", &(struct retained_limits){2, 1 << 20}, "retained", 2, true);
    refused(&a, "v", "1}", &(struct retained_limits){3, 3 * one - 1}, "retained_bytes", 3 * one - 1,
            true);
    refused(&a, "u", "12}", &(struct retained_limits){2, 2 * one}, "retained_bytes", 2 * one, true);
    users.limits.retained_per_user = 2;
    refused(&a, "v", "1}", &plenty, "retained_per_user", 2, false);
    users.limits.retained_per_user = 3;
    users.limits.retained_bytes_per_user = 3 * one - 1;
    refused(&a, "v", "1}", &plenty, "retained_bytes_per_user", 3 * one - 1, false);
    users.limits.retained_bytes_per_user = 100 * one;
    users.limits.retained_bytes_in_all = 5 * one + 20;
    refused(&a, "v", "1}", &plenty, "retained_bytes_in_all", 5 * one + 20, false);
    assert_string_equal(line("v"), "");
    assert_int_equal(retained.topics.table.count, 2);
    assert_int_equal(a.count, 2);
    assert_int_equal(a.bytes, 2 * one);

    struct retained_update same = {.topic = SPAN("u"), .sender = SPAN(":1"), .rest = SPAN("2}")};
    assert_int_equal(retained_set(&retained, &a, &same, &(struct retained_limits){1, 1}, &excess),
                     0);
    assert_string_equal(line("u"), "{\"sender\":\":1\",\"retained\":true,2}\n");
    /* The other user finds a share of its own. */
    set(&b, "v", RETAINED_BUS, "1}");
}

static void test_deadlines(void **state)
{
    assert_int_equal(set_at(&a, "t", RETAINED_BUS, "1}", 100), 0);
    assert_int_equal(set_at(&a, "t", RETAINED_BUS, "1}", 200), 0);
    assert_int_equal(set_at(&a, "u", RETAINED_BUS, "1}", 50), 0);
    set(&a, "u", RETAINED_BUS, "1}");
    assert_null(deadlines_pop(&deadlines, 199));
    struct deadline *deadline = deadlines_pop(&deadlines, 200);
    assert_ptr_equal(deadline, &retained_find(&retained, SPAN("t"))->deadline);
    assert_int_equal(deadline->kind, DEADLINE_RETAINED);
    assert_null(deadlines_pop(&deadlines, 1000));
    retained_drop(&retained, CONTAINER_OF(deadline, struct retained_value, deadline));
    assert_string_equal(line("t"), "");
}

static void test_keeper(void **state)
{
    retained.keeper = &disk.keeper;
    set(&a, "t", RETAINED_BUS, "1}");
    assert_string_equal(disk.told, "");
    set(&a, "t", RETAINED_DISK, "2}");
    set(&b, "t", RETAINED_DISK, "3}");
    set(&b, "t", RETAINED_CONNECTION, "4}");
    set(&b, "t", RETAINED_CONNECTION, "5}");
    assert_string_equal(disk.told, "+t 1000 2};+t 2000 3};-t;");
    set(&b, "t", RETAINED_DISK, "6}");
    disk.told[0] = '\0';
    assert_int_equal(retained_clear(&retained, retained_find(&retained, SPAN("t"))), 0);
    assert_string_equal(disk.told, "-t;");

    /* What it cannot take does not happen. */
    set(&a, "t", RETAINED_DISK, "1}");
    disk.result = -EIO;
    assert_int_equal(set_at(&a, "u", RETAINED_DISK, "2}", 0), -EIO);
    assert_string_equal(line("u"), "");
    assert_int_equal(set_at(&a, "t", RETAINED_DISK, "2}", 0), -EIO);
    assert_int_equal(set_at(&a, "t", RETAINED_BUS, "2}", 0), -EIO);
    assert_int_equal(retained_clear(&retained, retained_find(&retained, SPAN("t"))), -EIO);
    assert_string_equal(line("t"), "{\"sender\":\":1\",\"retained\":true,1}\n");
    assert_int_equal(a.count, 1);
}

static void test_load(void **state)
{
    struct retained_record record = {
        .topic = SPAN("t"), .rest = SPAN("1}"), .expires = 5, .guarded = true};

    retained.keeper = &disk.keeper;
    users.limits.retained_per_user = 0;
    assert_int_equal(retained_load(&retained, bob, &record, 7), 0);
    struct retained_value *value = retained_find(&retained, SPAN("t"));
    assert_string_equal(line("t"), "{\"sender\":\"bus\",\"retained\":true,1}\n");
    assert_int_equal(value->level, RETAINED_DISK);
    assert_int_equal(value->expires, 5);
    assert_true(value->guarded);
    assert_int_equal(value->deadline.at, 7);
    assert_null(value->holder);
    assert_int_equal(bob->used[QUOTA_RETAINED], 1);
    assert_string_equal(disk.told, "");
    users.limits.retained_per_user = 1;
    set(&a, "t", RETAINED_BUS, "2}");
    assert_int_equal(bob->used[QUOTA_RETAINED], 0);
    assert_string_equal(disk.told, "-t;");
}

static void test_levels(void **state)
{
    for (enum retained_level level = RETAINED_CONNECTION; level <= RETAINED_DISK; level++)
        assert_int_equal(retained_level_from_name(span_from(retained_level_name(level))), level);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shared, setup, teardown),
        cmocka_unit_test_setup_teardown(test_charges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadlines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keeper, setup, teardown),
        cmocka_unit_test_setup_teardown(test_load, setup, teardown),
        cmocka_unit_test(test_levels),
    };

    return cmocka_run_group_tests_name("retained", tests, NULL, NULL);
}
