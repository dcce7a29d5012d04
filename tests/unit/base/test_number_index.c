/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number_index.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(number_index);

static bool
holds(const struct number_index *index, uint32_t hash, uint32_t number)
{
    uint32_t slot;
    uint32_t found = number_index_first(index, hash, &slot);
    while (found != NUMBER_NONE && found != number) {
        found = number_index_next(index, hash, &slot);
    }
    return found == number;
}

Test(number_index, an_empty_index_yields_nothing)
{
    struct number_index index = {0};
    uint32_t slot;
    cr_expect(eq(u32, number_index_first(&index, 7, &slot), NUMBER_NONE));
    number_index_fini(&index);
}

Test(number_index, every_number_under_one_hash_is_yielded)
{
    struct number_index index = {0};
    for (uint32_t i = 0; i < 100; i++) {
        number_index_insert(&index, 0xffffffff, i); /* wraps around the end of the slots */
    }
    uint32_t slot;
    uint32_t count = 0;
    for (uint32_t found = number_index_first(&index, 0xffffffff, &slot); found != NUMBER_NONE;
         found = number_index_next(&index, 0xffffffff, &slot)) {
        count++;
    }
    cr_expect(eq(u32, count, 100));
    cr_expect(eq(u32, number_index_first(&index, 0xfffffffe, &slot), NUMBER_NONE));
    number_index_fini(&index);
}

/* Hashes that share slots: a removal must not hide what stands behind it. */
Test(number_index, what_is_left_is_found_after_every_removal)
{
    enum { COUNT = 200 };
    struct number_index index = {0};
    for (uint32_t i = 0; i < COUNT; i++) {
        number_index_insert(&index, i % 7, i);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t leaving = (i * 37) % COUNT;
        number_index_remove(&index, leaving % 7, leaving);
        cr_assert(not(holds(&index, leaving % 7, leaving)));
        for (uint32_t j = i + 1; j < COUNT; j++) {
            uint32_t staying = (j * 37) % COUNT;
            cr_assert(holds(&index, staying % 7, staying));
        }
    }
    cr_expect(eq(u32, number_index_count(&index), 0));
    cr_expect(eq(u64, number_index_memory_bytes(&index), 0), "it shrinks");
    number_index_fini(&index);
}

Test(number_index, a_record_can_move_to_another_number)
{
    struct number_index index = {0};
    number_index_insert(&index, 5, 1);
    number_index_renumber(&index, 5, 1, 9);
    cr_expect(holds(&index, 5, 9));
    cr_expect(not(holds(&index, 5, 1)));
    number_index_fini(&index);
}
