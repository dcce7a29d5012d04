/* SPDX-License-Identifier: Apache-2.0 */
/* Open deliveries, against an array that is indexed by tag. */
#include "queues/unacked.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/random.h"
#include "tests/support/alloc_faults.h"

enum { TAGS_MAX = 30000 };

static struct unacked_table table;
static bool is_open[TAGS_MAX + 1];
static uint32_t open_count;
static uint64_t last_tag;

static void
set_up(void)
{
    unacked_table_init(&table);
}

static void
tear_down(void)
{
    struct unacked item;
    while (unacked_table_take_last(&table, &item)) {
    }
    unacked_table_fini(&table);
}

TestSuite(unacked, .init = set_up, .fini = tear_down);

/* Any address will do for a queue: it is not followed. */
static enum status
add(uint64_t tag)
{
    struct unacked item = {
        .tag = tag, .queue = (struct queue *)(void *)&table, .position = tag * 2};
    return unacked_table_add(&table, &item);
}

static void
add_up_to(uint64_t tag)
{
    for (uint64_t i = 1; i <= tag; i++) {
        enum status status = add(i);
        cr_assert(eq(int, status, STATUS_OK));
    }
}

static void
note_taken(const struct unacked *item)
{
    cr_assert(is_open[item->tag]);
    cr_assert(eq(u64, item->position, item->tag * 2));
    cr_assert(ne(ptr, item->queue, NULL));
    is_open[item->tag] = false;
    open_count--;
}

static uint64_t
first_open(void)
{
    for (uint64_t i = 1; i <= last_tag; i++) {
        if (is_open[i]) {
            return i;
        }
    }
    return 0;
}

static void
take_tag(uint64_t tag)
{
    struct unacked item;
    bool expected = is_open[tag];
    const struct unacked *found = unacked_table_find(&table, tag);
    cr_assert(eq(int, found != NULL, expected));
    cr_assert(eq(int, unacked_table_take(&table, tag, &item), expected));
    if (expected) {
        cr_assert(eq(u64, item.tag, tag));
        note_taken(&item);
    }
}

static void
take_end(bool is_first, uint64_t tag_max)
{
    struct unacked item;
    bool taken = is_first ? unacked_table_take_first(&table, tag_max, &item)
                          : unacked_table_take_last(&table, &item);
    uint64_t first = first_open();
    if (is_first) {
        cr_assert(eq(int, taken, first != 0 && first <= tag_max));
        cr_assert(eq(u64, taken ? item.tag : first, first));
    } else {
        cr_assert(eq(int, taken, first != 0));
        for (uint64_t i = taken ? item.tag + 1 : 1; i <= last_tag; i++) {
            cr_assert(not(is_open[i]));
        }
    }
    if (taken) {
        note_taken(&item);
    }
}

static void
step(uint64_t random)
{
    uint64_t action = random % 16;
    uint64_t choice = random >> 32;
    if (action < 8 && last_tag + 3 < TAGS_MAX) {
        last_tag += 1 + choice % 3; /* deliveries without acknowledgement use tags, too */
        enum status status = add(last_tag);
        cr_assert(eq(int, status, STATUS_OK));
        is_open[last_tag] = true;
        open_count++;
    } else if (action < 13) {
        take_tag(choice % (last_tag + 1));
    } else {
        take_end(action != 15, choice % (last_tag + 1));
    }
}

Test(unacked, finds_and_takes_what_is_open_and_nothing_else)
{
    uint64_t seed = 5;
    struct random_source random = random_seeded(&seed);
    for (int i = 0; i < 30000; i++) {
        step(random_u64(&random));
        cr_assert(eq(u32, table.count, open_count));
    }
    for (uint64_t tag = 0; tag <= last_tag; tag++) {
        take_tag(tag);
    }
    cr_expect(eq(u32, table.count, 0));
}

Test(unacked, does_not_find_tags_that_were_never_given)
{
    add_up_to(5);
    static const uint64_t tags[] = {0, 6, 7, UINT64_MAX};
    struct unacked item;
    for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
        cr_expect(eq(ptr, unacked_table_find(&table, tags[i]), NULL));
        cr_expect(not(unacked_table_take(&table, tags[i], &item)));
    }
    cr_expect(eq(u32, table.count, 5));
}

Test(unacked, takes_the_oldest_up_to_a_tag_in_order)
{
    struct unacked item;
    add_up_to(10);
    cr_assert(unacked_table_take(&table, 2, &item));
    static const uint64_t expected[] = {1, 3, 4, 5};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        cr_assert(unacked_table_take_first(&table, 5, &item));
        cr_expect(eq(u64, item.tag, expected[i]));
    }
    cr_expect(not(unacked_table_take_first(&table, 5, &item)));
    cr_expect(eq(u32, table.count, 5));
}

Test(unacked, stays_as_small_as_what_is_open)
{
    struct unacked item;
    for (uint64_t tag = 1; tag <= 100000; tag++) {
        enum status status = add(tag);
        cr_assert(eq(int, status, STATUS_OK));
        if (tag > 100) {
            cr_assert(unacked_table_take(&table, tag - 100, &item));
        }
    }
    cr_expect(le(u32, table.capacity, 512));
}

/* One delivery that is never settled must not keep everything behind it in memory. */
Test(unacked, does_not_grow_with_holes)
{
    struct unacked item;
    add_up_to(1);
    for (uint64_t tag = 2; tag <= 100000; tag++) {
        enum status status = add(tag);
        cr_assert(eq(int, status, STATUS_OK));
        if (tag > 12) {
            cr_assert(unacked_table_take(&table, tag - 10, &item));
        }
    }
    cr_expect(le(u32, table.capacity, 64));
    cr_expect(ne(ptr, unacked_table_find(&table, 1), NULL));
}

Test(unacked, gives_back_the_memory_of_a_burst)
{
    struct unacked item;
    add_up_to(50000);
    while (unacked_table_take_first(&table, UINT64_MAX, &item)) {
    }
    cr_expect(eq(u32, table.capacity, 0));
    cr_expect(eq(ptr, table.items, NULL));
}

/* tx.rollback: what was settled in the transaction is open again, at its place. */
Test(unacked, puts_back_what_was_taken_out)
{
    struct unacked taken[4];
    add_up_to(8);
    static const uint64_t tags[] = {5, 1, 8, 2};
    for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
        cr_assert(unacked_table_take(&table, tags[i], &taken[i]));
    }
    enum status status = unacked_table_put_back(&table, taken, ARRAY_LEN(taken));
    cr_assert(eq(int, status, STATUS_OK));
    cr_expect(eq(u32, table.count, 8));
    struct unacked item;
    for (uint64_t tag = 1; tag <= 8; tag++) {
        cr_assert(unacked_table_take_first(&table, UINT64_MAX, &item));
        cr_expect(eq(u64, item.tag, tag));
    }
}

Test(unacked, puts_back_into_an_empty_table)
{
    struct unacked taken[2];
    add_up_to(2);
    cr_assert(unacked_table_take_last(&table, &taken[0]));
    cr_assert(unacked_table_take_last(&table, &taken[1]));
    enum status status = unacked_table_put_back(&table, taken, 2);
    cr_assert(eq(int, status, STATUS_OK));
    cr_expect(ne(ptr, unacked_table_find(&table, 1), NULL));
    status = add(3);
    cr_expect(eq(int, status, STATUS_OK));
    cr_expect(eq(u32, table.count, 3));
}

Test(unacked, that_finds_no_memory_refuses_and_stays_as_it_was)
{
    alloc_faults_plan(1);
    enum status status = add(1);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    cr_expect(eq(u32, table.count, 0));
    add_up_to(3);
    struct unacked item;
    cr_assert(unacked_table_take(&table, 2, &item));
    alloc_faults_plan(1);
    status = unacked_table_put_back(&table, &item, 1);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    cr_expect(eq(u32, table.count, 2));
    cr_expect(eq(ptr, unacked_table_find(&table, 2), NULL));
}

Test(unacked, walks_what_is_open_by_tag)
{
    add_up_to(6);
    struct unacked item;
    cr_assert(unacked_table_take(&table, 3, &item));
    cr_assert(unacked_table_take(&table, 4, &item));
    static const uint64_t next[] = {1, 1, 2, 5, 5, 5, 6};
    for (uint64_t tag = 0; tag <= 6; tag++) {
        cr_expect(eq(u64, unacked_table_next(&table, tag)->tag, next[tag]));
    }
    cr_expect(eq(ptr, (void *)(uintptr_t)unacked_table_next(&table, 7), NULL));
}
