/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive lists. */
#include "base/list.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <signal.h>

struct item {
    int number;
    struct list_link link;
};

static struct list list;
static struct item items[4];

static void
set_up(void)
{
    list_init(&list);
    for (int i = 0; i < 4; i++) {
        items[i] = (struct item){.number = i};
    }
}

TestSuite(list, .init = set_up);

/* The numbers on the list as decimal digits, read from both ends. */
static int
digits(void)
{
    int forwards = 0;
    int backwards = 0;
    int weight = 1;
    LIST_FOR_EACH(&list, link)
    {
        forwards = forwards * 10 + CONTAINER_OF(link, struct item, link)->number;
    }
    for (struct list_link *link = list.head.previous; link != &list.head; link = link->previous) {
        backwards += CONTAINER_OF(link, struct item, link)->number * weight;
        weight *= 10;
    }
    cr_expect(eq(int, forwards, backwards));
    return forwards;
}

Test(list, keeps_the_order_of_insertion_at_both_ends)
{
    cr_expect(list_is_empty(&list));
    cr_expect(eq(ptr, list_first(&list), NULL));
    list_append(&list, &items[2].link);
    list_append(&list, &items[3].link);
    list_prepend(&list, &items[1].link);
    cr_expect(eq(int, digits(), 123));
    cr_expect(eq(ptr, list_next(&list, &items[1].link), &items[2].link));
    cr_expect(eq(ptr, list_next(&list, &items[3].link), NULL));
}

Test(list, removal_clears_the_link_and_may_be_repeated)
{
    list_append(&list, &items[1].link);
    list_append(&list, &items[2].link);
    list_append(&list, &items[3].link);
    list_remove(&items[2].link);
    list_remove(&items[2].link);
    cr_expect(not(list_link_is_linked(&items[2].link)));
    cr_expect(list_link_is_linked(&items[3].link));
    cr_expect(eq(int, digits(), 13));
}

Test(list, pop_takes_the_first_until_none_is_left)
{
    list_append(&list, &items[1].link);
    list_append(&list, &items[2].link);
    cr_expect(eq(ptr, list_pop(&list), &items[1].link));
    cr_expect(eq(ptr, list_pop(&list), &items[2].link));
    cr_expect(eq(ptr, list_pop(&list), NULL));
    cr_expect(list_is_empty(&list));
}

Test(list, a_walk_survives_the_removal_of_the_link_it_stands_on)
{
    for (int i = 1; i < 4; i++) {
        list_append(&list, &items[i].link);
    }
    int seen = 0;
    LIST_FOR_EACH(&list, link)
    {
        seen++;
        list_remove(link);
    }
    cr_expect(eq(int, seen, 3));
    cr_expect(list_is_empty(&list));
}

Test(list, inserting_twice_is_a_bug, .signal = SIGABRT)
{
    list_append(&list, &items[1].link);
    list_append(&list, &items[1].link);
}
