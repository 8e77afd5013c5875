/* SPDX-License-Identifier: MIT */
/*
 * The intrusive ring: order, idempotent removal, splicing, walking while removing.
 */
#include <string.h>

#include "libbus/base/list.h"
#include "tests/support/unit.h"

struct element {
    char name;
    struct list link;
};

static struct element elements[8];

static int setup(void **state)
{
    for (unsigned i = 0; i < 8; i++) {
        elements[i].name = (char)('a' + i);
        list_init(&elements[i].link);
    }
    return 0;
}

static struct list *link_of(char name)
{
    return &elements[name - 'a'].link;
}

/* The names in order, both ways round. */
static void assert_order(const struct list *head, const char *expected)
{
    char forward[9] = "", backward[9] = "";
    size_t size = 0;

    LIST_FOREACH (node, head)
        forward[size++] = LIST_ENTRY(node, struct element, link)->name;
    assert_string_equal(forward, expected);
    for (const struct list *node = head->prev; node != head; node = node->prev)
        backward[--size] = CONTAINER_OF((struct list *)(uintptr_t)node, struct element, link)->name;
    assert_string_equal(backward, expected);
    assert_int_equal(list_is_empty(head), *expected == '\0');
}

static void test_order(void **state)
{
    struct list head;

    list_init(&head);
    assert_order(&head, "");
    assert_null(list_first(&head));
    list_append(&head, link_of('b'));
    list_append(&head, link_of('c'));
    list_prepend(&head, link_of('a'));
    assert_order(&head, "abc");
    list_insert_before(link_of('c'), link_of('d'));
    assert_order(&head, "abdc");
    assert_ptr_equal(list_first(&head), link_of('a'));
    list_remove(link_of('b'));
    assert_order(&head, "adc");
    list_remove(link_of('a'));
    list_remove(link_of('c'));
    assert_order(&head, "d");
    list_remove(link_of('d'));
    assert_order(&head, "");
}

static void test_remove_twice(void **state)
{
    struct list head;

    list_init(&head);
    list_remove(link_of('a'));
    list_append(&head, link_of('a'));
    list_append(&head, link_of('b'));
    list_remove(link_of('a'));
    list_remove(link_of('a'));
    assert_order(&head, "b");
    assert_true(list_is_empty(link_of('a')));
    assert_false(list_is_empty(link_of('b')));
}

static void test_splice(void **state)
{
    struct list to, from;

    list_init(&to);
    list_init(&from);
    list_splice(&to, &from);
    assert_order(&to, "");
    list_append(&from, link_of('a'));
    list_append(&from, link_of('b'));
    list_splice(&to, &from);
    assert_order(&to, "ab");
    assert_order(&from, "");
    list_append(&from, link_of('c'));
    list_splice(&to, &from);
    assert_order(&to, "abc");
    list_splice(&to, &from);
    assert_order(&to, "abc");
}

static void test_remove_while_walking(void **state)
{
    struct list head;
    char met[9] = "";

    list_init(&head);
    for (char name = 'a'; name <= 'h'; name++)
        list_append(&head, link_of(name));
    LIST_FOREACH_SAFE (node, &head) {
        struct element *element = LIST_ENTRY(node, struct element, link);
        strncat(met, &element->name, 1);
        if (element->name != 'd') {
            list_remove(node);
            element->name = '?';
        }
    }
    assert_string_equal(met, "abcdefgh");
    assert_order(&head, "d");
}

static void test_entry_of_nothing(void **state)
{
    struct list head;

    list_init(&head);
    assert_null(LIST_ENTRY(list_first(&head), struct element, link));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_order, setup),
        cmocka_unit_test_setup(test_remove_twice, setup),
        cmocka_unit_test_setup(test_splice, setup),
        cmocka_unit_test_setup(test_remove_while_walking, setup),
        cmocka_unit_test_setup(test_entry_of_nothing, setup),
    };

    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
