/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slot_directory.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "base/alloc.h"

TestSuite(slot_directory);

enum { COUNT = 200000 };

static uint32_t moved_count;

/* Counts how often the directory asks: once for each slot that moves. */
static uint32_t
hash_of(const void *context, uint64_t slot)
{
    (void)context;
    moved_count++;
    return (uint32_t)(slot * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

/* Few hashes, of which many slots are under each. */
static uint32_t
poor_hash_of(const void *context, uint64_t slot)
{
    (void)context;
    return (uint32_t)(slot % 3) << 30;
}

/* Half of the slots share the upper bits of their hashes, so that some tables divide often. */
static uint32_t
lopsided_hash_of(const void *context, uint64_t slot)
{
    return hash_of(context, slot) >> (slot % 2 == 0 ? 4 : 0);
}

static const struct slot_hasher lopsided_hasher = {.hash = lopsided_hash_of};
static const struct slot_hasher hasher = {.hash = hash_of};
static const struct slot_hasher poor_hasher = {.hash = poor_hash_of};

static bool
has(const struct slot_directory *directory, uint32_t hash, uint64_t slot)
{
    const struct slot_table *table = slot_directory_table(directory, hash);
    uint32_t mask = table->capacity - 1;
    for (uint32_t at = hash & mask; table->slots[at] != SLOT_EMPTY; at = (at + 1) & mask) {
        if (table->slots[at] == slot) {
            return true;
        }
    }
    return false;
}

/* The broker answers nobody meanwhile: so many slots are some hundred microseconds. */
Test(slot_directory, no_call_moves_more_than_one_table)
{
    struct slot_directory directory = {.depth = 0};
    uint32_t worst = 0;
    for (uint64_t slot = 1; slot <= COUNT; slot++) {
        uint32_t hash = hash_of(NULL, slot);
        moved_count = 0;
        slot_directory_insert(&directory, &hasher, hash, slot);
        worst = moved_count > worst ? moved_count : worst;
    }
    for (uint64_t slot = 1; slot <= COUNT; slot++) {
        uint32_t hash = hash_of(NULL, slot);
        cr_assert(has(&directory, hash, slot));
        moved_count = 0;
        slot_directory_remove(&directory, &hasher, hash, slot);
        worst = moved_count > worst ? moved_count : worst;
    }
    cr_expect(worst <= 10000, "%u slots were moved at once", worst);
    cr_expect(eq(u64, slot_directory_memory_bytes(&directory), 0));
}

Test(slot_directory, what_is_left_is_found_after_half_was_taken_out)
{
    struct slot_directory directory = {.depth = 0};
    for (uint64_t slot = 1; slot <= COUNT; slot++) {
        slot_directory_insert(&directory, &hasher, hash_of(NULL, slot), slot);
    }
    for (uint64_t slot = 1; slot <= COUNT; slot += 2) {
        slot_directory_remove(&directory, &hasher, hash_of(NULL, slot), slot);
    }
    for (uint64_t slot = 1; slot <= COUNT; slot++) {
        cr_assert(eq(int, has(&directory, hash_of(NULL, slot), slot), slot % 2 == 0));
    }
    cr_expect(eq(u32, directory.count, COUNT / 2));
    slot_directory_fini(&directory);
}

/* A walk sees every table once, in how many places it may stand. */
Test(slot_directory, a_walk_sees_each_slot_once)
{
    struct slot_directory directory = {.depth = 0};
    uint8_t *seen = xalloc(COUNT + 1);
    for (uint64_t slot = 1; slot <= COUNT; slot++) {
        slot_directory_insert(&directory, &lopsided_hasher, lopsided_hash_of(NULL, slot), slot);
    }
    uint64_t position = 0;
    uint32_t count = 0;
    for (uint64_t slot; (slot = slot_directory_next(&directory, &position)) != SLOT_EMPTY;
         position++) {
        cr_assert(eq(u8, seen[slot], 0));
        seen[slot] = 1;
        count++;
    }
    cr_expect(eq(u32, count, COUNT));
    free(seen);
    slot_directory_fini(&directory);
}

/* Dividing a table parts nothing that has one hash: at some depth it grows instead. */
Test(slot_directory, slots_that_share_their_hash_end_in_a_table_that_grows)
{
    enum { POOR_COUNT = 15000 };
    struct slot_directory directory = {.depth = 0};
    for (uint64_t slot = 1; slot <= POOR_COUNT; slot++) {
        slot_directory_insert(&directory, &poor_hasher, poor_hash_of(NULL, slot), slot);
    }
    for (uint64_t slot = 1; slot <= POOR_COUNT; slot += 100) {
        cr_assert(has(&directory, poor_hash_of(NULL, slot), slot));
    }
    for (uint64_t slot = POOR_COUNT; slot >= 1; slot--) {
        slot_directory_remove(&directory, &poor_hasher, poor_hash_of(NULL, slot), slot);
    }
    cr_expect(eq(u64, slot_directory_memory_bytes(&directory), 0));
}

Test(slot_directory, a_slot_can_stand_for_another_of_the_same_hash)
{
    struct slot_directory directory = {.depth = 0};
    slot_directory_insert(&directory, &poor_hasher, 0, 3);
    slot_directory_replace(&directory, 0, 3, 6);
    cr_expect(has(&directory, 0, 6));
    cr_expect(not(has(&directory, 0, 3)));
    slot_directory_fini(&directory);
}
