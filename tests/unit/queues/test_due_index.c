/* SPDX-License-Identifier: Apache-2.0 */
/* Rows by due time, against a list that is searched from end to end. */
#include "queues/due_index.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/random.h"
#include "tests/support/alloc_faults.h"

enum { ROWS_MAX = 60000 };

static struct due_index due;
static struct random_source source;
static uint64_t seed;

/* What should be in it: due time by position; 0: not there. */
static uint64_t due_ms_of[ROWS_MAX + 1];
static uint64_t row_count;

static void
set_up(void)
{
    due = (struct due_index){0};
    seed = 7;
    source = random_seeded(&seed);
}

static void
tear_down(void)
{
    due_index_check(&due);
    due_index_fini(&due);
}

TestSuite(due_index, .init = set_up, .fini = tear_down);

static uint64_t
below(uint64_t bound)
{
    return random_u64(&source) % bound;
}

static enum status
add(uint64_t due_ms, uint64_t position)
{
    struct due_row row = {.key = {.due_ms = due_ms, .position = position},
                          .entry = {.size = (uint32_t)(position * 3)}};
    enum status status = due_index_add(&due, &row);
    if (status == STATUS_OK) {
        due_ms_of[position] = due_ms;
        row_count++;
    }
    return status;
}

static void
take(uint64_t position)
{
    struct due_key key = {.due_ms = due_ms_of[position], .position = position};
    struct due_row row;
    cr_assert(due_index_take(&due, &key, &row));
    cr_expect(eq(u32, row.entry.size, (uint32_t)(position * 3)));
    cr_expect(not(due_index_take(&due, &key, &row)), "it is gone");
    due_ms_of[position] = 0;
    row_count--;
}

static void
take_first(void)
{
    struct due_key key = due_index_first(&due)->key;
    cr_assert(eq(u64, key.due_ms, due_ms_of[key.position]));
    take(key.position);
}

Test(due_index, an_empty_one_has_no_rows_and_no_memory)
{
    struct due_key key = {.due_ms = 1, .position = 1};
    struct due_row row;
    cr_expect(eq(ptr, due_index_first(&due), NULL));
    cr_expect(eq(ptr, due_index_find(&due, &key), NULL));
    cr_expect(not(due_index_take(&due, &key, &row)));
    cr_expect(eq(u64, due.bytes, 0));
}

Test(due_index, the_earliest_comes_first_and_equals_come_by_position)
{
    static const struct due_key keys[] = {{30, 1}, {10, 9}, {20, 3}, {10, 2}, {20, 4}};
    static const struct due_key sorted[] = {{10, 2}, {10, 9}, {20, 3}, {20, 4}, {30, 1}};
    for (size_t i = 0; i < 5; i++) {
        cr_assert(eq(int, add(keys[i].due_ms, keys[i].position), STATUS_OK));
    }
    for (size_t i = 0; i < 5; i++) {
        cr_expect(eq(u64, due_index_first(&due)->key.due_ms, sorted[i].due_ms));
        cr_expect(eq(u64, due_index_first(&due)->key.position, sorted[i].position));
        take_first();
    }
    cr_expect(eq(u64, due.bytes, 0));
}

/* Everything that is there comes out in order, whatever was added and removed before. */
static void
expect_all_in_order(void)
{
    struct due_cursor cursor = due_index_seek(&due, &(struct due_key){0});
    struct due_key last = {0};
    uint64_t seen = 0;
    for (struct due_row *row; (row = due_cursor_next(&cursor)) != NULL; seen++) {
        cr_assert(eq(u64, row->key.due_ms, due_ms_of[row->key.position]));
        cr_assert(row->key.due_ms > last.due_ms ||
                  (row->key.due_ms == last.due_ms && row->key.position > last.position));
        last = row->key;
    }
    cr_assert(eq(u64, seen, row_count));
    cr_assert(eq(u64, due.count, row_count));
}

Test(due_index, keeps_its_order_through_additions_and_removals_at_random)
{
    for (uint64_t position = 1; position <= ROWS_MAX; position++) {
        cr_assert(eq(int, add(1 + below(5000), position), STATUS_OK));
        if (below(3) == 0) {
            take_first();
        }
        uint64_t other = 1 + below(position);
        if (below(4) == 0 && due_ms_of[other] != 0) {
            take(other);
        }
    }
    due_index_check(&due);
    expect_all_in_order();
    for (uint64_t position = 1; position <= ROWS_MAX; position++) {
        if (due_ms_of[position] != 0 && below(50) != 0) {
            take(position);
        }
    }
    due_index_check(&due);
    expect_all_in_order();
    while (due_index_first(&due) != NULL) {
        take_first();
    }
    cr_expect(eq(u64, due.bytes, 0));
}

/* A walk begins at the first row that is due then or later. */
Test(due_index, a_walk_begins_where_it_is_told)
{
    for (uint64_t position = 1; position <= 1000; position++) {
        cr_assert(eq(int, add(position * 10, position), STATUS_OK));
    }
    for (uint64_t due_ms = 0; due_ms <= 10001; due_ms += 7) {
        struct due_cursor cursor = due_index_seek(&due, &(struct due_key){.due_ms = due_ms});
        const struct due_row *row = due_cursor_next(&cursor);
        if (due_ms > 10000) {
            cr_expect(eq(ptr, (void *)(uintptr_t)row, NULL));
        } else {
            cr_expect(eq(u64, row->key.due_ms, due_ms == 0 ? 10 : (due_ms + 9) / 10 * 10));
        }
    }
}

/* Ten millions may wait: what comes in order fills its blocks, and what comes at random two thirds
 * of them. */
Test(due_index, a_row_takes_at_most_64_octets)
{
    for (uint64_t position = 1; position <= ROWS_MAX; position++) {
        cr_assert(eq(int, add(position, position), STATUS_OK));
    }
    cr_expect(lt(u64, due.bytes / due.count, 42));
    while (due_index_first(&due) != NULL) {
        take_first();
    }
    for (uint64_t position = 1; position <= ROWS_MAX; position++) {
        cr_assert(eq(int, add(1 + below(UINT64_C(1) << 40), position), STATUS_OK));
    }
    cr_expect(lt(u64, due.bytes / due.count, 64));
}

Test(due_index, without_memory_nothing_changes)
{
    uint64_t refused = 0;
    for (uint64_t position = 1; position <= 20000; position++) {
        uint64_t due_ms = 1 + below(1000);
        alloc_faults_plan((uint32_t)below(4));
        enum status status = add(due_ms, position);
        alloc_faults_plan(0);
        if (status != STATUS_OK) {
            cr_assert(eq(int, status, STATUS_NO_MEMORY));
            refused++;
            due_index_check(&due);
            cr_assert(eq(int, add(due_ms, position), STATUS_OK));
        }
    }
    cr_expect(ne(u64, refused, 0));
    expect_all_in_order();
}
