/* SPDX-License-Identifier: Apache-2.0 */
/* Room in spill files: never twice, and back to the disk when nobody needs it. */
#include "store/spill_space.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>

#include "tests/support/alloc_faults.h"

enum { FILE_UNITS = SPILL_FILE_SIZE / SPILL_UNIT };

static struct spill_space *space;

static void
set_up(void)
{
    space = spill_space_new();
}

static void
tear_down(void)
{
    spill_space_free(&space);
}

TestSuite(spill_space, .init = set_up, .fini = tear_down);

static uint64_t
take(size_t size)
{
    uint64_t place;
    enum status status = spill_space_take(space, size, &place);
    cr_assert(eq(int, status, STATUS_OK));
    return place;
}

/* Two that lie in the same octets would destroy each other. */
Test(spill_space, places_do_not_overlap)
{
    enum { COUNT = 500 };
    static uint64_t places[COUNT];
    static size_t sizes[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        sizes[i] = 1 + i * 977 % (300 * 1024);
        places[i] = take(sizes[i]);
        if (i % 3 == 2) {
            spill_space_give_back(space, places[i - 1], sizes[i - 1]);
            places[i - 1] = take(sizes[i - 1] / 2 + 1);
            sizes[i - 1] = sizes[i - 1] / 2 + 1;
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < i; j++) {
            uint64_t a = spill_place_offset(places[i]);
            uint64_t b = spill_place_offset(places[j]);
            bool overlaps = spill_place_file(places[i]) == spill_place_file(places[j]) &&
                            a < b + sizes[j] && b < a + sizes[i];
            cr_assert(not(overlaps), "%zu and %zu", i, j);
        }
    }
}

Test(spill_space, one_piece_may_be_larger_than_a_usual_file)
{
    size_t size = 3 * (size_t)SPILL_FILE_SIZE + 1;
    uint64_t large = take(size);
    uint64_t small = take(1);
    cr_expect(ne(u64, spill_place_file(large), spill_place_file(small)));
    spill_space_give_back(space, large, size);
    uint64_t number;
    cr_assert(spill_space_take_empty(space, &number));
    cr_expect(eq(u64, number, spill_place_file(large)));
}

/* What was lent to the disk goes back to it, but for the one file that is taken from. */
Test(spill_space, files_that_are_empty_again_are_to_be_removed)
{
    enum { COUNT = 3 * FILE_UNITS };
    static uint64_t places[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        places[i] = take(SPILL_UNIT);
    }
    cr_expect(eq(u64, spill_space_bytes(space), UINT64_C(3) * SPILL_FILE_SIZE));
    uint64_t number;
    cr_expect(not(spill_space_take_empty(space, &number)));
    for (size_t i = 0; i < COUNT; i++) {
        spill_space_give_back(space, places[i], SPILL_UNIT);
    }
    cr_expect(eq(u64, spill_space_bytes(space), 0));
    cr_expect(spill_space_take_empty(space, &number));
    cr_expect(spill_space_take_empty(space, &number));
    cr_expect(not(spill_space_take_empty(space, &number)));
}

/* A small need that goes on for ever must not fill the disk. */
Test(spill_space, room_that_came_back_is_used_again)
{
    uint64_t last = take(SPILL_UNIT);
    uint64_t keeper = take(SPILL_UNIT);
    for (int i = 0; i < 10 * FILE_UNITS; i++) {
        uint64_t next = take(SPILL_UNIT);
        spill_space_give_back(space, last, SPILL_UNIT);
        last = next;
    }
    cr_expect(eq(u64, spill_place_file(last), spill_place_file(keeper)));
}

Test(spill_space, giving_back_twice_is_a_caught_bug, .signal = SIGABRT)
{
    uint64_t place = take(1);
    (void)take(1);
    spill_space_give_back(space, place, 1);
    spill_space_give_back(space, place, 1);
}

Test(spill_space, without_memory_nothing_changes)
{
    uint64_t place;
    alloc_faults_plan(1);
    enum status status = spill_space_take(space, 1, &place);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    (void)take(1);
}
