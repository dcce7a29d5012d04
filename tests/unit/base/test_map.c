/* SPDX-License-Identifier: Apache-2.0 */
/* The ordered hash table, against a model that is too simple to be wrong. */
#include "base/map.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "tests/support/alloc_faults.h"

#include <signal.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/random.h"

enum { OBJECTS = 3000 }; /* some blocks */

struct object {
    char name[32];
    bool is_in;
    uint64_t order; /* of insertion */
};

static struct map map;
static struct object objects[OBJECTS];

static void
set_up(void)
{
    map_init(&map, 42);
    for (int i = 0; i < OBJECTS; i++) {
        snprintf(objects[i].name, sizeof(objects[i].name), "object-%d", i);
    }
}

static void
tear_down(void)
{
    map_fini(&map);
}

TestSuite(map, .init = set_up, .fini = tear_down);

static struct bytes
key_of(const struct object *object)
{
    return bytes_of(object->name);
}

Test(map, an_empty_one_has_nothing_and_takes_no_memory)
{
    uint32_t position = 0;
    cr_expect(eq(ptr, map_get(&map, bytes_of("x")), NULL));
    cr_expect(eq(ptr, map_remove(&map, bytes_of("x")), NULL));
    cr_expect(eq(ptr, map_next(&map, &position), NULL));
    cr_expect(eq(ptr, map.blocks, NULL));
    cr_expect(eq(u32, map_count(&map), 0));
}

/* The default exchange is called "". */
Test(map, the_empty_key_is_a_key)
{
    map_put(&map, bytes_make(NULL, 0), &objects[0]);
    cr_expect(eq(ptr, map_get(&map, bytes_of("")), &objects[0]));
    cr_expect(eq(ptr, map_remove(&map, bytes_of("")), &objects[0]));
    cr_expect(eq(u32, map_count(&map), 0));
}

Test(map, a_replaced_entry_keeps_its_place_and_takes_the_new_key)
{
    char first[] = "same";
    char second[] = "same";
    map_put(&map, bytes_of(first), &objects[0]);
    map_put(&map, bytes_of("other"), &objects[1]);
    map_put(&map, bytes_of(second), &objects[2]);
    memset(first, 'x', 4); /* the old key may go away */
    uint32_t position = 0;
    struct map_entry *entry = map_next(&map, &position);
    cr_expect(eq(ptr, entry->value, &objects[2]));
    cr_expect(eq(ptr, (void *)entry->key_data, second));
    cr_expect(eq(ptr, map_get(&map, bytes_of("same")), &objects[2]));
    cr_expect(eq(u32, map_count(&map), 2));
}

Test(map, a_null_value_is_a_bug, .signal = SIGABRT)
{
    map_put(&map, bytes_of("x"), NULL);
}

static uint32_t
model_count(void)
{
    uint32_t count = 0;
    for (int i = 0; i < OBJECTS; i++) {
        count += objects[i].is_in;
    }
    return count;
}

/* Everything the map says, against what the objects know themselves. */
static void
check_against_model(void)
{
    cr_assert(eq(u32, map_count(&map), model_count()));
    for (int i = 0; i < OBJECTS; i++) {
        void *expected = objects[i].is_in ? &objects[i] : NULL;
        cr_assert(eq(ptr, map_get(&map, key_of(&objects[i])), expected));
    }
    uint32_t position = 0;
    uint32_t seen = 0;
    uint64_t order = 0;
    for (struct map_entry *entry = map_next(&map, &position); entry != NULL;
         entry = map_next(&map, &position)) {
        struct object *object = entry->value;
        cr_assert(object->is_in);
        cr_assert(lt(u64, order, object->order), "walked in order of insertion");
        order = object->order;
        seen++;
    }
    cr_assert(eq(u32, seen, model_count()));
}

Test(map, agrees_with_a_naive_model_under_random_operations)
{
    uint64_t seed = 7;
    struct random_source random = random_seeded(&seed);
    for (uint64_t round = 1; round <= 120000; round++) {
        /* Phases of growth and decay, so that holes pile up and are closed. */
        bool growing = round / 15000 % 2 == 0;
        struct object *object = &objects[random_u64(&random) % OBJECTS];
        if ((random_u64(&random) % 4 != 0) == growing) {
            map_put(&map, key_of(object), object);
            object->order = object->is_in ? object->order : round;
            object->is_in = true;
        } else {
            void *expected = object->is_in ? object : NULL;
            cr_assert(eq(ptr, map_remove(&map, key_of(object)), expected));
            object->is_in = false;
        }
        if (round % 1000 == 0) {
            check_against_model();
        }
    }
}

/* Promised by the header: owners empty their maps while they walk them. */
Test(map, a_walk_may_remove_what_it_has_seen_and_what_it_has_not)
{
    for (int i = 0; i < OBJECTS; i++) {
        map_put(&map, key_of(&objects[i]), &objects[i]);
    }
    uint32_t position = 0;
    int seen = 0;
    for (struct map_entry *entry = map_next(&map, &position); entry != NULL;
         entry = map_next(&map, &position)) {
        struct object *object = entry->value;
        ptrdiff_t number = object - objects;
        cr_assert(eq(int, (int)number, seen * 2), "the next one was removed before");
        (void)map_remove(&map, key_of(object));
        if (number + 1 < OBJECTS) {
            (void)map_remove(&map, key_of(&objects[number + 1]));
        }
        seen++;
    }
    cr_expect(eq(int, seen, OBJECTS / 2));
    cr_expect(eq(u32, map_count(&map), 0));
}

/* A walk that goes on for many ticks, while others insert and remove: what was there when it began
 * and still is must be met. */
Test(map, a_walk_backwards_meets_all_that_stays_whatever_happens_meanwhile)
{
    static char names[4 * OBJECTS][16];
    static bool was_met[OBJECTS];
    for (int i = 0; i < OBJECTS; i++) {
        map_put(&map, key_of(&objects[i]), &objects[i]);
    }
    uint32_t position = map_places(&map);
    int inserted = 0;
    for (const struct map_entry *entry; (entry = map_previous(&map, &position)) != NULL;) {
        const struct object *object = entry->value;
        if (object >= objects && object < objects + OBJECTS) {
            was_met[object - objects] = true;
        }
        /* Most of what was met goes, so that holes are closed; new ones come. */
        ptrdiff_t number = object - objects;
        if (number % 8 != 0 && object >= objects && object < objects + OBJECTS) {
            (void)map_remove(&map, key_of(object));
        }
        for (int i = 0; i < 2 && inserted < 4 * OBJECTS; i++, inserted++) {
            (void)snprintf(names[inserted], sizeof(names[inserted]), "new-%d", inserted);
            map_put(&map, bytes_of(names[inserted]), names[inserted]);
        }
    }
    cr_expect(lt(int, OBJECTS, inserted));
    for (int i = 0; i < OBJECTS; i++) {
        cr_expect(was_met[i], "object %d", i);
    }
}

/* Names that come and go for days: the place they took is used again. */
Test(map, holes_do_not_pile_up)
{
    static char names[2][32];
    for (int i = 0; i < 100000; i++) {
        char *name = names[i % 2];
        snprintf(name, sizeof(names[0]), "gen-%d", i);
        map_put(&map, bytes_of(name), &objects[0]);
        if (i > 0) {
            (void)map_remove(&map, bytes_of(names[(i + 1) % 2]));
        }
    }
    cr_expect(le(u32, map.entry_capacity, 16));
}

/* A table that was large once does not stay large for a few: insertions give back what it does not
 * need, a little each. */
Test(map, memory_is_given_back_when_most_entries_are_gone)
{
    for (int i = 0; i < OBJECTS; i++) {
        map_put(&map, key_of(&objects[i]), &objects[i]);
    }
    for (int i = 2; i < OBJECTS; i++) {
        (void)map_remove(&map, key_of(&objects[i]));
    }
    for (int i = 2; i < OBJECTS / 4; i++) {
        map_put(&map, key_of(&objects[i]), &objects[i]);
        cr_assert(eq(ptr, map_get(&map, key_of(&objects[i])), &objects[i]));
        (void)map_remove(&map, key_of(&objects[i]));
        cr_assert(eq(ptr, map_get(&map, key_of(&objects[1])), &objects[1]));
    }
    cr_expect(le(u32, map.entry_capacity, 16));
    uint32_t position = 0;
    cr_expect(eq(ptr, map_next(&map, &position)->value, &objects[0]));
    cr_expect(eq(ptr, map_next(&map, &position)->value, &objects[1]));
    cr_expect(eq(ptr, map_next(&map, &position), NULL));
}

/* One insertion into a million entries must not take what a million take. */
Test(map, no_insertion_moves_more_than_a_block_of_entries)
{
    enum { ENTRIES = 100000, BLOCK = 1024 };
    static uint32_t numbers[ENTRIES];
    for (uint32_t i = 0; i < ENTRIES; i++) {
        struct map_entry **blocks = map.blocks;
        const struct map_entry *last = i < BLOCK ? NULL : blocks[i / BLOCK - 1];
        uint32_t capacity = map.entry_capacity;
        numbers[i] = i;
        map_put(&map, bytes_make(&numbers[i], sizeof(numbers[i])), &numbers[i]);
        cr_assert(le(u32, map.entry_capacity - capacity, BLOCK));
        cr_assert(last == NULL || map.blocks[i / BLOCK - 1] == last);
    }
    for (uint32_t i = 1; i < ENTRIES; i += 1 + (i % 3 > 0)) {
        (void)map_remove(&map, bytes_make(&numbers[i], sizeof(numbers[i])));
    }
    uint32_t looked_to = map.looked_to;
    uint32_t count = map_count(&map);
    map_put(&map, bytes_of("one more"), &objects[0]);
    cr_expect(eq(u32, looked_to, 0));
    cr_expect(le(u32, map.looked_to, 16));
    cr_expect(ge(u32, map.looked_to, 1));
    cr_expect(eq(u32, map_count(&map), count + 1));
}

/* Whoever makes room first is told when there is none, and then inserts without an allocation. */
Test(map, room_that_was_made_suffices_and_a_failure_changes_nothing)
{
    enum { COUNT = 5000 };
    static uint32_t keys[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        keys[i] = i;
        struct bytes key = bytes_make(&keys[i], sizeof(keys[i]));
        for (uint32_t nth = 1;; nth++) {
            alloc_faults_plan(nth);
            enum status status = map_reserve(&map, key);
            bool has_failed = alloc_faults_left() == 0;
            alloc_faults_plan(0);
            cr_assert(eq(int, status, has_failed ? STATUS_NO_MEMORY : STATUS_OK));
            cr_assert(eq(u32, map_count(&map), i));
            if (!has_failed) {
                break;
            }
        }
        alloc_faults_plan(1);
        map_put(&map, key, &keys[i]);
        cr_assert(eq(u32, alloc_faults_left(), 1));
        alloc_faults_plan(0);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert(eq(ptr, map_get(&map, bytes_make(&keys[i], sizeof(keys[i]))), &keys[i]));
    }
}
